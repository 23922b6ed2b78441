"""Folders of very many small files, made up but always the same: they show how memory and time grow."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Final

from scripts.corpus import Pair

COUNTS: Final = {"files-10k": 10_000, "files-100k": 100_000}
IN_ONE_FOLDER: Final = 500
SIZES: Final = (100, 2000)  # bytes of a file, evenly spread
CHANGED, RENAMED, BOTH, DELETED, ADDED = range(5)
"""What becomes of a file by its number modulo EVERY; all others stay."""
EVERY: Final = 400


def name_of(number: int, suffix: str = "") -> str:
    return f"part-{number // IN_ONE_FOLDER:04}/some-settings-{number:08}{suffix}.conf"


def make(name: str, work: Path) -> Pair:
    """The pair called name (of COUNTS) beneath work. Of 400 files in a row one has a few bytes changed, one another
    name, one both, one is deleted and one is added."""
    count = COUNTS[name]
    rng = random.Random(count)
    old, new = work / "old", work / "new"
    for side in (old, new):
        for first in range(0, count, IN_ONE_FOLDER):
            (side / name_of(first)).parent.mkdir(parents=True)
    for number in range(count):
        held = rng.randbytes(rng.randint(*SIZES))
        fate = number % EVERY
        if fate != ADDED:
            (old / name_of(number)).write_bytes(held)
        if fate in {CHANGED, BOTH}:
            place = rng.randrange(len(held))
            held = held[:place] + b"changed" + held[place + 3 :]
        if fate != DELETED:
            (new / name_of(number, "-moved" if fate in {RENAMED, BOTH} else "")).write_bytes(held)
    return Pair(name, old, new, f"Made up, {count:,} numbered files in folders of {IN_ONE_FOLDER}")
