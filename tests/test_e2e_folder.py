"""The main job as a user does it: pack two folders, apply the package, look at the folder."""

from __future__ import annotations

import gzip
import json
import shutil
import subprocess
from pathlib import Path

import pytest
import zstandard

from bench.measure import differences
from e2e_support import Applier, board, make_pair, pack, state, succeed, write
from otastream.errors import Code


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return make_pair(tmp_path_factory.mktemp("pair"))


@pytest.fixture(scope="module")
def package(pair: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    return pack(*pair, tmp_path_factory.mktemp("package") / "update.ota")


def test_apply_makes_new(applier: Applier, pair: tuple[Path, Path], package: Path, tmp_path: Path) -> None:
    root = board(tmp_path, pair[0])
    applier.succeed(package, root)
    assert differences(pair[1], root / "config") == []
    assert (root / "etc/keep").read_bytes() == b"not part of the update"
    assert list((root / "tmp").iterdir()) == []


def test_apply_twice_changes_nothing(applier: Applier, pair: tuple[Path, Path], package: Path, tmp_path: Path) -> None:
    root = board(tmp_path, pair[0])
    applier.succeed(package, root)
    after = state(root)
    times = {p: p.lstat().st_mtime_ns for p in (root / "config").rglob("*") if p.is_file() and not p.is_symlink()}
    applier.succeed(package, root)
    assert state(root) == after
    assert {p: p.lstat().st_mtime_ns for p in times} == times, "a file that was right was written again"


def test_delta_is_smaller_than_new(pair: tuple[Path, Path], package: Path) -> None:
    whole = sum(p.stat().st_size for p in (pair[1] / "lib").iterdir())
    assert package.stat().st_size < whole / 2


def test_dry_run_writes_nothing(applier: Applier, pair: tuple[Path, Path], package: Path, tmp_path: Path) -> None:
    root = board(tmp_path, pair[0])
    before = state(root)
    applier.succeed(package, root, "--dry-run")
    assert state(root) == before


def test_target_that_is_neither_old_nor_new_is_named(
    applier: Applier, pair: tuple[Path, Path], package: Path, tmp_path: Path
) -> None:
    root = board(tmp_path, pair[0])
    write(root / "config/lib/lib7.so", b"something else", 0o755)
    before = state(root)
    done = applier.run(package, root)
    assert done.returncode == Code.TARGET
    assert b"lib/lib7.so" in done.stderr
    assert b"Traceback" not in done.stderr
    assert state(root) == before


def test_missing_target_is_refused(applier: Applier, pair: tuple[Path, Path], package: Path, tmp_path: Path) -> None:
    root = board(tmp_path, pair[0])
    (root / "config/lib/lib3.so").unlink()
    before = state(root)
    done = applier.run(package, root)
    assert done.returncode in (Code.MISSING, Code.TARGET)
    assert b"lib/lib3.so" in done.stderr
    assert state(root) == before


def test_half_updated_board_is_finished(
    applier: Applier, pair: tuple[Path, Path], package: Path, tmp_path: Path
) -> None:
    root = board(tmp_path, pair[0])
    for i in (0, 4, 9):
        shutil.copy2(pair[1] / f"lib/lib{i}.so", root / f"config/lib/lib{i}.so")
    applier.succeed(package, root)
    assert differences(pair[1], root / "config") == []


@pytest.mark.parametrize("codec", ["none", "gzip", "zstd", "lzma"])
def test_codecs(applier: Applier, pair: tuple[Path, Path], tmp_path: Path, codec: str) -> None:
    package = pack(*pair, tmp_path / "update.ota", "--codec", codec)
    root = board(tmp_path, pair[0])
    applier.succeed(package, root)
    assert differences(pair[1], root / "config") == []


def test_same_inputs_give_same_bytes(pair: tuple[Path, Path], package: Path, tmp_path: Path) -> None:
    old, new = tmp_path / "a", tmp_path / "b"
    shutil.copytree(pair[0], old, symlinks=True)
    shutil.copytree(pair[1], new, symlinks=True)
    (new / "hard/two").unlink()
    (new / "hard/two").hardlink_to(new / "hard/one")
    for jobs in ("1", "2", "5"):
        again = pack(old, new, tmp_path / f"{jobs}.ota", "--jobs", jobs)
        assert again.read_bytes() == package.read_bytes(), f"--jobs {jobs}"


# ---- pipes -----------------------------------------------------------------------------------------------------


def test_cat_into_apply(applier: Applier, pair: tuple[Path, Path], package: Path, tmp_path: Path) -> None:
    root = board(tmp_path, pair[0])
    with subprocess.Popen(["cat", package], stdout=subprocess.PIPE) as cat:
        subprocess.run(applier.argv("-", root), stdin=cat.stdout, check=True)
    assert differences(pair[1], root / "config") == []


def test_gzip_into_apply(applier: Applier, pair: tuple[Path, Path], package: Path, tmp_path: Path) -> None:
    root = board(tmp_path, pair[0])
    with package.open("rb") as source, subprocess.Popen(["gzip"], stdin=source, stdout=subprocess.PIPE) as packer:
        subprocess.run(applier.argv("-", root), stdin=packer.stdout, check=True)
    assert differences(pair[1], root / "config") == []


@pytest.mark.parametrize("outer", [gzip.compress, zstandard.ZstdCompressor().compress], ids=["gzip", "zstd"])
def test_compressed_file(
    applier: Applier, pair: tuple[Path, Path], package: Path, tmp_path: Path, outer: object
) -> None:
    assert callable(outer)
    wrapped = tmp_path / "update.ota.z"
    wrapped.write_bytes(outer(package.read_bytes()))
    root = board(tmp_path, pair[0])
    succeed("verify", wrapped)
    applier.succeed(wrapped, root)
    assert differences(pair[1], root / "config") == []


def test_pipe_that_breaks_off(applier: Applier, pair: tuple[Path, Path], package: Path, tmp_path: Path) -> None:
    """Half a package over a pipe fails, and the whole one then ends in new."""
    root = board(tmp_path, pair[0])
    content = package.read_bytes()
    done = applier.run("-", root, stdin=content[: len(content) * 2 // 3])
    assert done.returncode == Code.TRUNCATED
    applier.succeed("-", root, stdin=content)
    assert differences(pair[1], root / "config") == []


# ---- looking in ------------------------------------------------------------------------------------------------


def test_inspect_json_names_every_target(package: Path) -> None:
    lines = [json.loads(line) for line in succeed("inspect", "--json", package).splitlines()]
    assert [lines[0]["kind"], lines[1]["kind"], lines[-2]["kind"]] == ["preamble", "manifest", "end"]
    text = json.dumps(lines)
    for name in ("lib/lib0.so", "added/deep/file", "new-place/moved", "becomes-folder/inside"):
        assert name in text


def test_inspect_is_readable(package: Path) -> None:
    assert "lib/lib0.so" in succeed("inspect", package)


def test_verify_accepts(package: Path) -> None:
    succeed("verify", package)
