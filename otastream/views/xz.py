"""Blocks of .xz streams: where the LZMA2 data of one begins and ends. All else of a stream are plain bytes.

Nothing is decoded to find out: LZMA2 data are chunks that say how long they are. Format: the .xz file format 1.1.0.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from otastream.views.codings import PART_MAX, Coding, xz
from otastream.views.streams import dictionary_byte
from otastream.views.xz_header import xz_filters

MAGIC: Final = b"\xfd7zXZ\0"
_CHECKS: Final = {0: 0, 1: 4, 4: 8, 10: 32}
"""Bytes of the checksum behind a block, by its type."""
_LEAST: Final = 64  # packed bytes below which looking inside does not pay


@dataclass(frozen=True, slots=True)
class Block:
    """LZMA2 data: where they are, and what is needed to decode them. made: with the dictionary that it was made with.

    A dictionary that all of it fits into takes less memory, and mostly makes the same bytes: it has a smaller table of
    hashes.
    """

    offset: int
    packed: int
    raw: int
    coding: Coding
    made: Coding


def blocks(image: memoryview, start: int) -> list[Block]:
    """The blocks of the stream at start. ValueError: there is none, or none that is worth it."""
    header = bytes(image[start : start + 12])
    if len(header) < 12 or header[6] or header[7] not in _CHECKS or not _checked(header[6:]):
        raise ValueError("no .xz stream")
    found = [block for block in _blocks(image, start + 12, _CHECKS[header[7]]) if block.packed >= _LEAST]
    if not found:
        raise ValueError("no block of interest")
    return found


def _blocks(image: memoryview, at: int, check: int) -> Iterator[Block]:
    while at < len(image) and image[at]:
        header = image[at : at + 4 * (1 + image[at])]
        filters = xz_filters(image[at:])
        if filters is None or not _checked(bytes(header)):
            raise ValueError("a block of another kind")
        at += len(header)
        packed, raw = _lzma2(image, at)
        least, branch = min(filters[0], dictionary_byte(raw)), filters[1]
        codings = [xz(dictionary=byte, longest=12, branch=branch, raw=True) for byte in (least, filters[0])]
        yield Block(at, packed, raw, *codings)
        at += -(-packed // 4) * 4 + check


def _checked(data: bytes) -> bool:
    """Whether the last four bytes are the CRC32 of the others."""
    return len(data) > 4 and zlib.crc32(data[:-4]) == int.from_bytes(data[-4:], "little")


def _lzma2(image: memoryview, start: int) -> tuple[int, int]:
    """Bytes of the chunks at start with their end, and what they expand to."""
    at, raw = start, 0
    while (head := bytes(image[at : at + 6])) and head[0]:
        if len(head) < 6 or 2 < head[0] < 0x80 or raw > PART_MAX:
            raise ValueError("a damaged chunk")
        size = 1 + int.from_bytes(head[1:3], "big")
        if head[0] < 0x80:
            at += 3 + size
        else:
            size += (head[0] & 0x1F) << 16
            at += 5 + (head[0] >= 0xC0) + 1 + int.from_bytes(head[3:5], "big")
        raw += size
    if not head or not raw:
        raise ValueError("LZMA2 data that end early")
    return at + 1 - start, raw
