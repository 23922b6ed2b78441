"""Packages that look inside against the same ones without: never more than 64 bytes larger.

    python -m bench.bound [--most MIB] [NAME...]

NAME is a pair of ``python -m scripts.corpus``, or ``mixed``: a release of all small images and a folder. Without any,
all that were fetched (``python -m scripts.corpus all``) and whose new side has at most so many MiB. Exits with 1 if a
package is larger by more than 64 bytes, or was not made.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from bench.measure import total_size
from bench.rows import Column, Row, table
from otastream.config import Folder, Image, Release
from otastream.errors import OtaError
from otastream.model import CodingId
from otastream.options import ENCODERS, PackOptions
from otastream.pack import pack_release
from otastream.sides import MORE
from scripts.corpus import ALL, CACHE, FOLDERS, IMAGES, CorpusError, fetch

SMALL: Final = [name for name in IMAGES if name.startswith("small-")]
MIXED: Final = "mixed"
MIXED_OF: Final = {*SMALL, "numpy"}
TITLE: Final = "Never larger"
INTRO: Final = f"""Packages by default options, with all encoders and with none (`--board-encoders none`), in bytes. The
second may be smaller by {MORE} at most; it is what is sent if it is smaller by more. Every package is made from a
pair of the corpus, as an image of a node or as a folder; `{MIXED}` has all small images and the folder numpy.

"""


def release(name: str) -> Release:
    if name == MIXED:
        images = [fetch(small) for small in SMALL]
        pair = fetch("numpy")
        return Release(
            image=tuple(_image(number, item.old, item.new) for number, item in enumerate(images)),
            folder=(Folder(old=str(pair.old), new=str(pair.new), dest="/config"),),
        )
    pair = fetch(name)
    if name in FOLDERS:
        return Release(folder=(Folder(old=str(pair.old), new=str(pair.new), dest="/config"),))
    return Release(image=(_image(0, pair.old, pair.new),))


def _image(number: int, old: Path, new: Path) -> Image:
    return Image(old=str(old), new=str(new), targets=(f"/dev/b{number}",), source=f"/dev/a{number}")


def size(made: Release, encoders: frozenset[CodingId], cache: str) -> int:
    options = PackOptions(encoders=encoders, cache=cache, cache_limit=1 << 40)
    return pack_release(made, output=os.devnull, options=options).package


def row_of(name: str) -> Row:
    """note: bytes without looking inside. What both packages have in common is made once."""
    every = frozenset[CodingId]().union(*ENCODERS.values())
    try:
        made = release(name)
        with tempfile.TemporaryDirectory(prefix="otastream-bound-") as cache:
            plain = size(made, frozenset(), cache)
            found = size(made, every, cache)
    except (CorpusError, OtaError) as problem:
        return Row(name, ours=True, failed=str(problem))
    failed = f"{found - plain} bytes larger" if found > plain + MORE else None
    print(f"{name}: {found:,} bytes, without looking inside {plain:,}: {found - plain:+,}", file=sys.stderr, flush=True)
    return Row(name, ours=True, size=found, note=str(plain), failed=failed)


def names(most: int) -> Iterator[str]:
    """Those of the corpus that were fetched and are small enough, the smallest first."""
    sizes = {}
    for name in ALL:
        if (CACHE / name / "origin.json").exists():
            new = fetch(name).new
            sizes[name] = total_size(new) if new.is_dir() else new.stat().st_size
    yield from sorted((name for name in sizes if sizes[name] <= most), key=lambda name: sizes[name])
    if sizes.keys() >= MIXED_OF:
        yield MIXED


def section(chosen: Sequence[str], most: int) -> tuple[str, list[Row]]:
    """A part of a page, and what stands in it."""
    rows = [row_of(name) for name in chosen or names(most)]
    columns = [
        Column("package", lambda row: f"{row.size:,}"),
        Column("without", lambda row: f"{int(row.note or 0):,}"),
        Column("difference", lambda row: f"{row.size - int(row.note or 0):+,}"),
    ]
    return f"## {TITLE}\n\n{INTRO}{table(rows, columns, 'pair')}", rows


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"{', '.join(ALL)}, {MIXED}")
    parser.add_argument("--most", type=int, default=60, metavar="MIB", help="of the new side (default: %(default)s)")
    options = parser.parse_args()
    text, rows = section(options.names, options.most << 20)
    print(f"\n{text}")
    return int(any(row.failed for row in rows))


if __name__ == "__main__":
    sys.exit(main())
