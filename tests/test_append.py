"""append: two packages in one, and what cannot be joined."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from otastream import model
from otastream.config import Folder, Release, Scripts
from otastream.container import encode, ram
from otastream.errors import Code, OtaError
from otastream.inspection import inspect_package, verify_package
from otastream.keys import Signer
from otastream.model import Codec
from otastream.options import PackOptions
from otastream.pack import append_release, pack_release
from otastream.stages.compress import compress
from otastream.stages.decompress import decompress
from otastream.stages.read import read
from otastream.stages.records import records
from otastream.stages.verify import verify
from otastream.stages.write import write
from otastream.tree import Kind
from reference import Board, copy_tree, load, snapshot
from trees import Node, build


def _tree(root: Path, *values: int) -> str:
    build(root, [Node(f"f{number}/x".encode(), Kind.FILE, value, 0o644) for number, value in enumerate(values)])
    return str(root)


@pytest.fixture
def releases(tmp_path: Path) -> tuple[Release, Release]:
    for name in ("begin", "end"):
        (tmp_path / name).write_text(name)
    one = Folder(old=_tree(tmp_path / "a1", 1, 2), new=_tree(tmp_path / "a2", 4, 3, 5), dest="/a")
    two = Folder(old=_tree(tmp_path / "b1", 1), new=_tree(tmp_path / "b2", 6, 6), dest="/b")
    return Release(name="one", version="1", folder=(one,)), Release(version="2", folder=(two,))


def _pack(tmp_path: Path, release: Release, options: PackOptions | None = None) -> str:
    output = str(tmp_path / "p.ota")
    pack_release(release, output=output, options=options)
    return output


def test_both_updates_are_done(tmp_path: Path, releases: tuple[Release, Release]) -> None:
    package = _pack(tmp_path, releases[0])
    before = load(package)
    append_release(package, releases[1])
    after = load(package)
    manifest = after[0].record
    assert isinstance(manifest, model.Manifest)
    assert (manifest.name, manifest.version) == ("one", "2")
    actions = [item.record for item in after if isinstance(item.record, model.Action)]
    assert manifest.records == len(actions)
    assert manifest.bytes == sum(getattr(action, "size", 0) for action in actions)
    old_actions = [item.record for item in before if isinstance(item.record, model.Action)]
    assert actions[: len(old_actions)] == old_actions
    assert len(actions) > len(old_actions)
    root = tmp_path / "board"
    root.mkdir()
    copy_tree(tmp_path / "a1", root / "a")
    copy_tree(tmp_path / "b1", root / "b")
    Board(root).apply(after)
    assert snapshot(root / "a") == snapshot(tmp_path / "a2")
    assert snapshot(root / "b") == snapshot(tmp_path / "b2")
    assert len(list(verify_package(package).entries)) == len(after)


def test_codec_window_and_memory_stay(tmp_path: Path, releases: tuple[Release, Release]) -> None:
    package = _pack(tmp_path, releases[0], PackOptions(codec=Codec.GZIP, window_log=12, block_buffer=262144))
    before = inspect_package(package).preamble
    append_release(package, releases[1])
    after = inspect_package(package).preamble
    assert (after.codec, after.window_log, after.frame_log) == (Codec.GZIP, 12, 16)
    assert after.ram == before.ram == ram(Codec.GZIP, 12, block_buffer=262144)
    append_release(package, Release(), options=PackOptions(codec=Codec.NONE))
    assert inspect_package(package).preamble.codec is Codec.NONE


def test_scripts_come_where_they_must(tmp_path: Path, releases: tuple[Release, Release]) -> None:
    package = _pack(tmp_path, releases[0])
    scripts = Scripts(begin=str(tmp_path / "begin"), end=str(tmp_path / "end"), inline=(str(tmp_path / "end"),))
    append_release(package, Release(scripts=scripts))
    items = load(package)
    actions = [item for item in items if isinstance(item.record, model.Action)]
    whens = [item.record.when if isinstance(item.record, model.Script) else None for item in actions]
    assert whens[:2] == [model.When.END, model.When.BEGIN]
    assert whens[-1] is model.When.INLINE
    assert [item.payload for item in actions[:2]] == [b"end", b"begin"]


@pytest.mark.parametrize("kind", ["begin", "end"])
def test_two_scripts_of_a_kind_are_refused(tmp_path: Path, releases: tuple[Release, Release], kind: str) -> None:
    path = str(tmp_path / kind)
    with_script = Release(scripts=Scripts(begin=path) if kind == "begin" else Scripts(end=path))
    package = _pack(tmp_path, with_script)
    before = Path(package).read_bytes()
    with pytest.raises(OtaError) as caught:
        append_release(package, with_script)
    assert caught.value.code is Code.CONFIG
    assert Path(package).read_bytes() == before


def test_the_same_target_twice_is_refused(tmp_path: Path, releases: tuple[Release, Release]) -> None:
    package = _pack(tmp_path, releases[0])
    before = Path(package).read_bytes()
    with pytest.raises(OtaError) as caught:
        append_release(package, releases[0])
    assert caught.value.code is Code.CONFIG
    assert caught.value.target is not None
    assert caught.value.target.startswith("/a/")
    assert Path(package).read_bytes() == before
    assert sorted(path.name for path in tmp_path.iterdir() if "ota" in path.name) == ["p.ota"]


def test_a_signed_package_is_refused_unless_told(tmp_path: Path, releases: tuple[Release, Release]) -> None:
    package = _pack(tmp_path, releases[0])
    signers = [Signer(b"k" * 8, lambda _: bytes(64))]
    stream = compress(encode(records(decompress(verify(read(package))))), codec=Codec.NONE, window_log=0)
    write(stream, output=package, codec=Codec.NONE, window_log=0, ram=1 << 20, signers=signers)
    before = Path(package).read_bytes()
    with pytest.raises(OtaError) as caught:
        append_release(package, releases[1])
    assert caught.value.code is Code.USAGE
    assert "signature" in str(caught.value)
    assert Path(package).read_bytes() == before
    append_release(package, releases[1], drop_signatures=True)
    assert inspect_package(package).preamble.signatures == ()


def test_a_damaged_package_is_left_as_it_is(tmp_path: Path, releases: tuple[Release, Release]) -> None:
    package = _pack(tmp_path, releases[0])
    data = bytearray(Path(package).read_bytes())
    data[-1] ^= 1
    Path(package).write_bytes(data)
    with pytest.raises(OtaError) as caught:
        append_release(package, releases[1])
    assert caught.value.code is Code.CORRUPT
    assert Path(package).read_bytes() == bytes(data)
    assert os.listdir(tmp_path).count("p.ota") == 1
