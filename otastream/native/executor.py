"""Executing record streams, and what else needs a board's root: its slots."""

from __future__ import annotations

import enum
import os
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Final, Self

from otastream._core import ffi, lib
from otastream.errors import Code, OtaError, error
from otastream.native.coders import Coder, CoderContext
from otastream.native.common import WINDOW, Buffer, check, code_of


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
    lost: bool
    record: int
    records_done: int
    records_total: int
    skipped: int
    fell_back: int
    left_out: int
    bytes_done: int
    bytes_total: int
    bytes_written: int
    record_from: int
    record_bytes: int
    detail: str
    target: str


LOST_HINT: Final = "running it again cannot help; take a package with the whole image of this target"
"""Where ``lost``; the board program says the same."""

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
        code=code_of(raw.status) if raw.status < 0 else None,
        phase=Phase(raw.phase),
        os_error=raw.os_error,
        script_exit=raw.script_exit,
        changed=bool(raw.changed),
        lost=bool(raw.lost),
        record=raw.record,
        records_done=raw.records_done,
        records_total=raw.records_total,
        skipped=raw.skipped,
        fell_back=raw.fell_back,
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
        self._coder = None if self._options.coder is None else CoderContext(self._options.coder)
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
                lib.ota_exec_finish(self._exec, -int(_code_for(exc)))
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
        status = int(lib.ota_exec_finish(executor, 0 if why is None else -int(_code_for(why))))
        if status < 0:
            raise self._failure(status)
        return self.report

    def slots(self, action: SlotAction) -> SlotStatus:
        """See ``slots`` of this package."""
        self._require()
        block = ffi.new("uint8_t[]", self._options.block_buffer)
        found = ffi.new("struct ota_slot_status *")
        status = int(lib.ota_posix_slots_run(self._posix, int(action), block, len(block), found))
        if status < 0:
            raise error(code_of(status), os.fsdecode(bytes(ffi.string(found.detail))))
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
            raise error(code_of(status), detail, target=os.fsdecode(folder))

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
        check(lib.ota_posix_exec_init(self._workspace, size, settings, self._posix, place))
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
            code_of(status),
            ": ".join(part for part in parts if part),
            target=report.target or None,
            record=report.record,
            hint=LOST_HINT if report.lost else None,
        )


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


def _code_for(exc: BaseException | None) -> Code:
    """The code under which the executor shall give up for this exception."""
    if isinstance(exc, OtaError):
        return exc.code
    if exc is None or isinstance(exc, KeyboardInterrupt | GeneratorExit | SystemExit):
        return Code.CANCELLED
    return Code.INTERNAL
