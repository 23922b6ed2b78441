"""The manual pages say what the help says, and troff has nothing to say about them."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import click
import pytest

from e2e_support import TREE, board_program
from otastream.cli import main as cli
from scripts import manpages


@pytest.fixture(scope="module")
def pages() -> dict[str, str]:
    board_program("amd64")
    return manpages.pages()


def plain(text: str) -> str:
    return text.replace("\\-", "-").replace("\\e", "\\").replace("\\&", "")


def test_every_command_and_option_is_there(pages: dict[str, str]) -> None:
    text = plain(pages["otastream.1"])
    context = click.Context(cli.program)
    for name in cli.program.list_commands(context):
        command = cli.program.get_command(context, name)
        assert command is not None
        assert f".SS {name}\n" in text
        for option in (option for parameter in command.params for option in parameter.opts if option.startswith("--")):
            assert option in text


def test_static_programs_have_theirs(pages: dict[str, str]) -> None:
    for name in manpages.STATIC:
        help_text = subprocess.run(
            [board_program("amd64").with_name(name), "--help"], capture_output=True, text=True, check=True
        ).stdout
        for line in help_text.splitlines()[1:]:
            assert line in plain(pages[f"{name}.8"]).splitlines()


@pytest.mark.skipif(shutil.which("groff") is None, reason="no groff command")
def test_troff_accepts_them(pages: dict[str, str]) -> None:
    for name, text in pages.items():
        done = subprocess.run(
            ["groff", "-man", "-Tascii", "-ww", "-rLL=100n"], input=text, capture_output=True, text=True, check=True
        )
        assert done.stderr == "", name
        shown = re.sub(r".\x08|\x1b\[[0-9;]*m", "", done.stdout)
        for heading in ("NAME", "SYNOPSIS", "DESCRIPTION", "SEE ALSO"):
            assert heading in shown


def test_those_of_the_python_programs_are_kept() -> None:
    """`make docs` writes them."""
    kept = {path.name: path.read_text() for path in (TREE / "docs/man").iterdir()}
    assert kept == manpages.python_pages(), "the help has changed: make docs"


def test_wheels_have_them(tmp_path: Path) -> None:
    """Where man looks for the pages of programs in a folder bin."""
    command = [sys.executable, "setup.py", "-q", "bdist_wheel", "--skip-build"]
    folders = ["--bdist-dir", str(tmp_path / "bdist"), "--dist-dir", str(tmp_path)]
    subprocess.run([*command, *folders], cwd=TREE, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    names = {Path(name) for name in zipfile.ZipFile(wheel).namelist()}
    found = {name.name for name in names if name.parts[1:-1] == ("data", "share", "man", "man1")}
    assert found == set(manpages.python_pages())
