"""How the parts of an image are compressed (docs/SPEC.md section 6.5): ids, parameters, and the libraries behind them.

A coding promises bytes, not only a format: what the packer recompresses here, a board recompresses to the same bytes. A
library counts as present only if it gives known answers, whatever version it claims to be (zlib-ng writes other bytes).
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final, Protocol

from otastream.model import CodingId
from otastream.native import Buffer, Gnuzip
from otastream.views import blocks, streams
from otastream.views.xz_header import xz_filters

SMALL: Final = frozenset({CodingId.DEFLATE, CodingId.GNUZIP})
"""Codings whose encoders take little memory."""

PART_MAX: Final = 256 << 20
"""Bytes of a part, packed or not, that the packer looks into."""


@dataclass(frozen=True, slots=True, order=True)
class Coding:
    """params: as the wire has them."""

    id: CodingId
    params: int


class Stream(Protocol):
    """One part on its way through a decoder or an encoder."""

    def step(self, data: bytes, room: int, *, last: bool) -> tuple[int, bytes, bool]:
        """Bytes of data that were taken, at most room bytes of output, and whether the part is complete.

        last: data is all that is left of the part. ValueError: it does not decode.
        """


class Decoder(Stream, Protocol):
    """One that can be copied as it stands."""

    def copy(self) -> Decoder: ...


# ---- codings ------------------------------------------------------------------------------------------------------


def deflate(level: int, *, wrapped: bool, memory: int = 8, window: int = 15, strategy: int = 0) -> Coding:
    """zlib's deflate; wrapped: RFC 1950 (header and checksum), else RFC 1951."""
    return Coding(
        CodingId.DEFLATE,
        streams.deflate_params(level, wrapped=wrapped, memory=memory, window=window, strategy=strategy),
    )


def gnuzip(level: int) -> Coding:
    """RFC 1951 as GNU gzip writes it; decompressed as any other."""
    return Coding(CodingId.GNUZIP, level)


def xz(*, dictionary: int, longest: int, preset: int = 6, branch: int = 0, raw: bool = False) -> Coding:
    """liblzma: its single-call stream encoder, or (raw) only the LZMA2 data of a block. dictionary: as the byte of
    LZMA2's properties; longest: log2 of a part.
    """
    params = streams.xz_params(dictionary=dictionary, longest=longest, preset=preset, branch=branch, raw=raw)
    return Coding(CodingId.XZ, params)


def zstd(*, level: int, longest: int, checked: bool = False) -> Coding:
    """libzstd 1.5.4, one call. longest: log2 of a part; checked: with a checksum of the content."""
    return Coding(CodingId.ZSTD, streams.zstd_params(level=level, longest=longest, checked=checked))


def lz4(level: int, *, longest: int) -> Coding:
    """A block of LZ4 as liblz4 1.9.4 makes it. level: 0 its fast compressor, 1..12 LZ4_compress_HC."""
    return Coding(CodingId.LZ4, blocks.params(level, longest))


def lzo(level: int, *, longest: int, optimized: bool = False) -> Coding:
    """A block of LZO1X as liblzo2 2.10 makes it. level: 0 LZO1X-1, 1..9 LZO1X-999."""
    return Coding(CodingId.LZO, blocks.params(level, longest) | blocks.OPTIMIZED * optimized)


def jffs2(level: int, *, longest: int) -> Coding:
    """A zlib stream as mkfs.jffs2 makes it."""
    return Coding(CodingId.JFFS2, blocks.params(level, longest))


def squashfs_coding(id_: CodingId, block: int) -> Coding:
    """How squashfs compresses with blocks of that size when it is told nothing else."""
    longest = max(13, block.bit_length() - 1)  # a metadata block has up to 8 KiB
    if id_ is CodingId.XZ:
        return xz(dictionary=2 * (block.bit_length() - 13), longest=longest)
    if id_ is CodingId.ZSTD:
        return zstd(level=15, longest=longest)
    if id_ is CodingId.LZ4:
        return lz4(0, longest=longest)
    if id_ is CodingId.LZO:
        return lzo(8, longest=longest, optimized=True)
    return deflate(9, wrapped=True)


# ---- the table -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Library:
    """One coding. name: as the manifest's ``needs`` has it; decoder: for a part that expands to so many bytes at most;
    size: bytes of memory that a board gives it.
    """

    name: str
    encode: Callable[[int, Buffer], bytes]
    decode: Callable[[int, Buffer, int], tuple[bytes, int]]
    encoder: Callable[[int], Stream]
    decoder: Callable[[int, int], Decoder]
    size: Callable[..., int]
    known: Callable[[], bool]


def _whole(
    name: str,
    encode: Callable[[int, Buffer], bytes],
    decode: Callable[[int, Buffer, int], tuple[bytes, int]],
    size: Callable[..., int],
    known: Callable[[], bool],
) -> Library:
    def encoder(params: int) -> Stream:
        return streams.Whole(lambda data: encode(params, data))

    def decoder(params: int, raw: int) -> Decoder:
        return streams.Whole(lambda data: decode(params, data, min(raw, PART_MAX))[0])

    return Library(name, encode, decode, encoder, decoder, size, known)


LIBRARIES: Final[Mapping[CodingId, Library]] = {
    CodingId.DEFLATE: Library(
        "deflate-zlib",
        streams.deflate,
        streams.inflate,
        streams.Deflating,
        lambda params, _: streams.Inflating(params),
        streams.deflate_size,
        streams.known_deflate,
    ),
    CodingId.GNUZIP: Library(
        "deflate-gnu-gzip",
        streams.gnuzip,
        lambda _, data, limit: streams.inflate(streams.ANY_DEFLATE, data, limit),
        Gnuzip,
        lambda *_: streams.Inflating(streams.ANY_DEFLATE),
        streams.gnuzip_size,
        lambda: True,
    ),
    CodingId.XZ: _whole("xz-liblzma", streams.xz, streams.unxz, streams.xz_size, streams.known_xz),
    CodingId.ZSTD: _whole("zstd-1.5.4", streams.zstd, streams.unzstd, streams.zstd_size, streams.known_zstd),
    CodingId.LZ4: _whole(
        "lz4-1.9.4",
        blocks.lz4,
        blocks.unlz4,
        blocks.lz4_size,
        blocks.known_lz4,
    ),
    CodingId.LZO: _whole(
        "lzo1x-2.10",
        blocks.lzo,
        blocks.unlzo,
        blocks.lzo_size,
        blocks.known_lzo,
    ),
    CodingId.JFFS2: _whole("deflate-jffs2", blocks.jffs2, blocks.unjffs2, blocks.jffs2_size, streams.known_deflate),
}


@functools.cache
def present() -> frozenset[CodingId]:
    """The codings whose libraries give the known answers on this machine."""
    return frozenset(id_ for id_, library in LIBRARIES.items() if library.known())


def encode(coding: Coding, data: Buffer) -> bytes:
    """Compress a part whole."""
    return LIBRARIES[coding.id].encode(coding.params, data)


def decode(coding: Coding, data: Buffer, limit: int) -> tuple[bytes, int]:
    """Decompress a part of at most limit bytes; also how many bytes of data it had. ValueError: it is none."""
    return LIBRARIES[coding.id].decode(coding.params, data, limit)


def makes(coding: Coding, raw: bytes, packed: memoryview) -> bool:
    """Whether compressing raw gives exactly packed. A wrong guess is told by the beginning, where there is one."""
    beginning = 1 << 18
    if coding.id in SMALL and len(raw) > 2 * beginning:
        start = LIBRARIES[coding.id].encoder(coding.params).step(raw[:beginning], 2 * beginning, last=False)[1]
        if packed[: len(start)] != start:
            return False
    elif coding.id is CodingId.XZ and coding.params >> 19 and len(raw) > 2 * _XZ_START:
        start = encode(coding, raw[:_XZ_START])
        sure = len(start) // 4  # behind that, what follows may have been looked at; the head says how long the chunk is
        if packed[_XZ_HEAD:sure] != start[_XZ_HEAD:sure]:
            return False
    return encode(coding, raw) == packed


_XZ_START: Final = 1 << 14
_XZ_HEAD: Final = 6


def decoding(coding: Coding) -> Coding:
    """The same coding with what only an encoder needs set to one value, so that parts share it."""
    if coding.id is CodingId.DEFLATE:
        return deflate(9, wrapped=bool(coding.params >> 15), window=coding.params >> 8 & 15)
    if coding.id is CodingId.ZSTD:
        return zstd(level=1, longest=coding.params >> 5 & 31)
    if coding.id in (CodingId.LZ4, CodingId.LZO, CodingId.JFFS2):
        return Coding(coding.id, coding.params & 31 << 4)
    return coding


def candidates(coding: Coding, packed: memoryview) -> Iterator[Coding]:
    """Codings that may have made a part of this kind, likely ones first."""
    if coding.id is CodingId.DEFLATE:
        yield from _deflates(wrapped=bool(coding.params >> 15))
    elif coding.id is CodingId.XZ and coding.params >> 19:
        for preset in (6, 0, 1, 2, 3, 4, 5):  # those above differ from 6 in their dictionary only
            yield Coding(CodingId.XZ, coding.params & ~15 | preset)
    elif coding.id is CodingId.XZ:
        found = xz_filters(packed[12:])
        if found is not None:
            for preset in (6, 9, 0, 1, 2, 3, 4, 5, 7, 8):
                yield xz(dictionary=found[0], longest=coding.params >> 14 & 31, preset=preset, branch=found[1])
    elif coding.id in (CodingId.LZ4, CodingId.LZO, CodingId.JFFS2):
        yield from _block_candidates(coding)
    else:
        longest, checked = coding.params >> 5 & 31, bool(coding.params >> 10)
        for level in (3, 19) if checked else (15, 19):
            yield zstd(level=level, longest=longest, checked=checked)
        for level in (22, 3, 9, 1, 15, *range(2, 22)):
            yield zstd(level=level, longest=longest, checked=checked)


def _deflates(*, wrapped: bool) -> Iterator[Coding]:
    for level in (9, 6, 1, 8, 7, 5, 4, 3, 2):
        yield deflate(level, wrapped=wrapped)
        if not wrapped:
            yield gnuzip(level)
    for level in (9, 6):
        yield deflate(level, wrapped=wrapped, memory=9)
    for strategy in range(1, 5):
        yield deflate(9, wrapped=wrapped, strategy=strategy)


def _block_candidates(coding: Coding) -> Iterator[Coding]:
    longest = coding.params >> 4 & 31
    if coding.id is CodingId.LZ4:
        yield from (lz4(level, longest=longest) for level in (0, 12, 9, *range(1, 12)))
    elif coding.id is CodingId.JFFS2:
        yield from (jffs2(level, longest=longest) for level in (3, 9))
    else:
        for level in (8, 9, *range(8)):
            yield from (lzo(level, longest=longest, optimized=optimized) for optimized in (True, False))


def size(coding: Coding, *, encode: bool) -> int:
    """Bytes of memory that a board's encoder or decoder takes."""
    return LIBRARIES[coding.id].size(coding.params, encode=encode)


class Coder:
    """All codings that are present, as the executor wants them (``native.Coder``)."""

    def __init__(self) -> None:
        self._encoder: Stream | None = None
        self._decoder: Decoder | None = None
        self._saved: dict[int, Decoder] = {}

    @property
    def codings(self) -> int:
        return sum(1 << id_ for id_ in present())

    def size(self, encode: bool, coding: int, params: int) -> int:
        """The memory of a board; here it stays unused. 0: there is no such coding."""
        if coding not in present() or not valid(coding, params):
            return 0
        return LIBRARIES[CodingId(coding)].size(params, encode=encode)

    def begin(self, encode: bool, coding: int, params: int, raw: int) -> None:
        library = LIBRARIES[CodingId(coding)]
        if encode:
            self._encoder = library.encoder(params)
        else:
            self._decoder = library.decoder(params, raw)

    def step(self, encode: bool, data: bytes, room: int, *, last: bool) -> tuple[int, bytes, bool]:
        worker = self._encoder if encode else self._decoder
        if worker is None:
            raise RuntimeError("step before begin")
        return worker.step(data, room, last=last)

    def save(self, place: int) -> None:
        if self._decoder is not None:
            self._saved[place] = self._decoder.copy()

    def restore(self, place: int) -> None:
        self._decoder = self._saved[place].copy()


def valid(coding: int, params: int) -> bool:
    """Whether a coding has these parameters: the ranges of docs/SPEC.md section 6.5."""
    if coding == CodingId.DEFLATE:
        level, memory, window, strategy = params & 15, params >> 4 & 15, params >> 8 & 15, params >> 12 & 7
        return params < 1 << 16 and 1 <= level <= 9 and 1 <= memory <= 9 and window >= 9 and strategy <= 4
    if coding == CodingId.GNUZIP:
        return 1 <= params <= 9
    if coding == CodingId.XZ:
        branch, longest = params >> 10 & 15, params >> 14 & 31
        return (
            params < 1 << 20
            and params & 15 <= 9
            and params >> 4 & 63 <= 30
            and branch in (0, *range(4, 10))
            and 12 <= longest <= 26
        )
    if coding == CodingId.ZSTD:
        return params < 1 << 11 and 1 <= params & 31 <= 22 and 12 <= params >> 5 & 31 <= 26
    if coding in (CodingId.LZ4, CodingId.LZO):
        levels, optional = (blocks.LZ4_LEVELS, 0) if coding == CodingId.LZ4 else (blocks.LZO_LEVELS, blocks.OPTIMIZED)
        return blocks.valid(params, levels, optional)
    if coding == CodingId.JFFS2:
        return blocks.valid(params, blocks.JFFS2_LEVELS)
    return False
