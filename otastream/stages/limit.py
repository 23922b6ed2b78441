"""limit: take the delta out of steps that shall not have one, before anything is promised about it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

from otastream.model import Block, ExpectTree, File, Ubi, in_full
from otastream.tree import DELTA_MAX, Step


def limit(steps: Iterable[Step], *, deltas: bool, delta_max: int = DELTA_MAX) -> Iterator[Step]:
    """Give every step on; without deltas, or where old or new is larger than delta_max bytes, as one that sends all.

    Such a step neither has a source nor expects one.
    """
    return (step if deltas and _largest(step) <= delta_max else _plain(step) for step in steps)


def _largest(step: Step) -> int:
    return 0 if step.content is None else max(step.content.size, step.content.old_size)


def _plain(step: Step) -> Step:
    action, content = step.action, step.content
    if content is None or not isinstance(action, File | Block | Ubi):
        return step
    expects = tuple(
        replace(expect, source=None) if isinstance(expect, ExpectTree) else expect for expect in step.expects
    )
    content = replace(content, old=None, old_size=0, old_digest=0)
    return replace(step, expects=expects, action=in_full(action), content=content)
