"""Write the manual pages: ``python -m scripts.manpages [--python] FOLDER``.

One source: the help of each program. That of the Python programs comes from click; that of the static ones from the
programs built for this machine (build/board/amd64), as their own text. --python: only those of the Python programs,
which stand in docs/man, since wheels have them and are built without click.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import click

from otastream import __version__
from otastream.cli import _output, otapack, otaunpack
from otastream.cli import main as cli

TREE: Final = Path(__file__).resolve().parent.parent
SEE: Final = {
    "otastream": "otapack(1), otaunpack(1), otaunpack(8)",
    "otapack": "otastream(1), otaunpack(1)",
    "otaunpack": "otastream(1), otaunpack(8)",
}
STATIC: Final = {
    "otaunpack": ("apply a package to a board", "otastream(1), otadisplay(8)"),
    "otadisplay": ("show the progress of an update on the framebuffer", "otaunpack(8)"),
}


def escaped(text: str) -> str:
    """Text that troff prints as it is."""
    text = text.replace("\\", "\\e").replace("-", "\\-")
    return re.sub(r"^([.'])", r"\\&\1", text, flags=re.M)


def _head(name: str, section: int, about: str) -> str:
    return f'.TH {name.upper()} {section} "" "otastream {__version__}"\n.SH NAME\n{name} \\- {escaped(about)}\n'


def _paragraphs(text: str) -> Iterator[str]:
    """The description of a command as click has it: an empty line ends a paragraph, \\b keeps lines as they are."""
    for block in text.split("\n\n"):
        lines = block.strip("\n").splitlines()
        if lines and lines[0].strip() == "\b":
            title, *rest = [line.strip() for line in lines[1:]]
            yield f".PP\n{escaped(title)}\n.RS\n.nf\n" + "\n".join(map(escaped, rest)) + "\n.fi\n.RE\n"
        else:
            yield ".PP\n" + escaped(" ".join(line.strip() for line in lines)) + "\n"


def _options(command: click.Command, context: click.Context) -> Iterator[str]:
    for parameter in command.get_params(context):
        if isinstance(parameter, click.Option) and (record := parameter.get_help_record(context)) is not None:
            yield f".TP\n.B {escaped(record[0])}\n{escaped(record[1])}\n"


def _usage(command: click.Command, context: click.Context) -> str:
    return f".B {escaped(context.command_path)}\n{escaped(' '.join(command.collect_usage_pieces(context)))}\n"


def _exit_codes() -> Iterator[str]:
    yield ".SH EXIT STATUS\n0: all went well. Else, by who must act:\n"
    for who, lines in _output.exit_codes():
        yield f".SS {who}\n"
        for line in lines.splitlines():
            code, text = line.split(maxsplit=1)
            yield f".TP\n.B {code}\n{escaped(text)}\n"


def _see(names: str) -> str:
    pages = (re.sub(r"(\w+)\((\d)\)", r".BR \1 (\2)", page) for page in names.split(", "))
    return ".SH SEE ALSO\n" + " ,\n".join(pages) + "\n"


def _commands(group: click.Group, parent: click.Context) -> Iterator[str]:
    for name in group.list_commands(parent):
        command = group.get_command(parent, name)
        if command is None:
            raise SystemExit(f"manpages: no command {name}")
        context = click.Context(command, info_name=name, parent=parent)
        yield f".SS {escaped(name)}\n{_usage(command, context)}"
        yield from _paragraphs(command.help or "")
        yield from _options(command, context)


def page(name: str, command: click.Command) -> str:
    """The page of a Python program, in section 1."""
    context = click.Context(command, info_name=name, **command.context_settings)
    about, *more = (command.help or "").split("\n\n")
    parts = [_head(name, 1, about.split(".")[0].strip()), ".SH SYNOPSIS\n", _usage(command, context)]
    parts += [".SH DESCRIPTION\n", *_paragraphs("\n\n".join((about, *more))), ".SH OPTIONS\n"]
    parts += _options(command, context)
    if isinstance(command, click.Group):
        parts += [".SH COMMANDS\n", *_commands(command, context)]
    return "".join([*parts, *_exit_codes(), _see(SEE[name])])


def static_page(name: str, text: str) -> str:
    """The page of a static program, in section 8, from the text of its help."""
    usage, *rest = text.strip("\n").splitlines()
    about, see = STATIC[name]
    synopsis = escaped(usage.removeprefix("Usage: "))
    body = "\n".join(escaped(line) for line in rest)
    return f"{_head(name, 8, about)}.SH SYNOPSIS\n{synopsis}\n.SH DESCRIPTION\n.nf\n{body}\n.fi\n{_see(see)}"


def python_pages() -> dict[str, str]:
    """File name -> text of the pages of the Python programs."""
    return {
        "otastream.1": page("otastream", cli.program),
        "otapack.1": page("otapack", otapack.command),
        "otaunpack.1": page("otaunpack", otaunpack.command),
    }


def pages() -> dict[str, str]:
    """The same of all pages."""
    made = python_pages()
    for name in STATIC:
        program = TREE / "build/board/amd64" / name
        text = subprocess.run([program, "--help"], capture_output=True, text=True, check=True).stdout
        made[f"{name}.8"] = static_page(name, text)
    return made


if __name__ == "__main__":
    python = sys.argv[1] == "--python"
    for file_name, content in (python_pages() if python else pages()).items():
        Path(sys.argv[-1], file_name).write_text(content)
