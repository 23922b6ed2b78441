"""The rows of the table of single files: otastream and its peers, as the programs that people run."""

from __future__ import annotations

import importlib.util
import json
import re
import shutil
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bench import kept
from bench.kept import BOARD
from bench.measure import Usage, measure
from bench.tools import binaries, find, otastream, program
from otastream.inspection import inspect_package
from otastream.options import ENGINES

Command = list[str | Path]


@dataclass(frozen=True, slots=True)
class Job:
    """One pair at work. arch: whose code it is (Debian's name), or empty. out: what a tool packs; made: what it makes
    when it applies. work: a folder for whatever else it needs."""

    old: Path
    new: Path
    work: Path
    arch: str

    @property
    def out(self) -> Path:
        return self.work / "patch"

    @property
    def made(self) -> Path:
        return self.work / "root" / "made"


@dataclass(frozen=True, slots=True)
class FileTool:
    """One row. pack and apply give the commands to run, one after the other. lacks says why the row cannot run here, or
    None. counted: its applier's instructions are, which mean something of programs in C. versions: what a kept result
    depends on. found: what its patch says about itself."""

    name: str
    pack: Callable[[Job], list[Command]]
    apply: Callable[[Job], list[Command]]
    lacks: Callable[[], str | None]
    versions: Callable[[], str]
    ours: bool = False
    counted: bool = True
    fits: Callable[[Job], bool] = lambda job: True  # noqa: ARG005
    found: Callable[[Job], str] = lambda job: ""  # noqa: ARG005


def run(commands: Sequence[Command], patience: int) -> Usage:
    """One after the other, each for at most so many seconds of the processor, as one usage: sums of time, the largest
    peak."""
    used = [measure(command, cpu=patience) for command in commands]
    return Usage(sum(u.seconds for u in used), max(u.rss for u in used), 0, used[-1].text, sum(u.cpu for u in used))


def instructions(commands: Sequence[Command], work: Path) -> int:
    """Instructions that the commands execute, as callgrind counts them."""
    total = 0
    for command in commands:
        note = work / "callgrind"
        valgrind: Command = ["valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null", f"--log-file={note}"]
        measure([*valgrind, *command])
        found = re.search(r"Collected : (\d+)", note.read_text())
        if found is None:
            raise RuntimeError(f"callgrind says nothing about {command[0]}")
        total += int(found[1])
    return total


# ---- otastream ---------------------------------------------------------------------------------------------------


def ours(
    name: str, options: Sequence[str], *, engine: str, counted: bool = True, board: Path = BOARD, image: bool = False
) -> FileTool:
    """Packed by the command, applied by a board program. image: from one node to another, else as a file."""

    def pack(job: Job) -> list[Command]:
        spec = job.work / "release.toml"
        where = {"source": "/old", "targets": ["/made"]} if image else {"action": "update", "dest": "/made"}
        entry = {"old": str(job.old), "new": str(job.new), **where}
        lines = "".join(f"{key} = {json.dumps(value)}\n" for key, value in entry.items())
        spec.write_text(f"[[{'image' if image else 'file'}]]\n{lines}")
        return [[*otastream(), "pack", "--spec", spec, "--progress", "none", "-j", "1", *options, "-o", job.out]]

    def apply(job: Job) -> list[Command]:
        if image:
            shutil.copyfile(job.old, job.made.with_name("old"))
            with job.made.open("wb") as node:
                node.truncate(job.new.stat().st_size)
        else:
            shutil.copyfile(job.old, job.made)
            shutil.copymode(job.old, job.made)
        return [[board, "-r", job.out, "--root", job.made.parent, "-t", job.work, "--progress", "none"]]

    def lacks() -> str | None:
        if engine not in ENGINES:
            return f"no engine {engine}"
        return None if board.exists() else "no board program (make board)"

    def versions() -> str:
        return f"{kept.otastream()} {kept.programs(board)}"

    def found(job: Job) -> str:
        notes = [getattr(entry.record, "note", None) for entry in inspect_package(str(job.out)).entries]
        return ", ".join(note for note in notes if note)

    return FileTool(name, pack, apply, lacks, versions, ours=True, counted=counted, found=found)


# ---- peers -------------------------------------------------------------------------------------------------------


def tool(name: str) -> str:
    return find(name) or name


def bsdiff() -> FileTool:
    return FileTool(
        "bsdiff 4.3",
        lambda job: [["bsdiff", job.old, job.new, job.out]],
        lambda job: [["bspatch", job.old, job.made, job.out]],
        program("bsdiff", "bspatch"),
        binaries("bsdiff", "bspatch"),
        fits=lambda job: job.arch != "",  # on what is compressed its sort takes hours
    )


def hdiffpatch(name: str, diff: Sequence[str], patch: Sequence[str] = ()) -> FileTool:
    return FileTool(
        f"hdiffz {name}",
        lambda job: [[tool("hdiffz"), "-f", "-d", "-p-1", *diff, job.old, job.new, job.out]],
        lambda job: [[tool("hpatchz"), "-f", *patch, job.old, job.out, job.made]],
        program("hdiffz", "hpatchz"),
        binaries("hdiffz", "hpatchz"),
    )


def detools(name: str, options: Callable[[Job], list[str] | None]) -> FileTool:
    def pack(job: Job) -> list[Command]:
        return [[sys.executable, "-m", "detools", "create_patch", *(options(job) or []), job.old, job.new, job.out]]

    def apply(job: Job) -> list[Command]:
        return [[sys.executable, "-m", "detools", "apply_patch", job.old, job.out, job.made]]

    def lacks() -> str | None:
        return None if importlib.util.find_spec("detools") else "detools is not installed"

    def fits(job: Job) -> bool:
        return options(job) is not None and job.arch != ""

    return FileTool(name, pack, apply, lacks, lambda: kept.modules("detools"), counted=False, fits=fits)


def architecture(job: Job) -> list[str] | None:
    form = {"armhf": "arm-cortex-m4", "arm64": "aarch64"}.get(job.arch)
    return None if form is None else ["-c", "lzma", "--data-format", form]


def xdelta3() -> FileTool:
    def window(job: Job) -> str:
        return str(max(1 << 19, 1 << job.old.stat().st_size.bit_length()))

    def how(job: Job, *options: str) -> Command:
        # what gzip made is expanded and made again by whatever gzip does here unless this says otherwise
        as_it_is = ["-D"] if gzipped(job.old) or gzipped(job.new) else []
        return ["xdelta3", *options, *as_it_is, "-B", window(job), "-f", "-s", job.old]

    return FileTool(
        "xdelta3 -9",
        lambda job: [[*how(job, "-e", "-9", "-S", "lzma"), job.new, job.out]],
        lambda job: [[*how(job, "-d"), job.out, job.made]],
        program("xdelta3"),
        binaries("xdelta3"),
    )


def xdelta3_gzip() -> FileTool:
    """For files that are one gzip member each: xdelta3 calls gzip, which has to be told how the new one was made."""
    how: Command = ["env", "GZIP=-9n", "xdelta3", "-q"]
    window = str(1 << 26)
    return FileTool(
        "xdelta3 -9, through gzip -9n",
        lambda job: [[*how, "-e", "-9", "-S", "lzma", "-B", window, "-f", "-s", job.old, job.new, job.out]],
        lambda job: [[*how, "-d", "-B", window, "-f", "-s", job.old, job.out, job.made]],
        program("xdelta3", "gzip"),
        binaries("xdelta3", "gzip"),
        fits=lambda job: gzipped(job.old) and gzipped(job.new),
    )


def gzipped(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(3) == b"\x1f\x8b\x08"


def zstd() -> FileTool:
    how: Command = ["zstd", "-q", "-f", "--ultra", "-22", "--long=31", "--single-thread"]
    return FileTool(
        "zstd --patch-from -22",
        lambda job: [[*how, f"--patch-from={job.old}", job.new, "-o", job.out]],
        lambda job: [["zstd", "-q", "-d", "-f", "--long=31", f"--patch-from={job.old}", job.out, "-o", job.made]],
        program("zstd"),
        binaries("zstd"),
    )


def rdiff() -> FileTool:
    def pack(job: Job) -> list[Command]:
        signature, delta = job.work / "signature", job.work / "delta"
        return [
            ["rdiff", "signature", job.old, signature],
            ["rdiff", "delta", signature, job.new, delta],
            ["zstd", "-q", "-f", "-19", delta, "-o", job.out],
        ]

    def apply(job: Job) -> list[Command]:
        delta = job.work / "delta"
        return [["zstd", "-q", "-d", "-f", job.out, "-o", delta], ["rdiff", "patch", job.old, delta, job.made]]

    return FileTool("rdiff + zstd -19", pack, apply, program("rdiff", "zstd"), binaries("rdiff", "zstd"))


OURS: Final[tuple[FileTool, ...]] = (
    ours("otastream bsdiff", ["--engine", "bsdiff"], engine="bsdiff"),
    *(
        ours(f"otastream {name}", ["--engine", name], engine=name)
        for name in ENGINES
        if name not in {"auto", "full", "bsdiff"}
    ),
    ours("otastream xref, 512 KiB", ["--engine", "xref", "--ram", "512K"], engine="xref", counted=False),
    ours("otastream xref, 2 MiB", ["--engine", "xref", "--ram", "2M"], engine="xref", counted=False),
)
"""Budgets beside the default give xref its smallest and its largest model, whose instructions are the same."""

PEERS: Final[tuple[FileTool, ...]] = (
    bsdiff(),
    hdiffpatch("-m-6 lzma", ["-m-6", "-SD", "-c-lzma2-9-16m"]),
    hdiffpatch("-m-1 lzma", ["-m-1", "-block-0", "-SD", "-c-lzma2-9-16m"]),
    hdiffpatch("low memory", ["-m-6", "-SD-64k", "-c-zstd-19-17"], ["-s-128k", "-p-1"]),
    detools("detools", lambda job: ["-c", "lzma"]),  # noqa: ARG005
    detools("detools, architecture", architecture),
    xdelta3(),
    zstd(),
    rdiff(),
)
