"""Parts that are made whole: LZ4 and LZO1X blocks by liblz4 and liblzo2 of this system, through ctypes; zlib as
mkfs.jffs2 calls it.

Parameters of these codings, as the wire has them: bits 0..3 the level, 4..8 log2 of the longest part. Level 0 is the
fast algorithm (LZ4_compress_default, lzo1x_1_compress), others are the slow one's (LZ4_compress_HC,
lzo1x_999_compress_level). Bit 9, LZO1X only: lzo1x_optimize goes over the block (mksquashfs, lzop). A block does not
say where it ends: what is decoded has to be all of it.
"""

from __future__ import annotations

import ctypes
import functools
import zlib
from collections.abc import Callable
from typing import Any, Final

import xxhash

from otastream.native import Buffer
from otastream.views import shared
from otastream.views.sample import sample

LZ4_LEVELS: Final = 12
LZO_LEVELS: Final = 9
OPTIMIZED: Final = 1 << 9
LONGEST: Final = range(12, 27)
_LZ4_STATE: Final = (16384, 262400)  # bytes of the fast encoder, of the slow one
_LZO_STATE: Final = (131072, 458752)


def params(level: int, longest: int) -> int:
    return level | longest << 4


def valid(params: int, levels: int, optional: int = 0) -> bool:
    return params & 15 <= levels and (params & ~optional) >> 4 in LONGEST


def _size(params: int, state: tuple[int, int], bound: Callable[[int], int], *, encode: bool) -> int:
    """What a board takes: the part, the most that it becomes, the encoder's tables, and what it knows of them."""
    longest = 1 << (params >> 4 & 31)
    tables = state[params & 15 > 0] if encode else 0
    return 128 + tables + longest + (bound(longest) + 15 & ~15)


# ---- LZ4 -----------------------------------------------------------------------------------------------------------


@functools.cache
def _liblz4() -> Any:
    library = shared.open_library("liblz4.so.1")
    # The fast encoder of 32-bit machines writes other bytes than the one that images are made with.
    return None if ctypes.sizeof(ctypes.c_void_p) < 8 else library


def _lz4_bound(size: int) -> int:
    return size + size // 255 + 16


def lz4_size(params: int, *, encode: bool) -> int:
    return _size(params, _LZ4_STATE, _lz4_bound, encode=encode)


def lz4(params: int, data: Buffer) -> bytes:
    """The block that a part becomes. ValueError: no library."""
    library, raw, level = _liblz4(), bytes(data), params & 15
    if library is None:
        raise ValueError("no liblz4")
    room = _lz4_bound(len(raw))
    out = ctypes.create_string_buffer(room)
    if level:
        used = library.LZ4_compress_HC(raw, out, len(raw), room, level)
    else:
        used = library.LZ4_compress_default(raw, out, len(raw), room)
    if used <= 0:
        raise ValueError("liblz4 does not compress this")
    return out.raw[:used]


def unlz4(params: int, data: Buffer, limit: int) -> tuple[bytes, int]:
    """What a block of at most limit bytes holds, and its length. ValueError: it is none."""
    library, packed = _liblz4(), bytes(data)
    if library is None or not 0 < len(packed) <= _lz4_bound(1 << (params >> 4 & 31)):
        raise ValueError("no block of LZ4")
    limit = min(limit, 1 << (params >> 4 & 31))  # not PART_MAX, which takes long to clear
    out = ctypes.create_string_buffer(max(1, limit))
    used = library.LZ4_decompress_safe(packed, out, len(packed), limit)
    if used < 0:
        raise ValueError("incomplete, or too large")
    return out.raw[:used], len(packed)


# ---- LZO1X ---------------------------------------------------------------------------------------------------------


@functools.cache
def _liblzo2() -> Any:
    return shared.open_library("liblzo2.so.2")


def _lzo_bound(size: int) -> int:
    return size + size // 16 + 67


def lzo_size(params: int, *, encode: bool) -> int:
    return _size(params, _LZO_STATE, _lzo_bound, encode=encode)


def lzo(params: int, data: Buffer) -> bytes:
    """The block that a part becomes. ValueError: no library."""
    library, raw, level = _liblzo2(), bytes(data), params & 15
    if library is None:
        raise ValueError("no liblzo2")
    out = ctypes.create_string_buffer(_lzo_bound(len(raw)))
    used, size = ctypes.c_size_t(0), ctypes.c_size_t(len(raw))
    tables = ctypes.create_string_buffer(_LZO_STATE[level > 0])
    if level:
        status = library.lzo1x_999_compress_level(
            raw, size, out, ctypes.byref(used), tables, None, ctypes.c_size_t(0), None, ctypes.c_int(level)
        )
    else:
        status = library.lzo1x_1_compress(raw, size, out, ctypes.byref(used), tables)
    if status == 0 and params & OPTIMIZED:
        copy = ctypes.create_string_buffer(len(raw))  # it decompresses as it goes
        status = library.lzo1x_optimize(out, used, copy, ctypes.byref(size), None)
    if status != 0:
        raise ValueError(f"liblzo2: {status}")
    return out.raw[: used.value]


def unlzo(params: int, data: Buffer, limit: int) -> tuple[bytes, int]:
    """What a block of at most limit bytes holds, and its length. ValueError: it is none."""
    library, packed = _liblzo2(), bytes(data)
    if library is None or len(packed) > _lzo_bound(1 << (params >> 4 & 31)):
        raise ValueError("no block of LZO1X")
    limit = min(limit, 1 << (params >> 4 & 31))
    out, used = ctypes.create_string_buffer(max(1, limit)), ctypes.c_size_t(limit)
    status = library.lzo1x_decompress_safe(packed, ctypes.c_size_t(len(packed)), out, ctypes.byref(used), None)
    if status != 0:
        raise ValueError("incomplete, or too large")
    return out.raw[: used.value], len(packed)


# ---- zlib in JFFS2 -------------------------------------------------------------------------------------------------

JFFS2_LEVELS: Final = 9
_JFFS2_TAIL: Final = 12
_JFFS2_MEMORY: Final = (45056, 270336)  # of the decoder, of the encoder


def jffs2_size(params: int, *, encode: bool) -> int:
    return _JFFS2_MEMORY[encode] + _size(params, (0, 0), _lzo_bound, encode=False)


def jffs2(params: int, data: Buffer) -> bytes:
    """A zlib stream that is flushed 12 bytes before its end and at its end, as in mtd-utils' compr_zlib.c."""
    view = memoryview(data).cast("B")
    if len(view) <= _JFFS2_TAIL:
        raise ValueError("too short")
    worker = zlib.compressobj(params & 15)
    out = worker.compress(view[:-_JFFS2_TAIL]) + worker.flush(zlib.Z_PARTIAL_FLUSH)
    return out + worker.compress(view[-_JFFS2_TAIL:]) + worker.flush(zlib.Z_PARTIAL_FLUSH) + worker.flush()


def unjffs2(params: int, data: Buffer, limit: int) -> tuple[bytes, int]:
    """What a stream of at most limit bytes holds, and its length. ValueError: it is none."""
    limit = min(limit, 1 << (params >> 4 & 31))
    worker = zlib.decompressobj()
    try:
        raw = worker.decompress(data, limit + 1)
    except zlib.error as exc:
        raise ValueError(str(exc)) from exc
    size = memoryview(data).nbytes
    if not worker.eof or worker.unused_data or len(raw) > limit or size > _lzo_bound(1 << (params >> 4 & 31)):
        raise ValueError("incomplete, or too large")
    return raw, size


# ---- known answers -------------------------------------------------------------------------------------------------


def _known(encode: Callable[[int, Buffer], bytes], levels: int, answer: int) -> bool:
    tried = [(params(level, 13), 8000) for level in range(levels + 1)]
    tried += [(params(level, 17), 70_000) for level in (0, levels)]
    if levels == LZO_LEVELS:
        tried += [(made | OPTIMIZED, size) for made, size in tried[-3:]]
    try:
        return xxhash.xxh64_intdigest(b"".join(encode(made, sample(size)) for made, size in tried)) == answer
    except (ValueError, AttributeError):  # no library, or one without what this needs
        return False


_LZ4_ANSWER: Final = 0x7BE466937E56236A
_LZO_ANSWER: Final = 0x76F2D5AE8D4C4B24


def known_lz4() -> bool:
    """Whether liblz4 here writes what 1.9.4 writes."""
    return _known(lz4, LZ4_LEVELS, _LZ4_ANSWER)


def known_lzo() -> bool:
    """The same of liblzo2 2.10."""
    return _known(lzo, LZO_LEVELS, _LZO_ANSWER)
