"""One table for large folder diffs: bytes, time and memory of packing and of applying, for otastream and its peers.

    python -m bench.folder                          every pair, every row
    python -m bench.folder --pair numpy --rows otastream
    python -m bench.folder --markdown docs/benchmarks.md --json build/bench.json

All rows of a table come from one run on one machine, one after the other, and each applied result is compared with new:
names and bytes always; modes and links too for the tools that carry them. Read the ratios, not the seconds.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import shutil
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from bench.measure import differences, launcher, total_size
from bench.tools import ALL, BASELINE, Tool, size_of
from scripts.corpus import FOLDERS, CorpusError, Pair, fetch


@dataclass(frozen=True, slots=True)
class Row:
    """What one tool did on one pair; `failed` says why there are no numbers."""

    tool: str
    note: str
    size: int = 0
    pack_seconds: float = 0.0
    pack_cpu: float = 0.0
    pack_rss: int = 0
    apply_seconds: float = 0.0
    apply_rss: int = 0
    failed: str | None = None


def run_row(tool: Tool, pair: Pair, work: Path) -> Row:
    """Pack and apply once, and compare. Nothing of it stays on disk."""
    lack = tool.lacks()
    if lack is not None:
        return Row(tool.name, tool.note, failed=lack)
    out, made = work / "package", work / "root" / "config"
    made.parent.mkdir()
    if tool.in_place:
        shutil.copytree(pair.old, made, symlinks=True)
    try:
        packed = tool.pack(pair.old, pair.new, out)
        applied = tool.apply(pair.old, out, made)
        wrong = differences(pair.new, made, modes=tool.exact)
    except RuntimeError as problem:
        return Row(tool.name, tool.note, failed=str(problem))
    if wrong:
        return Row(tool.name, tool.note, failed=f"result differs from new: {wrong[0]} and {len(wrong) - 1} more")
    return Row(tool.name, tool.note, size_of(out), packed.seconds, packed.cpu, packed.rss, applied.seconds, applied.rss)


def run_pair(pair: Pair, tools: Sequence[Tool]) -> Iterator[Row]:
    for tool in tools:
        with tempfile.TemporaryDirectory(prefix="otastream-bench-") as work:
            row = run_row(tool, pair, Path(work))
        print(f"{pair.name}: {row.tool}: {row.failed or f'{row.size:,} bytes'}", file=sys.stderr, flush=True)
        yield row


def ratio(value: float, base: float) -> str:
    return f"{value / base:.3f}" if base else "-"


def table(rows: Sequence[Row], baseline: str) -> str:
    """A Markdown table; ratios are against the row named `baseline` (lower is better)."""
    base = next((r for r in rows if r.tool == baseline and r.failed is None), None)
    lines = [
        "| tool | bytes | ratio | pack s | ratio | pack CPU s | pack MiB | apply s | apply MiB | how |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | --- |",
    ]
    for r in rows:
        if r.failed is not None:
            lines.append(f"| {r.tool} | - | - | - | - | - | - | - | - | not run: {' '.join(r.failed.split())} |")
            continue
        size, seconds = (ratio(r.size, base.size), ratio(r.pack_seconds, base.pack_seconds)) if base else ("-", "-")
        lines.append(
            f"| {r.tool} | {r.size:,} | {size} | {r.pack_seconds:.1f} | {seconds} | {r.pack_cpu:.1f} "
            f"| {r.pack_rss / 2**20:.0f} | {r.apply_seconds:.1f} | {r.apply_rss / 2**20:.0f} | {r.note} |"
        )
    return "\n".join(lines)


def section(pair: Pair, rows: Sequence[Row], baseline: str) -> str:
    count = sum(1 for p in pair.new.rglob("*") if p.is_file())
    return (
        f"## {pair.name}\n\n{pair.what}: {count:,} files, {total_size(pair.new):,} bytes.\n\n{table(rows, baseline)}\n"
    )


INTRO = """# Benchmarks: large folder diffs

Written by `make bench` in one run on {machine}. Seconds depend on the machine and on what else it does; the ratios
(against `{baseline}`, lower is better) are what to read. MiB is the peak resident size of the largest process.
Every result was compared with new: names and bytes for all, modes and links too for otastream and the tar rows. hdiffz
and the bsdiff4 loop carry neither modes nor links. Tar rows include making the tars. otastream applies in place and
syncs every file; the others write a second folder and sync nothing.
{rows}"""


def left_out(rows: str) -> str:
    """What a page says that has not all rows."""
    return f"This run was limited to the rows that `{rows}` finds (and the baseline).\n" if rows else ""


def machine() -> str:
    """What the numbers were measured on."""
    system = f"Linux {platform.release().split('-')[0]}, Python {platform.python_version()}"
    return f"{os.cpu_count()} {platform.machine()} cores, {system}"


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pair", action="append", choices=list(FOLDERS), help="only this pair (may be repeated)")
    parser.add_argument("--rows", default="", help="only rows whose name this pattern finds; the baseline always runs")
    parser.add_argument("--baseline", default=BASELINE, choices=[t.name for t in ALL])
    parser.add_argument("--markdown", type=Path, help="write the page here as well")
    parser.add_argument("--json", type=Path, help="write the numbers here")
    options = parser.parse_args(argv)
    tools = [t for t in ALL if re.search(options.rows, t.name) or t.name == options.baseline]
    launcher()
    page = [INTRO.format(machine=machine(), baseline=options.baseline, rows=left_out(options.rows))]
    numbers: dict[str, list[dict[str, object]]] = {}
    failed = 0
    for name in options.pair or FOLDERS:
        try:
            pair = fetch(name)
        except CorpusError as problem:
            print(f"{name}: skipped: {problem}", file=sys.stderr)
            failed = 1
            continue
        rows = list(run_pair(pair, tools))
        failed |= any(r.failed and r.tool.startswith("otastream") for r in rows)
        page.append(section(pair, rows, options.baseline))
        numbers[name] = [asdict(r) for r in rows]
        print(f"\n{page[-1]}", flush=True)
    if options.markdown:
        options.markdown.write_text("\n".join(page))
    if options.json:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(json.dumps({"machine": machine(), "pairs": numbers}, indent=1) + "\n")
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
