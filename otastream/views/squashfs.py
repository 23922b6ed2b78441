"""Where the compressed parts of a squashfs 4.0 image are: data blocks, fragments, metadata blocks.

Nothing of an image is trusted: every offset is checked, and an image in which one does not fit is damaged as a whole
(ValueError). Format: the kernel's Documentation/filesystems/squashfs.rst and fs/squashfs/squashfs_fs.h.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from otastream.model import CodingId
from otastream.views import codings
from otastream.views.codings import Coding

MAGIC: Final = b"hsqs"
METADATA: Final = 8192
_SUPER: Final = struct.Struct("<4sIIIIHHHHHHQQQQQQQQ")
_NONE: Final = (1 << 64) - 1
_UNCOMPRESSED: Final = 1 << 24
_COMPRESSORS: Final = {
    1: CodingId.DEFLATE, 3: CodingId.LZO, 4: CodingId.XZ, 5: CodingId.LZ4, 6: CodingId.ZSTD,
}  # fmt: skip
NAMES: Final = {1: "gzip", 2: "lzma", 3: "lzo", 4: "xz", 5: "lz4", 6: "zstd"}


@dataclass(frozen=True, slots=True)
class Extent:
    """Compressed bytes of an image, and the most that they may expand to."""

    offset: int
    packed: int
    limit: int


@dataclass(frozen=True, slots=True)
class Super:
    """What of the superblock is needed; offsets from the beginning of the image."""

    block: int
    compressor: int
    flags: int
    inodes: int
    fragments: int
    ids: int
    used: int
    id_table: int
    xattr_table: int
    inode_table: int
    directory_table: int
    fragment_table: int
    export_table: int


def read_super(data: memoryview) -> Super:
    """The superblock at the beginning of data, or ValueError."""
    if len(data) < _SUPER.size:
        raise ValueError("too short")
    (magic, inodes, _, block, fragments, compressor, log, flags, ids, major, minor, _, used, id_table, xattr_table,
     inode_table, directory_table, fragment_table, export_table) = _SUPER.unpack_from(data)  # fmt: skip
    if magic != MAGIC or (major, minor) != (4, 0):
        raise ValueError("no squashfs 4.0")
    if not 12 <= log <= 20 or block != 1 << log:
        raise ValueError(f"a block size of {block}")
    if used > len(data) or not _SUPER.size <= inode_table <= directory_table <= used:
        raise ValueError("a table lies outside")
    tables = (id_table, xattr_table, inode_table, directory_table, fragment_table, export_table)
    return Super(block, compressor, flags, inodes, fragments, ids, used, *tables)


def coding_of(head: Super) -> Coding:
    """How the blocks are decompressed, or ValueError."""
    id_ = _COMPRESSORS.get(head.compressor)
    if id_ is None or id_ not in codings.LIBRARIES:
        raise ValueError(f"compressed with {NAMES.get(head.compressor, head.compressor)}")
    return codings.squashfs_coding(id_, head.block)


def extents(data: memoryview) -> list[Extent]:
    """The compressed parts of the image that data begins with, by offset, none over another. ValueError: damaged."""
    head = read_super(data)
    found: dict[int, Extent] = {}
    for extent in _all(data[: head.used], head, coding_of(head)):
        known = found.setdefault(extent.offset, extent)
        if known.packed != extent.packed:
            raise ValueError("two blocks in one place")
    ordered = [found[offset] for offset in sorted(found)]
    end = _SUPER.size
    for extent in ordered:
        if extent.offset < end or extent.offset + extent.packed > head.used:
            raise ValueError("blocks that overlap")
        end = extent.offset + extent.packed
    return ordered


def _all(data: memoryview, head: Super, coding: Coding) -> Iterator[Extent]:
    stop = _metadata_end(data, head)
    yield from (block.extent for block in _metadata(data, head.inode_table, stop) if block.extent)
    inodes = _joined(data, coding, head.inode_table, head.directory_table)
    for start, sizes in _files(inodes, head):
        at = start
        for size in sizes:
            packed = size & ~_UNCOMPRESSED
            if packed and not size & _UNCOMPRESSED:
                yield Extent(at, packed, head.block)
            at += packed
    for start, size in _fragments(data, head, coding):
        if size and not size & _UNCOMPRESSED:
            yield Extent(start, size, head.block)
    for at in _table_blocks(data, head):
        block = next(_metadata(data, at, at + 1))
        if block.extent:
            yield block.extent
    if head.xattr_table != _NONE:
        yield from _xattrs(data, head)


# ---- metadata ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Block:
    """One metadata block: where its content is, and as an extent if it is compressed."""

    start: int
    end: int
    extent: Extent | None


def _metadata(data: memoryview, start: int, stop: int) -> Iterator[_Block]:
    """The blocks from start on; the last one begins before stop."""
    while start < stop:
        if start + 2 > len(data):
            raise ValueError("metadata ends early")
        size = int.from_bytes(data[start : start + 2], "little")
        packed = size & 0x7FFF or 0x8000
        start += 2
        if start + packed > len(data):
            raise ValueError("metadata ends early")
        yield _Block(start, start + packed, None if size & 0x8000 else Extent(start, packed, METADATA))
        start += packed


def _content(data: memoryview, block: _Block, coding: Coding) -> bytes:
    packed = data[block.start : block.end]
    return bytes(packed) if block.extent is None else codings.decode(coding, packed, METADATA)[0]


def _joined(data: memoryview, coding: Coding, start: int, stop: int) -> bytes:
    return b"".join(_content(data, block, coding) for block in _metadata(data, start, stop))


def _index(data: memoryview, table: int, count: int) -> list[int]:
    """Offsets of the metadata blocks of a table that is found through an index."""
    if table + 8 * count > len(data):
        raise ValueError("an index lies outside")
    return list(struct.unpack_from(f"<{count}Q", data, table))


def _table_blocks(data: memoryview, head: Super) -> Iterator[int]:
    """The metadata blocks of the tables of fragments, exports and ids."""
    fragments = head.fragment_table if head.fragments else _NONE
    sizes = ((fragments, head.fragments * 16), (head.export_table, head.inodes * 8), (head.id_table, head.ids * 4))
    for table, size in sizes:
        if table != _NONE:
            yield from _index(data, table, -(-size // METADATA))


def _xattrs(data: memoryview, head: Super) -> Iterator[Extent]:
    if head.xattr_table + 16 > len(data):
        raise ValueError("an index lies outside")
    start, count, _ = struct.unpack_from("<QII", data, head.xattr_table)
    ids = _index(data, head.xattr_table + 16, -(-count * 16 // METADATA))
    values = _metadata(data, start, min(ids, default=start))
    blocks = [*values, *(next(_metadata(data, at, at + 1)) for at in ids)]
    yield from (block.extent for block in blocks if block.extent)


def _metadata_end(data: memoryview, head: Super) -> int:
    """Where inodes and directories end: at the first block of the fragment table, else of what follows."""
    if head.fragments and head.fragment_table != _NONE:
        return min(_index(data, head.fragment_table, -(-head.fragments * 16 // METADATA)))
    if head.export_table != _NONE:
        return min(_index(data, head.export_table, -(-head.inodes * 8 // METADATA)), default=head.used)
    return min(_index(data, head.id_table, -(-head.ids * 4 // METADATA)), default=head.used)


def _fragments(data: memoryview, head: Super, coding: Coding) -> Iterator[tuple[int, int]]:
    if not head.fragments or head.fragment_table == _NONE:
        return
    left = head.fragments
    for at in _index(data, head.fragment_table, -(-left * 16 // METADATA)):
        content = _content(data, next(_metadata(data, at, at + 1)), coding)
        count = min(left, METADATA // 16)
        if len(content) < 16 * count:
            raise ValueError("a fragment table ends early")
        for number in range(count):
            start, size, _ = struct.unpack_from("<QII", content, 16 * number)
            yield start, size
        left -= count


# ---- inodes --------------------------------------------------------------------------------------------------------

_DIR, _FILE, _LINK, _BLOCK, _CHAR, _FIFO, _SOCKET = range(1, 8)
_INODE: Final = 16  # bytes that all have in common
_PLAIN: Final = {_BLOCK: 8, _CHAR: 8, _FIFO: 4, _SOCKET: 4, _DIR: 16}
_LONG: Final = {_BLOCK: 12, _CHAR: 12, _FIFO: 8, _SOCKET: 8}


def _files(inodes: bytes, head: Super) -> Iterator[tuple[int, tuple[int, ...]]]:
    """Start and block sizes of every file. The inodes stand one after the other."""
    at = 0
    try:
        for _ in range(head.inodes):
            kind = int.from_bytes(inodes[at : at + 2], "little")
            at += _INODE
            if kind in (_FILE, _FILE + 7):
                at, start, count = _file(inodes, at, head, extended=kind == _FILE + 7)
                yield start, struct.unpack_from(f"<{count}I", inodes, at)
                at += 4 * count
            else:
                at = _skip(inodes, at, kind)
    except struct.error as exc:
        raise ValueError("the inode table ends early") from exc


def _file(inodes: bytes, at: int, head: Super, *, extended: bool) -> tuple[int, int, int]:
    """Where the block sizes of a file begin, where its blocks do, and how many there are."""
    if extended:
        start, size, _, _, fragment, _, _ = struct.unpack_from("<QQQIIII", inodes, at)
        at += 40
    else:
        start, fragment, _, size = struct.unpack_from("<IIII", inodes, at)
        at += 16
    count = size // head.block if fragment != 0xFFFFFFFF else -(-size // head.block)
    if count > (len(inodes) - at) // 4:
        raise ValueError("a file has more blocks than the table has room for")
    return at, start, count


def _skip(inodes: bytes, at: int, kind: int) -> int:
    """Where the next inode begins, for all that are no files."""
    if kind in (_LINK, _LINK + 7):
        length = int.from_bytes(inodes[at + 4 : at + 8], "little")
        return at + 8 + length + (4 if kind == _LINK + 7 else 0)
    if kind == _DIR + 7:
        _, _, _, _, count, _, _ = struct.unpack_from("<IIIIHHI", inodes, at)
        at += 24
        for _ in range(count):
            _, _, length = struct.unpack_from("<III", inodes, at)
            at += 12 + length + 1
        return at
    if kind in _PLAIN:
        return at + _PLAIN[kind]
    if kind - 7 in _LONG:
        return at + _LONG[kind - 7]
    raise ValueError(f"an inode of type {kind}")
