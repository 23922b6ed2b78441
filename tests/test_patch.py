"""otastream diff and otastream patch: both formats, wrong files, damage, and what is left behind after a failure."""

from __future__ import annotations

import os
import random
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import bsdiff4
import pytest

from otastream import patch
from otastream.cli.main import run
from otastream.errors import Code
from otastream.pack import pack_folders

RANDOM = random.Random(7)
OLD = RANDOM.randbytes(50_000)
NEW = OLD[:20_000] + b"new" + OLD[20_100:40_000] + OLD[:300] + OLD[40_001:]


@pytest.fixture
def files(tmp_path: Path) -> Path:
    (tmp_path / "old").write_bytes(OLD)
    (tmp_path / "new").write_bytes(NEW)
    (tmp_path / "new").chmod(0o755)
    return tmp_path


def diff(folder: Path, form: str) -> Path:
    made = folder / f"patch.{form}"
    assert run(["diff", str(folder / "old"), str(folder / "new"), "-o", str(made), "--format", form]) == 0
    return made


def apply(folder: Path, made: Path, old: str = "old", output: str = "out") -> int:
    return run(["patch", str(folder / old), str(made), "-o", str(folder / output)])


@pytest.mark.parametrize("form", ["ota", "bsdiff40"])
@pytest.mark.parametrize(("old", "new"), [(OLD, NEW), (OLD, b""), (b"", NEW), (b"", b""), (OLD, OLD), (OLD, NEW[::-1])])
def test_round_trip(files: Path, form: str, old: bytes, new: bytes) -> None:
    (files / "old").write_bytes(old)
    (files / "new").write_bytes(new)
    made = diff(files, form)
    assert apply(files, made) == 0
    assert (files / "out").read_bytes() == new
    if form == "ota":
        assert stat.S_IMODE((files / "out").stat().st_mode) == 0o755


def test_sizes_are_told(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made = diff(files, "ota")
    assert made.stat().st_size < 2000
    told = capsys.readouterr().out
    assert f"{made.stat().st_size} B" in told or "KiB" in told
    assert "instead of" in told


def test_both_ways_with_bsdiff4(files: Path) -> None:
    bsdiff4.file_patch(str(files / "old"), str(files / "out"), str(diff(files, "bsdiff40")))
    assert (files / "out").read_bytes() == NEW
    bsdiff4.file_diff(str(files / "old"), str(files / "new"), str(files / "theirs"))
    assert apply(files, files / "theirs", output="out2") == 0
    assert (files / "out2").read_bytes() == NEW


@pytest.mark.parametrize("form", ["ota", "bsdiff40"])
@pytest.mark.parametrize("pipe", [True, False])
def test_from_stdin(files: Path, form: str, pipe: bool) -> None:
    made = diff(files, form)
    argv = [sys.executable, "-m", "otastream", "patch", str(files / "old"), "-", "-o", str(files / "out")]
    if pipe:
        subprocess.run(argv, check=True, input=made.read_bytes())
    else:
        with open(made, "rb") as stdin:
            subprocess.run(argv, check=True, stdin=stdin)
    assert (files / "out").read_bytes() == NEW


@pytest.mark.parametrize("form", ["ota", "bsdiff40"])
def test_in_place(files: Path, form: str) -> None:
    assert apply(files, diff(files, form), output="old") == 0
    assert (files / "old").read_bytes() == NEW


def test_wrong_old_file(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made = diff(files, "ota")
    assert apply(files, made, old="new") == Code.TARGET
    assert "new" in capsys.readouterr().err
    assert not (files / "out").exists()


@pytest.mark.parametrize("form", ["ota", "bsdiff40"])
def test_damage_leaves_nothing_behind(files: Path, form: str) -> None:
    """Truncations and changed bytes. BSDIFF40 has no digest: a change may go unseen, but never breaks anything."""
    whole = diff(files, form).read_bytes()
    (files / "out").write_bytes(b"what was there before")
    damaged = files / "damaged"
    before = sorted(os.listdir(files))
    spoiled: list[bytes] = [whole[:size] for size in range(0, len(whole), 29)]
    for _ in range(40):
        place = RANDOM.randrange(len(whole))
        spoiled.append(whole[:place] + bytes([whole[place] ^ RANDOM.randrange(1, 256)]) + whole[place + 1 :])
    for data in spoiled:
        damaged.write_bytes(data)
        code = apply(files, damaged)
        assert code != Code.INTERNAL
        if form == "ota":
            assert code != 0
        if code != 0:
            assert (files / "out").read_bytes() == b"what was there before"
        else:
            (files / "out").write_bytes(b"what was there before")
        damaged.unlink()
        assert sorted(os.listdir(files)) == before


def _no_old(files: Path) -> list[str]:
    return [str(files / "none"), str(diff(files, "ota"))]


def _old_folder(files: Path) -> list[str]:
    return [str(files), str(diff(files, "bsdiff40"))]


def _no_patch(files: Path) -> list[str]:
    return [str(files / "old"), str(files / "none")]


def _patch_folder(files: Path) -> list[str]:
    return [str(files / "old"), str(files)]


def _package_of_folders(files: Path) -> list[str]:
    for side in ("a", "b"):
        (files / side).mkdir()
        (files / side / "delta").write_text(side)
        (files / side / "more").write_text(side)
    pack_folders(str(files / "a"), str(files / "b"), dest="/", output=str(files / "p"))
    return [str(files / "old"), str(files / "p")]


@pytest.mark.parametrize(
    ("make", "code"),
    [
        (_no_old, Code.INPUT),
        (_old_folder, Code.INPUT),
        (_no_patch, Code.INPUT),
        (_patch_folder, Code.INPUT),
        (_package_of_folders, Code.USAGE),
    ],
)
def test_wrong_arguments(files: Path, make: Callable[[Path], list[str]], code: Code) -> None:
    assert run(["patch", *make(files), "-o", str(files / "out")]) == code
    assert not (files / "out").exists()


@pytest.mark.parametrize("form", ["ota", "bsdiff40"])
def test_wrong_files_for_diff(files: Path, form: str) -> None:
    old, new, none = (str(files / name) for name in ("old", "new", "none"))
    for arguments in ([none, new], [old, none], [str(files), new]):
        assert run(["diff", *arguments, "-o", str(files / "p"), "--format", form]) == Code.INPUT
    assert run(["diff", old, new, "-o", str(files / "none" / "p"), "--format", form]) == Code.OUTPUT
    assert run(["diff", old, new, "-o", str(files / "p"), "--format", "zip"]) == Code.USAGE
    assert not (files / "p").exists()


def test_output_that_is_no_file(files: Path) -> None:
    made = diff(files, "ota")
    assert run(["patch", str(files / "old"), str(made), "-o", "-"]) == Code.USAGE
    (files / "folder").mkdir()
    assert apply(files, made, output="folder") == Code.OUTPUT
    assert patch.patch_file(str(files / "old"), str(made), output=str(files / "out")) == len(NEW)
