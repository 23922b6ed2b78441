"""What the fetchers of the corpus share: where pairs are kept, how programs are run, the error that people read."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

CACHE: Final = Path(__file__).resolve().parent.parent / ".cache" / "corpus"


class CorpusError(Exception):
    """A pair cannot be had; the text says why and what helps."""


def run(argv: Sequence[str | Path], what: str, *, cwd: Path | None = None, env: Mapping[str, str] | None = None) -> str:
    """Run a program and return its stdout; CorpusError with the end of its stderr when it fails."""
    try:
        done = subprocess.run(
            argv, cwd=cwd, env=env, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL
        )
    except FileNotFoundError as absent:
        raise CorpusError(f"{what}: {absent.filename} is not installed (scripts/apt.sh corpus)") from None
    if done.returncode != 0:
        tail = "\n".join((done.stderr or done.stdout).strip().splitlines()[-3:])
        raise CorpusError(f"{what} failed; is the network there?\n{tail}")
    return done.stdout
