"""``otastream mark-good``: the slot that runs has proved to work."""

from __future__ import annotations

import click

from otastream.cli import _slots
from otastream.native import SlotAction


@click.command("mark-good")
@_slots.options
def command(root: str, as_json: bool) -> None:
    """Tell the boot loader that the slot that runs works: its trial ends.

    To be called when the system is up, e.g. by the last start script. Refused if another slot is selected than the one
    that runs. What the slots are says /etc/otastream/slots on the board.

    \b
    Examples:
      otastream mark-good
      otastream mark-good --root /mnt/board --json
    """
    _slots.act(SlotAction.GOOD, root=root, as_json=as_json)
