"""What bytes would cost in a package, about."""

from __future__ import annotations

import mmap
import threading
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

import zstandard

from otastream.native import Buffer
from otastream.tree import READ_SIZE

PROBES: Final = 64
PROBE: Final = 4
"""So many stretches of so many bytes of these parts are looked for in old."""
PROBES_DOUBTED: Final = 16
"""Of those that are not there, so many count as if they were: twice the deviation of 64 draws, at most."""


def plain_least(old: Buffer, new: Buffer, changed: Sequence[tuple[int, int]]) -> int:
    """About the least that a delta of old and new as they are costs for these stretches of new (offset and length),
    which are compressed: where ``PROBE`` bytes stand nowhere in old, it has at least one byte of its own.
    """
    if not isinstance(old, mmap.mmap) or not isinstance(new, mmap.mmap):
        return 0
    whole = sum(size for _, size in changed)
    absent, start, item = 0, 0, iter(changed)
    offset, size = next(item, (0, 0))
    for number in range(PROBES):
        at = whole * number // PROBES
        while at >= start + size:
            start += size
            offset, size = next(item)
        from_ = offset + min(at - start, max(0, size - PROBE))
        absent += old.find(new[from_ : from_ + PROBE]) < 0
    return whole * max(0, absent - PROBES_DOUBTED) // (PROBES * PROBE)


def pieces(data: Buffer) -> Iterator[memoryview]:
    view = memoryview(data).cast("B")
    return (view[pos : pos + READ_SIZE] for pos in range(0, len(view), READ_SIZE))


_ESTIMATE: Final = zstandard.ZstdCompressionParameters.from_level(1, window_log=16)
_KEPT: Final = threading.local()
_BEGINNING: Final = 1 << 14
_OVERHEAD: Final = 24  # at most what a zstd frame costs beside its content, which a record in a package does not pay


def begins_larger(data: Buffer, size: int) -> bool:
    """Whether even the beginning of data compresses to more than size bytes: then all of it does, and the rest need not
    be tried. Most deltas of a small change are decided so.
    """
    view = memoryview(data).cast("B")
    return size < min(len(view), _BEGINNING) and compressed_size([view[:_BEGINNING]]) > size + _OVERHEAD


def compressed_size(pieces: Iterable[bytes | memoryview]) -> int:
    """About what this costs in a package: zstd at its fastest, with the window that packages have."""
    context = getattr(_KEPT, "context", None)
    if context is None:  # making one costs as much as compressing a few KiB
        context = _KEPT.context = zstandard.ZstdCompressor(compression_params=_ESTIMATE)
    compressor = context.compressobj()
    return sum(len(compressor.compress(piece)) for piece in pieces) + len(compressor.flush())
