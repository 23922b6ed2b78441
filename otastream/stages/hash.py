"""hash: XXH64 of every file that passes, read while it holds still."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Final

import xxhash

from otastream.errors import Code, OtaError, error
from otastream.native import holds_any, sketch
from otastream.tree import READ_SIZE, Entry, Kind, Stamp, show


def hash_entries(entries: Iterable[Entry], *, root: bytes) -> Iterator[Entry]:
    """Give every entry on, files with their digest.

    CHANGED: a file is not what it was when it was scanned, or changed while it was read. INPUT: it cannot be read.
    """
    return _hash(entries, root)


def _hash(entries: Iterable[Entry], root: bytes) -> Iterator[Entry]:
    for entry in entries:
        if entry.kind is Kind.FILE:
            yield replace(entry, digest=_digest(os.path.join(root, entry.path), entry.stamp)[1])
        else:
            yield entry


def hash_file(path: bytes) -> tuple[int, int]:
    """(size, XXH64) of one regular file or block device; symbolic links are followed. INPUT, CHANGED as above."""
    return _digest(path, None)


SKETCHED: Final = 4 << 20
"""Bytes from the front of a file that its sketch is made of."""


MAGIC_READ: Final = 1 << 17
"""Bytes that are looked through at once, while they are in the cache."""


def sketch_file(path: bytes) -> list[int]:
    """What tells whether a file is like another one (``native.sketch``). INPUT: it cannot be read.

    No more than a hint: whoever makes a delta checks what the file holds.
    """
    try:
        with open(path, "rb", buffering=0) as file:
            return sketch(file.read(min(SKETCHED, os.fstat(file.fileno()).st_size)))  # read() makes room for all first
    except OSError as exc:
        raise _unreadable(exc, path) from exc


def holds_magic(path: bytes, magics: Sequence[bytes]) -> bool:
    """Whether one of these byte strings, of three bytes or more, is anywhere in a file. INPUT: it cannot be read.

    No more than a hint, as above.
    """
    overlap = max(map(len, magics)) - 1
    buffer = memoryview(bytearray(overlap + MAGIC_READ))
    try:
        with open(path, "rb", buffering=0) as file:
            while size := file.readinto(buffer[overlap:]):
                if holds_any(buffer[: overlap + size], magics):
                    return True
                buffer[:overlap] = buffer[size : overlap + size]
    except OSError as exc:
        raise _unreadable(exc, path) from exc
    return False


def _digest(path: bytes, expected: Stamp | None) -> tuple[int, int]:
    digest = xxhash.xxh64()
    size = 0
    try:
        # O_NONBLOCK: a name that has become a pipe must not hang the packer
        nofollow = 0 if expected is None else os.O_NOFOLLOW
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | nofollow)
    except FileNotFoundError as exc:
        raise (_changed(path) if expected else _unreadable(exc, path)) from exc
    except OSError as exc:
        raise _unreadable(exc, path) from exc
    try:
        before = os.fstat(fd)
        if not (stat.S_ISREG(before.st_mode) or (expected is None and stat.S_ISBLK(before.st_mode))):
            raise error(Code.INPUT, "is not a regular file", target=show(path))
        if expected is not None and _stamp(before) != expected:
            raise _changed(path)
        while data := os.read(fd, READ_SIZE):
            digest.update(data)
            size += len(data)
        if _stamp(os.fstat(fd)) != _stamp(before) or (stat.S_ISREG(before.st_mode) and size != before.st_size):
            raise _changed(path)
    except OSError as exc:
        raise _unreadable(exc, path) from exc
    finally:
        os.close(fd)
    return size, digest.intdigest()


def _stamp(st: os.stat_result) -> Stamp:
    return Stamp(st.st_size, st.st_mtime_ns, st.st_ctime_ns, st.st_ino)


def _changed(path: bytes) -> OtaError:
    return error(Code.CHANGED, "changed while the package was made", target=show(path))


def _unreadable(exc: OSError, path: bytes) -> OtaError:
    return error(Code.INPUT, exc.strerror or "cannot be read", target=show(path))
