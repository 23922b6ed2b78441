"""A payload that was made but not yet sent: in memory when it is small, else in an unnamed temporary file."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import BinaryIO, Final, Self

from otastream.model import CHUNK_MAX
from otastream.native import Buffer

SMALL: Final = CHUNK_MAX
"""Payloads up to this many bytes are kept in memory, so that many of them do not use up the open files."""


class Prefixed:
    """A payload behind some bytes of its own."""

    def __init__(self, prefix: bytes, payload: Payload | Prefixed) -> None:
        self._prefix, self._payload = prefix, payload
        self.size: int = len(prefix) + payload.size

    def chunks(self, limit: int = CHUNK_MAX) -> Iterator[bytes | memoryview]:
        """The bytes from the beginning, in chunks of at most ``limit`` bytes."""
        for start in range(0, len(self._prefix), limit):
            yield self._prefix[start : start + limit]
        yield from self._payload.chunks(limit)

    def close(self) -> None:
        self._payload.close()


class Payload:
    """Bytes of one record, to be read once or several times; a context manager.

    Made either from a buffer, which must stay unchanged until the payload is closed, or from an open file, which the
    payload closes; start: how many bytes of the file are in front of it.
    """

    def __init__(self, content: Buffer | None = None, *, file: BinaryIO | None = None, start: int = 0) -> None:
        if (content is None) == (file is None):
            raise ValueError("either content or file")
        self._view: memoryview | None = None
        self._file = file
        self._start = start
        if content is not None:
            self._view = memoryview(content).cast("B")
            self.size = self._view.nbytes
        elif file is not None:
            self.size = os.fstat(file.fileno()).st_size - start

    @classmethod
    def written(cls, write: Callable[[int], object], *, folder: str | None = None, large: bool = False) -> Payload:
        """What ``write`` puts into the file descriptor that it is given.

        The descriptor is one of memory, since making a file costs more than most deltas do; what is not small goes on
        to an unnamed file in ``folder`` (None: the system's folder for temporary files). large: to that file at once.
        """
        if large:
            file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115 - the payload closes it
            try:
                write(file.fileno())
                return cls(file=file)
            except BaseException:
                file.close()
                raise
        with open(os.memfd_create("payload"), "rb") as memory:
            write(memory.fileno())
            size = os.fstat(memory.fileno()).st_size
            if size <= SMALL:
                return cls(os.pread(memory.fileno(), size, 0))
            memory.seek(0)
            file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115 - the payload closes it
            try:
                shutil.copyfileobj(memory, file, CHUNK_MAX)
                file.flush()
                return cls(file=file)
            except BaseException:
                file.close()
                raise

    @classmethod
    def spooled(cls, file: BinaryIO) -> Payload:
        """What was written to file: it is read into memory and closed when it is small."""
        size = os.fstat(file.fileno()).st_size
        if size > SMALL:
            return cls(file=file)
        with file:
            return cls(os.pread(file.fileno(), size, 0))

    def chunks(self, limit: int = CHUNK_MAX) -> Iterator[bytes | memoryview]:
        """The bytes from the beginning, in chunks of at most ``limit`` bytes."""
        for start in range(0, self.size, limit):
            if self._view is not None:
                yield self._view[start : start + limit]
            elif self._file is not None:
                yield os.pread(self._file.fileno(), min(limit, self.size - start), self._start + start)

    def close(self) -> None:
        if self._view is not None:
            self._view.release()
        if self._file is not None:
            self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
