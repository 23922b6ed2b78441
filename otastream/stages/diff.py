"""diff: decide how each payload is coded, several files at a time, in order.

A bounded look-ahead: at most ``AHEAD * jobs`` records wait to be sent, ``jobs`` of them at work, whatever there is
behind them. Of those that wait the largest is begun first, so that no large one is left over when the others are done.
What is made waits as a payload, which is small or in a file. The engines release the GIL, so threads are enough.
What a file's delta is depends on that file alone, so the number of jobs does not change a byte.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from queue import PriorityQueue
from typing import Final

from otastream.cache import DeltaCache
from otastream.deltas.maker import Maker, Views
from otastream.engines import ENGINES
from otastream.errors import Code, error
from otastream.model import EngineId
from otastream.tree import Ready, Step

AHEAD: Final = 16


def diff(
    steps: Iterable[Step],
    *,
    engines: tuple[EngineId, ...],
    memory: int = 0,
    views: Views | None = None,
    jobs: int = 1,
    cache: DeltaCache | None = None,
    scratch: int = 0,
) -> Generator[Ready, None, None]:
    """Make every step ready to be sent, in order.

    engines: the delta engines to try; empty: everything is sent full. memory: bytes that decoding may take for its
    engine, where there is no view. views None: deltas run between the files as they are. jobs: threads, at least 1. The
    smallest delta is sent, if it compresses to less than the file itself. cache: where deltas (but those in place) are
    looked up and kept. scratch: bytes that an update in place may keep.
    CHANGED: a file is not what it was when the plan was made; INPUT: it cannot be read. Both may also come when a
    payload is sent.
    """
    if jobs < 1:
        raise error(Code.USAGE, "jobs must be at least 1")
    tried = tuple(ENGINES[engine] for engine in engines if engine is not EngineId.FULL)
    maker = Maker(tried, memory, views, cache, scratch)
    if jobs == 1:
        return (maker.make(step) for step in steps)
    return _ahead(steps, maker, jobs)


def _ahead(steps: Iterable[Step], maker: Maker, jobs: int) -> Generator[Ready, None, None]:
    pending: deque[Future[Ready]] = deque()
    waiting: PriorityQueue[_Task] = PriorityQueue()
    pool = ThreadPoolExecutor(jobs, thread_name_prefix="diff")

    def work() -> None:
        task = waiting.get_nowait()  # there are as many tasks as calls
        try:
            task.future.set_result(maker.make(task.step))
        except BaseException as exc:  # noqa: BLE001 - who waits for the result gets it
            task.future.set_exception(exc)

    try:
        for number, step in enumerate(steps):
            pending.append(Future())
            waiting.put(_Task(-_weight(step), number, step, pending[-1]))
            pool.submit(work)
            if len(pending) >= AHEAD * jobs:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
        for future in pending:
            if (
                future.done()  # of the others none was begun
                and future.exception() is None
                and (payload := future.result().payload) is not None
            ):
                payload.close()


@dataclass(frozen=True, slots=True, order=True)
class _Task:
    """The least one is the next: the heaviest, the first of equally heavy ones."""

    lightness: int
    number: int
    step: Step = field(compare=False)
    future: Future[Ready] = field(compare=False)


def _weight(step: Step) -> int:
    """Bytes that have to be read: about how long it takes."""
    return 0 if step.content is None else step.content.size + step.content.old_size
