"""Which old file the delta of a new one runs from: column src of ``new``, held of ``old``.

A record for T may read the old content of S only if that is still there whenever T is not done yet. ``stages.plan``
says in which phases that holds; here it is a condition on rows (``_usable``).
"""

# ruff: noqa: S608 - every query is put together from constants of this module and integers; other values are bound

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from typing import Final

from otastream.spool import Row, Trees
from otastream.tree import Kind, basename, stem

_PAGE: Final = 256
_CANDIDATES: Final = 32
_ALIKE_MIN: Final = 6  # numbers that two sketches share, of 64: below that a delta seldom beats the file itself
_SKETCH_MIN: Final = 512  # bytes of the smallest file that is worth it
_COMMON: Final = 256  # a number that more files have says nothing

Sketch = Callable[[bytes], list[int]]
"""Numbers of a local file; two files that are alike have many of them in common (``native.sketch``)."""


def pages(trees: Trees, query: str) -> Iterator[Row]:
    """The rows of a query over ``new`` that has `path > ?`, page by page, so that the rows may be changed meanwhile.

    The path must be the first column.
    """
    last = b""
    while rows := trees.db.execute(f"{query} ORDER BY path LIMIT {_PAGE}", (last,)).fetchall():
        yield from rows
        last = rows[-1][0]


def find_sources(trees: Trees) -> None:
    """Choose by content and by name: one of the same content, else T itself, else one that went away and has T's name,
    or one that differs from it in numbers only (a library of another version).
    """
    for late in (False, True):
        for path, size, digest, same in pages(
            trees,
            f"""SELECT path, size, digest, same FROM new
                WHERE change = 'write' AND late = {late} AND size > 0 AND path > ?""",
        ):
            source = path if same else _named(trees, path, (digest, size), late=late)
            if source is not None:
                _set(trees, path, source, late=late)


def find_alike(trees: Trees, old: bytes, new: bytes, sketch: Sketch) -> None:
    """Give the files that have none yet one that shares pieces with them, whatever its name is.

    old, new: the local folders. Old files are read for it only if there are such files, and only those of a quarter to
    four times their size. Errors: what sketch raises.
    """
    db = trees.db
    lonely = f"change = 'write' AND kind = {Kind.FILE} AND src IS NULL AND size >= {_SKETCH_MIN}"
    low, high = db.execute(f"SELECT min(size) / 4, max(size) * 4 FROM new WHERE {lonely}").fetchone()
    if low is None:
        return
    _ask(trees, f"SELECT path FROM new WHERE {lonely} AND path > ?", lambda path: sketch(os.path.join(new, path)))
    db.execute("CREATE TEMP TABLE number(value INTEGER, owner BLOB)")
    for (path,) in db.execute(
        f"SELECT path FROM old WHERE kind = {Kind.FILE} AND size BETWEEN ? AND ? ORDER BY path", (low, high)
    ):
        numbers = sketch(os.path.join(old, path))
        marks = ",".join("?" * len(numbers))
        db.execute(f"INSERT INTO number SELECT value, ? FROM asked WHERE value IN ({marks})", (path, *numbers))
    db.execute("CREATE INDEX number_value ON number(value, owner)")
    db.execute(
        f"DELETE FROM number WHERE value IN (SELECT value FROM number GROUP BY value HAVING count(*) > {_COMMON})"
    )
    for late in (False, True):
        for path, size in pages(trees, f"SELECT path, size FROM new WHERE {lonely} AND late = {late} AND path > ?"):
            source = _alike(trees, path, size, late=late)
            if source is not None:
                _set(trees, path, source, late=late)


def _ask(trees: Trees, query: str, sketch: Sketch) -> None:
    """Note the numbers of the files that a query (of ``pages``) finds: by file in ``wanted``, each once in ``asked``.

    Of an old file only those that are asked for are kept: most have none, and rows are what takes the time.
    """
    db = trees.db
    db.execute("CREATE TEMP TABLE wanted(owner BLOB, value INTEGER, PRIMARY KEY(owner, value)) WITHOUT ROWID")
    db.execute("CREATE TEMP TABLE asked(value INTEGER PRIMARY KEY)")
    for (path,) in pages(trees, query):
        db.executemany("INSERT INTO wanted VALUES(?, ?)", ((path, number) for number in sketch(path)))
    db.execute("INSERT INTO asked SELECT DISTINCT value FROM wanted")


def _set(trees: Trees, path: bytes, source: bytes, *, late: bool) -> None:
    trees.db.execute("UPDATE new SET src = ? WHERE path = ?", (source, path))
    if late:
        trees.db.execute("UPDATE old SET held = 1 WHERE path = ? AND gone", (source,))


def _usable(*, late: bool) -> str:
    """The condition on ``old`` under which :path may read it although its content does not stay."""
    return "(gone AND NOT early AND moved IS NULL)" if late else "(gone OR early OR path > :path)"


def _named(trees: Trees, path: bytes, content: tuple[bytes, int], *, late: bool) -> bytes | None:
    usable = _usable(late=late)
    values = {"path": path, "digest": content[0], "size": content[1], "base": basename(path), "stem": stem(path)}
    for query in (
        "SELECT path FROM old WHERE stays AND digest = :digest AND size = :size ORDER BY path LIMIT 1",
        f"SELECT path FROM old WHERE kind = 1 AND digest = :digest AND size = :size AND {usable} ORDER BY path LIMIT 1",
        f"SELECT path FROM old WHERE kind = {Kind.FILE} AND path = :path AND size > 0",
    ):
        if found := trees.db.execute(query, values).fetchone():
            return bytes(found[0])
    gone = "gone AND NOT early AND moved IS NULL" if late else "gone"
    for like in ("base", "stem"):
        candidates = trees.db.execute(
            f"""SELECT path, size FROM old WHERE kind = {Kind.FILE} AND {like} = :{like} AND size > 0 AND {gone}
                ORDER BY path LIMIT {_CANDIDATES}""",
            values,
        ).fetchall()
        if candidates:
            return bytes(min((_unlike(row[0], path), abs(row[1] - content[1]), row[0]) for row in candidates)[2])
    return None


def _unlike(a: bytes, b: bytes) -> int:
    """How little two paths have in common: minus the number of equal components at both ends."""
    one, two = a.split(b"/"), b.split(b"/")
    common = [x == y for x, y in zip(one, two, strict=False)]
    ends = [x == y for x, y in zip(reversed(one), reversed(two), strict=False)]
    return -sum([*flags, False].index(False) for flags in (common, ends))


def _alike(trees: Trees, path: bytes, size: int, *, late: bool) -> bytes | None:
    found = trees.db.execute(
        f"""SELECT path FROM old JOIN (SELECT owner, count(*) AS shared FROM number
                                       WHERE value IN (SELECT value FROM wanted WHERE owner = :path)
                                       GROUP BY owner HAVING shared >= {_ALIKE_MIN}) ON owner = path
            WHERE stays OR {_usable(late=late)}
            ORDER BY shared DESC, abs(size - :size), path LIMIT 1""",
        {"path": path, "size": size},
    ).fetchone()
    return None if found is None else bytes(found[0])
