"""UBIFS data nodes: where the compressed data of one begins and ends.

Layout: the kernel's fs/ubifs/ubifs-media.h. A node is found by its magic and believed only if its CRC is right, so an
image is read node by node, wherever it lies: as mkfs.ubifs writes it, in a UBI image, in part of a volume.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass
from typing import Final

from otastream.views import codings
from otastream.views.codings import Coding

MAGIC: Final = b"\x31\x18\x10\x06"
BLOCK: Final = 4096
"""The most bytes that a data node holds, decompressed."""
_HEAD: Final = struct.Struct("<IIQIB")  # of every node: magic, CRC of what follows, sequence number, length, type
_COMMON: Final = 24
_DATA: Final = struct.Struct("<IH")  # of a data node at offset 40: size, compression
_BEGIN: Final = 48
_DATA_NODE: Final = 1
_TYPES: Final = range(14)
_LONGEST: Final = 12
NAMES: Final = {0: "none", 1: "lzo", 2: "zlib", 3: "zstd"}


@dataclass(frozen=True, slots=True)
class Node:
    """A node. coding None: it holds nothing compressed; size: of its data, decompressed. Offsets are of the image."""

    begin: int
    end: int
    size: int
    kind: str
    coding: Coding | None


def node(image: memoryview, start: int) -> Node:
    """The node at start. ValueError: there is none."""
    if start + _COMMON > len(image):
        raise ValueError("a node ends early")
    _, crc, _, length, kind = _HEAD.unpack_from(image, start)
    end = start + length
    if kind not in _TYPES or not _COMMON <= length <= len(image) - start:
        raise ValueError("no node")
    if zlib.crc32(image[start + 8 : end]) ^ 0xFFFFFFFF != crc:
        raise ValueError("a node with a wrong CRC")
    if kind != _DATA_NODE or length <= _BEGIN:
        return Node(end, end, 0, "", None)
    size, compression = _DATA.unpack_from(image, start + 40)
    name = NAMES.get(compression, str(compression))
    coding = _coding(name)
    if not 0 < size <= BLOCK:
        raise ValueError("a data node that is too large")
    return Node(start + _BEGIN, start + _BEGIN if name == "none" else end, size, name, coding)


def _coding(name: str) -> Coding | None:
    """As mkfs.ubifs compresses when it is told nothing else."""
    if name == "lzo":
        return codings.lzo(8, longest=_LONGEST)
    if name == "zlib":
        return codings.deflate(6, wrapped=False, window=11)
    return codings.zstd(level=3, longest=_LONGEST) if name == "zstd" else None
