"""Stage: record stream -> compressed stream (docs/SPEC.md section 3.1)."""

from __future__ import annotations

import lzma
import zlib
from collections.abc import Iterable, Iterator
from typing import Final, Protocol

import zstandard

from otastream.container import WINDOW_LOGS
from otastream.errors import Code, error
from otastream.model import Codec

ZSTD_LEVEL: Final = 19
GZIP_LEVEL: Final = 9
LZMA_LEVEL: Final = 9


class _Compressor(Protocol):
    def compress(self, data: bytes, /) -> bytes: ...
    def flush(self) -> bytes: ...


def compress(pieces: Iterable[bytes], *, codec: Codec, window_log: int, level: int | None = None) -> Iterator[bytes]:
    """Bytes in any split -> bytes of one compressed stream, the same for the same joined input and split.

    window_log: log2 of the window in bytes, in the range of the codec (0 for none; gzip 9..15; zstd 10..27; lzma
    12..27), else USAGE. level: gzip 1..9 (default 9), zstd 1..22 (default 19), lzma 1..9 (default 9), no effect with
    none.
    """
    if window_log not in WINDOW_LOGS[codec]:
        raise error(Code.USAGE, f"window log {window_log} for codec {codec.name.lower()}")
    if codec is Codec.NONE:
        return (bytes(piece) for piece in pieces)
    make = {Codec.GZIP: _gzip, Codec.ZSTD: _zstd, Codec.LZMA: _lzma}[codec]
    return _run(pieces, make(window_log, level))


def _run(pieces: Iterable[bytes], compressor: _Compressor) -> Iterator[bytes]:
    for piece in pieces:
        if data := compressor.compress(piece):
            yield data
    yield compressor.flush()


def _gzip(window_log: int, level: int | None) -> _Compressor:
    level = GZIP_LEVEL if level is None else level
    if level not in range(1, 10):
        raise error(Code.USAGE, f"codec gzip has no level {level}", hint="levels are 1 to 9")
    return zlib.compressobj(level, zlib.DEFLATED, 16 + window_log)  # 16: the gzip wrapper, with mtime 0 and no name


def _zstd(window_log: int, level: int | None) -> _Compressor:
    level = ZSTD_LEVEL if level is None else level
    if level not in range(1, zstandard.MAX_COMPRESSION_LEVEL + 1):
        raise error(
            Code.USAGE, f"codec zstd has no level {level}", hint=f"levels are 1 to {zstandard.MAX_COMPRESSION_LEVEL}"
        )
    usual = zstandard.ZstdCompressionParameters.from_level(level)
    params = zstandard.ZstdCompressionParameters.from_level(
        level,
        window_log=window_log,
        # The tables of a level are made for its own window: at level 19 80 MiB for one of 8 MiB. A smaller window has
        # no use for so many entries (a binary tree has two a position); at the default the bytes stay the same.
        hash_log=min(usual.hash_log, window_log + 1),
        chain_log=min(usual.chain_log, window_log + 1),
        write_content_size=False,
        write_checksum=False,
        write_dict_id=False,
    )
    return zstandard.ZstdCompressor(compression_params=params).compressobj()


def _lzma(window_log: int, level: int | None) -> _Compressor:
    level = LZMA_LEVEL if level is None else level
    if level not in range(1, 10):
        raise error(Code.USAGE, f"codec lzma has no level {level}", hint="levels are 1 to 9")
    # pb 0: what is compressed is made of bytes and varints, which are aligned to nothing
    preset = level | lzma.PRESET_EXTREME if level == LZMA_LEVEL else level
    chain = {"id": lzma.FILTER_LZMA2, "preset": preset, "dict_size": 1 << window_log, "lc": 3, "lp": 0, "pb": 0}
    return lzma.LZMACompressor(lzma.FORMAT_RAW, filters=[chain])
