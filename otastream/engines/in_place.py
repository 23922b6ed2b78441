"""Deltas of a node onto itself, docs/SPEC.md section 6.4.

Each unit of new is made by a run of the engine of its own, in the order that order.py finds. What it reads of a unit
that was replaced before must have been kept in the scratch; where that would not hold it, the bytes are sent instead.
"""

from __future__ import annotations

import tempfile
from array import array
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import BinaryIO, Final

import xxhash

from otastream.engines.order import Piece, Plan, Step, least_scratch, plan
from otastream.engines.payload import Payload
from otastream.errors import Code, error
from otastream.model import UNIT_MAX, UNIT_MIN, UNITS_MAX
from otastream.native import (
    Buffer,
    XrefOptions,
    diff_pieces,
    diff_xref_pieces,
    encode_pieces,
    encode_xref_units,
)
from otastream.varint import varint, zigzag

_TRY_MORE: Final = 8 << 20
"""Bytes of new below which larger units are tried: above, they gain little, and trying takes long."""


@dataclass(frozen=True, slots=True)
class InPlace:
    """A payload in place, with what the records say of it. scratch: bytes that the temporary folder must hold."""

    payload: Payload
    unit: int
    plan: int
    scratch: int


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
    check_units(max(len(old_view), len(new_view)), unit=unit, scratch=scratch)
    numbers = _matched(old_view, new_view, diff_pieces if xref is None else diff_xref_pieces, folder)

    def made(unit: int) -> InPlace:
        return _encoded(old_view, new_view, numbers, unit, scratch, xref, folder)

    best = made(unit)
    if xref is None or len(new_view) >= _TRY_MORE:
        return best
    while unit < len(new_view) and unit < UNIT_MAX and scratch >= least_scratch(unit * 2):
        unit *= 2
        best = _smaller(best, made(unit))
    return best


def check_units(size: int, *, unit: int, scratch: int) -> None:
    """USAGE if an image of so many bytes, old or new, cannot be updated so."""
    if unit & (unit - 1) or not UNIT_MIN <= unit <= UNIT_MAX:
        raise error(Code.USAGE, f"a unit of {unit} bytes: use a power of two from {UNIT_MIN}")
    if size // unit >= UNITS_MAX:
        raise error(Code.USAGE, f"more than {UNITS_MAX} units of {unit} bytes")
    if scratch < least_scratch(unit):
        raise error(Code.USAGE, f"units of {unit} bytes need a scratch of at least {least_scratch(unit)} bytes")


def _smaller(first: InPlace, second: InPlace) -> InPlace:
    """One of both; the other one is closed."""
    if second.payload.size < first.payload.size:
        first, second = second, first
    second.payload.close()
    return first


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
    best = plan(units, unit=unit, scratch=scratch)
    file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115 - the payload closes it
    try:
        writer = SegmentWriter(file, new, best)
        if xref is None:
            runs = (_run(best.pieces[step.unit], old, writer.content(step), folder) for step in best.steps)
            writer.segments((b"", payload) for payload in runs)
        else:
            _write_xref(writer, old, others, xref, folder)
        digest = writer.digest()
        return InPlace(Payload.spooled(file), unit, digest, best.peak)
    except BaseException:
        file.close()
        raise


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


# ---- bytes ---------------------------------------------------------------------------------------------------------


class SegmentWriter:
    """Writes the payload of a plan. new, plan: as given."""

    def __init__(self, file: BinaryIO, new: memoryview, plan: Plan) -> None:
        self.new, self.plan = new, plan
        self._file = file
        self._digest = xxhash.xxh64()

    def digest(self) -> int:
        """The digest of what was written."""
        self._file.flush()
        return self._digest.intdigest()

    def content(self, step: Step) -> memoryview:
        return self.new[step.unit * self.plan.unit : (step.unit + 1) * self.plan.unit]

    def segments(self, payloads: Iterable[tuple[bytes, bytes]]) -> None:
        """One for each step, in order; in front of each, what views need to know."""
        following = 0
        for number, (step, (about, payload)) in enumerate(zip(self.plan.steps, payloads, strict=True)):
            self.put(self._head(step, number, following) + about + varint(len(payload)))
            self.put(payload)
            following = step.unit + 1

    def put(self, data: bytes) -> None:
        """Bytes in front of all segments."""
        self._file.write(data)
        self._digest.update(data)

    def _head(self, step: Step, number: int, following: int) -> bytes:
        """What stands in front of a segment's payload, but for its length."""
        head = zigzag(step.unit - following)
        head += xxhash.xxh64_intdigest(self.content(step)).to_bytes(8, "little") + varint(len(step.kept))
        at = step.unit * self.plan.unit
        for start, end in step.kept:
            head += varint(start - at) + varint(end - start)
            at = end
        return head + varint(step.last_use - number) if step.kept else head


def _write_xref(
    writer: SegmentWriter, old: memoryview, others: dict[int, list[Piece]], options: XrefOptions, folder: str | None
) -> None:
    """The segments by engine xref, whose tables stand in front. others: pieces of the units that stay."""
    unit, pieces = writer.plan.unit, sorted((others | writer.plan.pieces).items())
    numbers = array("Q", (x for n, unit_s in pieces for p in unit_s for x in (n * unit + p.at, p.old, p.size)))
    order = [step.unit for step in writer.plan.steps]
    with tempfile.TemporaryFile(dir=folder) as file:
        tables, *written = encode_xref_units(old, writer.new, numbers, file.fileno(), options, unit, order)
        file.seek(0)
        writer.put(varint(tables) + file.read(tables))
        writer.segments((b"", file.read(length)) for length in written)


def _run(pieces: list[Piece], old: memoryview, content: memoryview, folder: str | None) -> bytes:
    """The payload of engine bsdiff for one unit."""
    numbers = array("Q", (number for p in pieces for number in (p.at, p.old, p.size)))
    with tempfile.TemporaryFile(dir=folder) as file:
        encode_pieces(old, content, numbers, file.fileno())
        file.seek(0)
        return file.read()
