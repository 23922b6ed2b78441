"""The program ``otastream``: a group of commands that are loaded when they are used, and one place for errors."""

from __future__ import annotations

import contextlib
import importlib
import os
import sys
import traceback
from collections.abc import Sequence
from typing import Any, Final, NoReturn

import click

from otastream import __version__
from otastream.cli import _output
from otastream.errors import Code, OtaError, error

_COMMANDS: Final = {
    "pack": "make a package from an old and a new state",
    "append": "add records to a package",
    "apply": "execute a package beneath a root",
    "inspect": "show what is in a package",
    "verify": "check that a package is whole",
    "mark-good": "tell the boot loader that the slot that runs works",
    "rollback": "start the other slot again",
    "status": "show the state of the slots",
    "sign": "add signatures to a package",
    "keygen": "make a key to sign packages with",
    "image-ota": "pack the partitions of an SDK's partition config",
    "diff": "make a patch from two files",
    "patch": "make the new file from the old one and a patch",
}


class _ReaderGoneError(Exception):
    """Whoever read our stdout has gone."""


class _Commands(click.Group):
    """Imports ``otastream.cli.<name>`` when a command is asked for: a board that applies needs no packer."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        if cmd_name not in _COMMANDS:
            return None
        command: click.Command = importlib.import_module(f"otastream.cli.{cmd_name.replace('-', '_')}").command
        command.epilog = command.epilog or "Exit codes say who must act: otastream --help lists them."
        return command

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except BrokenPipeError as failure:  # click would exit with 1
            raise _ReaderGoneError from failure

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        with formatter.section("Commands"):
            formatter.write_dl(list(_COMMANDS.items()))

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        with formatter.section("Exit codes, by who must act (0: all went well)"):
            for who, lines in _output.exit_codes():
                with formatter.section(who):
                    for line in lines.splitlines():
                        formatter.write_text(line.strip())


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="otastream")
@click.option("--debug", is_flag=True, help="Show where an error came from (also: OTASTREAM_DEBUG=1).")
def program(debug: bool) -> None:
    """Make small over-the-air updates for boards, look into them and apply them."""
    if debug:
        os.environ["OTASTREAM_DEBUG"] = "1"


def main(args: Sequence[str] | None = None) -> NoReturn:
    """Run the program and exit with its code."""
    sys.exit(run(args))


def run(args: Sequence[str] | None = None, *, command: click.Command = program, name: str = "otastream") -> int:
    """Run a program, this one unless told otherwise; the exit code. Prints errors, raises nothing but SystemExit."""
    try:
        result = command.main(args, prog_name=name, standalone_mode=False)
        sys.stdout.flush()
    except click.ClickException as failure:
        if type(failure).__name__ == "NoArgsIsHelpError":  # click 8.2 and later: its text is the whole help
            click.echo(failure.format_message(), err=True)
            return int(Code.USAGE)
        return _failed(_usage(failure, name), name)
    except OtaError as failure:
        return _failed(failure, name)
    except (KeyboardInterrupt, click.Abort):
        return _failed(error(Code.CANCELLED), name)
    except (_ReaderGoneError, BrokenPipeError):
        _forget_stdout()
        return int(Code.OUTPUT)
    except MemoryError:
        return _failed(error(Code.RAM), name)
    except Exception as failure:  # noqa: BLE001 (the last line of defence: a bug is reported, not dumped)
        detail = f"{type(failure).__name__}: {failure}"
        return _failed(error(Code.INTERNAL, detail, hint="OTASTREAM_DEBUG=1 shows where"), name)
    return result if isinstance(result, int) else 0


def _usage(failure: click.ClickException, name: str) -> OtaError:
    context = failure.ctx if isinstance(failure, click.UsageError) else None
    program = context.command_path if context is not None else name
    return error(Code.USAGE, failure.format_message().rstrip("."), hint=f"{program} --help")


def _failed(failure: OtaError, name: str) -> int:
    if os.environ.get("OTASTREAM_DEBUG"):
        traceback.print_exc()
    if failure.code is Code.OUTPUT and failure.target == "-":
        _forget_stdout()
    with contextlib.suppress(BrokenPipeError):
        _output.report(failure, name)
    return int(failure.code)


def _forget_stdout() -> None:
    """Whoever read our output has gone: keep the interpreter from complaining when it flushes at exit."""
    with contextlib.suppress(OSError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)


if __name__ == "__main__":
    main()
