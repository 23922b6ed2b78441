"""How a package is made, and how its codec is fitted to the memory that applying may take."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

from otastream import container
from otastream.engines import xref
from otastream.errors import Code, error
from otastream.keys import Signer, check_signers
from otastream.model import WORKSPACE_MAX, WORKSPACE_UNIT, Codec, CodingId, EngineId, Preamble
from otastream.tree import DELTA_MAX

WINDOW_LOGS: Final = {Codec.NONE: 0, Codec.GZIP: 15, Codec.ZSTD: 16, Codec.LZMA: 18}
"""Window logs when there is no memory budget.

With these the board program, with a block buffer for NAND, stays within 1 MiB. zstd takes more memory for 64 KiB than
lzma for 256 KiB; twice as much of either makes packages about 1 % smaller.
"""

VIEW_WINDOW_LOGS: Final = {Codec.NONE: 0, Codec.GZIP: 15, Codec.ZSTD: 14, Codec.LZMA: 17}
"""The same where views or engines take memory too: with views of zlib, and an erase block of 128 KiB, a board stays
in 1.5 MiB.
"""

BUDGET_WINDOW_LOGS: Final = {Codec.NONE: 0, Codec.GZIP: 15, Codec.ZSTD: 23, Codec.LZMA: 23}
"""The largest that a memory budget is spent on."""

ENCODERS: Final = {
    "gzip": frozenset({CodingId.DEFLATE, CodingId.GNUZIP, CodingId.JFFS2}),
    "xz": frozenset({CodingId.XZ}),
    "zstd": frozenset({CodingId.ZSTD}),
    "lz4": frozenset({CodingId.LZ4}),
    "lzo": frozenset({CodingId.LZO}),
}
"""Names of ``--board-encoders`` and the codings that they stand for."""

VERSIONS: Final = {"zstd": "1.5.4", "lz4": "1.9.4", "lzo": "2.10"}
"""Of those whose library writes other bytes with every version: the version that the coding promises."""

BOARD_ENCODERS: Final = ENCODERS["gzip"]
"""What every board program has."""

VIEW_MEMORY: Final = 8 << 20
"""Most bytes that a view may take on a board when there is no memory budget."""

VIEW_RAM: Final = 960 << 10
"""What applying may take where deltas look inside of what zlib compressed and neither a budget nor a codec was
asked for: the board program then stays within 1.5 MiB.
"""

VIEW_RAM_LARGE: Final = 5200 << 10
"""The same where liblzma or libzstd compressed: within 6 MiB."""

XREF_RAM: Final = 648 << 10
"""What applying may take when engine xref is used and neither a budget nor a codec was asked for: the board program
then stays within 1 MiB.
"""

XREF_LOGS: Final = range(16, 21)
"""Sizes of its model that a budget is spent on; without one, the default at most."""

Progress = Callable[[str, int, int, bytes], None]
"""phase, done, total (0: not known), the target at work."""

ENGINES: Final[dict[str, tuple[EngineId, ...]]] = {
    "auto": (EngineId.BSDIFF,),
    "full": (),
    "bsdiff": (EngineId.BSDIFF,),
    "xref": (EngineId.BSDIFF, EngineId.XREF),
}
"""Names of ``--engine`` and the delta engines that they allow; a file that is smaller in full is always sent so. What
auto allows is more from an effort of ``ALL_ENGINES`` on: ask ``engines``.
"""

EFFORTS: Final = range(1, 10)
ALL_ENGINES: Final = 6
"""The least effort at which auto tries every engine."""

LZMA_EFFORT: Final = 5
"""The least effort at which the codec is lzma: 4 to 9 % smaller than zstd in less memory, but slower on the board."""

_ZSTD_LEVELS: Final = {1: 6, 2: 9, 3: 12, 4: 16}
"""Of codec zstd at small efforts; from 5 on it is the usual one."""


@dataclass(frozen=True, slots=True)
class PackOptions:
    """How to make a package. Sizes in bytes.

    encoders: codings of image parts that the boards can recompress; empty: no delta looks inside of compressed images.
    codec None: lzma (zstd with a level or an effort below 5), or what the budget of ``ram`` has room for. window_log,
    frame_log: upper bounds. level: of the codec, None: its default. jobs: threads that make deltas. delta_max: larger
    files are sent full. block_buffer: largest erase block of the boards. scratch: bytes of a board's temporary folder
    that an update in place may take. signers: who signs the package. created: seconds since 1970 to write into the
    manifest.
    cache: folder that keeps deltas from one run to the next; cache_limit: what stays in it. effort: 1 to 9, how much
    time packing may take for a smaller package; see ``engines``.
    """

    codec: Codec | None = None
    level: int | None = None
    window_log: int | None = None
    frame_log: int = 16
    ram: int | None = None
    engine: str = "auto"
    effort: int = 5
    jobs: int = 1
    delta_max: int = DELTA_MAX
    block_buffer: int = 65536
    encoders: frozenset[CodingId] = BOARD_ENCODERS
    scratch: int = 256 << 10
    owner: bool = False
    xattrs: bool = False
    signers: tuple[Signer, ...] = ()
    created: int | None = None
    cache: str | None = None
    cache_limit: int = 1 << 30
    progress: Progress | None = None

    @property
    def unit(self) -> int:
        """Bytes that an update in place replaces at once: a power of two, not less than an erase block."""
        return 1 << (max(self.block_buffer, 65536) - 1).bit_length()

    def report(self, phase: str, done: int, total: int, target: bytes) -> None:
        """Tell whoever watches."""
        if self.progress is not None:
            self.progress(phase, done, total, target)


@dataclass(frozen=True, slots=True)
class Fit:
    """Codec, window and frame size, and the bytes that applying then needs (docs/SPEC.md section 7).

    workspace: of these, what engines and views need beyond the buffers that every applier has.
    """

    codec: Codec
    window_log: int
    frame_log: int
    ram: int
    level: int | None = None
    workspace: int = 0


def check_options(options: PackOptions) -> None:
    """USAGE for what no package can be made with."""
    if options.engine not in ENGINES:
        raise error(Code.USAGE, f"engine {options.engine!r}: use one of {', '.join(ENGINES)}")
    if options.effort not in EFFORTS:
        raise error(Code.USAGE, f"effort {options.effort}: 1 to 9")
    if options.jobs < 1:
        raise error(Code.USAGE, "jobs must be at least 1")
    if options.codec is Codec.NONE and options.level is not None:
        raise error(Code.USAGE, "codec none has no level")
    check_signers(options.signers)


def engines(options: PackOptions) -> tuple[EngineId, ...]:
    """The delta engines to try for each file; the smallest result that the boards have memory for is sent.

    auto: bsdiff, whose deltas any board decodes quickly; with an effort of 6 or more xref, too, where files are
    programs or kernels.
    """
    if options.engine == "auto" and options.effort >= ALL_ENGINES:
        return ENGINES["xref"]
    return ENGINES[options.engine]


def view_engine_memory(options: PackOptions) -> tuple[int, int]:
    """Bytes that a view and engine xref may take together: beside an encoder of zlib, and beside a larger one. 0: xref
    is not to be used inside of images.

    auto uses it there whatever the effort: with it boards take about as long as for compressing the parts again.
    """
    if options.engine != "auto" and EngineId.XREF not in engines(options):
        return 0, 0
    if _asked(options):
        most = workspace_max(options)
        return most, most
    gzip = _made(Codec.GZIP, WINDOW_LOGS[Codec.GZIP], min(options.frame_log, 12), options, source=True, workspace=0)
    light, large = (ram - gzip.ram for ram in (VIEW_RAM, VIEW_RAM_LARGE))
    return light // WORKSPACE_UNIT * WORKSPACE_UNIT, large // WORKSPACE_UNIT * WORKSPACE_UNIT


def workspace_max(options: PackOptions) -> int:
    """The most bytes that engines and views may take: what ``options.ram`` has left beside the smallest buffers."""
    if options.ram is None:
        return VIEW_MEMORY
    least = min(_smallest(codec, options, source=True).ram for codec in _codecs(options))
    return max(0, min(WORKSPACE_MAX, (options.ram - least) // WORKSPACE_UNIT * WORKSPACE_UNIT))


def fit(options: PackOptions, *, source: bool, workspace: int = 0) -> Fit:
    """The largest window, then the largest frame, that keep applying within ``options.ram``.

    source: whether any record reads old content; workspace: bytes for engines and views. Without a budget: what the
    options say. A codec that was asked for is never exchanged for another one. USAGE: nothing fits; the hint says what
    would.
    """
    codecs = _codecs(options)
    for budget in (*_budgets(options, workspace), options):
        for codec in codecs:
            found = _fit_codec(codec, budget, source=source, workspace=workspace)
            if found is not None:
                return found
    smallest = [_smallest(codec, options, source=source, workspace=workspace) for codec in codecs]
    least = min(smallest, key=lambda item: item.ram)
    hint = f"at least --ram {-(-least.ram // 1024)}K is needed"
    if options.codec is not None and _fit_codec(
        Codec.NONE, replace(options, window_log=None), source=source, workspace=workspace
    ):
        hint += f" with codec {options.codec.name.lower()}; others need less"
    raise error(Code.USAGE, f"applying needs {least.ram} bytes at least, the budget is {options.ram}", hint=hint)


def engine_memory(options: PackOptions) -> int:
    """Bytes that decoding may take for its engine: those of the largest xref model that keeps applying within the
    budget; 0 when xref is not to be used or there is no room for it.
    """
    if EngineId.XREF not in engines(options):
        return 0
    options = _budgeted(options)
    top = xref.DEFAULT_LOG if options.ram in (None, XREF_RAM) else XREF_LOGS[-1]
    for log in range(top, XREF_LOGS[0] - 1, -1):
        need = -(-xref.workspace(log) // WORKSPACE_UNIT) * WORKSPACE_UNIT
        if _room_beside(need, options):
            return need
    return 0


def _room_beside(need: int, options: PackOptions) -> bool:
    """Whether a codec of full use fits beside an engine's memory: a large model is not worth doing without."""
    if options.codec is not None or options.ram is None:
        return any(_fit_codec(codec, options, source=True, workspace=need) for codec in _codecs(options))
    window_log = WINDOW_LOGS[Codec.GZIP] if options.window_log is None else options.window_log
    frame_log = min(options.frame_log, 12)
    return _made(Codec.GZIP, window_log, frame_log, options, source=True, workspace=need).ram <= options.ram


def _codecs(options: PackOptions) -> tuple[Codec, ...]:
    if options.codec is not None:
        return (options.codec,)
    quick = options.effort < LZMA_EFFORT or options.level is not None
    return (Codec.ZSTD if quick else Codec.LZMA, Codec.GZIP, Codec.NONE)


def _asked(options: PackOptions) -> bool:
    """Whether somebody has decided what codec, window or memory there is to be."""
    return options.ram is not None or options.codec is not None or options.window_log is not None


def _budgeted(options: PackOptions) -> PackOptions:
    return options if _asked(options) else replace(options, ram=XREF_RAM)


def _budgets(options: PackOptions, workspace: int) -> list[PackOptions]:
    """What applying a package with a workspace should stay within if that is possible, the least first."""
    if _asked(options) or not workspace:
        return []
    rams = (*((XREF_RAM,) if engine_memory(options) else ()), VIEW_RAM, VIEW_RAM_LARGE)
    return [replace(options, ram=ram) for ram in rams]


def adopt(preamble: Preamble, options: PackOptions) -> PackOptions:
    """Options for a package that is written anew: its own codec, window and frames unless the options say otherwise."""
    if options.codec is None and options.window_log is None:
        options = replace(options, codec=preamble.codec, window_log=preamble.window_log)
    return replace(options, frame_log=min(options.frame_log, preamble.frame_log))


def refit(preamble: Preamble, options: PackOptions, *, source: bool, workspace: int = 0) -> Fit:
    """The same for a package that is written anew, with what ``adopt`` makes of the options.

    What it was said to need is never lowered, since larger erase blocks than the usual ones may be part of it, and its
    records keep their engines.
    """
    workspace = max(workspace, preamble.workspace)
    made = fit(adopt(preamble, options), source=source, workspace=workspace)
    if options.ram is None and made.ram < preamble.ram:
        made = replace(made, ram=preamble.ram)
    return made


def _fit_codec(codec: Codec, options: PackOptions, *, source: bool, workspace: int) -> Fit | None:
    logs = container.WINDOW_LOGS[codec]
    usual = WINDOW_LOGS if options.ram in (None, VIEW_RAM, VIEW_RAM_LARGE) else BUDGET_WINDOW_LOGS
    top = usual[codec] if options.window_log is None else options.window_log
    if workspace and options.window_log is None and options.ram is None:
        top = min(top, VIEW_WINDOW_LOGS[codec])
    if top not in logs:
        raise error(Code.USAGE, f"window log {top} for codec {codec.name.lower()}")
    if options.frame_log not in container.FRAME_LOGS:
        raise error(Code.USAGE, f"frame log {options.frame_log}")
    for window_log in range(top, logs.start - 1, -1):
        # small frames cost 36 bytes each: halving the window is cheaper until it is of little use
        for frame_log in range(options.frame_log, min(options.frame_log, 12) - 1, -1):
            found = _made(codec, window_log, frame_log, options, source=source, workspace=workspace)
            if options.ram is None or found.ram <= options.ram:
                return found
    return None


def _smallest(codec: Codec, options: PackOptions, *, source: bool, workspace: int = 0) -> Fit:
    window_log, frame_log = container.WINDOW_LOGS[codec].start, min(options.frame_log, 12)
    return _made(codec, window_log, frame_log, options, source=source, workspace=workspace)


def _made(codec: Codec, window_log: int, frame_log: int, options: PackOptions, *, source: bool, workspace: int) -> Fit:
    need = container.ram(
        codec,
        window_log,
        frame_log=frame_log,
        source=source,
        block_buffer=max(options.block_buffer, 65536),
        workspace=workspace,
    )
    level = options.level
    if level is None and codec is Codec.ZSTD:
        level = _ZSTD_LEVELS.get(options.effort)
    return Fit(codec, window_log, frame_log, need, level, workspace)
