"""Stage: record stream -> records and their payloads as events (docs/SPEC.md sections 4 and 5)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from otastream.container import RecordReader
from otastream.model import Event


def records(pieces: Iterable[bytes | memoryview]) -> Iterator[Event]:
    """Bytes in any split -> Head, then for a record with payload Chunks and a Tail; the last Head is ``end``.

    A Chunk lives until the next event is pulled. Every rule about single records, their order and the needs of the
    manifest is checked; the content of payloads is not.
    Errors: FORMAT, UNSUPPORTED, LIMIT, PATH, with the number of the record; and what the pieces raise.
    """
    return _records(pieces)


def _records(pieces: Iterable[bytes | memoryview]) -> Iterator[Event]:
    reader = RecordReader()
    for piece in pieces:
        yield from reader.feed(piece)
    reader.close()
