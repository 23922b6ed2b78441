"""Deltas that look inside of compressed images: what the packer finds, and that both appliers rebuild it to the bit."""

from __future__ import annotations

import gzip
import os
import random
import shutil
import struct
import subprocess
import tracemalloc
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import code_samples
from e2e_support import Applier, applier_named, applier_with_encoders, board_program
from golden import builder as b
from golden import views as v
from otastream.config import Image, Release
from otastream.errors import Code, OtaError
from otastream.inspection import inspect_package, verify_package
from otastream.model import Block, CodingId, EngineId, View
from otastream.native import ExecOptions, Executor
from otastream.options import PackOptions
from otastream.pack import Summary, pack_release
from otastream.sides import NOTE_MOST
from otastream.views import codings, parts, scan, squashfs, streams
from otastream.views.expand import expand
from scripts.newc import Archive

ALL = frozenset(CodingId)
needs_mksquashfs = pytest.mark.skipif(shutil.which("mksquashfs") is None, reason="no mksquashfs")


def words(seed: int, count: int) -> bytes:
    """Text that compresses like a program's strings."""
    rng = random.Random(seed)
    return b"".join(b"%x " % (rng.getrandbits(10) ** 2) for _ in range(count))


def member(data: bytes, level: int = 9, **options: Any) -> bytes:
    """A gzip member by zlib."""
    worker = zlib.compressobj(level, zlib.DEFLATED, -15, **options)
    packed = worker.compress(data) + worker.flush()
    return b"\x1f\x8b\x08\0\0\0\0\0\2\3" + packed + struct.pack("<II", zlib.crc32(data), len(data))


def changed(data: bytes, seed: int) -> bytes:
    rng = random.Random(seed)
    at = rng.randrange(len(data) // 2)
    return data[:at] + b"a change" + data[at + 8 :] + b"and more"


class Bench:
    """An image for a node of a folder that stands for the board."""

    def __init__(self, folder: Path, old: bytes, new: bytes) -> None:
        self.folder, self.old, self.new = folder, old, new
        self.package = folder / "p.ota"
        for name, data in (("old", old), ("new", new)):
            (folder / name).write_bytes(data)

    def pack(self, options: PackOptions | None = None) -> Summary:
        image = Image(new=str(self.folder / "new"), old=str(self.folder / "old"), targets=("/dev/b",), source="/dev/a")
        return pack_release(Release(image=(image,)), output=str(self.package), options=options)

    def record(self) -> Block:
        found = [entry.record for entry in verify_package(str(self.package)).entries]
        return next(item for item in found if isinstance(item, Block))

    def root(self) -> Path:
        root = self.folder / "root"
        shutil.rmtree(root, ignore_errors=True)
        for name in ("dev", "tmp"):
            (root / name).mkdir(parents=True)
        (root / "dev/a").write_bytes(self.old)
        (root / "dev/b").write_bytes(bytes(len(self.new)))
        return root

    def holds(self, root: Path) -> bool:
        return (root / "dev/b").read_bytes() == self.new

    def applies(self, applier: Applier) -> Path:
        """The package makes new of old; the root that it did so in."""
        root = self.root()
        applier.succeed(self.package, root)
        assert self.holds(root)
        return root


def squash(folder: Path, name: str, content: dict[str, bytes], *options: str) -> bytes:
    top = folder / name
    for path, data in content.items():
        (top / path).parent.mkdir(parents=True, exist_ok=True)
        (top / path).write_bytes(data)
    out = folder / f"{name}.sqfs"
    args: list[str | Path] = ["mksquashfs", top, out, "-noappend", "-quiet", "-no-progress", "-all-root", *options]
    subprocess.run(args, check=True, capture_output=True, env=os.environ | {"SOURCE_DATE_EPOCH": "1700000000"})
    return out.read_bytes()


def tree(seed: int) -> dict[str, bytes]:
    made = {f"bin/tool{number}": words(number, 30_000) for number in range(4)}
    made |= {f"etc/conf{number}": words(90 + number, 40) for number in range(30)}
    made |= {"bin/noise": random.Random(5).randbytes(40_000), "sparse": bytes(300_000) + b"end", "empty": b""}
    made["bin/tool1"] = changed(made["bin/tool1"], seed)
    made["etc/conf7"] = b"seed %d" % seed
    return made


def sprinkled(seed: int) -> dict[str, bytes]:
    """One file in which every 300th byte or so is another one: nothing of a compressed block stays."""
    made, rng = tree(1), random.Random(seed)
    text = bytearray(words(7, 60_000))
    for at in range(rng.randrange(300), len(text), 300):
        text[at] = 33 + seed
    return made | {"bin/sprinkled": bytes(text)}


# ---- the libraries -------------------------------------------------------------------------------------------------


def test_this_zlib_gives_the_known_answers() -> None:
    assert CodingId.DEFLATE in codings.present()


def test_another_zlib_does_not_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    """One that compresses a little worse, as zlib-ng does."""
    real = streams.deflater
    monkeypatch.setattr(streams, "deflater", lambda params: real(params & ~15 | max(1, (params & 15) - 1)))
    codings.present.cache_clear()
    try:
        assert CodingId.DEFLATE not in codings.present()
    finally:
        codings.present.cache_clear()


@pytest.mark.parametrize("params", [0, 10, 1 << 16, 9 | 8 << 4 | 8 << 8, 9 | 8 << 4 | 15 << 8 | 5 << 12, 9 | 15 << 8])
def test_parameters_out_of_range(params: int) -> None:
    assert not codings.valid(CodingId.DEFLATE, params)
    assert codings.Coder().size(True, CodingId.DEFLATE, params) == 0


def test_the_names_are_those_of_the_format() -> None:
    from otastream.fields import CODINGS

    assert {id_: library.name for id_, library in codings.LIBRARIES.items()}.items() <= CODINGS.items()


# ---- squashfs ------------------------------------------------------------------------------------------------------


@needs_mksquashfs
@pytest.mark.parametrize(
    "options",
    [
        (),
        ("-b", "4K"),
        ("-b", "1M"),
        ("-noF",),
        ("-noI",),
        ("-noD",),
        ("-no-fragments",),
        ("-always-use-fragments",),
        ("-no-exports", "-no-duplicates"),
        ("-Xcompression-level", "6"),
        ("-Xstrategy", "filtered,huffman_only"),
    ],
    ids=" ".join,
)
def test_squashfs(tmp_path: Path, options: tuple[str, ...]) -> None:
    bench = Bench(tmp_path, *(squash(tmp_path, f"t{seed}", tree(seed), *options) for seed in (1, 2)))
    plain = bench.pack(PackOptions(encoders=frozenset()))
    viewed = bench.pack()
    record = bench.record()
    if options != ("-noD",):
        assert (record.old_view, record.new_view) == (View.PARTS, View.PARTS)
        assert record.note is not None
        assert record.note.startswith("squashfs gzip (")
        assert viewed.package < plain.package
    assert viewed.package <= plain.package + 64
    bench.applies(applier_named("otastream"))


@needs_mksquashfs
def test_squashfs_in_both_programs(tmp_path: Path, applier: Applier) -> None:
    bench = Bench(tmp_path, *(squash(tmp_path, f"t{seed}", tree(seed), "-b", "32K") for seed in (1, 2)))
    assert bench.pack().package < 4000
    bench.applies(applier)


MORE = {"xz": CodingId.XZ, "zstd": CodingId.ZSTD, "lz4": CodingId.LZ4, "lzo": CodingId.LZO}


@needs_mksquashfs
@pytest.mark.parametrize("program", ["otastream", "otaunpack"])
@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("xz", ()),
        ("xz", ("-b", "4K")),
        ("xz", ("-Xbcj", "arm,x86")),
        ("xz", ("-Xdict-size", "50%", "-b", "64K")),
        ("zstd", ()),
        ("zstd", ("-Xcompression-level", "19", "-b", "32K")),
        ("lz4", ()),
        ("lz4", ("-b", "4K")),
        ("lz4", ("-Xhc", "-b", "64K")),
        ("lzo", ()),
        ("lzo", ("-Xcompression-level", "3", "-b", "8K")),
        ("lzo", ("-Xalgorithm", "lzo1x_1", "-b", "32K")),
    ],
)
def test_squashfs_by_other_libraries(tmp_path: Path, program: str, name: str, options: tuple[str, ...]) -> None:
    """The board program that has all encoders is the one with sanitizers."""
    if MORE[name] not in codings.present():
        pytest.skip(f"no lib{name} of the right version")
    images = [squash(tmp_path, f"t{seed}", sprinkled(seed), "-comp", name, *options) for seed in (1, 2)]
    bench = Bench(tmp_path, *images)
    assert bench.pack(PackOptions(encoders=frozenset({MORE[name]}))).package < 5500
    record = bench.record()
    assert record.note is not None
    assert record.note.startswith(f"squashfs {name} (")
    assert " KiB blocks): 100 % reproduced, " in record.note
    assert record.note.endswith(" 0 sent as they are")
    bench.applies(applier_with_encoders(program))


@needs_mksquashfs
def test_boards_without_the_encoder_get_no_view(tmp_path: Path) -> None:
    bench = Bench(tmp_path, *(squash(tmp_path, f"t{seed}", tree(seed), "-comp", "xz") for seed in (1, 2)))
    bench.pack()
    record = bench.record()
    note = "boards without xz-liblzma: squashfs xz (128 KiB blocks)"[:NOTE_MOST]
    assert (record.new_view, record.note) == (None, note)


@pytest.mark.parametrize(("params", "id_"), [
    (10, CodingId.XZ), (6 | 31 << 4 | 17 << 14, CodingId.XZ), (6 | 3 << 10 | 17 << 14, CodingId.XZ),
    (6 | 11 << 14, CodingId.XZ), (6 | 27 << 14, CodingId.XZ), (0 | 17 << 5, CodingId.ZSTD),
    (23 | 17 << 5, CodingId.ZSTD), (15 | 11 << 5, CodingId.ZSTD), (15 | 27 << 5, CodingId.ZSTD),
    (13 | 17 << 4, CodingId.LZ4), (11 << 4, CodingId.LZ4), (27 << 4, CodingId.LZ4), (10 | 17 << 4, CodingId.LZO),
    (6 | 17 << 14 | 1 << 20, CodingId.XZ), (15 | 17 << 5 | 1 << 11, CodingId.ZSTD),
])  # fmt: skip
def test_parameters_of_other_libraries_out_of_range(params: int, id_: CodingId) -> None:
    assert not codings.valid(id_, params)


@pytest.mark.parametrize("id_", list(CodingId))
def test_damaged_and_too_large_parts(id_: CodingId) -> None:
    """Whatever the library: cut, changed, more than was said."""
    if id_ not in codings.present():
        pytest.skip("not here")
    coding = codings.squashfs_coding(id_, 131072)
    packed = codings.encode(coding, bytes(100_000))
    assert codings.decode(coding, packed, 100_000) == (bytes(100_000), len(packed))
    if id_ not in (CodingId.LZ4, CodingId.LZO):  # their blocks have no end of their own
        assert codings.decode(coding, packed + b"tail", 100_000) == (bytes(100_000), len(packed))
    for broken, limit in ((packed[:-1], 100_000), (packed, 99_999), (b"\xff" * 40, 100_000), (b"", 10)):
        with pytest.raises(ValueError, match=r"."):
            codings.decode(coding, broken, limit)


@needs_mksquashfs
def test_squashfs_with_xattrs_and_many_files(tmp_path: Path) -> None:
    """More inodes than a metadata block holds, in folders with an index; every part of it is found."""
    content = {f"d{number % 3}/some-rather-long-name-{number}": b"%d" % number for number in range(2500)}
    data = squash(tmp_path, "many", content)
    found = squashfs.extents(memoryview(data))
    assert all(item.raw for item in scan.scan(memoryview(data)).parts)
    head = squashfs.read_super(memoryview(data))
    first = [item for item in found if head.inode_table <= item.offset < head.directory_table]
    assert len(first) > 3


@needs_mksquashfs
@settings(max_examples=60)
@given(data=st.data())
def test_damaged_squashfs(data: st.DataObject, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Whatever is broken inside, looking inside ends without an error, and what comes of it is right."""
    image = _small_image(tmp_path_factory)
    broken = bytearray(image)
    for _ in range(data.draw(st.integers(1, 6))):
        at = data.draw(st.one_of(st.integers(0, 95), st.integers(0, len(image) - 1), st.integers(-3000, -1)))
        broken[at] = data.draw(st.sampled_from([0, 1, 0x7F, 0x80, 0xFF]))
    for old, new in ((bytes(broken), image), (image, bytes(broken)), (bytes(broken), bytes(broken))):
        found = expand(old, new, allowed=ALL)
        if found is not None and not isinstance(found, str):
            front = found.front.encode()
            frame = parts.Frame(len(old), len(new), 1 << 30, ALL)
            read = parts.decode(front, old=found.front.old is not None, new=True, frame=frame)
            assert read is not None
            assert (read[1], read[2], read[0].size()) == (len(front), len(found.old), len(found.new))


_IMAGES: list[bytes] = []


def _small_image(factory: pytest.TempPathFactory) -> bytes:
    if not _IMAGES:
        content = {f"f{number}": words(number, 900) for number in range(6)}
        _IMAGES.append(squash(factory.mktemp("small"), "small", content, "-b", "4K"))
    return _IMAGES[0]


def test_a_block_size_that_lies() -> None:
    head = bytearray(96)
    struct.pack_into("<4sIIIIHHHHHH", head, 0, b"hsqs", 1, 0, 4096, 0, 1, 13, 0, 1, 4, 0)
    with pytest.raises(ValueError, match="block size"):
        squashfs.read_super(memoryview(head))


@pytest.mark.parametrize("id_", [CodingId.DEFLATE, CodingId.ZSTD])
@pytest.mark.parametrize("limit", [131071, 131072])
def test_a_bomb_is_not_unpacked(id_: CodingId, limit: int) -> None:
    """A block that claims to be one of 128 KiB and would become much more; of a frame it does not say how much."""
    bomb = zlib.compress(bytes(1 << 28), 9) if id_ is CodingId.DEFLATE else zstd_zeros(2048)
    tracemalloc.start()
    with pytest.raises(ValueError, match="too large"):
        codings.decode(codings.squashfs_coding(id_, 131072), bomb, limit)
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert most < 1 << 25


def test_a_frame_that_does_not_say_its_size() -> None:
    assert codings.decode(codings.squashfs_coding(CodingId.ZSTD, 131072), zstd_zeros(1) + b"tail", 131072) == (
        bytes(131072),
        len(zstd_zeros(1)),
    )


def zstd_zeros(blocks: int) -> bytes:
    """A frame of so many times 128 KiB of zeros, which does not say so (RFC 8878): four bytes for each."""
    last = blocks - 1
    repeated = ((131072 << 3 | 1 << 1 | (number == last)).to_bytes(3, "little") + b"\0" for number in range(blocks))
    return b"\x28\xb5\x2f\xfd\0" + bytes([7 << 3]) + b"".join(repeated)  # a window of 128 KiB


# ---- gzip ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("level", range(1, 10))
def test_gzip_levels(tmp_path: Path, level: int) -> None:
    old, new = words(1, 20_000), changed(words(1, 20_000), 3)
    bench = Bench(tmp_path, member(old, level), member(new, level))
    assert bench.pack().package < 1200
    bench.applies(applier_named("otastream"))


@pytest.mark.parametrize("level", range(1, 10))
def test_gzip_levels_of_gnu_gzip(tmp_path: Path, level: int, applier: Applier) -> None:
    old, new = words(1, 20_000), changed(words(1, 20_000), 3)
    made = [
        subprocess.run(["gzip", f"-{level}"], input=data, capture_output=True, check=True).stdout for data in (old, new)
    ]
    bench = Bench(tmp_path, *made)
    assert bench.pack().package < 1200
    assert bench.record().note == "gzip: 100 % reproduced, 1 parts recompressed, 0 kept, 0 sent as they are"
    bench.applies(applier)


def test_an_initramfs(tmp_path: Path, applier: Applier) -> None:
    """A cpio archive by GNU gzip, as initramfs-tools makes it."""
    sides = []
    for seed in (1, 2):
        archive = Archive()
        for number in range(5):
            archive.file(f"lib/modules/6.1.0/mod{number}.ko", changed(words(number, 8000), seed + number), 0o644)
        archive.file("init", b"#!/bin/sh\n", 0o755)
        archive.link("sbin", "bin")
        archive.node("dev/console", 5, 1)
        command = ["gzip", "-n", "-9", "-c"]
        sides.append(subprocess.run(command, input=archive.pack(), capture_output=True, check=True).stdout)
    bench = Bench(tmp_path, *sides)
    assert bench.pack().package < 2000
    note = bench.record().note
    assert note == "gzip cpio: 100 % reproduced, 1 parts recompressed, 0 kept, 0 sent as they are"
    bench.applies(applier)


def test_to_and_fro_in_a_long_part(tmp_path: Path, applier: Applier) -> None:
    """More of old than the cache and the restart points hold, in an order that jumps."""
    stretches = [words(seed, 4000) for seed in range(40)]
    order = [number * 17 % 40 for number in range(40)]
    images = (b"".join(stretches), b"".join(stretches[number] for number in order))
    made = [subprocess.run(["gzip"], input=data, capture_output=True, check=True).stdout for data in images]
    bench = Bench(tmp_path, *made)
    assert bench.pack().package < 3000
    bench.applies(applier)


def test_a_kernel_of_which_references_are_followed(tmp_path: Path, applier: Applier) -> None:
    """An image of instructions without a header, in a member that begins at any offset: its own addresses count."""
    images = (bytes(4096) + program[4096:] for program in code_samples.pair(1500))
    bench = Bench(tmp_path, *(b"odd" + member(image) for image in images))
    plain = bench.pack(PackOptions(engine="bsdiff")).package
    assert bench.record().engine is EngineId.BSDIFF
    assert bench.pack().package < plain // 3
    assert bench.record().engine is EngineId.XREF
    assert "1 parts recompressed" in (bench.record().note or "")
    bench.applies(applier)


def test_gzip_members_between_other_bytes(tmp_path: Path, applier: Applier) -> None:
    """A kernel image with a name, several members, one that stays, and one that is longer than any cache."""
    pieces = [words(seed, 30_000) for seed in range(3)]
    long = words(9, 400_000)

    def image(edit: Callable[[bytes], bytes]) -> bytes:
        return b.noise(5000) + b"".join(
            [member(edit(pieces[0])), b.noise(64), member(pieces[1], 6, memLevel=9), member(edit(long), 1), b"tail"]
        )

    bench = Bench(tmp_path, image(lambda data: data), image(lambda data: changed(data, 4)))
    assert bench.pack().package < 5000
    record = bench.record()
    assert record.note == "gzip: 100 % reproduced, 2 parts recompressed, 1 kept, 0 sent as they are"
    bench.applies(applier)


def test_gzip_by_another_program_stays_as_it_is(tmp_path: Path) -> None:
    """Stored blocks, which no level of zlib writes for such data."""
    old = words(1, 9000)
    new = b"".join(changed(old[at : at + 1000], at) for at in range(0, len(old), 1000))
    bench = Bench(tmp_path, b.gzip_stored(old), b.gzip_stored(new))
    bench.pack()
    record = bench.record()
    assert record.new_view is None
    assert record.note == "0/1 reproduced: gzip"
    bench.applies(applier_named("otastream"))


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: data[:-1],  # cut in the trailer
        lambda data: data[:-8] + bytes(8),  # a wrong checksum
        lambda data: data[:3] + b"\xe0" + data[4:],  # reserved flags
        lambda data: data[:3] + b"\x08" + data[4:10] + b"a" * 5000,  # a name without end
        lambda data: data[:40],  # cut in the data
        lambda data: data[:5],  # cut in the header
    ],
)
def test_damaged_gzip(damage: Callable[[bytes], bytes]) -> None:
    good = member(words(1, 2000))
    assert len(scan.scan(memoryview(good)).parts) == 1
    assert not scan.scan(memoryview(damage(good))).parts


def test_gzip_header_fields() -> None:
    packed = member(words(1, 2000))
    header = b"\x1f\x8b\x08\x1e\0\0\0\0\2\3" + b"\4\0abcd" + b"name\0" + b"comment\0" + b"\0\0"
    assert len(scan.scan(memoryview(header + packed[10:])).parts) == 1
    assert len(scan.scan(memoryview(gzip.compress(words(2, 2000)) * 3)).parts) == 3


# ---- what is sent --------------------------------------------------------------------------------------------------


def test_no_encoders_no_view(tmp_path: Path) -> None:
    old, new = words(1, 20_000), changed(words(1, 20_000), 3)
    bench = Bench(tmp_path, member(old), member(new))
    for encoders in (frozenset[CodingId](), frozenset({CodingId.ZSTD})):
        bench.pack(PackOptions(encoders=encoders))
        assert bench.record().new_view is None


def test_a_view_that_does_not_pay_is_not_used(tmp_path: Path) -> None:
    """Nothing in common: the whole image is smaller than what is inside of it."""
    bench = Bench(tmp_path, member(words(1, 20_000)), member(words(2, 20_000)))
    plain = bench.pack(PackOptions(encoders=frozenset())).package
    assert bench.pack().package <= plain + 64


def test_a_view_that_needs_too_much_memory_is_not_used(tmp_path: Path) -> None:
    bench = Bench(tmp_path, member(words(1, 20_000)), member(changed(words(1, 20_000), 3)))
    made = bench.pack(PackOptions(ram=512 << 10))
    assert made.ram <= 512 << 10
    record = bench.record()
    assert record.new_view is None
    assert record.note is not None
    assert record.note.startswith("needs ")
    made = bench.pack(PackOptions(ram=2 << 20))
    assert bench.record().new_view is View.PARTS
    assert made.ram <= 2 << 20


def test_the_package_says_what_it_needs(tmp_path: Path) -> None:
    bench = Bench(tmp_path, member(words(1, 20_000)), member(changed(words(1, 20_000), 3)))
    made = bench.pack()
    inspection = inspect_package(str(bench.package))
    manifest = next(inspection.entries).record
    assert {"view-parts", "deflate-zlib"} <= set(manifest.needs)  # type: ignore[union-attr]
    assert inspection.preamble.workspace % 4096 == 0
    assert 300_000 < inspection.preamble.workspace < made.ram


def test_the_same_bytes_every_time(tmp_path: Path) -> None:
    bench = Bench(tmp_path, member(words(1, 20_000)), member(changed(words(1, 20_000), 3)))
    bench.pack()
    first = bench.package.read_bytes()
    bench.pack(PackOptions(jobs=3))
    assert bench.package.read_bytes() == first


def test_an_applier_without_the_coding_refuses_by_name(tmp_path: Path) -> None:
    records = v.record(5, {b.NEW_VIEW: 1}, b"")
    for folder in ("root", "tmp"):
        (tmp_path / folder).mkdir()
    options = ExecOptions(workspace=409600)
    executor = Executor(tmp_path / "root", tmp_path / "tmp", options=options)
    with pytest.raises(OtaError) as caught, executor:
        executor.feed(records)
    assert (caught.value.code, caught.value.detail) == (Code.UNSUPPORTED, "deflate-gnu-gzip")


def test_the_board_program_names_its_encoders() -> None:
    done = subprocess.run([board_program("amd64"), "--version"], capture_output=True, text=True, check=True)
    assert any(line.startswith("deflate-zlib (1.") for line in done.stdout.splitlines()[1:])
    assert "deflate-gnu-gzip (own)" in done.stdout.splitlines()


# ---- damaged packages ----------------------------------------------------------------------------------------------


def _viewed() -> Iterator[tuple[bytes, bytes, bytes]]:
    """Old, new and the payload between them."""
    old, new = member(words(1, 3000)), member(changed(words(1, 3000), 3))
    found = expand(old, new, allowed=ALL)
    assert found is not None
    assert not isinstance(found, str)
    front = found.front.encode()
    at = next(i for i, (x, y) in enumerate(zip(found.old, found.new, strict=False)) if x != y)
    yield old, new, front + b.triple([(at, b"")], found.new[at:])


def _apply(folder: Path, old: bytes, new: bytes, payload: bytes) -> Code | None:
    """What becomes of a payload; the file is new or still old."""
    root, tmp = folder / "root", folder / "tmp"
    for each in (root, tmp):
        each.mkdir(exist_ok=True)
    (root / "a").write_bytes(old)
    source = {b.SIZE: len(old)}
    fields = {b.PATH: b"a", b.MODE: 0o600, b.SIZE: len(new), b.DIGEST: b.xxh(new), b.ENGINE: 1, b.SOURCE: source}
    records = b.record(b.MANIFEST, {b.RECORDS: 1, b.BYTES: 0, b.NEEDS: v.NEEDS})
    records += b.record(b.FILE, fields | {b.OLD_VIEW: 1, b.NEW_VIEW: 1}, payload, cut=1000) + b.ENDING
    try:
        with Executor(root, tmp, options=ExecOptions(workspace=1 << 20, coder=codings.Coder())) as executor:
            executor.feed(records)
            executor.finish()
    except OtaError as failure:
        assert (root / "a").read_bytes() == old
        return failure.code
    assert (root / "a").read_bytes() == new
    return None


def test_any_damage_of_a_front_is_refused_or_harmless(tmp_path: Path) -> None:
    ((old, new, payload),) = _viewed()
    assert _apply(tmp_path, old, new, payload) is None
    codes = set()
    for at in range(60):
        for change in (0x01, 0x80):
            broken = bytearray(payload)
            broken[at] ^= change
            codes.add(_apply(tmp_path, old, new, bytes(broken)))
    assert codes <= {None, Code.DELTA, Code.LIMIT, Code.FORMAT, Code.UNSUPPORTED, Code.RESULT}
    assert {Code.DELTA, Code.LIMIT, Code.RESULT} <= codes
