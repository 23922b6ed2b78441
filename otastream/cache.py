"""A folder that keeps deltas from one run to the next.

An entry is named by the digest of what it depends on: sizes and digests of old and new, the engines that were tried and
their options, and the code that made it. It holds which engine won and its payload. Entries appear complete or not at
all, and are checked when they are read; whatever is wrong with one, it counts as not there. Several packers may share a
folder. Keeping something never fails a pack: a full disk or a folder that became unwritable only means less is kept.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.metadata
import os
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Final

from otastream import native
from otastream.engines import ENGINES
from otastream.engines.payload import SMALL, Payload
from otastream.errors import Code, error
from otastream.model import EngineId
from otastream.tree import READ_SIZE, Content

_MAGIC: Final = b"otastream delta 1\n"
_DIGEST: Final = 32
_HEAD: Final = len(_MAGIC) + _DIGEST + 1
_FULL: Final = 0xFF  # in place of an engine: the file itself is smaller than any delta
_SHARE: Final = 0.9  # of the limit that stays when there is too much


@dataclass(frozen=True, slots=True)
class Kept:
    """What was found: the engine that won and its payload, which the caller closes; None: the file is sent whole."""

    delta: tuple[EngineId, Payload] | None


class DeltaCache:
    """Deltas in a folder, which is made when it is not there. limit: bytes that ``trim`` leaves at most."""

    def __init__(self, folder: str, *, limit: int) -> None:
        """CONFIG: the folder cannot be made or is none."""
        self.folder = Path(folder)
        self.limit = limit
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as exc:
            raise error(Code.CONFIG, f"cache: {exc.strerror}", target=folder) from exc

    def get(self, key: str) -> Kept | None:
        """The entry of this key; None if there is none that is whole."""
        path = self._path(key)
        try:
            file = open(path, "rb")  # noqa: SIM115 - the payload closes it
        except OSError:
            return None
        try:
            found = _read(file.fileno())
        except (OSError, ValueError):
            file.close()
            with contextlib.suppress(OSError):
                path.unlink()
            return None
        with contextlib.suppress(OSError):
            os.utime(path)  # trim() drops what was not used for longest
        if found is not None and found[1] > SMALL:
            return Kept((found[0], Payload(file=file, start=_HEAD)))
        with file:
            return Kept(None if found is None else (found[0], Payload(os.pread(file.fileno(), found[1], _HEAD))))

    def put(self, key: str, delta: tuple[EngineId, Payload] | None) -> None:
        """Keep the engine that won and its payload, which stays open; None: the file itself won."""
        path = self._path(key)
        mark = bytes([_FULL if delta is None else delta[0]])
        digest = hashlib.sha256(mark)
        with contextlib.suppress(OSError):
            path.parent.mkdir(exist_ok=True)
            descriptor, part = tempfile.mkstemp(dir=path.parent, prefix=".")
            try:
                with open(descriptor, "wb") as file:
                    file.write(bytes(_HEAD))
                    for chunk in () if delta is None else delta[1].chunks():
                        digest.update(chunk)
                        file.write(chunk)
                    file.seek(0)
                    file.write(_MAGIC + digest.digest() + mark)
                os.replace(part, path)
            except BaseException:
                with contextlib.suppress(OSError):
                    os.unlink(part)
                raise

    def trim(self) -> None:
        """Drop what was not used for longest until the limit holds."""
        found = []
        for path in self.folder.glob("??/*"):
            with contextlib.suppress(OSError):
                status = path.stat()
                found.append((status.st_mtime_ns, status.st_size, path))
        total = sum(size for _, size, _ in found)
        if total <= self.limit:
            return
        for _, size, path in sorted(found):
            if total <= self.limit * _SHARE:
                break
            with contextlib.suppress(OSError):
                path.unlink()
            total -= size

    def _path(self, key: str) -> Path:
        return self.folder / key[:2] / key[2:]


def key(content: Content, engines: Sequence[EngineId], options: str) -> str:
    """What names the delta of this content: all it depends on, but not where the files are.

    options: whatever else decides it, as text.
    """
    about = replace(content, old=None, new=b"")
    text = f"{about!r}\n{','.join(str(int(engine)) for engine in engines)}\n{options}\n{_makers()}"
    return hashlib.sha256(text.encode()).hexdigest()


@lru_cache(maxsize=1)
def _makers() -> str:
    """A digest of the code that makes deltas, and of what estimates their size."""
    digest = hashlib.sha256(importlib.metadata.version("zstandard").encode())
    folder = Path(__file__).parent
    for path in (native.extension(), *sorted(folder.glob("engines/*.py")), *sorted(folder.glob("deltas/*.py"))):
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()


def _read(fd: int) -> tuple[EngineId, int] | None:
    """Engine and payload size of an entry, None for one without; ValueError if it is not whole."""
    head = os.pread(fd, _HEAD, 0)
    if len(head) != _HEAD or not head.startswith(_MAGIC):
        raise ValueError("not an entry")
    digest, at = hashlib.sha256(head[-1:]), _HEAD
    while data := os.pread(fd, READ_SIZE, at):
        digest.update(data)
        at += len(data)
    if digest.digest() != head[len(_MAGIC) : -1]:
        raise ValueError("a damaged entry")
    if head[-1] == _FULL:
        return None
    engine = EngineId(head[-1])
    if engine not in ENGINES:
        raise ValueError("an engine that is not here")
    return engine, at - _HEAD
