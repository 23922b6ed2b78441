"""Stage: events -> changes on the board. The sink of the apply pipeline; the work is done by the C executor."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator

from otastream.container import encode
from otastream.errors import OtaError
from otastream.model import Event
from otastream.native import Executor, Report


def block_buffer(mtd: str = "/proc/mtd") -> int:
    """Bytes for the executor's block buffer: the largest erase block of this machine's raw flash, at least 64 KiB."""
    largest = 1 << 16
    with contextlib.suppress(OSError, ValueError), open(mtd, encoding="ascii", errors="replace") as lines:
        for line in lines:
            fields = line.split()  # mtd0: SIZE ERASESIZE "name", both in hex
            if len(fields) >= 3 and fields[0].startswith("mtd"):
                largest = max(largest, min(int(fields[2], 16), 1 << 26))
    return largest


def execute(events: Iterable[Event], *, executor: Executor) -> Iterator[Report]:
    """Feed the executor, which was entered already; give its counters after each piece, the final ones last.

    The executor is always told how it ended, so that the end script runs once the update has begun, whatever failed
    and wherever; what failed first is what is raised.
    Errors: all that executing can meet, and what the events raise.
    """
    return _execute(events, executor)


def _execute(events: Iterable[Event], executor: Executor) -> Iterator[Report]:
    try:
        for piece in encode(events):
            executor.feed(piece)
            yield executor.report
    except BaseException as failure:
        with contextlib.suppress(OtaError):
            executor.finish(failure)
        raise
    yield executor.finish()
