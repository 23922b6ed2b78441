"""Random trees: pack old and new, execute the package with the reference applier, compare; cut it anywhere."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from otastream import model
from otastream.apply import ApplyOptions, apply_package
from otastream.model import Codec
from otastream.options import PackOptions
from otastream.pack import pack_folders
from otastream.tree import Kind
from reference import Board, Cut, Item, copy_tree, load, snapshot
from trees import Node, build, trees

_OPTIONS = PackOptions(codec=Codec.NONE)


@contextlib.contextmanager
def _work(old: list[Node], new: list[Node]) -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="otastream-test-"))
    try:
        build(folder / "old", old)
        build(folder / "new", new)
        yield folder
    finally:
        shutil.rmtree(folder)


def _pack(folder: Path, options: PackOptions = _OPTIONS) -> list[Item]:
    output = folder / "package.ota"
    pack_folders(str(folder / "old"), str(folder / "new"), dest="/config", output=str(output), options=options)
    return load(output)


def _board(folder: Path) -> Board:
    root = folder / "board"
    shutil.rmtree(root, ignore_errors=True)
    root.mkdir()
    copy_tree(folder / "old", root / "config")
    return Board(root)


def _file(path: str, value: int) -> Node:
    return Node(path.encode(), Kind.FILE, value, 0o644)


def _link(path: str, value: int) -> Node:
    return Node(path.encode(), Kind.LINK, value, 0o644)


def _hard(path: str, value: int) -> Node:
    return Node(path.encode(), None, value, 0o644)


_CASES = {
    "swap": ([_file("a", 1), _file("b", 2)], [_file("a", 2), _file("b", 1)]),
    "move": ([_file("a/x", 1)], [_file("b/y", 1)]),
    "move over a changed file": ([_file("a", 1), _file("b", 2)], [_file("b", 1)]),
    "copies of what went away": ([_file("a", 1)], [_file("b", 1), _file("c", 1), _file("d", 1)]),
    "file to folder": ([_file("a", 1), _file("z", 2)], [_file("a/x", 1), _file("a/y", 2)]),
    "folder to file": ([_file("a/x", 1), _file("a/y/z", 2)], [_file("a", 1)]),
    "folder to link": ([_file("a/x", 1), _file("b", 2)], [_link("a", 1), _file("b/x", 1)]),
    "link to folder": ([_link("a", 3), _file("b/x", 1)], [_file("a/x", 1)]),
    "folder to link to where its content went": (
        [_file("c/x", 1), _file("b/k", 2)],
        [_file("b/x", 1), _file("b/k", 2), _link("c", 1)],
    ),
    "moved, and wanted later too": ([_file("s", 1), _file("p", 2)], [_file("m", 1), _file("p/x", 1)]),
    "moved late, from a folder that goes": ([_file("s/s", 1), _file("p", 2)], [_file("p/x", 1)]),
    "delta late, from a folder that goes": ([_file("s/x", 1), _file("p", 2)], [_file("p/x", 4)]),
    "a linked name goes, its content appears": ([_file("a", 1), _hard("b", 0)], [_file("a", 1), _file("c", 1)]),
    "name that sorts between": ([_file("a", 1), _file("a-1", 2)], [_file("a/x", 2), _file("a-1", 1)]),
    "separate a hard link": ([_file("a", 1), _hard("b", 0)], [_file("a", 1), _file("b", 1)]),
    "link to hard link of what it points to": ([_link("b", 0)], [_file("a", 1), _hard("b", 0)]),
    "make a hard link": ([_file("a", 1), _file("b", 1)], [_file("a", 1), _hard("b", 0)]),
    "regroup hard links": (
        [_file("a", 1), _hard("b", 0), _file("c", 1), _hard("d", 1)],
        [_file("a", 1), _hard("c", 0), _file("b", 1), _hard("d", 1)],
    ),
    "change one of a group": ([_file("a", 1), _hard("b", 0)], [_file("a", 2), _file("b", 1)]),
    "change a group": ([_file("a", 1), _hard("b", 0)], [_file("a", 4), _hard("b", 0)]),
    "hard link into a new folder at a file": ([_file("a", 1), _file("b", 2)], [_file("a/x", 1), _hard("b", 0)]),
    "mode of a group": ([_file("a", 1), _hard("b", 0)], [Node(b"a", Kind.FILE, 1, 0o755), _hard("b", 0)]),
}  # fmt: skip


@pytest.mark.parametrize("name", _CASES)
def test_case(name: str) -> None:
    old, new = _CASES[name]
    _check_every_cut(old, new)


@settings(max_examples=60)
@given(trees, trees)
def test_random_trees(old: list[Node], new: list[Node]) -> None:
    with _work(old, new) as folder:
        items = _pack(folder)
        board = _board(folder)
        board.apply(items)
        assert snapshot(folder / "board" / "config") == snapshot(folder / "new")
        board.apply(items)
        assert snapshot(folder / "board" / "config") == snapshot(folder / "new")


@settings(max_examples=25)
@given(trees, trees)
def test_random_trees_with_cuts(old: list[Node], new: list[Node]) -> None:
    _check_every_cut(old, new)


@settings(max_examples=40)
@given(trees, trees, st.integers(0, 40), st.booleans())
def test_the_executor_agrees(old: list[Node], new: list[Node], cut: int, torn: bool) -> None:
    """The C core on a fresh board, on one that is done, and on one that the reference applier left half done."""
    with _work(old, new) as folder:
        items = _pack(folder)
        _execute_on(folder, items, cut, torn=torn)


@pytest.mark.parametrize("name", _CASES)
def test_the_executor_agrees_on_each_case(name: str) -> None:
    old, new = _CASES[name]
    with _work(old, new) as folder:
        items = _pack(folder)
        for cut in range(len(items)):
            _execute_on(folder, items, cut, torn=True)


def _execute_on(folder: Path, items: list[Item], cut: int, *, torn: bool) -> None:
    wanted = snapshot(folder / "new")
    board = _board(folder)
    with contextlib.suppress(Cut):
        board.apply(items, records=cut, torn=torn)
    (folder / "tmp").mkdir(exist_ok=True)
    options = ApplyOptions(root=str(folder / "board"), tmp=str(folder / "tmp"))
    for _ in range(2):
        apply_package(str(folder / "package.ota"), options)
        assert snapshot(folder / "board" / "config") == wanted


def _check_every_cut(old: list[Node], new: list[Node]) -> None:
    with _work(old, new) as folder:
        items = _pack(folder)
        wanted = snapshot(folder / "new")
        count = sum(1 for item in items if isinstance(item.record, model.Action))
        assert count == items[0].record.records  # type: ignore[union-attr]
        for cut in range(count + 1):
            for torn in (False, True):
                board = _board(folder)
                with contextlib.suppress(Cut):
                    board.apply(items, records=cut, torn=torn)
                board.apply(items)
                assert snapshot(folder / "board" / "config") == wanted, f"cut after {cut} of {count} records"


@settings(max_examples=15)
@given(trees, trees, st.integers(2, 4))
@example([_file("a", 1), _file("b", 2)], [_file("a", 4), _file("b", 5), _file("c", 3)], 3)
def test_jobs_do_not_change_a_byte(old: list[Node], new: list[Node], jobs: int) -> None:
    with _work(old, new) as folder:
        for number in (1, jobs):
            options = PackOptions(jobs=number)
            output = str(folder / f"{number}.ota")
            pack_folders(str(folder / "old"), str(folder / "new"), dest="/", output=output, options=options)
        assert (folder / "1.ota").read_bytes() == (folder / f"{jobs}.ota").read_bytes()


@settings(max_examples=15)
@given(trees, trees)
def test_every_touched_path_has_one_expect(old: list[Node], new: list[Node]) -> None:
    with _work(old, new) as folder:
        items = _pack(folder)
    expected = [item.record.path for item in items if isinstance(item.record, model.ExpectTree)]
    assert len(expected) == len(set(expected))
    touched = {
        record.path
        for item in items
        if isinstance(record := item.record, model.File | model.Dir | model.Delete | model.Link | model.Move)
    }
    assert touched <= set(expected)
