"""Make a package: scan -> hash -> plan -> diff -> header -> compress -> write. Composition only.

The first three stages end in a plan on disk (``planning``); the others pull from each other.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Generator, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from itertools import chain

from otastream.config import Folder, Release
from otastream.container import encode, encode_preamble
from otastream.errors import Code, OtaError, error
from otastream.model import Block, Codec, EngineId, Event, Ubi
from otastream.options import Fit, PackOptions, adopt, engine_memory, engines, fit, refit
from otastream.planning import Work, planned
from otastream.stages.compress import compress
from otastream.stages.decompress import decompress
from otastream.stages.diff import diff
from otastream.stages.header import header
from otastream.stages.insert import insert
from otastream.stages.read import read
from otastream.stages.records import records
from otastream.stages.verify import first, verify
from otastream.stages.write import write
from otastream.tree import Change, Ready

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
    with planned(release, options) as work, closing(_diffed(work, options)) as ready:  # scan, hash, plan; diff
        summary = Summary(work.steps.counts, work.steps.records)
        steps = work.steps
        made = fit(options, source=steps.sources, workspace=steps.workspace)
        events = _headed(ready, work, summary, options)
        stream = _compressed(events, made)
        _written(stream, made, output, summary, options)
    return summary


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
        frames = verify(pieces)
        preamble = first(frames)
        if preamble.signatures and not drop_signatures:
            raise _would_break_signatures(package)
        old = records(decompress(chain([preamble], frames)))
        options = adopt(preamble, options)
        with planned(release, options) as work, closing(_diffed(work, options)) as ready:
            summary = Summary(work.steps.counts, work.steps.records)
            made = refit(preamble, options, source=work.steps.sources, workspace=work.steps.workspace)
            events = insert(old, added=_headed(ready, work, summary, options), seen=work.steps.claim)
            stream = _compressed(events, made)
            _written(stream, made, package, summary, options)
    return summary


def _would_break_signatures(package: str) -> OtaError:
    return error(
        Code.USAGE, "appending would make the signatures of the package wrong", target=package,
        hint="append first and sign then, or drop them with --drop-signatures",
    )  # fmt: skip


# ---- diff -> header -> compress -> write ----------------------------------------------------------------------------


def _diffed(work: Work, options: PackOptions) -> Generator[Ready, None, None]:
    """Every record but the end script in the order of execution, its engine decided."""
    yield from diff(work.begin, engines=())
    yield from work.images
    tried, memory = engines(options), engine_memory(options)
    actions = work.steps.actions()
    with closing(diff(actions, engines=tried, memory=memory, jobs=options.jobs, cache=work.cache)) as coded:
        yield from coded


def _headed(ready: Iterable[Ready], work: Work, summary: Summary, options: PackOptions) -> Iterator[Event]:
    end = next(diff(work.end, engines=()), None)
    return header(
        _watched(ready, work, summary, options), manifest=work.manifest, expects=work.steps.expects(), end=end
    )


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


def _watched(ready: Iterable[Ready], work: Work, summary: Summary, options: PackOptions) -> Iterator[Ready]:
    """Pass everything through, keep the sums, report progress."""
    done = sum(getattr(step.action, "size", 0) for step in work.end)  # sent already, in front of all others
    for item in ready:
        size = getattr(item.record, "size", 0)
        if item.payload is not None:
            summary.content += size
            summary.payload += item.payload.size + (0 if item.fallback is None else item.fallback.size)
            summary.cached += item.cached
            if isinstance(item.record, Block | Ubi) and item.record.note is not None and item.record.new_view is None:
                summary.notes.append((item.record.targets[0], item.record.note))
            summary.deltas += getattr(item.record, "engine", EngineId.FULL) is not EngineId.FULL
        yield item
        done += size
        options.report("pack", done, work.manifest.bytes, getattr(item.record, "path", b""))
