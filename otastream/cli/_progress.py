"""Progress on stderr, in one of the modes of ``--progress``; the same for every command.

    with reporter(mode) as progress:
        progress.update(phase="pack", done=done, total=total, target=name)     # as often as you like
        for item in passing(items, progress, phase="pack", total=total, measure=len):
            ...

bar: a bar for people; json: one object a line; numeric: one whole percentage a line; none; auto: bar on a terminal,
else none. stdout stays free for packages and results. docs/progress.md says what is in the lines.
"""

from __future__ import annotations

import contextlib
import json
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Final, Protocol, TypeVar

import click

from otastream.errors import Code

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


@dataclass(frozen=True, slots=True)
class Place:
    """Where an update is: the record at work, counted from 1, of how many, and how far it is, in per cent."""

    step: int | None = None
    steps: int | None = None
    part: int | None = None


NOWHERE: Final = Place()


class Progress(Protocol):
    """Takes counters as often as they change and shows them as often as is useful."""

    def update(self, *, phase: str, done: int, total: int | None, target: str = "", place: Place = NOWHERE) -> None:
        """phase: one word; done, total: bytes or whatever counts, total None or 0: not known; target: at work."""

    def end(self, code: Code | None) -> None:
        """How an update ended; None: well. Only commands that apply say it."""


@contextlib.contextmanager
def reporter(mode: str) -> Iterator[Progress]:
    """The progress of one run; what it draws is finished when the block ends."""
    if mode == "auto":
        mode = "bar" if sys.stderr.isatty() else "none"
    if mode == "bar":
        with _bar() as progress:
            yield progress
    elif mode == "json":
        yield Lines(json_line, _print)
    elif mode == "numeric":
        yield Lines(_numeric_line, _print)
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
    def update(self, **_counters: Any) -> None:
        pass

    def end(self, code: Code | None) -> None:
        pass


class Both:
    """Tells two."""

    def __init__(self, one: Progress, other: Progress) -> None:
        self._all = (one, other)

    def update(self, **counters: Any) -> None:
        for progress in self._all:
            progress.update(**counters)

    def end(self, code: Code | None) -> None:
        for progress in self._all:
            progress.end(code)


@dataclass(frozen=True, slots=True)
class _Counters:
    phase: str = ""
    done: int = 0
    total: int | None = None
    target: str = ""
    place: Place = NOWHERE

    @property
    def percent(self) -> int | None:
        return min(100, self.done * 100 // self.total) if self.total else None


class Lines:
    """Sends a line when phase or percentage change, else at most every 0.1 s if anything changed.

    patient: every 0.1 s is enough unless the phase changes. The last line says how it ended.
    """

    def __init__(self, line: Callable[[_Counters, Code | str | None], str], send: Callable[[str], None], *,
                 patient: bool = False) -> None:  # fmt: skip
        self._line, self._send, self._patient = line, send, patient
        self._last = _Counters()
        self._key: tuple[str, int | None] | None = None
        self._time = 0.0
        self._text = ""

    def update(self, *, phase: str, done: int, total: int | None, target: str = "", place: Place = NOWHERE) -> None:
        self._last = _Counters(phase, done, total, target, place)
        key, now = (phase, None if self._patient else self._last.percent), time.monotonic()
        if key == self._key and now - self._time < _SECONDS:
            return
        self._key, self._time = key, now
        text = self._line(self._last, None)
        if text != self._text:
            self._text = text
            self._send(text)

    def end(self, code: Code | None) -> None:
        self._send(self._line(self._last, code or "success"))


def _print(line: str) -> None:
    with contextlib.suppress(BrokenPipeError):  # whoever watched has gone; the work goes on
        print(line, file=sys.stderr, flush=True)


def json_line(counters: _Counters, end: Code | str | None) -> str:
    """One line of ``--progress json``; end: a code, or "success", if it is the last one."""
    place = counters.place
    shown: dict[str, Any] = {
        "phase": counters.phase, "percent": counters.percent, "done": counters.done, "total": counters.total or None,
        "step": place.step, "steps": place.steps, "part": place.part, "target": counters.target,
    }  # fmt: skip
    if isinstance(end, Code):
        shown |= {"phase": "failure", "code": end.value, "error": end.text}
    elif end is not None:
        shown |= {"phase": "success", "code": 0}
    return json.dumps(shown)


def _numeric_line(counters: _Counters, end: Code | str | None) -> str:
    if end is not None:
        return "failure" if isinstance(end, Code) else "success"
    return counters.phase if counters.percent is None else str(counters.percent)


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
            def update(
                self, *, phase: str, done: int, total: int | None, target: str = "",
                place: Place = NOWHERE,  # noqa: ARG002 (the bar has no room for it)
            ) -> None:  # fmt: skip
                drawn.update(task, description=phase, completed=done, total=total or None, target=escape(target))

            def end(self, code: Code | None) -> None:
                pass

        yield Bar()
