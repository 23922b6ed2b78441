"""Decoding deltas: what a payload and old content make, in any split."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Any, Final, Protocol

from otastream._core import ffi, lib
from otastream.errors import Code, error
from otastream.model import EngineId
from otastream.native.coders import Coder, CoderContext
from otastream.native.common import WINDOW, Buffer, check

_OUT_SIZE: Final = 1 << 16


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
        self._coder = None if views is None else CoderContext(views.coder)
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
        check(lib.ota_decoder_init(self._state, options))
        if in_parts:
            self._done = False
            lib.ota_engine_in_parts(self._workspace)

    def begin_part(self, start: int, size: int, coded: int) -> None:
        """``coded`` bytes of payload follow that make ``size`` bytes of new content from ``start`` on."""
        self._done = False
        check(lib.ota_engine_begin_part(self._workspace, start, size, coded))

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
        check(status)
