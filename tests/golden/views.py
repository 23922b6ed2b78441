"""Records whose delta runs between views, good and bad: what stands in front of the engine's payload (SPEC 6.5)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from golden import builder as b

NEEDS = ["bsdiff", "deflate-gnu-gzip", "deflate-jffs2", "deflate-zlib", "file", "view-parts"]
PARAMS = 9 | 8 << 4 | 15 << 8 | 1 << 15
_OLD_SIZE = 13  # of the old content that readers are tried with
_OLD, _NEW = {b.OLD_VIEW: 1}, {b.NEW_VIEW: 1}
_MEMORY = b.varint(400_000)
_CODINGS = b.varint(1) + b.varint(1) + b.varint(PARAMS)


def record(size: int, views: Mapping[int, Any], payload: bytes) -> bytes:
    """A manifest that needs views, one record with these fields, and the end."""
    fields = {b.PATH: b"a", b.MODE: 0, b.SIZE: size, b.DIGEST: 1, b.ENGINE: 1, b.SOURCE: {b.SIZE: _OLD_SIZE}}
    needs = b.record(b.MANIFEST, {b.RECORDS: 1, b.BYTES: 0, b.NEEDS: NEEDS})
    return needs + b.record(b.FILE, fields | dict(views), payload) + b.ENDING


def package(records: bytes) -> bytes:
    return b.Package(records, workspace=100, ram=1 << 20).build()


def _numbers(*values: int) -> bytes:
    return b"".join(map(b.varint, values))


def old(parts: Sequence[tuple[int, int, int, int]], *, slots: int = 1, slot: int = 64) -> bytes:
    """The half of old; parts: gap, coding, packed, zigzag of the change of the raw length."""
    listed = b"".join(_numbers(*part) for part in parts)
    return _numbers(slots, slot) + _CODINGS + b.varint(len(parts)) + listed


def new(listed: bytes, codings: bytes = _CODINGS) -> bytes:
    return codings + b.varint(len(listed)) + listed


def plain(size: int) -> bytes:
    return b.varint(size << 2)


def keep(size: int, zigzag: int) -> bytes:
    return b.varint(size << 2 | 1) + b.varint(zigzag)


def part(size: int, coding: int = 0) -> bytes:
    return b.varint(size << 2 | 2) + b.varint(coding) + b"\1\2\3\4"


def good() -> Iterator[tuple[str, bytes]]:
    literals = b.triple([], bytes(5))
    pieces = old([(1, 0, 4, 40), (0, 0, 3, 3), (2, 0, 3, 0)])  # 20, 18 and 18 bytes
    yield "view-old", package(record(49, _OLD, _MEMORY + pieces + b.triple([(49, b"")], b"", 10)))
    yield "view-new", package(record(5, _NEW, _MEMORY + new(plain(5), b"\0") + literals))
    yield "view-note", package(record(5, _NEW | {35: "gzip"}, _MEMORY + new(plain(5), b"\0") + literals))
    kept = keep(4, 6) + plain(2) + keep(3, 2 * 6 - 1) + part(3)
    yield "view-both", package(record(20, _OLD | _NEW, _MEMORY + pieces + new(kept) + literals))
    yield "view-nothing-of-the-engine", package(record(7, _NEW, _MEMORY + new(keep(7, 0), b"\0")))
    yield "view-gnu-gzip", package(record(5, _NEW, _MEMORY + new(part(5), _numbers(1, 4, 9)) + literals))
    yield "view-jffs2", package(record(5, _NEW, _MEMORY + new(part(5), _numbers(1, 7, 3 | 12 << 4)) + literals))
    fields = {b.PATH: b"a", b.MODE: 0, **b.content(bytes(5)), b.ENGINE: 1, b.FALLBACK: 1, b.NEW_VIEW: 1}
    about = fields | {b.SOURCE: {b.SIZE: _OLD_SIZE, b.DIGEST: 1}}  # its coding is not among the needs
    rebuilt = b.record(b.FILE, about, _MEMORY + new(part(5)) + literals) + b.chunks(bytes(5))
    needs = b.manifest(["bsdiff", "fallback", "file", "full", "view-parts"])
    yield "view-fallback", package(needs + rebuilt + b.ENDING)
    yield "view-no-parts", package(record(5, _OLD, _MEMORY + old([]) + literals))


def bad() -> Iterator[tuple[str, bytes]]:
    """Found when the payload is read, with or without old content."""
    deltas: dict[str, tuple[Mapping[int, Any], bytes]] = {
        "empty": (_OLD, b""),
        "cut-in-the-list-of-old": (_OLD, old([(0, 0, 4, 40)])[:-1]),
        "cut-in-the-list-of-new": (_NEW, new(plain(5))[:-1]),
        "no-engine": (_NEW, new(plain(5))),
        "number-too-long": (_OLD, b"\x81\0"),
        "slot-0": (_OLD, old([], slot=0)),
        "slot-2-31": (_OLD, old([], slot=1 << 31)),
        "part-without-coding": (_OLD, old([(0, 1, 4, 40)])),
        "part-of-nothing": (_OLD, old([(0, 0, 0, 40)])),
        "part-to-nothing": (_OLD, old([(0, 0, 4, 0)])),
        "part-to-less": (_OLD, old([(0, 0, 4, 1)])),
        "part-to-4-gib": (_OLD, old([(0, 0, 4, 1 << 33)])),
        "part-beyond-old": (_OLD, old([(10, 0, 4, 40)])),
        "gap-beyond-old": (_OLD, old([(14, 0, 1, 40)])),
        "segment-of-nothing": (_NEW, new(plain(0))),
        "segment-unknown": (_NEW, new(b.varint(5 << 2 | 3))),
        "keep-before-old": (_NEW, new(keep(5, 1))),
        "keep-beyond-old": (_NEW, new(keep(5, 2 * 9))),
        "keep-without-place": (_NEW, new(b.varint(5 << 2 | 1))),
        "part-of-no-coding": (_NEW, new(part(5, 1))),
        "part-cut-in-its-check": (_NEW, new(part(5)[:-1])),
        "more-than-new": (_NEW, new(plain(6))),
        "list-ends-in-a-number": (_NEW, new(b"\x80")),
        "more-from-the-engine": (_NEW, new(plain(5), b"\0") + b.triple([], bytes(6))),
        "after-the-engine": (_NEW, new(plain(5), b"\0") + b.triple([], bytes(5)) + b"\0"),
        "less-than-new": (_NEW, new(plain(4), b"\0") + b.triple([], bytes(4))),
    }
    for name, (views, payload) in deltas.items():
        yield f"delta-view-{name}", package(record(5, views, _MEMORY + payload if payload else b""))
    yield "limit-view-slots-0", package(record(5, _OLD, _MEMORY + old([], slots=0)))
    yield "limit-view-slots-65", package(record(5, _OLD, _MEMORY + old([], slots=65)))
    yield "limit-view-codings", package(record(5, _NEW, _MEMORY + new(b"", b.varint(17) + _numbers(1, PARAMS) * 17)))
    yield "unsupported-view-params", package(record(5, _NEW, _MEMORY + new(plain(5), _numbers(1, 1, 1 << 16))))
    for level in (0, 10):
        bad_level = _MEMORY + new(plain(5), _numbers(1, 4, level))
        yield f"unsupported-view-gnu-gzip-level-{level}", package(record(5, _NEW, bad_level))
    for params in (10 | 12 << 4, 3 | 11 << 4, 3 | 27 << 4, 3 | 12 << 4 | 1 << 9):
        bad_params = _MEMORY + new(plain(5), _numbers(1, 7, params))
        yield f"unsupported-view-jffs2-params-{params}", package(record(5, _NEW, bad_params))
    yield "format-view-not-needed", package(record(5, _NEW, _MEMORY + new(plain(5), _numbers(1, 2, 0))))
    yield "limit-view-memory", package(record(5, _NEW, b.varint(500_000) + new(plain(5))))
