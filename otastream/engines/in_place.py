"""Deltas of a node onto itself, docs/SPEC.md section 6.4: which unit is replaced when, and what is kept meanwhile.

Each unit of new is made by a run of the engine of its own. What it reads of a unit that was replaced before must have
been kept in the scratch. The order of the units decides how much that is: like the order of moves that share no
second copy, the best one is hard to find, and a good one is easy (each time the unit whose old bytes the fewest others
still need). Where the scratch would not hold what is to be kept, the bytes are sent instead.
"""

from __future__ import annotations

import heapq
import tempfile
from array import array
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import BinaryIO, Final

import xxhash

from otastream.engines.payload import Payload
from otastream.errors import Code, error
from otastream.model import KEPT_MAX, UNIT_MAX, UNIT_MIN, UNITS_MAX
from otastream.native import (
    Buffer,
    XrefOptions,
    diff_pieces,
    diff_xref_pieces,
    encode_pieces,
    encode_xref_units,
)
from otastream.varint import varint, zigzag

JOURNAL: Final = 72
"""Bytes in front of the new bytes in a journal."""

_GRAIN: Final = 4096
"""What a file of the scratch takes is a multiple of this."""

_JOIN: Final = 64
"""Ranges that are nearer to each other than this are kept as one: a range costs bytes in the package and memory."""

_TRY_LARGER: Final = 8 << 20
"""Bytes of new below which larger units are tried: above, beginning anew costs little, and trying takes long."""

Range = tuple[int, int]
"""Old bytes from the first offset up to the second."""


@dataclass(frozen=True, slots=True)
class Piece:
    """Bytes of a unit that are made from old: at this offset in the unit, from this offset of old."""

    at: int
    old: int
    size: int


@dataclass(frozen=True, slots=True)
class InPlace:
    """A payload in place, with what the records say of it. scratch: bytes that the temporary folder must hold."""

    payload: Payload
    unit: int
    plan: int
    scratch: int


def least_scratch(unit: int) -> int:
    """The smallest scratch that a plan can do with: the journal with the new bytes of one unit, and the one before."""
    return _file(JOURNAL + unit) + _file(JOURNAL)


def encode_in_place(
    old: Buffer,
    new: Buffer,
    *,
    unit: int,
    scratch: int,
    xref: XrefOptions | None = None,
    folder: str | None = None,
) -> InPlace:
    """The payload that makes new from old on the node that holds old, of engine bsdiff, or xref if there are options.

    unit: bytes that are replaced at once, a power of two and a multiple of the node's erase block; with engine xref at
    least: its model begins anew with each unit, so larger ones are taken where they make a small payload smaller.
    scratch: bytes that the temporary folder may have to hold, at least ``least_scratch``. Errors: USAGE, and those of
    making a delta.
    """
    old_view, new_view = memoryview(old).cast("B"), memoryview(new).cast("B")
    if unit & (unit - 1) or not UNIT_MIN <= unit <= UNIT_MAX:
        raise error(Code.USAGE, f"a unit of {unit} bytes: use a power of two from {UNIT_MIN}")
    if max(len(old_view), len(new_view)) // unit >= UNITS_MAX:
        raise error(Code.USAGE, f"more than {UNITS_MAX} units of {unit} bytes")
    if scratch < least_scratch(unit):
        raise error(Code.USAGE, f"units of {unit} bytes need a scratch of at least {least_scratch(unit)} bytes")
    numbers = _matched(old_view, new_view, diff_pieces if xref is None else diff_xref_pieces, folder)
    best = _encoded(old_view, new_view, numbers, unit, scratch, xref, folder)
    while xref is not None and len(new_view) < _TRY_LARGER and unit < len(new_view) and unit < UNIT_MAX:
        unit *= 2
        if scratch < least_scratch(unit):
            break
        other = _encoded(old_view, new_view, numbers, unit, scratch, xref, folder)
        if other.payload.size < best.payload.size:
            best, other = other, best
        other.payload.close()
    return best


def _encoded(
    old: memoryview,
    new: memoryview,
    numbers: array[int],
    unit: int,
    scratch: int,
    xref: XrefOptions | None,
    folder: str | None,
) -> InPlace:
    """With units of this size."""
    units, others = _units(old, new, unit, numbers)
    plans = [_Planner(units, unit, len(old), scratch) for _ in range(3)]
    for planner, order in zip(plans, (None, sorted(units), sorted(units, reverse=True)), strict=True):
        planner.run(order)
    best = min(plans, key=lambda planner: (planner.dropped, planner.moved))
    file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115 - the payload closes it
    try:
        writer = _Writer(file, new, best)
        if xref is None:
            writer.segments(_run(best.pieces[step.unit], old, writer.content(step), folder) for step in best.steps)
        else:
            writer.xref(old, others, xref, folder)
        plan = writer.plan()
        return InPlace(Payload.spooled(file), unit, plan, best.peak)
    except BaseException:
        file.close()
        raise


def _file(size: int) -> int:
    """What a file of this size takes."""
    return -(-size // _GRAIN) * _GRAIN


def _matched(
    old: memoryview, new: memoryview, match: Callable[[Buffer, Buffer, int], object], folder: str | None
) -> array[int]:
    """For each piece of new that is like old: where it is in new, where in old, its length."""
    with tempfile.TemporaryFile(dir=folder) as file:
        match(old, new, file.fileno())
        file.seek(0)
        return array("Q", file.read())


def _units(
    old: memoryview, new: memoryview, unit: int, numbers: array[int]
) -> tuple[dict[int, list[Piece]], dict[int, list[Piece]]]:
    """The units that change, each with the pieces of it that are made from old, in order; and the others."""
    found: dict[int, list[Piece]] = {}
    others: dict[int, list[Piece]] = {}
    for n in range(-(-len(new) // unit)):
        content = new[n * unit : (n + 1) * unit]
        (found if content != old[n * unit : n * unit + len(content)] else others)[n] = []
    for i in range(0, len(numbers), 3):
        at, source, left = numbers[i : i + 3]
        while left:
            n = at // unit
            size = min(left, (n + 1) * unit - at)
            (found if n in found else others)[n].append(Piece(at - n * unit, source, size))
            at, source, left = at + size, source + size, left - size
    return found, others


# ---- the order, and what is kept -----------------------------------------------------------------------------------


@dataclass(slots=True)
class _Step:
    """One unit that is replaced. last_use: number of the last step that reads what is kept; -1 when nothing is."""

    unit: int
    kept: list[Range]
    last_use: int = -1


class _Planner:
    """Orders the units, keeps what is needed, and sends what the scratch does not hold."""

    def __init__(self, units: dict[int, list[Piece]], unit: int, old_size: int, scratch: int) -> None:
        self.unit = unit
        self.pieces = dict(units)
        self.steps: list[_Step] = []
        self.peak = 0
        self.dropped = 0  # bytes of old that are sent, since the scratch would not hold them
        self.moved = 0  # bytes that are kept, over all steps
        self._scratch = scratch
        self._old_size = old_size
        self._reads: dict[int, dict[int, list[Range]]] = {n: {} for n in units}  # of old bytes of n, by unit of new
        for n, pieces in units.items():
            for m in self._touched(pieces):
                if m != n and m in self._reads:
                    self._reads[m][n] = []
            for piece in pieces:
                self._note(n, piece)

    def run(self, order: Iterable[int] | None) -> None:
        """Fill in steps. order: that of the units; None: each time the one of which the fewest bytes must be kept."""
        sequence = list(self._greedy() if order is None else order)
        where = {n: number for number, n in enumerate(sequence)}
        for number, n in enumerate(sequence):
            self._step(number, n, where)

    def _touched(self, pieces: list[Piece]) -> set[int]:
        return {m for p in pieces for m in range(p.old // self.unit, (p.old + p.size - 1) // self.unit + 1)}

    def _note(self, n: int, piece: Piece) -> None:
        """A piece of unit n reads old bytes of other units."""
        at, end = piece.old, piece.old + piece.size
        while at < end:
            m = at // self.unit
            stop = min(end, (m + 1) * self.unit)
            if m != n and m in self._reads:
                self._reads[m][n].append((at, stop))
            at = stop

    def _greedy(self) -> Iterator[int]:
        cost = {m: sum(_total(ranges) for ranges in readers.values()) for m, readers in self._reads.items()}
        targets: dict[int, list[int]] = {n: [] for n in cost}  # whose old bytes n reads
        for m, readers in self._reads.items():
            for n in readers:
                targets[n].append(m)
        heap = [(value, n) for n, value in cost.items()]
        heapq.heapify(heap)
        left = set(cost)
        while heap:
            value, n = heapq.heappop(heap)
            if n not in left or value != cost[n]:
                continue
            left.discard(n)
            yield n
            for m in targets[n]:
                if m in left:
                    cost[m] -= _total(self._reads[m][n])
                    heapq.heappush(heap, (cost[m], m))

    def _later(self, number: int, n: int, where: dict[int, int]) -> list[int]:
        """Units that read old bytes of n after this step."""
        return [m for m, ranges in self._reads[n].items() if ranges and where[m] > number]

    def _needed(self, n: int, readers: list[int]) -> list[Range]:
        return _joined(sorted(r for m in readers for r in self._reads[n][m]))

    def _step(self, number: int, n: int, where: dict[int, int]) -> None:
        """Add a step; give up ranges until the scratch holds the rest."""
        readers = self._later(number, n, where)
        kept = self._needed(n, readers)
        live = [step for step in self.steps if step.last_use >= number]
        held = least_scratch(self.unit) + sum(_file(_total(step.kept)) for step in live)
        room = max(self._scratch - held, 0) // _GRAIN * _GRAIN
        most = KEPT_MAX - sum(len(step.kept) for step in live)
        while kept and (_total(kept) > room or len(kept) > most):
            if len(kept) > most:
                start, end = min(kept, key=lambda r: r[1] - r[0])
            else:
                start, end = max(kept, key=lambda r: r[1] - r[0])
                start = max(start, end - (_total(kept) - room))
            for m in readers:
                self._give_up(n, m, start, end)
            readers = self._later(number, n, where)
            kept = self._needed(n, readers)
        self.steps.append(_Step(n, kept, max((where[m] for m in readers), default=-1)))
        self.moved += _total(kept)
        self.peak = max(self.peak, held + _file(_total(kept)))

    def _give_up(self, n: int, m: int, start: int, end: int) -> None:
        """Unit m is to be made without old bytes from start to end, which are of unit n."""
        if not any(a < end and b > start for a, b in self._reads[n][m]):
            return
        self.pieces[m] = list(self._without(self.pieces[m], start, end))
        ranges = ((max(a, s), min(b, e)) for a, b in self._reads[n][m] for s, e in ((a, start), (end, b)))
        self._reads[n][m] = [(a, b) for a, b in ranges if a < b]

    def _without(self, pieces: list[Piece], start: int, end: int) -> Iterator[Piece]:
        """The same pieces without what they read of old from start to end."""
        for p in pieces:
            if p.old >= end or p.old + p.size <= start:
                yield p
                continue
            self.dropped += min(end, p.old + p.size) - max(start, p.old)
            if p.old < start:
                yield Piece(p.at, p.old, start - p.old)
            if p.old + p.size > end:
                yield Piece(p.at + end - p.old, end, p.old + p.size - end)


def _joined(ranges: list[Range]) -> list[Range]:
    """Sorted ranges, those that lie near to each other as one."""
    out: list[Range] = []
    for start, end in ranges:
        if out and start - out[-1][1] < _JOIN:
            out[-1] = (out[-1][0], max(end, out[-1][1]))
        else:
            out.append((start, end))
    return out


def _total(ranges: list[Range]) -> int:
    return sum(end - start for start, end in ranges)


# ---- bytes ---------------------------------------------------------------------------------------------------------


class _Writer:
    """Writes the payload of a plan."""

    def __init__(self, file: BinaryIO, new: memoryview, planner: _Planner) -> None:
        self._file, self._new, self._planner = file, new, planner
        self._digest = xxhash.xxh64()

    def plan(self) -> int:
        """The digest of what was written."""
        self._file.flush()
        return self._digest.intdigest()

    def content(self, step: _Step) -> memoryview:
        return self._new[step.unit * self._planner.unit : (step.unit + 1) * self._planner.unit]

    def segments(self, payloads: Iterable[bytes]) -> None:
        """One for each step, in order."""
        following = 0
        for number, (step, payload) in enumerate(zip(self._planner.steps, payloads, strict=True)):
            self._put(self._head(step, number, following) + varint(len(payload)))
            self._put(payload)
            following = step.unit + 1

    def xref(self, old: memoryview, others: dict[int, list[Piece]], options: XrefOptions, folder: str | None) -> None:
        """The same by engine xref, whose tables stand in front. others: pieces of the units that stay."""
        unit, pieces = self._planner.unit, sorted((others | self._planner.pieces).items())
        numbers = array("Q", (x for n, unit_s in pieces for p in unit_s for x in (n * unit + p.at, p.old, p.size)))
        order = [step.unit for step in self._planner.steps]
        with tempfile.TemporaryFile(dir=folder) as file:
            tables, *written = encode_xref_units(old, self._new, numbers, file.fileno(), options, unit, order)
            file.seek(0)
            self._put(varint(tables) + file.read(tables))
            self.segments(file.read(length) for length in written)

    def _put(self, data: bytes) -> None:
        self._file.write(data)
        self._digest.update(data)

    def _head(self, step: _Step, number: int, following: int) -> bytes:
        """What stands in front of a segment's payload, but for its length."""
        head = zigzag(step.unit - following)
        head += xxhash.xxh64_intdigest(self.content(step)).to_bytes(8, "little") + varint(len(step.kept))
        at = step.unit * self._planner.unit
        for start, end in step.kept:
            head += varint(start - at) + varint(end - start)
            at = end
        return head + varint(step.last_use - number) if step.kept else head


def _run(pieces: list[Piece], old: memoryview, content: memoryview, folder: str | None) -> bytes:
    """The payload of engine bsdiff for one unit."""
    numbers = array("Q", (number for p in pieces for number in (p.at, p.old, p.size)))
    with tempfile.TemporaryFile(dir=folder) as file:
        encode_pieces(old, content, numbers, file.fileno())
        file.seek(0)
        return file.read()
