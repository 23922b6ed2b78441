"""Temporary databases that keep the packer's memory flat, however many files there are.

Both classes hold an SQLite database in an unnamed temporary file (in SQLITE_TMPDIR or TMPDIR, removed on close) behind
a small page cache. One thread at a time may use an object.
"""

from __future__ import annotations

import os
import sqlite3
import tempfile
from array import array
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any, BinaryIO, Final, Self

from otastream import cbor, model
from otastream.container import needs_of
from otastream.errors import Code, error
from otastream.fields import decode_record, encode_record
from otastream.model import Action, Expect, Head, Owner, Xattrs
from otastream.tree import Change, Content, Entry, Kind, Payload, Ready, Step, basename, parent, show, stem

_CACHE_KIB: Final = 1024

Row = tuple[Any, ...]


class _Database:
    """An unnamed temporary database; a context manager."""

    def __init__(self, schema: str) -> None:
        self.db = sqlite3.connect("", isolation_level=None, cached_statements=64, check_same_thread=False)
        self.db.executescript(
            f"PRAGMA cache_size=-{_CACHE_KIB}; PRAGMA journal_mode=OFF; PRAGMA synchronous=OFF; PRAGMA temp_store=FILE;"
            + schema
            + "BEGIN;"  # for good: nothing is ever rolled back, and every commit would cost
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.db.close()


# ---- two trees -----------------------------------------------------------------------------------------------------

# kind: tree.Kind. digest: 8 bytes (SQLite's integers are signed). grp: first path of the hard-linked names of a file
# that has several in the tree, else NULL; members: how many. The columns after `base` are the plan's.
_TABLE: Final = """
CREATE TABLE {side}(
    path BLOB PRIMARY KEY, kind INTEGER, mode INTEGER, uid INTEGER, gid INTEGER, xattrs BLOB,
    size INTEGER, digest BLOB, text BLOB, dev BLOB, ino BLOB,
    grp BLOB, members INTEGER NOT NULL DEFAULT 1, parent BLOB, base BLOB, {more}
) WITHOUT ROWID;
CREATE INDEX {side}_inode ON {side}(dev, ino) WHERE dev IS NOT NULL;
"""
_OLD: Final = """
    stem BLOB, gone INTEGER NOT NULL DEFAULT 0, stays INTEGER NOT NULL DEFAULT 0, early INTEGER NOT NULL DEFAULT 0,
    held INTEGER NOT NULL DEFAULT 0, moved BLOB"""
_NEW: Final = """
    late INTEGER NOT NULL DEFAULT 0, same INTEGER NOT NULL DEFAULT 0, change TEXT, single INTEGER NOT NULL DEFAULT 0,
    oldgrp BLOB, src BLOB"""
_COLUMNS: Final = "path, kind, mode, uid, gid, xattrs, size, digest, text, dev, ino, parent, base"


class Trees(_Database):
    """The entries of an old and a new tree in the tables ``old`` and ``new``, for the plan stage."""

    def __init__(self) -> None:
        super().__init__(_TABLE.format(side="old", more=_OLD) + _TABLE.format(side="new", more=_NEW))

    def load_old(self, entries: Iterable[Entry]) -> None:
        """Take every entry; files with their digest."""
        marks = ",".join("?" * 14)
        self.db.executemany(
            f"INSERT INTO old({_COLUMNS}, stem) VALUES({marks})",
            ((*_row(entry), stem(entry.path)) for entry in entries),
        )
        self._group("old")

    def load_new(self, entries: Iterable[Entry]) -> None:
        """Take every entry; files with their digest."""
        marks = ",".join("?" * 13)
        self.db.executemany(
            f"INSERT INTO new({_COLUMNS}) VALUES({marks})",
            (_row(entry) for entry in entries),
        )
        self._group("new")

    def _group(self, side: str) -> None:
        """Find the names that share a file."""
        self.db.execute(
            f"""CREATE TEMP TABLE {side}_groups AS SELECT dev, ino, min(path) AS first, count(*) AS members FROM {side}
                WHERE dev IS NOT NULL GROUP BY dev, ino HAVING count(*) > 1"""  # noqa: S608 (constants)
        )
        self.db.execute(
            f"""UPDATE {side} SET grp = g.first, members = g.members FROM {side}_groups g
                WHERE g.dev = {side}.dev AND g.ino = {side}.ino"""  # noqa: S608 (constants)
        )


def _row(entry: Entry) -> Row:
    owner, inode = entry.owner, entry.inode
    return (
        entry.path,
        entry.kind.value,
        entry.mode,
        owner.uid if owner else None,
        owner.gid if owner else None,
        cbor.encode(entry.xattrs) if entry.xattrs is not None else None,
        entry.stamp.size if entry.kind is Kind.FILE else None,
        pack_digest(entry.digest) if entry.digest is not None else None,
        entry.text,
        inode[0].to_bytes(8, "big") if inode else None,
        inode[1].to_bytes(8, "big") if inode else None,
        parent(entry.path),
        basename(entry.path),
    )


def pack_digest(digest: int) -> bytes:
    """A digest as the tables hold it."""
    return digest.to_bytes(8, "big")


def unpack_owner(uid: int | None, gid: int | None) -> Owner | None:
    """The owner columns."""
    return None if uid is None or gid is None else Owner(uid, gid)


def unpack_xattrs(raw: bytes | None) -> Xattrs | None:
    """The xattrs column."""
    if raw is None:
        return None
    pairs: Any = cbor.decode(raw)
    return tuple((name, value) for name, value in pairs)


# ---- the plan ------------------------------------------------------------------------------------------------------

_STEPS: Final = """
CREATE TABLE expect(seq INTEGER PRIMARY KEY, raw BLOB, plain BLOB);
CREATE TABLE target(name BLOB PRIMARY KEY) WITHOUT ROWID;
CREATE TABLE action(seq INTEGER PRIMARY KEY, change TEXT, raw BLOB, new BLOB, old BLOB, size INTEGER, digest BLOB,
    old_size INTEGER, old_digest BLOB, made INTEGER, made_size INTEGER, cached INTEGER NOT NULL DEFAULT 0,
    plain BLOB, plain_made INTEGER, plain_size INTEGER);
"""
# made: where the payload is in the spool, if it is decided. plain...: the record as it is if nobody looks inside.


_STEP: Final = "change, raw, made, made_size, cached, new, old, size, digest, old_size, old_digest"


@dataclass(slots=True)
class Demands:
    """What a package asks of boards. sources: whether any record may read old content; workspace: bytes that views and
    engines of records take, at most.
    """

    sources: bool = False
    needs: set[str] = field(default_factory=set)
    workspace: int = 0

    def record(self, action: Action) -> None:
        self.sources |= getattr(action, "source", None) is not None
        self.needs.update(needs_of(action))

    def and_also(self, other: Demands) -> Demands:
        return Demands(self.sources or other.sources, self.needs | other.needs, max(self.workspace, other.workspace))


class Steps(_Database):
    """The steps of a whole package, in order, with the sums that its manifest needs. asked: of boards, but for what
    images ask and views of files; left_out: numbers of actions that are not among the plain ones.
    """

    def __init__(self) -> None:
        super().__init__(_STEPS)
        self._spool = Spool()
        self.records = 0
        self.bytes = 0
        self.full = 0  # of these, bytes that are sent in full for certain
        self.asked = Demands()
        self.left_out: frozenset[int] = frozenset()
        self.counts: Counter[Change] = Counter()

    def add(self, steps: Iterable[Step]) -> None:
        """Take steps. CONFIG: a target has been named before."""
        for step in steps:
            for expect in step.expects:
                self.expect(expect)
            if step.action is None:
                continue
            self.count(step.action, step.change)
            self.asked.record(step.action)
            if step.content is not None:
                self.asked.needs.add("full")  # what the diff stage may turn a delta into
            self.db.execute(
                "INSERT INTO action(change, raw, new, old, size, digest, old_size, old_digest) VALUES(?,?,?,?,?,?,?,?)",
                (step.change.value, encode_record(step.action), *_content_row(step.content)),
            )

    def count(self, action: Action, change: Change) -> None:
        """Put a record into the sums only; whoever calls sends it."""
        self.counts[change] += 1
        self.records += 1
        self.bytes += getattr(action, "size", 0)
        self.full += getattr(action, "size", 0) if getattr(action, "engine", None) is model.EngineId.FULL else 0

    def expect(self, expect: Expect) -> None:
        """Take an expect. CONFIG: a target of it has been named before.

        That a folder is there need not hold in preflight if an earlier update of the package makes it.
        """
        if isinstance(expect, model.ExpectTree) and expect.old == expect.new == model.DIRECTORY and self._made(expect):
            return
        self.claim(expect)
        self.db.execute("INSERT INTO expect(raw) VALUES(?)", (encode_record(expect),))

    def also_expect(self, number: int, expect: Expect) -> None:
        """The expect of this number, from 1, is another one if nobody looks inside."""
        self.db.execute("UPDATE expect SET plain = ? WHERE seq = ?", (encode_record(expect), number))

    def _made(self, expect: model.ExpectTree) -> bool:
        name = _absolute(expect)
        return self.db.execute("SELECT 1 FROM target WHERE name = ?", (name,)).fetchone() is not None

    def claim(self, expect: Expect) -> None:
        """Note the targets of an expect; CONFIG if one of them has been noted before."""
        for name in targets_of(expect):
            try:
                self.db.execute("INSERT INTO target VALUES(?)", (name,))
            except sqlite3.IntegrityError:
                raise error(Code.CONFIG, "is the target of two updates in one package", target=show(name)) from None

    def expects(self, *, plain: bool = False) -> Iterator[Head]:
        """The headers of all expects, in order. plain: as they are if nobody looks inside."""
        for raw, other in self.db.execute("SELECT raw, plain FROM expect ORDER BY seq"):
            chosen = other if plain and other is not None else raw
            yield Head(decode_record(chosen), chosen)

    def __exit__(self, *about: object) -> None:
        self._spool.close()
        super().__exit__(*about)

    def actions(self, *, plain: bool = False) -> Iterator[Step]:
        """Every step that has an action, in order, without its expects. plain: as it is if nobody looks inside."""
        statement = f"SELECT seq, plain, plain_made, plain_size, {_STEP} FROM action ORDER BY seq"  # noqa: S608
        for number, other, made, size, *row in self.db.execute(statement):
            step = self._step(row)
            if not plain or (other is None and number not in self.left_out):
                yield step
            elif other is not None:
                yield self._plain_step(step, other, made, size)

    def _plain_step(self, step: Step, raw: bytes, made: int | None, size: int) -> Step:
        action = decode_record(raw)
        assert isinstance(action, model.Action)  # noqa: S101 (what plain() stored)
        if made is not None:
            return replace(step, action=action, raw=raw, made=self._spool.at(made, size))
        content = step.content  # the file itself
        if content is not None:
            content = replace(content, old=None, old_size=0, old_digest=0)
        return replace(step, action=action, raw=raw, made=None, content=content)

    def deltas(self) -> Iterator[tuple[int, Step]]:
        """The number and the step of every action that has an old file, in order."""
        statement = f"SELECT seq, {_STEP} FROM action WHERE old IS NOT NULL ORDER BY seq"  # noqa: S608 (constants)
        for number, *row in self.db.execute(statement):
            yield number, self._step(row)

    def undecided(self) -> array[int]:
        """The numbers of those actions whose payload is not decided."""
        return array(
            "Q", (n for (n,) in self.db.execute("SELECT seq FROM action WHERE old IS NOT NULL AND made IS NULL"))
        )

    def delta(self, number: int) -> Step:
        """The step of an action by its number."""
        statement = f"SELECT {_STEP} FROM action WHERE seq = ?"  # noqa: S608 (constants)
        return self._step(self.db.execute(statement, (number,)).fetchone())

    def decide(self, number: int, item: Ready) -> None:
        """Keep how a step will be sent; its payload is kept, and closed, unless the file itself is sent."""
        raw = encode_record(item.record)
        if getattr(item.record, "source", None) is None or item.payload is None:
            self.db.execute("UPDATE action SET raw = ?, old = NULL WHERE seq = ?", (raw, number))
            return
        made = self._spool.add(item.payload)
        about = (raw, made.start, made.size, item.cached, number)
        self.db.execute("UPDATE action SET raw = ?, made = ?, made_size = ?, cached = ? WHERE seq = ?", about)

    def plain(self, number: int, record: Action, payload: Payload | None = None) -> None:
        """Keep how a decided step is sent if nobody looks inside; None: with the same payload."""
        raw = encode_record(record)
        statement = "UPDATE action SET plain = ?, plain_made = made, plain_size = made_size WHERE seq = ?"
        self.db.execute(statement, (raw, number))
        if payload is not None:
            kept = None if getattr(record, "source", None) is None else self._spool.add(payload)
            made = (None, None) if kept is None else (kept.start, kept.size)
            self.db.execute("UPDATE action SET plain_made = ?, plain_size = ? WHERE seq = ?", (*made, number))

    def has_plain(self, number: int) -> bool:
        """Whether it is kept how this step is sent if nobody looks inside."""
        row = self.db.execute("SELECT 1 FROM action WHERE seq = ? AND plain IS NOT NULL", (number,)).fetchone()
        return row is not None

    def keep(self, payload: Payload) -> Spooled:
        """The same payload, which can be sent more than once; the other one is closed."""
        return payload if isinstance(payload, Spooled) else self._spool.add(payload)

    def _step(self, row: Row) -> Step:
        change, raw, made, size, cached, *content = row
        record = decode_record(raw)
        assert isinstance(record, model.Action)  # noqa: S101 (what add() and decide() stored)
        payload = None if made is None else self._spool.at(made, size)
        return Step(Change(change), (), record, _content(content), raw, payload, bool(cached))


# ---- payloads ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Spooled:
    """A payload in a file that many share; the one that made the file closes it."""

    fd: int
    start: int
    size: int

    def chunks(self, limit: int = model.CHUNK_MAX) -> Iterator[bytes]:
        """As long as those of deltas that are not kept: each costs some bytes."""
        for at in range(0, self.size, limit):
            yield os.pread(self.fd, min(limit, self.size - at), self.start + at)

    def close(self) -> None:
        """Nothing is held."""


class Spool:
    """Payloads one behind the other in an unnamed temporary file, which is made for the first one."""

    def __init__(self) -> None:
        self._file: BinaryIO | None = None
        self._end = 0

    def add(self, payload: Payload) -> Spooled:
        """Keep a payload, which is closed."""
        if self._file is None:
            self._file = tempfile.TemporaryFile(buffering=0)  # noqa: SIM115 - close() does
        start = self._end
        try:
            for chunk in payload.chunks():
                self._end += self._file.write(chunk)
        finally:
            payload.close()
        return self.at(start, self._end - start)

    def at(self, start: int, size: int) -> Spooled:
        """The payload that was kept there."""
        if self._file is None:
            raise ValueError("nothing was kept")
        return Spooled(self._file.fileno(), start, size)

    def close(self) -> None:
        if self._file is not None:
            self._file.close()


def targets_of(expect: Expect) -> Iterator[bytes]:
    """Absolute names of what an expect is about: the same name means the same target.

    A folder that stays a folder is nobody's: several updates may count on it.
    """
    if isinstance(expect, model.ExpectTree):
        if expect.old == expect.new == model.DIRECTORY:
            return
        yield _absolute(expect)
    elif isinstance(expect, model.ExpectNode | model.ExpectInPlace):
        yield from expect.targets


def _absolute(expect: model.ExpectTree) -> bytes:
    return expect.root.rstrip(b"/") + b"/" + expect.path


def _content_row(content: Content | None) -> Row:
    if content is None:
        return (None,) * 6
    digests = pack_digest(content.digest), pack_digest(content.old_digest)
    return content.new, content.old, content.size, digests[0], content.old_size, digests[1]


def _content(row: list[Any]) -> Content | None:
    new, old, size, digest, old_size, old_digest = row
    if new is None:
        return None
    digests = int.from_bytes(digest, "big"), int.from_bytes(old_digest, "big")
    return Content(new, size, digests[0], old, old_size, digests[1])
