"""Deltas of a compressed image onto itself: views in place, docs/SPEC.md section 6.4.2.

Each unit of new is made by a run of its own, between views of its own: of the parts of new that it touches, and of the
parts of old that they are like. A part that two units share is made for the first of them, which hands over what is the
other's if that is the next one; else it is made for both. What a unit reads of old is whole packed parts, which stand
where they stood or were kept. Where the scratch does not hold all of them, units go without those that save least.
"""

from __future__ import annotations

import tempfile
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Final

from otastream.engines import Engine
from otastream.engines.in_place import InPlace, SegmentWriter, check_units
from otastream.engines.order import Piece, Plan, Range, journals, least_scratch, plan
from otastream.engines.payload import Payload
from otastream.errors import Code, error
from otastream.model import READS_MAX, UNIT_MAX
from otastream.native import Buffer, diff_pieces
from otastream.varint import varint, zigzag
from otastream.views.expand import Expansion, front_of
from otastream.views.parts import Front, Kind, Part, Segment

_LITERAL: Final = 0.3
"""What a byte of what images expand to costs in a package, about, if it is sent."""
_DELTA: Final = 0.03
"""The same if it is made from old."""
_SEGMENT: Final = 300
"""The same for a segment: head, front, and tables and a model of its own."""
_KEPT: Final = 0.02
"""What writing a byte to the scratch may save, at least: it takes time and wears the flash."""
_SHARES: Final = (1 / 200, 1 / 50, 1 / 12, 1 / 5)
"""A range of old whose reading saves less than this share of its bytes is not kept. What is best depends on the image:
with a scratch of 256 KiB most of what is lost otherwise is lost for parts of which little is read.
"""
_LEAST: Final = 16
"""Bytes that reading a range must save at least: saying where it is takes as many."""


@dataclass(frozen=True, slots=True)
class _Slice:
    """Bytes [start, end) of new. low, high: where they are in what it expands to; source: of a keep, where in old."""

    start: int
    end: int
    low: int
    high: int
    segment: Segment
    source: int = 0


@dataclass(frozen=True, slots=True)
class _Read:
    """Bytes [start, end) of old that a unit is made from. part: a compressed part, by its number; None: as they are.
    gain: about how many bytes of the package reading them saves.
    """

    start: int
    end: int
    gain: float
    part: int | None = None

    def worth(self, share: float) -> bool:
        return self.gain >= max(_LEAST, share * (self.end - self.start))


_HANDED: Final = (2, 5, 10)
"""Parts of the room for what is kept that a step may take for what it hands over, or was handed; all are tried."""

_Reads = dict[int, list[_Read]]
"""For each unit that changes what it reads."""


class _Images:
    """Old and new, what they expand to, and which bytes of both are alike."""

    def __init__(self, old: memoryview, new: memoryview, found: Expansion, memory: int, folder: str | None) -> None:
        self.old, self.new, self.found, self.memory = old, new, found, memory
        self.parts: list[Part] = list(found.front.old or ())
        self.views: list[int] = []  # where each of them begins in what old expands to
        at = end = 0
        for part in self.parts:
            at += part.offset - end
            self.views.append(at)
            at, end = at + part.raw, part.offset + part.packed
        self.slices = list(self._sliced())
        self._starts = [item.start for item in self.slices]
        with tempfile.TemporaryFile(dir=folder) as file:
            diff_pieces(found.old, found.new, file.fileno())
            file.seek(0)
            numbers = array("Q", file.read())
        self._at, self._from, self._sizes = numbers[0::3], numbers[1::3], numbers[2::3]

    def _sliced(self) -> Iterator[_Slice]:
        at = low = 0
        packed = iter(self.found.changed)
        for segment in self.found.front.new or ():
            size = next(packed)[1] if segment.kind is Kind.CODED else segment.size
            raw = 0 if segment.kind is Kind.KEEP else segment.size
            yield _Slice(at, at + size, low, low + raw, segment, segment.offset)
            at, low = at + size, low + raw

    def touched(self, start: int, end: int) -> list[_Slice]:
        """What bytes [start, end) of new are made of: parts as a whole."""
        found = []
        for item in self.slices[max(0, bisect_right(self._starts, start) - 1) : bisect_left(self._starts, end)]:
            if item.segment.kind is Kind.CODED:
                found.append(item)
                continue
            one, two = max(item.start, start), min(item.end, end)
            low, high = item.low, item.high
            if item.segment.kind is Kind.PLAIN:
                low, high = low + one - item.start, low + two - item.start
            found.append(_Slice(one, two, low, high, item.segment, item.source + one - item.start))
        return found

    def reads(self, slices: Iterable[_Slice]) -> list[_Read]:
        """What of old these are like, in order."""
        weights: dict[int, int] = {}
        plain: list[Range] = []
        for item in slices:
            if item.segment.kind is Kind.KEEP:
                plain.append((item.source, item.source + item.end - item.start))
            for start, end in self._alike(item.low, item.high):
                self._packed(start, end, weights, plain)
        found = [_Read(start, end, end - start) for start, end in _united(plain)]
        for number, weight in weights.items():
            part = self.parts[number]
            found.append(_Read(part.offset, part.offset + part.packed, weight * _LITERAL, number))
        return sorted(found, key=lambda item: (item.start, item.end))

    def _alike(self, low: int, high: int) -> Iterator[Range]:
        """Where bytes [low, high) of what new expands to are from, in what old does."""
        i = max(0, bisect_right(self._at, low) - 1)
        while i < len(self._at) and self._at[i] < high:
            start, end = max(low, self._at[i]), min(high, self._at[i] + self._sizes[i])
            if start < end:
                yield self._from[i] + start - self._at[i], self._from[i] + end - self._at[i]
            i += 1

    def _packed(self, start: int, end: int, weights: dict[int, int], plain: list[Range]) -> None:
        """Bytes of what old expands to: the parts that hold them, and bytes that are in none."""
        i = bisect_right(self.views, start) - 1
        while start < end:
            part_end = self.views[i] + self.parts[i].raw if i >= 0 else 0
            if start < part_end:
                stop = min(end, part_end)
                weights[i] = weights.get(i, 0) + stop - start
            else:
                stop = min(end, self.views[i + 1]) if i + 1 < len(self.views) else end
                image_at = self.parts[i].offset + self.parts[i].packed if i >= 0 else 0
                plain.append((image_at + start - part_end, image_at + stop - part_end))
            if i + 1 < len(self.views) and stop == self.views[i + 1]:
                i += 1
            start = stop


@dataclass(frozen=True, slots=True)
class _Make:
    """What the segment of a unit makes: bytes [start, end) of new, and ends of parts in front of them and behind. The
    rest of the unit was made by the segment before; handed: so many bytes in front of it (< 0) or behind (> 0) are for
    the one that follows.
    """

    start: int
    end: int
    handed: int = 0


@dataclass(frozen=True, slots=True)
class _Choice:
    """A plan, what the segment of each unit makes and reads in it, and about what it costs."""

    plan: Plan
    makes: dict[int, _Make]
    reads: _Reads
    cost: float


def _choose(images: _Images, unit: int, scratch: int) -> _Choice:
    """The best plan with units of this size: first without bytes that are handed over, then in several orders with."""
    makes = {}
    for n in range(-(-len(images.new) // unit)):
        start, end = n * unit, min((n + 1) * unit, len(images.new))
        if images.new[start:end] != images.old[start:end]:
            makes[n] = _Make(start, end)
    best = _settle(images, makes, unit, scratch)
    found = [best]
    room = scratch - least_scratch(unit)
    for order in ([step.unit for step in best.plan.steps], sorted(makes, reverse=True), sorted(makes)):
        tried: list[dict[int, _Make]] = []
        for part in _HANDED:
            handing = _handing(images, makes, order, min(unit, room // part))
            if handing not in tried and handing != makes:
                tried.append(handing)
                found.append(_settle(images, handing, unit, scratch, order))
    return min(found, key=_cost)


def _cost(choice: _Choice) -> float:
    return choice.cost


def _handing(images: _Images, makes: dict[int, _Make], order: list[int], most: int) -> dict[int, _Make]:
    """The same if parts that cross from a unit into the next one of the order are made once, unless that hands over
    more than so many bytes.
    """
    made = dict(makes)
    for n, m in pairwise(order):
        if abs(n - m) != 1:
            continue
        border = makes[max(n, m)].start
        part = images.touched(border, border + 1)[0]
        if not part.start < border < part.end or part.segment.kind is not Kind.CODED:
            continue
        size = part.end - border if n < m else border - part.start
        if size <= most and size < makes[m].end - makes[m].start:
            made[n] = replace(made[n], handed=size if n < m else -size)
            made[m] = replace(made[m], start=part.end) if n < m else replace(made[m], end=part.start)
    return made


def _settle(
    images: _Images, makes: dict[int, _Make], unit: int, scratch: int, order: list[int] | None = None
) -> _Choice:
    """The best plan for these, in this order if there is one."""
    slices = {n: images.touched(make.start, make.end) for n, make in makes.items()}
    reads = {n: images.reads(items) for n, items in slices.items()}
    handed = {n: abs(make.handed) for n, make in makes.items()}
    expanded = sum(item.high - item.low for items in slices.values() for item in items)
    best: tuple[float, Plan, _Reads] | None = None
    for share in _SHARES:
        made, chosen = _planned(reads, handed, unit, scratch, share, order)
        lost = sum(r.gain for n, items in reads.items() for r in set(items) - set(chosen[n]))
        cost = lost + _KEPT * made.moved
        if best is None or cost < best[0]:
            best = cost, made, chosen
    assert best is not None  # noqa: S101 - there are shares
    return _Choice(best[1], makes, best[2], best[0] + _DELTA * expanded + _SEGMENT * len(makes))


def _planned(
    reads: _Reads, handed: dict[int, int], unit: int, scratch: int, share: float, order: list[int] | None
) -> tuple[Plan, _Reads]:
    """A plan in which everything that is kept is read, and everything that is read is there."""

    def planned(chosen: _Reads, order: list[int] | None) -> tuple[Plan, _Reads]:
        pieces = {n: [Piece(0, item.start, item.end - item.start) for item in items] for n, items in chosen.items()}
        beside = None
        if order is not None:
            sizes = [handed[n] for n in order]
            beside = [journals(unit, *pair) for pair in zip(sizes, [0, *sizes], strict=False)]
        made = plan(pieces, unit=unit, scratch=scratch, whole=True, order=order, beside=beside)
        return made, {n: _whole(items, made.pieces[n]) for n, items in chosen.items()}

    made, chosen = planned({n: [r for r in items if r.worth(share)] for n, items in reads.items()}, order)
    order = [step.unit for step in made.steps]
    number = {n: i for i, n in enumerate(order)}

    def stands(item: _Read, n: int) -> bool:
        units = range(item.start // unit, (item.end - 1) // unit + 1)
        return all(number.get(m, len(order)) >= number[n] for m in units)

    for n, items in reads.items():
        kept = set(chosen[n])
        chosen[n] = _few([r for r in items if r in kept or (r.worth(0) and stands(r, n))])
    while True:
        made, left = planned(chosen, order)
        if not made.dropped:
            return made, chosen
        chosen = left


def _whole(reads: list[_Read], left: list[Piece]) -> list[_Read]:
    """Those of which no byte was lost."""
    ranges = _united((piece.old, piece.old + piece.size) for piece in left)
    starts = [start for start, _ in ranges]

    def there(item: _Read) -> bool:
        i = bisect_right(starts, item.start) - 1
        return i >= 0 and item.end <= ranges[i][1]

    return [item for item in reads if there(item)]


def _few(reads: list[_Read]) -> list[_Read]:
    """Without those that save least, if there are more ranges than a board takes."""
    while len(_united((item.start, item.end) for item in reads)) > READS_MAX:
        least = sorted(item.gain for item in reads)[len(reads) // 16]
        reads = [item for item in reads if item.gain > least]
    return reads


def _united(ranges: Iterable[Range]) -> list[Range]:
    """The same bytes in rising order, ranges that touch or overlap as one."""
    out: list[Range] = []
    for start, end in sorted(ranges):
        if out and start <= out[-1][1]:
            out[-1] = (out[-1][0], max(end, out[-1][1]))
        else:
            out.append((start, end))
    return out


# ---- one segment ---------------------------------------------------------------------------------------------------


class _Run:
    """What makes one unit, from this offset on: ranges of old, joined; a front; what the engine sees of both sides."""

    def __init__(self, images: _Images, at: int, make: _Make, reads: list[_Read]) -> None:
        self._images, self._reads = images, [item for item in reads if item.part is not None]
        self._slices = images.touched(make.start, make.end)
        self._ranges = _united((item.start, item.end) for item in reads)
        self._bases: list[int] = []
        size = 0
        for low, high in self._ranges:
            self._bases.append(size)
            size += high - low
        self.front = front_of(self._parts(), [self._segment(item) for item in self._slices])
        self.encoded = self.front.encode()
        while self.front.memory > images.memory and self.front.points:
            self.front.points -= 1
            self.encoded = self.front.encode()
        gap = min(at, len(images.old))
        self.about = bytearray(varint(len(self._ranges)))
        for low, high in self._ranges:
            self.about += zigzag(low - gap) + varint(high - low)
            gap = high
        self.about += varint(make.start - self._slices[0].start) + varint(self._slices[-1].end - make.end)
        self.about += zigzag(make.handed)

    def _joined(self, at: int, end: int) -> int | None:
        """Where bytes [at, end) of old are in the ranges; None: not there."""
        i = bisect_right(self._ranges, (at, len(self._images.old))) - 1
        return self._bases[i] + at - self._ranges[i][0] if i >= 0 and end <= self._ranges[i][1] else None

    def _parts(self) -> list[Part]:
        found = []
        for item in self._reads:
            offset = self._joined(item.start, item.end)
            if offset is not None and item.part is not None:
                part = self._images.parts[item.part]
                found.append(Part(offset, part.packed, part.raw, part.coding))
        return found

    def _segment(self, item: _Slice) -> Segment:
        size = item.end - item.start
        if item.segment.kind is Kind.CODED:
            return item.segment
        source = self._joined(item.source, item.source + size) if item.segment.kind is Kind.KEEP else None
        return Segment(Kind.PLAIN, size) if source is None else Segment(Kind.KEEP, size, source)

    def old(self) -> bytes:
        """What the engine sees of old."""
        image = b"".join(self._images.old[low:high] for low, high in self._ranges)
        out, end = bytearray(), 0
        for item, part in zip(self._reads, self.front.old or (), strict=True):
            view = self._images.views[item.part or 0]
            out += image[end : part.offset] + self._images.found.old[view : view + part.raw]
            end = part.offset + part.packed
        return bytes(out + image[end:])

    def new(self) -> bytes:
        """What the engine makes."""
        out = bytearray()
        for item, segment in zip(self._slices, self.front.new or (), strict=True):
            if segment.kind is Kind.PLAIN and item.segment.kind is Kind.KEEP:
                out += self._images.new[item.start : item.end]
            else:
                out += self._images.found.new[item.low : item.high]
        return bytes(out)


class ViewsInPlace:
    """How an image becomes another one on the node that holds it, between views. front: what any segment needs of the
    board at most, without lists; handed: bytes that segments make for the one that follows.
    """

    def __init__(self, images: _Images, chosen: _Choice) -> None:
        self._images, self._plan, self._makes, self._reads = images, chosen.plan, chosen.makes, chosen.reads
        self.front = Front([], [])
        self.handed = sum(abs(make.handed) for make in chosen.makes.values())
        for run in self._runs():
            self.front.memory = max(self.front.memory, run.front.memory)
            self.front.points = max(self.front.points, run.front.points)
            self.front.decodings = sorted({*self.front.decodings, *run.front.decodings})
            self.front.encodings = sorted({*self.front.encodings, *run.front.encodings})

    def _runs(self) -> Iterator[_Run]:
        for step in self._plan.steps:
            n = step.unit
            yield _Run(self._images, n * self._plan.unit, self._makes[n], self._reads[n])

    def encode(self, engine: Engine, memory: int, *, folder: str | None = None) -> InPlace:
        """The payload. memory: bytes that decoding may take for the engine. Errors: those of making a delta."""
        file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115 - the payload closes it
        try:
            writer = SegmentWriter(file, self._images.new, self._plan)
            writer.segments(
                (bytes(run.about), run.encoded + _delta(engine, run, memory, folder)) for run in self._runs()
            )
            digest = writer.digest()
            return InPlace(Payload.spooled(file), self._plan.unit, digest, self._plan.peak)
        except BaseException:
            file.close()
            raise


def _delta(engine: Engine, run: _Run, memory: int, folder: str | None) -> bytes:
    made = engine.encode(run.old(), run.new(), workspace=memory, parts=run.front.long_parts(), folder=folder)
    with made:
        return b"".join(made.chunks())


def _units(size: int, unit: int, scratch: int) -> list[int]:
    """Sizes of units that may be used for new content of so many bytes."""
    sizes = [unit]
    while sizes[-1] < min(size, UNIT_MAX) and scratch >= least_scratch(sizes[-1] * 2):
        sizes.append(sizes[-1] * 2)
    return sizes


def largest_unit(size: int, *, unit: int, scratch: int) -> int:
    """Bytes of the largest unit for new content of so many bytes. unit, scratch: as of ``views_in_place``."""
    return _units(size, unit, scratch)[-1]


def views_in_place(
    old: Buffer, new: Buffer, found: Expansion, *, unit: int, scratch: int, memory: int, folder: str | None = None
) -> ViewsInPlace:
    """How new is made from old between the views that were found of them, in which no part is longer than
    ``largest_unit``: it would be made anew for each unit.

    unit: bytes that are replaced at once, at least; a power of two and a multiple of the node's erase block. scratch:
    bytes that the temporary folder may have to hold, at least ``least_scratch``. memory: bytes that a board has for
    restart points and all else that a view takes; it may take more without them. Needs up to 6 bytes of memory for each
    byte that old expands to. Errors: USAGE, and those of making a delta.
    """
    old_view, new_view = memoryview(old).cast("B"), memoryview(new).cast("B")
    check_units(max(len(old_view), len(new_view)), unit=unit, scratch=scratch)
    longest = max((size for _, size in found.changed), default=0)
    sizes = [size for size in _units(len(new_view), unit, scratch) if size >= longest]
    if not sizes:
        raise error(Code.USAGE, f"a part of {longest} bytes is longer than any unit")
    images = _Images(old_view, new_view, found, memory, folder)
    return ViewsInPlace(images, min((_choose(images, size, scratch) for size in sizes), key=_cost))
