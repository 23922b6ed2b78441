"""``otastream status``: which slot runs, which is next, what the last update came to."""

from __future__ import annotations

import json
from dataclasses import asdict

import click

from otastream.cli import _output, _slots
from otastream.errors import Code, error
from otastream.native import SlotAction


@click.command("status")
@_slots.options
@click.option("--status", "file", type=click.Path(), help="Status file of the board program's last update, shown too.")
def command(root: str, as_json: bool, file: str | None) -> None:
    """Show the state of the slots: running, selected for the next start, trial, boot count, half written, good.

    \b
    Examples:
      otastream status
      otastream status --status /etc/otastream/last --json
    """
    found = _slots.state(SlotAction.STATUS, root=root)
    last = {} if file is None else _read(file)
    if as_json:
        click.echo(json.dumps(asdict(found) | ({} if file is None else {"update": last})))
        return
    click.echo(_slots.text(found))
    for key, value in last.items():
        click.echo(f"update.{key}={_output.printable(value)}")


def _read(path: str) -> dict[str, str]:
    """KEY=VALUE lines; INPUT when there are none to be had."""
    try:
        with open(path, encoding="utf-8", errors="replace") as lines:
            pairs = (line.rstrip("\n").partition("=") for line in lines)
            return {key: value for key, mark, value in pairs if mark}
    except OSError as failure:
        raise error(Code.INPUT, failure.strerror or "cannot be read", target=path) from failure
