"""insert: put the records of a new package into the stream of an existing one."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator

from otastream.errors import Code, error
from otastream.model import End, Event, Expect, Head, Manifest, Script, When


def insert(events: Iterable[Event], *, added: Iterable[Event], seen: Callable[[Expect], None]) -> Iterator[Event]:
    """The stream ``events`` with the records of ``added``: expects after the old expects, actions after the old ones.

    Both are complete streams. The sums of the manifests are added up; name, version and time are those of ``added``
    where it has them. seen is called with every old expect, and may refuse it. CONFIG: both streams have a begin
    script, or both have an end script.
    """
    return _insert(iter(events), iter(added), seen)


def _insert(old: Iterator[Event], new: Iterator[Event], seen: Callable[[Expect], None]) -> Iterator[Event]:
    yield Head(_merged(_manifest(old), _manifest(new)))
    scripts: set[When] = set()
    old_action = yield from _front(old, scripts, seen)
    new_action = yield from _front(new, scripts, lambda _: None)
    for action in (old_action, new_action):
        if _when(action) is When.BEGIN:
            _once(When.BEGIN, scripts)
    if _when(new_action) is When.BEGIN:
        yield new_action
        new_action = yield from _payload(new)
    yield from _actions(old_action, old)
    yield from _actions(new_action, new)
    yield Head(End())


def _manifest(events: Iterator[Event]) -> Manifest:
    head = next(events)
    if not (isinstance(head, Head) and isinstance(head.record, Manifest)):
        raise error(Code.FORMAT, "the package does not begin with its manifest")
    return head.record


def _merged(old: Manifest, new: Manifest) -> Manifest:
    return Manifest(
        records=old.records + new.records,
        bytes=old.bytes + new.bytes,
        needs=tuple(sorted({*old.needs, *new.needs})),
        name=new.name if new.name is not None else old.name,
        version=new.version if new.version is not None else old.version,
        created=new.created if new.created is not None else old.created,
    )


def _front(events: Iterator[Event], scripts: set[When], seen: Callable[[Expect], None]) -> Generator[Event, None, Head]:
    """Give everything in front of the actions; the head that stands there, which may be the end, is returned."""
    head = _next(events)
    while True:
        if isinstance(head.record, Expect):
            seen(head.record)
            yield head
            head = _next(events)
        elif _when(head) is When.END:
            _once(When.END, scripts)
            yield head
            head = yield from _payload(events)
        else:
            return head


def _actions(head: Head, events: Iterator[Event]) -> Iterator[Event]:
    event: Event = head
    while not (isinstance(event, Head) and isinstance(event.record, End)):
        yield event
        event = next(events)
    for _ in events:  # nothing follows, but only pulling says so: the reader checks the end of the file there
        raise error(Code.INTERNAL, "events after the end")


def _payload(events: Iterator[Event]) -> Generator[Event, None, Head]:
    """Give the rest of a record; the next head is returned."""
    for event in events:
        if isinstance(event, Head):
            return event
        yield event
    raise error(Code.INTERNAL, "a stream without an end")


def _next(events: Iterator[Event]) -> Head:
    head = next(events)
    if not isinstance(head, Head):
        raise error(Code.INTERNAL, "payload without a record")
    return head


def _when(head: Head) -> When | None:
    return head.record.when if isinstance(head.record, Script) else None


def _once(when: When, scripts: set[When]) -> None:
    if when in scripts:
        raise error(Code.CONFIG, f"the package already has a script of type {when.name.lower()}, and can have only one")
    scripts.add(when)
