"""The program: apply, inspect and verify as a user runs them; errors, progress, signals.

What both programs that apply have in common is in test_appliers.py.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import click
import pytest

from golden import builder as b
from golden import good_packages
from otastream import apply as apply_module
from otastream.cli import _output, main
from otastream.cli._progress import MODES, passing, reporter
from otastream.errors import Code, error
from waiting import PATIENCE, stop, until_handled

TEXT = b"hello, board\n"
SCRIPT = b'echo "$OTA_STATUS" >> "$OTA_ROOT/log"\n'


def script(when: int, text: bytes = SCRIPT) -> bytes:
    return b.record(b.SCRIPT, b.content(text) | {b.WHEN: when}, text)


def file(name: bytes, data: bytes = TEXT) -> bytes:
    return b.record(b.FILE, {b.PATH: name, b.MODE: 0o640, **b.content(data)}, data)


def absent(name: bytes, data: bytes = TEXT) -> bytes:
    """Expects that the file is not there yet, or is the new one."""
    return b.record(b.EXPECT, {b.TYPE: 1, b.PATH: name, b.OLD: [0], b.NEW: [1, len(data), b.xxh(data)]})


@pytest.fixture
def board(tmp_path: Path) -> Path:
    (tmp_path / "root").mkdir()
    (tmp_path / "tmp").mkdir()
    return tmp_path / "root"


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """An end script, a begin script, two files."""
    path = tmp_path / "p.ota"
    fields = {
        b.RECORDS: 4,
        b.BYTES: 2 * len(TEXT) + 2 * len(SCRIPT),
        b.NAME: "demo",
        b.VERSION: "1.2",
        b.NEEDS: b.ALL_NEEDS,
    }
    records = [absent(b"a"), absent(b"b"), script(2), script(1), file(b"a"), file(b"b")]
    stream = b.record(b.MANIFEST, fields) + b"".join(records) + b.ENDING
    path.write_bytes(b.Package(b.zstd_raw(stream), b.ZSTD, 17).build())
    return path


def arguments(package: Path | str, board: Path) -> list[str]:
    return ["apply", str(package), "--root", str(board), "-t", str(board.parent / "tmp")]


def process(*args: str, **options: Any) -> subprocess.CompletedProcess[bytes]:
    command = [sys.executable, "-m", "otastream", *args]
    return subprocess.run(command, capture_output=True, check=False, timeout=PATIENCE, **options)


# ---- apply ----------------------------------------------------------------------------------------------------------


def test_apply_and_again(package: Path, board: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main.run(arguments(package, board)) == 0
    assert (board / "a").read_bytes() == (board / "b").read_bytes() == TEXT
    assert (board / "a").stat().st_mode & 0o7777 == 0o640
    assert (board / "log").read_text() == "0\n0\n"
    assert "4 records executed; 26 B written" in capsys.readouterr().err
    assert main.run(arguments(package, board)) == 0
    assert "2 of them were right already; 0 B written" in capsys.readouterr().err


def test_dry_run_changes_nothing(package: Path, board: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main.run([*arguments(package, board), "--dry-run"]) == 0
    assert os.listdir(board) == []
    assert "4 records would be executed; nothing was changed" in capsys.readouterr().err
    (board / "a").write_bytes(b"something else")
    assert main.run([*arguments(package, board), "--dry-run"]) == Code.TARGET
    assert "mismatch: a target is neither the old nor the new one" in capsys.readouterr().err


def test_memory_is_checked_before_anything_else(
    package: Path, board: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(apply_module, "available_memory", lambda: 299_999)
    assert main.run(arguments(package, board)) == Code.RAM
    assert "300000 bytes, 299999 are available" in capsys.readouterr().err
    assert os.listdir(board) == []
    monkeypatch.setattr(apply_module, "available_memory", lambda: 300_000)
    assert main.run(arguments(package, board)) == 0


# ---- signals --------------------------------------------------------------------------------------------------------


def _started(package: Path, board: Path, **options: Any) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "otastream", *arguments(package, board)]
    return subprocess.Popen(command, stderr=subprocess.PIPE, **options)


def test_a_signal_before_the_update_stops_at_once(board: Path) -> None:
    running = _started(Path("-"), board, stdin=subprocess.PIPE)
    assert running.stdin is not None
    running.stdin.write(b.Package(b.stream(script(2), file(b"a"))).build()[:50])
    running.stdin.flush()
    ended = stop(running, signal.SIGTERM)
    _, errors = running.communicate()
    assert ended in (Code.CANCELLED, -signal.SIGTERM), errors  # the last signal may come when it no longer listens
    assert os.listdir(board) == []


def test_a_signal_that_is_ignored_stays_ignored(package: Path, board: Path) -> None:
    command = f"trap '' HUP; exec {sys.executable} -m otastream {' '.join(arguments('-', board))}"
    running = subprocess.Popen(["sh", "-c", command], stdin=subprocess.PIPE, stderr=subprocess.PIPE)
    until_handled(running.pid, signal.SIGTERM)
    running.send_signal(signal.SIGHUP)
    _, errors = running.communicate(package.read_bytes(), timeout=PATIENCE)
    assert running.returncode == 0, errors


# ---- inspect and verify ---------------------------------------------------------------------------------------------


def test_inspect_shows_each_record(package: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main.run(["inspect", str(package)]) == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert lines[0] == "format 1, codec zstd, window 128 KiB, RAM 293 KiB".split()
    assert lines[1:4] == [["not", "signed"], ["demo", "1.2"], ["what", "engine", "sent", "full", "where"]]
    assert ["file", "full", "13", "B", "13", "B", "/a"] in lines
    assert ["end", "script", "full", "38", "B", "38", "B"] in lines
    assert not any(line[0] == "expect" for line in lines)
    assert ["full:", "4", "records,"] in [line[:3] for line in lines]
    assert lines[-1][:4] == ["4", "records,", "2", "expected"]


def test_inspect_all_shows_what_is_expected(package: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main.run(["inspect", str(package), "--all"]) == 0
    assert sum(line.startswith("expect") for line in capsys.readouterr().out.splitlines()) == 2


def test_inspect_json_has_all_fields_of_every_kind(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "p.ota"
    kinds = set()
    for name, data in good_packages.packages():
        if not name.endswith("-none"):
            continue
        path.write_bytes(data)
        assert main.run(["inspect", str(path), "--json", "--all"]) == 0
        lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
        assert lines[0]["kind"] == "preamble"
        assert lines[-1]["kind"] == "totals"
        assert [line["number"] for line in lines[1:-1]] == list(range(len(lines) - 2))
        kinds |= {line["kind"] for line in lines[1:-1]}
        assert main.run(["inspect", str(path), "--all"]) == 0  # the table takes every kind, too
        assert capsys.readouterr().out
    assert kinds == {"manifest", "expect", "script", "block", "ubi", "file", "delete", "dir", "link", "move", "end"}


def test_names_cannot_confuse_a_terminal(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "p.ota"
    evil = b"a\x1b[31m\nb\xff[bold]"
    path.write_bytes(b.Package(b.stream(file(evil))).build())
    assert main.run(["inspect", str(path)]) == 0
    out = capsys.readouterr().out
    assert "\x1b" not in out
    assert r"/a\x1b[31m\nb\xff[bold]" in out
    assert main.run(["inspect", str(path), "--json"]) == 0
    entry = next(line for line in map(json.loads, capsys.readouterr().out.splitlines()) if line["kind"] == "file")
    assert os.fsencode(entry["path"]) == evil


def test_verify(package: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main.run(["verify", str(package)]) == 0
    assert f"whole, 4 records, {package.stat().st_size} B" in capsys.readouterr().out
    assert main.run(["verify", str(package), "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert (shown["ok"], shown["records"], shown["codec"], shown["window"]) == (True, 4, "zstd", 131072)


# ---- errors and exit codes ------------------------------------------------------------------------------------------


def test_without_arguments_there_is_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert main.run([]) == Code.USAGE
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.startswith("Usage: otastream ")
    assert "\n  pack " in shown.err


def test_help_lists_every_exit_code(capsys: pytest.CaptureFixture[str]) -> None:
    assert main.run(["--help"]) == 0
    lines = [line.strip() for line in capsys.readouterr().out.splitlines()]
    for code in Code:
        assert f"{code.value} {code.text}" in lines
    assert [line for line in lines if line in ("caller:", "package:", "trust:", "mismatch:", "device:")] == [
        "caller:",
        "package:",
        "trust:",
        "mismatch:",
        "device:",
    ]


@pytest.mark.parametrize("name", ["pack", "append", "apply", "inspect", "verify", "diff", "patch"])
def test_every_command_has_help_with_an_example(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main.run([name, "--help"]) == 0
    out = capsys.readouterr().out
    assert f"otastream {name} " in out


@pytest.mark.parametrize(
    "args", [["nope"], ["apply"], ["apply", "p", "--what"], ["verify", "a", "b"], ["apply", "p", "--progress", "x"]]
)
def test_wrong_arguments(args: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main.run(args) == Code.USAGE
    assert "Traceback" not in capsys.readouterr().err


def test_wrong_arguments_are_told_like_any_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert main.run(["pack", "--nonsense"]) == Code.USAGE
    error_line, hint = capsys.readouterr().err.splitlines()
    assert error_line.startswith("otastream: error: caller: wrong arguments: No such option")
    assert hint == "otastream: hint: otastream pack --help"


def test_a_missing_temporary_folder_is_named(package: Path, board: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main.run(["apply", str(package), "--root", str(board), "-t", "/nonexistent"]) == Code.USAGE
    assert capsys.readouterr().err.splitlines()[0].endswith(": --tmp: No such file or directory: /nonexistent")


def test_a_failed_script_is_told_without_an_unrelated_reason(
    tmp_path: Path, board: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "fails.ota"
    path.write_bytes(b.Package(b.stream(absent(b"a"), script(0, b"exit 7\n"), file(b"a"))).build())
    assert main.run(arguments(path, board)) == Code.SCRIPT
    assert capsys.readouterr().err.splitlines()[0] == (
        "otastream: error: package: a script of the package failed: exit code 7 (record 2)"
    )


def test_shares_and_counts() -> None:
    assert [_output.share(part, 1000) for part in (0, 1, 500, 1000, 1001)] == ["", " (0.1%)", " (50.0%)", "", ""]
    assert _output.share(1, 10000) == " (below 0.1%)"
    assert [_output.count(number, "record") for number in (0, 1, 2)] == ["0 records", "1 record", "2 records"]


def test_errors_say_who_must_act(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "line\nbreak"
    path.write_bytes(b"hello")
    assert main.run(["verify", str(path)]) == Code.MAGIC
    assert capsys.readouterr().err.splitlines() == [
        "otastream: error: package: this is not an otastream package (offset 0)",
        "otastream: hint: fetch the package again; if it stays so, ask whoever made it",
    ]
    path.unlink()
    assert main.run(["verify", str(path)]) == Code.INPUT
    assert r"line\nbreak" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("failure", "code"),
    [
        (KeyboardInterrupt(), Code.CANCELLED),
        (click.Abort(), Code.CANCELLED),
        (MemoryError(), Code.RAM),
        (BrokenPipeError(), Code.OUTPUT),
        (ZeroDivisionError("what"), Code.INTERNAL),
        (error(Code.SPACE, "5 bytes"), Code.SPACE),
        (SystemError(), Code.INTERNAL),
    ],
)
def test_no_failure_ends_in_a_traceback(
    failure: BaseException, code: Code, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def fail(_args: object, **_options: object) -> None:
        raise failure

    monkeypatch.setattr(main.program, "main", fail)
    monkeypatch.setattr(main, "_forget_stdout", lambda: None)
    assert main.run([]) == code
    assert "Traceback" not in capfd.readouterr().err
    monkeypatch.setenv("OTASTREAM_DEBUG", "1")
    assert main.run([]) == code
    assert code is Code.OUTPUT or "Traceback" in capfd.readouterr().err


def test_output_that_nobody_reads(tmp_path: Path) -> None:
    path = tmp_path / "p.ota"
    path.write_bytes(b.Package(b.stream(*(file(b"f%d" % number) for number in range(5000)))).build())
    command = f"{sys.executable} -m otastream inspect {path} --json | head -n 1 > /dev/null; echo ${{PIPESTATUS[0]}}"
    result = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=True, timeout=PATIENCE)
    assert result.stdout.strip() == str(int(Code.OUTPUT))
    assert result.stderr == ""


def test_applying_does_not_load_the_packer() -> None:
    code = "import sys, otastream.cli.main as m; m.run(['apply', '--help']); print(sorted(sys.modules))"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=PATIENCE)
    loaded = set(result.stdout.splitlines()[-1].strip("[]").replace("'", "").split(", "))
    assert "otastream.apply" in loaded
    assert not loaded & {"otastream.pack", "otastream.config", "otastream.cli.pack", "numpy", "msgspec", "rich"}


# ---- progress -------------------------------------------------------------------------------------------------------


def test_progress_as_json(package: Path, board: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main.run([*arguments(package, board), "--progress", "json"]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().err.splitlines() if line.startswith("{")]
    assert lines[0]["phase"] == "preflight"
    end = {"percent": 100, "done": 102, "total": 102, "step": 4, "steps": 4, "part": None, "target": ""}
    assert lines[-2:] == [{"phase": "end", **end}, {"phase": "success", **end, "code": 0}]
    parts = [(line["step"], line["part"]) for line in lines if line["phase"] == "update"]
    assert parts == sorted(parts, key=lambda part: part[0])
    assert any(line["target"] == "/b" for line in lines)
    done = [line["done"] for line in lines]
    assert done == sorted(done)


def test_progress_ends_with_the_failure(package: Path, board: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (board / "a").unlink(missing_ok=True)
    (board / "a").write_bytes(b"neither old nor new")
    code = main.run([*arguments(package, board), "--progress", "json"])
    lines = [json.loads(line) for line in capsys.readouterr().err.splitlines() if line.startswith("{")]
    assert code != 0
    assert (lines[-1]["phase"], lines[-1]["code"], lines[-1]["error"]) == ("failure", code, Code(code).text)


def test_progress_as_numbers(package: Path, board: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main.run([*arguments(package, board), "--progress", "numeric"]) == 0
    said = capsys.readouterr().err.splitlines()
    assert "success" in said
    numbers = [int(line) for line in said if line.isdigit()]
    assert numbers == sorted(set(numbers))
    assert (numbers[0], numbers[-1]) == (0, 100)


@pytest.mark.parametrize("mode", MODES)
def test_progress_passes_items_through(mode: str, capsys: pytest.CaptureFixture[str]) -> None:
    pieces = [bytes(number) for number in range(100)]
    with reporter(mode) as progress:
        assert list(passing(pieces, progress, phase="pack", total=4950, measure=len)) == pieces
        progress.update(phase="write", done=5, total=None, target="[bold]x")
    captured = capsys.readouterr()
    assert captured.out == ""
    if mode == "numeric":
        assert captured.err.splitlines()[-2:] == ["100", "write"]
    assert (captured.err == "") == (mode in ("auto", "none"))


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0 B"), (999, "999 B"), (1000, "0.977 KiB"), (131072, "128 KiB"), (5 << 20, "5 MiB"), (3 << 40, "3 TiB")],
)
def test_sizes_for_people(count: int, text: str) -> None:
    assert _output.size(count) == text
