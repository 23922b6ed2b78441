"""The inputs of the fuzz targets, replayed with sanitizers: seeds from the golden packages, and what fuzzing found.

``make fuzz`` looks for more.
"""

from __future__ import annotations

import fcntl
import os
import subprocess
from pathlib import Path

import pytest

from fuzz import seeds

TREE = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def programs() -> Path:
    """The folder with the replaying programs."""
    environ = {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS"))}
    (TREE / "build").mkdir(exist_ok=True)
    with open(TREE / "build/fuzz.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        done = subprocess.run(
            ["make", "-C", TREE, "fuzz-replay"], capture_output=True, text=True, check=False, env=environ
        )
    assert done.returncode == 0, done.stdout + done.stderr
    return TREE / "build/san/fuzz"


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("seeds")
    seeds.make(made)
    return made


def test_every_target_has_seeds() -> None:
    targets = {path.stem.removeprefix("fuzz_") for path in (TREE / "tests/fuzz").glob("fuzz_*.c")}
    assert targets == set(seeds.TARGETS)


@pytest.mark.parametrize("target", seeds.TARGETS)
def test_replay(programs: Path, folder: Path, target: str) -> None:
    corpus = TREE / "tests/fuzz/corpus" / target
    inputs = [path for path in (folder / target, corpus) if path.exists()]
    count = sum(len(list(path.iterdir())) for path in inputs)
    done = subprocess.run([programs / target, *inputs], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"{count} inputs\n"
