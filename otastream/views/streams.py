"""Parts that say where they end: by zlib, GNU gzip, liblzma and libzstd. Parameters are numbers as the wire has them.

Each compresses and decompresses a part whole; what is known of a library is that it writes what boards write.
"""

from __future__ import annotations

import copy
import lzma
import zlib
from collections.abc import Callable
from typing import Final

import xxhash
import zstandard

from otastream import native
from otastream.native import Buffer
from otastream.views import shared
from otastream.views.sample import sample

# ---- deflate -------------------------------------------------------------------------------------------------------


def deflate_params(level: int, *, wrapped: bool, memory: int = 8, window: int = 15, strategy: int = 0) -> int:
    return level | memory << 4 | window << 8 | strategy << 12 | wrapped << 15


def _window(params: int) -> int:
    bits = params >> 8 & 15
    return bits if params >> 15 else -bits


def deflate_size(params: int, *, encode: bool) -> int:
    window, memory = params >> 8 & 15, params >> 4 & 15
    return 8192 + (4 << window) + (512 << memory) if encode else 12288 + (1 << window)


def deflater(params: int) -> zlib._Compress:
    return zlib.compressobj(params & 15, zlib.DEFLATED, _window(params), params >> 4 & 15, params >> 12 & 7)


def deflate(params: int, data: Buffer) -> bytes:
    encoder = deflater(params)
    return encoder.compress(data) + encoder.flush()


def inflate(params: int, data: Buffer, limit: int) -> tuple[bytes, int]:
    decoder = zlib.decompressobj(_window(params))
    try:
        raw = decoder.decompress(data, limit)
        # the end may come after the last byte
        more = b"" if decoder.eof or len(raw) < limit else decoder.decompress(decoder.unconsumed_tail, 1)
    except zlib.error as exc:
        raise ValueError(str(exc)) from exc
    if not decoder.eof or more:
        raise ValueError("incomplete, or too large")
    return raw, memoryview(data).nbytes - len(decoder.unused_data)


class Deflating:
    def __init__(self, params: int) -> None:
        self._encoder = deflater(params)
        self._ready = b""
        self._ended = False

    def step(self, data: bytes, room: int, *, last: bool) -> tuple[int, bytes, bool]:
        taken = 0
        if not self._ready and not self._ended:
            self._ready, taken = self._encoder.compress(data), len(data)
            if last:
                self._ready += self._encoder.flush()
                self._ended = True
        out, self._ready = self._ready[:room], self._ready[room:]
        return taken, out, self._ended and not self._ready


class Inflating:
    def __init__(self, params: int) -> None:
        self._decoder = zlib.decompressobj(_window(params))

    def copy(self) -> Inflating:
        twin = copy.copy(self)
        twin._decoder = self._decoder.copy()
        return twin

    def step(self, data: bytes, room: int, *, last: bool) -> tuple[int, bytes, bool]:
        del last
        if room == 0 or self._decoder.eof:
            return 0, b"", self._decoder.eof
        try:
            out = self._decoder.decompress(data, room)
        except zlib.error as exc:
            raise ValueError(str(exc)) from exc
        rest = len(self._decoder.unconsumed_tail) + len(self._decoder.unused_data)
        return len(data) - rest, out, self._decoder.eof


ANY_DEFLATE: Final = deflate_params(9, wrapped=False)


def known_deflate() -> bool:
    """Whether zlib here writes what zlib writes: an answer for each level and strategy."""
    data = sample(150_000)
    digest = xxhash.xxh64()
    for level in range(1, 10):
        digest.update(deflate(deflate_params(level, wrapped=False), data))
    for strategy in range(1, 5):
        digest.update(deflate(deflate_params(6, wrapped=True, memory=9, window=12, strategy=strategy), data))
    return digest.intdigest() == _DEFLATE_ANSWER


_DEFLATE_ANSWER: Final = 0x86196F546656A185


# ---- deflate by GNU gzip -------------------------------------------------------------------------------------------


def gnuzip(params: int, data: Buffer) -> bytes:
    encoder, view, out, done = native.Gnuzip(params), memoryview(data).cast("B"), bytearray(), False
    while not done:
        taken, made, done = encoder.step(view, 1 << 18, last=True)
        view = view[taken:]
        out += made
    return bytes(out)


def gnuzip_size(params: int, *, encode: bool) -> int:
    return native.gnuzip_size(params) if encode else deflate_size(ANY_DEFLATE, encode=False)


# ---- at once ---------------------------------------------------------------------------------


class Whole:
    """A part that is gathered first, then made at once."""

    def __init__(self, make: Callable[[bytes], bytes]) -> None:
        self._make = make
        self._gathered = b""
        self._ready: bytes | None = None

    def copy(self) -> Whole:
        return copy.copy(self)

    def step(self, data: bytes, room: int, *, last: bool) -> tuple[int, bytes, bool]:
        taken = 0
        if self._ready is None:
            self._gathered += data
            taken = len(data)
            if not last:
                return taken, b"", False
            self._ready = self._make(self._gathered)
        out, self._ready = self._ready[:room], self._ready[room:]
        return taken, out, not self._ready


def xz_params(*, dictionary: int, longest: int, preset: int = 6, branch: int = 0, raw: bool = False) -> int:
    return preset | dictionary << 4 | branch << 10 | longest << 14 | raw << 19


def dictionary_byte(size: int) -> int:
    """Of the smallest dictionary that holds so many bytes."""
    return next(byte for byte in range(41) if _dictionary(byte) >= size)


def _dictionary(byte: int) -> int:
    return (2 | byte & 1) << byte // 2 + 11


def _xz_options(params: int) -> dict[str, int]:
    return {"preset": params & 15, "dictionary": _dictionary(params >> 4 & 63), "branch": params >> 10 & 15}


def xz(params: int, data: Buffer) -> bytes:
    library = shared.lzma()
    if library is None:
        raise ValueError("no liblzma")
    make = library.encode_raw if params >> 19 else library.encode
    return make(bytes(data), **_xz_options(params))


def _xz_chain(params: int) -> list[dict[str, int]]:
    """The filters of a block, as the module lzma wants them."""
    options = _xz_options(params)
    branch = [{"id": options["branch"]}] if options["branch"] else []
    return [*branch, {"id": lzma.FILTER_LZMA2, "dict_size": options["dictionary"]}]


def unxz(params: int, data: Buffer, limit: int) -> tuple[bytes, int]:
    if params >> 19:
        decoder = lzma.LZMADecompressor(lzma.FORMAT_RAW, filters=_xz_chain(params))
    else:
        decoder = lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=64 << 20)
    try:
        raw = decoder.decompress(data, limit)
        more = b"" if decoder.eof or len(raw) < limit else decoder.decompress(b"", 1)
    except lzma.LZMAError as exc:
        raise ValueError(str(exc)) from exc
    if not decoder.eof or more:
        raise ValueError("incomplete, or too large")
    return raw, memoryview(data).nbytes - len(decoder.unused_data)


def xz_size(params: int, *, encode: bool) -> int:
    library = shared.lzma()
    if library is None:
        return 0
    buffers = 0
    if encode:
        buffers = _XZ_UNTOLD + (0 if params >> 19 else 2 << (params >> 14))
    return library.memory(**_xz_options(params), encode=encode) + buffers + 16384


_XZ_UNTOLD: Final = 98304  # what the encoder takes beyond what the library says


def known_xz() -> bool:
    if shared.lzma() is None:
        return False
    made = (
        xz(xz_params(dictionary=byte, longest=17, branch=branch, raw=raw), sample(60_000))
        for byte, branch, raw in _XZ_TRIED
    )
    return xxhash.xxh64_intdigest(b"".join(made)) == _XZ_ANSWER


_XZ_TRIED: Final = ((0, 0, False), (10, 0, False), (7, 7, False), (10, 0, True))
_XZ_ANSWER: Final = 0xE76DE43E82EBB2B0


def zstd_params(*, level: int, longest: int, checked: bool = False) -> int:
    return level | longest << 5 | checked << 10


_ZSTD_STEP: Final = 512  # of which at most 16 MiB come


def zstd(params: int, data: Buffer) -> bytes:
    library = shared.zstd()
    if library is None:
        raise ValueError("no libzstd")
    return library.encode(bytes(data), level=params & 31, checked=bool(params >> 10))


def unzstd(params: int, data: Buffer, limit: int) -> tuple[bytes, int]:
    """Some input at a time, since a frame need not say what it expands to: 4 bytes may be 128 KiB (RFC 8878)."""
    del params
    view, at = memoryview(data).cast("B"), 0
    decoder = zstandard.ZstdDecompressor(max_window_size=1 << 27).decompressobj()
    pieces, room = [], limit
    try:
        if zstandard.frame_content_size(view[:18]) > limit:
            raise ValueError("too large")
        while not decoder.eof and at < len(view):
            pieces.append(decoder.decompress(view[at : at + _ZSTD_STEP]))
            at, room = at + _ZSTD_STEP, room - len(pieces[-1])
            if room < 0:
                raise ValueError("too large")
    except zstandard.ZstdError as exc:
        raise ValueError(str(exc)) from exc
    if not decoder.eof:
        raise ValueError("incomplete")
    return b"".join(pieces), min(at, len(view)) - len(decoder.unused_data)


def zstd_size(params: int, *, encode: bool) -> int:
    library = shared.zstd()
    return (
        0
        if library is None
        else library.memory(level=params & 31, longest=1 << (params >> 5 & 31), encode=encode) + 4096
    )


def known_zstd() -> bool:
    if shared.zstd() is None:
        return False
    made = (
        zstd(zstd_params(level=level, longest=17, checked=level == 3), sample(120_000))
        for level in (1, 3, 9, 15, 19, 22)
    )
    return xxhash.xxh64_intdigest(b"".join(made)) == _ZSTD_ANSWER


_ZSTD_ANSWER: Final = 0x7D0A891692348593
