"""The commands pack and append as a user runs them, and the options of packing."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from otastream import container, model
from otastream.cli.main import run
from otastream.errors import Code, OtaError
from otastream.inspection import inspect_package
from otastream.model import Codec
from otastream.options import PackOptions, fit, refit
from otastream.pack import pack_folders
from reference import Board, load, snapshot


@pytest.fixture
def folders(tmp_path: Path) -> tuple[str, str, str]:
    """Old, new, and where the package shall be: one file of each change."""
    text = b"".join(b"setting %d = %d\n" % (number, number) for number in range(300))
    for name, files in {
        "old": {"changed": text, "gone": b"gone", "here": b"moved content", "mode": b"m"},
        "new": {"changed": text + b"one more\n", "there": b"moved content", "mode": b"m", "added": b"added"},
    }.items():
        (tmp_path / name).mkdir()
        for file, data in files.items():
            (tmp_path / name / file).write_bytes(data)
    (tmp_path / "new" / "mode").chmod(0o600)
    return str(tmp_path / "old"), str(tmp_path / "new"), str(tmp_path / "p.ota")


def test_summary_for_people(folders: tuple[str, str, str], capsys: pytest.CaptureFixture[str]) -> None:
    old, new, package = folders
    assert run(["pack", old, new, "--dest", "/config", "-o", package]) == 0
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("1 added, 1 changed, 1 meta, 1 moved, 1 deleted\n")
    assert "1 delta;" in err


def test_summary_as_json(folders: tuple[str, str, str], capsys: pytest.CaptureFixture[str]) -> None:
    old, new, package = folders
    assert run(["pack", old, new, "--dest", "/config", "-o", package, "--json"]) == 0
    summary = json.loads(capsys.readouterr().out)
    assert summary["changes"] == {
        "added": 1,
        "changed": 1,
        "meta": 1,
        "moved": 1,
        "deleted": 1,
        "script": 0,
        "environment": 0,
    }
    assert (summary["records"], summary["deltas"]) == (5, 1)
    assert summary["package"] == Path(package).stat().st_size
    assert summary["content"] == len((Path(new) / "changed").read_bytes()) + len(b"added")
    assert summary["payload"] == sum(len(item.payload) for item in load(package))
    assert summary["ram"] == inspect_package(package).preamble.ram


def test_stdout_holds_only_the_package(
    folders: tuple[str, str, str], capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    old, new, package = folders
    assert run(["pack", old, new, "--dest", "/config", "-o", package]) == 0
    capfdbinary.readouterr()
    assert run(["pack", old, new, "--dest", "/config", "-o", "-", "--json", "--progress", "json"]) == 0
    out, err = capfdbinary.readouterr()
    assert out == Path(package).read_bytes()
    phases = [json.loads(line)["phase"] for line in err.splitlines() if b"phase" in line]
    assert phases[0] == "scan"
    assert phases[-1] == "pack"


def test_every_option_reaches_the_package(folders: tuple[str, str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    old, new, package = folders
    script = Path(package).with_name("script.sh")
    script.write_text("exit 0\n")
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")
    options = "--name cam --package-version 2 --compatible acme,x --compatible acme,y --min-version 1.5 --codec gzip"
    scripts = ["--begin-script", str(script), "--end-script", str(script)]
    assert run(["pack", old, new, "--dest", "/config", "-o", package, *options.split(), *scripts, "--owner"]) == 0
    records = [item.record for item in load(package)]
    assert isinstance(records[0], model.Manifest)
    assert (records[0].name, records[0].version, records[0].created) == ("cam", "2", 1700000000)
    assert records[1] == model.ExpectBoard(("acme,x", "acme,y"))
    assert records[2] == model.ExpectVersion("1.5")
    assert [record.when for record in records if isinstance(record, model.Script)] == [model.When.END, model.When.BEGIN]
    assert all(record.owner is not None for record in records if isinstance(record, model.File))
    assert inspect_package(package).preamble.codec is Codec.GZIP


def test_append_by_command(folders: tuple[str, str, str], tmp_path: Path) -> None:
    old, new, package = folders
    assert run(["pack", old, new, "--dest", "/a", "-o", package]) == 0
    assert run(["append", package, old, new, "--dest", "/b", "--name", "both"]) == 0
    board = tmp_path / "board"
    for dest in ("a", "b"):
        (board / dest).mkdir(parents=True)
        for file in Path(old).iterdir():
            (board / dest / file.name).write_bytes(file.read_bytes())
    Board(board).apply(load(package))
    assert snapshot(board / "a") == snapshot(board / "b") == snapshot(Path(new))


@pytest.mark.parametrize(
    ("args", "code"),
    [
        ("OLD NEW -o P", Code.USAGE),
        ("OLD NEW --dest config -o P", Code.USAGE),
        ("OLD NEW --dest /a/../b -o P", Code.CONFIG),
        ("OLD NEW --dest /c --spec x -o P", Code.USAGE),
        ("OLD NEW --dest /c --ram lots -o P", Code.USAGE),
        ("OLD NEW --dest /c --ram 100K -o P", Code.USAGE),
        ("OLD NEW --dest /c --level 77 -o P", Code.USAGE),
        ("OLD NEW --dest /c --engine magic -o P", Code.USAGE),
        ("OLD nowhere --dest /c -o P", Code.INPUT),
        ("OLD NEW --dest /c --begin-script nowhere -o P", Code.INPUT),
        ("OLD NEW --dest /c -o nowhere/P", Code.OUTPUT),
        ("--spec nowhere.toml -o P", Code.INPUT),
    ],
)
def test_exit_codes(folders: tuple[str, str, str], tmp_path: Path, args: str, code: Code) -> None:
    names = {"OLD": folders[0], "NEW": folders[1], "P": folders[2]}
    words = [names.get(word, word) for word in args.split()]
    assert run(["pack", *words]) == code
    assert not Path(folders[2]).exists()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["new", "old"]


def test_a_slash_after_dest_does_not_matter(folders: tuple[str, str, str]) -> None:
    old, new, package = folders
    found = []
    for dest in ("/config", "/config/"):
        assert run(["pack", old, new, "--dest", dest, "-o", package]) == 0
        found.append(Path(package).read_bytes())
    assert found[0] == found[1]


def test_bad_time(folders: tuple[str, str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "yesterday")
    assert run(["pack", *folders[:2], "--dest", "/c", "-o", folders[2]]) == Code.USAGE


def test_the_same_inputs_give_the_same_bytes(folders: tuple[str, str, str]) -> None:
    old, new, package = folders
    found = set()
    for number, jobs in enumerate((1, 1, 4)):
        pack_folders(old, new, dest="/c", output=f"{package}{number}", options=PackOptions(jobs=jobs))
        found.add(Path(f"{package}{number}").read_bytes())
    assert len(found) == 1


# ---- memory budget -------------------------------------------------------------------------------------------------


def test_without_a_budget_the_defaults_are_used() -> None:
    made = fit(PackOptions(), source=True)
    assert (made.codec, made.window_log, made.frame_log) == (Codec.LZMA, 18, 16)
    assert made.ram == container.ram(Codec.LZMA, 18)
    quick = fit(PackOptions(effort=4), source=True)
    assert (quick.codec, quick.window_log, quick.level) == (Codec.ZSTD, 16, 16)


@pytest.mark.parametrize(
    ("kib", "codec"), [(4096, Codec.LZMA), (820, Codec.LZMA), (400, Codec.LZMA), (272, Codec.LZMA), (256, Codec.GZIP)]
)
def test_a_budget_is_kept_and_used(kib: int, codec: Codec) -> None:
    budget = kib << 10
    made = fit(PackOptions(ram=budget), source=True)
    assert made.codec is codec
    assert made.ram <= budget
    assert made.ram == container.ram(codec, made.window_log, frame_log=made.frame_log)
    top = {Codec.LZMA: 23, Codec.GZIP: 15}[codec]
    if made.window_log < top:  # twice the window would not have fitted, however small the frames
        assert container.ram(codec, made.window_log + 1, frame_log=12) > budget


def test_the_package_says_what_it_needs(folders: tuple[str, str, str]) -> None:
    old, new, package = folders
    pack_folders(old, new, dest="/c", output=package, options=PackOptions(ram=512 << 10))
    preamble = inspect_package(package).preamble
    assert preamble.ram <= 512 << 10
    assert preamble.window_log == fit(PackOptions(ram=512 << 10), source=True).window_log


def test_a_codec_that_was_asked_for_is_not_exchanged() -> None:
    with pytest.raises(OtaError) as caught:
        fit(PackOptions(ram=256 << 10, codec=Codec.ZSTD), source=True)
    assert caught.value.code is Code.USAGE
    assert caught.value.hint is not None
    assert "others need less" in caught.value.hint


def test_larger_erase_blocks_need_more() -> None:
    small, large = (fit(PackOptions(block_buffer=size), source=False).ram for size in (65536, 262144))
    assert large - small == 262144 - 65536


def test_appending_never_lowers_what_was_said() -> None:
    before = model.Preamble(Codec.GZIP, 12, 14, 1 << 20, 1, b"")
    made = refit(before, PackOptions(), source=True)
    assert (made.codec, made.window_log, made.frame_log, made.ram) == (Codec.GZIP, 12, 14, 1 << 20)
    assert refit(before, PackOptions(codec=Codec.ZSTD), source=True).codec is Codec.ZSTD


def test_progress_of_a_package_with_scripts_ends_at_100(
    folders: tuple[str, str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    old, new, package = folders
    script = tmp_path / "s.sh"
    script.write_text("exit 0\n")
    scripts = ["--begin-script", str(script), "--end-script", str(script)]
    assert run(["pack", old, new, "--dest", "/config", "-o", package, *scripts, "--progress", "numeric"]) == 0
    err = capsys.readouterr().err
    numbers = [int(line) for line in err.splitlines() if line.isdigit()]
    assert (numbers, numbers[-1]) == (sorted(numbers), 100)
    assert ", 2 scripts\n" in err


def test_a_level_that_nothing_uses_is_refused(
    folders: tuple[str, str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    old, new, package = folders
    assert run(["pack", old, new, "--dest", "/c", "-o", package, "--codec", "none", "--level", "3"]) == Code.USAGE
    assert "codec none has no level" in capsys.readouterr().err
