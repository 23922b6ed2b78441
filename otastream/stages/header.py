"""header: ready records -> the events of a record stream, in the order of docs/SPEC.md section 5.2."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator

from otastream.model import Chunk, End, Event, Head, Manifest, Script, Tail, When
from otastream.tree import Ready


def header(
    ready: Iterable[Ready], *, manifest: Manifest, expects: Iterable[Head], end: Ready | None = None
) -> Iterator[Event]:
    """The whole stream: manifest, expects, end script, the ready records, end.

    ready comes in the order of execution, a begin script first. expects: heads of expect records. end: the end script,
    which stands in front of all that writes, so that it is on the board whatever happens later. Every payload is closed
    once it is sent.
    """
    if end is not None and not (isinstance(end.record, Script) and end.record.when is When.END):
        raise ValueError("not an end script")
    return _stream(ready, manifest, expects, end)


def _stream(ready: Iterable[Ready], manifest: Manifest, expects: Iterable[Head], end: Ready | None) -> Iterator[Event]:
    yield Head(manifest)
    yield from expects
    if end is not None:
        yield from send(end)
    for item in ready:
        yield from send(item)
    yield Head(End())


def send(item: Ready) -> Iterator[Event]:
    """The events of one record."""
    if item.payload is None:
        yield Head(item.record, item.raw)
        return
    yield Head(item.record, item.raw)
    for payload in (item.payload, item.fallback):
        if payload is not None:
            with contextlib.closing(payload):
                for chunk in payload.chunks():
                    yield Chunk(chunk)
                yield Tail()
