"""After an interruption the same command goes on: what is done already is not written again, and the count says so."""

from __future__ import annotations

import random
import re
from pathlib import Path

import pytest

from e2e_support import Applier, edited, write
from otastream.apply import ApplyOptions, apply_package
from otastream.config import Folder, Image, Release
from otastream.options import PackOptions
from otastream.pack import pack_release

UNIT = 65536  # in which a node without erase blocks is compared and written
OLD = random.Random(8).randbytes(5 * UNIT - 10_000)
NEW = edited(OLD, 2).ljust(len(OLD), b"n")[: len(OLD)]


def written(applier: Applier, package: Path, root: Path) -> tuple[int, int]:
    """Apply; how many bytes were written, and how many records were right already."""
    if applier.python:
        report = apply_package(str(package), ApplyOptions(str(root), str(root / "tmp")))
        return report.bytes_written, report.skipped
    done = applier.run(package, root)
    assert done.returncode == 0, done.stderr
    words = done.stderr.decode()
    right = re.search(r"(\d+) of them w\w+ right already", words)
    return int(re.findall(r"(\d+) bytes written", words)[0]), int(right[1]) if right else 0


@pytest.mark.parametrize("delta", [False, True], ids=["full", "delta"])
def test_a_half_written_partition_goes_on_at_its_first_wrong_block(
    applier: Applier, tmp_path: Path, delta: bool
) -> None:
    """The delta is decoded again, from a source that nobody has touched, and what is missing is written."""
    write(tmp_path / "old", OLD)
    write(tmp_path / "new", NEW)
    image = Image(
        new=str(tmp_path / "new"),
        targets=("/dev/a",),
        old=str(tmp_path / "old") if delta else None,
        source="/dev/b" if delta else None,
    )
    pack_release(Release(image=(image,)), output=str(tmp_path / "p.ota"), options=PackOptions(engine="auto"))
    root = tmp_path / "root"
    (root / "tmp").mkdir(parents=True)
    write(root / "dev/b", OLD)
    for cut, missing in ((0, len(NEW)), (2 * UNIT + 5, len(NEW) - 2 * UNIT), (4 * UNIT, len(NEW) - 4 * UNIT)):
        write(root / "dev/a", (NEW[:cut] + bytes(len(NEW) - cut)) + b"behind")
        assert written(applier, tmp_path / "p.ota", root) == (missing, 0)
        assert (root / "dev/a").read_bytes() == NEW + b"behind"
    assert written(applier, tmp_path / "p.ota", root) == (0, 1)


def test_finished_records_are_left_out(applier: Applier, tmp_path: Path) -> None:
    """By their digest: nothing but the files on the board remembers how far a run came."""
    sizes = {f"f{n}": 2000 + n for n in range(6)}
    for name, size in sizes.items():
        write(tmp_path / "old" / name, random.Random(size).randbytes(size))
        write(tmp_path / "new" / name, random.Random(size + 9000).randbytes(size))
    folder = Folder(old=str(tmp_path / "old"), new=str(tmp_path / "new"), dest="/config")
    pack_release(Release(folder=(folder,)), output=str(tmp_path / "p.ota"), options=PackOptions())
    root = tmp_path / "root"
    (root / "tmp").mkdir(parents=True)
    for name in sizes:
        side = "new" if name < "f4" else "old"
        write(root / "config" / name, (tmp_path / side / name).read_bytes())
    assert written(applier, tmp_path / "p.ota", root) == (sizes["f4"] + sizes["f5"], 4)
    assert written(applier, tmp_path / "p.ota", root) == (0, 6)
