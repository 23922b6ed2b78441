"""Decide how the payload of one record is coded."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Final

import xxhash

from otastream.cache import DeltaCache, key
from otastream.deltas.content import FilePayload, Part, load_checked, opened
from otastream.deltas.cost import begins_larger, compressed_size, pieces, plain_least
from otastream.deltas.in_place import largest_unit, views_in_place
from otastream.engines import ENGINES, Engine, Payload, xref
from otastream.engines.bsdiff import Bsdiff
from otastream.engines.in_place import InPlace, encode_in_place
from otastream.engines.payload import Prefixed
from otastream.engines.xref import largest
from otastream.model import Action, Block, CodingId, EngineId, File, Script, Ubi, View, in_full
from otastream.native import NO_PARTS, Buffer, LongParts
from otastream.tree import Content, Ready, Step
from otastream.views import codings
from otastream.views.expand import Expansion, expand
from otastream.views.parts import Front

WHOLE_MAX: Final = 256 << 20
"""A delta of more bytes, old or new, is made piece by piece: whole it would need seven times its size in memory."""
ENGINE_MEMORY: Final = 8192
"""Bytes of the workspace that are left to the engine, whose window is 4096 of them."""
XREF_LOGS: Final = range(16, 21)
"""Sizes of the model of engine xref that memory beside a view is spent on."""
CERTAIN: Final = 1 << 20
"""Bytes of parts that changed, above which a delta between views that is far smaller is taken without trying others.
Smaller files are not looked into if their plain delta is tiny.
"""
WHOLE_PROGRAMS: Final = 1 << 19
"""Bytes of the units in place from which on programs are recompressed as a whole: smaller ones hold pieces of them."""
VIEW_COST: Final = 128
"""Bytes by which a delta between views must be smaller than any other: the manifest and the record name them."""
LEAST: Final = 2
"""What a delta was estimated to cost, divided by this, it costs at the least: codecs do better than the estimate."""
NOTE_MAX: Final = 255


@dataclass(frozen=True, slots=True)
class Views:
    """May deltas look inside of compressed images? codings: those that the boards have; workspace: the most bytes that
    view and engine may take there. light, large: the same if the engine is xref, beside an encoder of zlib and beside
    others; 0: xref is not used inside of images. least: nor is it where new has fewer bytes.
    """

    codings: frozenset[CodingId]
    workspace: int
    light: int = 0
    large: int = 0
    least: int = 0

    def of(self, size: int) -> Views:
        """What holds for new content of so many bytes."""
        return replace(self, light=0, large=0) if size < self.least else self


class Maker:
    """What the threads do; no state of its own."""

    def __init__(
        self, engines: tuple[Engine, ...], memory: int, views: Views | None, cache: DeltaCache | None, scratch: int
    ) -> None:
        self._engines = engines
        self._memory = memory
        self._views = views
        self._cache = cache
        self._scratch = scratch

    def make(self, step: Step) -> Ready:
        action, content = step.action, step.content
        if action is None:
            raise ValueError("a step without an action cannot be sent")
        if content is None or step.made is not None:
            return Ready(action, step.made, step.raw, step.cached, fallback=_fallback(action, content))
        if isinstance(action, Block) and action.unit is not None:
            return self._in_place(action, action.unit, content)
        found = self._content(content) if content.old is not None and self._engines else Delta()
        record = _full(action) if found.payload is None else _coded(action, found.engine)
        record = _noted(record, found)
        return Ready(
            record,
            FilePayload(content) if found.payload is None else found.payload,
            step.raw if record is action else None,
            found.cached,
            found.codings,
            found.workspace,
            found.cost,
            found.least,
            found.certain,
            fallback=_fallback(record, content),
        )

    def _content(self, content: Content) -> Delta:
        """The smallest delta, between the files or between views of them."""

        def loaded() -> tuple[Buffer, Buffer]:
            new = load_checked(content.new, content.size, content.digest)
            if content.old is None or (content.size, content.digest) == (content.old_size, content.old_digest):
                return new, new
            return load_checked(content.old, content.old_size, content.old_digest), new

        if max(content.size, content.old_size) > WHOLE_MAX:
            return self._kept(content, lambda: self._large_delta(content), 0)
        if self._views is None:
            return self._kept(content, lambda: self._delta(*loaded(), self._memory), self._memory)
        old, new = loaded()

        def as_it_is() -> Delta:
            return self._kept(content, lambda: self._delta(old, new, self._memory), self._memory)

        small = max(len(old), len(new)) <= CERTAIN
        plain = as_it_is() if small else None
        if plain is not None and plain.payload is not None and compressed_size(plain.payload.chunks()) <= VIEW_COST:
            return plain
        viewed = Delta() if old is new else self._viewed(old, new, self._views)
        if viewed.certain and not small:
            return viewed
        plain = as_it_is() if plain is None else plain
        if viewed.payload is None:
            return replace(plain, note=viewed.note)
        bound = compressed_size(pieces(new) if plain.payload is None else plain.payload.chunks())
        if viewed.cost + VIEW_COST < bound:
            if plain.payload is not None:
                plain.payload.close()
            return replace(viewed, least=bound // LEAST, certain=False)
        viewed.payload.close()
        return replace(plain, note=f"no gain inside of {viewed.note}")

    def _viewed(self, old: Buffer, new: Buffer, views: Views) -> Delta:
        """The smallest delta between views; without a payload where looking inside is of no use."""
        views = views.of(len(new))
        found = expand(old, new, allowed=views.codings, memory=views.workspace, programs=views.light > 0)
        if found is None or isinstance(found, str):
            return Delta(note=found)
        found.front.encode()
        while found.front.memory + ENGINE_MEMORY > views.workspace and found.front.points:
            found.front.points -= 1
            found.front.encode()
        workspace = found.front.memory + ENGINE_MEMORY
        if workspace > views.workspace:
            return Delta(note=f"needs {workspace} bytes of memory: {found.note}")
        engines, memory = self._inside_with_room(found, views)
        front = found.front.encode()
        parts = found.front.long_parts()
        sizes = len(found.new), xxhash.xxh64_intdigest(found.new), len(found.old), xxhash.xxh64_intdigest(found.old)
        about = Content(b"", sizes[0], sizes[1], None, sizes[2], sizes[3])
        make = partial(self._delta, found.old, found.new, memory, engines, parts)
        made = self._kept(about, make, memory, engines, parts)
        if made.payload is None:
            return Delta(note=f"no gain inside of {found.note}")
        payload = Prefixed(front, made.payload)
        made = replace(made, payload=payload, note=found.note, cost=compressed_size(payload.chunks()))
        return _between_views(made, found, found.front, old, new, memory, workspace)

    def _inside_with_room(self, found: Expansion, views: Views) -> tuple[tuple[Engine, ...], int]:
        """The same as ``_inside``; restart points make room for xref, down to the last one."""
        front, points = found.front, found.front.points
        engines, memory = self._inside(found, views)
        while not memory and front.points > 1:
            front.points -= 1
            front.encode()
            engines, memory = self._inside(found, views)
        if not memory:
            front.points = points
        return engines, memory

    def _inside(self, found: Expansion, views: Views) -> tuple[tuple[Engine, ...], int]:
        """The engines to try between two views, and the memory that xref may take: that of its largest model beside the
        view. It alone is tried where it suits, unless several engines are to be tried everywhere, or there are long
        parts: what looks like instructions in the middle of one may be anything.
        """
        engine, front = ENGINES[EngineId.XREF], found.front
        room = (views.light if front.codings() <= codings.SMALL else views.large) - front.memory
        memory = max((size for size in map(xref.workspace, XREF_LOGS) if size <= room), default=0)
        others, parts = tuple(item for item in self._engines if item is not engine), front.long_parts()
        if not memory or not engine.suits(found.old, found.new, workspace=memory, parts=parts):
            return others, 0
        return (*others, engine) if engine in self._engines or parts.old else (engine,), memory

    def _kept(
        self,
        content: Content,
        make: Callable[[], tuple[EngineId, Payload] | None],
        memory: int,
        engines: tuple[Engine, ...] | None = None,
        parts: LongParts = NO_PARTS,
    ) -> Delta:
        """What ``make`` says, from an earlier run if it was kept."""
        names = [engine.id for engine in engines or self._engines]
        name = key(content, names, f"{memory} {parts}")
        kept = None if self._cache is None else self._cache.get(name)
        if kept is not None:
            return Delta(cached=True) if kept.delta is None else Delta(*kept.delta, cached=True)
        found = make()
        if self._cache is not None:
            self._cache.put(name, found)
        return Delta() if found is None else Delta(*found)

    def _in_place(self, action: Block, unit: int, content: Content) -> Ready:
        """The smallest delta of a node onto itself; the image as a whole if that is smaller."""
        found = Delta()
        if content.old is not None and self._engines:
            new = load_checked(content.new, content.size, content.digest)
            old = load_checked(content.old, content.old_size, content.old_digest)
            whole = compressed_size(pieces(new))
            found = Delta() if self._views is None else self._viewed_in_place(old, new, unit, self._views, whole)
            if not found.certain:
                found = _smaller(found, self._plain_in_place(old, new, unit, whole))
        if found.in_place is None:
            return Ready(_noted(_full(action), found), FilePayload(content))
        record = replace(action, engine=found.engine, unit=found.in_place.unit, plan=found.in_place.plan)
        return Ready(
            _noted(record, found),
            found.payload,
            codings=found.codings,
            workspace=found.workspace,
            cost=found.cost,
            least=found.least,
            certain=found.certain,
            scratch=found.in_place.scratch,
        )

    def _plain_in_place(self, old: Buffer, new: Buffer, unit: int, whole: int) -> Delta:
        """The smallest delta of packed bytes; cost: of the image as a whole, ``whole``, if that is smaller."""
        best = Delta(cost=whole)
        for engine in self._engines:
            options = largest(self._memory) if engine.id is EngineId.XREF else None
            if not engine.suits(old, new, workspace=self._memory):
                continue
            made = encode_in_place(old, new, unit=unit, scratch=self._scratch, xref=options)
            best = _cheaper(best, engine.id, made)
        return best

    def _viewed_in_place(self, old: Buffer, new: Buffer, unit: int, views: Views, whole: int) -> Delta:
        """The smallest delta between views; without a payload where looking inside is of no use. whole: what the image
        costs as a whole.
        """
        views = views.of(len(new))
        longest = largest_unit(len(new), unit=unit, scratch=self._scratch)
        programs = views.light > 0 and longest >= WHOLE_PROGRAMS
        found = expand(old, new, allowed=views.codings, memory=views.workspace, programs=programs, longest=longest)
        if found is None or isinstance(found, str):
            return Delta(note=found)
        room = views.workspace - ENGINE_MEMORY
        made = views_in_place(old, new, found, unit=unit, scratch=self._scratch, memory=room)
        workspace = made.front.memory + ENGINE_MEMORY
        if workspace > views.workspace:
            return Delta(note=f"needs {workspace} bytes of memory: {found.note}")
        engines, memory = self._inside(replace(found, front=made.front), views)
        why = "longer than a unit:" if found.long else "no gain inside of"
        best = Delta(note=found.note, cost=whole, refused=f"{why} {found.note}")
        for engine in engines:
            best = _cheaper(best, engine.id, made.encode(engine, memory))
        if best.payload is None:
            return Delta(note=best.refused)
        return _between_views(best, found, made.front, old, new, memory, workspace)

    def _delta(
        self,
        old: Buffer,
        new: Buffer,
        memory: int,
        engines: tuple[Engine, ...] | None = None,
        parts: LongParts = NO_PARTS,
    ) -> tuple[EngineId, Payload] | None:
        """The smallest delta; None if sending the file itself is smaller. parts: long parts that were expanded."""
        engines = engines or self._engines
        made: list[tuple[EngineId, Payload]] = []
        best: tuple[EngineId, Payload] | None = None
        try:
            least: int | None = None
            for engine in engines:
                if not engine.suits(old, new, workspace=memory, parts=parts):
                    continue
                made.append((engine.id, engine.encode(old, new, workspace=memory, parts=parts)))
                payload = made[-1][1]
                if len(engines) == 1 and begins_larger(new, payload.size):
                    return (best := made[-1])
                least = compressed_size(pieces(new)) if least is None else least
                cost = compressed_size(payload.chunks())
                if cost < least:
                    best, least = made[-1], cost
        except BaseException:
            best = None
            raise
        finally:
            for item in made:
                if item is not best:
                    item[1].close()
        return best

    def _large_delta(self, content: Content) -> tuple[EngineId, Payload] | None:
        """The same for what is not held in memory as a whole: engine bsdiff, piece by piece."""
        engine = next((engine for engine in self._engines if isinstance(engine, Bsdiff)), None)
        if engine is None or content.old is None:
            return None
        with opened(content.old) as old_fd, opened(content.new) as new_fd:
            sizes = (content.old_size, content.size)
            parts = (Part(old_fd, content.old), Part(new_fd, content.new))
            payload = engine.encode_parts(parts[0].load, parts[1].load, sizes)
            try:
                for part, size, digest in zip(parts, sizes, (content.old_digest, content.digest), strict=True):
                    part.check(size, digest)
                if compressed_size(payload.chunks()) < compressed_size(parts[1].pieces(content.size)):
                    return engine.id, payload
            except BaseException:
                payload.close()
                raise
        payload.close()
        return None


@dataclass(frozen=True, slots=True)
class Delta:
    """A delta, or with payload None that the file is sent whole. note: what a person should know about it.

    front: with views, what stands before the engine's payload; cost: estimated bytes in a package; least: those of one
    without views, at the least; certain: others need not be tried; cached: it was made in an earlier run. in_place:
    with what the records say of it; refused: the note if another one is smaller.
    """

    engine: EngineId = EngineId.FULL
    payload: Payload | Prefixed | None = None
    note: str | None = None
    cost: int = 0
    least: int = 0
    certain: bool = False
    front: Front | None = None
    codings: frozenset[CodingId] = frozenset()
    workspace: int = 0
    cached: bool = False
    in_place: InPlace | None = None
    refused: str | None = None


def _cheaper(best: Delta, engine: EngineId, made: InPlace) -> Delta:
    """The better of two deltas in place; the other one is closed."""
    cost = compressed_size(made.payload.chunks())
    if cost >= best.cost:
        made.payload.close()
        return best
    if best.payload is not None:
        best.payload.close()
    return replace(best, engine=engine, payload=made.payload, cost=cost, in_place=made)


def _between_views(
    made: Delta, found: Expansion, front: Front, old: Buffer, new: Buffer, memory: int, workspace: int
) -> Delta:
    """With what a delta between views asks of a board, and what any other costs at the least. memory: of engine xref;
    workspace: with any other engine.
    """
    least = plain_least(old, new, found.changed) if found.packed > CERTAIN else 0
    return replace(
        made,
        certain=made.cost + VIEW_COST < least,
        least=least,
        front=front,
        codings=frozenset(front.codings()),
        workspace=front.memory + memory if made.engine is EngineId.XREF else workspace,
    )


def _smaller(viewed: Delta, plain: Delta) -> Delta:
    """Either the delta between views or that of the images as they are; the other one is closed."""
    if viewed.payload is None:
        return replace(plain, note=viewed.note)
    if viewed.cost + VIEW_COST < plain.cost:
        if plain.payload is not None:
            plain.payload.close()
        return replace(viewed, least=plain.cost // LEAST)
    viewed.payload.close()
    return replace(plain, note=viewed.refused)


def _noted(action: Action, found: Delta) -> Action:
    """With what a person should know, and the views that the payload is between."""
    if not isinstance(action, File | Block | Ubi) or found.note is None:
        return action
    front = found.front
    note = found.note.encode()[:NOTE_MAX].decode(errors="ignore")
    old_view = View.PARTS if front is not None and front.old is not None else None
    return replace(action, note=note, old_view=old_view, new_view=None if front is None else View.PARTS)


def _full(action: Action) -> Action:
    if isinstance(action, File | Block | Ubi):
        return in_full(action)
    if isinstance(action, Script):
        return action
    raise ValueError("a record of this kind has no payload")


def _fallback(action: Action, content: Content | None) -> FilePayload | None:
    """What a record sends behind its delta, if that may fail."""
    wanted = isinstance(action, File | Block | Ubi) and action.fallback
    return FilePayload(content) if wanted and content is not None else None


def _coded(action: Action, engine: EngineId) -> Action:
    if isinstance(action, File | Block | Ubi):
        return action if action.engine is engine else replace(action, engine=engine)
    raise ValueError("a record of this kind has no delta")
