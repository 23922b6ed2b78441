"""gzip members (RFC 1952): where the deflate data of one begins and ends."""

from __future__ import annotations

import zlib
from typing import Final

from otastream.views.codings import PART_MAX, Coding, deflate

MAGIC: Final = b"\x1f\x8b\x08"
_LEAST: Final = 64  # packed bytes below which looking inside does not pay


def member(image: memoryview, start: int) -> tuple[int, int, Coding]:
    """Offset and length of the deflate data of the member at start, and its likely coding. ValueError: there is none.

    The header and the trailer are checked, so that three bytes that look like a magic are not taken for one.
    """
    begin = start + _header(image, start)
    end, check, size = inflated(image, begin)
    trailer = check.to_bytes(4, "little") + (size & 0xFFFFFFFF).to_bytes(4, "little")
    if image[end : end + 8] != trailer or end - begin < _LEAST:
        raise ValueError("a gzip member with a wrong checksum")
    level = {2: 9, 4: 1}.get(image[start + 8], 6)
    return begin, end - begin, deflate(level, wrapped=False)


def inflated(image: memoryview, begin: int) -> tuple[int, int, int]:
    """Where the deflate data at begin end, CRC32 and size of what they expand to. ValueError: damaged, too large."""
    decoder = zlib.decompressobj(-15)
    check, size, at = 0, 0, begin
    try:
        while not decoder.eof:
            piece = decoder.unconsumed_tail or image[at : at + (1 << 16)]
            if not piece:
                raise ValueError("deflate data that end early")
            if not decoder.unconsumed_tail:
                at += len(piece)
            raw = decoder.decompress(piece, 1 << 20)
            check, size = zlib.crc32(raw, check), size + len(raw)
            if size > PART_MAX:
                raise ValueError("too large")
    except zlib.error as exc:
        raise ValueError(str(exc)) from exc
    return at - len(decoder.unused_data), check, size


def _header(image: memoryview, start: int) -> int:
    """Bytes of the header."""
    if start + 10 > len(image):
        raise ValueError("a gzip header ends early")
    flags = image[start + 3]
    if flags & 0xE0:
        raise ValueError("reserved flags of a gzip header")
    at = start + 10
    if flags & 4:
        at += 2 + int.from_bytes(image[at : at + 2], "little")
    for flag in (8, 16):  # name, comment
        if flags & flag:
            end = bytes(image[at : at + 4096]).find(b"\0")
            if end < 0:
                raise ValueError("a name in a gzip header does not end")
            at += end + 1
    return at + (2 if flags & 2 else 0) - start
