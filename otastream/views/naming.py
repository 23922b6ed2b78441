"""What people call the things that were found in an image: what a compressed member holds, and what it is wrapped in.

Names only: nothing depends on them, so a look at a magic is enough.
"""

from __future__ import annotations

import lzma
import struct
import zlib
from collections.abc import Sequence
from typing import Final

import zstandard

_HEAD: Final = 512  # bytes at the beginning of a member's content that its name is taken from
_PACKED: Final = 1 << 16  # bytes of it that are decompressed for them, at most
_MEMORY: Final = 64 << 20  # that this may take
_CONTENTS: Final = ((0, b"070701", "cpio"), (0, b"070702", "cpio"), (257, b"ustar", "tar"), (56, b"ARM\x64", "Image"))
"""Offset, magic, name: archives of initramfs, of backups, and the header of an arm64 kernel."""
_UIMAGE: Final = b"\x27\x05\x19\x56"  # U-Boot's legacy image: a header of 64 bytes
_UIMAGE_SIZE: Final = 64
_ZIMAGE: Final = b"\x18\x28\x6f\x01"  # at byte 36 of an ARM zImage, then where it begins and ends
_ZIMAGE_AT: Final = 36
_ZIMAGE_CODE: Final = 1 << 16  # bytes of the code that unpacks, at most
_UBI: Final = b"UBI#"  # the header of an erase block
NAMES_MAX: Final = 100
"""Bytes of the names of what an image holds; further ones are counted."""


def member(image: memoryview, kind: str, start: int, begin: int) -> str:
    """A name for a gzip, xz or zstd member. start: where it is; begin: where its deflate data are, or again start."""
    head = _head(kind, image[begin : begin + _PACKED])
    held = next((name for at, magic, name in _CONTENTS if head[at : at + len(magic)] == magic), "")
    return " ".join(word for word in (_around(image, start), kind, held) if word)


def _head(kind: str, packed: memoryview) -> bytes:
    """How the content of a member begins; nothing if it is damaged."""
    try:
        if kind == "gzip":
            return zlib.decompressobj(-15).decompress(packed, _HEAD)
        if kind == "xz":
            return lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=_MEMORY).decompress(bytes(packed), _HEAD)
        with zstandard.ZstdDecompressor(max_window_size=_MEMORY).stream_reader(packed) as reader:
            return reader.read(_HEAD)
    except (zlib.error, lzma.LZMAError, zstandard.ZstdError):
        return b""


def _around(image: memoryview, start: int) -> str:
    head = bytes(image[start - _UIMAGE_SIZE : start]) if start >= _UIMAGE_SIZE else b""
    if head.startswith(_UIMAGE):
        return "uImage"
    return "zImage" if _zimage(image, start) else ""


def _zimage(image: memoryview, start: int) -> bool:
    """Whether the code of a zImage stands in front."""
    first = max(0, start - _ZIMAGE_CODE)
    at = bytes(image[first:start]).rfind(_ZIMAGE)
    if at < 0:
        return False
    begin, end = struct.unpack_from("<II", image, first + at + 4) if first + at + 12 <= len(image) else (0, 0)
    return bool(begin == 0 and start < first + at - _ZIMAGE_AT + end)


def whole(image: memoryview) -> tuple[str, ...]:
    """What an image is from its beginning on, as ubinize writes it."""
    return ("UBI image",) if bytes(image[: len(_UBI)]) == _UBI else ()


def joined(names: Sequence[str]) -> str:
    """In one text that is not too long."""
    for count in range(len(names), 1, -1):
        more = len(names) - count
        text = ", ".join(names[:count]) + (f" and {more} more" if more else "")
        if len(text.encode()) <= NAMES_MAX:
            return text
    return ", ".join(names[:1]) + (f" and {len(names) - 1} more" if len(names) > 1 else "")
