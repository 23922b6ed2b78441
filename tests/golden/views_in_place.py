"""Records in place whose delta runs between views, good and bad: docs/SPEC.md section 6.4.2."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from golden import builder as b
from golden import views as v

OLD: Final = b.noise(10_000, 3)
NEW: Final = bytes(4000) + OLD[100:2096] + OLD[6000:8100] + b"x" * 1904
_UNIT: Final = 4096
_NEEDS: Final = ["block", "bsdiff", "deflate-zlib", "view-parts"]
_MEMORY: Final = b.varint(400_000)
_TEXT: Final = b"hello, board\n"
_SMALL: Final = b"hello, bored\n"  # what readers are tried with


def reads(ranges: Sequence[tuple[int, int]], before: int = 0, behind: int = 0, handed: int = 0) -> bytes:
    """ranges: (zigzag of where it begins minus where the one before ended, length). handed: a zigzag, too."""
    listed = b"".join(b.varint(zigzag) + b.varint(length) for zigzag, length in ranges)
    return b.varint(len(ranges)) + listed + b.varint(before) + b.varint(behind) + b.varint(handed)


def front(listed: bytes, parts: Sequence[tuple[int, int, int, int]] = ()) -> bytes:
    return _MEMORY + v.old(parts) + v.new(listed, b"\0")


def _package(old: bytes, new: bytes, payload: bytes, needs: Sequence[str] = _NEEDS, *, target: bytes = b"/a") -> bytes:
    fields: dict[int, Any] = {b.TARGETS: [target], b.SIZE: len(new), b.DIGEST: b.xxh(new), b.ENGINE: 1}
    fields |= {b.OLD_VIEW: 1, b.NEW_VIEW: 1, b.UNIT: _UNIT, b.PLAN: b.xxh(payload)}
    fields |= {b.SOURCE: {b.SIZE: len(old), b.DIGEST: b.xxh(old)}}
    records = b.record(b.MANIFEST, {b.RECORDS: 1, b.BYTES: 0, b.NEEDS: list(needs)})
    return v.package(records + b.record(b.BLOCK, fields, payload) + b.ENDING)


def good() -> Iterator[tuple[str, bytes]]:
    """The middle first, made together with the ends of both neighbours, of which the first gets its own; what it keeps
    nobody reads. Then the first, which gets the last bytes of it and hands over none; then the last, whole.
    """
    middle = front(v.keep(1996, 2 * 2100) + v.keep(2100, 2 * 4096 - 1) + v.plain(104)) + b.triple([], b"x" * 104)
    about = reads([(2 * 1904, 2100), (2 * 8000 - 1, 1996)], 96, 8, 2 * 90 - 1)
    payload = b.segment(1, NEW[4096:8192], middle, kept=[(1904, 2000)], last=1, reads=about)
    first = front(v.plain(4000) + v.keep(6, 0)) + b.triple([], bytes(4000))
    payload += b.segment(-2, NEW[:4096], first, reads=reads([(200, 6)]))
    last = front(v.plain(1808)) + b.triple([], b"x" * 1808)
    payload += b.segment(1, NEW[8192:], last, reads=reads([]))
    yield "in-place-views", _package(OLD, NEW, payload)
    yield "in-place-views-handed-on", _package(OLD, NEW, _handed_on())
    line = _SMALL * 400
    yield "in-place-views-forth", _package(_SMALL, line, _lines(line, forth=True), target=b"/dev/mtd5")
    yield "in-place-views-back", _package(_SMALL, line, _lines(line, forth=False), target=b"/dev/mtd6")


def _handed_on() -> bytes:
    """From the first to the last, each of which hands over what it has made of the next one."""
    one = front(v.plain(4000) + v.keep(1996, 0)) + b.triple([], bytes(4000))
    payload = b.segment(0, NEW[:4096], one, reads=reads([(200, 1996)], 0, 1900, 2 * 1900))
    two = front(v.keep(2100, 0) + v.plain(1000)) + b.triple([], b"x" * 1000)
    payload += b.segment(0, NEW[4096:8192], two, reads=reads([(2 * 1904, 2100)], 0, 904, 2 * 900))
    three = front(v.plain(908)) + b.triple([], b"x" * 908)
    return payload + b.segment(0, NEW[8192:], three, reads=reads([]))


def _lines(new: bytes, *, forth: bool) -> bytes:
    """Old again and again; the second unit ends within a line, the first one hands over the rest of one or gets it."""

    def segment(distance: int, unit: int, start: int, end: int, *numbers: int) -> bytes:
        listed = b"".join(v.keep(13, 0 if at == start else 2 * 13 - 1) for at in range(start, end, 13))
        about = reads([(0 if unit == 0 else 2 * 13 - 1, 13)], *numbers)
        return b.segment(distance, new[unit * _UNIT : (unit + 1) * _UNIT], front(listed), reads=about)

    if forth:
        return segment(0, 0, 0, 4108, 0, 12, 2 * 12) + segment(0, 1, 4108, 5200)
    return segment(1, 1, 4095, 5200, 1, 0, 1) + segment(-2, 0, 0, 4095)


def _unit(distance: int, number: int, about: bytes, made: int) -> bytes:
    """A segment of this unit, all of it zeros, with so many bytes in all."""
    content = bytes(min(_UNIT, len(NEW) - number * _UNIT))
    return b.segment(distance, content, front(v.plain(made)) + b.triple([], bytes(made)), reads=about)


def handed() -> Mapping[str, bytes]:
    """Packages from OLD on that hand over what they must not; the golden readers have no old of several units."""
    payloads = {
        "handed-to-nobody": _unit(0, 0, reads([], 0, 9, 18), _UNIT + 9),
        "handed-to-another": _unit(0, 0, reads([], 0, 9, 18), _UNIT + 9) + _unit(1, 2, reads([]), 1808),
        "handed-to-the-other-side": _unit(1, 1, reads([], 9, 9, 18), _UNIT + 18) + _unit(-2, 0, reads([]), _UNIT),
        "made-twice": _unit(0, 0, reads([], 0, 9, 18), _UNIT + 9) + _unit(0, 1, reads([], 9), _UNIT),
        "all-of-a-unit-is-handed": _unit(1, 1, reads([], 0, 1808, 2 * 1808), _UNIT + 1808),
    }
    return {name: _package(OLD, NEW, payload) for name, payload in payloads.items()}


def bad() -> Iterator[tuple[str, bytes]]:
    """Old and new have 13 bytes, so there is one unit."""
    whole = front(v.plain(13)) + b.triple([(13, b"")], b"")
    all_of_old = reads([(0, 13)])
    for name, (about, payload) in {
        "no-reads": (b"", whole),
        "reads-129": (reads([(0, 1), (1, 1)] * 64 + [(1, 1)]), whole),
        "reads-nothing": (reads([(0, 0)]), whole),
        "reads-before-old": (reads([(1, 13)]), whole),
        "reads-beyond-old": (reads([(0, 14)]), whole),
        "reads-behind-old": (reads([(2 * 14, 1)]), whole),
        "reads-far-away": (reads([(2**63 - 2, 1)]), whole),
        "reads-huge": (reads([(0, 2**63 - 1)]), whole),
        "before-new": (reads([(0, 13)], 1), front(v.plain(14)) + b.triple([], bytes(14))),
        "behind-new": (reads([(0, 13)], 0, 1), front(v.plain(14)) + b.triple([], bytes(14))),
        "hands-over-what-it-does-not-make": (reads([(0, 13)], 0, 0, 2), whole),
        "hands-over-in-front-of-the-image": (reads([(0, 13)], 0, 0, 1), whole),
        "hands-over-much": (reads([(0, 13)], 0, 0, 2**63 - 1), whole),
        "no-handed": (reads([(0, 13)])[:-1], whole),
        "behind-huge": (reads([(0, 13)], 0, 2**63 - 1), whole),
        "cut-in-reads": (all_of_old[:-3], b""),
        "cut-in-front": (all_of_old, front(v.plain(13))[:-1]),
        "no-engine": (all_of_old, front(v.plain(13))),
        "more-than-is-made": (all_of_old, front(v.plain(14)) + b.triple([], bytes(14))),
        "less-than-is-made": (all_of_old, front(v.plain(12)) + b.triple([], bytes(12))),
        "after-the-engine": (all_of_old, whole + b"\0"),
        "keeps-beyond-what-is-read": (reads([(0, 5)]), front(v.keep(6, 0) + v.plain(7)) + b.triple([], bytes(7))),
        "part-beyond-what-is-read": (reads([(0, 5)]), front(v.plain(13), [(3, 0, 3, 40)]) + b.triple([], bytes(13))),
    }.items():
        segment = b.segment(0, _TEXT, payload, reads=about)
        yield f"delta-in-place-view-{name}", _package(_SMALL, _TEXT, segment)
    other = front(v.plain(13), [(0, 0, 4, 40)])
    segment = b.segment(0, _TEXT, other + b.triple([], bytes(13)), reads=all_of_old)
    lacking = [name for name in _NEEDS if name != "deflate-zlib"]
    yield "format-in-place-view-coding-not-needed", _package(_SMALL, _TEXT, segment, lacking)
    segment = b.segment(0, _TEXT, b.varint(500_000) + whole, reads=all_of_old)
    yield "limit-in-place-view-memory", _package(_SMALL, _TEXT, segment)
