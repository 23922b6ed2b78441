"""Packing takes no more memory for many files than for few, also when they all are in one folder."""

from __future__ import annotations

import random
import sys
from pathlib import Path

import pytest

from bench.measure import measure
from e2e_support import OTASTREAM

_MARGIN = 8 << 20  # bytes; holding all entries as Python objects costs about twice as much


def test_ten_thousand_files_in_one_folder(tmp_path: Path) -> None:
    peaks = {}
    for count in (100, 10_000):
        for side in ("old", "new"):
            folder = tmp_path / f"{count}" / side / "folder"
            folder.mkdir(parents=True)
            for number in range(count):
                name = f"a-rather-long-name-as-they-are-found-{number:08}"
                if number % 20 == 0 and side == "new":
                    name += "-moved"
                (folder / name).write_bytes(b"%d" % (number + (number % 20 == 1 and side == "new")))
        old, new, package = (tmp_path / f"{count}" / name for name in ("old", "new", "p.ota"))
        command: list[str | Path] = [
            *OTASTREAM,
            "pack",
            old,
            new,
            "--dest",
            "/config",
            "--jobs",
            "2",
            "--codec",
            "none",
            "-o",
            package,
        ]
        peaks[count] = measure(command).rss
        assert package.stat().st_size > count
    assert peaks[10_000] - peaks[100] < _MARGIN, peaks


def test_the_compressor_takes_what_its_window_needs(tmp_path: Path) -> None:
    for side in ("old", "new"):
        (tmp_path / side).mkdir()
    content = random.Random(1).randbytes(8 << 20)  # more than the window: every table would be in use
    (tmp_path / "new" / "file").write_bytes(content)
    command: list[str | Path] = [*OTASTREAM, "pack", tmp_path / "old", tmp_path / "new", "--dest", "/config", "-o"]
    base = measure([*command, tmp_path / "none.ota", "--codec", "none"]).rss
    assert measure([*command, tmp_path / "lzma.ota"]).rss - base < _MARGIN * 2


_MATCHING = """
import resource, sys, tempfile
from otastream.native import diff_bsdiff

old, new = (open(name, "rb").read() for name in sys.argv[1:])
with tempfile.TemporaryFile() as file:
    diff_bsdiff(b"a", b"b", file.fileno())
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    diff_bsdiff(old, new, file.fileno())
print(1024 * (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before))
"""


@pytest.mark.parametrize("size", [1_500_000, 3 << 20])
def test_matching_takes_six_bytes_for_each_of_old(tmp_path: Path, size: int) -> None:
    """Beside old and new themselves. No long run of old is in new, so all of it is sorted."""
    old = random.Random(size).randbytes(size)
    (tmp_path / "old").write_bytes(old)
    (tmp_path / "new").write_bytes(b"inserted".join(old[place : place + 200] for place in range(0, size, 200)))
    done = measure([sys.executable, "-c", _MATCHING, tmp_path / "old", tmp_path / "new"])
    assert int(done.text) < 6 * size + (64 << 10), int(done.text) / size  # some pages are touched for other reasons
