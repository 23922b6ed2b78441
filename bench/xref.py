"""Where the bytes of xref deltas are: one row for each pair and model size, beside our own bsdiff deltas.

    python -m bench.xref OLD NEW                        two files
    python -m bench.xref --corpus FOLDER                FOLDER/NAME/old and new, each a pair
    python -m bench.xref --corpus FOLDER --logs 16 18 20 --markdown table.md
    python -m bench.xref --corpus FOLDER --logs 18 --instructions   what decoding costs, counted by callgrind

Bytes of the payload alone; bsdiff's are after zstd -19 with the window that packages have. Every delta was decoded and
compared by the encoder before it is counted.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import zstandard

from bench.filetools import Command, instructions
from bench.measure import ROOT
from otastream.engines import ENGINES
from otastream.engines.xref import limits
from otastream.model import Codec, EngineId
from otastream.native import PARTS, XrefStats, diff_xref
from otastream.options import WINDOW_LOGS

HEAD = ("pair", "bsdiff", "model", "xref", *PARTS, "copies", "regions", "memory")


def packed(old: bytes, new: bytes) -> int:
    """Bytes of the bsdiff delta as a package has it."""
    settings = zstandard.ZstdCompressionParameters.from_level(19, window_log=WINDOW_LOGS[Codec.ZSTD])
    with ENGINES[EngineId.BSDIFF].encode(old, new) as payload:
        return len(zstandard.ZstdCompressor(compression_params=settings).compress(b"".join(payload.chunks())))


def coded(old: bytes, new: bytes, model_log: int) -> XrefStats:
    with tempfile.TemporaryFile() as file:
        return diff_xref(old, new, file.fileno(), limits(model_log))


def rows(name: str, old: bytes, new: bytes, logs: Sequence[int]) -> Iterator[tuple[str, ...]]:
    plain = packed(old, new)
    for log in logs:
        stats = coded(old, new, log)
        numbers = (stats.written, *stats.parts, stats.triples, stats.regions, stats.workspace)
        yield (name, f"{plain:,}", f"{1 << log - 10} KiB", *(f"{number:,}" for number in numbers))


def decoder() -> Path:
    """A program that decodes one payload and nothing else."""
    program = ROOT / "build" / "xref_decode"
    program.parent.mkdir(exist_ok=True)
    core = ROOT / "csrc" / "core"
    sources = [Path(__file__).with_name("xref_decode.c"), *sorted(core.glob("*.c"))]
    compiler = os.environ.get("CC", "gcc")
    subprocess.run([compiler, "-O2", f"-I{ROOT / 'csrc/include'}", f"-I{core}", "-o", program, *sources], check=True)
    return program


def executed(program: Path, old: Path, new: Path, logs: Sequence[int]) -> Iterator[tuple[int, int, int]]:
    """For each model: its log, bytes of new, instructions that decoding them takes."""
    content = new.read_bytes()
    with tempfile.TemporaryDirectory() as work:
        payload = Path(work) / "payload"
        for log in logs:
            with payload.open("wb") as file:
                stats = diff_xref(old.read_bytes(), content, file.fileno(), limits(log))
            command: Command = [program, old, payload, str(len(content)), str(stats.workspace)]
            yield log, len(content), instructions([command], Path(work))


def cost(arguments: argparse.Namespace) -> Iterator[str]:
    """Rows of instructions for each byte of new, then the averages of each model."""
    found: dict[int, list[tuple[int, int]]] = {}
    program = decoder()
    yield "| pair | model | instructions |"
    yield "| --- | ---: | ---: |"
    for name, old, new in pairs(arguments):
        for log, size, count in executed(program, old, new, arguments.logs):
            found.setdefault(log, []).append((size, count))
            yield f"| {name} | {1 << log - 10} KiB | {count / size:,.0f} |"
    for log, numbers in found.items():
        model = f"{1 << log - 10} KiB"
        whole = sum(count for _, count in numbers) / sum(size for size, _ in numbers)
        yield f"| all, by bytes | {model} | {whole:,.0f} |"
        mean = sum(count / size for size, count in numbers) / len(numbers)
        yield f"| all, mean of the ratios | {model} | {mean:,.0f} |"


def table(arguments: argparse.Namespace) -> Iterator[str]:
    yield "| " + " | ".join(HEAD) + " |"
    yield "| --- |" + " ---: |" * (len(HEAD) - 1)
    for name, old, new in pairs(arguments):
        for row in rows(name, old.read_bytes(), new.read_bytes(), arguments.logs):
            yield "| " + " | ".join(row) + " |"


def pairs(arguments: argparse.Namespace) -> Iterator[tuple[str, Path, Path]]:
    if arguments.corpus is None:
        yield arguments.old.name, arguments.old, arguments.new
        return
    for folder in sorted(arguments.corpus.iterdir()):
        chosen = not arguments.pairs or folder.name in arguments.pairs
        if chosen and (folder / "old").is_file() and (folder / "new").is_file():
            yield folder.name, folder / "old", folder / "new"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("old", nargs="?", type=Path)
    parser.add_argument("new", nargs="?", type=Path)
    parser.add_argument("--corpus", type=Path)
    parser.add_argument("--pairs", nargs="+", help="of the corpus; all")
    parser.add_argument("--instructions", action="store_true", help="for each byte of new, of the decoder alone")
    parser.add_argument("--logs", nargs="+", type=int, default=[16, 18, 20])
    parser.add_argument("--markdown", type=Path)
    arguments = parser.parse_args()
    if arguments.corpus is None and arguments.new is None:
        parser.error("OLD and NEW, or --corpus")
    lines = []
    for line in (cost if arguments.instructions else table)(arguments):
        lines.append(line)
        print(line, flush=True)
    if arguments.markdown is not None:
        arguments.markdown.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
