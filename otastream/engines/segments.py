"""The payload of a node that is updated onto itself, segment by segment: docs/SPEC.md section 6.4. Sans I/O."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable
from typing import Final, Protocol

from otastream.engines.xref import decoder_in_parts
from otastream.errors import Code, error
from otastream.model import KEPT_MAX, READS_MAX, EngineId
from otastream.native import Buffer, Decoder, Source

_VARINT_MAX: Final = 9

Bytes = Generator[int, memoryview, None]


class Feedable(Protocol):
    """Takes the payload of one segment. What it gives for a piece is of no interest."""

    def feed(self, data: Buffer) -> Iterable[object] | None: ...

    def finish(self) -> None: ...


class SegmentChecker:
    """Checks all that can be known of such a payload without old content: form, ranges, and the length that each
    segment makes, but for engine xref, which makes of other old content something else. DELTA when it is wrong.

    viewed: None, or for a payload between views what takes a segment's, made for so many bytes of old and of new.
    """

    def __init__(
        self,
        engine: EngineId,
        *,
        size: int,
        unit: int,
        source: Source,
        viewed: Callable[[int, int], Feedable] | None = None,
    ) -> None:
        self._engine, self._size, self._unit, self._source, self._viewed = engine, size, unit, source, viewed
        self._units = -(-size // unit)
        self._inside = False
        self._kept: list[tuple[int, int]] = []  # last use and number of ranges, of each segment that keeps any
        self._handed = 0  # bytes that the segment before has made for this one: < 0 in front of its unit, > 0 behind it
        self._next = self._run()
        self._want = next(self._next)

    def feed(self, data: Buffer) -> None:
        view = memoryview(data).cast("B")
        while view:
            piece, view = view[: self._want], view[self._want :]
            self._want = self._next.send(piece)

    def finish(self) -> None:
        """The payload has ended."""
        if self._inside or self._handed:
            raise error(Code.DELTA, "the payload ends within a segment, or before one that bytes were made for")

    def _run(self) -> Bytes:
        """Gives how many bytes it can take, gets at most that many."""
        following = number = 0
        if self._engine is EngineId.XREF and self._viewed is None:
            yield from self._tables()
        while True:
            zigzag = yield from self._number()
            self._inside = True
            unit = following + (zigzag + 1) // 2 * (-1) ** (zigzag % 2)
            if self._handed and unit != following - 2 * (self._handed < 0):
                raise error(Code.DELTA, f"segment {number} is not of the unit that bytes were made for")
            following = 1 + (yield from self._segment(number, unit))
            self._inside = False
            number += 1

    def _number(self) -> Generator[int, memoryview, int]:
        value = 0
        for count in range(_VARINT_MAX):
            byte = (yield 1)[0]
            self._inside = True
            value |= (byte & 0x7F) << 7 * count
            if byte < 0x80:
                if byte == 0 and count:
                    break
                return value
        raise error(Code.DELTA, "a number is too long")

    def _segment(self, number: int, unit: int) -> Generator[int, memoryview, int]:
        if number >= self._units or not 0 <= unit < self._units:
            raise error(Code.DELTA, f"segment {number} is of unit {unit}")
        for _ in range(8):
            yield 1
        count = yield from self._number()
        if count + sum(ranges for _, ranges in self._kept) > KEPT_MAX:
            raise error(Code.DELTA, f"more than {KEPT_MAX} ranges are kept")
        at, end = unit * self._unit, min((unit + 1) * self._unit, self._source.size)
        for _ in range(count):
            at += yield from self._number()
            length = yield from self._number()
            if length == 0 or at > end or length > end - at:
                raise error(Code.DELTA, "a range leaves its unit")
            at += length
        if count:
            last = yield from self._number()
            if not 1 <= last <= self._units - number:
                raise error(Code.DELTA, f"a range is kept for {last} segments")
            self._kept.append((number + last, count))
        self._kept = [item for item in self._kept if item[0] > number]
        content = min(self._unit, self._size - unit * self._unit)
        decoder: Feedable | None = None
        if self._viewed is not None:
            decoder = self._viewed(*(yield from self._reads(unit * self._unit, content)))
        elif self._engine is not EngineId.XREF:
            decoder = Decoder(self._engine, content, source=self._source)
        left = yield from self._number()
        yield from self._decode(decoder, left)
        return unit

    def _reads(self, start: int, content: int) -> Generator[int, memoryview, tuple[int, int]]:
        """What is there with views: how many bytes of old a segment is made from, and how many it makes."""
        size, at, old = self._source.size, min(start, self._source.size), 0
        count = yield from self._number()
        if count > READS_MAX:
            raise error(Code.DELTA, f"a segment reads more than {READS_MAX} ranges")
        for _ in range(count):
            zigzag = yield from self._number()
            at += (zigzag + 1) // 2 * (-1) ** (zigzag % 2)
            length = yield from self._number()
            if length == 0 or not 0 <= at <= size or length > size - at:
                raise error(Code.DELTA, "a range leaves old")
            at, old = at + length, old + length
        before = yield from self._number()
        behind = yield from self._number()
        prior, zigzag = self._handed, (yield from self._number())
        self._handed = (zigzag + 1) // 2 * (-1) ** (zigzag % 2)
        if before > start * (prior <= 0) or behind > (self._size - start - content) * (prior >= 0):
            raise error(Code.DELTA, "a segment makes what new does not have, or what was made before")
        other = self._unit if self._handed < 0 else self._size - start - content
        if not -before <= self._handed <= behind or (self._handed and abs(self._handed) >= min(self._unit, other)):
            raise error(Code.DELTA, "a segment hands over what it does not make, or all of a unit")
        return old, before + content - abs(prior) + behind

    def _tables(self) -> Bytes:
        self._inside = True
        left = yield from self._number()
        decoder = decoder_in_parts(self._size, self._source)
        yield from self._decode(decoder, left)
        self._inside = False

    @staticmethod
    def _decode(decoder: Feedable | None, left: int) -> Bytes:
        """None: what is made depends on old, so nothing can be said."""
        while left:
            piece = yield left
            for _ in (decoder.feed(piece) or ()) if decoder is not None else ():
                pass
            left -= len(piece)
        if decoder is not None:
            for _ in decoder.feed(b"") or ():
                pass
            decoder.finish()
