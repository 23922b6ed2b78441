"""What stands in front of the engine's payload when a delta runs between views (docs/SPEC.md section 6.5).

Writing it, and reading it again without old content; the C core has the reader that boards use (csrc/core/view.c).
"""

from __future__ import annotations

import enum
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from otastream.errors import Code, error
from otastream.model import CodingId
from otastream.native import LongParts
from otastream.varint import Reader, varint, zigzag
from otastream.views import codings
from otastream.views.codings import Coding

BUFFER: Final = 4096
CODINGS_MAX: Final = 16
PACKED_MAX: Final = (1 << 28) - 1
VIEW_MAX: Final = (1 << 32) - 1
SLOTS_MAX: Final = 64
POINT: Final = 16  # bytes of a restart point beside the decoder that it keeps
PART: Final = 16  # bytes that the table of old holds for a part
SLOT: Final = 12  # and for a slot


@dataclass(frozen=True, slots=True)
class Part:
    """A compressed part of old: where it is, how long, and what comes out of it."""

    offset: int
    packed: int
    raw: int
    coding: Coding


class Kind(enum.IntEnum):
    """What a segment of new is: bytes as the engine makes them, bytes of old as they are, a part."""

    PLAIN = 0
    KEEP = 1
    CODED = 2


@dataclass(slots=True)
class Segment:
    """size: bytes of the image; of a part bytes of the view. offset: in old, for KEEP."""

    kind: Kind
    size: int
    offset: int = 0
    coding: Coding | None = None
    check: int = 0


@dataclass(slots=True)
class Front:
    """old None, new None: that side has no view. points: restart points in old that there is memory for."""

    old: Sequence[Part] | None = None
    new: Sequence[Segment] | None = None
    slots: int = 2
    slot: int = 0
    points: int = 0
    memory: int = 0
    decodings: list[Coding] = field(default_factory=list)
    encodings: list[Coding] = field(default_factory=list)

    def codings(self) -> set[CodingId]:
        return {coding.id for coding in (*self.decodings, *self.encodings)}

    def long_parts(self) -> LongParts:
        """Parts of what the engine sees that are longer than what a board keeps of old."""
        kept, old, new = self.slots * self.slot, [], []
        grown = end = 0
        for part in self.old or ():
            if part.raw > kept:
                old.append((part.offset + grown, part.raw))
            grown += part.raw - part.packed
        for item in self.new or ():
            if item.kind is Kind.CODED and item.size > kept:
                new.append((end, item.size))
            end += 0 if item.kind is Kind.KEEP else item.size
        return LongParts(tuple(old), tuple(new))

    def size(self) -> int:
        """Bytes that the engine makes."""
        return sum(item.size for item in self.new or () if item.kind is not Kind.KEEP)

    def encode(self) -> bytes:
        """The bytes; the memory that a board needs for them is worked out."""
        self.decodings = sorted({part.coding for part in self.old or ()})
        self.encodings = sorted({item.coding for item in self.new or () if item.coding is not None})
        listed = b"" if self.new is None else _segments(self.new, self.encodings)
        self.memory = self._memory(len(listed))
        out = bytearray(varint(self.memory))
        if self.old is not None:
            out += varint(self.slots) + varint(self.slot) + _codings(self.decodings) + varint(len(self.old))
            out += _parts(self.old, self.decodings)
        if self.new is not None:
            out += _codings(self.encodings) + varint(len(listed)) + listed
        return bytes(out)

    def _memory(self, listed: int) -> int:
        pieces = [BUFFER, 16]  # 16: a workspace may end anywhere
        if self.old is not None:
            decoder = max((codings.size(coding, encode=False) for coding in self.decodings), default=0)
            pieces += [self.slots * SLOT, self.slots * self.slot, BUFFER, decoder, len(self.old) * PART]
            pieces += [POINT + decoder] * self.points
        if self.new is not None:
            pieces += [max((codings.size(coding, encode=True) for coding in self.encodings), default=0), listed]
        return sum((piece + 15) & ~15 for piece in pieces)


def _codings(items: Sequence[Coding]) -> bytes:
    return varint(len(items)) + b"".join(varint(item.id) + varint(item.params) for item in items)


def _parts(items: Sequence[Part], known: Sequence[Coding]) -> bytes:
    out, end, last = bytearray(), 0, 0
    for part in items:
        out += varint(part.offset - end) + varint(known.index(part.coding)) + varint(part.packed)
        out += zigzag(part.raw - last)
        end, last = part.offset + part.packed, part.raw
    return bytes(out)


def _segments(items: Sequence[Segment], known: Sequence[Coding]) -> bytes:
    out, kept = bytearray(), 0
    for item in items:
        out += varint(item.size << 2 | item.kind)
        if item.kind is Kind.KEEP:
            out += zigzag(item.offset - kept)
            kept = item.offset + item.size
        elif item.coding is not None:
            out += varint(known.index(item.coding)) + item.check.to_bytes(4, "little")
    return bytes(out)


# ---- reading -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Frame:
    """What a front has to fit: sizes of old and new in bytes, the workspace, the codings of the manifest."""

    old_size: int
    new_size: int
    workspace: int
    codings: frozenset[CodingId]


def decode(data: bytes, *, old: bool, new: bool, frame: Frame) -> tuple[Front, int, int] | None:
    """The front that data begins with, its length, and the size that old expands to.

    None: it is not complete yet. DELTA, FORMAT, LIMIT, UNSUPPORTED: it cannot be one.
    """
    reader = Reader(data)
    expanded = frame.old_size
    try:
        front = Front(memory=reader.number())
        if front.memory > frame.workspace:
            raise error(Code.LIMIT, f"a view of {front.memory} bytes in a workspace of {frame.workspace}")
        if old:
            expanded = _read_old(reader, front, frame)
        if new:
            front.encodings = _read_codings(reader, frame)
            listed = Reader(reader.take(reader.number()))
            front.new = _read_segments(listed, front.encodings, frame)
    except EOFError:
        return None
    return front, reader.at, expanded


def _read_codings(reader: Reader, frame: Frame) -> list[Coding]:
    count = reader.number()
    if count > CODINGS_MAX:
        raise error(Code.LIMIT, f"{count} codings")
    found = []
    for _ in range(count):
        id_, params = reader.number(), reader.number()
        if id_ not in frame.codings:
            raise error(Code.FORMAT, f"coding {id_} is not in the manifest's needs")
        if not codings.valid(id_, params):
            raise error(Code.UNSUPPORTED, f"parameters {params} of coding {id_}")
        found.append(Coding(CodingId(id_), params))
    return found


def _read_old(reader: Reader, front: Front, frame: Frame) -> int:
    front.slots, front.slot = reader.number(), reader.number()
    if not 1 <= front.slots <= SLOTS_MAX:
        raise error(Code.LIMIT, f"{front.slots} slots")
    if not 1 <= front.slot < 1 << 31:
        raise error(Code.DELTA, f"a slot of {front.slot} bytes")
    front.decodings = _read_codings(reader, frame)
    parts, end, raw, view = [], 0, 0, 0
    for _ in range(reader.number()):
        start, index, packed = end + reader.number(), reader.number(), reader.number()
        raw += reader.signed()
        if index >= len(front.decodings) or not 1 <= packed <= PACKED_MAX or raw <= 0:
            raise error(Code.DELTA, "a part of old is out of range")
        view += start - end + raw
        end = start + packed
        if max(view, end) > VIEW_MAX or end > frame.old_size:
            raise error(Code.DELTA, "the parts go beyond old")
        parts.append(Part(start, packed, raw, front.decodings[index]))
    front.old = parts
    return view + frame.old_size - end


def _read_segments(reader: Reader, known: Sequence[Coding], frame: Frame) -> list[Segment]:
    found, kept = [], 0
    try:
        while reader.left():
            size, kind = divmod(reader.number(), 4)
            if kind > Kind.CODED or size == 0:
                raise error(Code.DELTA, "a segment of new is out of range")
            item = Segment(Kind(kind), size)
            if item.kind is Kind.KEEP:
                item.offset = kept + reader.signed()
                kept = item.offset + size
                if item.offset < 0 or kept > frame.old_size:
                    raise error(Code.DELTA, "a segment keeps what lies outside of old")
            elif item.kind is Kind.CODED:
                index = reader.number()
                if index >= len(known) or size > VIEW_MAX:
                    raise error(Code.DELTA, "a segment of new is out of range")
                item.coding = known[index]
                item.check = int.from_bytes(reader.take(4), "little")
            found.append(item)
    except EOFError:
        raise error(Code.DELTA, "the list of new ends inside a segment") from None
    certain = sum(item.size for item in found if item.kind is not Kind.CODED)
    packed = any(item.kind is Kind.CODED for item in found)
    if certain > frame.new_size or (certain < frame.new_size and not packed):
        raise error(Code.DELTA, "the segments do not make new")
    return found
