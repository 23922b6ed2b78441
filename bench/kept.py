"""What a tool did once, kept in .cache/bench by the digests of everything that it depends on."""

from __future__ import annotations

import hashlib
import importlib.metadata
import importlib.util
import json
import os
import stat
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, Final

from bench.measure import ROOT, walk

NOT_MEASURED: Final = "not measured on this machine yet"
KEPT: Final = ROOT / ".cache/bench"
BOARD: Final = ROOT / "build/board/amd64/otaunpack"


@cache
def content(path: Path) -> str:
    """The digest of a file, or of a folder: names, modes, links and bytes. Of one that is absent: of nothing. Each is
    read once in a run."""
    if not path.is_dir():
        return hashlib.sha256(path.read_bytes() if path.exists() else b"").hexdigest()
    found = hashlib.sha256()
    for name, status in walk(path):
        full = os.path.join(os.fsencode(path), name)
        held = b""
        if stat.S_ISLNK(status.st_mode):
            held = os.readlink(full)
        elif stat.S_ISREG(status.st_mode):
            with open(full, "rb") as file:
                held = hashlib.file_digest(file, "sha256").digest()
        found.update(b"%d %o %d " % (len(name), status.st_mode, len(held)) + name + held)
    return found.hexdigest()


def programs(*paths: str | Path | None) -> str:
    """The digests of programs: another build is another row."""
    return " ".join(content(Path(path or "/nowhere")) for path in paths)


def modules(*names: str) -> str:
    """The versions of Python packages; nothing of what is not installed."""
    there = [name for name in names if importlib.util.find_spec(name)]
    return " ".join(importlib.metadata.version(name) for name in there)


@cache
def otastream() -> str:
    """Everything of ours that packs or applies: Python, its C library, the board program."""
    sources = sorted(path for path in (ROOT / "otastream").rglob("*") if path.suffix in {".py", ".so"})
    return programs(*sources, BOARD)


def command(words: Sequence[str | Path]) -> list[str]:
    """A command as it depends on nobody's folders: the program by its name."""
    return [Path(words[0]).name, *map(str, words[1:])]


def _note(parts: Sequence[str]) -> Path:
    return KEPT / f"{hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:32]}.json"


def known(parts: Sequence[str]) -> bool:
    """Whether recall would find it."""
    return _note(parts).exists()


def recall(parts: Sequence[str], measure: Callable[[], Mapping[str, object]], *, fresh: bool = False) -> dict[str, Any]:
    """What measure gave when everything named by parts was the same; else what it gives now, which is kept. With fresh
    it is always measured."""
    note = _note(parts)
    if note.exists() and not fresh:
        return dict(json.loads(note.read_text()))
    row = dict(measure())
    KEPT.mkdir(parents=True, exist_ok=True)
    part = note.with_suffix(f".{os.getpid()}")
    part.write_text(json.dumps(row))
    part.rename(note)
    return row
