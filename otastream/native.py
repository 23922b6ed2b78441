"""The only module that touches the cffi extension: small typed wrappers around the C core.

Every C call releases the GIL. Negative statuses of C become the errors of ``otastream.errors``; nothing else of C
shows: no pointer, no cffi object leaves this module.
"""

from __future__ import annotations

import enum
import os
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Protocol, Self

from otastream import _core, divsufsort
from otastream._core import ffi, lib
from otastream.errors import Code, OtaError, error
from otastream.model import EngineId

Buffer = bytes | bytearray | memoryview | Any
"""Anything with the buffer protocol; mmap objects too, which typing has no name for before Python 3.12."""

WINDOW: Final = 4096
"""Bytes of old that a decoder reads at once, unless told otherwise."""

_OUT_SIZE: Final = 1 << 16


def extension() -> Path:
    """The file of the C extension."""
    return Path(_core.__file__)


# ---- the error list, hashing -----------------------------------------------------------------------------------


def error_list() -> list[tuple[int, str, str, str]]:
    """The error list of the C core: (code, name, who, text), in the order of the header."""

    def text(value: object) -> str:
        return bytes(ffi.string(value)).decode("ascii")

    return [
        (
            int(lib.ota_error_code(i)),
            text(lib.ota_error_name(i)),
            text(lib.ota_error_who(i)),
            text(lib.ota_error_text(i)),
        )
        for i in range(lib.ota_error_count())
    ]


class Xxh64:
    """XXH64 with seed 0 of what was given to ``update``."""

    def __init__(self) -> None:
        self._state = ffi.new("struct ota_xxh64 *")
        lib.ota_xxh64_init(self._state)

    def update(self, data: Buffer) -> None:
        view = ffi.from_buffer("uint8_t[]", data)
        lib.ota_xxh64_update(self._state, view, len(view))

    def value(self) -> int:
        return int(lib.ota_xxh64_value(self._state))


def xxh64(data: Buffer) -> int:
    """XXH64 with seed 0 of data."""
    state = Xxh64()
    state.update(data)
    return state.value()


# ---- decoding deltas -------------------------------------------------------------------------------------------


class Source(Protocol):
    """Old content of ``size`` bytes that a decoder reads by offset."""

    @property
    def size(self) -> int: ...

    def read_into(self, offset: int, target: Buffer) -> None:
        """Fill all of target, which never reaches beyond size. Raises OtaError or OSError."""


class FileSource:
    """Old content in an open file, read by position. The caller keeps ``fd`` open."""

    def __init__(self, fd: int, size: int | None = None) -> None:
        self._fd = fd
        self._size = os.fstat(fd).st_size if size is None else size

    @property
    def size(self) -> int:
        return self._size

    def read_into(self, offset: int, target: Buffer) -> None:
        view = memoryview(target)
        while view:
            try:
                got = os.preadv(self._fd, [view], offset)
            except OSError as exc:
                raise error(Code.INPUT, f"the old content cannot be read: {exc.strerror}") from exc
            if got == 0:
                raise error(Code.CHANGED, "the old content became shorter while it was read")
            view = view[got:]
            offset += got


class BytesSource:
    """Old content in memory."""

    def __init__(self, data: Buffer) -> None:
        self._view = memoryview(data)

    @property
    def size(self) -> int:
        return self._view.nbytes

    def read_into(self, offset: int, target: Buffer) -> None:
        view = memoryview(target)
        view[:] = self._view[offset : offset + len(view)]


class _ReadContext:
    """What the read_at callback needs; keeps the exception that C cannot carry."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self.failure: BaseException | None = None


@ffi.def_extern()  # type: ignore[untyped-decorator]
def ota_py_read_at(handle: Any, offset: int, buf: Any, length: int) -> int:
    context: _ReadContext = ffi.from_handle(handle)
    try:
        context.source.read_into(offset, ffi.buffer(buf, length))
    except BaseException as exc:  # noqa: BLE001 - C cannot carry it; Decoder raises it again
        context.failure = exc
        return -int(Code.IO)
    return 0


@dataclass(frozen=True, slots=True)
class PayloadViews:
    """What a payload needs whose delta runs between views (docs/SPEC.md section 6.5).

    old, new: ids of the views, 0 where that side has none; codings: those that the manifest names.
    """

    old: int
    new: int
    coder: Coder
    codings: Collection[int]


class Decoder:
    """Payload of one record in, new content out, in any split.

    ``size`` is the size of the new content, ``workspace`` the bytes of memory for what needs as much as the payload
    says: some engines, and views (RAM, LIMIT: too little). A payload that is damaged, or does not fit the source,
    raises DELTA, with views also FORMAT, LIMIT, RESULT and UNSUPPORTED; after a failure every further call raises it
    again. in_parts: of engine xref in place, docs/SPEC.md section 6.4.1: the payload is that of the tables, then, each
    after ``begin_part``, that of one part after the other.
    """

    def __init__(
        self,
        engine: EngineId,
        size: int,
        *,
        source: Source | None = None,
        window: int = WINDOW,
        workspace: int = 0,
        views: PayloadViews | None = None,
        in_parts: bool = False,
    ) -> None:
        need = int(lib.ota_engine_size(int(engine), window))
        if need == 0:
            raise error(Code.USAGE, f"engine {int(engine)} with a window of {window} bytes")
        need = max(need, workspace)
        self._context = None if source is None else _ReadContext(source)
        self._handle = ffi.NULL if self._context is None else ffi.new_handle(self._context)
        self._coder = None if views is None else _CoderContext(views.coder)
        self._workspace = ffi.new("uint64_t[]", (need + 7) // 8)
        self._state = ffi.new("uint64_t[]", (int(lib.ota_decoder_size()) + 7) // 8)
        self._out_buf = ffi.new("uint8_t[]", _OUT_SIZE)
        self._out = ffi.new("struct ota_out *", {"dst": self._out_buf, "size": _OUT_SIZE})
        self._in = ffi.new("struct ota_in *")
        self._done = size == 0
        options = ffi.new(
            "struct ota_decoder_options *",
            {
                "engine": int(engine),
                "window": window,
                "new_size": size,
                "workspace": ffi.cast("uint8_t *", self._workspace),
                "workspace_len": need,
            },
        )
        if source is not None:
            options.source = {"ctx": self._handle, "read_at": lib.ota_py_read_at, "size": source.size}
        if views is not None and self._coder is not None:
            options.old_view, options.new_view = views.old, views.new
            options.coder = self._coder.raw
            options.codings = sum(1 << coding for coding in views.codings)
        _check(lib.ota_decoder_init(self._state, options))
        if in_parts:
            self._done = False
            lib.ota_engine_in_parts(self._workspace)

    def begin_part(self, start: int, size: int, coded: int) -> None:
        """``coded`` bytes of payload follow that make ``size`` bytes of new content from ``start`` on."""
        self._done = False
        _check(lib.ota_engine_begin_part(self._workspace, start, size, coded))

    def feed(self, data: Buffer) -> Iterator[memoryview]:
        """Decode data, and yield new content as it comes. Each view lives until the next one is pulled."""
        view = ffi.from_buffer("uint8_t[]", data)
        cursor_in, cursor_out = self._in, self._out
        cursor_in.src, cursor_in.size, cursor_in.pos = view, len(view), 0
        while True:
            cursor_out.pos = 0
            status = int(lib.ota_decoder_step(self._state, cursor_in, cursor_out))
            if status < 0:
                self._raise(status)
            if cursor_out.pos:
                yield memoryview(ffi.buffer(self._out_buf, cursor_out.pos))
            if status == lib.OTA_DONE:
                self._done = True
            if status != lib.OTA_WANT_OUTPUT:
                return

    def finish(self) -> None:
        """The payload has ended. Raises DELTA when it ended too early."""
        if not self._done:
            raise error(Code.DELTA, "the delta ends too early")

    def _raise(self, status: int) -> None:
        if self._context is not None and self._context.failure is not None:
            raise self._context.failure
        _check(status)


def _check(status: int) -> None:
    """Raise what a negative status stands for."""
    if status < 0:
        raise error(_code(status))


def _code(status: int) -> Code:
    """The code of a negative status; a number that is none is a bug of ours."""
    try:
        return Code(-status)
    except ValueError:
        return Code.INTERNAL


# ---- making deltas ---------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class DiffStats:
    """What a bsdiff delta consists of, in bytes (triples: a count)."""

    triples: int
    added: int
    nonzero: int
    literals: int
    written: int


def diff_bsdiff(old: Buffer, new: Buffer, fd: int) -> DiffStats:
    """Write the payload of engine bsdiff that makes ``new`` from ``old`` to ``fd``, from its position on.

    Needs up to 6 bytes of memory for each byte of old. Same bytes for the same input, in whatever thread. Raises RAM,
    OUTPUT, LIMIT, and CONFIG when libdivsufsort is missing.
    """
    return diff_bsdiff_part(old, new, fd, 0, 0)[0]


def diff_pieces(old: Buffer, new: Buffer, fd: int) -> DiffStats:
    """The same, but write the pieces that the payload would be made of: for each three native 64-bit numbers, where it
    is in new, where in old, its length. They rise in new and do not overlap; ``encode_pieces`` takes a choice of them.
    """
    stats = ffi.new("struct ota_diff_stats *")
    one, two = ffi.from_buffer("uint8_t[]", old), ffi.from_buffer("uint8_t[]", new)
    return _diff_stats(int(lib.ota_diff_pieces(_sorter(), one, len(one), two, len(two), fd, stats)), stats)


def encode_pieces(old: Buffer, new: Buffer, pieces: Buffer, fd: int) -> DiffStats:
    """Write the payload that makes ``new`` of these pieces and of literals to ``fd``. OUTPUT; USAGE: bad pieces."""
    stats = ffi.new("struct ota_diff_stats *")
    one, two = ffi.from_buffer("uint8_t[]", old), ffi.from_buffer("uint8_t[]", new)
    raw = ffi.from_buffer("uint8_t[]", pieces)
    numbers = ffi.cast("uint64_t *", raw)
    status = int(lib.ota_encode_pieces(one, len(one), two, len(two), numbers, len(raw) // 24, fd, stats))
    return _diff_stats(status, stats)


def diff_bsdiff_part(old: Buffer, new: Buffer, fd: int, base: int, at: int) -> tuple[DiffStats, int]:
    """The same for the next piece ``new`` of what is larger than memory, made from the piece of old at ``base``.

    at: where the decoder stands in old, 0 at first; the second result is that for the next piece.
    """
    stats, old_pos = ffi.new("struct ota_diff_stats *"), ffi.new("uint64_t *", at)
    one, two = ffi.from_buffer("uint8_t[]", old), ffi.from_buffer("uint8_t[]", new)
    status = int(lib.ota_diff_bsdiff_part(_sorter(), one, len(one), two, len(two), fd, base, old_pos, stats))
    return _diff_stats(status, stats), int(old_pos[0])


def _sorter() -> Any:
    library = divsufsort.load()
    library.single_threaded()
    sorter = ffi.new("struct ota_sorter *")
    sorter.sort32 = ffi.cast("int32_t(*)(const uint8_t *, int32_t *, int32_t)", library.narrow)
    sorter.sort64 = ffi.cast("int32_t(*)(const uint8_t *, int64_t *, int64_t)", library.wide)
    return sorter


def _diff_stats(status: int, stats: Any) -> DiffStats:
    if status < 0:
        reason = os.strerror(stats.os_error) if stats.os_error else ""
        raise error(_code(status), reason or "while making a delta")
    return DiffStats(stats.triples, stats.added, stats.nonzero, stats.literals, stats.written)


SKETCH: Final = 64
"""Numbers of a sketch."""


def sketch(data: Buffer) -> list[int]:
    """At most ``SKETCH`` different 32-bit numbers, rising; contents that are alike have many of them in common."""
    out = ffi.new("uint32_t[]", SKETCH)
    view = ffi.from_buffer("uint8_t[]", data)
    return list(out[0 : lib.ota_sketch(view, len(view), out, SKETCH)])


def holds_any(data: Buffer, strings: Sequence[bytes]) -> bool:
    """Whether one of a few byte strings, of three bytes or more, is anywhere in data."""
    lengths = bytes(map(len, strings))
    view = ffi.from_buffer("uint8_t[]", data)
    return bool(lib.ota_holds_any(view, len(view), b"".join(strings), lengths, len(strings)))


@dataclass(frozen=True, slots=True)
class XrefOptions:
    """The decoder's memory: 2^model_log bytes of model, entries of its offset map and of its list of regions."""

    model_log: int
    spans_max: int
    regions_max: int


PARTS: Final = ("tables", "spans", "triples", "runs", "flags", "wrong", "literals")
"""What a payload of engine xref consists of."""


@dataclass(frozen=True, slots=True)
class XrefStats:
    """What an xref delta consists of: counts, then bytes. parts: by the names of ``PARTS``."""

    triples: int
    spans: int
    regions: int
    literals: int
    written: int
    workspace: int
    parts: tuple[int, ...]


def xref_workspace(options: XrefOptions) -> int:
    """Bytes that decoding needs with these numbers at most; USAGE when they are out of range."""
    need = int(lib.ota_xref_workspace(options.model_log, options.spans_max, options.regions_max))
    if need == 0:
        raise error(Code.USAGE, f"{options}")
    return need


def xref_suits(data: Buffer) -> bool:
    """Whether data is a program, as an ELF file or an image that holds instructions, or holds such files."""
    view = ffi.from_buffer("uint8_t[]", data)
    return bool(lib.ota_xref_suits(view, len(view)))


def programs(data: Buffer) -> Iterator[tuple[int, int]]:
    """Offset and length of each ELF file in data, at any offset; what is inside of one is not looked at."""
    whole, at = memoryview(data).cast("B"), 0
    pointer = ffi.from_buffer("uint8_t[]", data)
    searched = data if isinstance(data, bytes | bytearray) else bytes(whole)
    while (at := searched.find(b"\x7fELF", at)) >= 0:
        size = int(lib.ota_program_size(pointer + at, len(whole) - at))
        if size:
            yield at, size
        at += size or 1


def diff_xref(old: Buffer, new: Buffer, fd: int, options: XrefOptions) -> XrefStats:
    """Write the payload of engine xref that makes ``new`` from ``old`` to ``fd``, from its position on.

    Same bytes for the same input, in whatever thread. Raises RAM, OUTPUT, LIMIT (4 GiB and more), USAGE (options out of
    range), and CONFIG when libdivsufsort is missing.
    """
    sorter = _sorter()
    stats = ffi.new("struct ota_xref_stats *")
    chosen = ffi.new("struct ota_xref_options *", (options.model_log, options.spans_max, options.regions_max))
    old_view, new_view = ffi.from_buffer("uint8_t[]", old), ffi.from_buffer("uint8_t[]", new)
    status = int(lib.ota_diff_xref(sorter, chosen, old_view, len(old_view), new_view, len(new_view), fd, stats))
    return _xref_stats(status, stats)


def diff_xref_pieces(old: Buffer, new: Buffer, fd: int) -> None:
    """Write the pieces that engine xref would make ``new`` of, as ``diff_pieces`` does."""
    stats = ffi.new("struct ota_xref_stats *")
    one, two = ffi.from_buffer("uint8_t[]", old), ffi.from_buffer("uint8_t[]", new)
    _xref_stats(int(lib.ota_diff_xref_pieces(_sorter(), one, len(one), two, len(two), fd, stats)), stats)


def encode_xref_units(
    old: Buffer, new: Buffer, pieces: Buffer, fd: int, options: XrefOptions, unit: int, order: Sequence[int]
) -> list[int]:
    """Write the payload of the tables and that of each unit to ``fd``, one after the other; their lengths.

    pieces: a choice of those that ``diff_xref_pieces`` wrote, cut where units of ``unit`` bytes end. order: numbers of
    the units that are replaced, one after the other. Raises as ``diff_xref`` does.
    """
    stats = ffi.new("struct ota_xref_stats *")
    chosen = ffi.new("struct ota_xref_options *", (options.model_log, options.spans_max, options.regions_max))
    one, two = ffi.from_buffer("uint8_t[]", old), ffi.from_buffer("uint8_t[]", new)
    raw = ffi.from_buffer("uint8_t[]", pieces)
    numbers, count = ffi.cast("uint64_t *", raw), len(raw) // 24
    written = ffi.new("uint64_t[]", len(order) + 1)
    units = ffi.new("uint32_t[]", order)
    status = int(
        lib.ota_encode_xref_units(
            chosen, one, len(one), two, len(two), numbers, count, unit, units, len(order), written, fd, stats
        )
    )
    _xref_stats(status, stats)
    return [int(length) for length in written]


def _xref_stats(status: int, stats: Any) -> XrefStats:
    if status < 0:
        reason = os.strerror(stats.os_error) if stats.os_error else ""
        raise error(_code(status), reason or "while making a delta")
    return XrefStats(
        stats.triples,
        stats.spans,
        stats.regions,
        stats.literals,
        stats.written,
        stats.workspace,
        tuple(int(part) for part in stats.parts),
    )


# ---- coders of views -------------------------------------------------------------------------------------------


class Coder(Protocol):
    """Decoders and encoders for the parts of images, docs/SPEC.md section 6.5; one of each is at work at a time."""

    @property
    def codings(self) -> int:
        """Bit per id of a coding."""

    def size(self, encode: bool, coding: int, params: int) -> int:
        """Bytes of memory that a board gives it; 0: there is no such coding."""

    def begin(self, encode: bool, coding: int, params: int) -> None:
        """Start a part."""

    def step(self, encode: bool, data: bytes, room: int, *, last: bool) -> tuple[int, bytes, bool]:
        """Bytes of data taken, at most room bytes of output, and whether the part is complete. ValueError: damaged."""

    def save(self, place: int) -> None:
        """Keep a copy of the decoder at work under this number, in place of an older one."""

    def restore(self, place: int) -> None:
        """Let the decoder go on as it was."""


class Gnuzip:
    """Deflate (RFC 1951) as GNU gzip writes it at a level from 1 to 9, by the core's own encoder."""

    def __init__(self, level: int) -> None:
        size = lib.ota_gnuzip_size(level)
        self._memory = ffi.new("uint64_t[]", -(-size // 8))
        status = int(lib.ota_gnuzip_begin(self._memory, size, level))
        if status < 0:
            raise error(_code(status), f"level {level}")

    def step(self, data: Buffer, room: int, *, last: bool) -> tuple[int, bytes, bool]:
        """As ``Coder.step``; any data can be compressed."""
        held, out = ffi.from_buffer("uint8_t[]", data), ffi.new("uint8_t[]", max(room, 1))
        cursor_in = ffi.new("struct ota_in *", (held, len(held), 0))
        cursor_out = ffi.new("struct ota_out *", (out, room, 0))
        status = int(lib.ota_gnuzip_step(self._memory, cursor_in, cursor_out, int(last)))
        return int(cursor_in.pos), bytes(ffi.buffer(out, cursor_out.pos)), status == lib.OTA_DONE


def gnuzip_size(level: int) -> int:
    """Bytes of memory that the encoder takes; 0: there is no such level."""
    return int(lib.ota_gnuzip_size(level))


class _CoderContext:
    """What the callbacks need, and the struct that names them."""

    def __init__(self, coder: Coder) -> None:
        self.coder = coder
        self.failure: BaseException | None = None
        self.handle = ffi.new_handle(self)
        self.raw = ffi.new(
            "struct ota_coder *",
            {
                "ctx": self.handle,
                "codings": coder.codings,
                "size": lib.ota_py_coder_size,
                "begin": lib.ota_py_coder_begin,
                "step": lib.ota_py_coder_step,
                "save": lib.ota_py_coder_save,
                "restore": lib.ota_py_coder_restore,
            },
        )


@ffi.def_extern()  # type: ignore[untyped-decorator]
def ota_py_coder_size(handle: Any, encode: int, coding: int, params: int) -> int:
    context: _CoderContext = ffi.from_handle(handle)
    return context.coder.size(bool(encode), coding, params)


@ffi.def_extern(error=-int(Code.INTERNAL))  # type: ignore[untyped-decorator]
def ota_py_coder_begin(handle: Any, encode: int, coding: int, params: int, _raw: int, _memory: Any, _len: int) -> int:
    context: _CoderContext = ffi.from_handle(handle)
    context.coder.begin(bool(encode), coding, params)
    return 0


@ffi.def_extern(error=-int(Code.INTERNAL))  # type: ignore[untyped-decorator]
def ota_py_coder_step(handle: Any, encode: int, cursor_in: Any, cursor_out: Any, last: int) -> int:
    context: _CoderContext = ffi.from_handle(handle)
    data = bytes(ffi.buffer(cursor_in.src + cursor_in.pos, cursor_in.size - cursor_in.pos)) if cursor_in.src else b""
    room = cursor_out.size - cursor_out.pos
    try:
        taken, out, done = context.coder.step(bool(encode), data, room, last=bool(last))
    except ValueError:
        return -int(Code.DELTA)
    ffi.memmove(cursor_out.dst + cursor_out.pos, out, len(out))
    cursor_in.pos += taken
    cursor_out.pos += len(out)
    if done:
        return int(lib.OTA_DONE)
    return int(lib.OTA_WANT_OUTPUT if len(out) == room else lib.OTA_WANT_INPUT)


@ffi.def_extern(error=-int(Code.INTERNAL))  # type: ignore[untyped-decorator]
def ota_py_coder_save(handle: Any, place: Any, _len: int) -> int:
    ffi.from_handle(handle).coder.save(int(ffi.cast("uintptr_t", place)))
    return 0


@ffi.def_extern(error=-int(Code.INTERNAL))  # type: ignore[untyped-decorator]
def ota_py_coder_restore(handle: Any, _coding: int, place: Any, _len: int) -> int:
    ffi.from_handle(handle).coder.restore(int(ffi.cast("uintptr_t", place)))
    return 0


# ---- executing -------------------------------------------------------------------------------------------------


class Slot(enum.IntEnum):
    """Which of two slots is written, and started next. AUTO: the one that does not run."""

    NONE = 0
    A = 1
    B = 2
    AUTO = 3


class Phase(enum.IntEnum):
    """How far an update has come."""

    PREFLIGHT = 0
    BEGIN = 1
    UPDATE = 2
    END = 3


@dataclass(frozen=True, slots=True)
class Report:
    """Counters of an update and the place of its failure; fields as ``struct ota_report`` has them."""

    code: Code | None
    phase: Phase
    os_error: int
    script_exit: int
    changed: bool
    record: int
    records_done: int
    records_total: int
    skipped: int
    left_out: int
    bytes_done: int
    bytes_total: int
    bytes_written: int
    record_from: int
    record_bytes: int
    detail: str
    target: str


Tick = Callable[[Report], bool | None]
"""Called while an update runs; True asks to stop. An exception stops too, and is raised again afterwards."""


@dataclass(frozen=True, slots=True)
class ExecOptions:
    """How to execute. Sizes in bytes; block_buffer is a multiple of 512 and at least the largest erase block.

    check_only: read all records, look at no target. workspace: for engines and views, as the preamble states it.
    coder: for views; without one, a package that needs any is refused.
    slot, select, patterns, hook: see ``otastream.apply.ApplyOptions``.
    """

    dry_run: bool = False
    check_only: bool = False
    ignore_space: bool = False
    volatile_tmp: bool = False
    allow_downgrade: bool = False
    window: int = WINDOW
    block_buffer: int = 1 << 16
    header_max: int = 16384
    workspace: int = 0
    coder: Coder | None = None
    shell: bytes | None = None
    slot: Slot = Slot.NONE
    select: int = 0
    patterns: tuple[bytes, ...] = ()
    hook: bytes | None = None


class _TickContext:
    def __init__(self, tick: Tick) -> None:
        self.tick = tick
        self.failure: BaseException | None = None


@ffi.def_extern()  # type: ignore[untyped-decorator]
def ota_py_tick(handle: Any, report: Any) -> int:
    context: _TickContext = ffi.from_handle(handle)
    if context.failure is not None:
        return 1
    try:
        return 1 if context.tick(_report(report)) else 0
    except BaseException as exc:  # noqa: BLE001 - C cannot carry it; Executor raises it again
        context.failure = exc
        return 1


def _report(raw: Any) -> Report:
    return Report(
        code=_code(raw.status) if raw.status < 0 else None,
        phase=Phase(raw.phase),
        os_error=raw.os_error,
        script_exit=raw.script_exit,
        changed=bool(raw.changed),
        record=raw.record,
        records_done=raw.records_done,
        records_total=raw.records_total,
        skipped=raw.skipped,
        left_out=raw.left_out,
        bytes_done=raw.bytes_done,
        bytes_total=raw.bytes_total,
        bytes_written=raw.bytes_written,
        record_from=raw.record_from,
        record_bytes=raw.record_bytes,
        detail=os.fsdecode(bytes(ffi.string(raw.detail))),
        target=os.fsdecode(bytes(ffi.string(raw.target))),
    )


class Executor:
    """Executes a record stream beneath ``root``: a context manager around feed and finish.

    ``tmp`` is a writable folder for scripts and built images. Entering takes the lock on root (LOCKED). Leaving without
    ``finish`` gives the update up: the end script runs if the update had begun, what is half made is dropped.
    """

    def __init__(
        self,
        root: str | bytes | os.PathLike[str],
        tmp: str | bytes | os.PathLike[str],
        *,
        options: ExecOptions | None = None,
        tick: Tick | None = None,
    ) -> None:
        self._root, self._tmp = os.fsencode(root), os.fsencode(tmp)
        self._options = options if options is not None else ExecOptions()
        self._tick = None if tick is None else _TickContext(tick)
        self._coder = None if self._options.coder is None else _CoderContext(self._options.coder)
        self._handle = ffi.NULL if self._tick is None else ffi.new_handle(self._tick)
        self._posix: Any = None
        self._patterns: Any = None
        self._workspace: Any = None
        self._exec: Any = None
        self._last: Report | None = None
        self._finished = False

    def __enter__(self) -> Self:
        self._open_port()
        try:
            self._open_executor()
        except BaseException:
            self._close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if not self._finished:
                self._finished = True
                lib.ota_exec_finish(self._exec, -int(_code_of(exc)))
        finally:
            self._close()

    def feed(self, data: Buffer) -> bool:
        """Execute a piece of the record stream, in any split. True: the end record was executed."""
        view = ffi.from_buffer("uint8_t[]", data)
        status = int(lib.ota_exec_feed(self._require(), view, len(view)))
        if status < 0:
            raise self._failure(status)
        return status == int(lib.OTA_DONE)

    def finish(self, why: BaseException | None = None) -> Report:
        """The stream has ended, or failed with ``why``. To be called once; raises what the update failed with."""
        executor = self._require()
        if self._finished:
            raise error(Code.USAGE, "finish was called twice")
        self._finished = True
        status = int(lib.ota_exec_finish(executor, 0 if why is None else -int(_code_of(why))))
        if status < 0:
            raise self._failure(status)
        return self.report

    def slots(self, action: SlotAction) -> SlotStatus:
        """See ``slots`` of this module."""
        self._require()
        block = ffi.new("uint8_t[]", self._options.block_buffer)
        found = ffi.new("struct ota_slot_status *")
        status = int(lib.ota_posix_slots_run(self._posix, int(action), block, len(block), found))
        if status < 0:
            raise error(_code(status), os.fsdecode(bytes(ffi.string(found.detail))))
        return _slot_status(found)

    @property
    def report(self) -> Report:
        """The counters now; also after the executor was left."""
        if self._exec is not None:
            return _report(lib.ota_exec_report(self._exec))
        if self._last is None:
            raise error(Code.USAGE, "the executor was not opened")
        return self._last

    def _open_port(self) -> None:
        options = self._options
        root, tmp = ffi.new("char[]", self._root), ffi.new("char[]", self._tmp)
        shell = ffi.NULL if options.shell is None else ffi.new("char[]", options.shell)
        hook = ffi.NULL if options.hook is None else ffi.new("char[]", options.hook)
        patterns = [ffi.new("char[]", pattern) for pattern in options.patterns]
        self._patterns = (patterns, ffi.new("char *[]", patterns))  # what C keeps pointers to
        settings = ffi.new(
            "struct ota_posix_options *",
            {
                "root": root,
                "tmp": tmp,
                "shell": shell,
                "hook": hook,
                "patterns": self._patterns[1],
                "pattern_count": len(patterns),
            },
        )
        if self._tick is not None:
            settings.tick, settings.tick_ctx = lib.ota_py_tick, self._handle
        size = int(lib.ota_posix_size())
        self._posix = ffi.new("uint64_t[]", (size + 7) // 8)
        os_error = ffi.new("int *")
        status = int(lib.ota_posix_init(self._posix, size, settings, os_error))
        if status < 0:
            reason = os.strerror(os_error[0]) if os_error[0] else ""
            self._close()
            of_tmp = status == -int(Code.USAGE) and os.access(self._root, os.R_OK | os.X_OK)
            name, folder = ("--tmp", self._tmp) if of_tmp else ("--root", self._root)
            detail = f"{name}: {reason}" if status == -int(Code.USAGE) else reason
            raise error(_code(status), detail, target=os.fsdecode(folder))

    def _open_executor(self) -> None:
        options = self._options
        settings = ffi.new(
            "struct ota_exec_options *",
            {
                "dry_run": options.dry_run,
                "check_only": options.check_only,
                "ignore_space": options.ignore_space,
                "volatile_tmp": options.volatile_tmp,
                "allow_downgrade": options.allow_downgrade,
                "window": options.window,
                "block_buffer": options.block_buffer,
                "slot": int(options.slot),
                "select": options.select,
                "header_max": options.header_max,
                "workspace": options.workspace,
                "coder": ffi.NULL if self._coder is None else self._coder.raw,
            },
        )
        size = int(lib.ota_exec_size(settings))
        if size == 0:
            raise error(Code.USAGE, "a buffer size of the executor is out of range")
        self._workspace = ffi.new("uint64_t[]", (size + 7) // 8)
        place = ffi.new("struct ota_exec **")
        _check(lib.ota_posix_exec_init(self._workspace, size, settings, self._posix, place))
        self._exec = place[0]

    def _close(self) -> None:
        if self._exec is not None:
            self._last = self.report
            self._exec = None
        if self._posix is not None:
            lib.ota_posix_close(self._posix)
            self._posix = None
        self._workspace = None

    def _require(self) -> Any:
        if self._exec is None:
            raise error(Code.USAGE, "the executor is not open")
        return self._exec

    def _failure(self, status: int) -> BaseException:
        """What to raise for a negative status: the exception of the tick if there was one, else our own error."""
        if self._tick is not None and self._tick.failure is not None:
            return self._tick.failure
        report = self.report
        parts = [report.detail, os.strerror(report.os_error) if report.os_error else ""]
        return error(
            _code(status),
            ": ".join(part for part in parts if part),
            target=report.target or None,
            record=report.record,
        )


# ---- slots -----------------------------------------------------------------------------------------------------


class SlotAction(enum.IntEnum):
    """What to do to the slots of a board."""

    STATUS = 0
    GOOD = 1
    ROLLBACK = 2


@dataclass(frozen=True, slots=True)
class SlotStatus:
    """The two slots of a board; a slot is ``a``, ``b``, or None where it is not known or there is none.

    selected: what the boot loader starts next. trial: whether it has yet to prove to work; None: this board has no
    trials. incomplete: a slot whose update began and did not end. good: the slots that have proved to work; None: this
    board does not keep that.
    """

    running: str | None
    selected: str | None
    trial: bool | None
    incomplete: str | None
    good: tuple[str, ...] | None
    boot_count: int


def slots(root: str, tmp: str, action: SlotAction, *, block_buffer: int = 1 << 16) -> SlotStatus:
    """Do this to the slots of the board beneath ``root``; their state afterwards.

    CONFIG: the board has no slots, or this cannot be done now. ENV: its environment cannot be used. LOCKED: an update
    is at work. Other errors: those of nodes.
    """
    with Executor(root, tmp, options=ExecOptions(block_buffer=block_buffer)) as executor:
        return executor.slots(action)


def _slot(number: int) -> str | None:
    return None if number < 0 else "ab"[number]


def _slot_status(raw: Any) -> SlotStatus:
    good = None if raw.good < 0 else tuple(name for bit, name in enumerate("ab") if raw.good >> bit & 1)
    return SlotStatus(
        running=_slot(raw.running),
        selected=_slot(raw.selected),
        trial=None if raw.trial < 0 else bool(raw.trial),
        incomplete=_slot(raw.incomplete),
        good=good,
        boot_count=raw.boot_count,
    )


def _code_of(exc: BaseException | None) -> Code:
    """The code under which the executor shall give up for this exception."""
    if isinstance(exc, OtaError):
        return exc.code
    if exc is None or isinstance(exc, KeyboardInterrupt | GeneratorExit | SystemExit):
        return Code.CANCELLED
    return Code.INTERNAL
