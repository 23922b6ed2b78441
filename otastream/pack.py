"""Make a package: scan -> hash -> plan -> diff -> header -> compress -> write. Composition only."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from itertools import chain

from otastream import gather
from otastream.config import Folder, Release, check_release
from otastream.container import encode, encode_preamble
from otastream.errors import Code, error
from otastream.keys import Signer
from otastream.model import Block, Codec, EngineId, Event, Manifest, Preamble, Ubi, When
from otastream.options import ENGINES, Fit, PackOptions, check_options, fit, refit
from otastream.spool import Steps, Trees
from otastream.stages.compress import compress
from otastream.stages.decompress import decompress
from otastream.stages.diff import diff
from otastream.stages.hash import hash_entries
from otastream.stages.header import header
from otastream.stages.insert import insert
from otastream.stages.limit import limit
from otastream.stages.plan import Place, plan
from otastream.stages.read import read
from otastream.stages.records import records
from otastream.stages.scan import scan
from otastream.stages.single import image_expect
from otastream.stages.verify import verify
from otastream.stages.write import write
from otastream.tree import Change, Entry, Ready, Step

__all__ = ["PackOptions", "Summary", "append_release", "pack_folders", "pack_release"]


@dataclass(slots=True)
class Summary:
    """What was packed; complete when the package is. Sizes in bytes.

    changes: how many paths were added, changed, moved, deleted, or got another mode, owner or xattrs (meta). content:
    new content that payloads make; payload: what is sent for it, before compression; package: the whole file.
    """

    changes: Counter[Change] = field(default_factory=Counter)
    records: int = 0
    deltas: int = 0
    content: int = 0
    payload: int = 0
    package: int = 0
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
    with _planned(release, options) as work:
        events = _events(work, options)
        _write(events, fit(options, source=work.steps.sources), output, work, options.signers)
    return work.summary


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
        preamble = next(frames)
        if not isinstance(preamble, Preamble):
            raise error(Code.INTERNAL, "frames without a preamble")
        if preamble.signatures and not drop_signatures:
            raise error(
                Code.USAGE, "appending would make the signatures of the package wrong", target=package,
                hint="append first and sign then, or drop them with --drop-signatures",
            )  # fmt: skip
        old = records(decompress(chain([preamble], frames)))
        with _planned(release, options) as work:
            events = insert(old, added=_events(work, options), seen=work.steps.claim)
            _write(events, refit(preamble, options, source=work.steps.sources), package, work, options.signers)
    return work.summary


# ---- scan -> hash -> plan -------------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Work:
    """A release that was planned: the spooled steps, and what is sent around them."""

    manifest: Manifest
    steps: Steps
    images: list[Ready]
    begin: list[Step]
    end: list[Step]
    summary: Summary
    stack: ExitStack  # what must be closed in the end


@contextmanager
def _planned(release: Release, options: PackOptions) -> Iterator[_Work]:
    check_options(options)
    check_release(release)
    begin = gather.script(release.scripts.begin, When.BEGIN)
    end = gather.script(release.scripts.end, When.END)
    with ExitStack() as stack:
        steps = stack.enter_context(Steps())
        for expect in gather.checks(release):
            steps.expect(expect)
        images = _images(release, steps, options, stack)
        for step in (*begin, *end):
            if step.action is not None:
                steps.count(step.action, step.change)
        for folder in release.folder:
            _plan_folder(folder, steps, options)
        steps.add(_limited(gather.edits(release), options))
        steps.add(gather.inline_scripts(release))
        manifest = Manifest(
            steps.records, steps.bytes, tuple(sorted(steps.needs)), release.name, release.version, options.created
        )
        yield _Work(manifest, steps, images, begin, end, Summary(steps.counts, steps.records), stack)


def _plan_folder(folder: Folder, steps: Steps, options: PackOptions) -> None:
    old = os.fsencode(folder.old) if folder.old is not None else None
    with Trees() as trees:
        if old is not None:
            trees.load_old(_entries(old, folder, options))
        trees.load_new(_entries(os.fsencode(folder.new), folder, options))
        place = Place(os.fsencode(folder.dest), os.fsencode(folder.new), old, force=folder.force)
        steps.add(gather.labelled(_limited(plan(trees, place=place), options), folder.label))


def _entries(root: bytes, folder: Folder, options: PackOptions) -> Iterator[Entry]:
    entries = scan(root, owner=folder.owner or options.owner, xattrs=folder.xattrs or options.xattrs)
    done = 0
    for done, entry in enumerate(hash_entries(entries, root=root), 1):
        yield entry
        options.report("scan", done, 0, entry.path)


def _images(release: Release, steps: Steps, options: PackOptions, stack: ExitStack) -> list[Ready]:
    """Images are decided before the rest: what must hold on the board depends on whether a delta is sent."""
    images = []
    for item in diff(_limited(gather.images(release), options), engines=ENGINES[options.engine]):
        images.append(item)
        if item.payload is not None:
            stack.callback(item.payload.close)
        if isinstance(item.record, Block | Ubi):
            steps.expect(image_expect(item.record))
        steps.count(item.record, Change.CHANGED)
    return images


def _limited(steps: Iterable[Step], options: PackOptions) -> Iterator[Step]:
    return limit(steps, deltas=bool(ENGINES[options.engine]), delta_max=options.delta_max)


# ---- diff -> header -> compress -> write ----------------------------------------------------------------------------


def _events(work: _Work, options: PackOptions) -> Iterator[Event]:
    steps = work.steps
    coded = diff(steps.actions(), engines=ENGINES[options.engine], jobs=options.jobs)
    work.stack.enter_context(closing(coded))
    ready = _watched(chain(diff(work.begin, engines=()), work.images, coded), work, options)
    end = next(diff(work.end, engines=()), None)
    return header(ready, manifest=work.manifest, expects=steps.expects(), end=end)


def _watched(ready: Iterable[Ready], work: _Work, options: PackOptions) -> Iterator[Ready]:
    """Pass everything through, keep the sums, report progress."""
    summary, done = work.summary, 0
    for item in ready:
        size = getattr(item.record, "size", 0)
        if item.payload is not None:
            summary.content += size
            summary.payload += item.payload.size
            summary.deltas += getattr(item.record, "engine", EngineId.FULL) is not EngineId.FULL
        yield item
        done += size
        options.report("pack", done, work.manifest.bytes, getattr(item.record, "path", b""))


def _write(events: Iterator[Event], made: Fit, output: str, work: _Work, signers: Sequence[Signer]) -> None:
    stream = compress(encode(events), codec=made.codec, window_log=made.window_log, level=made.level)
    preamble = write(
        stream,
        output=output,
        codec=made.codec,
        window_log=made.window_log,
        ram=made.ram,
        frame_log=made.frame_log,
        signers=signers,
    )
    summary = work.summary
    summary.package = len(encode_preamble(preamble)) + preamble.length
    summary.codec, summary.window_log, summary.ram = preamble.codec, preamble.window_log, preamble.ram
