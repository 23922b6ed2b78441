"""Memory does not grow with the input: measured on the real programs, from a launcher that adds nothing of its own."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from bench.measure import measure
from e2e_support import OTASTREAM, apply_args, board, write

pytestmark = pytest.mark.slow
FLAT = 5 << 20


def test_apply_memory_is_flat(tmp_path: Path) -> None:
    """Peak RSS of apply for a 1 MB and a 500 MB package differs by less than 5 MB."""
    peaks = {}
    block = random.Random(1).randbytes(1 << 20)
    for megabytes in (1, 500):
        folder = tmp_path / str(megabytes)
        (folder / "old").mkdir(parents=True)
        (folder / "new").mkdir()
        with (folder / "new/image").open("wb") as image:
            for i in range(megabytes):
                image.write(i.to_bytes(8) + block[8:])
        package = folder / "update.ota"
        measure(
            [*OTASTREAM, "pack", folder / "old", folder / "new", "--dest", "/config", "--codec", "none", "-o", package]
        )
        assert package.stat().st_size > megabytes << 20
        root = board(folder, folder / "old")
        peaks[megabytes] = measure([*OTASTREAM, *apply_args(package, root)]).rss
        assert (root / "config/image").stat().st_size == megabytes << 20
        for file in (package, folder / "new/image", root / "config/image"):
            file.unlink()
    assert peaks[500] - peaks[1] < FLAT, peaks


def test_pack_memory_is_flat(tmp_path: Path) -> None:
    """Peak RSS of pack for 100 and 10,000 files of the same sizes differs by less than 5 MB."""
    peaks = {}
    for count in (100, 10_000):
        old, new = tmp_path / f"{count}/old", tmp_path / f"{count}/new"
        rng = random.Random(2)
        for i in range(count):
            content = rng.randbytes(3000)
            name = f"folder{i // 100:03}/file{i % 100:02}"
            write(old / name, content)
            write(new / name, content[:1000] + b"changed" + content[1000:])
        write(new / "filler", rng.randbytes(1 << 20))  # more than the window of the codec: all of its tables are in use
        out = tmp_path / f"{count}.ota"
        peaks[count] = measure([*OTASTREAM, "pack", old, new, "--dest", "/config", "--jobs", "2", "-o", out]).rss
    assert peaks[10_000] - peaks[100] < FLAT, peaks
