"""Where the bytes of xref deltas are: one row for each pair and model size, beside our own bsdiff deltas.

    python -m bench.xref OLD NEW                        two files
    python -m bench.xref --corpus FOLDER                FOLDER/NAME/old and new, each a pair
    python -m bench.xref --corpus FOLDER --logs 16 18 20 --markdown table.md

Bytes of the payload alone; bsdiff's are after zstd -19 with the window that packages have. Every delta was decoded and
compared by the encoder before it is counted.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import zstandard

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


def pairs(arguments: argparse.Namespace) -> Iterator[tuple[str, Path, Path]]:
    if arguments.corpus is None:
        yield arguments.old.name, arguments.old, arguments.new
        return
    for folder in sorted(arguments.corpus.iterdir()):
        if (folder / "old").is_file() and (folder / "new").is_file():
            yield folder.name, folder / "old", folder / "new"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("old", nargs="?", type=Path)
    parser.add_argument("new", nargs="?", type=Path)
    parser.add_argument("--corpus", type=Path)
    parser.add_argument("--logs", nargs="+", type=int, default=[16, 18, 20])
    parser.add_argument("--markdown", type=Path)
    arguments = parser.parse_args()
    if arguments.corpus is None and arguments.new is None:
        parser.error("OLD and NEW, or --corpus")
    lines = ["| " + " | ".join(HEAD) + " |", "| --- |" + " ---: |" * (len(HEAD) - 1)]
    print("\n".join(lines))
    for name, old, new in pairs(arguments):
        for row in rows(name, old.read_bytes(), new.read_bytes(), arguments.logs):
            lines.append("| " + " | ".join(row) + " |")
            print(lines[-1])
            sys.stdout.flush()
    if arguments.markdown is not None:
        arguments.markdown.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
