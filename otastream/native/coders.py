"""Coders of views: those that C calls in Python, and those of the core."""

from __future__ import annotations

from typing import Any, Protocol

from otastream._core import ffi, lib
from otastream.errors import Code, error
from otastream.native.common import Buffer, code_of


class Coder(Protocol):
    """Decoders and encoders for the parts of images, docs/SPEC.md section 6.5; one of each is at work at a time."""

    @property
    def codings(self) -> int:
        """Bit per id of a coding."""

    def size(self, encode: bool, coding: int, params: int) -> int:
        """Bytes of memory that a board gives it; 0: there is no such coding."""

    def begin(self, encode: bool, coding: int, params: int, raw: int) -> None:
        """Start a part."""

    def step(self, encode: bool, data: bytes, room: int, *, last: bool) -> tuple[int, bytes, bool]:
        """Bytes of data taken, at most room bytes of output, and whether the part is complete. ValueError: damaged."""

    def save(self, place: int) -> None:
        """Keep a copy of the decoder at work under this number, in place of an older one."""

    def restore(self, place: int) -> None:
        """Let the decoder go on as it was."""


class Gnuzip:
    """Deflate (RFC 1951) as GNU gzip writes it at a level from 1 to 9, by the core's own encoder."""

    def __init__(self, level: int) -> None:
        size = lib.ota_gnuzip_size(level)
        self._memory = ffi.new("uint64_t[]", -(-size // 8))
        status = int(lib.ota_gnuzip_begin(self._memory, size, level))
        if status < 0:
            raise error(code_of(status), f"level {level}")

    def step(self, data: Buffer, room: int, *, last: bool) -> tuple[int, bytes, bool]:
        """As ``Coder.step``; any data can be compressed."""
        held, out = ffi.from_buffer("uint8_t[]", data), ffi.new("uint8_t[]", max(room, 1))
        cursor_in = ffi.new("struct ota_in *", (held, len(held), 0))
        cursor_out = ffi.new("struct ota_out *", (out, room, 0))
        status = int(lib.ota_gnuzip_step(self._memory, cursor_in, cursor_out, int(last)))
        return int(cursor_in.pos), bytes(ffi.buffer(out, cursor_out.pos)), status == lib.OTA_DONE


def gnuzip_size(level: int) -> int:
    """Bytes of memory that the encoder takes; 0: there is no such level."""
    return int(lib.ota_gnuzip_size(level))


class CoderContext:
    """What the callbacks need, and the struct that names them."""

    def __init__(self, coder: Coder) -> None:
        self.coder = coder
        self.failure: BaseException | None = None
        self.handle = ffi.new_handle(self)
        self.raw = ffi.new(
            "struct ota_coder *",
            {
                "ctx": self.handle,
                "codings": coder.codings,
                "size": lib.ota_py_coder_size,
                "begin": lib.ota_py_coder_begin,
                "step": lib.ota_py_coder_step,
                "save": lib.ota_py_coder_save,
                "restore": lib.ota_py_coder_restore,
            },
        )


@ffi.def_extern()  # type: ignore[untyped-decorator]
def ota_py_coder_size(handle: Any, encode: int, coding: int, params: int) -> int:
    context: CoderContext = ffi.from_handle(handle)
    return context.coder.size(bool(encode), coding, params)


@ffi.def_extern(error=-int(Code.INTERNAL))  # type: ignore[untyped-decorator]
def ota_py_coder_begin(handle: Any, encode: int, coding: int, params: int, raw: int, _memory: Any, _len: int) -> int:
    context: CoderContext = ffi.from_handle(handle)
    context.coder.begin(bool(encode), coding, params, raw)
    return 0


@ffi.def_extern(error=-int(Code.INTERNAL))  # type: ignore[untyped-decorator]
def ota_py_coder_step(handle: Any, encode: int, cursor_in: Any, cursor_out: Any, last: int) -> int:
    context: CoderContext = ffi.from_handle(handle)
    data = bytes(ffi.buffer(cursor_in.src + cursor_in.pos, cursor_in.size - cursor_in.pos)) if cursor_in.src else b""
    room = cursor_out.size - cursor_out.pos
    try:
        taken, out, done = context.coder.step(bool(encode), data, room, last=bool(last))
    except ValueError:
        return -int(Code.DELTA)
    ffi.memmove(cursor_out.dst + cursor_out.pos, out, len(out))
    cursor_in.pos += taken
    cursor_out.pos += len(out)
    if done:
        return int(lib.OTA_DONE)
    return int(lib.OTA_WANT_OUTPUT if len(out) == room else lib.OTA_WANT_INPUT)


@ffi.def_extern(error=-int(Code.INTERNAL))  # type: ignore[untyped-decorator]
def ota_py_coder_save(handle: Any, place: Any, _len: int) -> int:
    ffi.from_handle(handle).coder.save(int(ffi.cast("uintptr_t", place)))
    return 0


@ffi.def_extern(error=-int(Code.INTERNAL))  # type: ignore[untyped-decorator]
def ota_py_coder_restore(handle: Any, _coding: int, place: Any, _len: int) -> int:
    ffi.from_handle(handle).coder.restore(int(ffi.cast("uintptr_t", place)))
    return 0
