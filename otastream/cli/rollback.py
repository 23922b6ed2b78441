"""``otastream rollback``: start the other slot again."""

from __future__ import annotations

import click

from otastream.cli import _slots
from otastream.native import SlotAction


@click.command("rollback")
@_slots.options
def command(root: str, as_json: bool) -> None:
    """Have the boot loader start the slot that is not selected now; it is not put on trial.

    Refused if that slot is half written, or has never proved to work on boards that keep that. Reboot afterwards.

    \b
    Examples:
      otastream rollback && reboot
      otastream rollback --root /mnt/board
    """
    _slots.act(SlotAction.ROLLBACK, root=root, as_json=as_json)
