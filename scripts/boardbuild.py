#!/usr/bin/env python3
"""Build the board's programs: static, against musl, for each architecture; then a table of what they weigh.

    boardbuild.py [--encoders gzip,xz,zstd,lz4,lzo] [ARCH...]
                                 armhf arm64 amd64 (all of them by default)
    boardbuild.py --sanitize     for this machine, against glibc, with ASan and UBSan: build/board/san/
    boardbuild.py --libraries    only what that links with, its headers in build/board/san/include

Debian's cross compilers compile; musl and the libraries are Debian's packages of the target architecture, unpacked
beneath .cache by scripts/debroot.py. The results are build/board/ARCH/otaunpack and otadisplay. A program above its
budget in csrc/board/budget.json is an error. With more encoders than gzip otaunpack is larger, has no budget, and goes
to build/board/ARCH-xz-zstd (or what was asked for).
"""

from __future__ import annotations

import argparse
import fcntl
import json
import os
import re
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

TREE = Path(__file__).resolve().parent.parent
BUDGET = TREE / "csrc/board/budget.json"
PACKAGES = (
    "musl", "musl-dev", "zlib1g-dev", "libzstd-dev", "libsodium-dev", "linux-libc-dev", "libjpeg62-turbo-dev",
    "libpng-dev", "liblzma-dev", "liblz4-dev", "liblzo2-dev",
)  # fmt: skip
LIBRARY_HEADERS = (
    "zlib.h", "zconf.h", "zstd.h", "zstd_errors.h", "sodium.h", "sodium",
    "jpeglib.h", "jconfig.h", "jmorecfg.h", "jerror.h", "png.h", "pngconf.h", "pnglibconf.h",
    "lzma.h", "lzma", "lz4.h", "lz4hc.h", "lzo",
)  # fmt: skip
ENCODERS = {
    "gzip": (), "xz": ("-DOTA_BOARD_XZ",), "zstd": ("-DOTA_BOARD_ZSTD",), "lz4": ("-DOTA_BOARD_LZ4",),
    "lzo": ("-DOTA_BOARD_LZO",),
}  # fmt: skip
"""What recompresses parts of images, and how it is asked for. Every otaunpack has gzip."""
KERNEL_HEADERS = ("linux", "asm", "asm-generic", "mtd")
# No -Wconversion here: musl's ioctl takes an int, and request numbers are unsigned. `make lint` has it, against glibc.
COMPILE = (
    *"-std=c99 -pedantic -Wall -Wextra -Werror -Wshadow -D_GNU_SOURCE -Os -ffunction-sections -fdata-sections".split(),
    *"-fno-asynchronous-unwind-tables -fno-unwind-tables -fno-stack-protector -fomit-frame-pointer".split(),
)
SANITIZE = (
    *"-std=c99 -pedantic -Wall -Wextra -Werror -Wshadow -Wconversion -D_GNU_SOURCE -O1 -g".split(),
    *"-fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer".split(),
)
LINK = "-static -Wl,--gc-sections -Wl,--build-id=none -Wl,-z,norelro -Wl,-z,noseparate-code".split()
FOR_MUSL = ("heap.c", "fortify.c", "slim.c", "musl.c")
"""Sources that only a link against musl needs: stand-ins for a heap and for fortified calls."""


@dataclass(frozen=True)
class Program:
    """folders, files: its sources beneath csrc. libraries: static ones. budget: its key in csrc/board/budget.json."""

    name: str
    folders: tuple[str, ...]
    files: tuple[str, ...]
    libraries: tuple[str, ...]
    budget: str
    parts: tuple[tuple[str, str], ...]  # columns of the table: title, what the origin of a section contains


PROGRAMS = (
    Program(
        "otaunpack", ("core", "port", "board"), (), ("libzstd.a", "libz.a", "libsodium.a", "liblzma.a", "liblz4.a",
         "liblzo2.a"),
        "program_bytes",
        (("core", "/core/"), ("port", "/port/"), ("board", "/board/"), ("zstd", "libzstd.a"), ("zlib", "libz.a"),
         ("xz", "liblzma.a"), ("lz4", "liblz4.a"), ("lzo", "liblzo2.a"),
         ("libsodium", "libsodium.a"), ("musl", "libc.a"), ("gcc", "libgcc")),
    ),
    Program(
        "otadisplay", ("display",), ("board/fortify.c",), ("libjpeg.a", "libpng16.a", "libz.a"), "display_bytes",
        (("display", "/display/"), ("libjpeg", "libjpeg.a"), ("libpng", "libpng16.a"), ("zlib", "libz.a"),
         ("musl", "libc.a"), ("gcc", "libgcc")),
    ),
)  # fmt: skip


@dataclass(frozen=True)
class Target:
    arch: str
    triplet: str
    musl: str
    tool: str  # prefix of the compiler's tools
    package: str  # Debian package of the compiler
    flags: tuple[str, ...] = ()


TARGETS = {
    t.arch: t
    for t in (
        Target(
            "armhf", "arm-linux-gnueabihf", "arm-linux-musleabihf", "arm-linux-gnueabihf-", "gcc-arm-linux-gnueabihf",
            ("-march=armv7-a", "-mfpu=vfpv3-d16", "-mthumb"),
        ),
        Target("arm64", "aarch64-linux-gnu", "aarch64-linux-musl", "aarch64-linux-gnu-", "gcc-aarch64-linux-gnu"),
        Target("amd64", "x86_64-linux-gnu", "x86_64-linux-musl", "x86_64-linux-gnu-", "gcc"),
    )
}  # fmt: skip


def run(*args: str | Path) -> str:
    done = subprocess.run(args, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise SystemExit(f"boardbuild: {' '.join(map(str, args))}\n{done.stdout}{done.stderr}")
    return done.stdout


def version() -> str:
    found = re.search(r'^__version__.*= "([^"]+)"', (TREE / "otastream/__init__.py").read_text(), re.M)
    if not found:
        raise SystemExit("boardbuild: no version in otastream/__init__.py")
    return found.group(1)


def sysroot(target: Target) -> Path:
    """Headers and libraries of the target, fetched when they are not there yet."""
    root = TREE / ".cache/cross" / target.arch
    stamp = root / ".packages"
    there = stamp.read_text() if stamp.exists() else ""
    if not all(re.search(rf"^{re.escape(name)}_", there, re.M) for name in PACKAGES):
        run(sys.executable, TREE / "scripts/debroot.py", target.arch, "get", root, *PACKAGES)
    return root / "usr"


def link_headers(target: Target, usr: Path, include: Path, names: Sequence[str]) -> None:
    """A folder with those headers of the sysroot that are wanted, and no others."""
    shutil.rmtree(include, ignore_errors=True)
    include.mkdir(parents=True)
    for name in names:
        for folder in (usr / "include", usr / "include" / target.triplet):
            if (folder / name).exists():
                (include / name).symlink_to(folder / name)


def prepare(target: Target, usr: Path, out: Path) -> list[str]:
    """The compiler call: musl's specs with their paths in the sysroot."""
    specs = (usr / "lib" / target.musl / "musl-gcc.specs").read_text()
    (out / "musl.specs").write_text(specs.replace("/usr/", f"{usr}/"))
    link_headers(target, usr, out / "include", (*LIBRARY_HEADERS, *KERNEL_HEADERS))
    return [f"{target.tool}gcc", f"-specs={out}/musl.specs", *target.flags]


def compile_all(
    program: Program, compiler: list[str], flags: Sequence[str], out: Path, *, without: Sequence[str] = ()
) -> list[Path]:
    sources = sorted(p for folder in program.folders for p in (TREE / "csrc" / folder).glob("*.c"))
    sources += [TREE / "csrc" / name for name in program.files]
    sources = [source for source in sources if source.name not in without]
    newest_header = max(p.stat().st_mtime for p in (*(TREE / "csrc").glob("*/*.h"), Path(__file__)))

    def one(source: Path) -> Path:
        made = out / source.parent.name / f"{source.stem}.o"
        if made.exists() and made.stat().st_mtime > max(source.stat().st_mtime, newest_header):
            return made
        made.parent.mkdir(exist_ok=True)
        include = [f"-I{TREE}/csrc/include", f"-I{TREE}/csrc/core", f"-isystem{out}/include"]
        define = f'-DOTA_VERSION_TEXT="{version()}"'
        run(*compiler, *flags, define, *include, "-c", source, "-o", made)
        return made

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return list(pool.map(one, sources))


def up_to_date(made: Path, sources: Sequence[Path]) -> bool:
    return made.exists() and made.stat().st_mtime > max(source.stat().st_mtime for source in sources)


def parts(program: Program, map_file: Path) -> Counter[str]:
    """Bytes that reach the file, by where they come from, as the linker's map says."""
    found: Counter[str] = Counter()
    text = map_file.read_text().split("Linker script and memory map", 1)[1]
    section = re.compile(r"^ \.(\w+)\S*\s+0x[0-9a-f]+\s+0x([0-9a-f]+)\s+(\S+)$", re.M)
    for kind, size, origin in section.findall(text):
        if kind in ("text", "rodata", "data", "init_array", "ARM", "eh_frame"):
            inside = origin.removeprefix(str(TREE))  # the clone itself may be named like a part
            name = next((name for name, mark in program.parts if mark in inside), "other")
            found[name] += int(size, 16)
    return found


def build(program: Program, target: Target, encoders: Sequence[str] = ()) -> tuple[int, Counter[str]]:
    """Stripped size in bytes, and what of it comes from where. encoders: beside gzip."""
    if not shutil.which(f"{target.tool}gcc"):
        raise SystemExit(f"boardbuild: no compiler for {target.arch}: scripts/apt.sh board (package {target.package})")
    out = TREE / "build/board" / "-".join([target.arch, *encoders])
    out.mkdir(parents=True, exist_ok=True)
    usr = sysroot(target)
    compiler = prepare(target, usr, out)
    defines = [flag for name in encoders for flag in ENCODERS[name]]
    objects = compile_all(program, compiler, (*COMPILE, *defines), out)
    libraries = [usr / "lib" / target.triplet / name for name in program.libraries]
    made, full, new = (out / f"{program.name}{end}" for end in ("", ".full", ".new"))
    if not up_to_date(made, objects):
        run(*compiler, *LINK, "-o", full, *objects, *libraries, f"-Wl,-Map,{made}.map")
        run(f"{target.tool}strip", "-s", "-R", ".comment", "-o", new, full)
        os.replace(new, made)  # somebody may be running the one that was there
    return made.stat().st_size, parts(program, out / f"{program.name}.map")


def host_libraries() -> tuple[Path, Path]:
    """The libraries for this machine, which must be amd64: folder for what is built, sysroot."""
    target, out = TARGETS["amd64"], TREE / "build/board/san"
    out.mkdir(parents=True, exist_ok=True)
    usr = sysroot(target)
    link_headers(target, usr, out / "include", LIBRARY_HEADERS)
    return out, usr


def sanitized(program: Program) -> Path:
    """For this machine."""
    target = TARGETS["amd64"]
    out, usr = host_libraries()
    defines = [flag for flags in ENCODERS.values() for flag in flags]
    objects = compile_all(program, ["gcc"], (*SANITIZE, *defines), out, without=FOR_MUSL)
    libraries = [usr / "lib" / target.triplet / name for name in program.libraries]
    made, full = out / program.name, out / f"{program.name}.full"
    if not up_to_date(made, objects):
        run("gcc", *SANITIZE, "-o", full, *objects, *libraries, "-lm")
        os.replace(full, made)
    return made


def main() -> int:
    parser = argparse.ArgumentParser(description="Build the board's programs.")
    parser.add_argument("archs", nargs="*", metavar="ARCH", default=list(TARGETS))
    parser.add_argument("--sanitize", action="store_true")
    parser.add_argument("--encoders", default="gzip", help=f"of {', '.join(ENCODERS)}; gzip is always there")
    parser.add_argument("--libraries", action="store_true")
    args = parser.parse_args()
    with open_lock() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # tests build when they need to, several at once
        if args.libraries:
            host_libraries()
            return 0
        if args.sanitize:
            for program in PROGRAMS:
                print(sanitized(program))
            return 0
        return build_all(parser, args.archs, args.encoders.split(","))


def open_lock() -> TextIO:
    folder = TREE / "build/board"
    folder.mkdir(parents=True, exist_ok=True)
    return (folder / "lock").open("w")


def build_all(parser: argparse.ArgumentParser, archs: Sequence[str], chosen: Sequence[str]) -> int:
    """Build these, print the tables; 1 if a program is above its budget."""
    if unknown := set(chosen) - set(ENCODERS):
        parser.error(f"unknown: {', '.join(sorted(unknown))}; there are {', '.join(ENCODERS)}")
    encoders = [name for name in ENCODERS if name in chosen and name != "gzip"]
    if unknown := set(archs) - set(TARGETS):
        parser.error(f"unknown: {', '.join(sorted(unknown))}; there are {', '.join(TARGETS)}")
    budgets: dict[str, dict[str, int]] = json.loads(BUDGET.read_text())
    over = []
    for program in PROGRAMS[:1] if encoders else PROGRAMS:
        names = [name for name, _ in program.parts] + ["other"]
        print(f"{program.name:11}{'file':>9}{'budget':>9}" + "".join(f"{name:>11}" for name in names))
        for arch in archs:
            budget = budgets[program.budget][arch]
            size, found = build(program, TARGETS[arch], encoders)
            print(f"{arch:11}{size:9}{budget:9}" + "".join(f"{found[name]:11}" for name in names), flush=True)
            if size > budget and not encoders:
                over.append(f"{program.name} for {arch}")
    if over:
        print(f"boardbuild: above the budget in csrc/board/budget.json: {', '.join(over)}", file=sys.stderr)
    return 1 if over else 0


if __name__ == "__main__":
    sys.exit(main())
