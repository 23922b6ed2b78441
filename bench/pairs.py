"""One table for deltas of single files: bytes, and what making and applying them takes, for otastream and its peers.

    python -m bench.pairs                               every pair, every row
    python -m bench.pairs --pair libssl-armhf --rows otastream
    python -m bench.pairs --quick                       the small pairs
    python -m bench.pairs --markdown docs/benchmarks-files.md --plot docs/frontier --json build/pairs.json

Every patch is applied and the result compared with new. Programs run one after the other. What a tool did is kept
in .cache/bench by the digests of old, new and all of its programs, so that a second run measures only what changed
(--fresh measures everything again). Instructions are counted by callgrind over the whole applier, checks included.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import re
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from bench import kept
from bench.filetools import OURS, PEERS, FileTool, Job, instructions, run
from bench.measure import OUT_OF_TIME, launcher, same_content
from bench.rows import APPLY_MIB, BYTES, PACK_CPU, PACK_MIB, Row, best_peer, done, machine, per_byte, ratio, table
from scripts.corpus import FILES, CorpusError, Pair, fetch

_PLACES: Final = ((8, 0), (0, 11), (0, -11), (-8, 0), (8, 11), (8, -11), (-8, 11), (-8, -11))
"""Of a label beside its point, in points: the first that is free is taken."""
NOT_FOR_IT: Final = "does not apply"
QUICK: Final = ("libssl-armhf", "sshd-armhf", "busybox-armhf")
COUNTED_MAX: Final = 8 << 20  # bytes of new above which instructions are not counted: it takes long


def measured(tool: FileTool, pair: Pair, arch: str, patience: int) -> Row:
    """Pack, apply, compare, count. Nothing of it stays on disk."""
    with tempfile.TemporaryDirectory(prefix="otastream-bench-") as folder:
        job = Job(pair.old, pair.new, Path(folder), arch)
        job.made.parent.mkdir()
        try:
            packed = run(tool.pack(job), patience)
            applied = run(tool.apply(job), patience)
            if not same_content(os.fsencode(pair.new), os.fsencode(job.made)):
                raise RuntimeError("the result differs from new")
            counted = 0
            if tool.counted and pair.new.stat().st_size <= COUNTED_MAX:
                job.made.unlink()
                counted = instructions(tool.apply(job), job.work)
        except RuntimeError as problem:
            text = str(problem)
            if f"ended with {OUT_OF_TIME}" in text:
                text = f"not done within {patience} s of CPU"
            return Row(tool.name, tool.ours, failed=" ".join(text.split())[:200])
        size = job.out.stat().st_size
        return done(tool.name, size, packed, applied, ours=tool.ours, note=tool.found(job), count=counted)


def row_of(tool: FileTool, pair: Pair, arch: str, options: argparse.Namespace) -> Row:
    """The same, from an earlier run if nothing that it depends on is another one."""
    lack = tool.lacks()
    if lack is None and not tool.fits(Job(pair.old, pair.new, Path("/nowhere"), arch)):
        lack = NOT_FOR_IT
    if lack is not None:
        return Row(tool.name, tool.ours, failed=lack)
    known = [kept.content(pair.old), kept.content(pair.new), tool.name, tool.versions(), arch, command_of(tool)]
    if options.kept and not kept.known(known):
        return Row(tool.name, tool.ours, failed=kept.NOT_MEASURED)
    return Row(**kept.recall(known, lambda: asdict(measured(tool, pair, arch, options.patience)), fresh=options.fresh))


def command_of(tool: FileTool) -> str:
    """How a tool is called, without the names of files that differ from run to run."""
    with tempfile.TemporaryDirectory() as work:
        job = Job(Path("/dev/null"), Path("/dev/null"), Path(work), "armhf")
        job.made.parent.mkdir()
        return repr([kept.command(line) for line in tool.pack(job) + tool.apply(job)]).replace(work, "")


# ---- the page ----------------------------------------------------------------------------------------------------


def section(pair: Pair, rows: Sequence[Row]) -> str:
    """A heading and a table; the ratio is against the smallest delta of any peer."""
    new = pair.new.stat().st_size
    columns = [BYTES, ratio(best_peer(rows)), PACK_CPU, PACK_MIB, per_byte(new), APPLY_MIB]
    return f"## {pair.name}\n\n{pair.what}: {new:,} bytes.\n\n{table(rows, columns)}"


def geometric_mean(values: Sequence[float]) -> float:
    return math.exp(sum(map(math.log, values)) / len(values))


@dataclass(frozen=True, slots=True)
class Mean:
    """One tool over all pairs that it did: bytes against the best peer, of the code pairs and of all; peak bytes and
    instructions of applying."""

    tool: str
    ours: bool
    code: float | None
    every: float
    pairs: int
    rss: float
    instructions: float | None


def means(results: Mapping[str, Sequence[Row]], sizes: Mapping[str, int]) -> list[Mean]:
    """Geometric means, best first. A tool that lacks pairs is compared on fewer of them: the count says so."""
    found = []
    for tool in dict.fromkeys(row.tool for rows in results.values() for row in rows):
        done = {
            name: row
            for name, rows in results.items()
            for row in rows
            if row.tool == tool and row.failed is None and best_peer(rows)
        }
        if not done:
            continue
        ratios = {name: row.size / best_peer(results[name]) for name, row in done.items()}
        code = [ratio for name, ratio in ratios.items() if FILES[name].code]
        counted = [row.instructions / sizes[name] for name, row in done.items() if row.instructions]
        found.append(
            Mean(
                tool,
                next(iter(done.values())).ours,
                geometric_mean(code) if code else None,
                geometric_mean(list(ratios.values())),
                len(done),
                geometric_mean([row.apply_rss for row in done.values()]),
                sum(counted) / len(counted) if counted else None,
            )
        )
    return sorted(found, key=lambda mean: mean.every)


def mean_table(found: Sequence[Mean]) -> str:
    lines = [
        "| tool | bytes, programs and kernels | bytes, all pairs | pairs | apply MiB | apply instr/byte (mean) |",
        "| --- | ---: | ---: | ---: | ---: | ---: |",
    ]
    for mean in found:
        code = "-" if mean.code is None else f"{mean.code:.3f}"
        counted = "-" if mean.instructions is None else f"{mean.instructions:.1f}"
        name = f"**{mean.tool}**" if mean.ours else mean.tool
        lines.append(f"| {name} | {code} | {mean.every:.3f} | {mean.pairs} | {mean.rss / 2**20:.1f} | {counted} |")
    return "\n".join(lines) + "\n"


INTRO: Final = """# Benchmarks: single files

Written by `make bench-full` on {machine}. Every patch was applied and its result compared. Bytes are
those of the finished patch, ours with digests, meta data and checks; the ratio is against the smallest patch of any
peer on that pair (lower is better). Seconds are of the processor. MiB is the peak resident size. detools runs in
Python, whose own size and instructions say nothing about its method, so the latter are left out. otastream packs in
Python and applies with the board program. Instructions are counted where new has at most {counted} MiB. A row is
kept from the run that measured it, by the digests of old, new and all of the tool's programs (`--fresh` measures
again); one that says "not done" took more seconds of the processor than one of its commands was given. The ratios of
pairs with rows that are not measured are against the peers that are.
{chosen}
Geometric means of the ratios over the pairs that a tool did:

{means}
{plot}"""


def left_out(pairs: Sequence[str], rows: str) -> str:
    """What a page says that has not all pairs or rows."""
    parts = []
    if len(pairs) < len(FILES):
        parts.append(f"This run had {len(pairs)} of the {len(FILES)} pairs: {', '.join(pairs)}.")
    if rows:
        parts.append(f"Only the rows that `{rows}` finds.")
    return "".join(f"{part}\n" for part in parts)


def color_of(mean: Mean) -> str:
    return "tab:green" if mean.ours else "tab:gray"


def plot(found: Sequence[Mean], stem: Path) -> None:
    """Bytes against apply memory, one point a tool: stem.png and stem.svg. Labels go where they hide nothing."""
    import matplotlib as mpl  # noqa: PLC0415 - only who asks for a plot needs it

    mpl.use("Agg")
    mpl.rcParams["svg.hashsalt"] = "otastream"
    from matplotlib import pyplot as plt  # noqa: PLC0415
    from matplotlib import ticker, transforms  # noqa: PLC0415

    figure, axes = plt.subplots(figsize=(8, 5))
    for mean in found:
        axes.scatter(mean.rss / 2**20, mean.every, color=color_of(mean), s=60, zorder=3)
    axes.axhline(1.0, color="tab:gray", linewidth=0.8, linestyle=":")
    axes.set_xscale("log")
    axes.set_yscale("log")
    for axis in (axes.xaxis, axes.yaxis):
        for form in (axis.set_major_formatter, axis.set_minor_formatter):
            form(ticker.FuncFormatter(lambda value, _: f"{value:g}"))
    axes.xaxis.set_minor_formatter(ticker.NullFormatter())
    axes.set_xlim(right=2 * max(mean.rss for mean in found) / 2**20)
    axes.tick_params(which="both", labelsize=7)
    axes.set_xlabel("peak memory of applying, MiB (geometric mean)")
    axes.set_ylabel("patch bytes / smallest patch of any peer (geometric mean)")
    axes.grid(visible=True, which="both", linewidth=0.3)
    axes.set_title("Patch size against apply memory: lower left is better")
    figure.tight_layout()
    taken = [axes.transData.transform((mean.rss / 2**20, mean.every)) for mean in found]
    boxes = [transforms.Bbox([spot - 5, spot + 5]) for spot in taken]
    for mean in found:
        point = (mean.rss / 2**20, mean.every)
        for place in _PLACES:
            label = axes.annotate(
                mean.tool, point, xytext=place, textcoords="offset points", fontsize=8, color=color_of(mean),
                ha="left" if place[0] > 0 else "right" if place[0] < 0 else "center", va="center",
            )  # fmt: skip
            box = label.get_window_extent()
            inside = all(axes.bbox.contains(*corner) for corner in (box.min, box.max))
            if place is _PLACES[-1] or (inside and not any(box.overlaps(other) for other in boxes)):
                boxes.append(box)
                break
            label.remove()
    stem.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(stem.with_suffix(".png"), dpi=110, metadata={"Software": None})
    figure.savefig(stem.with_suffix(".svg"), metadata={"Date": None})
    plt.close(figure)


def publish(
    options: argparse.Namespace,
    results: Mapping[str, Sequence[Row]],
    sizes: Mapping[str, int],
    sections: Sequence[str],
) -> None:
    """Write the page, plot and numbers that were asked for. After each pair, so that a run that is stopped leaves what
    it has."""
    found = means(results, sizes)
    if options.plot:
        plot(found, options.plot)
    if options.markdown:
        image = f"![patch bytes against apply memory]({options.plot.name}.svg)\n" if options.plot else ""
        text = INTRO.format(
            machine=machine(),
            chosen=left_out(list(results), options.rows),
            means=mean_table(found),
            plot=image,
            counted=COUNTED_MAX >> 20,
        )
        options.markdown.write_text("\n".join([text, *sections]))
    if options.json:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        numbers = {name: [asdict(row) for row in rows] for name, rows in results.items()}
        options.json.write_text(json.dumps({"machine": machine(), "pairs": numbers}, indent=1) + "\n")


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pair", action="append", choices=list(FILES), help="only this pair (may be repeated)")
    parser.add_argument("--quick", action="store_true", help=f"only {', '.join(QUICK)}")
    parser.add_argument("--rows", default="", help="only rows whose name this pattern finds")
    parser.add_argument(
        "--patience", type=int, default=900, help="seconds of CPU that a command may take (default: %(default)s)"
    )
    parser.add_argument("--fresh", action="store_true", help="measure again what was kept, too")
    parser.add_argument("--kept", action="store_true", help="measure nothing: rows that were not kept say so")
    parser.add_argument("--markdown", type=Path, help="write the page here")
    parser.add_argument("--plot", type=Path, metavar="STEM", help="write STEM.png and STEM.svg (needs matplotlib)")
    parser.add_argument("--json", type=Path, help="write the numbers here")
    options = parser.parse_args(argv)
    tools = [tool for tool in (*OURS, *PEERS) if re.search(options.rows, tool.name)]
    launcher()
    sections, results, sizes, failed = [], dict[str, list[Row]](), dict[str, int](), False
    for name in options.pair or (QUICK if options.quick else FILES):
        try:
            pair = fetch(name)
        except CorpusError as problem:
            print(f"{name}: skipped: {problem}", file=sys.stderr)
            failed = True
            continue
        rows = []
        for tool in tools:
            rows.append(row_of(tool, pair, FILES[name].arch, options))
            print(f"{name}: {tool.name}: {rows[-1].failed or f'{rows[-1].size:,} bytes'}", file=sys.stderr, flush=True)
        failed |= any(row.ours and row.failed for row in rows)
        results[name], sizes[name] = rows, pair.new.stat().st_size
        sections.append(section(pair, rows))
        print(f"\n{sections[-1]}", flush=True)
        publish(options, results, sizes, sections)
    print(mean_table(means(results, sizes)))
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
