"""Fail the system calls of an applier, one after the other; say what was not as it must be. Prints JSON.

    python fault_loop.py CASE WORK PROGRAM STEP         PROGRAM: otastream or otaunpack

CASE is a folder of powercut.cases. The applier updates the case's old board. Its system calls on files in a zone - the
root, the temporary folder, that of the status file, the package - are counted, and every STEP-th of them suffers a
fault: an errno; ``short`` (a read or write does half of what it was asked for); ``end`` (a read finds the end of the
file); ``gone`` (the file is removed just before). Three begin at that call and last: ``full`` and ``readonly`` (no
write in the zone works any more) and ``vanished`` (a node cannot be found, what is open of it is no device any more).
Each time

  - the exit code is that of a named error, and 0 only if the board is new;
  - each file is old or new, and one of the two slots of an image is whole;
  - the status file (of otaunpack) can be read, its code is the exit code unless it was the status file that failed,
    and it says neither that all is done nor that nothing was changed when that is not so;
  - the same command without the fault ends in new, with nothing left behind; but where the fault took a file of an
    update in place from its scratch and left a target half written, or a file from the place that it was moved to,
    what the update needs exists no more: then TARGET or MISSING says so.

Like a kill in kill_loop.py a fault is a number, not a moment: it is the same on every machine.
"""

from __future__ import annotations

import errno
import json
import os
import re
import shutil
import sys
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NoReturn

import otastream.cli.apply  # noqa: F401 (loaded before the forks: commands are imported when they are used)
import tracing
from e2e_support import Applier, applier_named, state
from otastream.cli.main import run
from otastream.errors import Code
from powercut.environment import Environment

# System calls of x86-64 that look at files or change them, by where their file is named: a descriptor, or a folder and
# a path, as numbers of arguments.
READS: Final = {0: "read", 17: "pread64"}
WRITES: Final = {1: "write", 18: "pwrite64"}
_FILES: Final = {**READS, **WRITES, 3: "close", 5: "fstat", 74: "fsync", 75: "fdatasync", 77: "ftruncate",
                 91: "fchmod", 93: "fchown", 138: "fstatfs", 190: "fsetxattr", 306: "syncfs"}  # fmt: skip
_PATHS: Final = {257: "openat", 258: "mkdirat", 262: "newfstatat", 263: "unlinkat", 264: "renameat", 267: "readlinkat",
                 316: "renameat2"}  # fmt: skip
_SECOND: Final = {265: "linkat", 266: "symlinkat"}  # the folder and the path are in the middle
_PLAIN: Final = {2: "open", 4: "stat", 82: "rename", 83: "mkdir", 87: "unlink"}
_CHANGES: Final = {"write", "pwrite64", "fsync", "fdatasync", "ftruncate", "fchmod", "fchown", "fsetxattr", "mkdirat",
                   "unlinkat", "renameat", "renameat2", "linkat", "symlinkat", "rename", "mkdir", "unlink"}  # fmt: skip
_CREATE: Final = os.O_CREAT | os.O_WRONLY | os.O_RDWR
_LASTING: Final = ("full", "readonly", "vanished")
FAULTS: Final = ("EIO", "ENOSPC", "EROFS", "short", "end", "gone", *_LASTING)
ZONES: Final = {"root": "root", "tmp": "tmp", "status": "state", "package": "package.ota"}
State = dict[bytes, tuple[object, ...]]
"""What is where, and what it is, as e2e_support.state says."""

_NAMED: Final = {int(code) for code in Code} - {int(Code.INTERNAL)}


def file_of(call: tracing.Call) -> str:
    """The file that a call is about, as an absolute path; "" if it is about none."""
    number = call.number
    if number in _FILES:
        return call.file(0)
    if number in _PATHS:
        return call.path(0, 1)
    if number in _SECOND:
        return call.path(2, 3) if number == 265 else call.path(1, 2)
    return os.fsdecode(call.text(0)) if number in _PLAIN else ""


def name_of(call: tracing.Call) -> str:
    return {**_FILES, **_PATHS, **_SECOND, **_PLAIN}.get(call.number, "")


class Fault:
    """One fault, at the n-th call that it could hit (from 0)."""

    def __init__(self, what: str, zone: str, at: int | None) -> None:
        self.what, self.zone, self.at = what, zone, at
        self.seen = 0
        self.hit = ""
        self.path = ""  # of what was hit
        self.taken = False
        self._result: int | None = None

    def at_stop(self, pid: int) -> None:
        call = tracing.entered(pid)
        if call is None:
            if self._result is not None:
                tracing.Call(pid, 0, ()).returns(self._result)
            self._result = None
            return
        name = name_of(call)
        if not name or not self._fits(name, call):
            return
        path = file_of(call)
        if path != self.zone and not path.startswith(self.zone + "/"):
            return
        if self.what == "vanished" and "/root/dev/" not in path:
            return
        lasts = self.hit != "" and self.what in _LASTING and (self.what != "vanished" or path == self.path)
        now = self.seen == self.at or lasts
        self.seen += 1
        if now:
            self.hit = self.hit or f"{name} {path}"
            self.path = self.path or path
            self._do(call, name, path)

    def _fits(self, name: str, call: tracing.Call) -> bool:
        """Can the call suffer so?"""
        changes = name in _CHANGES or (name == "openat" and bool(call.args[2] & _CREATE))
        if self.what == "full":
            return name in ("write", "pwrite64") or (name == "openat" and bool(call.args[2] & os.O_CREAT))
        if self.what == "short":
            return call.number in READS | WRITES and call.args[2] > 1
        if self.what == "end":
            return call.number in READS
        if self.what == "gone":
            return call.number not in _FILES  # what is open stays, whatever becomes of its name
        if self.what in ("readonly", "EROFS", "ENOSPC"):
            return changes
        return True

    def _do(self, call: tracing.Call, name: str, path: str) -> None:
        if self.what == "short":
            call.shorten(call.args[2] // 2)
        elif self.what == "end":
            call.shorten(0)
        elif self.what == "gone":
            if os.path.isfile(path) and not os.path.islink(path):
                os.unlink(path)
                self.taken = True
        else:
            lost = errno.ENODEV if call.number in _FILES else errno.ENOENT
            known = {"full": errno.ENOSPC, "readonly": errno.EROFS, "vanished": lost}
            self._result = -(known.get(self.what) or getattr(errno, self.what))
            if name != "close":  # one that fails has closed all the same
                call.refuse()


class Board:
    """A board of a case: its folder, and what it may hold."""

    def __init__(self, case: Path, folder: Path) -> None:
        self.case, self.folder = case, folder
        self.status = folder / "state/status"
        self.environment = Environment.of(case)
        self.old, self.new = state(case / "old/root"), state(case / "new/root")
        self.nodes = {name for name in self.old | self.new if name.startswith(b"dev/")}

    def make(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)
        shutil.copytree(self.case / "old", self.folder, symlinks=True)
        _join_links(self.case / "old/root", self.folder / "root")
        self.status.parent.mkdir()
        shutil.copy(self.case / "package.ota", self.folder / "package.ota")

    def argv(self, applier: Applier) -> list[str]:
        options: list[str | Path] = ["--volatile-scratch"]
        if (self.case / "old/root/etc/otastream/slots").exists():
            options += ["--slot", "auto"]
        if not applier.python:
            options += ["--status", self.status]
        argv = applier.argv(self.folder / "package.ota", self.folder / "root", *map(str, options))
        argv[argv.index(self.folder / "root/tmp")] = self.folder / "tmp"
        return [str(word) for word in argv]

    def now(self) -> dict[bytes, tuple[object, ...]]:
        """Content, with an environment that is new as the new board has it: which copy holds it depends on the past."""
        found = state(self.folder / "root")
        if self.environment and self.environment.read(self.folder / "root") == self.environment.states[-1]:
            node = self.environment.node.encode()
            found[node] = self.new[node]
        return found

    def between(self, now: dict[bytes, tuple[object, ...]], taken: bytes) -> Iterator[str]:
        """What is neither old nor new, but for a file that was taken away."""
        for name in sorted(now.keys() | self.old.keys() & self.new.keys()):
            if name in self.nodes or name.endswith(b".otastream-new"):
                continue
            allowed = [side[name] for side in (self.old, self.new) if name in side]
            have = now.get(name)
            if have is None:
                if name != taken and all(side[0] == allowed[0][0] for side in allowed):
                    yield f"{name!r} is lost"
            elif not any(have[0] == side[0] and have[4] == side[4] for side in allowed):
                yield f"{name!r} is neither old nor new"
        slots = [name for name in (b"dev/a", b"dev/b") if name in now]
        if len(slots) == 2 and all(now[name] not in (self.old[name], self.new[name]) for name in slots):
            yield "none of the slots is whole"
        if (
            self.environment
            and taken != self.environment.node.encode()
            and self.environment.read(self.folder / "root") not in self.environment.states
        ):
            yield "the environment is neither old nor new"

    def scratch_was_taken(self, fault: Fault) -> bool:
        """Was a file of the temporary folder taken that a half-written node may depend on?"""
        if not fault.taken or not fault.path.startswith(str(self.folder / "tmp") + "/"):
            return False
        now = self.now()
        return any(now.get(name) not in (self.old.get(name), self.new.get(name)) for name in self.nodes)

    def moved_was_taken(self, fault: Fault) -> bool:
        """Was a file taken that stands at its new place only? A package does not hold what it moves."""
        top = str(self.folder / "root") + "/"
        name = os.fsencode(fault.path.removeprefix(top))
        return fault.taken and fault.path.startswith(top) and name in self.new and name not in self.old

    def status_lies(self, code: int, now: dict[bytes, tuple[object, ...]], fault: Fault, taken: bytes) -> Iterator[str]:
        status_failed = fault.path.startswith(str(self.status.parent))
        try:
            lines = dict(line.split("=", 1) for line in self.status.read_text().splitlines())
        except FileNotFoundError:
            if not status_failed:
                yield "there is no status file"
            return
        if list(lines) != ["state", "package", "version", "code", "error", "target"]:
            yield f"the status file is {lines}"
            return
        if not status_failed and int(lines["code"]) != code:
            yield f"the status file says code {lines['code']}, the exit code is {code}"
        if not status_failed and lines["error"] != (Code(code).name if code else ""):
            yield f"the status file says {lines['error']}, the exit code {code}"
        if lines["state"] == "done" and now not in without(self.new, taken):
            yield "the status file says done"
        if lines["state"] in ("not-started", "failed-before-write") and now not in without(self.old, taken):
            yield f"the status file says {lines['state']}"


def without(board: State, taken: bytes) -> tuple[State, State]:
    """What a board may be like from which a file was taken: without it, or with it if the update has made it again."""
    return board, {name: value for name, value in board.items() if name != taken}


def _join_links(source: Path, target: Path) -> None:
    """Names of one file are names of one file again."""
    first: dict[int, Path] = {}
    for path in sorted(source.rglob("*")):
        if path.is_symlink() or not path.is_file():
            continue
        there = target / path.relative_to(source)
        kept = first.setdefault(path.stat().st_ino, there)
        if kept != there:
            there.unlink()
            os.link(kept, there)


def attempt(argv: list[str], python: bool, fault: Fault, words: Path) -> int:
    """Run the applier with the fault; its exit code. What it says goes to the file."""

    def child() -> NoReturn:
        out = os.open(words, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        null = os.open(os.devnull, os.O_RDWR)
        for fd, to in ((null, 0), (null, 1), (out, 2)):
            os.dup2(fd, to)
        if not python:
            os.execv(argv[0], argv)
        code = run(argv[argv.index("apply") :])
        sys.stderr.flush()
        os._exit(code)

    pid = tracing.start(child)

    def at_stop(_number: int) -> bool:
        fault.at_stop(pid)
        return True

    return tracing.stops(pid, at_stop)


def judge(board: Board, applier: Applier, fault: Fault, code: int, words: str) -> Iterator[str]:
    now = board.now()
    if code != 0 and code not in _NAMED:
        yield f"ended with {code}: {words[-300:]}"
    if code != 0 and not re.search(r"^ota(stream|unpack): error: \w+: ", words, re.M):
        yield f"no named error: {words[-300:]}"
    if "Traceback" in words:
        yield f"a traceback: {words[-500:]}"
    taken = b""
    if fault.taken and fault.path.startswith(str(board.folder / "root") + "/"):
        taken = os.fsencode(Path(fault.path).relative_to(board.folder / "root"))
    if code == 0 and now not in without(board.new, taken):
        yield "success, and the board is not new"
    yield from board.between(now, taken)
    if not applier.python:
        yield from board.status_lies(code, now, fault, taken)


def again(board: Board, applier: Applier, fault: Fault) -> Iterator[str]:
    """Without the fault; what was taken away is brought back first."""
    if fault.taken:
        name = Path(fault.path)
        inside = name.relative_to(board.folder)
        source = board.case / ("package.ota" if inside.name == "package.ota" else Path("old") / inside)
        if not name.exists() and source.exists() and name.parent.is_dir():  # not when a file is there by now
            shutil.copy2(source, name)
    none = Fault("EIO", "/nowhere", None)
    words = board.folder.parent / "words"
    may_be_lost = board.scratch_was_taken(fault) or board.moved_was_taken(fault)
    code = attempt(board.argv(applier), applier.python, none, words)
    now = board.now()
    if may_be_lost and code in (Code.TARGET, Code.MISSING):
        if not applier.python and f"code={int(code)}\n" not in board.status.read_text():
            yield f"run again: the status file says {board.status.read_text()}"
        return
    if code != 0:
        yield f"run again: {words.read_text()[-300:]}"
    elif now != board.new:
        wrong = sorted(name for name in now | board.new if now.get(name) != board.new.get(name))
        yield f"run again: not new: {wrong[:3]}"
    left = sorted(set(os.listdir(board.folder / "tmp")) - {"log"})
    if left:
        yield f"run again: left {left}"
    if not applier.python and "state=done\n" not in board.status.read_text():
        yield f"run again: the status file says {board.status.read_text()}"


def one(board: Board, applier: Applier, fault: Fault) -> tuple[int, list[str]]:
    """A board, a fault, and what was wrong; the exit code."""
    words = board.folder.parent / "words"
    board.make()
    code = attempt(board.argv(applier), applier.python, fault, words)
    if not fault.hit:
        return code, []
    problems = [*judge(board, applier, fault, code, words.read_text()), *again(board, applier, fault)]
    where = f"{fault.what} at {fault.at}, {fault.hit}, exit {code}"
    return code, [f"{where}: {problem}" for problem in problems]


def main(case: Path, work: Path, program: str, step: int) -> dict[str, object]:
    applier = applier_named(program)
    board = Board(case, work / "board")
    counts: dict[str, int] = {}
    wrong: list[str] = []
    failed = 0
    for what, zone in ((what, zone) for what in FAULTS for zone in ZONES):
        if zone == "status" and applier.python:
            continue
        at = zlib.crc32(f"{case.name} {what} {zone}".encode()) % min(step, 20)  # not always the first one
        while True:
            fault = Fault(what, str(board.folder / ZONES[zone]), at)
            code, problems = one(board, applier, fault)
            wrong += problems
            if not fault.hit:
                break
            counts[f"{what} {zone}"] = counts.get(f"{what} {zone}", 0) + 1
            failed += code != 0
            at += step
    shutil.rmtree(board.folder)
    return {"faults": sum(counts.values()), "failed": failed, "counts": counts, "wrong": wrong}


if __name__ == "__main__":
    os.umask(0o022)
    a = sys.argv[1:]
    print(json.dumps(main(Path(a[0]), Path(a[1]), a[2], int(a[3]))))
