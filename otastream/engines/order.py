"""Deltas of a node onto itself: which unit is replaced when, and what is kept meanwhile (docs/SPEC.md section 6.4).

What a unit reads of one that was replaced before it must have been kept. The order of the units decides how much that
is: like the order of moves that share no second copy, the best one is hard to find, and a good one is easy (each time
the unit that adds least to what is kept). What a unit keeps is one file, kept until the last that reads of it is made.
So where the scratch does not hold everything, or there are more ranges than a board keeps, it is the last reader of a
file that goes without: bytes are sent instead. Which file: that of which the fewest bytes are read for the room and the
time that it takes, as in a cache that knows the future (L. A. Belady, 1966).
"""

from __future__ import annotations

import heapq
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import accumulate
from typing import Final

from otastream.model import KEPT_MAX

JOURNAL: Final = 72
"""Bytes in front of the new bytes in a journal."""

_GRAIN: Final = 4096
"""What a file of the scratch takes is a multiple of this."""

_JOINS: Final = (64, 256, 1024, 4096)
"""Ranges that are nearer to each other than this are kept as one: a range costs bytes in the package, and a board keeps
KEPT_MAX of them. The first is taken if it loses nothing, else the one that loses least."""

Range = tuple[int, int]
"""Old bytes from the first offset up to the second."""

Reads = dict[int, dict[int, list[Range]]]
"""Of the old bytes of a unit, what each other unit of new is made from."""

_Use = tuple[int, int, int]
"""Old bytes from the first offset up to the second, and the number of the step that reads them."""


@dataclass(frozen=True, slots=True)
class Piece:
    """Bytes of a unit that are made from old: at this offset in the unit, from this offset of old."""

    at: int
    old: int
    size: int


@dataclass(frozen=True, slots=True)
class Step:
    """One unit that is replaced. last_use: number of the last step that reads what is kept; -1 when nothing is."""

    unit: int
    kept: list[Range]
    last_use: int


@dataclass(frozen=True, slots=True)
class Plan:
    """The units in order; the pieces of each that are left. peak: the most bytes that the scratch holds. dropped: bytes
    of old that are sent, since the scratch would not hold them. moved: bytes that are kept, over all steps.
    """

    unit: int
    steps: list[Step]
    pieces: dict[int, list[Piece]]
    peak: int
    dropped: int
    moved: int


def least_scratch(unit: int) -> int:
    """The smallest scratch that a plan can do with: the journal with the new bytes of one unit, and the one before."""
    return journals(unit)


def journals(unit: int, handed: int = 0, prior: int = 0) -> int:
    """What both take in the scratch if the unit's segment hands over bytes, and the one before has handed over some."""
    return (_grains(JOURNAL + unit + handed) + _grains(JOURNAL + prior)) * _GRAIN


def plan(
    units: dict[int, list[Piece]],
    *,
    unit: int,
    scratch: int,
    whole: bool = False,
    order: list[int] | None = None,
    beside: list[int] | None = None,
) -> Plan:
    """The order that loses least, and what is kept in it. units: those that change, each with its pieces; of so many
    bytes each; scratch: bytes, at least ``least_scratch``. whole: nothing is gained by losing only the end of a piece.
    order: None, or the one to take; beside: then the bytes of the scratch that each of its steps takes for
    ``journals``, at most ``scratch``.
    """
    beside = beside or [least_scratch(unit)] * len(units)
    reads = _reads(units, unit)
    orders = [order] if order is not None else [list(_greedy(reads)), sorted(units), sorted(units, reverse=True)]
    room = [scratch - taken for taken in beside]
    best: Plan | None = None
    for join in _JOINS:
        for tried in orders:
            made = _Keeper(tried, reads, room, join, whole=whole).plan(units, unit, beside)
            if best is None or (made.dropped, made.moved) < (best.dropped, best.moved):
                best = made
        if best is not None and best.dropped == 0:
            break
    assert best is not None  # noqa: S101 - there are orders and joins
    return best


def _grains(size: int) -> int:
    return -(-size // _GRAIN)


def _reads(units: dict[int, list[Piece]], unit: int) -> Reads:
    found: Reads = {n: {} for n in units}
    for n, pieces in units.items():
        for piece in pieces:
            at, end = piece.old, piece.old + piece.size
            while at < end:
                m = at // unit
                stop = min(end, (m + 1) * unit)
                if m != n and m in found:
                    found[m].setdefault(n, []).append((at, stop))
                at = stop
    return found


def _greedy(reads: Reads) -> Iterator[int]:
    """Each time the unit of which the fewest bytes must be kept, less those that are kept for it and no longer then."""
    sizes = {m: {n: _total(ranges) for n, ranges in readers.items()} for m, readers in reads.items()}
    cost = {m: sum(of.values()) for m, of in sizes.items()}
    sources: dict[int, list[int]] = {n: [] for n in cost}  # whose old bytes n reads
    for m, of in sizes.items():
        for n in of:
            sources[n].append(m)
    heap = [(value, n) for n, value in cost.items()]
    heapq.heapify(heap)
    left = set(cost)
    while heap:
        value, n = heapq.heappop(heap)
        if n not in left or value != cost[n]:
            continue
        left.discard(n)
        yield n
        changes = [(m, sizes[m][n]) for m in sources[n]] + list(sizes[n].items())
        for m, size in changes:
            if m in left:
                cost[m] -= size
                heapq.heappush(heap, (cost[m], m))


def _total(ranges: Iterable[Range]) -> int:
    return sum(end - start for start, end in ranges)


# ---- what is kept --------------------------------------------------------------------------------------------------


class _File:
    """What one unit keeps: groups of uses that lie near to each other. A range reaches from the beginning of a group to
    its end, whatever is lost between, so losing a use never makes a second range of one.
    """

    __slots__ = ("grains", "groups", "last", "step")

    def __init__(self, step: int, uses: list[_Use], join: int) -> None:
        self.step = step
        self.groups: list[list[_Use]] = []
        end = -join
        for use in uses:
            if use[0] - end >= join:
                self.groups.append([])
            self.groups[-1].append(use)
            end = max(end, use[1])
        self._measure()

    def ranges(self) -> list[Range]:
        return [(group[0][0], max(end for _, end, _ in group)) for group in self.groups]

    def price(self, now: int, *, many: bool) -> float:
        """What it takes, for as long as it does from this step on, for each byte that is read. many: in ranges."""
        read = sum(end - start for group in self.groups for start, end, reader in group if reader >= now)
        return (len(self.groups) if many else self.grains) * (self.last - now + 1) / read

    def lose(self) -> list[_Use]:
        """Its last reader goes without."""
        lost = [use for group in self.groups for use in group if use[2] == self.last]
        self.groups = [[use for use in group if use[2] != self.last] for group in self.groups]
        self.groups = [group for group in self.groups if group]
        self._measure()
        return lost

    def shorten(self) -> list[_Use]:
        """The same for the end of what one reader alone reads, if that frees a grain."""
        size = _total(self.ranges()) - (self.grains - 1) * _GRAIN
        for group in self.groups:
            start, end, reader = group[0]
            if len(group) == 1 and reader == self.last and end - start > size:
                group[0] = start, end - size, reader
                self._measure()
                return [(end - size, end, reader)]
        return self.lose()

    def _measure(self) -> None:
        self.grains = _grains(_total(self.ranges()))
        self.last = max((reader for group in self.groups for _, _, reader in group), default=-1)


class _Keeper:
    """Keeps what is needed in one order, and loses what the scratch does not hold."""

    def __init__(self, order: list[int], reads: Reads, room: list[int], join: int, *, whole: bool) -> None:
        self._order, self._whole = order, whole
        self._room = room  # bytes for what is kept, at each step
        self._lost: dict[int, list[Range]] = {}  # by the unit that goes without
        self._files: list[_File] = []
        where = {n: number for number, n in enumerate(order)}
        live: list[_File] = []
        for number, n in enumerate(order):
            readers = ((where[m], ranges) for m, ranges in reads[n].items() if where[m] > number)
            file = _File(number, sorted((*r, reader) for reader, ranges in readers for r in ranges), join)
            self._files.append(file)
            live = [other for other in live if other.last >= number]
            if file.groups:
                live.append(file)
            self._fit(live, number)

    def _fit(self, live: list[_File], now: int) -> None:
        while True:
            many = sum(len(file.groups) for file in live) > KEPT_MAX
            if not many and sum(file.grains for file in live) * _GRAIN <= self._room[now]:
                return
            file = max(live, key=lambda file: file.price(now, many=many))
            for start, end, reader in file.lose() if many or self._whole else file.shorten():
                self._lost.setdefault(self._order[reader], []).append((start, end))
            if file.last < now:
                live.remove(file)

    def plan(self, units: dict[int, list[Piece]], unit: int, beside: list[int]) -> Plan:
        """What has come of it, with the pieces that are left; beside: what else is in the scratch."""
        steps = [Step(n, file.ranges(), file.last) for n, file in zip(self._order, self._files, strict=True)]
        change = [0] * (len(steps) + 1)
        for file in self._files:
            if file.groups:
                change[file.step] += file.grains
                change[file.last + 1] -= file.grains
        pieces = units | {n: list(_without(units[n], sorted(lost))) for n, lost in self._lost.items()}
        return Plan(
            unit,
            steps,
            pieces,
            peak=max((b + kept * _GRAIN for b, kept in zip(beside, accumulate(change), strict=False)), default=0),
            dropped=sum(_total(lost) for lost in self._lost.values()),
            moved=sum(_total(step.kept) for step in steps),
        )


def _without(pieces: list[Piece], lost: list[Range]) -> Iterator[Piece]:
    """The same pieces without what they read of these ranges of old, which are sorted and may overlap."""
    joined = _united(lost)
    ends = [end for _, end in joined]
    for piece in pieces:
        at, stop = piece.old, piece.old + piece.size
        for start, end in joined[bisect_right(ends, at) :]:
            if start >= stop:
                break
            if at < start:
                yield Piece(piece.at + at - piece.old, at, start - at)
            at = end
        if at < stop:
            yield Piece(piece.at + at - piece.old, at, stop - at)


def _united(ranges: Iterable[Range]) -> list[Range]:
    """Sorted ranges, those that touch or overlap as one."""
    out: list[Range] = []
    for start, end in ranges:
        if out and start <= out[-1][1]:
            out[-1] = (out[-1][0], max(end, out[-1][1]))
        else:
            out.append((start, end))
    return out
