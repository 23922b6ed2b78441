"""From an old and a new image to what a delta may run between: the images with their compressed parts decompressed.

Every part of new either stands in old as it is (kept), or was compressed here with the coding that the board will use,
to the very same bytes (recompressed), or stays compressed. Nothing else is promised, so what cannot be recognised or
reproduced costs bytes and never an error.
"""

from __future__ import annotations

from bisect import bisect
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Final

import xxhash

from otastream import native
from otastream.model import WORKSPACE_MAX, CodingId
from otastream.native import Buffer
from otastream.views import codings, scan
from otastream.views.codings import Coding
from otastream.views.parts import CODINGS_MAX, PACKED_MAX, SLOTS_MAX, VIEW_MAX, Front, Kind, Part, Segment

CHUNK: Final = 1 << 16
"""Parts are decoded in chunks of up to this size: two small ones serve alternating reads better than one large."""
CACHE: Final = 1 << 17
"""Bytes of decoded old that a board keeps; with the encoder of zlib and all else it stays within 1.5 MiB."""
LONG_CHUNK: Final = 1 << 14
"""The same where most of old is in parts longer than that: what is read is mostly near to where the decoder stands."""
LONG_SLOTS: Final = 2
POINTS: Final = 2
"""Restart points in such parts, where there is memory for them. Measured on a kernel and an initramfs of 20 MB, with
engine xref: they are decoded 1.1 times over with 2 of them, 1.8 times with one. (A delta of the kernel with short
copies from far away, which is hardly smaller, would decode it 39 times, and 68 times.)
"""
CACHE_LARGE: Final = 1 << 19
"""The same where the encoder takes several MiB anyway."""
CACHE_NODES: Final = 1 << 15
"""The same where all parts are small, as the nodes of flash file systems: one is decoded again in no time."""
NODE: Final = 1 << 13
"""Bytes of a small part at most."""
GROWTH: Final = 8
"""What an image may expand to, in times of its own bytes: real ones grow to three or four. The packer needs seven times
of that in memory, and what is there to fill it (a decompression bomb) stays compressed.
"""
GROWTH_LEAST: Final = 64 << 20
"""The same in bytes, for small images."""
GIVE_UP: Final = 24
"""So many parts in a row that no parameters reproduce: the rest of the container is not tried."""


@dataclass(slots=True)
class Expansion:
    """What the engine sees of both images, and what has to stand in front of its payload. Counts are of new."""

    old: bytes
    new: bytes
    front: Front
    note: str
    kept: int
    coded: int
    packed: int  # bytes of the image that are recompressed
    changed: tuple[tuple[int, int], ...] = ()  # where those are in the image: offset and length
    long: bool = False  # there are parts that were left alone since they are too long


def expand(
    old: Buffer,
    new: Buffer,
    *,
    allowed: frozenset[CodingId],
    memory: int = WORKSPACE_MAX,
    programs: bool = False,
    longest: int = PACKED_MAX,
) -> Expansion | str | None:
    """Look into both images. None: nothing is known inside of new; a text: something is, and why it is of no use.

    allowed: codings that the boards have; memory: bytes that one of them may take there. programs: a program that
    changed is recompressed as a whole, even where parts of it are in old as they are: engine xref, which wants to see
    it from its header to its end, needs less then. longest: bytes of a part that is compressed again, at most.
    """
    old_view, new_view = memoryview(old).cast("B"), memoryview(new).cast("B")
    if len(old_view) > VIEW_MAX or len(new_view) > VIEW_MAX:
        return None
    found = scan.scan(new_view)
    if not found.parts:
        return found.note or None
    usable = codings.present() & allowed
    if not any(part.coding.id in usable for part in found.parts):
        ids = {part.coding.id for part in found.parts}
        names = ", ".join(sorted(codings.LIBRARIES[id_].name for id_ in ids))
        return f"{'packer' if ids & allowed else 'boards'} without {names}: {found.note}"
    made = _New(old_view, new_view, usable, memory, longest)
    old_found = [part for part in scan.scan(old_view).parts if part.coding.id in usable]
    made.learn(old_found)
    if programs:
        made.mend(found.parts)
    made.run(found.parts)
    if not made.counts["coded"] and not made.counts["kept"]:
        why = f"needs {made.least} bytes of memory" if made.least else f"0/{len(found.parts)} reproduced"
        why = "longer than a unit" if made.long else why
        return f"{why}: {found.note}"
    expanded, parts = _expand_old(old_view, [part for part in old_found if made.wants(part)], memory)
    front = front_of(parts, made.segments)
    front.old = parts or None
    return Expansion(
        expanded,
        bytes(made.out),
        front,
        f"{found.note}: {made.share()} reproduced, {made.counts['coded']} parts recompressed, "
        f"{made.counts['kept']} kept, {made.counts['literal']} sent as they are",
        made.counts["kept"],
        made.counts["coded"],
        made.packed,
        tuple(made.changed),
        made.long,
    )


def front_of(parts: list[Part], segments: list[Segment]) -> Front:
    """With a cache that fits the parts, and the memory that the encoder takes anyway."""
    used = {item.coding for item in segments if item.coding is not None}
    large = any(codings.size(coding, encode=True) > 2 * CACHE_LARGE for coding in used)
    long = sum(part.raw for part in parts if part.raw > CACHE and part.coding.id in codings.SMALL)
    points = POINTS if long and not large else 0
    if points and long > sum(part.raw for part in parts) // 2:
        return Front(parts, segments, LONG_SLOTS, LONG_CHUNK, points)
    slot = min(CHUNK, max((part.raw for part in parts), default=CHUNK))
    cache = CACHE_LARGE if large else CACHE_NODES if slot <= NODE else CACHE
    slots = min(SLOTS_MAX, cache // slot)
    return Front(parts, segments, slots, slot, points)


def _expand_old(image: memoryview, found: Sequence[scan.Found], memory: int) -> tuple[bytes, list[Part]]:
    """Old as the engine sees it; a part that does not decode, or would make the view too large, stays as it is."""
    out, parts, end = bytearray(), [], 0
    most = _most(image)
    known: set[Coding] = set()
    for item in found:
        coding = codings.decoding(item.coding)
        if not _room(coding, known) or codings.size(coding, encode=False) > memory:
            continue
        raw = item.raw
        room = most - len(out) - (len(image) - end)
        if raw is None or len(raw) > room or not 0 < item.packed <= PACKED_MAX:
            continue
        out += image[end : item.offset]
        out += raw
        end = item.offset + item.packed
        parts.append(Part(item.offset, item.packed, len(raw), coding))
        known.add(coding)
    out += image[end:]
    return bytes(out), parts


def _most(image: memoryview) -> int:
    """Bytes that an image may expand to."""
    return min(VIEW_MAX, max(GROWTH_LEAST, GROWTH * len(image)))


def _room(coding: Coding, known: Collection[Coding]) -> bool:
    """Whether a front that has these codings may have one more."""
    return coding in known or len(known) < CODINGS_MAX


class _New:
    """The segments of new, and what the engine has to make for them."""

    def __init__(
        self, old: memoryview, new: memoryview, usable: frozenset[CodingId], memory: int, longest: int
    ) -> None:
        self._old, self._new, self._usable, self._memory, self._longest = old, new, usable, memory, longest
        self.long = False  # there is a longer one
        self._kept: set[int] = set()
        self.least = 0  # bytes that the smallest encoder takes of those that take too much
        self._places: dict[int, scan.Found] = {}
        self._likely: list[Coding] = []
        self._failures: Counter[str] = Counter()
        self._mended: set[int] = set()
        self.out = bytearray()
        self.segments: list[Segment] = []
        self.counts: Counter[str] = Counter()
        self.packed = 0
        self.changed: list[tuple[int, int]] = []
        self._kept_bytes = 0
        self._literal = 0  # bytes of the parts that are sent as they are

    def learn(self, found: Iterable[scan.Found]) -> None:
        """Remember where each part of old stands."""
        for item in found:
            self._places.setdefault(xxhash.xxh64_intdigest(self._old[item.offset : item.offset + item.packed]), item)

    def wants(self, item: scan.Found) -> bool:
        """Whether new can gain from seeing this part of old decompressed: a member of an archive that stays as it is
        has nothing in common with the others.
        """
        return not (item.container == "zip" and item.offset in self._kept) and item.packed <= self._longest

    def mend(self, found: Iterable[scan.Found]) -> None:
        """Find the parts of programs of which other parts are not in old."""
        whole, end, places = bytearray(), 0, []
        for item in found:
            raw = item.raw if item.coding.id in self._usable else None
            if raw is None:
                continue
            if len(whole) + len(raw) > _most(self._new):
                return
            whole += self._new[end : item.offset]
            places.append((len(whole), item))
            whole += raw
            end = item.offset + item.packed
        whole += self._new[end:]
        starts = [start for start, _ in places]
        for at, size in native.programs(whole):
            inside = [item for _, item in places[max(0, bisect(starts, at) - 1) : bisect(starts, at + size - 1)]]
            if not all(self._known(self._packed(item)) for item in inside):
                self._mended.update(item.offset for item in inside)

    def _packed(self, item: scan.Found) -> memoryview:
        return self._new[item.offset : item.offset + item.packed]

    def run(self, found: Iterable[scan.Found]) -> None:
        end = 0
        for item in found:
            gap = item.offset - end
            known = self._known(self._packed(item))
            made = None if known is not None and item.offset not in self._mended else self._made(item)
            if known is not None and made is None:
                self._keep(known, gap, end)
            else:
                self._plain(gap, end)
                self._part(item, made)
            end = item.offset + item.packed
        self._plain(len(self._new) - end, end)

    def share(self) -> str:
        """How much of the compressed bytes of new are not sent as they are, in per cent; 100 if none are."""
        whole = self.packed + self._kept_bytes + self._literal
        return f"{(whole - self._literal) * 1000 // whole / 10:g} %"

    def _known(self, packed: memoryview) -> scan.Found | None:
        """The part of old with these bytes."""
        known = self._places.get(xxhash.xxh64_intdigest(packed))
        same = known is not None and self._old[known.offset : known.offset + known.packed] == packed
        return known if same else None

    def _keep(self, known: scan.Found, gap: int, end: int) -> None:
        """A part of old as it is, and with it the bytes in front, if they are the same there."""
        start = known.offset - gap
        if start < 0 or self._old[start : known.offset] != self._new[end : end + gap]:
            self._plain(gap, end)
            start = known.offset
        self.counts["kept"] += 1
        self._kept_bytes += known.packed
        self._kept.add(known.offset)
        self._add(Segment(Kind.KEEP, known.offset + known.packed - start, start))

    def _plain(self, size: int, offset: int) -> None:
        if size:
            self._add(Segment(Kind.PLAIN, size))
            self.out += self._new[offset : offset + size]

    def _made(self, item: scan.Found) -> tuple[Coding, bytes] | None:
        """How a part was compressed, and what it expands to."""
        if item.packed > self._longest:
            self.long = True
            return None
        raw = item.raw if item.coding.id in self._usable else None
        if raw is None or len(self.out) + len(raw) + len(self._new) - item.offset - item.packed > _most(self._new):
            return None
        coding = self._coding(item, self._packed(item), raw)
        return None if coding is None else (coding, raw)

    def _part(self, item: scan.Found, made: tuple[Coding, bytes] | None) -> None:
        packed = self._packed(item)
        if made is None:
            self.counts["literal"] += 1
            self._literal += item.packed
            self._plain(item.packed, item.offset)
            return
        coding, raw = made
        self.counts["coded"] += 1
        self.packed += len(packed)
        self.changed.append((item.offset, len(packed)))
        check = xxhash.xxh64_intdigest(packed) & 0xFFFFFFFF
        self._add(Segment(Kind.CODED, len(raw), coding=coding, check=check))
        self.out += raw

    def _coding(self, item: scan.Found, packed: memoryview, raw: bytes) -> Coding | None:
        """The parameters that make these bytes: those that did last time first."""
        if self._failures[item.container] >= GIVE_UP:
            return None
        candidates = [item.coding, *codings.candidates(item.coding, packed)]
        if item.another is not None:
            candidates += codings.candidates(item.another, packed)
        ids = {coding.id for coding in candidates} & self._usable
        for coding in dict.fromkeys([*self._likely, *candidates]):
            if coding.id not in ids or not _room(coding, self._likely) or not self._affords(coding):
                continue
            if codings.makes(coding, raw, packed):
                if coding in self._likely:
                    self._likely.remove(coding)
                self._likely.insert(0, coding)
                self._failures[item.container] = 0
                return coding
        self._failures[item.container] += 1
        return None

    def _affords(self, coding: Coding) -> bool:
        """Whether boards have the memory for this encoder."""
        need = codings.size(coding, encode=True)
        if need > self._memory:
            self.least = min(self.least or need, need)
        return need <= self._memory

    def _add(self, item: Segment) -> None:
        last = self.segments[-1] if self.segments else None
        same = last is not None and last.kind is item.kind is not Kind.CODED
        if last is not None and same and (item.kind is Kind.PLAIN or item.offset == last.offset + last.size):
            last.size += item.size
        else:
            self.segments.append(item)
