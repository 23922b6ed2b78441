"""JFFS2 nodes: where the compressed data of one begins and ends.

Layout: the kernel's include/uapi/linux/jffs2.h, struct jffs2_raw_inode; numbers of either endianness. A node is
believed only if the CRCs of its header and of its data are right.
"""

from __future__ import annotations

import struct
import zlib
from typing import Final

from otastream.views import codings
from otastream.views.codings import Coding
from otastream.views.ubifs import Node

LITTLE: Final = b"\x85\x19\x02\xe0"
BIG: Final = b"\x19\x85\xe0\x02"
"""Magic and type of a node that holds data."""
BLOCK: Final = 4096
_HEAD: Final = "4sI40xIIB3xII"
"""Magic and type, total length; lengths of the data as they are and decompressed, compression; the CRCs of both."""
_BEGIN: Final = 68
_NODE_CRC: Final = 60  # bytes that it is of
_LONGEST: Final = 12
NAMES: Final = {6: "zlib", 7: "lzo"}


def _crc(data: memoryview) -> int:
    """CRC-32 that begins with 0 and is not inverted."""
    return zlib.crc32(data, 0xFFFFFFFF) ^ 0xFFFFFFFF


def node(image: memoryview, start: int) -> Node:
    """The node at start. ValueError: there is none."""
    if start + _BEGIN > len(image):
        raise ValueError("a node ends early")
    order = "<" if image[start] == LITTLE[0] else ">"
    _, length, packed, size, compression, data_crc, node_crc = struct.unpack_from(order + _HEAD, image, start)
    begin, end = start + _BEGIN, start + _BEGIN + packed
    if length != _BEGIN + packed or end > len(image) or _crc(image[start : start + _NODE_CRC]) != node_crc:
        raise ValueError("no node")
    name = NAMES.get(compression)
    if name is None or not packed:
        return Node(begin, begin, 0, "", None)
    if _crc(image[begin:end]) != data_crc or not 0 < size <= BLOCK:
        raise ValueError("a node with a wrong CRC, or too large")
    return Node(begin, end, size, name, _coding(name))


def _coding(name: str) -> Coding:
    """As mkfs.jffs2 compresses."""
    return codings.lzo(8, longest=_LONGEST) if name == "lzo" else codings.jffs2(3, longest=_LONGEST)
