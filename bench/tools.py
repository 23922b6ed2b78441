"""The rows of the folder table: otastream and its peers behind one small interface, each run as its own programs."""

from __future__ import annotations

import importlib.util
import shlex
import shutil
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from bench import kept
from bench.measure import ROOT, Usage, measure, total_size

TOOLS: Final = ROOT / ".cache" / "tools"
TAR: Final = "tar --sort=name --format=gnu --owner=0 --group=0 --numeric-owner --mtime=@0 -C"


@dataclass(frozen=True, slots=True)
class Tool:
    """One row. pack writes OUT from OLD and NEW; apply makes the folder MADE from OLD (already copied to MADE when
    `in_place`) and OUT. versions: what a kept result depends on. `exact`: modes and links come back too; others get
    folders without symbolic links. many: a row for folders of
    very many files, too. `lacks` says why the row cannot run here, or None."""

    name: str
    pack: Callable[[Path, Path, Path], Usage]
    apply: Callable[[Path, Path, Path], Usage]
    versions: Callable[[], str]
    lacks: Callable[[], str | None] = lambda: None
    exact: bool = True
    in_place: bool = False
    many: bool = False
    note: str = ""
    ours: bool = False
    env: Mapping[str, str] = field(default_factory=dict)


def size_of(out: Path) -> int:
    """Bytes of a package: a file, or a folder of patches."""
    return total_size(out) if out.is_dir() else out.stat().st_size


def program(*names: str) -> Callable[[], str | None]:
    """A `lacks` that looks for programs on the path and among the tools that scripts/ built."""

    def lacks() -> str | None:
        absent = [n for n in names if find(n) is None]
        return f"{', '.join(absent)} not found" if absent else None

    return lacks


def find(name: str) -> str | None:
    return shutil.which(name) or shutil.which(name, path=str(TOOLS))


def shell(script: str, work: Path) -> Usage:
    """A pipeline; the shell stops at the first failure of any part. Peak RSS is that of its largest program."""
    return measure(["bash", "-euo", "pipefail", "-c", script], cwd=work)


def q(path: Path | str | None) -> str:
    return shlex.quote(str(path))


# ---- otastream ---------------------------------------------------------------------------------------------------


def otastream() -> list[str]:
    """The installed command, beside this Python; else through the interpreter."""
    script = Path(sys.executable).with_name("otastream")
    return [str(script)] if script.exists() else [sys.executable, "-m", "otastream"]


def ours(engine: str, jobs: int, *, board: bool = False) -> Tool:
    """Applied by the command, or by the board program."""

    def pack(old: Path, new: Path, out: Path) -> Usage:
        options = ["--dest", "/config", "--engine", engine, "--jobs", str(jobs), "--progress", "none"]
        return measure([*otastream(), "pack", old, new, *options, "-o", out])

    def apply(_old: Path, out: Path, made: Path) -> Usage:
        # made is <root>/config, a copy of old
        tmp = made.parent / "tmp"
        tmp.mkdir(exist_ok=True)
        start = [kept.BOARD, "-r"] if board else [*otastream(), "apply"]
        return measure([*start, out, "--root", made.parent, "-t", tmp, "--progress", "none"])

    def lacks() -> str | None:
        return None if not board or kept.BOARD.exists() else "no board program (make bench-tools)"

    name = f"otastream {engine}, {jobs} job{'s' if jobs > 1 else ''}"
    note = "applied by the board program" if board else "applied by Python"
    return Tool(name, pack, apply, kept.otastream, lacks, in_place=True, many=engine == "bsdiff", note=note, ours=True)


# ---- peers -------------------------------------------------------------------------------------------------------


def bsdiff4_loop() -> Tool:
    def step(verb: str) -> Callable[[Path, Path, Path], Usage]:
        return lambda a, b, c: measure([sys.executable, "-m", "bench.bsdiff4_loop", verb, a, b, c], cwd=ROOT)

    def lacks() -> str | None:
        return None if importlib.util.find_spec("bsdiff4") else "bsdiff4 is not installed"

    def versions() -> str:
        return f"{kept.modules('bsdiff4')} {kept.programs(ROOT / 'bench/bsdiff4_loop.py')}"

    return Tool(
        "bsdiff4, Python loop over files", step("pack"), step("apply"), versions, lacks, exact=False, note="1 job"
    )


def binaries(*names: str) -> Callable[[], str]:
    return lambda: kept.programs(*map(find, names))


def hdiffz(name: str, options: str) -> Tool:
    def pack(old: Path, new: Path, out: Path) -> Usage:
        return measure([find("hdiffz") or "hdiffz", "-f", "-d", *options.split(), f"{old}/", f"{new}/", out])

    def apply(old: Path, out: Path, made: Path) -> Usage:
        return measure([find("hpatchz") or "hpatchz", "-f", f"{old}/", out, f"{made}/"])

    both = ("hdiffz", "hpatchz")
    return Tool(name, pack, apply, binaries(*both), program(*both), exact=False, many=name == BASELINE, note=options)


def tar_xdelta3() -> Tool:
    def pack(old: Path, new: Path, out: Path) -> Usage:
        window = max(1 << 23, 1 << (total_size(old) + (16 << 20)).bit_length())
        return shell(
            f"{TAR} {q(old)} -cf old.tar . && {TAR} {q(new)} -cf new.tar . && "
            f"xdelta3 -e -9 -S lzma -B {window} -f -s old.tar new.tar {q(out)}",
            out.parent,
        )

    def apply(old: Path, out: Path, made: Path) -> Usage:
        window = max(1 << 23, 1 << (total_size(old) + (16 << 20)).bit_length())
        return shell(
            f"mkdir {q(made)} && {TAR} {q(old)} -cf old.tar . && "
            f"xdelta3 -d -B {window} -f -s old.tar {q(out)} new.tar && tar -C {q(made)} -xpf new.tar",
            out.parent,
        )

    both = ("tar", "xdelta3")
    return Tool("tar + xdelta3", pack, apply, binaries(*both), program(*both), note="-9 -S lzma, whole old as window")


def tar_zstd(level: int) -> Tool:
    def pack(old: Path, new: Path, out: Path) -> Usage:
        return shell(
            f"{TAR} {q(old)} -cf old.tar . && {TAR} {q(new)} -cf new.tar . && "
            f"zstd -q -f -{level} --long=30 -T2 --patch-from=old.tar new.tar -o {q(out)}",
            out.parent,
        )

    def apply(old: Path, out: Path, made: Path) -> Usage:
        return shell(
            f"mkdir {q(made)} && {TAR} {q(old)} -cf old.tar . && "
            f"zstd -q -d -f --long=30 --patch-from=old.tar {q(out)} -o new.tar && "
            f"tar -C {q(made)} -xpf new.tar",
            out.parent,
        )

    both = ("tar", "zstd")
    return Tool("tar + zstd --patch-from", pack, apply, binaries(*both), program(*both), note=f"-{level} --long=30 -T2")


def plain(name: str, compress: str, expand: str, tool: str) -> Tool:
    def pack(_old: Path, new: Path, out: Path) -> Usage:
        return shell(f"{TAR} {q(new)} -cf - . | {compress} > {q(out)}", out.parent)

    def apply(_old: Path, out: Path, made: Path) -> Usage:
        return shell(f"mkdir {q(made)} && {expand} < {q(out)} | tar -C {q(made)} -xpf -", out.parent)

    both = ("tar", tool)
    return Tool(name, pack, apply, binaries(*both), program(*both), note=f"{compress}, no delta")


BASELINE: Final = "hdiffz folder diff, -m-6"

ALL: Final[tuple[Tool, ...]] = (
    ours("bsdiff", 1, board=True),
    ours("bsdiff", 2),
    ours("xref", 2),
    ours("full", 2),
    hdiffz(BASELINE, "-m-6 -SD -c-lzma2-9-16m -p-2"),
    hdiffz("hdiffz folder diff, -m-1", "-m-1 -SD -c-zstd-21-25 -p-2"),
    hdiffz("hdiffz folder diff, streamed", "-s-64 -SD -c-zstd-21-25 -p-2"),
    bsdiff4_loop(),
    tar_xdelta3(),
    tar_zstd(19),
    plain("tar.zst", "zstd -q -12 -T2 --long=27", "zstd -q -d --long=27", "zstd"),
    plain("tar.gz", "gzip -6n", "gzip -d", "gzip"),
)
