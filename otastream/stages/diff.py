"""diff: decide how each payload is coded, several files at a time, in order.

A bounded look-ahead: at most ``AHEAD * jobs`` records wait to be sent, ``jobs`` of them at work, whatever there is
behind them. Of those that wait the largest is begun first, so that no large one is left over when the others are done.
What is made waits as a payload, which is small or in a file. The engines release the GIL, so threads are enough.
What a file's delta is depends on that file alone, so the number of jobs does not change a byte.
"""

from __future__ import annotations

import contextlib
import mmap
import os
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import partial
from queue import PriorityQueue
from typing import Final

import xxhash
import zstandard

from otastream.cache import DeltaCache, key
from otastream.engines import ENGINES, Engine, Payload, load, xref
from otastream.engines.bsdiff import Bsdiff
from otastream.engines.in_place import InPlace, encode_in_place
from otastream.engines.payload import Prefixed
from otastream.engines.xref import largest
from otastream.errors import Code, OtaError, error
from otastream.model import Action, Block, CodingId, EngineId, File, Script, Ubi, View, in_full
from otastream.native import Buffer
from otastream.tree import CHUNK_SIZE, READ_SIZE, Content, Ready, Step, show
from otastream.views import codings
from otastream.views.expand import Expansion, expand
from otastream.views.parts import VIEW_MAX, Front
from otastream.views.scan import scan

AHEAD: Final = 16
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
PROBES: Final = 64
PROBE: Final = 4
"""So many stretches of so many bytes of these parts are looked for in old."""
PROBES_DOUBTED: Final = 16
"""Of those that are not there, so many count as if they were: twice the deviation of 64 draws, at most."""
VIEW_COST: Final = 128
"""Bytes by which a delta between views must be smaller than any other: the manifest and the record name them."""
NOTE_MAX: Final = 255
SHORT_NOTE: Final = 50
"""The most bytes of a note that says why there is no view: looking inside shall not make a package larger."""


@dataclass(frozen=True, slots=True)
class Views:
    """May deltas look inside of compressed images? codings: those that the boards have; workspace: the most bytes that
    view and engine may take there. light, large: the same if the engine is xref, beside an encoder of zlib and beside
    others; 0: xref is not used inside of images.
    """

    codings: frozenset[CodingId]
    workspace: int
    light: int = 0
    large: int = 0


def diff(
    steps: Iterable[Step],
    *,
    engines: tuple[EngineId, ...],
    memory: int = 0,
    views: Views | None = None,
    jobs: int = 1,
    cache: DeltaCache | None = None,
    scratch: int = 0,
) -> Generator[Ready, None, None]:
    """Make every step ready to be sent, in order.

    engines: the delta engines to try; empty: everything is sent full. memory: bytes that decoding may take for its
    engine, where there is no view. views None: deltas run between the files as they are. jobs: threads, at least 1. The
    smallest delta is sent, if it compresses to less than the file itself. cache: where deltas (but those in place) are
    looked up and kept. scratch: bytes that an update in place may keep.
    CHANGED: a file is not what it was when the plan was made; INPUT: it cannot be read. Both may also come when a
    payload is sent.
    """
    if jobs < 1:
        raise error(Code.USAGE, "jobs must be at least 1")
    tried = tuple(ENGINES[engine] for engine in engines if engine is not EngineId.FULL)
    maker = _Maker(tried, memory, views, cache, scratch)
    if jobs == 1:
        return (maker.make(step) for step in steps)
    return _ahead(steps, maker, jobs)


def _ahead(steps: Iterable[Step], maker: _Maker, jobs: int) -> Generator[Ready, None, None]:
    pending: deque[Future[Ready]] = deque()
    waiting: PriorityQueue[_Task] = PriorityQueue()
    pool = ThreadPoolExecutor(jobs, thread_name_prefix="diff")

    def work() -> None:
        task = waiting.get_nowait()  # there are as many tasks as calls
        try:
            task.future.set_result(maker.make(task.step))
        except BaseException as exc:  # noqa: BLE001 - who waits for the result gets it
            task.future.set_exception(exc)

    try:
        for number, step in enumerate(steps):
            pending.append(Future())
            waiting.put(_Task(-_weight(step), number, step, pending[-1]))
            pool.submit(work)
            if len(pending) >= AHEAD * jobs:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
        for future in pending:
            if (
                future.done()  # of the others none was begun
                and future.exception() is None
                and (payload := future.result().payload) is not None
            ):
                payload.close()


@dataclass(frozen=True, slots=True, order=True)
class _Task:
    """The least one is the next: the heaviest, the first of equally heavy ones."""

    lightness: int
    number: int
    step: Step = field(compare=False)
    future: Future[Ready] = field(compare=False)


def _weight(step: Step) -> int:
    """Bytes that have to be read: about how long it takes."""
    return 0 if step.content is None else step.content.size + step.content.old_size


class _Maker:
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
        found = self._content(content) if content.old is not None and self._engines else _Delta()
        record = _full(action) if found.payload is None else _coded(action, found.engine)
        record = _noted(record, found)
        return Ready(
            record,
            _FilePayload(content) if found.payload is None else found.payload,
            step.raw if record is action else None,
            found.cached,
            found.codings,
            found.workspace,
            found.saved,
            fallback=_fallback(record, content),
        )

    def _content(self, content: Content) -> _Delta:
        """The smallest delta, between the files or between views of them."""

        def loaded() -> tuple[Buffer, Buffer]:
            new = _load(content.new, content.size, content.digest)
            if content.old is None or (content.size, content.digest) == (content.old_size, content.old_digest):
                return new, new
            return _load(content.old, content.old_size, content.old_digest), new

        if max(content.size, content.old_size) > WHOLE_MAX:
            return self._kept(content, lambda: self._large_delta(content), 0)
        if self._views is None:
            return self._kept(content, lambda: self._delta(*loaded(), self._memory), self._memory)
        old, new = loaded()

        def as_it_is() -> _Delta:
            return self._kept(content, lambda: self._delta(old, new, self._memory), self._memory)

        small = max(len(old), len(new)) <= CERTAIN
        plain = as_it_is() if small else None
        if plain is not None and plain.payload is not None and _compressed_size(plain.payload.chunks()) <= VIEW_COST:
            return plain
        viewed = _Delta() if old is new else self._viewed(old, new, self._views)
        if viewed.certain and not small:
            return viewed
        plain = as_it_is() if plain is None else plain
        if viewed.payload is None:
            return replace(plain, note=viewed.note)
        bound = _compressed_size(_pieces(new) if plain.payload is None else plain.payload.chunks())
        if viewed.cost + VIEW_COST < bound:
            if plain.payload is not None:
                plain.payload.close()
            return replace(viewed, saved=bound - viewed.cost)
        viewed.payload.close()
        return replace(plain, note=f"no gain inside of {viewed.note}")

    def _viewed(self, old: Buffer, new: Buffer, views: Views) -> _Delta:
        """The smallest delta between views; without a payload where looking inside is of no use."""
        found = expand(old, new, allowed=views.codings, memory=views.workspace, programs=views.light > 0)
        if found is None or isinstance(found, str):
            return _Delta(note=found)
        front = found.front.encode()
        while found.front.memory + ENGINE_MEMORY > views.workspace and found.front.points:
            found.front.points -= 1
            front = found.front.encode()
        workspace = found.front.memory + ENGINE_MEMORY
        if workspace > views.workspace:
            return _Delta(note=f"needs {workspace} bytes of memory: {found.note}")
        engines, memory = self._inside(found, views)
        sizes = len(found.new), xxhash.xxh64_intdigest(found.new), len(found.old), xxhash.xxh64_intdigest(found.old)
        about = Content(b"", sizes[0], sizes[1], None, sizes[2], sizes[3])
        near = found.front.points > 0
        make = partial(self._delta, found.old, found.new, memory, engines, near=near)
        made = self._kept(about, make, memory, engines, near=near)
        if made.payload is None:
            return _Delta(note=f"no gain inside of {found.note}")
        payload = Prefixed(front, made.payload)
        cost = _compressed_size(payload.chunks())
        return replace(
            made,
            payload=payload,
            note=found.note,
            cost=cost,
            certain=found.packed > CERTAIN and cost + VIEW_COST < _plain_least(old, new, found.changed),
            saved=found.packed - cost,
            front=found.front,
            codings=frozenset(found.front.codings()),
            workspace=found.front.memory + memory if made.engine is EngineId.XREF else workspace,
        )

    def _inside(self, found: Expansion, views: Views) -> tuple[tuple[Engine, ...], int]:
        """The engines to try between two views, and the memory that xref may take: that of its largest model beside the
        view. It alone is tried where it suits, unless several engines are to be tried everywhere. Where going to and
        fro in old costs time it is not tried: it takes no account of that.
        """
        room = (views.light if found.front.codings() <= codings.SMALL else views.large) - found.front.memory
        logs = [log for log in XREF_LOGS if xref.workspace(log) <= room]
        memory = xref.workspace(logs[-1]) if logs else 0
        engine = ENGINES[EngineId.XREF]
        if found.front.points or not memory or not engine.suits(found.old, found.new, workspace=memory):
            return tuple(item for item in self._engines if item is not engine), 0
        return self._engines if engine in self._engines else (engine,), memory

    def _kept(
        self,
        content: Content,
        make: Callable[[], tuple[EngineId, Payload] | None],
        memory: int,
        engines: tuple[Engine, ...] | None = None,
        *,
        near: bool = False,
    ) -> _Delta:
        """What ``make`` says, from an earlier run if it was kept."""
        names = [engine.id for engine in engines or self._engines]
        name = key(content, names, f"{memory} near" if near else str(memory))
        kept = None if self._cache is None else self._cache.get(name)
        if kept is not None:
            return _Delta(cached=True) if kept.delta is None else _Delta(*kept.delta, cached=True)
        found = make()
        if self._cache is not None:
            self._cache.put(name, found)
        return _Delta() if found is None else _Delta(*found)

    def _in_place(self, action: Block, unit: int, content: Content) -> Ready:
        """The smallest delta of a node onto itself; the image as a whole if that is smaller."""
        best: tuple[EngineId, InPlace] | None = None
        note: str | None = None
        if content.old is not None and self._engines:
            new = _load(content.new, content.size, content.digest)
            note = _left_alone(new) if self._views is not None else None
            old = _load(content.old, content.old_size, content.old_digest)
            least = _compressed_size(_pieces(new))
            for engine in self._engines:
                options = largest(self._memory) if engine.id is EngineId.XREF else None
                if not engine.suits(old, new, workspace=self._memory):
                    continue
                made = encode_in_place(old, new, unit=unit, scratch=self._scratch, xref=options)
                cost = _compressed_size(made.payload.chunks())
                if cost >= least:
                    made.payload.close()
                    continue
                if best is not None:
                    best[1].payload.close()
                best, least = (engine.id, made), cost
        about = _Delta(note=note)
        if best is None:
            return Ready(_noted(_full(action), about), _FilePayload(content))
        record = replace(action, engine=best[0], unit=best[1].unit, plan=best[1].plan)
        return Ready(_noted(record, about), best[1].payload, scratch=best[1].scratch)

    def _delta(
        self,
        old: Buffer,
        new: Buffer,
        memory: int,
        engines: tuple[Engine, ...] | None = None,
        *,
        near: bool = False,
    ) -> tuple[EngineId, Payload] | None:
        """The smallest delta; None if sending the file itself is smaller. near: going to and fro in old costs time."""
        engines = engines or self._engines
        made: list[tuple[EngineId, Payload]] = []
        best: tuple[EngineId, Payload] | None = None
        try:
            least: int | None = None
            for engine in engines:
                if not engine.suits(old, new, workspace=memory):
                    continue
                if near and isinstance(engine, Bsdiff):
                    made.append((engine.id, engine.encode_near(old, new)))
                else:
                    made.append((engine.id, engine.encode(old, new, workspace=memory)))
                payload = made[-1][1]
                if len(engines) == 1 and _begins_larger(new, payload.size):
                    return (best := made[-1])
                least = _compressed_size(_pieces(new)) if least is None else least
                cost = _compressed_size(payload.chunks())
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
        with _opened(content.old) as old_fd, _opened(content.new) as new_fd:
            sizes = (content.old_size, content.size)
            parts = (_Part(old_fd, content.old), _Part(new_fd, content.new))
            payload = engine.encode_parts(parts[0].load, parts[1].load, sizes)
            try:
                for part, size, digest in zip(parts, sizes, (content.old_digest, content.digest), strict=True):
                    part.check(size, digest)
                if _compressed_size(payload.chunks()) < _compressed_size(parts[1].pieces(content.size)):
                    return engine.id, payload
            except BaseException:
                payload.close()
                raise
        payload.close()
        return None


@dataclass(frozen=True, slots=True)
class _Delta:
    """A delta, or with payload None that the file is sent whole. note: what a person should know about it.

    front: with views, what stands before the engine's payload; cost: estimated bytes in a package; saved: by the views;
    certain: others need not be tried; cached: it was made in an earlier run.
    """

    engine: EngineId = EngineId.FULL
    payload: Payload | Prefixed | None = None
    note: str | None = None
    cost: int = 0
    saved: int = 0
    certain: bool = False
    front: Front | None = None
    codings: frozenset[CodingId] = frozenset()
    workspace: int = 0
    cached: bool = False


def _noted(action: Action, found: _Delta) -> Action:
    """With what a person should know, and the views that the payload is between."""
    if not isinstance(action, File | Block | Ubi) or found.note is None:
        return action
    front = found.front
    note = found.note.encode()[: SHORT_NOTE if front is None else NOTE_MAX].decode(errors="ignore")
    old_view = View.PARTS if front is not None and front.old is not None else None
    return replace(action, note=note, old_view=old_view, new_view=None if front is None else View.PARTS)


def _left_alone(new: Buffer) -> str | None:
    """What is in an image that is updated in place: a unit at a time is written, and compressed parts cross units."""
    view = memoryview(new).cast("B")
    found = scan(view) if len(view) <= VIEW_MAX else None
    return f"in place is not looked into: {found.note}" if found is not None and found.parts else None


def _full(action: Action) -> Action:
    if isinstance(action, File | Block | Ubi):
        return in_full(action)
    if isinstance(action, Script):
        return action
    raise ValueError("a record of this kind has no payload")


def _fallback(action: Action, content: Content | None) -> _FilePayload | None:
    """What a record sends behind its delta, if that may fail."""
    wanted = isinstance(action, File | Block | Ubi) and action.fallback
    return _FilePayload(content) if wanted and content is not None else None


def _coded(action: Action, engine: EngineId) -> Action:
    if isinstance(action, File | Block | Ubi):
        return action if action.engine is engine else replace(action, engine=engine)
    raise ValueError("a record of this kind has no delta")


# ---- reading -------------------------------------------------------------------------------------------------------


def _open(path: bytes) -> int:
    try:
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except FileNotFoundError as exc:
        raise _changed(path) from exc
    except OSError as exc:
        raise _unreadable(exc, path) from exc


@contextlib.contextmanager
def _opened(path: bytes) -> Iterator[int]:
    fd = _open(path)
    try:
        yield fd
    finally:
        os.close(fd)


@dataclass(frozen=True, slots=True)
class _Part:
    """Stretches of an open file. CHANGED: it is not what it was; INPUT: it cannot be read."""

    fd: int
    path: bytes

    def load(self, start: int, size: int) -> bytes:
        try:
            data = os.pread(self.fd, size, start)
            while len(data) < size and (more := os.pread(self.fd, size - len(data), start + len(data))):
                data += more
        except OSError as exc:
            raise _unreadable(exc, self.path) from exc
        if len(data) != size:
            raise _changed(self.path)
        return data

    def pieces(self, size: int) -> Iterator[bytes]:
        return (self.load(start, min(READ_SIZE, size - start)) for start in range(0, size, READ_SIZE))

    def check(self, size: int, digest: int) -> None:
        """CHANGED unless the content is the one that the plan was made with."""
        found = xxhash.xxh64()
        for piece in self.pieces(size):
            found.update(piece)
        if found.intdigest() != digest or os.fstat(self.fd).st_size != size:
            raise _changed(self.path)


def _load(path: bytes, size: int, digest: int) -> Buffer:
    """All of a file, if it is what the plan was made with."""
    fd = _open(path)
    try:
        data = load(fd, size)
        if xxhash.xxh64_intdigest(data) != digest:
            raise _changed(path)
    except OSError as exc:
        raise _unreadable(exc, path) from exc
    except OtaError as exc:
        raise _changed(path) from exc
    finally:
        os.close(fd)
    return data


def _changed(path: bytes) -> OtaError:
    return error(Code.CHANGED, "changed while the package was made", target=show(path))


def _unreadable(exc: OSError, path: bytes) -> OtaError:
    return error(Code.INPUT, exc.strerror or "cannot be read", target=show(path))


# ---- payloads ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _FilePayload:
    """A file as it is, read when it is sent and checked against the plan by then."""

    content: Content

    @property
    def size(self) -> int:
        return self.content.size

    def chunks(self, limit: int = CHUNK_SIZE) -> Iterator[bytes]:
        content = self.content
        digest, size = xxhash.xxh64(), 0
        fd = _open(content.new)
        try:
            while data := os.read(fd, limit):
                digest.update(data)
                size += len(data)
                if size > content.size:
                    break
                yield data
        except OSError as exc:
            raise _unreadable(exc, content.new) from exc
        finally:
            os.close(fd)
        if size != content.size or digest.intdigest() != content.digest:
            raise _changed(content.new)

    def close(self) -> None:
        """Nothing is held."""


def _plain_least(old: Buffer, new: Buffer, changed: Sequence[tuple[int, int]]) -> int:
    """About the least that a delta of old and new as they are costs for these stretches of new (offset and length),
    which are compressed: where ``PROBE`` bytes stand nowhere in old, it has at least one byte of its own.
    """
    if not isinstance(old, mmap.mmap) or not isinstance(new, mmap.mmap):
        return 0
    whole = sum(size for _, size in changed)
    absent, start, item = 0, 0, iter(changed)
    offset, size = next(item, (0, 0))
    for number in range(PROBES):
        at = whole * number // PROBES
        while at >= start + size:
            start += size
            offset, size = next(item)
        from_ = offset + min(at - start, max(0, size - PROBE))
        absent += old.find(new[from_ : from_ + PROBE]) < 0
    return whole * max(0, absent - PROBES_DOUBTED) // (PROBES * PROBE)


def _pieces(data: Buffer) -> Iterator[memoryview]:
    view = memoryview(data).cast("B")
    return (view[pos : pos + READ_SIZE] for pos in range(0, len(view), READ_SIZE))


_ESTIMATE: Final = zstandard.ZstdCompressionParameters.from_level(1, window_log=16)
_KEPT: Final = threading.local()
_BEGINNING: Final = 1 << 14
_OVERHEAD: Final = 24  # at most what a zstd frame costs beside its content, which a record in a package does not pay


def _begins_larger(data: Buffer, size: int) -> bool:
    """Whether even the beginning of data compresses to more than size bytes: then all of it does, and the rest need not
    be tried. Most deltas of a small change are decided so.
    """
    view = memoryview(data).cast("B")
    return size < min(len(view), _BEGINNING) and _compressed_size([view[:_BEGINNING]]) > size + _OVERHEAD


def _compressed_size(pieces: Iterable[bytes | memoryview]) -> int:
    """About what this costs in a package: zstd at its fastest, with the window that packages have."""
    context = getattr(_KEPT, "context", None)
    if context is None:  # making one costs as much as compressing a few KiB
        context = _KEPT.context = zstandard.ZstdCompressor(compression_params=_ESTIMATE)
    compressor = context.compressobj()
    return sum(len(compressor.compress(piece)) for piece in pieces) + len(compressor.flush())
