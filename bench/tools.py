"""The rows of the folder table: otastream and its peers behind one small interface, each run as its own programs."""

from __future__ import annotations

import importlib.util
import shlex
import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from bench.measure import ROOT, Usage, measure, total_size

TOOLS: Final = ROOT / ".cache" / "tools"
TAR: Final = "tar --sort=name --format=gnu --owner=0 --group=0 --numeric-owner --mtime=@0 -C"


@dataclass(frozen=True, slots=True)
class Tool:
    """One row. pack writes OUT from OLD and NEW; apply makes the folder MADE from OLD (already copied to MADE when
    `in_place`) and OUT. `exact`: modes and links come back too, not only names and bytes. `lacks` says why the row
    cannot run here, or None."""

    name: str
    pack: Callable[[Path, Path, Path], Usage]
    apply: Callable[[Path, Path, Path], Usage]
    lacks: Callable[[], str | None] = lambda: None
    exact: bool = True
    in_place: bool = False
    note: str = ""
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


def ours(engine: str, jobs: int) -> Tool:
    def pack(old: Path, new: Path, out: Path) -> Usage:
        options = ["--dest", "/config", "--engine", engine, "--jobs", str(jobs), "--progress", "none"]
        return measure([*otastream(), "pack", old, new, *options, "-o", out])

    def apply(_old: Path, out: Path, made: Path) -> Usage:
        # made is <root>/config, a copy of old
        tmp = made.parent / "tmp"
        tmp.mkdir(exist_ok=True)
        return measure([*otastream(), "apply", out, "--root", made.parent, "-t", tmp, "--progress", "none"])

    return Tool(f"otastream {engine}, {jobs} job{'s' if jobs > 1 else ''}", pack, apply, in_place=True)


# ---- peers -------------------------------------------------------------------------------------------------------


def bsdiff4_loop() -> Tool:
    def step(verb: str) -> Callable[[Path, Path, Path], Usage]:
        return lambda a, b, c: measure([sys.executable, "-m", "bench.bsdiff4_loop", verb, a, b, c], cwd=ROOT)

    def lacks() -> str | None:
        return None if importlib.util.find_spec("bsdiff4") else "bsdiff4 is not installed"

    return Tool("bsdiff4, Python loop over files", step("pack"), step("apply"), lacks, exact=False, note="1 job")


def hdiffz(name: str, options: Sequence[str], note: str) -> Tool:
    def pack(old: Path, new: Path, out: Path) -> Usage:
        return measure([find("hdiffz") or "hdiffz", "-f", "-d", *options, f"{old}/", f"{new}/", out])

    def apply(old: Path, out: Path, made: Path) -> Usage:
        return measure([find("hpatchz") or "hpatchz", "-f", f"{old}/", out, f"{made}/"])

    return Tool(name, pack, apply, program("hdiffz", "hpatchz"), exact=False, note=note)


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

    return Tool("tar + xdelta3", pack, apply, program("tar", "xdelta3"), note="-9 -S lzma, whole old as window")


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

    return Tool("tar + zstd --patch-from", pack, apply, program("tar", "zstd"), note=f"-{level} --long=30 -T2")


def plain(name: str, compress: str, expand: str, tool: str) -> Tool:
    def pack(_old: Path, new: Path, out: Path) -> Usage:
        return shell(f"{TAR} {q(new)} -cf - . | {compress} > {q(out)}", out.parent)

    def apply(_old: Path, out: Path, made: Path) -> Usage:
        return shell(f"mkdir {q(made)} && {expand} < {q(out)} | tar -C {q(made)} -xpf -", out.parent)

    return Tool(name, pack, apply, program("tar", tool), note="no delta")


BASELINE: Final = "bsdiff4, Python loop over files"

ALL: Final[tuple[Tool, ...]] = (
    bsdiff4_loop(),
    ours("bsdiff", 1),
    ours("bsdiff", 2),
    ours("full", 1),
    ours("full", 2),
    hdiffz("hdiffz folder diff, in memory", ["-m-1", "-SD", "-c-zstd-21-25", "-p-2"], "-m-1 -SD -c-zstd-21-25 -p-2"),
    hdiffz("hdiffz folder diff, streamed", ["-s-64", "-SD", "-c-zstd-21-25", "-p-2"], "-s-64 -SD -c-zstd-21-25 -p-2"),
    tar_xdelta3(),
    tar_zstd(19),
    plain("tar.zst", "zstd -q -19 -T2 --long=27", "zstd -q -d --long=27", "zstd"),
    plain("tar.gz", "gzip -9n", "gzip -d", "gzip"),
)
