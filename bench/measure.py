"""Run a program and say how long it took and how much memory it held; compare folders to the last bit."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parent.parent
LAUNCHER: Final = ROOT / "build" / "rusage"
SOURCE: Final = Path(__file__).with_name("rusage.c")
OUT_OF_TIME: Final = 128 + signal.SIGXCPU


@dataclass(frozen=True, slots=True)
class Usage:
    """seconds of wall clock, cpu of processor time (all processes); rss: peak resident bytes of the largest process;
    status: exit code; text: its output."""

    seconds: float
    rss: int
    status: int
    text: str
    cpu: float


def launcher() -> Path:
    """The small C program that starts what is measured, compiled when it is missing or old."""
    if not LAUNCHER.exists() or LAUNCHER.stat().st_mtime < SOURCE.stat().st_mtime:
        LAUNCHER.parent.mkdir(parents=True, exist_ok=True)
        subprocess.run([os.environ.get("CC", "gcc"), "-O2", "-static", "-o", str(LAUNCHER), str(SOURCE)], check=True)
    return LAUNCHER


def measure(
    argv: Sequence[str | Path],
    *,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    check: bool = True,
    cpu: int = 0,
) -> Usage:
    """Run argv, for at most cpu seconds of the processor (0: any). With `check`, RuntimeError with its last output when
    it fails; OUT_OF_TIME is the status of what was stopped."""
    with tempfile.TemporaryDirectory() as work:
        note = Path(work) / "usage"
        done = subprocess.run(
            [launcher(), note, str(cpu), *argv],
            cwd=cwd,
            env={**os.environ, **(env or {})},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            check=True,
        )
        seconds, rss, status, used = note.read_text().split()
    usage = Usage(float(seconds), int(rss) * 1024, int(status), done.stdout.decode(errors="replace"), float(used))
    if check and usage.status != 0:
        tail = "\n".join(usage.text.strip().splitlines()[-5:])
        raise RuntimeError(f"{' '.join(map(str, argv[:3]))} ... ended with {usage.status}\n{tail}")
    return usage


# ---- folders -----------------------------------------------------------------------------------------------------


def walk(top: Path) -> Iterator[tuple[bytes, os.stat_result]]:
    """Every name beneath `top`, relative, with lstat; sorted."""
    stack = [os.fsencode(top)]
    base = len(stack[0]) + 1
    while stack:
        with os.scandir(stack.pop()) as entries:
            for entry in sorted(entries, key=lambda e: e.name):
                status = entry.stat(follow_symlinks=False)
                yield entry.path[base:], status
                if stat.S_ISDIR(status.st_mode):
                    stack.append(entry.path)


def same_content(a: bytes, b: bytes) -> bool:
    """Whether two regular files hold the same bytes."""
    with open(a, "rb", buffering=0) as fa, open(b, "rb", buffering=0) as fb:
        while True:
            x, y = fa.read(1 << 20), fb.read(1 << 20)
            if x != y:
                return False
            if not x:
                return True


def differences(want: Path, have: Path, *, modes: bool = True) -> list[str]:
    """What differs between two folders: names, kinds, bytes, link texts, hard links and (with `modes`) permission bits.
    One line each; empty when the folders are the same."""
    left, right = dict(walk(want)), dict(walk(have))
    found = [f"missing: {os.fsdecode(n)}" for n in left.keys() - right.keys()]
    found += [f"too many: {os.fsdecode(n)}" for n in right.keys() - left.keys()]
    root_want, root_have = os.fsencode(want), os.fsencode(have)
    groups: dict[int, int] = {}
    reverse: dict[int, int] = {}
    for name in sorted(left.keys() & right.keys()):
        a, b = left[name], right[name]
        path_a, path_b = root_want + b"/" + name, root_have + b"/" + name
        if stat.S_IFMT(a.st_mode) != stat.S_IFMT(b.st_mode):
            found.append(f"kind: {os.fsdecode(name)}")
        elif stat.S_ISLNK(a.st_mode):
            if os.readlink(path_a) != os.readlink(path_b):
                found.append(f"link text: {os.fsdecode(name)}")
        else:
            if modes and stat.S_IMODE(a.st_mode) != stat.S_IMODE(b.st_mode):
                found.append(f"mode: {os.fsdecode(name)} {a.st_mode & 0o7777:o} is {b.st_mode & 0o7777:o}")
            if stat.S_ISREG(a.st_mode):
                if a.st_size != b.st_size or not same_content(path_a, path_b):
                    found.append(f"content: {os.fsdecode(name)}")
                together = groups.setdefault(a.st_ino, b.st_ino) == b.st_ino
                if modes and not (reverse.setdefault(b.st_ino, a.st_ino) == a.st_ino and together):
                    found.append(f"hard link: {os.fsdecode(name)}")
    return sorted(found)


def total_size(top: Path) -> int:
    """Bytes of all regular files beneath a folder, hard links counted once."""
    seen = {(s.st_dev, s.st_ino): s.st_size for _, s in walk(top) if stat.S_ISREG(s.st_mode)}
    return sum(seen.values())
