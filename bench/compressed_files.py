"""Folders of compressed files: modules as kbuild compresses them, wheels as PyPI has them, against the public tools.

    python -m bench.compressed_files [--files N] [--rows PATTERN] [ROW...]

ROW is one of the folders below; without any, all. The modules are N of those of `python -m scripts.corpus modules`,
compressed here by the programs gzip, xz and zstd. Each result is compared with new, as in bench.folder.
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
from pathlib import Path
from typing import Final

from bench import kept
from bench.folder import Row, ratio, run_pair
from bench.measure import Usage, launcher, measure, total_size
from bench.tools import Tool, hdiffz, otastream, tar_xdelta3, tar_zstd
from scripts.corpus import CACHE, Pair, fetch
from scripts.wheels import NUMPY, PANDAS, download_wheel

COMPRESSORS: Final[dict[str, tuple[str, ...]]] = {
    "gz": ("gzip", "-n", "-f"),
    "xz": ("xz", "--check=crc32", "--lzma2=dict=1MiB", "-f"),
    "zst": ("zstd", "-19", "--rm", "-f", "-q"),
}
"""As scripts/Makefile.modinst of Linux calls them, but for the level of zstd."""


def ours(encoders: str) -> Tool:
    def pack(old: Path, new: Path, out: Path) -> Usage:
        options = ["--dest", "/config", "--board-encoders", encoders, "--ram", "24M", "--progress", "none"]
        return measure([*otastream(), "pack", old, new, *options, "-o", out])

    def apply(_old: Path, out: Path, made: Path) -> Usage:
        tmp = made.parent / "tmp"
        tmp.mkdir(exist_ok=True)
        return measure([*otastream(), "apply", out, "--root", made.parent, "-t", tmp, "--progress", "none"])

    return Tool(f"otastream, encoders {encoders}", pack, apply, kept.otastream, in_place=True)


TOOLS: Final = (
    ours("none"),
    ours("gzip,xz,zstd"),
    hdiffz("hdiffz folder diff", "-m-1 -SD -c-zstd-21-25 -p-2"),
    tar_xdelta3(),
    tar_zstd(19),
)


# ---- the folders ---------------------------------------------------------------------------------------------------


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
    return Pair(f"modules.{kind}", into / "old", into / "new", f"modules, {' '.join(COMPRESSORS[kind])}")


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
    "gz": lambda count, into: modules("gz", count, into),
    "xz": lambda count, into: modules("xz", count, into),
    "zst": lambda count, into: modules("zst", count, into),
    "wheels": archives,
}


def table(pair: Pair, rows: Sequence[Row]) -> Iterator[str]:
    """Ratios against the best public tool."""
    best = min((row.size for row in rows if row.failed is None and "otastream" not in row.tool), default=0)
    yield f"{pair.name}: {pair.what}; {total_size(pair.new):,} bytes\n"
    yield "| tool | bytes | ratio | pack CPU s | apply s | apply MiB |"
    yield "| --- | ---: | ---: | ---: | ---: | ---: |"
    for row in rows:
        if row.failed is not None:
            yield f"| {row.tool} | - | - | - | - | not run: {' '.join(row.failed.split())} |"
            continue
        rest = f"{row.pack_cpu:.1f} | {row.apply_seconds:.1f} | {row.apply_rss / 2**20:.0f}"
        yield f"| {row.tool} | {row.size:,} | {ratio(row.size, best)} | {rest} |"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="*", metavar="ROW", choices=[[], *FOLDERS], help=", ".join(FOLDERS))
    parser.add_argument("--files", type=int, default=200, help="modules of a row")
    parser.add_argument("--rows", default="", help="only tools whose name this pattern finds")
    parser.add_argument("--fresh", action="store_true", help="measure again what was kept, too")
    options = parser.parse_args()
    tools = [tool for tool in TOOLS if re.search(options.rows, tool.name)]
    launcher()
    failed = False
    for name in options.folders or FOLDERS:
        with tempfile.TemporaryDirectory(prefix="otastream-bench-") as work:
            pair = FOLDERS[name](options.files, Path(work))
            rows = list(run_pair(pair, tools, fresh=options.fresh))
            print("\n".join(table(pair, rows)) + "\n", flush=True)
        failed |= any(row.failed and row.tool.startswith("otastream") for row in rows)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
