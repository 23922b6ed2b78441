"""Deltas inside of compressed images and files, against the public tools, which see them from outside.

    python -m bench.views [--rows PATTERN] [--files N] [--markdown PAGE] [NAME...]

NAME is an image pair of `python -m scripts.corpus`, a folder of compressed files, `bound`: every pair with views and
without, as bench.bound has it, or `instructions`: what the board program executes, counted by callgrind on small
images; without any, all. The modules are N of those of the corpus,
compressed here as kbuild does it. Every result is compared with new. Rows are kept as in bench.pairs.
"""

from __future__ import annotations

import argparse
import random
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

from bench import bound, folder, kept, pairs
from bench.filetools import FileTool, hdiffpatch, ours, xdelta3, xdelta3_gzip, zstd
from bench.measure import ROOT, Usage, launcher, measure, total_size
from bench.rows import APPLY_MIB, BYTES, PACK_CPU, PACK_MIB, Column, Row, best_peer, machine, ratio, table
from bench.tools import Tool, hdiffz, otastream, tar_xdelta3, tar_zstd
from scripts.corpus import CACHE, IMAGES, CorpusError, Pair, fetch
from scripts.wheels import NUMPY, PANDAS, download_wheel

ENCODERS: Final = ("xz", "zstd", "lz4", "lzo")
"""Of the board program, beside gzip."""
PROGRAM: Final = ROOT / "build/board" / "-".join(["amd64", *ENCODERS]) / "otaunpack"
SMALL: Final = "small-"
"""Pairs whose names begin so are for counting instructions."""
BOUND: Final = "bound"
COUNTED: Final = "instructions"
COUNTED_TITLE: Final = "Instructions for each byte of new"
INSIDE: Final = Column("found inside", lambda row: row.note, left=True)

COMPRESSORS: Final[dict[str, tuple[str, ...]]] = {
    "gz": ("gzip", "-n", "-f"),
    "xz": ("xz", "--check=crc32", "--lzma2=dict=1MiB", "-f"),
    "zst": ("zstd", "-19", "--rm", "-f", "-q"),
}
"""As scripts/Makefile.modinst of Linux calls them, but for the level of zstd."""


# ---- images --------------------------------------------------------------------------------------------------------


def encoders(name: str) -> str:
    """What boards need for this pair, as --board-encoders says it."""
    return ",".join(["gzip", *(encoder for encoder in ENCODERS if name.endswith(encoder))])


def image_tool(name: str) -> FileTool:
    """Ours, by default options."""
    options = ["--board-encoders", encoders(name)]
    return ours("otastream", options, engine="auto", counted=name.startswith(SMALL), board=PROGRAM, image=True)


PEERS: Final = tuple(
    replace(tool, counted=False)
    for tool in (hdiffpatch("-m-6 lzma", ["-m-6", "-SD", "-c-lzma2-9-16m"]), xdelta3(), xdelta3_gzip(), zstd())
)
"""Those that can be expected to end on 50 MB of what looks like noise."""


def image_rows(pair: Pair, options: argparse.Namespace) -> Iterator[Row]:
    for tool in (image_tool(pair.name), *PEERS):
        if re.search(options.rows, tool.name):
            row = row_of(tool, pair, options)
            if row.failed != pairs.NOT_FOR_IT:
                yield row


def row_of(tool: FileTool, pair: Pair, options: argparse.Namespace) -> Row:
    arch = IMAGES[pair.name].arch
    row = pairs.row_of(tool, pair, arch, options)
    print(f"{pair.name}: {row.tool}: {row.failed or f'{row.size:,} bytes'}", file=sys.stderr, flush=True)
    return row


def counted(options: argparse.Namespace) -> tuple[str, list[Row]]:
    """A section of its own: one row an encoder, the board program alone."""
    rows, sizes = [], dict[str, int]()
    for name in IMAGES:
        if name.startswith(SMALL):
            pair, kind = fetch(name), name.removeprefix(SMALL)
            rows.append(replace(row_of(image_tool(name), pair, options), tool=kind))
            sizes[kind] = pair.new.stat().st_size
    columns = [
        Column("image bytes", lambda row: f"{sizes[row.tool]:,}"),
        Column("package bytes", BYTES.text),
        Column("instr/byte of new", lambda row: f"{row.instructions / sizes[row.tool]:.0f}"),
        APPLY_MIB,
        INSIDE,
    ]
    return f"## {COUNTED_TITLE}\n\n{COUNTING}{table(rows, columns, 'image')}", rows


# ---- folders -------------------------------------------------------------------------------------------------------


def folder_tool(name: str) -> Tool:
    def pack(old: Path, new: Path, out: Path) -> Usage:
        options = ["--dest", "/config", "--board-encoders", name, "--ram", "24M", "--progress", "none"]
        return measure([*otastream(), "pack", old, new, *options, "-o", out])

    def apply(_old: Path, out: Path, made: Path) -> Usage:
        tmp = made.parent / "tmp"
        tmp.mkdir(exist_ok=True)
        return measure([PROGRAM, "-r", out, "--root", made.parent, "-t", tmp, "--progress", "none"])

    def versions() -> str:
        return f"{kept.otastream()} {kept.programs(PROGRAM)}"

    return Tool(f"otastream, encoders {name}", pack, apply, versions, in_place=True, ours=True)


FOLDER_TOOLS: Final = (
    folder_tool("none"),
    folder_tool("gzip,xz,zstd"),
    hdiffz("hdiffz folder diff", "-m-1 -SD -c-zstd-21-25 -p-2"),
    tar_xdelta3(),
    tar_zstd(19),
)


def modules(kind: str, count: int, into: Path) -> Pair:
    """Modules that changed from one kernel to the next, the same ones for every kind."""
    pair = fetch("modules")
    tops = (pair.old, pair.new)
    old, new = ({str(path).partition("/kernel/")[2]: path for path in top.rglob("*.ko")} for top in tops)
    both = [(old[name], new[name]) for name in sorted(old.keys() & new.keys())]
    both = [paths for paths in both if paths[0].read_bytes() != paths[1].read_bytes()]
    for paths in random.Random(1).sample(both, min(count, len(both))):
        for path, top, side in zip(paths, tops, ("old", "new"), strict=True):
            target = into / side / path.relative_to(top)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, target)
            subprocess.run([*COMPRESSORS[kind], target], check=True)
    what = f"{min(count, len(both))} modules, {' '.join(COMPRESSORS[kind])}"
    return Pair(f"modules.{kind}", into / "old", into / "new", what)


def archives(_count: int, into: Path) -> Pair:
    """Wheels as they are: zip archives with hundreds of members."""
    for side, number in (("old", 0), ("new", 1)):
        (into / side).mkdir(parents=True)
        for pair in (NUMPY, PANDAS):
            wheel = pair[number]
            shutil.copyfile(download_wheel(wheel, CACHE / "downloads"), into / side / f"{wheel.project}.whl")
    what = ", ".join(f"{old.project} {old.version} -> {new.version}" for old, new in (NUMPY, PANDAS))
    return Pair("wheels", into / "old", into / "new", what)


FOLDERS: Final[dict[str, Callable[[int, Path], Pair]]] = {
    "modules.gz": lambda count, into: modules("gz", count, into),
    "modules.xz": lambda count, into: modules("xz", count, into),
    "modules.zst": lambda count, into: modules("zst", count, into),
    "wheels": archives,
}


# ---- the page ------------------------------------------------------------------------------------------------------


def section(pair: Pair, rows: Sequence[Row], chosen: str) -> str:
    """A heading and a table; the ratio is against the smallest delta of any peer. chosen: --rows."""
    new = total_size(pair.new) if pair.new.is_dir() else pair.new.stat().st_size
    columns = [BYTES, ratio(best_peer(rows)), PACK_CPU, PACK_MIB, APPLY_MIB, INSIDE]
    only = f" Only the rows that `{chosen}` finds were measured." if chosen else ""
    return f"## {pair.name}\n\n{pair.what}: {new:,} bytes.{only}\n\n{table(rows, columns)}"


INTRO: Final = """# Benchmarks: compressed images and files

Written by `make bench-views` on {machine}. Packages have default options but for `--board-encoders` and, for
folders, `--ram 24M`, since a file of its own is compressed as a whole. Every result was compared with new. The ratio
is against the smallest delta of any peer on that pair (lower is better). Seconds are of the processor; MiB is the peak
resident size of the largest process. otastream packs in Python and applies with the board program (amd64, with every
encoder). A command that works on an image may take {patience} s. Rows are kept from the run that measured them, by
digests of all that they depend on (`--fresh` measures them again). xdelta3 expands files that are one gzip member by
calling gzip, and makes the same bytes if it is told how that was called; in a uImage or any other file it does not
look. [How it works](how-to/compressed-images.md).
{absent}"""

COUNTING: Final = """What the board program executes to apply, as callgrind counts it, everything included:
decompressing old parts, the delta, compressing, digests. On small images of
the same kinds (counting is fifty times slower than running), of which nearly every part changed.

"""


def measured(name: str, work: Path, options: argparse.Namespace) -> tuple[str, list[Row]]:
    """A section of the page, and what stands in it."""
    if name == BOUND:
        return bound.section((), options.most << 20)
    if name == COUNTED:
        return counted(options)
    if name in FOLDERS:
        pair = FOLDERS[name](options.files, work)
        tools = [tool for tool in FOLDER_TOOLS if re.search(options.rows, tool.name)]
        rows = list(folder.run_pair(pair, tools, fresh=options.fresh, only_kept=options.kept))
    else:
        pair = fetch(name)
        rows = list(image_rows(pair, options))
    return section(pair, rows, options.rows), rows


def written(page: Path | None, names: Sequence[str]) -> dict[str, str]:
    """The sections that a page has already, for a run of only some of the names."""
    if page is None or not page.exists():
        return {}
    titles = {{COUNTED: COUNTED_TITLE, BOUND: bound.TITLE}.get(name, name): name for name in names}
    found = (f"## {part.rstrip()}\n" for part in page.read_text().split("\n## ")[1:])
    return {titles[title]: part for part in found if (title := part.splitlines()[0][3:]) in titles}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    every = [*(name for name in IMAGES if not name.startswith(SMALL)), *FOLDERS, BOUND, COUNTED]
    parser.add_argument("names", nargs="*", metavar="NAME", choices=[[], *every], help=", ".join(every))
    parser.add_argument("--files", type=int, default=60, help="modules of a row")
    parser.add_argument("--most", type=int, default=60, help="MiB of the pairs of bound (default: %(default)s)")
    parser.add_argument("--rows", default="", help="only tools whose name this pattern finds")
    parser.add_argument("--fresh", action="store_true", help="measure again what was kept, too")
    parser.add_argument("--kept", action="store_true", help="measure nothing: rows that were not kept say so")
    parser.add_argument("--patience", type=int, default=600, help="seconds of CPU of a command (default: %(default)s)")
    parser.add_argument("--markdown", type=Path, help="write the page here; what is not in this run stays")
    options = parser.parse_args()
    launcher()
    sections, failed = written(options.markdown, every), False
    for name in options.names or every:
        try:
            with tempfile.TemporaryDirectory(prefix="otastream-bench-") as work:
                sections[name], rows = measured(name, Path(work), options)
        except CorpusError as problem:
            print(f"{name}: skipped: {problem}", file=sys.stderr)
            failed = True
            continue
        failed |= any(row.ours and row.failed for row in rows)
        print(f"\n{sections[name]}", flush=True)
        if options.markdown:  # after each one, so that a run that is stopped leaves what it has
            absent = [other for other in every if other not in sections]
            lack = f"\nNot measured: {', '.join(absent)}.\n" if absent else ""
            intro = INTRO.format(machine=machine(), patience=options.patience, absent=lack)
            found = [sections[other] for other in every if other in sections]
            options.markdown.write_text("\n".join([intro, *found]))
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
