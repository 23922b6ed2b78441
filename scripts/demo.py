"""The whole path on a real ARM pair: fetch, pack, inspect, apply to a copy of old, compare; sizes beside peers.

python -m scripts.demo [PAIR]
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from rich.console import Console
from rich.table import Table

from bench.folder import run_row
from bench.measure import Usage, differences, launcher, measure, total_size, walk
from bench.rows import Row, done
from bench.tools import ALL, Tool, otastream
from scripts.corpus import CorpusError, Pair, fetch

SHOWN: Final = 12
PEERS: Final[tuple[Tool, ...]] = tuple(tool for tool in ALL if not tool.ours)


def show(console: Console, words: Sequence[str | Path], lines: Sequence[str] = ()) -> None:
    """A command as one would type it, and the beginning of what it printed."""
    console.print(f"[bold cyan]$ {' '.join(str(w) for w in words)}[/]", highlight=False, soft_wrap=True)
    left_out = max(0, len(lines) - SHOWN - 2)
    for number, line in enumerate(lines):
        if number < SHOWN or number >= SHOWN + left_out:
            console.print(f"  {line}", markup=False, highlight=False, overflow="ellipsis", no_wrap=True)
        elif number == SHOWN:
            console.print(f"  ... {left_out} more lines ...", style="dim")


def cost(usage: Usage) -> str:
    return f"{usage.seconds:.1f} s, {usage.rss / 2**20:.0f} MiB peak RSS"


def update(console: Console, pair: Pair, work: Path) -> Row:
    """Pack, inspect, verify, apply and compare; RuntimeError when the result is not new."""
    package, root = work / "update.ota", work / "root"
    root.mkdir()
    shutil.copytree(pair.old, root / "config", symlinks=True)
    (root / "tmp").mkdir()
    program = otastream()
    packed = measure([*program, "pack", pair.old, pair.new, "--dest", "/config", "--progress", "none", "-o", package])
    show(console, ["otastream", "pack", "old", "new", "--dest", "/config", "-o", "update.ota"])
    console.print(f"  {package.stat().st_size:,} bytes in {cost(packed)}\n")
    show(console, ["otastream", "inspect", "update.ota"], measure([*program, "inspect", package]).text.splitlines())
    console.print()
    applied = measure([*program, "apply", package, "--root", root, "-t", root / "tmp", "--progress", "none"])
    show(console, ["otastream", "apply", "update.ota", "--root", "root", "-t", "root/tmp"])
    console.print(f"  done in {cost(applied)}, every file synced\n")
    wrong = differences(pair.new, root / "config")
    if wrong:
        raise RuntimeError(f"root/config is not new: {wrong[0]} ({len(wrong)} differences)")
    names = sum(1 for _ in walk(pair.new))
    console.print(f"[bold green]root/config equals new[/]: {names:,} names, every byte, mode and link compared\n")
    note, size = "modes, links; in place, survives a cut", package.stat().st_size
    return done("otastream", size, packed, applied, ours=True, note=note)


def compare(console: Console, pair: Pair, ours: Row) -> None:
    """The table of sizes; a peer that is not here is named, not left out."""
    rows = [ours]
    for tool in PEERS:
        with console.status(f"{tool.name} ..."), tempfile.TemporaryDirectory(prefix="otastream-demo-") as work:
            rows.append(run_row(tool, pair, Path(work)))
    full = total_size(pair.new)
    table = Table(title=f"{pair.what}: {full:,} bytes", title_justify="left")
    for column in ("", "bytes", "of full", "x otastream", "pack", "RAM", "apply", "RAM"):
        table.add_column(column, justify="left" if not column else "right")
    table.add_column("", style="dim")
    for row in sorted(rows, key=lambda r: r.size or full):
        if row.failed:
            table.add_row(row.tool, *["-"] * 7, row.failed.splitlines()[0])
            continue
        cells = [f"{row.size:,}", f"{row.size / full:.2%}", f"{row.size / ours.size:.2f}"]
        cells += [
            f"{row.pack_seconds:.1f} s",
            f"{row.pack_rss >> 20} MiB",
            f"{row.apply_seconds:.1f} s",
            f"{row.apply_rss >> 20} MiB",
        ]
        table.add_row(row.tool, *cells, row.note, style="bold green" if row is ours else None)
    console.print(table)
    console.print(
        "Each result was compared with new. Peers that are missing: scripts/apt.sh peers, scripts/hdiffz.sh",
        style="dim",
    )


def main(argv: Sequence[str]) -> int:
    console = Console(width=None if sys.stdout.isatty() else 150)
    try:
        with console.status("fetching the pair ..."):
            pair = fetch(argv[0] if argv else "numpy")
    except (CorpusError, KeyError) as problem:
        print(f"demo: {problem}", file=sys.stderr)
        return 1
    launcher()
    console.print(f"[bold]{pair.what}[/]\n")
    try:
        with tempfile.TemporaryDirectory(prefix="otastream-demo-") as work:
            ours = update(console, pair, Path(work))
        compare(console, pair, ours)
    except RuntimeError as problem:
        print(f"demo: {problem}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
