"""Looking at a package without a board: what is in it, and whether it is whole. Composition only."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain

from otastream.container import has_payload
from otastream.errors import Code, OtaError, error
from otastream.keys import Keys
from otastream.model import Chunk, EngineId, Event, Head, Preamble, Record
from otastream.native import Buffer, Decoder, Xxh64
from otastream.stages.decompress import decompress
from otastream.stages.read import Source, read
from otastream.stages.records import records
from otastream.stages.verify import first, verify


@dataclass(frozen=True, slots=True)
class Entry:
    """One record of a package. sent: bytes of its payload before compression, 0 without one."""

    number: int
    record: Record
    sent: int


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
    return Inspection(preamble, _entries(events, payloads=payloads))


def _entries(events: Iterable[Event], *, payloads: bool) -> Iterator[Entry]:
    number, sent = -1, 0
    record: Record | None = None
    payload: _Payload | None = None
    try:
        for event in events:
            if isinstance(event, Head):
                number, sent, record = number + 1, 0, event.record
                payload = _Payload(record) if payloads and has_payload(record) else None
            elif isinstance(event, Chunk):
                sent += len(event.data)
                if payload is not None:
                    payload.feed(event.data)
            elif payload is not None:
                payload.finish()
            if record is not None and not (
                isinstance(event, Chunk) or (isinstance(event, Head) and has_payload(record))
            ):
                yield Entry(number, record, sent)
    except OtaError as failure:
        if failure.record is None and number >= 0:
            failure.record = number
        raise


class _Payload:
    """Decodes a payload against an old content of zeros: what comes out is of use only if it was sent in full."""

    def __init__(self, record: Record) -> None:
        engine, size, source = (getattr(record, name, None) for name in ("engine", "size", "source"))
        if not isinstance(engine, EngineId) or not isinstance(size, int):
            raise error(Code.INTERNAL, "a payload without an engine")
        self._decoder = Decoder(engine, size, source=None if source is None else _Zeros(source.size))
        self._full = engine is EngineId.FULL
        self._digest = getattr(record, "digest", None)
        self._hash = Xxh64()

    def feed(self, data: Buffer) -> None:
        for output in self._decoder.feed(data):
            if self._full:
                self._hash.update(output)

    def finish(self) -> None:
        self._decoder.finish()
        if self._full and self._hash.value() != self._digest:
            raise error(Code.CORRUPT, "a payload is not what its record says")


class _Zeros:
    """Stands for old content that is not there."""

    def __init__(self, size: int) -> None:
        self.size = size

    def read_into(self, offset: int, target: Buffer) -> None:  # noqa: ARG002
        view = memoryview(target)
        view[:] = bytes(len(view))
