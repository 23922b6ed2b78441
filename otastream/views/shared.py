"""liblzma and libzstd of this system, for encoders whose very bytes matter: Python's own modules bring other versions,
or cannot make what the libraries' single calls make. Found by name and called through ctypes; absent ones are None.
"""

from __future__ import annotations

import ctypes
import functools
from typing import Any, Final

_CRC32: Final = 1
_LZMA2: Final = 0x21
_END: Final = (1 << 64) - 1
_LEVEL: Final = 100  # ZSTD_c_compressionLevel
_CHECKSUM: Final = 201  # ZSTD_c_checksumFlag
_OPTIONS: Final = 256  # bytes for lzma_options_lzma, which has about 112


class _Filter(ctypes.Structure):
    _fields_ = (("id", ctypes.c_uint64), ("options", ctypes.c_void_p))


class _Params(ctypes.Structure):
    """ZSTD_compressionParameters."""

    _fields_ = tuple((f"p{number}", ctypes.c_uint) for number in range(7))


def open_library(name: str) -> Any:
    """A shared library by its name, or None."""
    try:
        return ctypes.CDLL(name)
    except OSError:
        return None


class Lzma:
    """The single-call stream encoder of liblzma."""

    def __init__(self, library: Any) -> None:
        self._library = library
        library.lzma_raw_encoder_memusage.restype = ctypes.c_uint64
        library.lzma_raw_decoder_memusage.restype = ctypes.c_uint64
        library.lzma_stream_buffer_bound.restype = ctypes.c_size_t
        library.lzma_stream_buffer_bound.argtypes = (ctypes.c_size_t,)

    def _filters(self, preset: int, dictionary: int, branch: int) -> tuple[Any, Any]:
        """The chain of filters, and what it points to."""
        options = ctypes.create_string_buffer(_OPTIONS)
        if self._library.lzma_lzma_preset(options, ctypes.c_uint32(preset)):
            raise ValueError(f"preset {preset}")
        ctypes.c_uint32.from_buffer(options).value = dictionary  # the first field
        chain = [_Filter(branch, None)] if branch else []
        chain += [_Filter(_LZMA2, ctypes.cast(options, ctypes.c_void_p)), _Filter(_END, None)]
        return (_Filter * len(chain))(*chain), options

    def encode(self, data: bytes, *, preset: int, dictionary: int, branch: int = 0) -> bytes:
        """An .xz stream of one block, with CRC32. dictionary: bytes; branch: id of a filter in front, 0: none."""
        filters, _options = self._filters(preset, dictionary, branch)
        room = self._library.lzma_stream_buffer_bound(len(data))
        out, used = ctypes.create_string_buffer(room), ctypes.c_size_t(0)
        status = self._library.lzma_stream_buffer_encode(
            filters, _CRC32, None, data, ctypes.c_size_t(len(data)), out, ctypes.byref(used), ctypes.c_size_t(room)
        )
        if status != 0:
            raise ValueError(f"lzma_stream_buffer_encode: {status}")
        return out.raw[: used.value]

    def encode_raw(self, data: bytes, *, preset: int, dictionary: int, branch: int = 0) -> bytes:
        """What a block of an .xz stream holds: LZMA2 data with its end."""
        filters, _options = self._filters(preset, dictionary, branch)
        room = self._library.lzma_stream_buffer_bound(len(data))
        out, used = ctypes.create_string_buffer(room), ctypes.c_size_t(0)
        status = self._library.lzma_raw_buffer_encode(
            filters, None, data, ctypes.c_size_t(len(data)), out, ctypes.byref(used), ctypes.c_size_t(room)
        )
        if status != 0:
            raise ValueError(f"lzma_raw_buffer_encode: {status}")
        return out.raw[: used.value]

    def memory(self, *, preset: int, dictionary: int, branch: int, encode: bool) -> int:
        """Bytes that the library says it takes."""
        filters, _options = self._filters(preset, dictionary, branch)
        ask = self._library.lzma_raw_encoder_memusage if encode else self._library.lzma_raw_decoder_memusage
        return int(ask(filters))


class Zstd:
    """The one-shot encoder of libzstd."""

    def __init__(self, library: Any) -> None:
        self._library = library
        for name in ("ZSTD_compress2", "ZSTD_compressBound", "ZSTD_estimateDStreamSize"):
            getattr(library, name).restype = ctypes.c_size_t
        library.ZSTD_createCCtx.restype = ctypes.c_void_p
        library.ZSTD_compressBound.argtypes = library.ZSTD_estimateDStreamSize.argtypes = (ctypes.c_size_t,)
        library.ZSTD_getCParams.restype = _Params
        library.ZSTD_getCParams.argtypes = (ctypes.c_int, ctypes.c_ulonglong, ctypes.c_size_t)
        library.ZSTD_estimateCCtxSize_usingCParams.restype = ctypes.c_size_t
        library.ZSTD_estimateCCtxSize_usingCParams.argtypes = (_Params,)

    def encode(self, data: bytes, *, level: int, checked: bool = False) -> bytes:
        """A frame. checked: with a checksum of the content."""
        room = self._library.ZSTD_compressBound(len(data))
        out = ctypes.create_string_buffer(room)
        context = ctypes.c_void_p(self._library.ZSTD_createCCtx())
        try:
            for name, value in ((_LEVEL, level), (_CHECKSUM, checked)):
                self._library.ZSTD_CCtx_setParameter(context, ctypes.c_int(name), ctypes.c_int(value))
            used = int(
                self._library.ZSTD_compress2(context, out, ctypes.c_size_t(room), data, ctypes.c_size_t(len(data)))
            )
        finally:
            self._library.ZSTD_freeCCtx(context)
        if self._library.ZSTD_isError(ctypes.c_size_t(used)):
            raise ValueError("ZSTD_compress2")
        return out.raw[:used]

    def memory(self, *, level: int, longest: int, encode: bool) -> int:
        """Bytes that a context takes on supplied memory, and an encoder's two buffers. longest: bytes of a part."""
        if not encode:
            return int(self._library.ZSTD_estimateDStreamSize(longest))
        params = self._library.ZSTD_getCParams(level, longest, 0)
        context = int(self._library.ZSTD_estimateCCtxSize_usingCParams(params))
        return context + longest + int(self._library.ZSTD_compressBound(longest))


@functools.cache
def lzma() -> Lzma | None:
    library = open_library("liblzma.so.5")
    return None if library is None else Lzma(library)


@functools.cache
def zstd() -> Zstd | None:
    library = open_library("libzstd.so.1")
    try:
        return None if library is None else Zstd(library)
    except AttributeError:  # built without what this needs
        return None
