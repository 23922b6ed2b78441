"""plan: what must be done to turn the old tree into the new one, in an order that survives a cut.

Executing a package twice, or again after a cut at any moment, must end in the new tree. Every record is idempotent by
itself; what the order has to guarantee is that whatever a record reads is still there when it has to run again:

    1  folders that are new or get other mode, owner or xattrs, parents first
    2  files (written, or only their mode, owner, xattrs) and symbolic links, sorted by path;
       then names that become hard links
    3  moves: a file that went away and whose content appears elsewhere
    4  deletes of what is not a folder; then the folders that make room for something else, deepest first
    5  what lies at or beneath a path that changed between folder and non-folder ("late"), parents first, moves
       included; then the hard links that have to do with it
    6  deletes of what phase 5 still read; then all other folders that went away, deepest first

Sources. A record for T may read the old content of S if that is still there whenever T is not done yet:

    S is T itself          the new content replaces the old one at once (rename)
    S stays                its content is the same in new
    S went away            phases 3 to 6 remove it; a T of phase 2 comes before them. A T of phase 5 may read it if S is
                           not moved in phase 3 and does not make room: its delete then waits for phase 6
    S changes              S and T are both of phase 2 and T's path is the lower one

``otastream.sources`` chooses among them.

A file is moved at most once, and only where nothing else shares its content by a hard link.

Hard links. The first name of a group of new is its file; the others become links to it. If the old content of that
name stays, so does the file, unless several groups of new come out of one group of old: then one of them keeps the
file, and the others are written afresh (``single``), since changing one name must not change the other.

Checks. Every path that is touched has one tree expect, in the order of the actions (a reader adds up the space in that
order): old and new state, and the source where it is another path. A folder into which something is added is checked to
be there, the top one too. A path that changes between folder and non-folder has its expect where it frees or takes
space.
"""

# ruff: noqa: S608 - every query is put together from constants of this module; values are bound

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from otastream import model
from otastream.fields import check_root
from otastream.model import (
    ABSENT,
    ANY,
    DIRECTORY,
    Action,
    Delete,
    DeleteType,
    Dir,
    EngineId,
    ExpectTree,
    File,
    FileState,
    Link,
    LinkState,
    LinkType,
    Move,
    Source,
    State,
)
from otastream.sources import Sketch, find_alike, find_sources, pages
from otastream.spool import Trees, unpack_owner, unpack_xattrs
from otastream.tree import Change, Content, Kind, Step, basename

_META: Final = "(n.mode IS NOT o.mode OR n.uid IS NOT o.uid OR n.gid IS NOT o.gid OR n.xattrs IS NOT o.xattrs)"

# Which entries of new need what. change: make, meta, link, write, hard, move (set later), or NULL for nothing.
_COMPARE: Final = f"""
UPDATE new SET late = 2 FROM old o WHERE o.path = new.path AND (o.kind = {Kind.DIR}) <> (new.kind = {Kind.DIR});
UPDATE new SET same = 1, oldgrp = o.grp FROM old o
    WHERE o.path = new.path AND o.kind = {Kind.FILE} AND new.kind = {Kind.FILE}
    AND o.size = new.size AND o.digest = new.digest;
UPDATE old SET gone = 1 WHERE NOT EXISTS (SELECT 1 FROM new n WHERE n.path = old.path);
UPDATE old SET stays = 1 WHERE EXISTS (SELECT 1 FROM new n WHERE n.path = old.path AND n.same);

UPDATE new AS n SET change = 'make' WHERE kind = {Kind.DIR};
UPDATE new AS n SET change = CASE WHEN {_META} THEN 'meta' END FROM old o
    WHERE o.path = n.path AND n.kind = {Kind.DIR} AND o.kind = {Kind.DIR};

UPDATE new AS n SET change = 'link' WHERE kind = {Kind.LINK};
UPDATE new AS n SET change = NULL FROM old o
    WHERE o.path = n.path AND n.kind = {Kind.LINK} AND o.kind = {Kind.LINK}
    AND o.text = n.text AND o.uid IS n.uid AND o.gid IS n.gid;

UPDATE new AS n SET change = 'write' WHERE kind = {Kind.FILE} AND (grp IS NULL OR grp = path) AND NOT same;
UPDATE new AS n SET change = 'meta' FROM old o
    WHERE o.path = n.path AND n.same AND (n.grp IS NULL OR n.grp = n.path) AND {_META};

CREATE TEMP TABLE keeper(grp BLOB PRIMARY KEY, path BLOB) WITHOUT ROWID;
INSERT OR IGNORE INTO keeper SELECT oldgrp, path FROM new
    WHERE same AND oldgrp IS NOT NULL AND (grp IS NULL OR grp = path) ORDER BY members DESC, path;
UPDATE new SET change = 'write', single = 1
    WHERE same AND oldgrp IS NOT NULL AND (grp IS NULL OR grp = path)
    AND path <> (SELECT k.path FROM keeper k WHERE k.grp = new.oldgrp);
UPDATE new SET change = 'hard' WHERE grp <> path
    AND NOT EXISTS (SELECT 1 FROM keeper k WHERE k.grp = new.oldgrp AND k.path = new.grp);

CREATE INDEX new_late ON new(path) WHERE late = 2;
CREATE INDEX new_parent ON new(parent);
CREATE INDEX new_change ON new(change, late, path);
CREATE INDEX old_content ON old(digest, size, path) WHERE kind = {Kind.FILE};
CREATE INDEX old_stays ON old(digest, size, path) WHERE stays;
CREATE INDEX old_free ON old(digest, size, base, path)
    WHERE kind = {Kind.FILE} AND gone AND grp IS NULL AND moved IS NULL;
CREATE INDEX old_stem ON old(stem, path) WHERE kind = {Kind.FILE} AND gone;
CREATE INDEX old_base ON old(base, path) WHERE kind = {Kind.FILE} AND gone;
"""


@dataclass(frozen=True, slots=True)
class Place:
    """Where the trees are: on the board (root) and here (old, new).

    old None: there is no old tree, and what the board has does not matter. force: old only says what differs; that is
    sent whole, and what the board has does not matter either.
    """

    root: bytes
    new: bytes
    old: bytes | None = None
    force: bool = False


def plan(trees: Trees, *, place: Place, sketch: Sketch | None = None) -> Iterator[Step]:
    """The steps that turn the old tree into the new one beneath ``place.root``; the trees must be loaded.

    sketch: how to find sources for new files that have the name of no old one; None: they get none.
    """
    check_root(place.root)
    return _plan(trees, _Maker(place), sketch)


def _plan(trees: Trees, make: _Maker, sketch: Sketch | None) -> Iterator[Step]:
    _compare(trees)
    if make.trusting:
        _find_moves(trees)
        find_sources(trees)
        if sketch is not None and make.place.old is not None:
            find_alike(trees, make.place.old, make.place.new, sketch)
    else:  # a record that sets only the mode would rely on the content
        trees.db.execute("UPDATE new SET change = 'write' WHERE change = 'meta' AND kind = ?", (Kind.FILE,))
    yield from _folders(trees, make)
    yield from _changes(trees, make, f"n.change IN ('write', 'meta', 'link') AND NOT n.late AND n.kind <> {Kind.DIR}")
    yield from _changes(trees, make, "n.change = 'hard' AND NOT n.late AND NOT p.late")
    yield from _changes(trees, make, "n.change = 'move' AND NOT n.late")
    yield from _deletes(trees, make, "o.moved IS NULL AND NOT o.held")
    yield from _folder_deletes(trees, make, "o.early")
    yield from _changes(trees, make, "n.change <> 'hard' AND n.late")
    yield from _changes(trees, make, "n.change = 'hard' AND (n.late OR p.late)")
    yield from _deletes(trees, make, "o.held")
    yield from _folder_deletes(trees, make, "NOT o.early")


# ---- what has to be done -------------------------------------------------------------------------------------------


def _compare(trees: Trees) -> None:
    """Fill the columns of the plan: late, early, same, gone, stays, change, single."""
    for statement in _COMPARE.split(";"):
        trees.db.execute(statement)
    # late is 2 where a path changed between folder and non-folder; now take in what is beneath
    trees.db.execute("UPDATE old SET early = 1 WHERE EXISTS (SELECT 1 FROM new n WHERE n.path = old.path AND n.late)")
    for (path,) in pages(trees, "SELECT path FROM new WHERE late = 2 AND path > ?"):
        beneath = (path + b"/", path + b"0")  # "0" follows "/"
        trees.db.execute("UPDATE new SET late = 1 WHERE path > ? AND path < ?", beneath)
        trees.db.execute("UPDATE old SET early = 1 WHERE path > ? AND path < ?", beneath)
    trees.db.execute("UPDATE new SET late = 1 WHERE late = 2")


def _find_moves(trees: Trees) -> None:
    """Pair files that went away with files of the same content that appear: column moved of old, change of new."""
    for late in (0, 1):
        free = "kind = 1 AND gone AND grp IS NULL AND moved IS NULL AND digest = ? AND size = ?"
        if late:
            free += " AND NOT early"
        for path, size, digest in pages(
            trees,
            f"""SELECT path, size, digest FROM new
                WHERE change = 'write' AND late = {late} AND NOT single AND members = 1 AND size > 0 AND path > ?""",
        ):
            found = (
                trees.db.execute(
                    f"SELECT path FROM old WHERE {free} AND base = ? ORDER BY path LIMIT 1",
                    (digest, size, basename(path)),
                ).fetchone()
                or trees.db.execute(
                    f"SELECT path FROM old WHERE {free} ORDER BY base, path LIMIT 1", (digest, size)
                ).fetchone()
            )
            if found:
                trees.db.execute("UPDATE new SET change = 'move', src = ? WHERE path = ?", (found[0], path))
                trees.db.execute("UPDATE old SET moved = ? WHERE path = ?", (path, found[0]))


# ---- steps ---------------------------------------------------------------------------------------------------------

_CHANGED: Final = """
SELECT n.path, n.kind, n.mode, n.uid, n.gid, n.xattrs, n.size, n.digest, n.text, n.grp, n.change, n.single, n.src,
    o.kind, o.size, o.digest, o.text, s.size, s.digest, p.change IS NULL
FROM new n LEFT JOIN old o ON o.path = n.path LEFT JOIN old s ON s.path = n.src LEFT JOIN new p ON p.path = n.grp
"""


def _changes(trees: Trees, make: _Maker, where: str) -> Iterator[Step]:
    for row in trees.db.execute(f"{_CHANGED} WHERE {where} ORDER BY n.path"):
        yield make.change(_Row(*row))


def _folders(trees: Trees, make: _Maker) -> Iterator[Step]:
    """Phase 1, and the folders that nothing happens to but that something is added to, the top one first."""
    added = """SELECT 1 FROM new c WHERE c.parent = {} AND NOT EXISTS (SELECT 1 FROM old d WHERE d.path = c.path)"""
    known = make.place.root == b"/" or (make.trusting and not trees.db.execute(added.format("x''")).fetchone())
    if not known and trees.db.execute("SELECT 1 FROM new WHERE change IS NOT NULL").fetchone():
        yield Step(Change.NONE, (ExpectTree(make.place.root[1:], DIRECTORY, DIRECTORY),))
    where = f"n.kind = {Kind.DIR} AND NOT n.late AND (n.change IS NOT NULL OR EXISTS ({added.format('n.path')}))"
    yield from _changes(trees, make, where)


def _deletes(trees: Trees, make: _Maker, where: str) -> Iterator[Step]:
    for path, *old, replaced in trees.db.execute(
        f"""SELECT o.path, o.kind, o.size, o.digest, o.text, n.path IS NOT NULL
            FROM old o LEFT JOIN new n ON n.path = o.path
            WHERE o.kind <> {Kind.DIR} AND (n.path IS NULL OR n.kind = {Kind.DIR}) AND {where} ORDER BY o.path"""
    ):
        after: State = DIRECTORY if replaced else ABSENT
        yield make.delete(path, DeleteType.FILE, make.expect(path, _state(*old), after), counts=not replaced)


def _folder_deletes(trees: Trees, make: _Maker, where: str) -> Iterator[Step]:
    for path, replaced in trees.db.execute(
        f"""SELECT o.path, n.path IS NOT NULL FROM old o LEFT JOIN new n ON n.path = o.path
            WHERE o.kind = {Kind.DIR} AND (n.path IS NULL OR n.kind <> {Kind.DIR}) AND {where} ORDER BY o.path DESC"""
    ):
        # of a folder that becomes something else, the expect comes with what it becomes
        yield make.delete(
            path, DeleteType.DIR, None if replaced else make.expect(path, DIRECTORY, ABSENT), counts=not replaced
        )


@dataclass(frozen=True, slots=True)
class _Row:
    """One row of _CHANGED."""

    path: bytes
    kind: int
    mode: int
    uid: int | None
    gid: int | None
    raw_xattrs: bytes | None
    size: int
    raw_digest: bytes
    text: bytes
    group: bytes | None
    change: str | None
    single: int
    src: bytes | None
    old_kind: int | None
    old_size: int | None
    old_digest: bytes | None
    old_text: bytes | None
    src_size: int
    src_digest: bytes
    primary_stays: int

    @property
    def digest(self) -> int:
        return _digest(self.raw_digest)

    @property
    def owner(self) -> model.Owner | None:
        return unpack_owner(self.uid, self.gid)

    @property
    def xattrs(self) -> model.Xattrs | None:
        return unpack_xattrs(self.raw_xattrs)

    @property
    def before(self) -> State:
        return _state(self.old_kind, self.old_size, self.old_digest, self.old_text)

    @property
    def after(self) -> State:
        return _state(self.kind, self.size, self.raw_digest, self.text)


def _digest(raw: bytes) -> int:
    return int.from_bytes(raw, "big")


def _state(kind: int | None, size: int | None, digest: bytes | None, text: bytes | None) -> State:
    if kind is None:
        return ABSENT
    if kind == Kind.DIR:
        return DIRECTORY
    if kind == Kind.LINK and text is not None:
        return LinkState(text)
    assert size is not None  # noqa: S101 (a file's row)
    assert digest is not None  # noqa: S101
    return FileState(size, _digest(digest))


class _Maker:
    """Turns rows into steps."""

    def __init__(self, place: Place) -> None:
        self.place = place
        self.trusting = place.old is not None and not place.force
        """Whether the board is expected to have the old tree."""

    def expect(self, path: bytes, old: State, new: State, source: Source | None = None) -> ExpectTree:
        before = old if self.trusting else ANY
        return ExpectTree(path, before, new, root=self.place.root, source=source)

    def delete(self, path: bytes, kind: DeleteType, expect: ExpectTree | None, *, counts: bool) -> Step:
        action = Delete(path, kind, root=self.place.root)
        return Step(Change.DELETED if counts else Change.NONE, (expect,) if expect else (), action)

    def change(self, row: _Row) -> Step:
        """The step for one entry of new."""
        if row.kind == Kind.DIR:
            return self._folder(row)
        if row.change == "move":
            return self._move(row)
        source = None
        if row.change == "hard" and row.primary_stays and row.group is not None:
            source = Source(row.size, row.digest, path=row.group, root=self.place.root)
        elif row.src is not None and row.src != row.path:
            source = Source(row.src_size, _digest(row.src_digest), path=row.src, root=self.place.root)
        expect = self.expect(row.path, row.before, row.after, source)
        change = Change.ADDED if row.old_kind is None else Change.META if row.change == "meta" else Change.CHANGED
        return Step(change, (expect,), self._action(row), self._content(row) if row.change == "write" else None)

    def _action(self, row: _Row) -> Action:
        root = self.place.root
        if row.change == "hard" and row.group is not None:
            return Link(row.path, LinkType.HARD, row.group, root=root)
        if row.kind == Kind.LINK:
            return Link(row.path, LinkType.SYMBOLIC, row.text, root=root, owner=row.owner)
        engine = source = None
        if row.change == "write":
            engine = EngineId.FULL if row.src is None else EngineId.BSDIFF
            if row.src is not None:
                # preflight has checked the digest; the result is checked again
                itself = row.src == row.path
                source = Source(row.src_size) if itself else Source(row.src_size, path=row.src, root=root)
        return File(
            row.path, row.size, row.digest, row.mode, root=root, owner=row.owner, xattrs=row.xattrs,
            engine=engine, source=source, single=bool(row.single),
        )  # fmt: skip

    def _content(self, row: _Row) -> Content:
        new = os.path.join(self.place.new, row.path)
        if row.src is None or self.place.old is None:
            return Content(new, row.size, row.digest)
        old = os.path.join(self.place.old, row.src)
        return Content(new, row.size, row.digest, old, row.src_size, _digest(row.src_digest))

    def _folder(self, row: _Row) -> Step:
        # a file or link that becomes a folder has its expect where it is deleted
        expects = () if row.old_kind not in (None, Kind.DIR) else (self.expect(row.path, row.before, DIRECTORY),)
        if row.change is None:
            return Step(Change.NONE, expects)
        action = Dir(row.path, row.mode, root=self.place.root, owner=row.owner, xattrs=row.xattrs)
        return Step(Change.META if row.change == "meta" else Change.ADDED, expects, action)

    def _move(self, row: _Row) -> Step:
        assert row.src is not None  # noqa: S101 (_find_moves has set it)
        root = self.place.root
        source = Source(row.size, row.digest, path=row.src, root=root)
        expects = (
            self.expect(row.src, FileState(row.size, row.digest), ABSENT),  # first: it makes the room
            self.expect(row.path, row.before, row.after, source),
        )
        action = Move(row.path, source, row.size, row.digest, row.mode, root=root, owner=row.owner, xattrs=row.xattrs)
        return Step(Change.MOVED, expects, action)
