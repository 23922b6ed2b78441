"""Looking inside of images never costs more than 64 bytes, and whatever is inside of them is no error.

Every pair is packed twice, with encoders and without; both packages make new. What damages the images is chosen by
seeds, and is the same everywhere.
"""

from __future__ import annotations

import gzip
import random
import struct
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import pytest

from e2e_support import TREE
from otastream.apply import ApplyOptions, apply_package
from otastream.model import CodingId
from otastream.options import PackOptions
from test_file_views import archive, xz
from test_view_nodes import files, jffs2_nodes, nodes
from test_views import Bench, member, needs_mksquashfs, squash, words

MORE: Final = 64
"""Bytes that a package may be larger than one without views."""
ALL: Final = frozenset(CodingId)


def text(seed: int, count: int = 6000) -> bytes:
    """Words of which some differ with the seed."""
    made, rng = bytearray(words(7, count)), random.Random(seed)
    for at in range(rng.randrange(400), len(made), 700):
        made[at] = 33 + seed % 64
    return bytes(made)


def uimage(seed: int) -> bytes:
    """The header of U-Boot's images is not looked at: what is behind it is found."""
    return struct.pack(">IIIIIIIBBBB32s", 0x27051956, 0, seed, 0, 0, 0, 0, 5, 2, 2, 1, b"kernel") + member(text(seed))


KINDS: Final[dict[str, Callable[[int], bytes]]] = {
    "gzip": lambda seed: member(text(seed)) + text(3, 20),
    "cpio.gz": lambda seed: gzip.compress(b"070701" + text(seed), 9, mtime=0),
    "uImage": uimage,
    "zip": lambda seed: archive({f"part{number}": text(seed + number) for number in range(4)}),
    "ubifs": lambda seed: nodes(files(seed)),
    "jffs2": lambda seed: jffs2_nodes(files(seed), "<"),
}


def damaged(image: bytes) -> Iterator[tuple[str, bytes]]:
    """What a broken build, download or flash leaves."""
    yield "half", image[: len(image) // 2]
    yield "nearly all", image[:-7]
    yield "behind a gap", image[11:]
    for seed in range(3):
        rng, made = random.Random(seed), bytearray(image)
        for _ in range(4):
            made[rng.randrange(len(made))] ^= 1 << rng.randrange(8)
        yield f"bits {seed}", bytes(made)
    yield "repeated", image + image[: len(image) // 3]


class Pairs:
    """Packs pairs; the failures are gathered, so that one run shows all."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.wrong: list[str] = []
        self.viewed = 0

    def check(self, name: str, old: bytes, new: bytes, *, encoders: frozenset[CodingId] = ALL) -> None:
        bench = Bench(self._folder, old, new)
        plain = bench.pack(PackOptions(encoders=frozenset())).package
        found = bench.pack(PackOptions(encoders=encoders)).package
        self.viewed += bench.record().new_view is not None
        if found > plain + MORE:
            self.wrong.append(f"{name}: {found} bytes, without views {plain}")
        root = bench.root()
        apply_package(str(bench.package), ApplyOptions(root=str(root), tmp=str(root / "tmp")))
        assert bench.holds(root), name


@pytest.mark.parametrize("kind", KINDS)
def test_images_of_every_kind(tmp_path: Path, kind: str) -> None:
    make, pairs = KINDS[kind], Pairs(tmp_path)
    old, new = make(1), make(2)
    pairs.check("similar", old, new)
    assert pairs.viewed == 1
    pairs.check("the same", old, old)
    pairs.check("unrelated", random.Random(1).randbytes(len(old)), new)
    pairs.check("from another kind", KINDS["zip" if kind != "zip" else "gzip"](1), new)
    pairs.check("a little more", old, old + b"more")
    for what, image in damaged(new):
        pairs.check(f"to {what}", old, image)
    for what, image in damaged(old):
        pairs.check(f"from {what}", image, new)
    assert pairs.wrong == []


@needs_mksquashfs
def test_squashfs_with_every_field_of_its_superblock_scrambled(tmp_path: Path) -> None:
    """Sizes, counts and places that lead anywhere: block lists, tables, fragments among them."""
    names = {f"bin/tool{number}": text(number) for number in range(4)} | {f"etc/{n}": text(n, 30) for n in range(9)}
    old, new = (squash(tmp_path, f"t{seed}", names | {"bin/last": text(9 + seed)}, "-b", "16K") for seed in (1, 2))
    pairs = Pairs(tmp_path)
    pairs.check("similar", old, new)
    assert pairs.viewed == 1
    rng = random.Random(4)
    for at in range(0, 96, 4):
        for value in (0, 0xFFFFFFFF, rng.getrandbits(32)) if at >= 64 else (rng.getrandbits(32),):
            broken = bytearray(new)
            struct.pack_into("<I", broken, at, value)
            pairs.check(f"to field {at}: {value:#x}", old, bytes(broken))
    for what, image in damaged(new):
        pairs.check(f"to {what}", old, image)
    for what, image in damaged(old):
        pairs.check(f"from {what}", image, new)
    start = struct.unpack_from("<Q", new, 64)[0]  # of the inode table: block lists
    for seed in range(8):  # inodes, folders, fragment and id tables: what is said about blocks
        broken = bytearray(new)
        for _ in range(3):
            broken[random.Random(seed).randrange(start, len(new))] ^= 0xFF
        pairs.check(f"to tables {seed}", old, bytes(broken))
    assert pairs.wrong == []


def test_a_large_member_of_which_only_the_end_changed(tmp_path: Path) -> None:
    """Nearly all of it stands in old as it is, though the member as a whole does not."""
    body = random.Random(8).randbytes(1_500_000).hex().encode()
    pairs = Pairs(tmp_path)
    pairs.check("the end", member(body + b"a"), member(body + b"b"))
    pairs.check("the beginning", member(b"a" + body), member(b"b" + body))
    assert pairs.wrong == []
    assert pairs.viewed == 1


_BOMBS: Final = """
import resource, sys
resource.setrlimit(resource.RLIMIT_AS, ({limit}, {limit}))
from otastream.config import Image, Release
from otastream.model import CodingId
from otastream.options import PackOptions
from otastream.pack import pack_release
image = Image(new=sys.argv[1], old=sys.argv[2], targets=("/dev/b",), source="/dev/a")
options = PackOptions(encoders=frozenset(CodingId))
print(pack_release(Release(image=(image,)), output=sys.argv[3], options=options).package)
"""


@pytest.mark.parametrize("kind", ["gzip", "xz"])
def test_decompression_bombs_do_not_take_the_memory_of_the_packer(tmp_path: Path, kind: str) -> None:
    """Some 90 MiB each, in old and in new: together more than the packer may have."""
    content = bytes(90 << 20)
    bomb = member(content) if kind == "gzip" else xz(content)
    old, new = bomb * 3 + text(1), text(2) + bomb * 3
    bench = Bench(tmp_path, old, new)
    plain = bench.pack(PackOptions(encoders=frozenset())).package
    for source, target in ((old, new), (old, text(2))):
        (tmp_path / "old").write_bytes(source)
        (tmp_path / "new").write_bytes(target)
        command = [
            sys.executable,
            "-c",
            _BOMBS.format(limit=1 << 30),
            *(str(tmp_path / n) for n in ("new", "old", "b")),
        ]
        done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=TREE)
        assert done.returncode == 0, done.stderr[-2000:]
        if target is new:
            assert int(done.stdout) <= plain + MORE
