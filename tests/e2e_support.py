"""What the end-to-end tests share: the command as a user runs it, a board's folder and its exact state."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import io
import os
import random
import shutil
import stat
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from bench.measure import walk
from otastream.cli.main import run

TREE = Path(__file__).resolve().parent.parent
OTASTREAM: Sequence[str] = (sys.executable, "-m", "otastream")


def otastream(
    *args: str | Path, stdin: bytes | None = None, cwd: Path | None = None
) -> subprocess.CompletedProcess[bytes]:
    """Run the command line in a process of its own; nothing is checked."""
    return subprocess.run([*OTASTREAM, *args], input=stdin or b"", capture_output=True, cwd=cwd, check=False)


def succeed(*args: str | Path, stdin: bytes | None = None) -> str:
    """Run it, demand exit code 0, return stdout."""
    done = otastream(*args, stdin=stdin)
    assert done.returncode == 0, done.stderr.decode(errors="replace")
    return done.stdout.decode()


def state(top: Path) -> dict[bytes, tuple[object, ...]]:
    """Everything about a folder that an update could change, except times: kind, mode, owner, content, link text."""
    found: dict[bytes, tuple[object, ...]] = {}
    for name, s in walk(top):
        path = os.fsencode(top) + b"/" + name
        content: bytes = b""
        if stat.S_ISREG(s.st_mode):
            with open(path, "rb") as file:
                content = hashlib.file_digest(file, "sha256").digest()
        elif stat.S_ISLNK(s.st_mode):
            content = os.readlink(path)
        found[name] = (stat.S_IFMT(s.st_mode), stat.S_IMODE(s.st_mode), s.st_uid, s.st_gid, content)
    return found


def write(path: Path, content: bytes, mode: int = 0o644) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    path.chmod(mode)


def overwrite(path: Path, content: bytes) -> None:
    """Write a file without emptying it first: after that a file system may wait for the disk, which adds up."""
    with path.open("r+b" if path.exists() else "wb", buffering=0) as file:
        assert file.write(content) == file.truncate() == len(content)


def edited(content: bytes, seed: int) -> bytes:
    """Content as a new build would have it: some bytes differ, a piece is gone, a piece is new."""
    rng = random.Random(seed)
    made = bytearray(content)
    for _ in range(max(1, len(made) // 512)):
        made[rng.randrange(len(made))] ^= rng.randrange(1, 256)
    cut = rng.randrange(len(made))
    return bytes(made[:cut] + rng.randbytes(len(made) // 50) + made[cut + len(made) // 100 :])


def make_pair(folder: Path, *, seed: int = 1, count: int = 12, size: int = 20_000) -> tuple[Path, Path]:
    """old and new folders with one of everything that can change between two releases."""
    rng = random.Random(seed)
    old, new = folder / "old", folder / "new"
    for side in (old, new):
        side.mkdir(parents=True)
        write(side / "same.conf", b"unchanged\n")
        write(side / "bin/same", b"#!/bin/sh\n", 0o755)
        (side / "empty-folder").mkdir()
        write(side / "empty-file", b"")
    for i in range(count):
        content = rng.randbytes(rng.randrange(size // 2, size))
        write(old / f"lib/lib{i}.so", content, 0o755)
        write(new / f"lib/lib{i}.so", edited(content, i), 0o755)
    moved = rng.randbytes(size)
    write(old / "old-place/moved", moved)
    write(new / "new-place/moved", moved)
    write(old / "deleted/file", b"gone")
    write(new / "added/deep/file", rng.randbytes(size), 0o600)
    write(old / "mode", b"mode only", 0o644)
    write(new / "mode", b"mode only", 0o755)
    for side, text in ((old, "lib/lib0.so"), (new, "lib/lib1.so")):
        (side / "link").symlink_to(text)
        (side / "dangling").symlink_to("nowhere/at all")
    write(old / "becomes-folder", b"a file")
    write(new / "becomes-folder/inside", b"now in a folder")
    write(old / "becomes-file/inside", b"in a folder")
    write(new / "becomes-file", b"now a file")
    write(old / "becomes-link", b"a file")
    (new / "becomes-link").symlink_to("same.conf")
    write(new / "hard/one", b"two names" * 100)
    (new / "hard/two").hardlink_to(new / "hard/one")
    for side in (old, new):
        for name in (b"with space", b"with\nnewline", b"\xff\xfe not UTF-8", b"n" * 255, b"-dash", b"quote'\""):
            path = os.fsencode(side / "odd") + b"/" + name
            os.makedirs(os.path.dirname(path), exist_ok=True)
            with open(path, "wb") as file:
                file.write(side.name.encode() + name)
    return old, new


def board(folder: Path, old: Path) -> Path:
    """A root with `old` at /config and something beside it that no update may touch."""
    root = folder / "root"
    shutil.copytree(old, root / "config", symlinks=True)
    write(root / "etc/keep", b"not part of the update")
    (root / "tmp").mkdir()
    return root


def pack(old: Path, new: Path, out: Path, *options: str) -> Path:
    succeed("pack", old, new, "--dest", "/config", *options, "-o", out)
    return out


@functools.cache
def board_program(arch: str) -> Path:
    """The static board program for amd64, armhf, arm64; "san": for this machine, with sanitizers. Built if need be,
    together with otadisplay beside it."""
    build = [sys.executable, str(TREE / "scripts/boardbuild.py"), *(["--sanitize"] if arch == "san" else [arch])]
    done = subprocess.run(build, capture_output=True, text=True, check=False, timeout=600)
    assert done.returncode == 0, done.stdout + done.stderr
    return TREE / "build/board" / arch / "otaunpack"


class Applier:
    """A program that applies packages. There are two, which are held to the same cases."""

    def __init__(self, *start: str | Path) -> None:
        self._start = start
        self.python = tuple(start[: len(OTASTREAM)]) == tuple(OTASTREAM)

    def argv(self, package: Path | str, root: Path, *options: str) -> list[str | Path]:
        return [*self._start, package, "--root", root, "-t", root / "tmp", *options]

    def run(
        self, package: Path | str, root: Path, *options: str, stdin: bytes | None = None
    ) -> subprocess.CompletedProcess[bytes]:
        """Run it; nothing is checked."""
        return subprocess.run(self.argv(package, root, *options), input=stdin or b"", capture_output=True, check=False)

    def succeed(self, package: Path | str, root: Path, *options: str, stdin: bytes | None = None) -> None:
        """Run it, demand exit code 0."""
        done = self.run(package, root, *options, stdin=stdin)
        assert done.returncode == 0, done.stderr.decode(errors="replace")

    def code(self, package: Path | str, root: Path, *options: str) -> int:
        """Run it silently; the exit code. The Python program runs in this process: for many runs."""
        argv = [str(arg) for arg in self.argv(package, root, *options)]
        if self.python:
            with contextlib.redirect_stderr(io.StringIO()) as stderr:
                code = run(argv[len(OTASTREAM) :])
            assert "Traceback" not in stderr.getvalue()
            return code
        return subprocess.run(argv, stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False).returncode


def applier_named(name: str) -> Applier:
    """otastream: the Python program; otaunpack: the board program as boards get it, for this machine."""
    if name == "otastream":
        return Applier(*OTASTREAM, "apply")
    return Applier(board_program("amd64"), "-x")


def applier_with_encoders(name: str) -> Applier:
    """The same, with every encoder of image parts: of the board programs the one with sanitizers has them."""
    return applier_named(name) if name == "otastream" else Applier(board_program("san"), "-x")


def apply_args(package: Path | str, root: Path, *options: str) -> list[str | Path]:
    return ["apply", package, "--root", root, "-t", root / "tmp", *options]
