"""From the parts of a release that are no folders to steps: checks, scripts, images, single files."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Iterator
from dataclasses import replace

from otastream.config import Edit, Image, Release, parse_mode, parse_size
from otastream.errors import Code, error
from otastream.model import ABSENT, ANY, EnvChanges, Expect, ExpectBoard, ExpectVersion, When
from otastream.stages.hash import hash_file
from otastream.stages.single import Hashed, delete_step, environment_step, file_step, image_step, script_step
from otastream.tree import Step


def checks(release: Release) -> Iterator[Expect]:
    """What must hold for the board as a whole."""
    if release.compatible:
        yield ExpectBoard(release.compatible)
    if release.min_version is not None:
        yield ExpectVersion(release.min_version)


def script(path: str | None, when: When, label: str | None = None) -> list[Step]:
    """The step of one script; none without a path."""
    return [] if path is None else [script_step(_hashed(path), when=when, label=label)]


def inline_scripts(release: Release) -> Iterator[Step]:
    """The scripts that run when everything else is done."""
    for item in release.scripts.inline:
        path, label = (item, None) if isinstance(item, str) else (item.path, item.label)
        yield from script(path, When.INLINE, label)


def environment(release: Release) -> list[Step]:
    """The step that changes the boot loader's environment; none where nothing is to be changed."""
    pairs = sorted((name.encode(), value) for name, value in release.env.items())
    changes: EnvChanges = tuple((name, value.encode()) if isinstance(value, str) else (name,) for name, value in pairs)
    return [environment_step(changes)] if changes else []


def images(release: Release, *, unit: int) -> Iterator[Step]:
    """A step for every image. unit: bytes that are replaced at once where one is updated in place. TOO_SMALL: it is
    larger than its targets are said to be.
    """
    return (_image(image, unit) for image in release.image)


def edits(release: Release) -> Iterator[Step]:
    """A step for every single file."""
    return (_edit(edit) for edit in release.file)


def labelled(steps: Iterable[Step], label: str | None) -> Iterator[Step]:
    """The same steps with a label on each record, if there is one."""
    for step in steps:
        yield step if label is None or step.action is None else replace(step, action=replace(step.action, label=label))


def _image(image: Image, unit: int) -> Step:
    new = _hashed(image.new)
    if image.size is not None and new[1] > parse_size(image.size):
        raise error(Code.TOO_SMALL, f"{new[1]} bytes, the target has {parse_size(image.size)}", target=image.new)
    return image_step(
        new,
        targets=tuple(os.fsencode(node) for node in image.targets),
        kind=image.kind,
        old=_hashed(image.old) if image.old is not None else None,
        source=os.fsencode(image.source) if image.source is not None else None,
        label=image.label,
        mask=image.mask,
        unit=unit if image.in_place else None,
        fallback=image.fallback,
    )


def _edit(edit: Edit) -> Step:
    target = os.fsencode(edit.dest)
    old = _hashed(edit.old) if edit.old is not None else None
    if edit.new is None:
        return delete_step(target, old=old, label=edit.label)
    new = _hashed(edit.new)
    mode = parse_mode(edit.mode) if edit.mode is not None else stat.S_IMODE(os.stat(edit.new).st_mode)
    add = edit.action == "add"
    state = ABSENT if add else ANY
    return file_step(
        target, new=new, mode=mode, old=old, state=state, label=edit.label, parents=add, fallback=edit.fallback
    )


def _hashed(path: str) -> Hashed:
    name = os.fsencode(path)
    return (name, *hash_file(name))
