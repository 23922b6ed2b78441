"""``otaunpack``: the board program's command line, for machines that have Python."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Sequence
from typing import Any, NoReturn

import click

from otastream import __version__
from otastream.apply import ApplyOptions, check_package, trusted_keys
from otastream.cli import _choice, _progress, _slots
from otastream.cli import main as _main
from otastream.cli.apply import execute
from otastream.errors import Code, error
from otastream.keys import load_trusted
from otastream.native import SlotAction
from otastream.stages.read import available_memory

_BOARD_ONLY = {"status": "--status", "watchdog": "--watchdog", "self_test": "--self-test"}
_SLOTS = {"slot_status": SlotAction.STATUS, "mark_good": SlotAction.GOOD, "rollback": SlotAction.ROLLBACK}


@click.command(
    "otaunpack",
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Exit codes say who must act: otastream --help lists them.",
)
@click.version_option(__version__, prog_name="otaunpack")
@click.option(
    "-x", "package", metavar="FILE", help="The package, also gzip or zstd compressed from outside; - is stdin."
)
@click.option("-r", "raw", metavar="FILE", help="The same, but refuse outer compression.")
@click.option("-t", "--tmp", metavar="DIR", help="Writable folder for scripts and built images. [default: TMPDIR]")
@click.option(
    "-k",
    "--keys",
    metavar="PATH",
    help="Trusted keys, a PEM file or a folder of them; with any, packages without a signature by one of "
    "them are refused. [default: etc/otastream/keys beneath the root]",
)
@click.option("-n", "--dry-run", is_flag=True, help="Check everything that can be checked, write nothing.")
@click.option("--verify", is_flag=True, help="Read the whole package and check it; look at no target.")
@click.option("--ignore-space", is_flag=True, help="Do not compare free space before writing.")
@click.option(
    "--allow-downgrade", is_flag=True, help="Take a package older than what the board has run; only without keys."
)
@click.option("--volatile-scratch", is_flag=True, help="Update in place even if -t is in memory.")
@click.option("--root", default="/", show_default=True, metavar="DIR", help="Folder that stands for / of the board.")
@_choice.options
@click.option("--slot-status", is_flag=True, help="Show the state of the slots.")
@click.option("--mark-good", is_flag=True, help="The slot that runs works: end its trial.")
@click.option("--rollback", is_flag=True, help="Start the other slot again.")
@_progress.option
@click.option(
    "-p",
    "--picture",
    metavar="FILE",
    help="Show the update on the framebuffer, over this JPEG or PNG (needs otadisplay).",
)
@click.option(
    "-s",
    "--rotate",
    "rotation",
    type=click.Choice(["0", "1", "2", "3"]),
    help="Turn its bars and text clockwise: 0 not, 1 by 90, 2 by 180, 3 by 270 degrees.",
)
@click.option("--status", hidden=True)
@click.option("--watchdog", hidden=True)
@click.option("--self-test", is_flag=True, hidden=True)
def command(
    *, package: str | None, raw: str | None, tmp: str | None, keys: str | None, root: str, progress_mode: str,
    dry_run: bool, verify: bool, ignore_space: bool, allow_downgrade: bool, volatile_scratch: bool, picture: str | None,
    rotation: str | None, slot: str | None, select: str | None, patterns: tuple[str, ...], hook: str | None,
    **others: Any,
) -> None:  # fmt: skip
    """Apply a package. After a cut or a failure run the same package again.

    SIGINT (Ctrl-C) and SIGHUP stop it only before the first write; SIGTERM also later, where nothing is half written.

    \b
    Examples:
      otaunpack -x SStarOta.bin.gz
      otaunpack -r SStarOta.bin -t /tmp
      otaunpack -x SStarOta.bin.gz -p upgrade.jpg -s 1
      otaunpack -x SStarOta.bin.gz --slot auto
      otaunpack --mark-good
    """
    _refuse(others)
    for option, action in _SLOTS.items():
        if others[option]:
            _slots.act(action, root=root, as_json=False)
            return
    if package is not None and raw is not None:
        raise error(Code.USAGE, "-x and -r both name a package", hint=f"otaunpack -x {package}")
    if rotation is not None and picture is None:
        raise error(
            Code.USAGE,
            "-s turns the display, which -p asks for",
            hint=f"otaunpack -x FILE -p upgrade.jpg -s {rotation}",
        )
    name = package if package is not None else raw
    if name is None:
        raise error(Code.USAGE, "no package", hint="otaunpack -x SStarOta.bin.gz")
    options = ApplyOptions(
        root=root,
        tmp=tmp or tempfile.gettempdir(),
        dry_run=dry_run,
        ignore_space=ignore_space,
        volatile_tmp=volatile_scratch,
        allow_downgrade=allow_downgrade,
        keys=None if keys is None else load_trusted(keys, required=True),
        outer=raw is None,
    )
    options = _choice.chosen(options, slot=slot, select=select, patterns=patterns, hook=hook)
    if verify:
        check_package(name, keys=trusted_keys(options), memory=available_memory(), outer=options.outer)
        return
    execute(name, options, progress_mode=progress_mode, picture=picture, rotation=rotation)


def _refuse(others: dict[str, Any]) -> None:
    """Options that only the board program has."""
    for name, option in _BOARD_ONLY.items():
        if others[name]:
            raise error(Code.USAGE, f"{option} is an option of the board program only")


def main(args: Sequence[str] | None = None) -> NoReturn:
    """Run the program and exit with its code."""
    sys.exit(_main.run(args, command=command, name="otaunpack"))


if __name__ == "__main__":
    main()
