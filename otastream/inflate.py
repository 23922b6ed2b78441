"""Streaming decompression in bounded memory, for the stream inside the frames and for an outer layer. Sans I/O.

A small piece of compressed input can stand for gigabytes (a bomb), so all decoders hand out bounded pieces: zlib and
lzma have a limit for that; zstd data is handed to the library one block at a time, each of which makes at most 128 KiB
(RFC 8878 section 3.1.1.2).
"""

from __future__ import annotations

import enum
import lzma
import zlib
from collections.abc import Iterable, Iterator
from typing import Final

import zstandard

OUTPUT: Final = 1 << 16  # bytes of a piece that gunzip and unlzma give
_BLOCK_MAX: Final = 1 << 17
_ZSTD_MAGIC: Final = b"\x28\xb5\x2f\xfd"


class Fault(enum.Enum):
    """What is wrong with compressed data."""

    DAMAGED = "does not decode"
    EARLY = "ends early"
    WINDOW = "needs a larger window"
    TRAILING = "goes on after its end"


class InflateError(Exception):
    """Compressed data is at fault; the caller knows which layer it is and what that means."""

    def __init__(self, fault: Fault) -> None:
        self.fault = fault
        super().__init__(fault.value)


def gunzip(pieces: Iterable[bytes], *, window_log: int) -> Iterator[bytes]:
    """One gzip member (RFC 1952) with a window of at most 2^window_log bytes, 9..15 -> pieces of at most 64 KiB."""
    decoder = zlib.decompressobj(16 + window_log)  # 16: the gzip wrapper
    ended = False
    for piece in pieces:
        data = bytes(piece)
        while data:  # output that is held back behind a full piece comes with later input, at the latest the trailer
            if ended:
                raise InflateError(Fault.TRAILING)
            try:
                output = decoder.decompress(data, OUTPUT)
            except zlib.error:
                raise InflateError(Fault.DAMAGED) from None
            ended = decoder.eof
            data = decoder.unused_data if ended else decoder.unconsumed_tail
            if output:
                yield output
    if not ended:
        raise InflateError(Fault.EARLY)


def unlzma(pieces: Iterable[bytes], *, window_log: int) -> Iterator[bytes]:
    """One LZMA2 stream with a dictionary of 2^window_log bytes, 12..27 -> pieces of at most 64 KiB."""
    chain = [{"id": lzma.FILTER_LZMA2, "dict_size": 1 << window_log}]
    decoder = lzma.LZMADecompressor(lzma.FORMAT_RAW, filters=chain)
    for piece in pieces:
        data = bytes(piece)
        while data or not (decoder.needs_input or decoder.eof):  # what is held back comes without more input
            if decoder.eof:
                raise InflateError(Fault.TRAILING)
            try:
                output = decoder.decompress(data, OUTPUT)
            except lzma.LZMAError:
                raise InflateError(Fault.DAMAGED) from None
            data = decoder.unused_data
            if output:
                yield output
    if not decoder.eof:
        raise InflateError(Fault.EARLY)


def unzstd(pieces: Iterable[bytes], *, window_log: int, plain: bool = False) -> Iterator[bytes]:
    """One zstd frame (RFC 8878) with a window of at most 2^window_log bytes -> pieces of at most 128 KiB.

    plain: refuse (DAMAGED) a frame with a dictionary or a checksum.
    """
    walker = _ZstdWalker(1 << window_log, plain=plain)
    decoder = zstandard.ZstdDecompressor(max_window_size=1 << window_log).decompressobj()
    for piece in pieces:
        for part in walker.split(bytes(piece)):
            try:
                output = decoder.decompress(part)
            except zstandard.ZstdError:
                raise InflateError(Fault.DAMAGED) from None
            if output:
                yield output
    if not walker.ended:
        raise InflateError(Fault.EARLY)


class _ZstdWalker:
    """Cuts a zstd frame at the borders of its header and blocks, without decoding them."""

    def __init__(self, window_max: int, *, plain: bool) -> None:
        self.ended = False
        self._window_max = window_max
        self._plain = plain
        self._step = self._start  # looks at the next bytes that are collected
        self._collected = b""
        self._wanted = 5
        self._body = 0  # bytes of a block or checksum that are to come
        self._last = False
        self._checksum = 0
        self._descriptor = 0

    def split(self, data: bytes) -> Iterator[bytes]:
        """The same bytes; no part goes over the end of a block."""
        while data:
            if self.ended:
                raise InflateError(Fault.TRAILING)
            if self._body:
                part, data = data[: self._body], data[self._body :]
                self._body -= len(part)
            else:
                missing = self._wanted - len(self._collected)
                part, data = data[:missing], data[missing:]
                self._collected += part
                if len(part) == missing:
                    collected, self._collected = self._collected, b""
                    self._step(collected)
            self.ended = self._last and not self._body
            yield part

    def _start(self, data: bytes) -> None:
        """Magic number and frame header descriptor."""
        self._descriptor = data[4]
        single, dictionary = self._descriptor >> 5 & 1, (0, 1, 2, 4)[self._descriptor & 3]
        if data[:4] != _ZSTD_MAGIC or self._descriptor & 8:
            raise InflateError(Fault.DAMAGED)
        self._checksum = 4 * (self._descriptor >> 2 & 1)
        if self._plain and (dictionary or self._checksum):
            raise InflateError(Fault.DAMAGED)
        self._wanted = 1 - single + dictionary + (single, 2, 4, 8)[self._descriptor >> 6]
        self._step = self._header

    def _header(self, data: bytes) -> None:
        """Window descriptor, or the content size that stands for it."""
        if self._descriptor & 0x20:
            size = 1 << (self._descriptor >> 6)
            window = int.from_bytes(data[-size:], "little") + (256 if size == 2 else 0)
        else:
            base = 1 << 10 + (data[0] >> 3)
            window = base + base // 8 * (data[0] & 7)
        if window > self._window_max:
            raise InflateError(Fault.WINDOW)
        self._wanted, self._step = 3, self._block

    def _block(self, data: bytes) -> None:
        """Block header: is it the last, its type, its size."""
        word = int.from_bytes(data, "little")
        kind, size = word >> 1 & 3, word >> 3
        if kind == 3 or size > _BLOCK_MAX:
            raise InflateError(Fault.DAMAGED)
        self._body = 1 if kind == 1 else size
        if word & 1:
            self._last = True
            self._body += self._checksum
