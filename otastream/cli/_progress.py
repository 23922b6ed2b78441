"""Progress on stderr, in one of the modes of ``--progress``; the same for every command.

    with reporter(mode) as progress:
        progress.update(phase="pack", done=done, total=total, target=name)     # as often as you like
        for item in passing(items, progress, phase="pack", total=total, measure=len):
            ...

bar: a bar for people; json: one object a line; numeric: one whole percentage a line; none; auto: bar on a terminal,
else none. stdout stays free for packages and results.
"""

from __future__ import annotations

import contextlib
import json
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final, Protocol, TypeVar

import click

MODES: Final = ("auto", "bar", "json", "numeric", "none")
_SECONDS: Final = 0.1  # between two lines of the same phase and percentage
T = TypeVar("T")

option: Callable[[Any], Any] = click.option(
    "--progress",
    "progress_mode",
    type=click.Choice(MODES),
    default="auto",
    show_default=True,
    help="How to show progress on stderr; auto: a bar on a terminal.",
)


class Progress(Protocol):
    """Takes counters as often as they change and shows them as often as is useful."""

    def update(self, *, phase: str, done: int, total: int | None, target: str = "") -> None:
        """phase: one word; done, total: bytes or whatever counts, total None or 0: not known; target: at work."""


@contextlib.contextmanager
def reporter(mode: str) -> Iterator[Progress]:
    """The progress of one run; what it draws is finished when the block ends."""
    if mode == "auto":
        mode = "bar" if sys.stderr.isatty() else "none"
    if mode == "bar":
        with _bar() as progress:
            yield progress
    elif mode == "json":
        yield _Lines(_json_line)
    elif mode == "numeric":
        yield _Lines(_numeric_line)
    else:
        yield _Nothing()


def passing(
    items: Iterable[T], progress: Progress, *, phase: str, total: int | None, measure: Callable[[T], int]
) -> Iterator[T]:
    """A stage that passes items through and counts them. measure: how much one item is of the total."""
    done = 0
    for item in items:
        yield item
        done += measure(item)
        progress.update(phase=phase, done=done, total=total)


class _Nothing:
    def update(self, *, phase: str, done: int, total: int | None, target: str = "") -> None:
        pass


class _Lines:
    """Prints a line when phase or percentage change, else at most every 0.1 s if anything changed."""

    def __init__(self, line: Callable[[str, int, int | None, str], str]) -> None:
        self._line = line
        self._key: tuple[str, int | None] | None = None
        self._time = 0.0
        self._text = ""

    def update(self, *, phase: str, done: int, total: int | None, target: str = "") -> None:
        key, now = (phase, _percent(done, total)), time.monotonic()
        if key == self._key and now - self._time < _SECONDS:
            return
        self._key, self._time = key, now
        text = self._line(phase, done, total, target)
        if text != self._text:
            self._text = text
            with contextlib.suppress(BrokenPipeError):  # whoever watched has gone; the work goes on
                print(text, file=sys.stderr, flush=True)


def _percent(done: int, total: int | None) -> int | None:
    return min(100, done * 100 // total) if total else None


def _json_line(phase: str, done: int, total: int | None, target: str) -> str:
    shown = {"phase": phase, "percent": _percent(done, total), "done": done, "total": total or None, "target": target}
    return json.dumps(shown)


def _numeric_line(phase: str, done: int, total: int | None, _target: str) -> str:
    percent = _percent(done, total)
    return phase if percent is None else str(percent)


@contextlib.contextmanager
def _bar() -> Iterator[Progress]:
    from rich import progress as rich_progress  # noqa: PLC0415 (only when a bar is drawn: importing it takes long)
    from rich.console import Console  # noqa: PLC0415
    from rich.markup import escape  # noqa: PLC0415

    columns = (
        rich_progress.TextColumn("{task.description:10}"),
        rich_progress.BarColumn(),
        rich_progress.DownloadColumn(binary_units=True),
        rich_progress.TimeRemainingColumn(),
        rich_progress.TextColumn("{task.fields[target]}"),
    )
    with rich_progress.Progress(*columns, console=Console(stderr=True), transient=True) as drawn:
        task = drawn.add_task("", total=None, target="")

        class Bar:
            def update(self, *, phase: str, done: int, total: int | None, target: str = "") -> None:
                drawn.update(task, description=phase, completed=done, total=total or None, target=escape(target))

        yield Bar()
