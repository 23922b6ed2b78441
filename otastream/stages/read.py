"""Stage: a file, a pipe or a file descriptor -> bytes of the package. The source of the apply pipeline.

A package that was compressed once more from outside (``gzip pkg``, ``zstd pkg``) is recognised by its first bytes and
unpacked on the way (docs/SPEC.md section 1).
"""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Generator, Iterable, Iterator
from typing import Final

from otastream.container import OUTER_GZIP, OUTER_WINDOW_LOG, OUTER_ZSTD
from otastream.errors import Code, error
from otastream.inflate import Fault, InflateError, gunzip, unzstd

Source = str | int
"""A path, ``-`` for stdin, or an open file descriptor. A descriptor is read from where it stands and not closed; the
position of a regular file is not moved, so that it can be read again."""

_PIECE: Final = 1 << 16
_STDIN: Final = 0
_FAULTS: Final = {
    Fault.DAMAGED: (Code.CORRUPT, "the outer compression"),
    Fault.EARLY: (Code.TRUNCATED, "in the outer compression"),
    Fault.WINDOW: (Code.LIMIT, f"the outer compression needs a window above {1 << OUTER_WINDOW_LOG - 20} MiB"),
    Fault.TRAILING: (Code.FORMAT, "bytes after the outer compression"),
}


def read(source: Source, *, piece: int = _PIECE, outer: bool = True) -> Generator[bytes, None, None]:
    """Bytes of the package in pieces: at most `piece` bytes, or 128 KiB where an outer layer is unpacked.

    outer False: an outer layer is not unpacked, so that whoever reads finds no package there (MAGIC).
    Errors: INPUT; of an outer layer CORRUPT, TRUNCATED, LIMIT, FORMAT.
    """
    if piece < 1:
        raise ValueError("piece")
    return _unwrapped(_pieces(source, piece)) if outer else _plain(_pieces(source, piece))


def seekable(source: Source) -> bool:
    """Whether the source can be read a second time from the same place: a regular file."""
    with _input_errors(source):
        info = os.stat(source if (descriptor := _descriptor(source)) is None else descriptor)
    return stat.S_ISREG(info.st_mode)


def available_memory(meminfo: str = "/proc/meminfo") -> int | None:
    """Bytes that the system can give to a program now (MemAvailable of Linux); None where it does not say."""
    with contextlib.suppress(OSError, ValueError, IndexError), open(meminfo, encoding="ascii") as lines:
        for line in lines:
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    return None


def _descriptor(source: Source) -> int | None:
    """None: a path, which is still to be opened."""
    if isinstance(source, int):
        return source
    return _STDIN if source == "-" else None


@contextlib.contextmanager
def _input_errors(source: Source) -> Iterator[None]:
    try:
        yield
    except OSError as failure:
        raise error(Code.INPUT, failure.strerror or str(failure), target=str(source)) from failure


def _pieces(source: Source, size: int) -> Iterator[bytes]:
    with contextlib.ExitStack() as stack:
        with _input_errors(source):
            descriptor = _descriptor(source)
            if descriptor is None:
                descriptor = os.open(str(source), os.O_RDONLY | os.O_CLOEXEC)
                stack.callback(os.close, descriptor)
        with _input_errors(source):
            regular = stat.S_ISREG(os.fstat(descriptor).st_mode)
            offset = os.lseek(descriptor, 0, os.SEEK_CUR) if regular else 0
        while True:
            with _input_errors(source):
                data = os.pread(descriptor, size, offset) if regular else os.read(descriptor, size)
            if not data:
                return
            offset += len(data)
            yield data


def _plain(pieces: Iterator[bytes]) -> Generator[bytes, None, None]:
    yield from pieces


def _unwrapped(pieces: Iterator[bytes]) -> Generator[bytes, None, None]:
    begin = b""
    for piece in pieces:
        begin += piece
        if len(begin) >= len(OUTER_ZSTD):
            break
    whole = _rejoined(begin, pieces)
    try:
        if begin.startswith(OUTER_GZIP):
            yield from gunzip(whole, window_log=15)
        elif begin.startswith(OUTER_ZSTD):
            yield from unzstd(whole, window_log=OUTER_WINDOW_LOG)
        else:
            yield from whole
    except InflateError as failure:
        code, detail = _FAULTS[failure.fault]
        raise error(code, detail) from None


def _rejoined(begin: bytes, pieces: Iterable[bytes]) -> Iterator[bytes]:
    if begin:
        yield begin
    yield from pieces
