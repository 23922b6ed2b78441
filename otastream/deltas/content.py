"""Content of files, checked against what the plan was made with."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass

import xxhash

from otastream.engines import load
from otastream.errors import Code, OtaError, error
from otastream.native import Buffer
from otastream.tree import CHUNK_SIZE, READ_SIZE, Content, show


def _open(path: bytes) -> int:
    try:
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except FileNotFoundError as exc:
        raise _changed(path) from exc
    except OSError as exc:
        raise _unreadable(exc, path) from exc


@contextlib.contextmanager
def opened(path: bytes) -> Iterator[int]:
    fd = _open(path)
    try:
        yield fd
    finally:
        os.close(fd)


@dataclass(frozen=True, slots=True)
class Part:
    """Stretches of an open file. CHANGED: it is not what it was; INPUT: it cannot be read."""

    fd: int
    path: bytes

    def load(self, start: int, size: int) -> bytes:
        try:
            data = os.pread(self.fd, size, start)
            while len(data) < size and (more := os.pread(self.fd, size - len(data), start + len(data))):
                data += more
        except OSError as exc:
            raise _unreadable(exc, self.path) from exc
        if len(data) != size:
            raise _changed(self.path)
        return data

    def pieces(self, size: int) -> Iterator[bytes]:
        return (self.load(start, min(READ_SIZE, size - start)) for start in range(0, size, READ_SIZE))

    def check(self, size: int, digest: int) -> None:
        """CHANGED unless the content is the one that the plan was made with."""
        found = xxhash.xxh64()
        for piece in self.pieces(size):
            found.update(piece)
        if found.intdigest() != digest or os.fstat(self.fd).st_size != size:
            raise _changed(self.path)


def load_checked(path: bytes, size: int, digest: int) -> Buffer:
    """All of a file, if it is what the plan was made with."""
    fd = _open(path)
    try:
        data = load(fd, size)
        if xxhash.xxh64_intdigest(data) != digest:
            raise _changed(path)
    except OSError as exc:
        raise _unreadable(exc, path) from exc
    except OtaError as exc:
        raise _changed(path) from exc
    finally:
        os.close(fd)
    return data


def _changed(path: bytes) -> OtaError:
    return error(Code.CHANGED, "changed while the package was made", target=show(path))


def _unreadable(exc: OSError, path: bytes) -> OtaError:
    return error(Code.INPUT, exc.strerror or "cannot be read", target=show(path))


@dataclass(frozen=True, slots=True)
class FilePayload:
    """A file as it is, read when it is sent and checked against the plan by then."""

    content: Content

    @property
    def size(self) -> int:
        return self.content.size

    def chunks(self, limit: int = CHUNK_SIZE) -> Iterator[bytes]:
        content = self.content
        digest, size = xxhash.xxh64(), 0
        fd = _open(content.new)
        try:
            while data := os.read(fd, limit):
                digest.update(data)
                size += len(data)
                if size > content.size:
                    break
                yield data
        except OSError as exc:
            raise _unreadable(exc, content.new) from exc
        finally:
            os.close(fd)
        if size != content.size or digest.intdigest() != content.digest:
            raise _changed(content.new)

    def close(self) -> None:
        """Nothing is held."""
