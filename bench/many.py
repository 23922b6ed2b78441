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


SOURCE: Final = Path(__file__)
"""What these folders depend on: they need not be there to know what a tool did on them."""


def name_of(number: int, suffix: str = "") -> str:
    return f"part-{number // IN_ONE_FOLDER:04}/some-settings-{number:08}{suffix}.conf"


def described(name: str, work: Path) -> Pair:
    """The pair called name (of COUNTS) as it will be beneath work."""
    return Pair(name, work / "old", work / "new", f"Made up, numbered files, {IN_ONE_FOLDER} in a folder")


def make(pair: Pair) -> None:
    """Write both folders. Of 400 files in a row one has a few bytes changed, one another name, one both, one is deleted
    and one is added."""
    count, old, new = COUNTS[pair.name], pair.old, pair.new
    rng = random.Random(count)
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
