"""The first half of packing: scan -> hash -> plan. What has to be done waits on disk, so that memory stays flat."""

from __future__ import annotations

import os
from array import array
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from typing import Final

from otastream import fields, gather
from otastream.cache import DeltaCache
from otastream.config import Folder, Release, check_release
from otastream.container import has_fallback
from otastream.deltas.maker import VIEW_COST, Views
from otastream.fields import CODINGS
from otastream.model import WORKSPACE_UNIT, Block, EngineId, File, Manifest, Ubi, When
from otastream.options import PackOptions, check_options, engine_memory, engines, view_engine_memory, workspace_max
from otastream.spool import Steps, Trees
from otastream.stages.diff import diff
from otastream.stages.hash import hash_entries, holds_magic, sketch_file
from otastream.stages.limit import limit
from otastream.stages.plan import Place, plan
from otastream.stages.scan import scan
from otastream.stages.single import image_expect
from otastream.tree import Change, Entry, Ready, Step
from otastream.views.scan import MAGICS

NOTES: Final = 64
"""Bytes of notes about files without a view that a package may have; more where views save more than that."""
NOTE_HEAD: Final = 36
"""Bytes of a note beside its text: 4 of its own, and what it may cost that the codec finds all behind it elsewhere."""
XREF_LEAST: Final = 1 << 20
"""Bytes of a file that engine xref is used inside of, if there are several: of 60 modules (18 kB each) by gzip it makes
a package 7 % larger than engine bsdiff, of which the codec sees what the deltas have in common.
"""
BESIDE: Final = 64
"""Engine xref inside of files takes memory that the codec would have, and all records suffer. Measured on a root file
system of Debian's: the engine saves 4 % of the bytes of what is compressed; the smaller window costs 2.8 % of the bytes
of files that are sent in full, and 0.05 %, about one in so many of that, of those that are sent as deltas.
"""


@dataclass(slots=True)
class Work:
    """A release that was planned: the spooled steps, and what is sent around them."""

    manifest: Manifest
    steps: Steps
    images: list[Ready]
    begin: list[Step]
    end: list[Step]
    cache: DeltaCache | None


@contextmanager
def planned(release: Release, options: PackOptions) -> Iterator[Work]:
    """Plan a release: scan -> hash -> plan, and diff for images. Errors: those of packing."""
    check_options(options)
    check_release(release)
    begin = gather.script(release.scripts.begin, When.BEGIN)
    end = gather.script(release.scripts.end, When.END)
    with ExitStack() as stack:
        cache = None if options.cache is None else DeltaCache(options.cache, limit=options.cache_limit)
        if cache is not None:
            stack.callback(cache.trim)
        steps = stack.enter_context(Steps())
        for expect in gather.checks(release):
            steps.expect(expect)
        images = _images(release, steps, options, cache, stack)
        for step in (*begin, *end):
            if step.action is not None:
                steps.count(step.action, step.change)
        for folder in release.folder:
            _plan_folder(folder, steps, options)
        steps.add(_limited(gather.edits(release), options))
        steps.add(gather.inline_scripts(release))
        steps.add(gather.environment(release))
        if steps.sources:  # which engine codes such a record is decided later
            steps.workspace = max(steps.workspace, engine_memory(options))
            steps.needs.update(fields.ENGINES[engine] for engine in engines(options))
            _look_inside(steps, options, cache)
        manifest = Manifest(
            steps.records, steps.bytes, tuple(sorted(steps.needs)), release.name, release.version, options.created
        )
        yield Work(manifest, steps, images, begin, end, cache)


def _plan_folder(folder: Folder, steps: Steps, options: PackOptions) -> None:
    old = os.fsencode(folder.old) if folder.old is not None else None
    with Trees() as trees:
        if old is not None:
            trees.load_old(_entries(old, folder, options))
        trees.load_new(_entries(os.fsencode(folder.new), folder, options))
        place = Place(os.fsencode(folder.dest), os.fsencode(folder.new), old, force=folder.force)
        sketch = sketch_file if engines(options) else None
        steps.add(gather.labelled(_limited(plan(trees, place=place, sketch=sketch), options), folder.label))


def _entries(root: bytes, folder: Folder, options: PackOptions) -> Iterator[Entry]:
    entries = scan(root, owner=folder.owner or options.owner, xattrs=folder.xattrs or options.xattrs)
    done = 0
    for done, entry in enumerate(hash_entries(entries, root=root), 1):
        yield entry
        options.report("scan", done, 0, entry.path)


def _images(
    release: Release, steps: Steps, options: PackOptions, cache: DeltaCache | None, stack: ExitStack
) -> list[Ready]:
    """Images are decided before the rest: what must hold on the board depends on whether a delta is sent."""
    images = []
    views = _views(options, xref=True)
    tried, memory = engines(options), engine_memory(options)
    wanted = _limited(gather.images(release, unit=options.unit), options)
    for item in diff(wanted, engines=tried, memory=memory, views=views, cache=cache, scratch=options.scratch):
        images.append(item)
        for payload in (item.payload, item.fallback):
            if payload is not None:
                stack.callback(payload.close)
        if isinstance(item.record, Block | Ubi):
            steps.expect(image_expect(item.record, item.scratch))
            steps.needs.add(fields.ENGINES[item.record.engine])
        steps.count(item.record, Change.CHANGED)
        _board_needs(steps, item)
    return images


def _views(options: PackOptions, *, xref: bool, least: int = 0) -> Views | None:
    """xref: that engine may be used inside, even where it is not anywhere else, of new content of ``least`` bytes."""
    if not options.encoders:
        return None
    light, large = view_engine_memory(options) if xref else (0, 0)
    return Views(options.encoders, workspace_max(options), light, large, least)


def _board_needs(steps: Steps, item: Ready) -> None:
    if not has_fallback(item.record):  # a board that has not all of them takes that
        steps.needs.update(CODINGS[coding] for coding in item.codings)
    steps.workspace = max(steps.workspace, -(-item.workspace // WORKSPACE_UNIT) * WORKSPACE_UNIT)


def _look_inside(steps: Steps, options: PackOptions, cache: DeltaCache | None) -> None:
    """Decide on files that may hold something compressed: what their views need of a board stands in the manifest,
    which goes first. All others are decided while they are sent.
    """
    tried = engines(options)
    if not options.encoders or not tried:
        return
    numbers, sizes = array("Q"), array("Q")
    for number, step in steps.deltas():
        content = step.content
        if content is not None and content.digest != content.old_digest and holds_magic(content.new, MAGICS):
            numbers.append(number)
            sizes.append(content.size)
    everywhere = EngineId.XREF in tried
    least = 0 if everywhere or len(numbers) == 1 else XREF_LEAST
    held = sum(size for size in sizes if size >= least)
    views = _views(options, xref=everywhere or _xref_pays(held, steps, options), least=least)
    room, memory = NOTES, engine_memory(options)
    wanted = map(steps.delta, numbers)
    made = diff(wanted, engines=tried, memory=memory, views=views, jobs=options.jobs, cache=cache)
    for number, item in zip(numbers, made, strict=True):
        room += max(0, item.saved - VIEW_COST)
        found, cost = _noted(item, room)
        room -= cost
        _board_needs(steps, found)
        steps.decide(number, found)


def _xref_pays(held: int, steps: Steps, options: PackOptions) -> bool:
    """Whether engine xref inside of files, which hold so many bytes, is worth its memory. Images that take as much have
    it so already.
    """
    beside = steps.full + (steps.bytes - steps.full - held) // BESIDE
    if options.ram is not None:  # of which nothing may be left to a codec
        beside *= BESIDE
    return steps.workspace >= view_engine_memory(options)[0] or held >= beside


def _noted(item: Ready, room: int) -> tuple[Ready, int]:
    """Without the note that says why there is no view, if it costs more than room bytes; and what it costs."""
    record = item.record
    if not isinstance(record, File) or record.note is None or item.saved:
        return item, 0
    cost = len(record.note.encode()) + NOTE_HEAD
    return (item, cost) if cost <= room else (replace(item, record=replace(record, note=None), raw=None), 0)


def _limited(steps: Iterable[Step], options: PackOptions) -> Iterator[Step]:
    return limit(steps, deltas=bool(engines(options)), delta_max=options.delta_max)
