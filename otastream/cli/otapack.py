"""``otapack``: packages made step by step, with the command line that makefiles of camera SDKs use.

Create, append as often as needed, ``gzip``: every step leaves a complete package behind.
"""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, NoReturn

import click

from otastream import __version__
from otastream.cli import _layout, _otapack, _output, _pack
from otastream.cli import main as _main
from otastream.cli._otapack import MODES, Given
from otastream.config import Release, Scripts
from otastream.container import MAGIC, OUTER_GZIP, OUTER_ZSTD
from otastream.errors import Code, OtaError, error
from otastream.options import PackOptions
from otastream.pack import append_release, pack_release

LEVEL: Final = 9
"""Every append compresses the whole package again; above, time grows much faster than size shrinks."""

_MODE_HELP: Final = {
    "block-update": "Raw data for a partition, NAND with its bad blocks included; with -o as a delta.",
    "ubi-update": "The content of a UBI volume; with -o as a delta.",
    "file-update": "A file, whatever the board has in its place.",
    "file-add": "A file that is not there yet; missing folders are made.",
    "file-delete": "Delete a file.",
    "file-update-diff": "A file as a delta (-o old, -n new); of an image too, where -d is a node.",
    "dir-update": "What differs between the folders -o and -n, whole.",
    "dir-update-diff": "What differs between the folders -o and -n, as deltas.",
    "script-add": "A shell script (-s) that runs when all records before it are done; -d: its name.",
}


def _modes(function: Any) -> Any:
    for name, text in reversed(_MODE_HELP.items()):
        function = click.option(f"--{name}", is_flag=True, help=text)(function)
    return function


@click.command(
    "otapack",
    options_metavar="(-c FILE | -a FILE | --out-layout FILE -r PACKAGE) [OPTIONS]",
    epilog="Exit codes say who must act: otastream --help lists them.",
)
@click.version_option(__version__, prog_name="otapack")
@click.option("-c", "--create", metavar="FILE", help="Make an empty package; one that is there is replaced.")
@click.option("-b", "--begin-script", metavar="FILE", help="With -c: script to run before anything is changed.")
@click.option(
    "-e",
    "--end-script",
    "--end-scrip",
    metavar="FILE",
    help="With -c: script to run in the end; OTA_STATUS is 0 or -1.",
)
@click.option("-a", "--append", metavar="FILE", help="Add one thing to a package.")
@click.option("-s", "--src-file", "src", metavar="FILE", help="The file to send.")
@click.option(
    "-d",
    "--dst-file",
    "dst",
    metavar="PATHS",
    help="Where it goes on the board: a node or a file; several separated by spaces, in quotes.",
)
@click.option(
    "-t",
    "--dst-file-size",
    "size",
    metavar="BYTES",
    help="What the target holds, decimal or 0x...; larger files are refused. 0: not known.",
)
@click.option("-m", "--file-mode", "mode", metavar="MODE", help="Permissions, octal. 0: those of the file.")
@click.option("-o", "--diff-old", "old", metavar="PATH", help="What the board has: file or folder.")
@click.option("-n", "--diff-new", "new", metavar="PATH", help="What it shall have: file or folder.")
@click.option("-l", "--add-log", "label", metavar="TEXT", help="A label, up to 512 bytes. [default: name of the file]")
@click.option("--default-mask", "mask", metavar="MASK", help="Which targets of -d are written: bit 0 is the first.")
@_modes
@click.option(
    "--env",
    "env",
    multiple=True,
    metavar="NAME=VALUE",
    help="With -a and nothing else: set a variable of U-Boot's environment; NAME= deletes it. Repeatable.",
)
@click.option("--out-layout", metavar="FILE", help="With -r: write a table of the records; - is stdout.")
@click.option("-r", "layout_of", metavar="PACKAGE", help="The package that --out-layout describes.")
@click.option(
    "--level",
    type=int,
    default=LEVEL,
    show_default=True,
    help="Of the compression, 1 to 19. Every append compresses all again, so that of the last one counts.",
)
@click.option("--debug", is_flag=True, help="Say more, and where an error came from.")
def command(**values: Any) -> None:
    """Make a package step by step: create it, append to it, compress it.

    Every step leaves a whole package. A step that fails leaves what was there before it.

    \b
    Examples:
      otapack -c SStarOta.bin -b start.sh -e end.sh
      otapack -a SStarOta.bin -s ./images/kernel -d /dev/mtdblock8 -t 0x500000 --block-update
      otapack -a SStarOta.bin -o ./old/ -n ./new/ -d /config --dir-update-diff
      gzip SStarOta.bin
    """
    if values.pop("debug"):
        os.environ["OTASTREAM_DEBUG"] = "1"
    modes = [name for name in MODES if values.pop(name.replace("-", "_"))]
    actions = {name: values.pop(name) for name in ("create", "append", "out_layout")}
    wanted = [name for name, value in actions.items() if value is not None]
    options = PackOptions(level=values.pop("level"), jobs=len(os.sched_getaffinity(0)), created=_pack.epoch())
    environment = values.pop("env")
    call = _Call(
        options,
        modes,
        values.pop("begin_script"),
        values.pop("end_script"),
        values.pop("layout_of"),
        environment,
        values,
    )
    if len(wanted) != 1:
        raise error(Code.USAGE, "give one of -c, -a and --out-layout", hint=_first_steps(actions["create"]))
    path = actions[wanted[0]]
    {"create": _create, "append": _append, "out_layout": _describe}[wanted[0]](path, call)


@dataclass(frozen=True, slots=True)
class _Call:
    """The command line, but for what is to be done to which file."""

    options: PackOptions
    modes: list[str]
    begin: str | None
    end: str | None
    layout_of: str | None
    environment: tuple[str, ...]
    record: dict[str, str | None]

    def has_record(self) -> bool:
        return bool(self.modes or self.environment) or any(value is not None for value in self.record.values())


def _first_steps(package: str | None) -> str:
    name = package or "SStarOta.bin"
    return f"otapack -c {name}; otapack -a {name} -s SOURCE -d TARGET --block-update"


# ---- create -------------------------------------------------------------------------------------------------------


def _create(package: str, call: _Call) -> None:
    if call.has_record() or call.layout_of is not None:
        raise error(Code.USAGE, "-c takes only -b and -e", hint=_first_steps(package))
    scripts = Scripts(begin=call.begin, end=call.end)
    pack_release(Release(scripts=scripts), output=package, options=call.options)
    _done(package)


# ---- append -------------------------------------------------------------------------------------------------------


def _append(package: str, call: _Call) -> None:
    if call.begin is not None or call.end is not None:
        scripts = f"{f' -b {call.begin}' if call.begin else ''}{f' -e {call.end}' if call.end else ''}"
        raise error(Code.USAGE, "-b and -e belong to -c", hint=f"otapack -c {shlex.quote(package)}{scripts}")
    if call.layout_of is not None:
        raise error(Code.USAGE, "-r belongs to --out-layout", hint=f"otapack --out-layout FILE -r {call.layout_of}")
    if call.environment:
        _append_environment(package, call)
        return
    raw = Given(**{name: value or None for name, value in call.record.items()})
    mode = _likely(call.modes, raw)
    try:
        release = _checked(package, call.modes, mode, raw)
    except OtaError as failure:  # whatever does not fit, show what does
        if failure.code is Code.USAGE and failure.hint is None:
            failure.hint = _otapack.right(package, _otapack.meant(mode, raw), raw)
        raise
    append_release(package, release, options=call.options)
    _done(package)


def _append_environment(package: str, call: _Call) -> None:
    variables: dict[str, str | bool] = {}
    for setting in call.environment:
        name, mark, value = setting.partition("=")
        if not (name and mark):
            hint = f"otapack -a {shlex.quote(package)} --env NAME=VALUE"
            raise error(Code.USAGE, f"--env {setting}: write NAME=VALUE, or NAME= to delete it", hint=hint)
        variables[name] = value or False
    if call.modes or any(value is not None for value in call.record.values()):
        words = " ".join(f"--env {shlex.quote(setting)}" for setting in call.environment)
        raise error(Code.USAGE, "--env is an append of its own", hint=f"otapack -a {shlex.quote(package)} {words}")
    _check_package(package)
    append_release(package, Release(env=variables), options=call.options)
    _done(package)


def _checked(package: str, modes: list[str], mode: str, raw: Given) -> Release:
    """What is to be appended. USAGE for whatever does not fit together, TOO_SMALL for what does not fit its target."""
    if len(modes) != 1:
        raise error(Code.USAGE, "give one of " + ", ".join(f"--{name}" for name in modes or MODES))
    given = _otapack.checked(package, mode, _otapack.plain(raw))
    _check_package(package)
    _otapack.fits(given)
    return _otapack.release(mode, given)


def _likely(modes: list[str], given: Given) -> str:
    """What may have been meant, when no mode or several are given."""
    if modes:
        return modes[0]
    if given.old is not None and os.path.isdir(given.old):
        return "dir-update-diff"
    if given.dst is not None and not given.dst.startswith("/dev/"):
        return "file-update" if given.old is None else "file-update-diff"
    return "block-update"


def _check_package(package: str) -> None:
    """USAGE for a file that no record can be appended to, with what to do first."""
    try:
        with open(package, "rb") as file:
            begin = file.read(len(MAGIC))
    except FileNotFoundError:
        raise error(
            Code.USAGE, "there is no such package", target=package, hint=f"otapack -c {shlex.quote(package)}"
        ) from None
    except OSError as failure:
        raise error(Code.INPUT, failure.strerror or "cannot be read", target=package) from failure
    if begin.startswith((OUTER_GZIP, OUTER_ZSTD)):
        unpack = f"gunzip {package}" if begin.startswith(OUTER_GZIP) else f"unzstd {package}"
        raise error(Code.USAGE, "the package is compressed from outside", target=package, hint=f"{unpack}, then append")


def _done(package: str) -> None:
    if os.environ.get("OTASTREAM_DEBUG"):
        for row in _layout.rows(package):
            click.echo(f"otapack: {','.join(row)}", err=True)
        click.echo(f"otapack: {package}: {_output.size(os.path.getsize(package))}", err=True)


# ---- layout -------------------------------------------------------------------------------------------------------


def _describe(path: str, call: _Call) -> None:
    if call.layout_of is None or call.has_record() or call.begin is not None or call.end is not None:
        package = call.layout_of or "PACKAGE"
        raise error(
            Code.USAGE, "--out-layout takes -r and nothing else", hint=f"otapack --out-layout {path} -r {package}"
        )
    _layout.write(call.layout_of, path)


def main(args: Sequence[str] | None = None) -> NoReturn:
    """Run the program and exit with its code."""
    sys.exit(_main.run(args, command=command, name="otapack"))


if __name__ == "__main__":
    main()
