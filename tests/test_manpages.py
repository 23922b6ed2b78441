"""The manual pages say what the help says, and troff has nothing to say about them."""

from __future__ import annotations

import re
import shutil
import subprocess

import click
import pytest

from e2e_support import board_program
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
