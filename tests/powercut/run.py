"""Run the power-cut machines and add up: ``python -m powercut.run [--thorough] [--seeds N] PROGRAMS`` (in tests).

PROGRAMS is the folder with the two programs. The last line is ``N cuts, M unrecovered``; the exit code is 1 if M is not
0 or a machine gave up.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
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


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("programs", type=Path)
    parser.add_argument("--thorough", action="store_true")
    parser.add_argument("--seeds", type=int, default=1)
    args = parser.parse_args()
    options = ["--thorough"] if args.thorough else []
    total = failed = 0
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(os.cpu_count()) as pool:
        made = cases.make(Path(folder))
        jobs = [
            (args.programs / name, [case], *options, "--seed", str(seed))
            for seed in range(args.seeds) for name in ("folder", "flash") for case in made
            if name == "folder" or (case / "images").exists()
        ]  # fmt: skip
        for code, stdout, stderr in pool.map(lambda job: run(*job), jobs):
            sys.stderr.write(stderr)
            print("\n".join(line for line in stdout.splitlines()[:-1] if " cuts, " in line), flush=True)
            if code not in (0, 1):
                print(f"a machine gave up with exit code {code}")
                return 1
            cuts, unrecovered = counts(stdout)
            total, failed = total + cuts, failed + unrecovered
    print(f"{total} cuts, {failed} unrecovered")
    return int(failed > 0)


if __name__ == "__main__":
    os.umask(0o022)
    sys.exit(main())
