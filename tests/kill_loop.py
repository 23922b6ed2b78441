"""Kill an applier with SIGKILL at random moments, run it again, compare. Prints what happened as JSON.

    python kill_loop.py PACKAGE OLD NEW WORK FIRST_SEED SEEDS PROGRAM     PROGRAM: otastream or otaunpack

A moment is a number of system calls, counted with ptrace, not a time: a seed kills at the same place of an update on a
slow, a fast and a busy machine. A process of its own, with everything loaded and one thread: each try is a fork that
runs the command line, so that the moments fall on the update and not on the start of the interpreter.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import shutil
import signal
import sys
from pathlib import Path
from typing import NoReturn

import otastream.cli.apply  # noqa: F401 (loaded before the forks: commands are imported when they are used)
import tracing
from bench.measure import differences
from e2e_support import applier_named, apply_args, board
from otastream.cli.main import run


def child(package: Path, root: Path, program: str) -> NoReturn:
    """Apply in a session of its own, silently; never returns."""
    os.setsid()
    null = os.open(os.devnull, os.O_RDWR)
    for fd in (0, 1, 2):
        os.dup2(null, fd)
    options = ("--volatile-scratch",)  # what is killed is a process, not the memory that the folder may be in
    argv = [str(word) for word in applier_named(program).argv(package, root, *options)]
    if program != "otastream":
        os.execv(argv[0], argv)
    os._exit(run([str(a) for a in apply_args(package, root, *options)]))


def attempt(package: Path, root: Path, at: int | None, program: str) -> tuple[int, int]:
    """Fork; kill the whole session at the n-th stop of its system calls, counted from 0 (None: let it end).

    Entry and exit of a call are a stop each, so that half of the kills come before a call does its work and half after
    it. Returns the exit code, or minus the signal, and the number of stops.
    """
    count = 0

    def at_stop(number: int) -> bool:
        nonlocal count
        count += 1
        return number != at

    pid = tracing.start(lambda: child(package, root, program))
    code = tracing.stops(pid, at_stop)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(pid, signal.SIGKILL)  # a script that was running when the power went
    return code, count


def main(package: Path, old: Path, new: Path, work: Path, first: int, seeds: int, program: str) -> dict[str, object]:
    applier = applier_named(program)  # built before anything is forked
    code, stops = attempt(package, board(work / "clean", old), None, program)
    assert code == 0, f"a clean run ends with {code}"
    killed = between = 0
    wrong = []
    for seed in range(first, first + seeds):
        rng = random.Random(seed)
        folder = work / f"seed{seed}"
        root = board(folder, old)
        for _ in range(rng.choice((1, 1, 1, 2, 3))):  # some boards lose power more than once
            killed += attempt(package, root, rng.randrange(stops), program)[0] == -signal.SIGKILL
        config = root / "config"
        between += bool(differences(old, config)) and bool(differences(new, config))
        code = applier.code(package, root, "--volatile-scratch")
        left = differences(new, config)
        if code != 0 or left:
            wrong.append(f"seed {seed}: exit {code}, {left[:3]}")
        if rest := sorted(os.listdir(root / "tmp")):
            wrong.append(f"seed {seed}: left {rest[:3]}")
        if (root / "etc/keep").read_bytes() != b"not part of the update":
            wrong.append(f"seed {seed}: a file outside was changed")
        shutil.rmtree(folder)
    return {"stops": stops, "killed": killed, "between": between, "wrong": wrong}


if __name__ == "__main__":
    paths = [Path(a) for a in sys.argv[1:5]]
    print(json.dumps(main(paths[0], paths[1], paths[2], paths[3], int(sys.argv[5]), int(sys.argv[6]), sys.argv[7])))
