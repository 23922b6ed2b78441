"""The power-cut machines on every case, and that they notice: each mistake planted below must be found.

``make powercut`` tries out many times as much.
"""

from __future__ import annotations

import fcntl
import os
import subprocess
from collections import Counter
from pathlib import Path

import pytest

from otastream.model import File
from powercut import cases, run
from reference import load

TREE = Path(__file__).resolve().parent.parent
CASES = [case.__name__ for case in cases.CASES]
FLASH = [
    name for name in CASES if name.startswith(("image", "in_place", "environment", "slots")) and "more" not in name
]
FOLDER = [name for name in CASES if not name.startswith("volumes")]


@pytest.fixture(scope="session")
def machines() -> Path:
    """The folder with the two programs, built with sanitizers."""
    environ = {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS"))}
    (TREE / "build").mkdir(exist_ok=True)
    with open(TREE / "build/powercut.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        done = subprocess.run(
            ["make", "-C", TREE, "powercut-san"], capture_output=True, text=True, check=False, env=environ
        )
    assert done.returncode == 0, done.stdout + done.stderr
    return TREE / "build/san/powercut"


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All cases."""
    made = tmp_path_factory.mktemp("powercut")
    umask = os.umask(0o022)
    try:
        cases.make(made / "cases")
    finally:
        os.umask(umask)
    return made / "cases"


def test_files(machines: Path, folder: Path) -> None:
    code, stdout, stderr = run.run(machines / "folder", [folder / name for name in FOLDER])
    assert (code, stderr) == (0, "")
    assert run.counts(stdout)[0] > 1000


@pytest.mark.parametrize("name", FLASH)
def test_flash(machines: Path, folder: Path, name: str) -> None:
    code, stdout, stderr = run.run(machines / "flash", [folder / name])
    assert (code, stderr) == (0, "")
    assert run.counts(stdout)[0] > 50


def test_volumes(machines: Path, folder: Path) -> None:
    """Updates of UBI volumes, an environment on two of them among these."""
    names = [folder / "volumes", folder / "volumes_fallback"]
    code, stdout, stderr = run.run(machines / "flash", names, "--thorough")
    assert (code, stderr) == (0, "")
    assert run.counts(stdout)[0] > 100


def test_the_table(machines: Path, folder: Path) -> None:
    """Each case is for a machine; what the machines print adds up to the table that ``make powercut`` ends with."""
    found: Counter[tuple[str, str]] = Counter()
    for name in ("edits", "volumes"):
        for machine in run.machines(folder / name):
            _, stdout, _ = run.run(machines / machine, [folder / name])
            sums = list(run.per_medium(stdout))
            assert sum(count for _, _, count in sums) == run.counts(stdout)[0]
            found.update({(case, medium): count for case, medium, count in sums})
    head, *rows = run.table(found).splitlines()
    assert head.split() == ["case", "folder", "UBI", "volumes", "together"]
    assert [row.split()[0] for row in rows] == ["edits", "volumes"]
    assert all(run.machines(folder / name) for name in CASES)


def _kinds(package: Path) -> set[str]:
    """What a case has of kinds, engines and views, and whether it is in place."""
    found = set()
    for item in load(package):
        record = item.record
        engine = getattr(record, "engine", None)
        words = [type(record).__name__, engine.name if engine is not None else ""]
        words.append("view" if getattr(record, "old_view", 0) or getattr(record, "new_view", 0) else "")
        words.append("in place" if getattr(record, "unit", None) is not None else "")
        words.append("fallback" if getattr(record, "fallback", False) else "")
        found.add(" ".join(filter(None, words)))
    return found


def test_every_kind_and_engine_is_cut_on_all_chips(machines: Path, folder: Path) -> None:
    """For what a node is written by: in place and not, each engine, views, the environment."""
    names = [folder / name for name in CASES if "flash" in run.machines(folder / name)]
    chips: dict[str, set[str]] = {}
    for line in run.run(machines / "flash", names, "--list")[1].splitlines()[:-1]:
        name, chip = line.split("\t")
        for kind in _kinds(folder / name / "package.ota"):
            chips.setdefault(kind, set()).add(chip)
    expected = {"Block FULL", "Block BSDIFF", "Block XREF", "Block BSDIFF view", "Block BSDIFF in place", "Env"}
    expected |= {"Block BSDIFF fallback", "Block XREF in place", "Block BSDIFF view in place"}
    assert expected <= chips.keys()
    assert {kind: len(chips[kind] - {"UBI volumes"}) for kind in expected} == dict.fromkeys(expected, 6)
    assert chips["Ubi BSDIFF"] == chips["Ubi BSDIFF fallback"] == {"UBI volumes"}


def test_flash_in_place_runs_on_every_chip(machines: Path, folder: Path) -> None:
    """The others in place have units that the erase blocks of some chips do not go into."""
    everywhere = run.run(machines / "flash", [folder / "image_full"])[1].splitlines()
    in_place = run.run(machines / "flash", [folder / "in_place_wide"])[1].splitlines()
    assert [line[:50].split(maxsplit=1)[1] for line in in_place[:-1]] == [
        line[:50].split(maxsplit=1)[1] for line in everywhere[:-1]
    ]


def test_a_failing_block_that_the_cut_completed_is_used(machines: Path, folder: Path) -> None:
    """Its last page was the one that would have failed: the image then ends a block earlier than without the cut."""
    chip = ("--chip", "NAND 2K/32K, bad blocks", "--thorough", "--seed", "0")
    code, stdout, stderr = run.run(machines / "flash", [folder / "image_xref_onto_itself"], *chip)
    assert (code, stderr) == (0, "")
    assert run.counts(stdout)[0] > 300


def test_every_kind_of_record_is_cut(folder: Path) -> None:
    found = {word for name in CASES for kind in _kinds(folder / name / "package.ota") for word in kind.split()}
    kinds = {"Script", "Block", "Ubi", "File", "Delete", "Dir", "Link", "Move", "Env"}
    assert found >= kinds | {"FULL", "BSDIFF", "XREF", "view", "fallback"}


def test_files_are_looked_into(folder: Path) -> None:
    records = [item.record for item in load(folder / "contents_views" / "package.ota")]
    viewed = [record.path for record in records if isinstance(record, File) and record.new_view]
    assert viewed == [b"app.apk", b"firmware", b"lib/6.1.0-37/mod.ko.gz"]


def test_files_that_are_alike_are_sources(folder: Path) -> None:
    sources = {
        item.record.path: item.record.source.path
        for item in load(folder / "alike" / "package.ota")
        if isinstance(item.record, File) and item.record.source is not None
    }
    assert sources == {
        b"b/new-1": b"data/first",
        b"b/new-2": b"was/second",
        b"b/new-3": b"x/third",
        b"place/new-4": b"zz/fourth",
        b"x/third": None,
    }


@pytest.mark.parametrize(
    ("mutant", "case"),
    [
        ("no-file-sync", "contents_full"),
        ("late-file-sync", "contents_delta"),
        ("no-folder-sync", "tree"),
        ("no-folder-sync", "hard_links"),
        ("no-node-sync", "image_both_slots"),
        ("no-image-sync", "image_onto_itself"),
        ("no-settle", "tree"),
        ("gone-first", "contents_delta"),
        ("in-place", "contents_delta"),
        ("in-place", "contents_views"),
        ("both-slots", "image_both_slots"),
        ("image-gone-first", "image_onto_itself"),
        ("no-source-check", "everything"),
        ("no-node-sync", "in_place"),
        ("no-image-sync", "in_place_shuffled"),
        ("no-folder-sync", "in_place_shuffled"),
        ("no-node-sync", "environment"),
        ("no-node-sync", "slots"),
    ],
)
def test_a_mistake_in_the_port_is_found(machines: Path, folder: Path, mutant: str, case: str) -> None:
    code, stdout, _ = run.run(machines / "folder", [folder / case], "--mutant", mutant)
    assert code == 1, stdout
    assert run.counts(stdout)[1] > 0


def test_a_hole_that_is_not_durable_is_found(machines: Path, folder: Path) -> None:
    """A block died in place, and the blocks behind it are on the move."""
    chip = ("--chip", "NAND 2K/32K, bad blocks", "--thorough", "--mutant", "no-hole")
    code, stdout, _ = run.run(machines / "flash", [folder / "in_place_wide"], *chip)
    assert code == 1, stdout
    assert run.counts(stdout)[1] > 0


@pytest.mark.parametrize("case", ["in_place_wide", "in_place_xref_wide"])
def test_without_a_spare_block_the_journal_stays(machines: Path, folder: Path, case: str) -> None:
    """A block that dies in place then ends it with BAD_BLOCKS, unmarked; when it works again the update goes on."""
    code, stdout, stderr = run.run(machines / "flash", [folder / case], "--worn")
    assert (code, stderr) == (0, "")
    assert "bad blocks" in stdout


@pytest.mark.parametrize("mutant", ["late-scratch", "no-journal"])
def test_a_scratch_that_is_not_durable_is_found(machines: Path, folder: Path, mutant: str) -> None:
    """What is erased was not saved yet, or the new content for it never was."""
    code, stdout, _ = run.run(machines / "flash", [folder / "in_place_shuffled"], "--mutant", mutant)
    assert code == 1, stdout
    assert run.counts(stdout)[1] > 0


@pytest.mark.parametrize(
    ("mutant", "found"), [("marks-two", "marked bad without a failure"), ("forgets-marks", "in use although it failed")]
)
def test_wrong_marks_on_blocks_are_found(machines: Path, folder: Path, mutant: str, found: str) -> None:
    code, stdout, stderr = run.run(machines / "flash", [folder / "image_full"], "--mutant", mutant)
    assert code == 1, stdout
    assert found in stderr


def test_a_block_that_only_reads_as_erased_is_found(machines: Path, folder: Path) -> None:
    """The model of the chip stops a writer that programs it."""
    code, _, stderr = run.run(machines / "flash", [folder / "image_full"], "--thorough", "--mutant", "blank-is-erased")
    assert code not in (0, 1)
    assert "erase was cut" in stderr
