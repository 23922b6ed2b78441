"""The first half of packing: scan -> hash -> plan. What has to be done waits on disk, so that memory stays flat."""

from __future__ import annotations

import os
from array import array
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Final

from otastream import fields, gather
from otastream.cache import DeltaCache
from otastream.config import Folder, Release, check_release
from otastream.container import has_fallback
from otastream.deltas.maker import Views
from otastream.fields import CODINGS
from otastream.model import WORKSPACE_UNIT, Block, EngineId, Manifest, Ubi, When
from otastream.options import PackOptions, check_options, engine_memory, engines, view_engine_memory, workspace_max
from otastream.sides import NOTED_MAX, Work, is_viewed, seen
from otastream.spool import Steps, Trees
from otastream.stages.diff import diff
from otastream.stages.hash import hash_entries, holds_magic, sketch_file
from otastream.stages.limit import limit
from otastream.stages.plan import Place, plan
from otastream.stages.scan import scan
from otastream.stages.single import image_expect
from otastream.tree import Change, Entry, Ready, Step
from otastream.views.scan import MAGICS

XREF_LEAST: Final = 1 << 20
"""Bytes of a file that engine xref is used inside of, if there are several: of 60 modules (18 kB each) by gzip it makes
a package 7 % larger than engine bsdiff, of which the codec sees what the deltas have in common.
"""
BESIDE: Final = 64
"""Engine xref inside of files takes memory that the codec would have, and all records suffer. Measured on a root file
system of Debian's: the engine saves 4 % of the bytes of what is compressed; the smaller window costs 2.8 % of the bytes
of files that are sent in full, and 0.05 %, about one in so many of that, of those that are sent as deltas.
"""


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
        checks = list(gather.checks(release))
        for expect in checks:
            steps.expect(expect)
        wanted = list(_limited(gather.images(release, unit=options.unit), options))
        work = Work(steps, wanted, begin, end, cache, options, first_image=len(checks) + 1)
        _images(work, stack)
        for step in (*begin, *end):
            if step.action is not None:
                steps.count(step.action, step.change)
                steps.asked.record(step.action)
        for folder in release.folder:
            _plan_folder(folder, steps, options)
        steps.add(_limited(gather.edits(release), options))
        steps.add(gather.inline_scripts(release))
        steps.add(gather.environment(release))
        if steps.asked.sources or work.side.asked.sources:  # which engine codes such a record is decided later
            steps.asked.workspace = engine_memory(options)
            steps.asked.needs.update(fields.ENGINES[engine] for engine in engines(options))
            _look_inside(work)
        work.side.asked = work.side.asked.and_also(steps.asked)
        needs = tuple(sorted(work.side.asked.needs))
        about = release.name, release.version, options.created
        work.side.manifest = Manifest(steps.records, steps.bytes, needs, *about)
        yield work


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


def _images(work: Work, stack: ExitStack) -> None:
    """Images are decided before the rest: what must hold on the board depends on whether a delta is sent."""
    steps, options, side = work.steps, work.options, work.side
    views = _views(options, xref=True)
    tried, memory = engines(options), engine_memory(options)
    made = diff(work.wanted, engines=tried, memory=memory, views=views, cache=work.cache, scratch=options.scratch)
    for number, ready in enumerate(made):
        for payload in (ready.payload, ready.fallback):
            if payload is not None:
                stack.callback(payload.close)
        if isinstance(ready.record, Block | Ubi) and ready.record.note is not None and not is_viewed(ready.record):
            work.notes.append((ready.record.targets[0], ready.record.note))
        item = _inside(work, ready, number, image=True)
        side.images.append(item)
        if isinstance(item.record, Block | Ubi):
            steps.expect(image_expect(item.record, item.scratch))
        steps.count(item.record, Change.CHANGED)
        side.asked.record(item.record)


def _inside(work: Work, ready: Ready, number: int, *, image: bool) -> Ready:
    """Take note of what looking inside did to a record; with a note that there is room for."""
    item = work.room.fit(ready, saved=not image and work.steps.bytes > NOTED_MAX)
    found = seen(item, number, image=image)
    if found is not None:
        work.inside.append(found)
    asked = work.side.asked
    if not has_fallback(item.record):  # a board that has not all of them takes that
        asked.needs.update(CODINGS[coding] for coding in item.codings)
    asked.workspace = max(asked.workspace, -(-item.workspace // WORKSPACE_UNIT) * WORKSPACE_UNIT)
    return item


def _views(options: PackOptions, *, xref: bool, least: int = 0) -> Views | None:
    """xref: that engine may be used inside, even where it is not anywhere else, of new content of ``least`` bytes."""
    if not options.encoders:
        return None
    light, large = view_engine_memory(options) if xref else (0, 0)
    return Views(options.encoders, workspace_max(options), light, large, least)


def _look_inside(work: Work) -> None:
    """Decide on files that may hold something compressed: what their views need of a board stands in the manifest,
    which goes first. All others are decided while they are sent.
    """
    steps, options = work.steps, work.options
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
    views = _views(options, xref=everywhere or _xref_pays(held, work), least=least)
    wanted, memory = map(steps.delta, numbers), engine_memory(options)
    made = diff(wanted, engines=tried, memory=memory, views=views, jobs=options.jobs, cache=work.cache)
    for number, ready in zip(numbers, made, strict=True):
        item = _inside(work, ready, number, image=False)
        work.side.asked.record(item.record)
        steps.decide(number, item)


def _xref_pays(held: int, work: Work) -> bool:
    """Whether engine xref inside of files, which hold so many bytes, is worth its memory. Images that take as much have
    it so already.
    """
    steps, options = work.steps, work.options
    beside = steps.full + (steps.bytes - steps.full - held) // BESIDE
    if options.ram is not None:  # of which nothing may be left to a codec
        beside *= BESIDE
    return work.side.asked.workspace >= view_engine_memory(options)[0] or held >= beside


def _limited(steps: Iterable[Step], options: PackOptions) -> Iterator[Step]:
    return limit(steps, deltas=bool(engines(options)), delta_max=options.delta_max)
