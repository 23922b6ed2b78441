"""single: steps for what is not a folder: scripts, images, single files. The packer's stage for release.toml."""

from __future__ import annotations

import os
from typing import Literal

from otastream.errors import Code, error
from otastream.fields import check_node
from otastream.model import (
    ABSENT,
    ANY,
    SCRIPT_MAX,
    Block,
    Delete,
    DeleteType,
    EngineId,
    Env,
    EnvChanges,
    ExpectEnv,
    ExpectInPlace,
    ExpectNode,
    ExpectTree,
    File,
    FileState,
    Script,
    Source,
    State,
    Ubi,
    When,
)
from otastream.tree import Change, Content, Step, basename, parent, show

Hashed = tuple[bytes, int, int]
"""A local file: path, size in bytes, XXH64."""


def script_step(text: Hashed, *, when: When, label: str | None = None) -> Step:
    """Run this script. label: for people; None: the name of its file."""
    path, size, digest = text
    if size > SCRIPT_MAX:
        raise error(Code.INPUT, f"is a script of more than {SCRIPT_MAX} bytes", target=show(path))
    if label is None:
        label = os.fsdecode(basename(path)).encode("utf-8", "replace").decode()[:100]
    return Step(Change.SCRIPT, (), Script(when, size, digest, label), Content(path, size, digest))


def image_step(
    new: Hashed,
    *,
    targets: tuple[bytes, ...],
    kind: Literal["block", "ubi"] = "block",
    old: Hashed | None = None,
    source: bytes | None = None,
    label: str | None = None,
    mask: int | None = None,
    unit: int | None = None,
    fallback: bool = False,
) -> Step:
    """Write an image to each of the targets. old: what ``source`` (a node; None: the first target) holds before.
    mask: bit n says that target n is written; None: all are. unit: the target, which holds old, is updated in place, so
    many bytes at once. fallback: if a delta is sent, so is the image, for boards where it does not apply.

    Without expects, since what must hold depends on whether a delta is sent: see ``image_expect``.
    """
    path, size, digest = new
    make = Block if kind == "block" else Ubi
    if old is None or old[1] == 0:
        action = make(targets, size, digest, EngineId.FULL, None, label, mask)
        return Step(Change.CHANGED, (), action, Content(path, size, digest))
    where = Source(old[1], old[2], node=source)
    if unit is not None and size > 0:
        step = Block(targets, size, digest, EngineId.BSDIFF, where, label, unit=unit)
        return Step(Change.CHANGED, (), step, Content(path, size, digest, *old))
    action = make(targets, size, digest, EngineId.BSDIFF, where, label, mask, fallback=fallback)
    return Step(Change.CHANGED, (), action, Content(path, size, digest, *old))


def image_expect(record: Block | Ubi, scratch: int) -> ExpectNode | ExpectInPlace:
    """What must hold for an image record whose engine is decided. scratch: what an update in place takes."""
    if isinstance(record, Block):
        source, unit, plan = record.source, record.unit, record.plan
        if source is not None and unit is not None and plan is not None:
            about = record.targets, record.size, record.digest
            return ExpectInPlace(*about, source, unit, scratch, plan, record.label)
    source = None if record.fallback else record.source
    return ExpectNode(record.targets, record.size, record.digest, source, record.mask, record.label)


def file_step(
    target: bytes,
    *,
    new: Hashed,
    mode: int,
    old: Hashed | None = None,
    state: State = ANY,
    label: str | None = None,
    parents: bool = False,
    fallback: bool = False,
) -> Step:
    """Make one file. old: the content that is there before; without it the path must be in ``state``.

    parents: folders that are missing are made, all but the topmost, which may be a mount point. fallback: if a delta is
    sent, so is the content, for boards that have another one there, or none.
    """
    check_node(target)
    path, size, digest = new
    root, name = parent(target) or b"/", basename(target)
    parents = parents and root.count(b"/") > 1
    if parents:  # the topmost folder may be a symbolic link; only a root is followed through one
        top, _, name = target[1:].partition(b"/")
        root = b"/" + top
    before: State = state if old is None or fallback else FileState(old[1], old[2])
    expect = ExpectTree(name, before, FileState(size, digest), root=root, label=label)
    change = Change.ADDED if before == ABSENT else Change.CHANGED
    if old is None or old[1] == 0 or size == 0:
        action = File(name, size, digest, mode, root=root, engine=EngineId.FULL, label=label, parents=parents)
        return Step(change, (expect,), action, Content(path, size, digest))
    source = Source(old[1], old[2] if fallback else None)  # else the expect has the digest
    action = File(
        name, size, digest, mode, root=root, engine=EngineId.BSDIFF, source=source, label=label, fallback=fallback
    )
    return Step(change, (expect,), action, Content(path, size, digest, *old))


def environment_step(changes: EnvChanges, *, label: str | None = None) -> Step:
    """Change the boot loader's environment."""
    return Step(Change.ENVIRONMENT, (ExpectEnv(changes),), Env(changes, label))


def delete_step(target: bytes, *, old: Hashed | None = None, label: str | None = None) -> Step:
    """Delete one file. old: the content that is there before; without it, whatever is there but a folder."""
    check_node(target)
    root, name = parent(target) or b"/", basename(target)
    before: State = ANY if old is None else FileState(old[1], old[2])
    expect = ExpectTree(name, before, ABSENT, root=root, label=label)
    return Step(Change.DELETED, (expect,), Delete(name, DeleteType.FILE, root=root, label=label))
