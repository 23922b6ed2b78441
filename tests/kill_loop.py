"""Kill an applier with SIGKILL at random moments, run it again, compare. Prints what happened as JSON.

    python kill_loop.py PACKAGE OLD NEW WORK FIRST_SEED SEEDS PROGRAM     PROGRAM: otastream or otaunpack

A process of its own, with everything loaded and one thread: each try is a fork that runs the command line, so that the
moments fall on the update and not on the start of the interpreter.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import shutil
import signal
import sys
import time
from pathlib import Path
from typing import NoReturn

import otastream.cli.apply  # noqa: F401 (loaded before the forks: commands are imported when they are used)
from bench.measure import differences
from e2e_support import applier_named, apply_args, board
from otastream.cli.main import run


def child(package: Path, root: Path, program: str) -> NoReturn:
    """Apply in a session of its own, silently; never returns."""
    os.setsid()
    null = os.open(os.devnull, os.O_RDWR)
    for fd in (0, 1, 2):
        os.dup2(null, fd)
    if program != "otastream":
        argv = applier_named(program).argv(package, root)
        os.execv(argv[0], [str(word) for word in argv])
    os._exit(run([str(a) for a in apply_args(package, root)]))


def attempt(package: Path, root: Path, after: float | None, program: str) -> int:
    """Fork, kill the whole session after so many seconds (None: let it end). The exit code, or minus the signal."""
    pid = os.fork()
    if pid == 0:
        child(package, root, program)
    if after is not None:
        time.sleep(after)
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    status = os.waitpid(pid, 0)[1]
    if after is not None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(pid, signal.SIGKILL)  # a script that was running when the power went
    return os.waitstatus_to_exitcode(status)


def main(package: Path, old: Path, new: Path, work: Path, first: int, seeds: int, program: str) -> dict[str, object]:
    applier_named(program)  # built before the clock runs
    durations = []
    for number in range(3):
        root = board(work / f"clean{number}", old)
        start = time.monotonic()
        code = attempt(package, root, None, program)
        durations.append(time.monotonic() - start)
        assert code == 0, f"a clean run ends with {code}"
    longest = sorted(durations)[1] * 1.05
    killed = between = 0
    wrong = []
    for seed in range(first, first + seeds):
        rng = random.Random(seed)
        folder = work / f"seed{seed}"
        root = board(folder, old)
        for _ in range(rng.choice((1, 1, 1, 2, 3))):  # some boards lose power more than once
            killed += attempt(package, root, rng.uniform(0, longest), program) == -signal.SIGKILL
        config = root / "config"
        between += bool(differences(old, config)) and bool(differences(new, config))
        code = attempt(package, root, None, program)
        left = differences(new, config)
        if code != 0 or left:
            wrong.append(f"seed {seed}: exit {code}, {left[:3]}")
        if (root / "etc/keep").read_bytes() != b"not part of the update":
            wrong.append(f"seed {seed}: a file outside was changed")
        shutil.rmtree(folder)
    return {"seconds": longest, "killed": killed, "between": between, "wrong": wrong}


if __name__ == "__main__":
    paths = [Path(a) for a in sys.argv[1:5]]
    print(json.dumps(main(paths[0], paths[1], paths[2], paths[3], int(sys.argv[5]), int(sys.argv[6]), sys.argv[7])))
