"""Looking inside of images never costs more than 64 bytes, and whatever is inside of them is no error.

Every pair is packed twice, with encoders and without; both packages make new. What damages the images is chosen by
seeds, and is the same everywhere.
"""

from __future__ import annotations

import gzip
import random
import shutil
import struct
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from e2e_support import TREE, edited, state, write
from otastream.apply import ApplyOptions, apply_package
from otastream.config import Folder, Image, Release
from otastream.inspection import inspect_package, verify_package
from otastream.model import CodingId
from otastream.options import PackOptions
from otastream.pack import Summary, append_release, pack_release
from otastream.sides import MORE
from otastream.views import squashfs
from scripts.newc import Archive
from test_file_views import archive, by_blocks, xz, zstd
from test_view_nodes import files, jffs2_nodes, nodes
from test_views import Bench, member, needs_mksquashfs, squash, words, zstd_zeros

ALL: Final = frozenset(CodingId)


def text(seed: int, count: int = 6000) -> bytes:
    """Words of which some differ with the seed."""
    made, rng = bytearray(words(7, count)), random.Random(seed)
    for at in range(rng.randrange(400), len(made), 700):
        made[at] = 33 + seed % 64
    return bytes(made)


def uimage(seed: int, packed: bytes | None = None) -> bytes:
    """The header of U-Boot's images is not looked at: what is behind it is found."""
    head = struct.pack(">IIIIIIIBBBB32s", 0x27051956, 0, seed, 0, 0, 0, 0, 5, 2, 2, 1, b"kernel")
    return head + (member(text(seed)) if packed is None else packed)


def initramfs(seed: int) -> bytes:
    """A cpio archive as the kernel takes it: folders, files, a link, a node."""
    archive = Archive()
    for number in range(3):
        archive.file(f"bin/tool{number}", text(seed + number, 2000), 0o755)
    archive.file("etc/version", b"%d\n" % seed)
    archive.link("init", "bin/tool0")
    archive.node("dev/console", 5, 1)
    return archive.pack()


KINDS: Final[dict[str, Callable[[int], bytes]]] = {
    "gzip": lambda seed: member(text(seed)) + text(3, 20),
    "cpio.gz": lambda seed: gzip.compress(initramfs(seed), 9, mtime=0),
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


# ---- the whole package ---------------------------------------------------------------------------------------------


def _unknown(number: int) -> tuple[bytes, bytes]:
    """What no board here makes again: by other libraries, and with blocks that end as no compressor ends them."""

    def made(seed: int) -> bytes:
        data = text(seed)
        member = by_blocks(data, 5000 + 100 * number)
        return (member, xz(data), zstd(data), uimage(seed, member), member + xz(data), zstd(data) + member)[number]

    return made(2 * number), made(2 * number + 1)


class Whole:
    """A release of several things, packed with views and without."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._images = folder, list[Image]()
        self.folder: tuple[Folder, ...] = ()

    def image(self, number: int, old: bytes, new: bytes, *, in_place: bool = False) -> None:
        """From one node to another, or onto itself."""
        for side, data in (("old", old), ("new", new)):
            (self._folder / f"{side}{number}").write_bytes(data)
        old_name, new_name = (str(self._folder / f"{side}{number}") for side in ("old", "new"))
        source, targets = None if in_place else f"/dev/a{number}", (f"/dev/b{number}",)
        self._images.append(Image(old=old_name, new=new_name, targets=targets, source=source, in_place=in_place))

    def tree(self, contents: dict[str, tuple[bytes | None, bytes]]) -> None:
        for side, top in enumerate(("tree-old", "tree-new")):
            (self._folder / top).mkdir()
            for name, data in contents.items():
                if (content := data[side]) is not None:
                    write(self._folder / top / name, content)
        old, new = (str(self._folder / top) for top in ("tree-old", "tree-new"))
        self.folder = (Folder(old=old, new=new, dest="/config"),)

    def pack(self, **options: Any) -> Summary:
        release = Release(image=tuple(self._images), folder=self.folder)
        return pack_release(release, output=str(self._folder / "p.ota"), options=PackOptions(**options))

    def notes(self) -> list[str]:
        records = [entry.record for entry in inspect_package(str(self._folder / "p.ota")).entries]
        return [note for record in records if (note := getattr(record, "note", None)) is not None]

    def views(self) -> int:
        records = [entry.record for entry in inspect_package(str(self._folder / "p.ota")).entries]
        return sum(getattr(record, "new_view", None) is not None for record in records)

    def apply(self) -> None:
        root = self._folder / "root"
        (root / "dev").mkdir(parents=True)
        (root / "tmp").mkdir()
        for number, image in enumerate(self._images):
            content = Path(str(image.old)).read_bytes()
            for node in (f"a{number}", f"b{number}"):
                (root / "dev" / node).write_bytes(content + bytes(4096))
        if self.folder:
            shutil.copytree(self._folder / "tree-old", root / "config")
        options = ApplyOptions(root=str(root), tmp=str(root / "tmp"), volatile_tmp=True)
        apply_package(str(self._folder / "p.ota"), options)
        for number, image in enumerate(self._images):
            new = Path(str(image.new)).read_bytes()
            assert (root / f"dev/b{number}").read_bytes()[: len(new)] == new
        if self.folder:
            assert state(root / "config") == state(self._folder / "tree-new")
        shutil.rmtree(root)


@pytest.mark.parametrize("kind", ["images", "files", "both"])
def test_all_notes_have_one_budget(tmp_path: Path, kind: str) -> None:
    """`pack` tells of every image, the package of as many as there is room for."""
    whole = Whole(tmp_path)
    pairs = [_unknown(number) for number in range(6)]
    if kind != "files":
        for number, (old, new) in enumerate(pairs):
            whole.image(number, old, new, in_place=number > 3)
    if kind != "images":
        whole.tree({f"f{number}.gz": pair for number, pair in enumerate(pairs)})
    plain = whole.pack(encoders=frozenset())
    found = whole.pack()
    assert found.package <= plain.package + MORE
    assert (len(found.notes), len(whole.notes())) == (0 if kind == "files" else 6, 1)
    whole.apply()


def _repeats(size: int, apart: int) -> bytes:
    """What compresses well in a window of more than ``apart`` bytes only."""
    return (random.Random(3).randbytes(apart) * (size // apart + 1))[:size]


@pytest.mark.parametrize("where", ["image", "file"])
@pytest.mark.parametrize("ram", [None, 704 << 10])
def test_what_views_take_from_the_codec(tmp_path: Path, where: str, ram: int | None) -> None:
    """A view saves some bytes; with the window that it leaves to the codec all the rest would take more."""
    whole = Whole(tmp_path)
    pair = member(text(1)), member(text(2))
    tree: dict[str, tuple[bytes | None, bytes]] = {"added": (None, _repeats(900_000, 150_000))}
    if where == "image":
        whole.image(0, *pair)
        whole.tree(tree)
    else:
        whole.tree(tree | {"f.gz": pair})
    plain = whole.pack(encoders=frozenset(), ram=ram)
    without = (tmp_path / "p.ota").read_bytes()
    found = whole.pack(ram=ram)
    first = (tmp_path / "p.ota").read_bytes()
    assert found.package <= plain.package + MORE
    assert (first == without) == (ram is not None)
    whole.apply()
    whole.pack(ram=ram, jobs=3)
    assert (tmp_path / "p.ota").read_bytes() == first


def test_a_view_that_is_worth_the_window(tmp_path: Path) -> None:
    """The rest becomes larger, but by less than what the view saves, which nobody has measured: it need not be."""
    whole = Whole(tmp_path)
    body = random.Random(8).randbytes(900_000).hex().encode()
    whole.image(0, *(member(edited(body, seed)) for seed in (1, 2)))
    whole.tree({"added": (None, words(9, 30_000)), "f.gz": _unknown(1)})
    plain = whole.pack(encoders=frozenset())
    found = whole.pack()
    assert found.package < plain.package
    assert whole.views() == 1
    whole.apply()


def test_appending_is_bounded_too(tmp_path: Path) -> None:
    """Between what stood there and what comes."""
    whole = Whole(tmp_path)
    whole.tree({"added": (None, _repeats(900_000, 150_000))})
    sizes = []
    for encoders in (frozenset[CodingId](), ALL):
        whole.pack(encoders=frozenset())
        for side, data in (("old", member(text(1))), ("new", member(text(2)))):
            (tmp_path / side).write_bytes(data)
        image = Image(old=str(tmp_path / "old"), new=str(tmp_path / "new"), targets=("/dev/b",), source="/dev/a")
        options = PackOptions(encoders=encoders)
        sizes.append(append_release(str(tmp_path / "p.ota"), Release(image=(image,)), options=options).package)
    assert sizes[1] <= sizes[0] + MORE
    verify_package(str(tmp_path / "p.ota"))


# ---- bombs ---------------------------------------------------------------------------------------------------------


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


def zstd_bomb(size: int) -> bytes:
    """128 KiB for each 4 of its size bytes, and what is skipped behind them."""
    made = zstd_zeros((size - 14) // 4)
    rest = size - len(made) - 8
    return made + b"\x50\x2a\x4d\x18" + rest.to_bytes(4, "little") + bytes(rest)


def squashfs_bomb(folder: Path, seed: int) -> bytes:
    """Blocks of 2 GiB each in the place of those that mksquashfs made."""
    content = {f"f{number}": random.Random(number + seed).randbytes(100_000).hex().encode() for number in range(2)}
    image = bytearray(squash(folder, f"bomb{seed}", content, "-comp", "zstd", "-b", "128K", "-no-fragments"))
    for part in squashfs.extents(memoryview(image)):
        if part.packed > 50_000:
            image[part.offset : part.offset + part.packed] = zstd_bomb(part.packed)
    return bytes(image)


def bombs(kind: str, folder: Path) -> tuple[bytes, bytes]:
    """Some 90 MiB each, in old and in new, and more where that is not said: more than the packer may have."""
    if kind == "squashfs zstd":
        return squashfs_bomb(folder, 1), squashfs_bomb(folder, 2)
    content = bytes((60 if kind == "zstd" else 90) << 20)
    bomb = {"gzip": member, "xz": xz, "zstd": zstd}[kind](content)
    return bomb * 3 + text(1), text(2) + bomb * 3


@pytest.mark.parametrize("kind", ["gzip", "xz", "zstd", pytest.param("squashfs zstd", marks=needs_mksquashfs)])
def test_decompression_bombs_do_not_take_the_memory_of_the_packer(tmp_path: Path, kind: str) -> None:
    old, new = bombs(kind, tmp_path)
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
