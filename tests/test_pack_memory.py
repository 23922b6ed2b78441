"""Packing takes no more memory for many files than for few, also when they all are in one folder."""

from __future__ import annotations

import random
from pathlib import Path

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
