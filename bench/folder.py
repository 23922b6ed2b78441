"""One table for large folder diffs: bytes, time and memory of packing and of applying, for otastream and its peers.

    python -m bench.folder                          every pair, every row
    python -m bench.folder --pair numpy --rows otastream
    python -m bench.folder --pair modules --rows 'bsdiff, 2|-m-6' --fresh
    python -m bench.folder --markdown docs/benchmarks.md --json build/bench.json

Each applied result is compared with new: names and bytes always; modes and links too for the tools that carry them. The
others get folders without symbolic links. What a tool did is kept in .cache/bench by the digests of both folders and
all of its programs. Seconds of the wall clock compare only rows that were measured together: --fresh measures again.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import stat
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from bench import kept
from bench.many import COUNTS, SOURCE, described, make
from bench.measure import differences, launcher, total_size, walk
from bench.rows import APPLY_CPU, APPLY_MIB, BYTES, PACK_CPU, PACK_MIB, Column, Row, done, machine, ratio, table
from bench.tools import ALL, BASELINE, Tool, size_of
from scripts.corpus import FOLDERS, CorpusError, Pair, fetch, files


def run_row(tool: Tool, pair: Pair, work: Path) -> Row:
    """Pack and apply once, and compare. Nothing of it stays on disk."""
    lack = tool.lacks()
    if lack is not None:
        return Row(tool.name, tool.ours, tool.note, failed=lack)
    if not tool.exact:
        pair = without_links(pair, work)
    out, made = work / "package", work / "root" / "config"
    made.parent.mkdir()
    if tool.in_place:
        shutil.copytree(pair.old, made, symlinks=True)
    try:
        packed = tool.pack(pair.old, pair.new, out)
        applied = tool.apply(pair.old, out, made)
        wrong = differences(pair.new, made, modes=tool.exact)
    except RuntimeError as problem:
        return Row(tool.name, tool.ours, tool.note, failed=str(problem))
    if wrong:
        text = f"result differs from new: {wrong[0]} and {len(wrong) - 1} more"
        return Row(tool.name, tool.ours, tool.note, failed=text)
    return done(tool.name, size_of(out), packed, applied, ours=tool.ours, note=tool.note)


def without_links(pair: Pair, work: Path) -> Pair:
    """The pair as tools can take it that follow symbolic links or stumble over them: copies without them, if it has
    any."""

    def links(folder: str, names: list[str]) -> list[str]:
        return [name for name in names if Path(folder, name).is_symlink()]

    if not any(stat.S_ISLNK(status.st_mode) for side in (pair.old, pair.new) for _, status in walk(side)):
        return pair
    bare = replace(pair, old=work / "bare-old", new=work / "bare-new")
    shutil.copytree(pair.old, bare.old, ignore=links)
    shutil.copytree(pair.new, bare.new, ignore=links)
    return bare


def parts_of(pair: Pair, tool: Tool) -> list[str]:
    """What a row depends on."""
    return [*identity(pair), tool.name, tool.note, tool.versions()]


def identity(pair: Pair) -> list[str]:
    if pair.name in COUNTS:
        return [pair.name, kept.programs(SOURCE)]
    return [kept.content(pair.old), kept.content(pair.new)]


def run_pair(pair: Pair, tools: Sequence[Tool], *, fresh: bool, only_kept: bool = False) -> Iterator[Row]:
    """One row after the other, as far as they are not kept; with only_kept none is measured."""
    for tool in tools:
        parts = parts_of(pair, tool)
        if only_kept and not kept.known(parts):
            yield Row(tool.name, tool.ours, tool.note, failed=kept.NOT_MEASURED)
            continue
        with tempfile.TemporaryDirectory(prefix="otastream-bench-") as work:
            row = Row(**kept.recall(parts, lambda: asdict(run_row(tool, pair, Path(work))), fresh=fresh))  # noqa: B023
        print(f"{pair.name}: {row.tool}: {row.failed or f'{row.size:,} bytes'}", file=sys.stderr, flush=True)
        yield row


def columns(rows: Sequence[Row], baseline: str) -> list[Column]:
    """Ratios are against the row named `baseline`."""
    base = next((row for row in rows if row.tool == baseline and row.failed is None), Row(baseline))
    return [
        BYTES,
        ratio(base.size),
        Column("pack s", lambda row: f"{row.pack_seconds:.1f}"),
        ratio(base.pack_seconds, lambda row: row.pack_seconds),
        PACK_CPU,
        ratio(base.pack_cpu, lambda row: row.pack_cpu),
        PACK_MIB,
        APPLY_CPU,
        APPLY_MIB,
        Column("how", lambda row: row.note, left=True),
    ]


def section(pair: Pair, rows: Sequence[Row], baseline: str) -> str:
    size = kept.recall(["size", *identity(pair)], lambda: size_of_new(pair))
    return (
        f"## {pair.name}\n\n{pair.what}: {size['files']:,} files, {size['bytes']:,} bytes.\n\n"
        f"{table(rows, columns(rows, baseline))}"
    )


def size_of_new(pair: Pair) -> dict[str, int]:
    return {"files": sum(1 for _ in files(pair.new)), "bytes": total_size(pair.new)}


INTRO = """# Benchmarks: large folder diffs

Written by `make bench` on {machine}. Seconds depend on the machine and on what else it does; the ratios
(against `{baseline}`, lower is better) are what to read, those of processor time before those of the clock. MiB is the
peak resident size of the largest process. Every result was compared with new: names and bytes for all, modes and links
too for otastream and the tar rows. hdiffz and the bsdiff4 loop carry neither modes nor links; they got the folders
without symbolic links. Tar rows include making the tars. otastream applies in place and syncs every file; the others
write a second folder and sync nothing. A row is kept from the run that measured it, by the digests of both folders and
all of the tool's programs (`--fresh` measures again).
{rows}"""


def left_out(rows: str) -> str:
    """What a page says that has not all rows."""
    return f"This run was limited to the rows that `{rows}` finds (and the baseline).\n" if rows else ""


def grown(numbers: Mapping[str, Sequence[Mapping[str, Any]]]) -> str:
    """What each file more takes, from the folders of very many."""
    few, many = COUNTS
    if few not in numbers or many not in numbers:
        return ""
    lines = [
        f"## From {COUNTS[few]:,} files to {COUNTS[many]:,}\n",
        "| tool | pack bytes of peak, each file | pack CPU microseconds, each file | apply bytes of peak | apply us |",
        "| --- | ---: | ---: | ---: | ---: |",
    ]
    for a, b in zip(numbers[few], numbers[many], strict=True):
        if a["failed"] is None and b["failed"] is None:
            each = [
                factor * (b[key] - a[key]) / (COUNTS[many] - COUNTS[few])
                for key, factor in (("pack_rss", 1), ("pack_cpu", 1e6), ("apply_rss", 1), ("apply_cpu", 1e6))
            ]
            lines.append(f"| {a['tool']} | " + " | ".join(f"{value:,.0f}" for value in each) + " |")
    return "\n".join(lines) + "\n"


def opened(name: str, work: Path, tools: Sequence[Tool], options: argparse.Namespace) -> Pair:
    """A pair, fetched or made beneath work. What is made stays out if all rows are kept. Errors: those of fetch."""
    if name not in COUNTS:
        return fetch(name)
    pair = described(name, work)
    parts = [["size", *identity(pair)], *(parts_of(pair, tool) for tool in tools)]
    if options.kept and not kept.known(parts[0]):
        raise CorpusError(kept.NOT_MEASURED)
    if options.fresh or not (options.kept or all(map(kept.known, parts))):
        make(pair)
    return pair


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pair", action="append", choices=[*FOLDERS, *COUNTS], help="only this (may be repeated)")
    parser.add_argument("--rows", default="", help="only rows whose name this pattern finds; the baseline always runs")
    parser.add_argument("--baseline", default=BASELINE, choices=[t.name for t in ALL])
    parser.add_argument("--fresh", action="store_true", help="measure again what was kept, too")
    parser.add_argument("--kept", action="store_true", help="measure nothing: rows that were not kept say so")
    parser.add_argument("--markdown", type=Path, help="write the page here as well")
    parser.add_argument("--json", type=Path, help="write the numbers here")
    options = parser.parse_args(argv)
    tools = [t for t in ALL if re.search(options.rows, t.name) or t.name == options.baseline]
    launcher()
    page = [INTRO.format(machine=machine(), baseline=options.baseline, rows=left_out(options.rows))]
    numbers: dict[str, list[dict[str, object]]] = {}
    failed = 0
    for name in options.pair or (*FOLDERS, *COUNTS):
        with tempfile.TemporaryDirectory(prefix="otastream-bench-") as work:
            fit = [t for t in tools if name not in COUNTS or t.many]
            try:
                pair = opened(name, Path(work), fit, options)
            except CorpusError as problem:
                print(f"{name}: skipped: {problem}", file=sys.stderr)
                failed = 1
                continue
            rows = list(run_pair(pair, fit, fresh=options.fresh, only_kept=options.kept))
            page.append(section(pair, rows, options.baseline))
        failed |= any(r.failed and r.ours for r in rows)
        numbers[name] = [asdict(r) for r in rows]
        print(f"\n{page[-1]}", flush=True)
    growth = grown(numbers)
    if growth:
        page.append(growth)
        print(growth)
    if options.markdown:
        options.markdown.write_text("\n".join(page))
    if options.json:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(json.dumps({"machine": machine(), "pairs": numbers}, indent=1) + "\n")
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
