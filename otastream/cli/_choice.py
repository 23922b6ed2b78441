"""Options of ``apply`` and ``otaunpack`` that choose targets: slots, masks, patterns, a program that is asked."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Final, TypeVar

import click

from otastream.apply import ApplyOptions
from otastream.errors import Code, error
from otastream.model import TARGETS_MAX
from otastream.native import Slot

F = TypeVar("F", bound=Callable[..., Any])

_OPTIONS: Final = (
    click.option("--slot", type=click.Choice([slot.name.lower() for slot in Slot if slot]),
                 help="Write this slot and start it next; auto: the one that does not run. The board's "
                 "/etc/otastream/slots says what its slots are."),
    click.option("--select", metavar="MASK", help="Which targets of an image that has several are written, in place "
                 "of what the package says: bit 0 is the first."),
    click.option("--target", "patterns", multiple=True, metavar="PATTERN",
                 help="Only targets whose path or label matches (* and ?); with ! in front: not those. Repeatable."),
    click.option("--hook", type=click.Path(exists=True, dir_okay=False), metavar="PROG",
                 help="Asked before anything is written: PROG PATH IMAGE TARGET LABEL exits with 0 to write a target, "
                 "1 to leave it alone."),
)  # fmt: skip


def options(function: F) -> F:
    """Put the options on a command, which gives them to ``chosen``."""
    for option in reversed(_OPTIONS):
        function = option(function)
    return function


def chosen(
    options: ApplyOptions, *, slot: str | None, select: str | None, patterns: tuple[str, ...], hook: str | None
) -> ApplyOptions:
    """The options with what was chosen. USAGE: a mask that is none."""
    return replace(
        options,
        slot=Slot.NONE if slot is None else Slot[slot.upper()],
        select=0 if select is None else _mask(select),
        patterns=patterns,
        hook=None if hook is None else os.path.abspath(hook),
    )


def _mask(text: str) -> int:
    try:
        mask = int(text, 0)
    except ValueError:
        mask = 0
    if not 0 < mask < 1 << TARGETS_MAX:
        raise error(Code.USAGE, f"--select {text}: write a mask such as 0x1 or 2, at most {(1 << TARGETS_MAX) - 1:#x}")
    return mask
