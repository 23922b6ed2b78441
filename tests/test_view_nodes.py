"""Deltas that look inside of flash file systems: images made node by node here, and by mkfs.ubifs and mkfs.jffs2."""

from __future__ import annotations

import random
import shutil
import struct
import subprocess
import zlib
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from e2e_support import Applier, applier_with_encoders
from golden import builder as b
from otastream.model import CodingId, View
from otastream.options import PackOptions
from otastream.views import codings, scan
from otastream.views.expand import GIVE_UP, expand
from test_views import Bench, sprinkled, words

ALL = frozenset(CodingId)
needs_mkfs = pytest.mark.skipif(shutil.which("mkfs.ubifs") is None, reason="no mkfs.ubifs")
needs_mkfs_jffs2 = pytest.mark.skipif(shutil.which("mkfs.jffs2") is None, reason="no mkfs.jffs2")
COMPRESSIONS = {"lzo": CodingId.LZO, "zlib": CodingId.DEFLATE, "zstd": CodingId.ZSTD}


def node(kind: int, sequence: int, body: bytes) -> bytes:
    """A node of ubifs, padded to 8 bytes."""
    checked = struct.pack("<QIBBxx", sequence, 24 + len(body), kind, 0) + body
    made = struct.pack("<II", 0x06101831, zlib.crc32(checked) ^ 0xFFFFFFFF) + checked
    return made + bytes(-len(made) % 8)


def data_node(sequence: int, inode: int, number: int, data: bytes) -> bytes:
    """One block of a file, by zlib as mkfs.ubifs calls it."""
    worker = zlib.compressobj(6, zlib.DEFLATED, -11)
    packed = worker.compress(data) + worker.flush()
    key = struct.pack("<II8x", inode, number | 1 << 29)
    return node(1, sequence, key + struct.pack("<IHH", len(data), 2, 0) + packed)


def nodes(files: list[bytes]) -> bytes:
    """An image of these files: data nodes, an inode node behind each file."""
    out, sequence = bytearray(node(6, 0, bytes(4072))), 1
    for inode, data in enumerate(files, 64):
        for number in range(-(-len(data) // 4096)):
            out += data_node(sequence, inode, number, data[4096 * number : 4096 * number + 4096])
            sequence += 1
        out += node(0, sequence, bytes(136))
    return bytes(out)


def files(seed: int) -> list[bytes]:
    made = [words(number, 9000) for number in range(3)]
    edited = bytearray(made[1])
    for at in range(random.Random(seed).randrange(300), len(edited), 300):
        edited[at] = 33 + seed
    return [made[0], bytes(edited), made[2]]


def ubifs(folder: Path, name: str, content: dict[str, bytes], compression: str) -> bytes:
    """An image by mkfs.ubifs."""
    top = folder / name
    for path, data in content.items():
        (top / path).parent.mkdir(parents=True, exist_ok=True)
        (top / path).write_bytes(data)
    made = folder / f"{name}.ubifs"
    args: list[str | Path] = ["mkfs.ubifs", "-m", "2048", "-e", "126976", "-c", "100", "-x", compression]
    subprocess.run([*args, "-r", top, "-o", made], check=True, capture_output=True)
    return made.read_bytes()


def jffs2_node(order: str, version: int, data: bytes, packed: bytes, compression: int = 6) -> bytes:
    """One block of a file, padded to 4 bytes."""
    head = struct.pack(order + "HHI", 0x1985, 0xE002, 68 + len(packed))
    head += struct.pack(order + "I", raw_crc(head))
    head += struct.pack(order + "III", 5, version, 0o100644) + bytes(16) + struct.pack(order + "I", 0) + bytes(4)
    head += struct.pack(order + "IIBBH", len(packed), len(data), compression, 0, 0)
    head += struct.pack(order + "II", raw_crc(packed), raw_crc(head))
    return head + packed + b"\xff" * (-len(packed) % 4)


def raw_crc(data: bytes) -> int:
    return zlib.crc32(data, 0xFFFFFFFF) ^ 0xFFFFFFFF


def jffs2_nodes(files: list[bytes], order: str) -> bytes:
    """As mkfs.jffs2 does."""
    out = bytearray()
    for data in files:
        for at in range(0, len(data), 4096):
            piece = data[at : at + 4096]
            if len(piece) > 12:
                out += jffs2_node(order, at // 4096, piece, codings.encode(codings.jffs2(3, longest=12), piece))
    return bytes(out)


@pytest.mark.parametrize("order", ["<", ">"])
def test_jffs2_nodes_are_rebuilt(tmp_path: Path, applier: Applier, order: str) -> None:
    bench = Bench(tmp_path, jffs2_nodes(files(1), order), jffs2_nodes(files(2), order))
    plain = bench.pack(PackOptions(encoders=frozenset())).package
    made = bench.pack()
    record = bench.record()
    assert record.note is not None
    assert record.note.startswith("jffs2 zlib: ")
    assert record.note.endswith(" 0 sent as they are")
    assert made.package < plain // 2
    assert made.ram < 1536 << 10
    bench.applies(applier)


@pytest.mark.parametrize(("offset", "value"), [(4, 70), (48, 9), (52, 0), (52, 5000), (56, 3), (60, 1), (64, 1)])
def test_a_jffs2_node_that_lies(offset: int, value: int) -> None:
    """Length, packed length, size, compression, and the CRCs; all but the last with a node CRC that is right."""
    data = words(1, 900)[:4096]
    good = jffs2_node("<", 1, data, codings.encode(codings.jffs2(3, longest=12), data))
    lied = bytearray(good)
    lied[offset : offset + (1 if offset == 56 else 4)] = value.to_bytes(1 if offset == 56 else 4, "little")
    if offset != 64:
        lied[64:68] = raw_crc(bytes(lied[:60])).to_bytes(4, "little")
    assert len(scan.scan(memoryview(good)).parts) == 1
    assert not scan.scan(memoryview(lied)).parts


@needs_mkfs_jffs2
@pytest.mark.parametrize("compression", ["zlib", "lzo"])
def test_jffs2_images_by_mkfs(tmp_path: Path, compression: str) -> None:
    """But a few nodes, at the ends of erase blocks, are rebuilt."""
    coding = CodingId.JFFS2 if compression == "zlib" else CodingId.LZO
    if coding not in codings.present():
        pytest.skip(f"no library for {compression}")
    images = []
    for seed in (1, 2):
        for path, data in sprinkled(seed).items():
            (tmp_path / f"t{seed}" / path).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / f"t{seed}" / path).write_bytes(data)
        made = tmp_path / f"t{seed}.jffs2"
        args: list[str | Path] = ["mkfs.jffs2", "-l", "-e", "128KiB", "-X", compression]
        subprocess.run([*args, "-r", tmp_path / f"t{seed}", "-o", made], check=True, capture_output=True)
        images.append(made.read_bytes())
    found = expand(images[0], images[1], allowed=ALL)
    assert found is not None
    assert not isinstance(found, str)
    literal = len(scan.scan(memoryview(images[1])).parts) - found.coded - found.kept
    assert literal * 20 < found.coded + found.kept
    bench = Bench(tmp_path, *images)
    bench.pack(PackOptions(encoders=frozenset({coding})))
    bench.applies(applier_with_encoders("otaunpack"))


def test_nodes_are_rebuilt(tmp_path: Path, applier: Applier) -> None:
    """With what every board has, and less memory than 1.5 MiB."""
    bench = Bench(tmp_path, nodes(files(1)), nodes(files(2)))
    plain = bench.pack(PackOptions(encoders=frozenset())).package
    made = bench.pack()
    record = bench.record()
    assert (record.old_view, record.new_view) == (View.PARTS, View.PARTS)
    assert record.note is not None
    assert record.note.startswith("ubifs zlib: ")
    assert record.note.endswith(" 0 sent as they are")
    assert made.package < plain // 2
    assert made.ram < 1536 << 10
    bench.applies(applier)


@needs_mkfs
@pytest.mark.parametrize("compression", COMPRESSIONS)
@pytest.mark.parametrize("program", ["otastream", "otaunpack"])
def test_images_by_mkfs(tmp_path: Path, compression: str, program: str) -> None:
    """The board program that has all encoders is the one with sanitizers."""
    coding = COMPRESSIONS[compression]
    if coding not in codings.present():
        pytest.skip(f"no library for {compression}")
    images = [ubifs(tmp_path, f"t{seed}", sprinkled(seed), compression) for seed in (1, 2)]
    bench = Bench(tmp_path, *images)
    plain = bench.pack(PackOptions(encoders=frozenset())).package
    assert bench.pack(PackOptions(encoders=frozenset({coding}))).package < plain // 2
    record = bench.record()
    assert record.note is not None
    assert record.note.startswith(f"ubifs {compression}: ")
    assert record.note.endswith(" 0 sent as they are")
    bench.applies(applier_with_encoders(program))


def test_nodes_inside_of_other_files() -> None:
    """Anywhere in a firmware file, at an offset that is no multiple of 8, with erase blocks' headers between."""
    image = nodes(files(1))
    found = scan.scan(memoryview(b.noise(1001) + image[:9000] + b.noise(64) + image[9000:]))
    inside = scan.scan(memoryview(image))
    assert len(inside.parts) - 1 <= len(found.parts) <= len(inside.parts)  # one was cut
    assert found.note == "ubifs zlib"
    assert all(part.raw for part in found.parts)


def test_a_container_in_a_node_that_is_not_compressed() -> None:
    packed = zlib.compressobj(9, zlib.DEFLATED, -15)
    body = packed.compress(words(1, 3000)) + packed.flush()
    member = b"\x1f\x8b\x08\0\0\0\0\0\2\3" + body + struct.pack("<II", zlib.crc32(words(1, 3000)), len(words(1, 3000)))
    held = node(1, 7, bytes(16) + struct.pack("<IHH", min(4096, len(member)), 0, 0) + member)
    assert scan.scan(memoryview(held)).note == "gzip"


@settings(max_examples=60)
@given(data=st.data())
def test_damaged_nodes(data: st.DataObject) -> None:
    """What is broken is plain bytes, all others are found; no error."""
    image = nodes(files(1)[:1])
    broken = bytearray(image)
    for _ in range(data.draw(st.integers(1, 4))):
        broken[data.draw(st.integers(4096, len(image) - 1))] ^= data.draw(st.integers(1, 255))
    total = len(scan.scan(memoryview(image)).parts)
    assert total - 4 <= len(scan.scan(memoryview(broken)).parts) <= total
    for old, new in ((bytes(broken), image), (image, bytes(broken))):
        assert not isinstance(expand(old, new, allowed=ALL), str)


@pytest.mark.parametrize(
    ("offset", "value"), [(16, 23), (16, 0xFFFFFFFF), (20, 14), (40, 0), (40, 4097), (44, 9), (4, 0)]
)
def test_a_node_that_lies(offset: int, value: int) -> None:
    """Length, type, size, compression, CRC; all with the right CRC but the last one."""
    good = data_node(1, 64, 0, words(1, 900)[:4096])
    lied = bytearray(good)
    width = 4 if offset in (4, 16, 40) else 1
    lied[offset : offset + width] = value.to_bytes(width, "little")
    if offset != 4:
        length = min(int.from_bytes(lied[16:20], "little"), len(lied))
        lied[4:8] = (zlib.crc32(lied[8:length]) ^ 0xFFFFFFFF).to_bytes(4, "little")
    assert len(scan.scan(memoryview(good)).parts) == 1
    assert not scan.scan(memoryview(lied)).parts


def test_nodes_of_another_compressor_are_given_up() -> None:
    """As many are tried as say something about all of them."""
    image = nodes([words(number, 3000) for number in range(20)])
    other = bytearray()
    worker = zlib.compressobj(1, zlib.DEFLATED, -9, 1)
    packed = worker.compress(words(1, 1000)[:4096]) + worker.flush()
    for number in range(GIVE_UP + 30):
        body = packed + bytes([number])  # bytes behind the end: no parameters give those
        other += node(1, number, bytes(16) + struct.pack("<IHH", 4096, 2, 0) + body)
    assert expand(image, bytes(other), allowed=ALL) == f"0/{GIVE_UP + 30} reproduced: ubifs zlib"
