"""What ``mark-good``, ``rollback`` and ``status`` share."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable
from dataclasses import asdict
from typing import Any, Final, TypeVar

import click

from otastream.native import SlotAction, SlotStatus, slots
from otastream.stages.execute import block_buffer

F = TypeVar("F", bound=Callable[..., Any])

_OPTIONS: Final = (
    click.option("--root", default="/", show_default=True, type=click.Path(),
                 help="Folder that stands for / of the board."),
    click.option("--json", "as_json", is_flag=True, help="The state as one JSON object."),
)  # fmt: skip


def options(function: F) -> F:
    """Put the shared options on a command."""
    for option in reversed(_OPTIONS):
        function = option(function)
    return function


def act(action: SlotAction, *, root: str, as_json: bool) -> None:
    """Do it, and print the state that follows."""
    status = state(action, root=root)
    click.echo(json.dumps(asdict(status)) if as_json else text(status))


def state(action: SlotAction, *, root: str) -> SlotStatus:
    """Do it; the state that follows."""
    return slots(root, tempfile.gettempdir(), action, block_buffer=block_buffer())


def text(status: SlotStatus) -> str:
    """Lines of ``key=value``, as the board program prints them; empty where something is not known."""
    lines = {
        "running": status.running or "",
        "selected": status.selected or "",
        "trial": "" if status.trial is None else int(status.trial),
        "bootcount": status.boot_count,
        "incomplete": status.incomplete or "",
        "good": "" if status.good is None else ",".join(status.good),
    }
    return "\n".join(f"{key}={value}" for key, value in lines.items())
