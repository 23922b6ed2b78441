"""What updating in place costs: packages of single images in place against the same delta to another slot.

    python -m bench.inplace [--scratch SIZE] [--unit SIZE] [PAIR...]

PAIR is a pair of files of ``python -m scripts.corpus``; without any, all that are in .cache/corpus.
"""

from __future__ import annotations

import argparse
import tempfile
from dataclasses import dataclass
from pathlib import Path

from otastream.config import Image, Release, parse_size
from otastream.model import ExpectInPlace
from otastream.options import PackOptions
from otastream.pack import pack_release
from otastream.planning import planned
from scripts.corpus import CACHE, FILES, fetch


@dataclass(frozen=True, slots=True)
class Row:
    """Bytes of the two packages, and of the scratch. scratch 0: it was sent in full."""

    name: str
    normal: int
    in_place: int
    scratch: int


def measure(name: str, old: Path, new: Path, options: PackOptions) -> Row:
    sizes = []
    scratch = 0
    for in_place in (False, True):
        release = Release(
            image=(Image(old=str(old), new=str(new), targets=("/dev/mtd2",), in_place=in_place),),
        )
        with tempfile.TemporaryDirectory() as folder:
            package = Path(folder) / "p.ota"
            pack_release(release, output=str(package), options=options)
            sizes.append(package.stat().st_size)
        if in_place:
            with planned(release, options) as work:
                records = [head.record for head in work.steps.expects()]
            scratch = sum(record.scratch for record in records if isinstance(record, ExpectInPlace))
    return Row(name, sizes[0], sizes[1], scratch)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("pairs", nargs="*", metavar="PAIR")
    parser.add_argument("--scratch", default="256K")
    parser.add_argument("--unit", default="64K")
    args = parser.parse_args()
    options = PackOptions(scratch=parse_size(args.scratch), block_buffer=parse_size(args.unit))
    print("| image | to another slot | in place | ratio | scratch |\n| --- | ---: | ---: | ---: | ---: |")
    for name in args.pairs or [name for name in FILES if (CACHE / name).is_dir()]:
        pair = fetch(name)
        row = measure(name, pair.old, pair.new, options)
        print(
            f"| {row.name} | {row.normal:,} | {row.in_place:,} | {row.in_place / row.normal:.3f} | {row.scratch:,} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
