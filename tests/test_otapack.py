"""otapack and otaunpack as their users run them: every mode, every option, and what is said when they do not fit."""

from __future__ import annotations

import csv
import gzip
import io
import os
import shlex
import shutil
from pathlib import Path

import pytest

from e2e_support import edited, make_pair, state, write
from otastream import model
from otastream.cli import main, otapack, otaunpack
from otastream.errors import Code
from otastream.model import EngineId
from reference import Board, Item, load

OLD = bytes(range(256)) * 120 + b"the end"
NEW = edited(OLD, 1)


@pytest.fixture
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the user stands: files old, new, script.sh and an empty package p.bin; board is a root."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OTASTREAM_DEBUG", "")  # so that --debug does not outlive the test
    write(tmp_path / "old", OLD)
    write(tmp_path / "new", NEW, 0o640)
    write(tmp_path / "script.sh", b'echo "$OTA_STATUS" >> "$OTA_ROOT/log"\n')
    (tmp_path / "board/tmp").mkdir(parents=True)
    assert pack("-c p.bin") == 0
    return tmp_path


def pack(line: str) -> int:
    return main.run(shlex.split(line), command=otapack.command, name="otapack")


def unpack(line: str) -> int:
    return main.run(
        [*shlex.split(line), "--root", "board", "-t", "board/tmp"], command=otaunpack.command, name="otaunpack"
    )


def action(package: str = "p.bin") -> Item:
    """The one record of the package."""
    items = [item for item in load(package) if isinstance(item.record, model.Action)]
    assert len(items) == 1
    return items[0]


def node(name: str, content: bytes = OLD, size: int = 60000) -> Path:
    path = Path("board/dev") / name
    write(path, content.ljust(size, b"\xff"))
    return path


# ---- the modes ---------------------------------------------------------------------------------------------------


def test_create_makes_a_whole_package_and_replaces(work: Path) -> None:
    assert unpack("-r p.bin") == 0
    assert pack("-c p.bin -b script.sh --end-script script.sh") == 0
    assert unpack("-r p.bin") == 0
    assert (work / "board/log").read_text() == "0\n0\n"
    assert pack("--create=p.bin --end-scrip script.sh") == 0
    assert [item.record.when for item in load("p.bin") if isinstance(item.record, model.Script)] == [model.When.END]


@pytest.mark.parametrize("option", ["-o old", ""])
def test_block_update(work: Path, option: str) -> None:
    targets = [node("mtd3"), node("mtd4")]
    line = f"-a p.bin -s new -d '/dev/mtd3  /dev/mtd4' -t 0xea60 -m 0 -l 'a label' --block-update {option}"
    assert pack(line) == 0
    record = action().record
    assert isinstance(record, model.Block)
    assert record.engine is (EngineId.BSDIFF if option else EngineId.FULL)
    assert (record.label, record.mask) == ("a label", None)
    assert unpack("-r p.bin") == 0
    assert all(target.read_bytes().startswith(NEW) for target in targets)


def test_n_stands_for_s_in_a_block_delta(work: Path) -> None:
    node("mtd3")
    assert pack("-a p.bin -n new -o old -d /dev/mtd3 --block-update") == 0
    record = action().record
    assert isinstance(record, model.Block)
    assert (record.engine, record.label) == (EngineId.BSDIFF, "new")


@pytest.mark.parametrize("option", ["-o old", ""])
def test_ubi_update(work: Path, option: str) -> None:
    assert pack(f"-a p.bin -s new -d '/dev/ubi0_0 /dev/ubi0_1' --ubi-update {option}") == 0
    record = action().record
    assert isinstance(record, model.Ubi)
    assert record.targets == (b"/dev/ubi0_0", b"/dev/ubi0_1")
    assert (record.engine is EngineId.BSDIFF) == bool(option)


@pytest.mark.parametrize(
    ("mask", "written"), [("0x1", "a"), ("2", "b"), ("0x3", "ab"), ("0xff", "ab"), ("0", ""), ("0xfffffffe", "b")]
)
def test_default_mask(work: Path, mask: str, written: str) -> None:
    nodes = {name: node(name) for name in "ab"}
    assert pack(f"-a p.bin -s new -d '/dev/a /dev/b' --block-update --default-mask {mask}") == 0
    assert unpack("-r p.bin") == 0
    assert {name for name, path in nodes.items() if path.read_bytes().startswith(NEW)} == set(written)


def test_file_update_takes_whatever_is_there(work: Path) -> None:
    for before in (b"anything", None):
        if before is None:
            (work / "board/app").unlink()
        else:
            write(work / "board/app", before)
        assert pack("-c p.bin") == 0
        assert pack("-a p.bin -s new -d /app -t 40000 -m 0755 --file-update") == 0
        assert unpack("-r p.bin") == 0
        assert (work / "board/app").read_bytes() == NEW
        assert (work / "board/app").stat().st_mode & 0o7777 == 0o755


def test_several_files_from_one_source(work: Path) -> None:
    assert pack("-a p.bin -s new -d '/one /two' -m 600 --file-update") == 0
    assert unpack("-r p.bin") == 0
    for name in ("one", "two"):
        assert (work / "board" / name).read_bytes() == NEW
        assert (work / "board" / name).stat().st_mode & 0o7777 == 0o600


def test_file_add_makes_folders_and_refuses_another_file(work: Path) -> None:
    (work / "board/config").mkdir()
    assert pack("-a p.bin -s new -d /config/a/b/file --file-add") == 0
    for _ in range(2):
        assert unpack("-r p.bin") == 0
    assert (work / "board/config/a/b/file").read_bytes() == NEW
    assert (work / "board/config/a/b/file").stat().st_mode & 0o7777 == 0o640
    (work / "board/config/a/b/file").write_bytes(b"another")
    assert unpack("-r p.bin") == Code.TARGET


def test_file_delete(work: Path) -> None:
    write(work / "board/gone", b"x")
    assert pack("-a p.bin -d '/gone /never-there' --file-delete -l bye") == 0
    for _ in range(2):
        assert unpack("-r p.bin") == 0
    assert not (work / "board/gone").exists()
    assert {item.record.label for item in load("p.bin") if isinstance(item.record, model.Delete)} == {"bye"}


@pytest.mark.parametrize("new", ["-n", "-s"])
def test_file_update_diff(work: Path, new: str) -> None:
    write(work / "board/app", OLD)
    assert pack(f"-a p.bin -o old {new} new -d /app --file-update-diff") == 0
    record = action().record
    assert isinstance(record, model.File)
    assert record.engine is EngineId.BSDIFF
    assert unpack("-r p.bin") == 0
    assert (work / "board/app").read_bytes() == NEW
    (work / "board/app").write_bytes(b"neither")
    assert unpack("-r p.bin") == Code.TARGET


@pytest.mark.parametrize(
    ("line", "kind", "engine"),
    [
        ("-o old -n new -d /dev/mtdblock8 --file-update-diff", model.Block, EngineId.BSDIFF),
        ("-o old -n new -d /dev/ubi0_2 --file-update-diff", model.Ubi, EngineId.BSDIFF),
        ("-s new -d /dev/mmcblk0boot0 --file-update", model.Block, EngineId.FULL),
    ],
)
def test_a_node_is_never_replaced_by_a_file(work: Path, line: str, kind: type, engine: EngineId) -> None:
    assert pack(f"-a p.bin {line}") == 0
    record = action().record
    assert isinstance(record, kind)
    assert getattr(record, "engine", None) is engine
    if kind is model.Block:
        path = node(os.path.basename(line.split("-d ")[1].split(maxsplit=1)[0]))
        assert unpack("-r p.bin") == 0
        assert path.read_bytes().startswith(NEW)
        assert path.stat().st_size == 60000


@pytest.mark.parametrize("mode", ["dir-update", "dir-update-diff"])
def test_folders(work: Path, mode: str) -> None:
    old, new = make_pair(work / "pair")
    shutil.copytree(old, work / "board/config", symlinks=True)
    assert pack(f"-a p.bin -o {old}/ -n {new}/ -d /config/ --{mode} -l settings") == 0
    engines = {item.record.engine for item in load("p.bin") if isinstance(item.record, model.File)}
    assert (EngineId.BSDIFF in engines) == (mode == "dir-update-diff")
    labels = {item.record.label for item in load("p.bin") if isinstance(item.record, model.Action)}
    assert labels == {"settings"}
    if mode == "dir-update":
        write(work / "board/config/lib/lib0.so", b"somebody was here")
    assert unpack("-r p.bin -n") == 0
    assert state(work / "board/config") != state(new)
    assert unpack("-r p.bin") == 0
    assert state(work / "board/config") == state(new)


def test_scripts_run_in_the_order_of_the_records(work: Path) -> None:
    for name in ("one", "two"):
        write(work / f"{name}.sh", f'echo {name} $(cat "$OTA_ROOT/f") >> "$OTA_ROOT/log"\n'.encode())
    write(work / "first", b"1")
    write(work / "second", b"2")
    assert pack("-a p.bin -s first -d /f --file-update") == 0
    assert pack("-a p.bin -s one.sh -d check --script-add") == 0
    assert pack("-a p.bin -s second -d /g --file-update") == 0
    assert pack("-a p.bin -s two.sh --script-add -l 'the last'") == 0
    assert unpack("-r p.bin") == 0
    assert (work / "board/log").read_text() == "one 1\ntwo 1\n"
    labels = [item.record.label for item in load("p.bin") if isinstance(item.record, model.Action)]
    assert labels == ["first", "check", "second", "the last"]


# ---- the workflow ------------------------------------------------------------------------------------------------


def test_compressed_from_outside(work: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = node("mtd3")
    assert pack("-a p.bin -s new -d /dev/mtd3 --block-update") == 0
    (work / "p.bin.gz").write_bytes(gzip.compress((work / "p.bin").read_bytes()))
    assert unpack("-r p.bin.gz") == Code.MAGIC
    assert unpack("-x p.bin.gz --verify") == 0
    assert not path.read_bytes().startswith(NEW)
    assert unpack("-x p.bin.gz") == 0
    assert path.read_bytes().startswith(NEW)
    before = (work / "p.bin.gz").read_bytes()
    assert pack("-a p.bin.gz -s new -d /dev/mtd4 --block-update") == Code.USAGE
    assert "gunzip p.bin.gz, then append" in capsys.readouterr().err
    assert (work / "p.bin.gz").read_bytes() == before


def test_layout(work: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for line in (
        "-s new -d '/dev/mtd3 /dev/mtd4' --block-update --default-mask 2",
        "-s new -d /dev/ubi0_1 --ubi-update -l 'one, two'",
        "-d /etc/gone --file-delete",
        "-s script.sh --script-add",
    ):
        assert pack(f"-a p.bin {line}") == 0
    assert pack("--out-layout layout.txt -r p.bin") == 0
    text = (work / "layout.txt").read_text()
    assert list(csv.reader(io.StringIO(text))) == [
        ["1", "new", "/dev/mtd3 /dev/mtd4", "0x2"],
        ["2", "one, two", "/dev/ubi0_1", "0x1"],
        ["3", "delete", "/etc/gone", "0x1"],
        ["4", "script.sh", "script.sh", "0x1"],
    ]
    capsys.readouterr()
    assert pack("--out-layout - -r p.bin") == 0
    assert capsys.readouterr().out == text
    assert pack("--out-layout no/where -r p.bin") == Code.OUTPUT
    assert pack("--out-layout layout.txt -r nothing") == Code.INPUT


def test_debug_says_what_was_packed(work: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert pack("-a p.bin -s new -d /dev/mtd3 --block-update") == 0
    assert capsys.readouterr() == ("", "")
    assert pack("-a p.bin -s new -d /dev/mtd4 --block-update --debug") == 0
    out, err = capsys.readouterr()
    assert out == ""
    assert "otapack: 2,new,/dev/mtd4,0x1" in err


def test_the_level_of_the_last_append_counts(work: Path) -> None:
    text = b"".join(b"%d lines of %d\n" % (number * number, number) for number in range(20000))
    write(work / "text", text)
    sizes = []
    for level in (1, 19):
        assert pack("-c p.bin") == 0
        assert pack("-a p.bin -s text -d /a --file-update --level 3") == 0
        assert pack(f"-a p.bin -s new -d /b --file-update --level {level}") == 0
        sizes.append((work / "p.bin").stat().st_size)
    assert sizes[1] < sizes[0] * 0.9


# ---- what does not fit -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "hint"),
    [
        ("", "otapack -c SStarOta.bin; otapack -a SStarOta.bin -s SOURCE -d TARGET --block-update"),
        ("-c x -a p.bin", "otapack -c x; otapack -a x -s SOURCE -d TARGET --block-update"),
        ("-c x -s new", "otapack -c x; otapack -a x -s SOURCE -d TARGET --block-update"),
        ("-c x --block-update", "otapack -c x; otapack -a x -s SOURCE -d TARGET --block-update"),
        ("-a p.bin -b script.sh", "otapack -c p.bin -b script.sh"),
        ("-a p.bin -s new -d /dev/mtd3", "otapack -a p.bin -s new -d /dev/mtd3 --block-update"),
        ("-a p.bin -s new -d /etc/x", "otapack -a p.bin -s new -d /etc/x --file-update"),
        ("-a p.bin -o old -n new -d /etc/x", "otapack -a p.bin -o old -n new -d /etc/x --file-update-diff"),
        ("-a p.bin -o . -n . -d /etc", "otapack -a p.bin -o . -n . -d /etc --dir-update-diff"),
        ("-a p.bin -s new -d /x --file-add --file-update", "otapack -a p.bin -s new -d /x --file-update"),
        ("-a p.bin -s new --block-update", "otapack -a p.bin -s new -d TARGET --block-update"),
        ("-a p.bin -d /dev/a --block-update -t 9", "otapack -a p.bin -s SOURCE -d /dev/a -t 9 --block-update"),
        ("-a p.bin --block-update", "otapack -a p.bin -s SOURCE -d TARGET --block-update"),
        ("-a p.bin -s new -d /x -o old --file-update", "otapack -a p.bin -o old -n new -d /x --file-update-diff"),
        ("-a p.bin -s new -n old -o old -d /dev/a --block-update", "otapack -a p.bin -s new -o old -d /dev/a --block"),
        ("-a p.bin -o old -d /x --file-update-diff", "otapack -a p.bin -o old -n NEW -d /x --file-update-diff"),
        ("-a p.bin -n . -d /x --dir-update", "otapack -a p.bin -o OLD -n . -d /x --dir-update"),
        ("-a p.bin -s new -d /x --file-delete", "otapack -a p.bin -d /x --file-delete"),
        ("-a p.bin -s new -d dev/a --block-update", "otapack -a p.bin -s new -d /dev/a --block-update"),
        ("-a p.bin -s 'a b' --block-update", "otapack -a p.bin -s 'a b' -d TARGET --block-update"),
        ("-a p.bin -s new -d /dev/a -t lots --block-update", "otapack -a p.bin -s new -d /dev/a -t SIZE --block"),
        ("-a p.bin -s new -d /x -m rwx --file-update", "otapack -a p.bin -s new -d /x -m MODE --file-update"),
        ("-a p.bin -s new -d /dev/a --file-add", "otapack -a p.bin -s new -d /dev/a --block-update"),
        (
            "-a p.bin -s new -d '/a /b' --default-mask 1 --file-update",
            "give -d only what is to be updated, or several appends",
        ),
        ("-a p.bin -s new -d /dev/ubi0_1 --block-update", "otapack -a p.bin -s new -d /dev/ubi0_1 --ubi-update"),
        ("-a p.bin -s new -d /dev/mtd4 --ubi-update", "otapack -a p.bin -s new -d /dev/mtd4 --block-update"),
        ("-a p.bin -s new -d '/dev/mtd4 /dev/ubi0_1' --block-update", "otapack -a p.bin -s new -d '/dev/mtd4 /dev/u"),
        ("-a p.bin -s new -d '/dev/a /b' --file-update", "give nodes and files an append each"),
        ("-a p.bin -d '/dev/a /b' --file-delete", "a node stays; leave it out of -d"),
        ("-a none -s new -d /dev/a --block-update", "otapack -c none"),
        ("-a p.bin -r p.bin -s new -d /dev/a --block-update", "otapack --out-layout FILE -r p.bin"),
        ("--out-layout x", "otapack --out-layout x -r PACKAGE"),
        ("--out-layout x -r p.bin -s new", "otapack --out-layout x -r p.bin"),
    ],
)
def test_the_right_command_line_is_shown(work: Path, capsys: pytest.CaptureFixture[str], line: str, hint: str) -> None:
    before = (work / "p.bin").read_bytes()
    names = sorted(os.listdir(work))
    assert pack(line) == Code.USAGE
    out, err = capsys.readouterr()
    assert out == ""
    assert f"otapack: hint: {hint}" in err
    assert (work / "p.bin").read_bytes() == before
    assert sorted(os.listdir(work)) == names


@pytest.mark.parametrize(
    ("line", "code"),
    [
        ("-a p.bin -s new -d /dev/a -t 0x7000 --block-update", Code.TOO_SMALL),
        ("-a p.bin -s new -d /dev/ubi0_0 -t 5 --ubi-update", Code.TOO_SMALL),
        ("-a p.bin -s new -d /a -t 5 --file-update", Code.TOO_SMALL),
        ("-a p.bin -s gone -d /dev/a --block-update", Code.INPUT),
        ("-a p.bin -s new -d /dev/../a --block-update", Code.CONFIG),
        (f"-a p.bin -s new -d /dev/a --block-update -l {'x' * 513}", Code.CONFIG),
        ("-a p.bin -o gone -n . -d /a --dir-update", Code.INPUT),
        ("-a new -s new -d /dev/a --block-update", Code.MAGIC),
        ("-c no/where", Code.OUTPUT),
        ("-c p.bin -b gone", Code.INPUT),
        ("-a p.bin --blok-update", Code.USAGE),
        ("-a p.bin -s new -d /dev/a --block-update --level 77", Code.USAGE),
    ],
)
def test_what_fails_leaves_the_package(work: Path, line: str, code: Code) -> None:
    before = (work / "p.bin").read_bytes()
    assert pack(line) == code
    assert (work / "p.bin").read_bytes() == before


def test_what_makefiles_write_for_nothing(work: Path) -> None:
    assert pack("-a p.bin -s new -d /dev/a -t '' -m 0 -l '' -o '' --block-update") == 0
    assert pack("-a p.bin -s new -d /dev/b -t 0 -m 0000 --block-update") == 0
    assert pack("-a p.bin -s new -d /c -t 0x0 -m 0 --file-update") == 0
    records = [item.record for item in load("p.bin") if isinstance(item.record, model.Action)]
    assert [type(record) for record in records] == [model.Block, model.Block, model.File]
    assert getattr(records[2], "mode", None) == 0o640


def test_the_same_target_twice_is_refused(work: Path) -> None:
    assert pack("-a p.bin -s new -d /dev/a --block-update") == 0
    assert pack("-a p.bin -s new -d '/dev/b /dev/a' --block-update") == Code.CONFIG


# ---- otaunpack ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("-x p.bin -r p.bin", "-x and -r both name a package"),
        ("", "no package"),
        ("-x p.bin -p upgrade.jpg -s 4", "'4' is not one of '0', '1', '2', '3'"),
        ("-x p.bin -s 1", "-s turns the display, which -p asks for"),
        ("-x p.bin --watchdog /dev/watchdog", "--watchdog is an option of the board program only"),
        ("-x p.bin --self-test", "--self-test is an option of the board program only"),
        ("p.bin", "unexpected extra argument"),
    ],
)
def test_otaunpack_refuses(work: Path, capsys: pytest.CaptureFixture[str], line: str, said: str) -> None:
    assert unpack(line) == Code.USAGE
    assert said in capsys.readouterr().err


def test_otaunpack_options(work: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = node("mtd3")
    assert pack("-a p.bin -s new -d /dev/mtd3 --block-update") == 0
    assert unpack("-x p.bin --dry-run --progress json") == 0
    assert '"phase": "preflight"' in capsys.readouterr().err
    assert not path.read_bytes().startswith(NEW)
    assert unpack("-x p.bin -k nowhere") == Code.CONFIG
    assert unpack("-x gone.bin") == Code.INPUT
    assert unpack("-r p.bin --verify") == 0
    damaged = bytearray((work / "p.bin").read_bytes())
    damaged[-1] ^= 1
    (work / "p.bin").write_bytes(damaged)
    assert unpack("-r p.bin --verify") == Code.CORRUPT


def test_the_reference_applier_agrees(work: Path) -> None:
    """The same package by a second applier that shares no code with the first."""
    node("mtd3")
    write(work / "board/app", OLD)
    assert pack("-a p.bin -s new -o old -d /dev/mtd3 --block-update") == 0
    assert pack("-a p.bin -o old -n new -d /app --file-update-diff") == 0
    (work / "board/etc").mkdir()
    assert pack("-a p.bin -s new -d /etc/a/b --file-add") == 0
    shutil.copytree(work / "board", work / "other")
    Board(work / "other").apply(load("p.bin"))
    assert unpack("-r p.bin") == 0
    shutil.rmtree(work / "board/tmp")
    shutil.rmtree(work / "other/tmp")
    assert state(work / "board") == state(work / "other")
