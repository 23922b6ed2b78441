"""What every wrapper needs: the extension and its errors, buffers, hashing."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

from otastream import _core
from otastream._core import ffi, lib
from otastream.errors import Code, error

Buffer = bytes | bytearray | memoryview | Any
"""Anything with the buffer protocol; mmap objects too, which typing has no name for before Python 3.12."""

WINDOW: Final = 4096
"""Bytes of old that a decoder reads at once, unless told otherwise."""


def extension() -> Path:
    """The file of the C extension."""
    return Path(_core.__file__)


def error_list() -> list[tuple[int, str, str, str]]:
    """The error list of the C core: (code, name, who, text), in the order of the header."""

    def text(value: object) -> str:
        return bytes(ffi.string(value)).decode("ascii")

    return [
        (
            int(lib.ota_error_code(i)),
            text(lib.ota_error_name(i)),
            text(lib.ota_error_who(i)),
            text(lib.ota_error_text(i)),
        )
        for i in range(lib.ota_error_count())
    ]


def check(status: int) -> None:
    """Raise what a negative status stands for."""
    if status < 0:
        raise error(code_of(status))


def code_of(status: int) -> Code:
    """The code of a negative status; a number that is none is a bug of ours."""
    try:
        return Code(-status)
    except ValueError:
        return Code.INTERNAL


class Xxh64:
    """XXH64 with seed 0 of what was given to ``update``."""

    def __init__(self) -> None:
        self._state = ffi.new("struct ota_xxh64 *")
        lib.ota_xxh64_init(self._state)

    def update(self, data: Buffer) -> None:
        view = ffi.from_buffer("uint8_t[]", data)
        lib.ota_xxh64_update(self._state, view, len(view))

    def value(self) -> int:
        return int(lib.ota_xxh64_value(self._state))


def xxh64(data: Buffer) -> int:
    """XXH64 with seed 0 of data."""
    state = Xxh64()
    state.update(data)
    return state.value()
