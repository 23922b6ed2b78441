"""What `inspect` calls the things that were found in an image."""

from __future__ import annotations

import gzip
import lzma
import struct
import zlib

import pytest
import zstandard

from golden.builder import noise
from otastream.views import naming, scan
from test_views import words

CPIO = b"070701" + words(1, 5000)
KERNEL = words(2, 56)[:56] + b"ARM\x64" + words(3, 5000)


def member(data: bytes) -> bytes:
    return gzip.compress(data, 9, mtime=0)


def uimage(data: bytes) -> bytes:
    return struct.pack(">7I4B32s", 0x27051956, 0, 0, len(data), 0, 0, zlib.crc32(data), 5, 2, 2, 1, b"Linux") + data


def zimage(data: bytes) -> bytes:
    """Code, header included, then what it unpacks."""
    code = bytearray(noise(6000))
    code[36:48] = struct.pack("<III", 0x016F2818, 0, len(code) + len(data))
    return bytes(code) + data


@pytest.mark.parametrize(
    ("image", "note"),
    [
        (member(words(1, 5000)), "gzip"),
        (noise(100) + member(CPIO), "gzip cpio"),
        (uimage(member(words(1, 5000))), "uImage gzip"),
        (uimage(member(KERNEL)) + noise(70) + member(CPIO), "uImage gzip Image, gzip cpio"),
        (zimage(member(words(1, 5000))), "zImage gzip"),
        (zimage(member(words(1, 5000))) + noise(50) + member(words(2, 5000)), "zImage gzip, gzip"),
        (lzma.compress(CPIO, check=lzma.CHECK_CRC32), "xz cpio"),
        (zstandard.compress(CPIO), "zstd cpio"),
        (b"UBI#" + noise(60) + member(words(1, 5000)), "UBI image, gzip"),
        (b"UBI#" + noise(9000), ""),
        (member(words(3, 257)[:257] + b"ustar" + words(4, 999)), "gzip tar"),
    ],
)
def test_names(image: bytes, note: str) -> None:
    assert scan.scan(memoryview(image)).note == note


def test_a_damaged_head_has_no_name() -> None:
    """The container was believed for its structure; what it decodes to is not needed for a name."""
    for kind in ("gzip", "xz", "zstd"):
        assert naming.member(memoryview(noise(3000)), kind, 0, 0) == kind


def test_many_names_leave_room() -> None:
    names = [f"squashfs gzip ({1 << size} KiB blocks)" for size in range(2, 11)]
    text = naming.joined(names)
    assert len(text) <= naming.NAMES_MAX
    assert text.endswith(f" and {len(names) - text.count('squashfs')} more")
    assert naming.joined(names[:1]) == names[0]
    assert naming.joined([]) == ""
