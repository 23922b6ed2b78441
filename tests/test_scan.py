"""scan and hash: what a tree is, and what is refused."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
import xxhash
from hypothesis import given, settings
from hypothesis import strategies as st

from otastream.errors import Code, OtaError
from otastream.model import Owner
from otastream.stages.hash import hash_entries, hash_file
from otastream.stages.scan import scan
from otastream.tree import Entry, Kind


def _scan(root: Path, *, owner: bool = False, xattrs: bool = False) -> list[Entry]:
    return list(scan(os.fsencode(root), owner=owner, xattrs=xattrs))


def _fails(root: Path, code: Code, *parts: str) -> None:
    with pytest.raises(OtaError) as caught:
        list(hash_entries(scan(os.fsencode(root)), root=os.fsencode(root)))
    assert caught.value.code is code
    for part in parts:
        assert part in str(caught.value)


def test_every_kind_with_its_mode(tmp_path: Path) -> None:
    (tmp_path / "empty folder").mkdir(mode=0o750)
    (tmp_path / "file").write_bytes(b"123")
    (tmp_path / "file").chmod(0o4755)
    (tmp_path / "link").symlink_to("nowhere")
    os.link(tmp_path / "file", tmp_path / "second name")
    entries = {entry.path: entry for entry in _scan(tmp_path, owner=True)}
    assert list(entries) == [b"empty folder", b"file", b"link", b"second name"]
    assert [entry.kind for entry in entries.values()] == [Kind.DIR, Kind.FILE, Kind.LINK, Kind.FILE]
    assert entries[b"empty folder"].mode == 0o750
    assert entries[b"file"].mode == 0o4755
    assert entries[b"link"].text == b"nowhere"
    assert entries[b"file"].inode == entries[b"second name"].inode is not None
    assert entries[b"file"].owner == Owner(os.getuid(), (tmp_path / "file").stat().st_gid)


def test_owner_and_xattrs_only_when_asked(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    try:
        os.setxattr(tmp_path / "file", "user.b", b"2")
        os.setxattr(tmp_path / "file", "user.a", b"\0\xff")
    except OSError:
        pytest.skip("this file system has no user xattrs")
    assert _scan(tmp_path)[0].xattrs is None
    assert _scan(tmp_path)[0].owner is None
    assert _scan(tmp_path, xattrs=True)[0].xattrs == ((b"user.a", b"\0\xff"), (b"user.b", b"2"))


_NAMES = st.binary(min_size=1, max_size=4).map(lambda raw: raw.replace(b"/", b"-").replace(b"\0", b"0"))


@settings(max_examples=40)
@given(st.lists(st.lists(_NAMES.filter(lambda name: name not in (b".", b"..")), min_size=1, max_size=3), max_size=20))
def test_paths_rise_bytewise_and_none_is_missing(
    tmp_path_factory: pytest.TempPathFactory, paths: list[list[bytes]]
) -> None:
    root = os.fsencode(tmp_path_factory.mktemp("tree"))
    for parts in paths:
        os.makedirs(os.path.join(root, *parts), exist_ok=True)
    expected = {b"/".join(parts[: count + 1]) for parts in paths for count in range(len(parts))}
    assert [entry.path for entry in scan(root)] == sorted(expected)


def test_a_name_that_sorts_between_a_folder_and_what_is_in_it(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "x").touch()
    (tmp_path / "a-b").touch()
    (tmp_path / "a0").touch()
    assert [entry.path for entry in _scan(tmp_path)] == [b"a", b"a-b", b"a/x", b"a0"]


def test_special_files_are_refused_by_name(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    _fails(tmp_path, Code.INPUT, "named pipe", "pipe")
    (tmp_path / "pipe").unlink()
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "door"))
        _fails(tmp_path, Code.INPUT, "socket", "door")


def test_devices_are_refused_by_name(tmp_path: Path) -> None:
    try:
        os.mknod(tmp_path / "null", 0o600 | 0o020000, os.makedev(1, 3))
    except PermissionError:
        pytest.skip("needs root")
    _fails(tmp_path, Code.INPUT, "character device", "null")


def test_the_staging_name_is_refused(tmp_path: Path) -> None:
    (tmp_path / ".otastream-new").touch()
    _fails(tmp_path, Code.INPUT, "reserved")


def test_a_tree_that_is_too_deep_is_refused(tmp_path: Path) -> None:
    (tmp_path / "/".join("d" * 64)).mkdir(parents=True)
    assert len(_scan(tmp_path)) == 64
    (tmp_path / "/".join("d" * 65)).mkdir(parents=True)
    _fails(tmp_path, Code.INPUT, "deep")


def test_names_of_255_bytes_are_fine(tmp_path: Path) -> None:
    (tmp_path / ("n" * 255)).touch()
    assert _scan(tmp_path)[0].path == b"n" * 255


def test_what_cannot_be_read_is_named(tmp_path: Path) -> None:
    _fails(tmp_path / "nowhere", Code.INPUT, "nowhere", "No such file")
    (tmp_path / "file").touch()
    _fails(tmp_path / "file", Code.INPUT, "not a folder")
    if os.geteuid() == 0:
        pytest.skip("runs as root, which may write anywhere")
    (tmp_path / "file").chmod(0)
    _fails(tmp_path, Code.INPUT, "file", "Permission denied")


def _between(entries: Iterator[Entry], change: object) -> Iterator[Entry]:
    for entry in entries:
        assert callable(change)
        change()
        yield entry


@pytest.mark.parametrize("how", ["grows", "is replaced", "gets other bytes", "goes away", "becomes a pipe"])
def test_a_file_that_changes_between_scan_and_hash(tmp_path: Path, how: str) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"one")

    def change() -> None:
        match how:
            case "grows":
                path.write_bytes(b"more")
            case "is replaced":
                (tmp_path / "other").write_bytes(b"two")
                (tmp_path / "other").rename(path)
            case "gets other bytes":
                path.write_bytes(b"two")
                os.utime(path, ns=(0, 0))
            case "goes away":
                path.unlink()
            case _:
                path.unlink()
                os.mkfifo(path)

    root = os.fsencode(tmp_path)
    with pytest.raises(OtaError) as caught:
        list(hash_entries(_between(scan(root), change), root=root))
    assert caught.value.code in ((Code.INPUT,) if how == "becomes a pipe" else (Code.CHANGED,))
    assert str(path) in str(caught.value)


def test_digests(tmp_path: Path) -> None:
    data = bytes(range(256)) * 10000
    (tmp_path / "big").write_bytes(data)
    (tmp_path / "empty").touch()
    root = os.fsencode(tmp_path)
    digests = {entry.path: entry.digest for entry in hash_entries(scan(root), root=root)}
    assert digests == {b"big": xxhash.xxh64_intdigest(data), b"empty": xxhash.xxh64_intdigest(b"")}
    assert hash_file(os.path.join(root, b"big")) == (len(data), xxhash.xxh64_intdigest(data))
