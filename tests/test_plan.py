"""plan and diff: which record does what, and from which source. That the order is safe: test_pack_random.py."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import xxhash

from otastream import container
from otastream.config import Edit, Folder, Image, Release
from otastream.deltas.maker import Maker
from otastream.engines.bsdiff import Bsdiff
from otastream.errors import Code, OtaError
from otastream.inspection import inspect_package
from otastream.model import (
    ABSENT,
    ANY,
    DIRECTORY,
    Action,
    Block,
    Codec,
    Delete,
    Dir,
    EngineId,
    ExpectNode,
    ExpectTree,
    File,
    FileState,
    Link,
    Manifest,
    Move,
    Source,
)
from otastream.options import PackOptions
from otastream.pack import pack_folders, pack_release
from otastream.stages.diff import AHEAD, _ahead, diff
from otastream.tree import Change, Content, Ready, Step
from reference import Board, Item, copy_tree, load, snapshot
from waiting import PATIENCE

_TEXT = b"".join(b"line %d of a text that is long enough\n" % number for number in range(400))
_OTHER = bytes(reversed(_TEXT))


def _write(root: Path, files: dict[str, bytes]) -> None:
    root.mkdir(parents=True, exist_ok=True)
    for name, data in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(data)


def _pack(tmp_path: Path, old: dict[str, bytes], new: dict[str, bytes], **options: object) -> list[Item]:
    _write(tmp_path / "old", old)
    _write(tmp_path / "new", new)
    return _again(tmp_path, PackOptions(codec=Codec.NONE, **options))  # type: ignore[arg-type]


def _again(tmp_path: Path, options: PackOptions | None = None) -> list[Item]:
    output = tmp_path / "p.ota"
    options = options or PackOptions(codec=Codec.NONE)
    pack_folders(str(tmp_path / "old"), str(tmp_path / "new"), dest="/c", output=str(output), options=options)
    return load(output)


def _actions(items: list[Item]) -> list[Action]:
    return [item.record for item in items if isinstance(item.record, Action)]


def _state(data: bytes) -> FileState:
    return FileState(len(data), xxhash.xxh64_intdigest(data))


def test_nothing_to_do(tmp_path: Path) -> None:
    assert _actions(_pack(tmp_path, {"a": _TEXT, "d/b": b""}, {"a": _TEXT, "d/b": b""})) == []


def test_a_changed_file_is_a_delta_from_itself(tmp_path: Path) -> None:
    items = _pack(tmp_path, {"a": _TEXT}, {"a": _TEXT + b"more"})
    (action,) = _actions(items)
    assert isinstance(action, File)
    assert (action.engine, action.source) == (EngineId.BSDIFF, Source(len(_TEXT)))
    assert items[1].record == ExpectTree(b"a", _state(_TEXT), _state(_TEXT + b"more"), root=b"/c")
    assert len(items[2].payload) < 40


def test_a_delta_that_is_not_smaller_is_not_sent(tmp_path: Path) -> None:
    (action,) = _actions(_pack(tmp_path, {"a": os.urandom(3000)}, {"a": b"short"}))
    assert isinstance(action, File)
    assert (action.engine, action.source) == (EngineId.FULL, None)


def test_engine_full_sends_files_and_asks_for_no_source(tmp_path: Path) -> None:
    old, new = {"a": _TEXT, "s": _OTHER}, {"a": _TEXT + b"more", "s": _OTHER, "t": _OTHER}
    items = _pack(tmp_path, old, new, engine="full")
    assert [item.payload for item in items if isinstance(item.record, File)] == [_TEXT + b"more", _OTHER]
    assert all(item.record.source is None for item in items if isinstance(item.record, ExpectTree))
    assert isinstance(items[0].record, Manifest)
    assert items[0].record.needs == ("file", "full")
    with_deltas = _again(tmp_path)
    assert isinstance(with_deltas[0].record, Manifest)
    assert with_deltas[0].record.needs == ("bsdiff", "file", "full")
    ram = container.ram(Codec.NONE, 0, source=False)
    assert inspect_package(str(tmp_path / "p.ota")).preamble.ram == ram + 4096
    _again(tmp_path, PackOptions(codec=Codec.NONE, engine="full"))
    assert inspect_package(str(tmp_path / "p.ota")).preamble.ram == ram


def test_files_above_the_limit_are_sent_full(tmp_path: Path) -> None:
    for limit, engine in ((len(_TEXT), EngineId.FULL), (len(_TEXT) + 4, EngineId.BSDIFF)):
        (action,) = _actions(_pack(tmp_path, {"a": _TEXT}, {"a": _TEXT + b"more"}, delta_max=limit))
        assert isinstance(action, File)
        assert action.engine is engine


def test_a_mode_is_set_without_content(tmp_path: Path) -> None:
    _write(tmp_path / "old", {"a": _TEXT})
    _write(tmp_path / "new", {"a": _TEXT})
    (tmp_path / "old" / "a").chmod(0o644)
    (tmp_path / "new" / "a").chmod(0o4711)
    (action,) = _actions(_again(tmp_path))
    assert isinstance(action, File)
    assert (action.engine, action.mode) == (None, 0o4711)


def test_a_move_sends_nothing_and_prefers_the_same_name(tmp_path: Path) -> None:
    items = _pack(tmp_path, {"a/x": _TEXT, "a/y": _TEXT, "keep/z": b"z"}, {"b/y": _TEXT, "keep/z": b"z"})
    actions = _actions(items)
    assert [type(action) for action in actions] == [Dir, Move, Delete, Delete]
    assert isinstance(actions[1], Move)
    assert actions[1].source.path == b"a/y"
    expects = [item.record for item in items if isinstance(item.record, ExpectTree)]
    assert expects[0] == ExpectTree(b"c", DIRECTORY, DIRECTORY)  # b is made in it
    assert expects[2] == ExpectTree(b"a/y", _state(_TEXT), ABSENT, root=b"/c")
    assert expects[3].source == Source(len(_TEXT), _state(_TEXT).digest, path=b"a/y", root=b"/c")


def test_further_copies_are_deltas_from_what_stays(tmp_path: Path) -> None:
    actions = _actions(_pack(tmp_path, {"a": _TEXT}, {"a": _TEXT, "b": _TEXT}))
    (action,) = actions
    assert isinstance(action, File)
    assert action.source == Source(len(_TEXT), path=b"a", root=b"/c")


def test_a_renamed_and_changed_file_finds_its_old_version(tmp_path: Path) -> None:
    changed = _TEXT + b"more"
    items = _pack(
        tmp_path,
        {"lib/libx.so.1.2": _TEXT, "lib/other.so": _OTHER, "m/1.0/k.ko": _OTHER, "n/1.0/k.ko": _OTHER + b"n"},
        {"lib/libx.so.1.10.3": changed, "m/1.1/k.ko": _OTHER + b"1", "n/1.1/k.ko": _OTHER + b"n1"},
    )
    sources = {action.path: action.source for action in _actions(items) if isinstance(action, File)}
    found = {path: source.path for path, source in sources.items() if source is not None}
    assert found == {
        b"lib/libx.so.1.10.3": b"lib/libx.so.1.2",
        b"m/1.1/k.ko": b"m/1.0/k.ko",
        b"n/1.1/k.ko": b"n/1.0/k.ko",
    }


def test_a_folder_that_gets_something_is_expected(tmp_path: Path) -> None:
    items = _pack(tmp_path, {"d/a": b"1", "e/a": b"1"}, {"d/a": b"1", "d/b": b"2", "e/a": b"1"})
    assert items[1].record == ExpectTree(b"d", DIRECTORY, DIRECTORY, root=b"/c")
    assert len([item for item in items if isinstance(item.record, ExpectTree)]) == 2


def test_a_symbolic_link_and_odd_names(tmp_path: Path) -> None:
    _write(tmp_path / "old", {})
    _write(tmp_path / "new", {})
    name = b"line\nbreak \xff\xfe" + b"n" * 240
    os.symlink(b"to \xff", os.path.join(os.fsencode(tmp_path / "new"), name))
    (action,) = _actions(_again(tmp_path))
    assert isinstance(action, Link)
    assert (action.path, action.to) == (name, b"to \xff")


def test_owner_is_recorded_when_asked(tmp_path: Path) -> None:
    actions = _actions(_pack(tmp_path, {}, {"d/a": b"1"}, owner=True))
    st = (tmp_path / "new" / "d" / "a").stat()
    assert all(isinstance(action, File | Dir) and action.owner is not None for action in actions)
    assert isinstance(actions[1], File)
    assert actions[1].owner is not None
    assert (actions[1].owner.uid, actions[1].owner.gid) == (st.st_uid, st.st_gid)


def test_xattrs_are_compared_and_recorded(tmp_path: Path) -> None:
    _write(tmp_path / "old", {"a": b"1", "b": b"1"})
    _write(tmp_path / "new", {"a": b"1", "b": b"1"})
    try:
        os.setxattr(tmp_path / "new" / "a", "user.k", b"v")
    except OSError:
        pytest.skip("this file system has no user xattrs")
    assert _actions(_again(tmp_path)) == []
    (action,) = _actions(_again(tmp_path, PackOptions(xattrs=True)))
    assert isinstance(action, File)
    assert (action.path, action.xattrs) == (b"a", ((b"user.k", b"v"),))


def test_without_old_everything_is_sent_whatever_is_there(tmp_path: Path) -> None:
    _write(tmp_path / "new", {"a": _TEXT, "d/b": b"2"})
    release = Release(folder=(Folder(new=str(tmp_path / "new"), dest="/c"),))
    pack_release(release, output=str(tmp_path / "p.ota"))
    items = load(tmp_path / "p.ota")
    top, *expects = [item.record for item in items if isinstance(item.record, ExpectTree)]
    assert top == ExpectTree(b"c", DIRECTORY, DIRECTORY)
    assert {expect.old for expect in expects} == {ANY}
    board = tmp_path / "board"
    _write(board / "c", {"a": b"something else"})
    Board(board).apply(items)
    assert snapshot(board / "c") == snapshot(tmp_path / "new")


# ---- images and single files ---------------------------------------------------------------------------------------


def test_an_image_from_another_node(tmp_path: Path) -> None:
    _write(
        tmp_path,
        {"old.img": _TEXT * 3, "new.img": _TEXT * 3 + b"new", "board/dev/a": _TEXT * 3, "board/dev/b": bytes(50000)},
    )
    image = Image(
        new=str(tmp_path / "new.img"), old=str(tmp_path / "old.img"), source="/dev/a", targets=("/dev/b",), label="x"
    )
    pack_release(Release(image=(image,)), output=str(tmp_path / "p.ota"))
    items = load(tmp_path / "p.ota")
    expect, block = items[1].record, items[2].record
    assert isinstance(block, Block)
    assert isinstance(expect, ExpectNode)
    assert block.engine is EngineId.BSDIFF
    assert expect.source == block.source == Source(len(_TEXT) * 3, _state(_TEXT * 3).digest, node=b"/dev/a")
    Board(tmp_path / "board").apply(items)
    assert (tmp_path / "board/dev/b").read_bytes().startswith(_TEXT * 3 + b"new\0")


def test_an_image_that_is_sent_in_full_expects_no_old(tmp_path: Path) -> None:
    _write(tmp_path, {"old.img": os.urandom(5000), "new.img": b"n" * 5000})
    image = Image(new=str(tmp_path / "new.img"), old=str(tmp_path / "old.img"), targets=("/dev/b",))
    pack_release(Release(image=(image,)), output=str(tmp_path / "p.ota"))
    items = load(tmp_path / "p.ota")
    assert isinstance(items[1].record, ExpectNode)
    assert items[1].record.source is None
    assert isinstance(items[2].record, Block)
    assert items[2].record.engine is EngineId.FULL


def test_single_files(tmp_path: Path) -> None:
    _write(
        tmp_path,
        {"one": _TEXT, "two": _TEXT + b"2", "board/etc/one": _TEXT, "board/etc/gone": b"bye", "board/etc/any": b"?"},
    )
    edits = (
        Edit(action="update", dest="/etc/one", old=str(tmp_path / "one"), new=str(tmp_path / "two"), mode="0600"),
        Edit(action="update", dest="/etc/any", new=str(tmp_path / "one")),
        Edit(action="add", dest="/etc/added", new=str(tmp_path / "one")),
        Edit(action="delete", dest="/etc/gone"),
    )
    pack_release(Release(file=edits), output=str(tmp_path / "p.ota"))
    items = load(tmp_path / "p.ota")
    assert [item.record.old for item in items if isinstance(item.record, ExpectTree)] == [
        _state(_TEXT),
        ANY,
        ABSENT,
        ANY,
    ]
    Board(tmp_path / "board").apply(items)
    etc = tmp_path / "board" / "etc"
    assert {path.name: path.read_bytes() for path in etc.iterdir()} == {
        "one": _TEXT + b"2", "any": _TEXT, "added": _TEXT,
    }  # fmt: skip
    assert (etc / "one").stat().st_mode & 0o7777 == 0o600


# ---- inputs that change --------------------------------------------------------------------------------------------


def _step(path: Path, old: Path | None = None) -> Step:
    data = path.read_bytes()
    state = _state(data)
    content = Content(os.fsencode(path), state.size, state.digest)
    source = None
    if old is not None:
        before = _state(old.read_bytes())
        content = Content(os.fsencode(path), state.size, state.digest, os.fsencode(old), before.size, before.digest)
        source = Source(before.size)
    engine = EngineId.FULL if old is None else EngineId.BSDIFF
    action = File(b"a", state.size, state.digest, 0o644, engine=engine, source=source)
    return Step(Change.CHANGED, (), action, content)


@pytest.mark.parametrize("which", ["old", "new", "full"])
@pytest.mark.parametrize("how", ["bytes", "shorter", "longer", "gone"])
@pytest.mark.parametrize("jobs", [1, 2])
def test_a_file_that_changes_after_the_plan(tmp_path: Path, which: str, how: str, jobs: int) -> None:
    _write(tmp_path, {"old": _TEXT, "new": _TEXT + b"2"})
    step = _step(tmp_path / "new", None if which == "full" else tmp_path / "old")
    victim = tmp_path / ("new" if which == "full" else which)
    data = victim.read_bytes()
    changes = {"bytes": b"X" + data[1:], "shorter": data[:-1], "longer": data + b"!"}
    if how == "gone":
        victim.unlink()
    else:
        victim.write_bytes(changes[how])
    with pytest.raises(OtaError) as caught:
        for ready in diff([step], engines=(EngineId.BSDIFF,), jobs=jobs):
            assert ready.payload is not None
            list(ready.payload.chunks())
    assert caught.value.code is Code.CHANGED
    assert str(victim) in str(caught.value)


def test_look_ahead_is_bounded_and_keeps_order(tmp_path: Path) -> None:
    pulled = 0

    def steps() -> Iterator[Step]:
        nonlocal pulled
        for number in range(200):
            (tmp_path / f"{number}").write_bytes(b"%d" % number)
            yield _step(tmp_path / f"{number}")
            pulled = number + 1

    stream = diff(steps(), engines=(), jobs=3)
    for number in range(10):
        ready = next(stream)
        assert ready.payload is not None
        assert b"".join(ready.payload.chunks()) == b"%d" % number
        assert pulled <= number + AHEAD * 3
    stream.close()
    assert pulled <= 10 + AHEAD * 3


def test_the_largest_of_those_that_wait_is_begun_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pulled, begun = threading.Event(), list[int]()
    sizes = [5, 3, 9, 9000, 0, 70, 9]

    def steps() -> Iterator[Step]:
        for number, size in enumerate(sizes):
            (tmp_path / f"{number}").write_bytes(bytes(size))
            yield _step(tmp_path / f"{number}")
        pulled.set()

    make = Maker.make

    def noted(self: Maker, step: Step) -> Ready:
        assert pulled.wait(PATIENCE)  # the first one is at work while all others come
        assert step.content is not None
        begun.append(step.content.size)
        return make(self, step)

    monkeypatch.setattr(Maker, "make", noted)
    sent = [
        len(b"".join(ready.payload.chunks()))
        for ready in _ahead(steps(), Maker((), 0, None, None, 0), 1)
        if ready.payload
    ]
    assert sent == sizes
    assert sorted(begun[1:], reverse=True) == begun[1:]
    assert sorted(begun) == sorted(sizes)


def _sources(items: list[Item]) -> dict[bytes, Source | None]:
    return {action.path: action.source for action in _actions(items) if isinstance(action, File)}


def test_a_file_with_another_name_is_a_delta_of_what_it_is_like(tmp_path: Path) -> None:
    one, two = os.urandom(9000), os.urandom(9000)
    items = _pack(
        tmp_path,
        {"lib/alpha": one, "keep": two, "noise": os.urandom(9000)},
        {
            "bin/omega": one[:4000] + b"and more" + one[4000:],
            "copy": two + b"!",
            "keep": two,
            "unlike": os.urandom(9000),
        },
    )
    assert _sources(items) == {
        b"bin/omega": Source(9000, path=b"lib/alpha", root=b"/c"),
        b"copy": Source(9000, path=b"keep", root=b"/c"),
        b"unlike": None,
    }


def test_what_is_changed_before_is_no_source(tmp_path: Path) -> None:
    """m changes before z is made, and after a is: only a may read it."""
    data = os.urandom(9000)
    items = _pack(tmp_path, {"m": data}, {"a": data + b"a", "m": os.urandom(9000), "z": data + b"z"})
    assert _sources(items) == {b"a": Source(9000, path=b"m", root=b"/c"), b"m": None, b"z": None}


def test_no_old_file_is_read_for_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[bytes] = []

    def sketch(path: bytes) -> list[int]:
        asked.append(path)
        return []

    monkeypatch.setattr("otastream.planning.sketch_file", sketch)
    _pack(tmp_path, {"a": _TEXT, "b": _TEXT * 9}, {"a": _TEXT + b"more", "new": b"short", "b": _TEXT * 9})
    assert asked == []
    _write(tmp_path / "new", {"lonely": os.urandom(len(_TEXT))})
    _again(tmp_path)
    assert [os.path.basename(path) for path in asked] == [b"lonely", b"a"]  # b is too large to be like it
    asked.clear()
    _again(tmp_path, PackOptions(codec=Codec.NONE, engine="full"))
    assert asked == []


def test_what_is_too_large_for_memory_is_a_delta_in_pieces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    old = os.urandom(300_000)
    new = old[:100_000] + b"put in" * 50 + old[100_000:250_000] + os.urandom(20_000) + old[250_000:]
    monkeypatch.setattr("otastream.deltas.maker.WHOLE_MAX", 200_000)
    monkeypatch.setattr(Bsdiff.encode_parts, "__kwdefaults__", {"window": 40_000, "folder": None})
    items = _pack(tmp_path, {"a": old}, {"a": new})
    (action,) = _actions(items)
    assert isinstance(action, File)
    assert action.engine is EngineId.BSDIFF
    assert 20_000 < len(items[2].payload) < 30_000
    board = tmp_path / "board"
    board.mkdir()
    copy_tree(tmp_path / "old", board / "c")
    Board(board).apply(items)
    assert (board / "c/a").read_bytes() == new


def test_a_large_file_that_changes_meanwhile_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _write(tmp_path, {"old": os.urandom(5000), "new": os.urandom(6000)})
    digests = [xxhash.xxh64_intdigest((tmp_path / name).read_bytes()) for name in ("old", "new")]
    monkeypatch.setattr("otastream.deltas.maker.WHOLE_MAX", 1000)
    for name, size in (("old", 5000), ("new", 6000), ("new", 5999)):
        content = Content(
            os.fsencode(tmp_path / "new"), 6000, digests[1], os.fsencode(tmp_path / "old"), 5000, digests[0]
        )
        before = (tmp_path / name).read_bytes()
        (tmp_path / name).write_bytes(b"!" + before[1:size])
        step = Step(
            Change.CHANGED,
            (),
            File(b"a", 6000, digests[1], 0o644, engine=EngineId.BSDIFF, source=Source(5000)),
            content,
        )
        with pytest.raises(OtaError) as caught:
            list(diff([step], engines=(EngineId.BSDIFF,)))
        assert caught.value.code is Code.CHANGED
        (tmp_path / name).write_bytes(before)
