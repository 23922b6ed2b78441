"""Make a package: scan -> hash -> plan -> diff -> header -> compress -> write. Composition only.

The first three stages end in a plan on disk (``planning``); the others pull from each other.
"""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Self

from otastream.config import Folder, Release
from otastream.container import encode, encode_preamble, framed
from otastream.errors import Code, OtaError, error
from otastream.model import Codec, EngineId, Event, Expect
from otastream.options import Fit, PackOptions, adopt, engine_memory, engines, fit, refit
from otastream.planning import planned
from otastream.sides import MORE, Side, Work
from otastream.spool import Demands
from otastream.stages.compress import compress
from otastream.stages.decompress import decompress
from otastream.stages.diff import diff
from otastream.stages.header import header
from otastream.stages.insert import insert
from otastream.stages.read import read
from otastream.stages.records import records
from otastream.stages.verify import first, verify
from otastream.stages.write import write
from otastream.tree import CHUNK_SIZE, Change, Ready

__all__ = ["PackOptions", "Summary", "append_release", "pack_folders", "pack_release"]


@dataclass(slots=True)
class Summary:
    """What was packed; complete when the package is. Sizes in bytes.

    changes: how many paths were added, changed, moved, deleted, or got another mode, owner or xattrs (meta). deltas:
    files and images that are sent as one. cached: those that an earlier run had decided on. content: new content that
    payloads make; payload: what is sent for it, before compression; package: the whole file. notes: targets of images
    that hold something compressed and were not looked into, each with the reason.
    """

    changes: Counter[Change] = field(default_factory=Counter)
    records: int = 0
    deltas: int = 0
    cached: int = 0
    content: int = 0
    payload: int = 0
    package: int = 0
    notes: list[tuple[bytes, str]] = field(default_factory=list)
    ram: int = 0
    codec: Codec = Codec.NONE
    window_log: int = 0


def pack_folders(old: str, new: str, *, dest: str, output: str, options: PackOptions | None = None) -> Summary:
    """The package that turns the folder old into the folder new at ``dest`` (absolute) on the board."""
    release = Release(folder=(Folder(old=old, new=new, dest=dest),))
    return pack_release(release, output=output, options=options)


def pack_release(release: Release, *, output: str, options: PackOptions | None = None) -> Summary:
    """Make the package of a release. output: a path, which appears only when all went well, or ``-`` for stdout.

    Memory does not grow with the number of files; TMPDIR holds the plan and the deltas that wait to be sent. The same
    inputs and options give the same bytes, for any number of jobs. Errors: USAGE (also: the budget is too small),
    CONFIG, INPUT, CHANGED, OUTPUT, TOO_SMALL; RAM when there is no memory for a delta.
    """
    options = options or PackOptions()
    with planned(release, options) as work:

        def fitted(asked: Demands) -> Fit:
            return fit(options, source=asked.sources, workspace=asked.workspace)

        return _smaller(work, fitted, partial(_headed, work), output)


def append_release(
    package: str, release: Release, *, options: PackOptions | None = None, drop_signatures: bool = False
) -> Summary:
    """Add the records of a release to an existing package, which is replaced when all went well.

    Codec, window and frame size stay those of the package unless the options say otherwise. A signed package is refused
    (USAGE) unless drop_signatures; the options may have it signed anew. CONFIG: a target is in both, or both have the
    same kind of script. Other errors: those of packing and of reading a package.
    """
    options = options or PackOptions()
    with closing(read(package)) as pieces:
        preamble = first(verify(pieces))
    if preamble.signatures and not drop_signatures:
        raise _would_break_signatures(package)
    options = adopt(preamble, options)
    with planned(release, options) as work:
        claim = work.steps.claim

        def fitted(asked: Demands) -> Fit:
            return refit(preamble, options, source=asked.sources, workspace=asked.workspace)

        def events(side: Side, summary: Summary) -> Generator[Event, None, None]:
            with closing(read(package)) as pieces:
                old = records(decompress(verify(pieces)))
                # targets may be claimed only once
                yield from insert(old, added=_headed(work, side, summary), seen=_nothing if side.plain else claim)

        return _smaller(work, fitted, events, package)


def _nothing(_: Expect) -> None:
    """What was claimed stays so."""


def _would_break_signatures(package: str) -> OtaError:
    return error(
        Code.USAGE, "appending would make the signatures of the package wrong", target=package,
        hint="append first and sign then, or drop them with --drop-signatures",
    )  # fmt: skip


# ---- which package it is -----------------------------------------------------------------------------------------


Events = Callable[[Side, Summary], Generator[Event, None, None]]
"""The records of one of the sides; the summary is complete when they are."""


def _smaller(work: Work, fitted: Callable[[Demands], Fit], events: Events, output: str) -> Summary:
    """Write the package as it was decided, or the plain one, if that is smaller by more than ``MORE`` bytes."""
    side, options = work.side, work.options
    made = fitted(side.asked)
    if work.certain(made, fitted(replace(work.steps.asked, sources=side.asked.sources))):
        summary = _summary(work)
        with closing(events(side, summary)) as stream:
            _written(_compressed(stream, made), made, output, summary, options)
        return summary
    work.settle()
    with ExitStack() as stack:
        best = stack.enter_context(_Measured(events, side, work, made))
        plain = best
        for whole in (False, True):
            other = work.other(whole=whole)
            plain = stack.enter_context(_Measured(events, other, work, fitted(other.asked)))
            if best.size <= plain.size + MORE or not other.left_out:
                break
        if best.size > plain.size + MORE:
            best = plain
        _written(best.pieces(), best.made, output, best.summary, options)
        return best.summary


class _Measured:
    """A package, compressed into a temporary file. size: bytes of its frames, and of what was left out of it."""

    def __init__(self, events: Events, side: Side, work: Work, made: Fit) -> None:
        self.side, self.made, self.summary = side, made, _summary(work)
        self._file = tempfile.TemporaryFile()  # noqa: SIM115 - a context manager
        try:
            with closing(events(side, self.summary)) as stream:
                for piece in _compressed(stream, made):
                    self._file.write(piece)
        except BaseException:
            self._file.close()
            raise
        self.size = framed(self._file.tell(), made.frame_log) + side.left_out

    def pieces(self) -> Iterator[bytes]:
        self._file.seek(0)
        while piece := self._file.read(CHUNK_SIZE):
            yield piece

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()


def _summary(work: Work) -> Summary:
    return Summary(work.steps.counts, work.steps.records, notes=work.notes)


# ---- diff -> header -> compress -> write ----------------------------------------------------------------------------


def _diffed(work: Work, side: Side) -> Generator[Ready, None, None]:
    """Every record but the end script in the order of execution, its engine decided."""
    yield from diff(work.begin, engines=())
    yield from side.images
    options = work.options
    tried, memory = engines(options), engine_memory(options)
    actions = work.steps.actions(plain=side.plain)
    with closing(diff(actions, engines=tried, memory=memory, jobs=options.jobs, cache=work.cache)) as coded:
        yield from coded


def _headed(work: Work, side: Side, summary: Summary) -> Generator[Event, None, None]:
    end = next(diff(work.end, engines=()), None)
    with closing(_diffed(work, side)) as ready:
        expects = work.steps.expects(plain=side.plain)
        yield from header(_watched(ready, work, summary), manifest=side.manifest, expects=expects, end=end)


def _compressed(events: Iterator[Event], made: Fit) -> Iterator[bytes]:
    return compress(encode(events), codec=made.codec, window_log=made.window_log, level=made.level)


def _written(stream: Iterator[bytes], made: Fit, output: str, summary: Summary, options: PackOptions) -> None:
    preamble = write(
        stream,
        output=output,
        codec=made.codec,
        window_log=made.window_log,
        ram=made.ram,
        workspace=made.workspace,
        frame_log=made.frame_log,
        signers=options.signers,
    )
    summary.package = len(encode_preamble(preamble)) + preamble.length
    summary.codec, summary.window_log, summary.ram = preamble.codec, preamble.window_log, preamble.ram


def _watched(ready: Iterable[Ready], work: Work, summary: Summary) -> Iterator[Ready]:
    """Pass everything through, keep the sums, report progress."""
    done = sum(getattr(step.action, "size", 0) for step in work.end)  # sent already, in front of all others
    for item in ready:
        size = getattr(item.record, "size", 0)
        if item.payload is not None:
            summary.content += size
            summary.payload += item.payload.size + (0 if item.fallback is None else item.fallback.size)
            summary.cached += item.cached
            summary.deltas += getattr(item.record, "engine", EngineId.FULL) is not EngineId.FULL
        yield item
        done += size
        if not work.settled:  # else that has told how far it is
            work.options.report("pack", done, work.steps.bytes, getattr(item.record, "path", b""))
