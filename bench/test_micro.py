"""Micro benchmarks of the parts that cost: matching, patching, hashing, the container. Run by `make bench`.

python -m pytest bench --benchmark-enable --benchmark-only
"""

from __future__ import annotations

import os
import random
from pathlib import Path
from typing import Final

import bsdiff4
import pytest
import xxhash
from pytest_benchmark.fixture import BenchmarkFixture

from otastream.apply import check_package
from otastream.model import EngineId
from otastream.native import BytesSource, Decoder, diff_bsdiff, xxh64
from otastream.options import PackOptions
from otastream.pack import pack_folders

SIZE: Final = 1 << 20


@pytest.fixture(scope="module")
def pair() -> tuple[bytes, bytes]:
    """1 MiB that looks like a program: repeated words; new has scattered changes and a shift."""
    rng = random.Random(1)
    words = [rng.randbytes(rng.randrange(4, 40)) for _ in range(2000)]
    old = b"".join(rng.choice(words) for _ in range(SIZE // 16))[:SIZE]
    new = bytearray(old[: SIZE // 2] + rng.randbytes(500) + old[SIZE // 2 :])
    for _ in range(5000):
        new[rng.randrange(len(new))] ^= 1
    return old, bytes(new)


def delta_of(old: bytes, new: bytes) -> bytes:
    """The payload of a bsdiff record."""
    fd = os.memfd_create("delta")
    try:
        diff_bsdiff(old, new, fd)
        os.lseek(fd, 0, os.SEEK_SET)
        with open(fd, "rb", closefd=False) as made:
            return made.read()
    finally:
        os.close(fd)


def patched(old: bytes, delta: bytes, size: int) -> bytes:
    """The new content that a payload makes."""
    decoder = Decoder(EngineId.BSDIFF, size, source=BytesSource(old))
    made = b"".join(map(bytes, decoder.feed(delta)))
    decoder.finish()
    return made


@pytest.mark.benchmark(group="diff 1 MiB")
def test_diff(benchmark: BenchmarkFixture, pair: tuple[bytes, bytes]) -> None:
    delta = benchmark(delta_of, *pair)
    assert patched(pair[0], delta, len(pair[1])) == pair[1]


@pytest.mark.benchmark(group="diff 1 MiB")
def test_diff_of_bsdiff4(benchmark: BenchmarkFixture, pair: tuple[bytes, bytes]) -> None:
    patch = benchmark(bsdiff4.diff, *pair)
    assert bsdiff4.patch(pair[0], patch) == pair[1]


@pytest.mark.benchmark(group="patch 1 MiB")
def test_patch(benchmark: BenchmarkFixture, pair: tuple[bytes, bytes]) -> None:
    assert benchmark(patched, pair[0], delta_of(*pair), len(pair[1])) == pair[1]


@pytest.mark.benchmark(group="patch 1 MiB")
def test_patch_of_bsdiff4(benchmark: BenchmarkFixture, pair: tuple[bytes, bytes]) -> None:
    assert benchmark(bsdiff4.patch, pair[0], bsdiff4.diff(*pair)) == pair[1]


@pytest.mark.benchmark(group="hash 1 MiB")
def test_xxh64(benchmark: BenchmarkFixture, pair: tuple[bytes, bytes]) -> None:
    assert benchmark(xxh64, pair[0]) == xxhash.xxh64_intdigest(pair[0])


@pytest.mark.benchmark(group="hash 1 MiB")
def test_xxh64_of_xxhash(benchmark: BenchmarkFixture, pair: tuple[bytes, bytes]) -> None:
    assert benchmark(xxhash.xxh64_intdigest, pair[0]) == xxh64(pair[0])


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """300 small files of which a third changes."""
    top = tmp_path_factory.mktemp("folders")
    rng = random.Random(2)
    for i in range(300):
        content = rng.randbytes(4000)
        for side in ("old", "new"):
            path = top / side / f"folder{i // 30}" / f"file{i}"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content + (b"changed" if side == "new" and i % 3 == 0 else b""))
    return top / "old", top / "new"


@pytest.mark.benchmark(group="300 files")
def test_pack_folders(benchmark: BenchmarkFixture, folders: tuple[Path, Path], tmp_path: Path) -> None:
    output = str(tmp_path / "update.ota")
    old, new = map(str, folders)
    summary = benchmark(lambda: pack_folders(old, new, dest="/config", output=output, options=PackOptions(jobs=1)))
    assert summary.deltas == 100


@pytest.mark.benchmark(group="300 files")
def test_verify_package(benchmark: BenchmarkFixture, folders: tuple[Path, Path], tmp_path: Path) -> None:
    output = str(tmp_path / "update.ota")
    pack_folders(str(folders[0]), str(folders[1]), dest="/config", output=output)
    benchmark(check_package, output)
