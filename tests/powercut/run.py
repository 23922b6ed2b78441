"""Run the power-cut machines and add up: ``python -m powercut.run [--thorough] [--seeds N] PROGRAMS`` (in tests).

PROGRAMS is the folder with the two programs. At the end stands a table: cuts of each case on each medium. The last line
is ``N cuts, M unrecovered``; the exit code is 1 if M is not 0 or a machine gave up.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from powercut import cases


def run(program: Path, folders: list[Path], *options: str) -> tuple[int, str, str]:
    """One machine on some cases: its exit code, stdout and stderr."""
    done = subprocess.run([program, *options, *folders], capture_output=True, text=True, check=False)
    return done.returncode, done.stdout, done.stderr


def counts(stdout: str) -> tuple[int, int]:
    """Cuts, and how many of them were not recovered from: the last line of a machine."""
    match = re.fullmatch(r"(\d+) cuts, (\d+) unrecovered", stdout.splitlines()[-1] if stdout else "")
    if match is None:
        raise ValueError(f"a machine that gave up: {stdout[-500:]!r}")
    return int(match[1]), int(match[2])


def machines(case: Path) -> tuple[str, ...]:
    """The machines that a case is for."""
    folder = () if (case / "volumes").exists() else ("folder",)
    return (*folder, "flash") if (case / "images").exists() else folder


_LINE = re.compile(r"(\S+) +(.*\S) +(\d+) cuts, (\d+) unrecovered")


def per_medium(stdout: str) -> Iterable[tuple[str, str, int]]:
    """Case, medium (``folder``, or a chip), cuts."""
    for match in filter(None, map(_LINE.fullmatch, stdout.splitlines())):
        yield match[1], "folder" if match[2].endswith("calls,") else match[2], int(match[3])


def table(cuts: Counter[tuple[str, str]]) -> str:
    """Rows are cases, columns media."""
    names = list(dict.fromkeys(name for name, _ in cuts))
    media = list(dict.fromkeys(medium for _, medium in cuts))
    rows = [["case", *media, "together"]]
    for name in names:
        found = [cuts[name, medium] for medium in media]
        rows.append([name, *(str(count or "-") for count in found), str(sum(found))])
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join([row[0].ljust(widths[0]), *(t.rjust(w) for t, w in zip(row[1:], widths[1:], strict=True))])
        for row in rows
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("programs", type=Path)
    parser.add_argument("--thorough", action="store_true")
    parser.add_argument("--seeds", type=int, default=1)
    args = parser.parse_args()
    options = ["--thorough"] if args.thorough else []
    total = failed = 0
    found: Counter[tuple[str, str]] = Counter()
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(os.cpu_count()) as pool:
        made = cases.make(Path(folder))
        jobs = [
            (args.programs / name, [case], *options, "--seed", str(seed))
            for seed in range(args.seeds) for case in made for name in machines(case)
        ]  # fmt: skip
        for code, stdout, stderr in pool.map(lambda job: run(*job), jobs):
            sys.stderr.write(stderr)
            print("\n".join(line for line in stdout.splitlines()[:-1] if " cuts, " in line), flush=True)
            if code not in (0, 1):
                print(f"a machine gave up with exit code {code}")
                return 1
            cuts, unrecovered = counts(stdout)
            total, failed = total + cuts, failed + unrecovered
            for case, medium, count in per_medium(stdout):
                found[case, medium] += count
    print(f"\ncuts of each case on each medium, {args.seeds} seeds:\n{table(found)}\n")
    print(f"{total} cuts, {failed} unrecovered")
    return int(failed > 0)


if __name__ == "__main__":
    os.umask(0o022)
    sys.exit(main())
