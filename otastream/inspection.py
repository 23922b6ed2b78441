"""Looking at a package without a board: what is in it, and whether it is whole. Composition only."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import chain

from otastream.container import has_fallback, has_payload, payloads_of
from otastream.engines.segments import SegmentChecker
from otastream.errors import Code, OtaError, error
from otastream.fields import CODINGS
from otastream.keys import Keys
from otastream.model import (
    WORKSPACE_MAX,
    Block,
    Chunk,
    CodingId,
    EngineId,
    Event,
    File,
    Head,
    Manifest,
    Preamble,
    Record,
    Ubi,
    in_full,
)
from otastream.native import Buffer, Decoder, Xxh64
from otastream.stages.decompress import decompress
from otastream.stages.read import Source, read
from otastream.stages.records import records
from otastream.stages.verify import first, verify
from otastream.views.parts import Frame, decode


@dataclass(frozen=True, slots=True)
class Entry:
    """One record of a package. sent: bytes of its payload before compression, 0 without one; fallback: those of the
    payload that stands in for it.
    """

    number: int
    record: Record
    sent: int
    fallback: int = 0


@dataclass(frozen=True, slots=True)
class Inspection:
    """What stands in front of a package, and its records one after the other as they are read (to be used once)."""

    preamble: Preamble
    entries: Iterator[Entry]


def inspect_package(source: Source, *, keys: Keys | None = None) -> Inspection:
    """Read a package: every digest and every record is checked on the way, the content of payloads is not.

    Errors: INPUT and those of the package and trust groups; those of the preamble at once, the others while iterating.
    """
    return _inspection(source, keys, payloads=False)


def verify_package(source: Source, *, keys: Keys | None = None) -> Inspection:
    """The same with everything that can be known without old content: length, syntax and ranges of payloads (DELTA),
    digests of what is sent in full (CORRUPT).
    """
    return _inspection(source, keys, payloads=True)


def _inspection(source: Source, keys: Keys | None, *, payloads: bool) -> Inspection:
    items = verify(read(source), keys=keys)
    preamble = first(items)
    events = records(decompress(chain([preamble], items)))
    return Inspection(preamble, _entries(events, payloads=payloads, workspace=preamble.workspace))


def _entries(events: Iterable[Event], *, payloads: bool, workspace: int) -> Iterator[Entry]:
    number, sent = -1, [0]
    codings: frozenset[CodingId] = frozenset()
    record: Record | None = None
    payload: _Payload | _Segments | None = None
    try:
        for event in events:
            if isinstance(event, Head):
                number, sent, record = number + 1, [0], event.record
                if isinstance(record, Manifest):
                    codings = frozenset(coding for coding, name in CODINGS.items() if name in record.needs)
                payload = _opened(record, workspace, codings) if payloads and has_payload(record) else None
            elif isinstance(event, Chunk):
                sent[-1] += len(event.data)
                if payload is not None:
                    payload.feed(event.data)
            elif payload is not None:
                payload.finish()
            if record is None or isinstance(event, Chunk) or (isinstance(event, Head) and has_payload(record)):
                continue
            if len(sent) < payloads_of(record):
                sent.append(0)
                payload = _opened(_fallback(record), workspace, codings) if payloads else None
            else:
                yield Entry(number, record, *sent)
    except OtaError as failure:
        if failure.record is None and number >= 0:
            failure.record = number
        raise


class _Payload:
    """Decodes a payload against an old content of zeros: what comes out is of use only if it was sent in full.

    part: of a payload in place, bytes of old and of new that a segment of it is between.
    """

    def __init__(
        self, record: Record, workspace: int, codings: frozenset[CodingId], part: tuple[int, int] | None = None
    ) -> None:
        engine, size, source = (getattr(record, name, None) for name in ("engine", "size", "source"))
        if not isinstance(engine, EngineId) or not isinstance(size, int):
            raise error(Code.INTERNAL, "a payload without an engine")
        old_size = 0 if source is None else source.size
        if part is not None:
            old_size, size = part
        self._engine, self._size, self._source = engine, size, source
        self._old_view = getattr(record, "old_view", None) is not None
        self._new_view = getattr(record, "new_view", None) is not None
        self._front = bytearray() if self._old_view or self._new_view else None
        self._frame = Frame(old_size, size, workspace, codings)
        self._decoder = None if self._front is not None else self._open(size, old_size)
        self._full = engine is EngineId.FULL
        self._digest = getattr(record, "digest", None)
        self._hash = Xxh64()
        self._wanted = 0

    def _open(self, size: int, old_size: int) -> Decoder | _Unseen:
        if self._engine is EngineId.XREF:
            return _Unseen()
        old = None if self._source is None else _Zeros(old_size)
        return Decoder(self._engine, size, source=old)

    def feed(self, data: Buffer) -> None:
        if self._decoder is None and self._front is not None:
            self._front += data
            if len(self._front) < self._wanted or not (data := self._begin(bytes(self._front))):
                return
        for output in self._decoder.feed(data) if self._decoder is not None else ():
            if self._full:
                self._hash.update(output)

    def _begin(self, front: bytes) -> bytes:
        """The views are complete, if they are: the engine begins. What follows them."""
        found = decode(front, old=self._old_view, new=self._new_view, frame=self._frame)
        if found is None:
            self._wanted = 2 * len(front)  # not to read it all again with every chunk
            if len(front) > WORKSPACE_MAX:
                raise error(Code.LIMIT, "a view is larger than any workspace")
            return b""
        self._decoder = self._open(found[0].size() if self._new_view else self._size, found[2])
        self._front = None
        return front[found[1] :]

    def finish(self) -> None:
        if self._decoder is None and self._front is not None:
            self._wanted = 0
            self.feed(b"")
        if self._decoder is None:
            raise error(Code.DELTA, "a payload ends inside of its views")
        self._decoder.finish()
        if self._full and self._hash.value() != self._digest:
            raise error(Code.CORRUPT, "a payload is not what its record says")


class _Unseen:
    """Stands for the decoder of an engine to which every byte of old matters: without old nothing is to be seen."""

    def feed(self, data: Buffer) -> Iterable[memoryview]:
        del data
        return ()

    def finish(self) -> None:
        pass


class _Segments:
    """The payload of a record in place: its segments, and that it is the one that the record names."""

    def __init__(self, record: Block, unit: int, old_size: int, viewed: Callable[[int, int], _Payload] | None) -> None:
        source = _Zeros(old_size)
        self._checker = SegmentChecker(record.engine, size=record.size, unit=unit, source=source, viewed=viewed)
        self._plan = record.plan
        self._hash = Xxh64()

    def feed(self, data: Buffer) -> None:
        self._hash.update(data)
        self._checker.feed(data)

    def finish(self) -> None:
        self._checker.finish()
        if self._hash.value() != self._plan:
            raise error(Code.CORRUPT, "a payload is not what its record says")


def _opened(record: Record, workspace: int, codings: frozenset[CodingId]) -> _Payload | _Segments:
    if has_fallback(record):  # its codings need not be in the manifest
        codings = frozenset(CodingId)
    if isinstance(record, Block) and record.unit is not None and record.source is not None:
        viewed = partial(_part, record, workspace, codings) if record.old_view or record.new_view else None
        return _Segments(record, record.unit, record.source.size, viewed)
    return _Payload(record, workspace, codings)


def _part(record: Block, workspace: int, codings: frozenset[CodingId], old: int, new: int) -> _Payload:
    return _Payload(record, workspace, codings, (old, new))


def _fallback(record: Record) -> Record:
    """The record whose payload is its fallback."""
    if not isinstance(record, Block | Ubi | File):
        raise error(Code.INTERNAL, "a record of this kind has no fallback")
    return in_full(record)


class _Zeros:
    """Stands for old content that is not there."""

    def __init__(self, size: int) -> None:
        self.size = size

    def read_into(self, offset: int, target: Buffer) -> None:  # noqa: ARG002
        view = memoryview(target)
        view[:] = bytes(len(view))
