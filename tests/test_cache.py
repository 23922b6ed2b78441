"""The delta cache: a second run makes no delta, bytes stay the same, and a damaged folder does no harm."""

from __future__ import annotations

import os
import random
from pathlib import Path

import pytest

from otastream.cache import DeltaCache, key
from otastream.engines import ENGINES, Payload
from otastream.engines.bsdiff import Bsdiff
from otastream.errors import Code, OtaError
from otastream.model import EngineId
from otastream.options import PackOptions
from otastream.pack import Summary, pack_folders
from otastream.tree import Content


def _blob(seed: int, size: int) -> bytes:
    return random.Random(seed).randbytes(size)


@pytest.fixture
def pair(tmp_path: Path) -> Path:
    """Three files: a small delta, a large one, and one that is sent whole."""
    large = _blob(1, 400_000)
    mixed = bytes(byte ^ (position % 3 == 0) for position, byte in enumerate(large))
    for side, contents in (("old", (b"a" * 5000, large, _blob(2, 900))), ("new", (b"a" * 5000 + b"b", mixed, b"c"))):
        (tmp_path / side).mkdir()
        for name, content in zip(("small", "large", "other"), contents, strict=True):
            (tmp_path / side / name).write_bytes(content)
    return tmp_path


def _pack(pair: Path, name: str = "p.ota", **options: object) -> Summary:
    made = PackOptions(cache=str(pair / "cache"), **options)  # type: ignore[arg-type]
    return pack_folders(str(pair / "old"), str(pair / "new"), dest="/c", output=str(pair / name), options=made)


def _entries(pair: Path) -> list[Path]:
    return sorted((pair / "cache").glob("??/*"))


def _no_delta(monkeypatch: pytest.MonkeyPatch) -> None:
    def encode(*_: object, **__: object) -> Payload:
        raise AssertionError("a delta is made")

    monkeypatch.setattr(Bsdiff, "encode", encode)


@pytest.mark.parametrize("jobs", [1, 3])
def test_a_second_run_makes_no_delta(pair: Path, monkeypatch: pytest.MonkeyPatch, jobs: int) -> None:
    first = _pack(pair, jobs=jobs)
    assert (first.deltas, first.cached, len(_entries(pair))) == (2, 0, 3)
    assert max(path.stat().st_size for path in _entries(pair)) > 1 << 16
    _no_delta(monkeypatch)
    second = _pack(pair, "again.ota", jobs=jobs)
    assert (second.deltas, second.cached) == (2, 3)
    assert (pair / "again.ota").read_bytes() == (pair / "p.ota").read_bytes()
    plain = PackOptions(jobs=jobs)
    monkeypatch.undo()
    pack_folders(str(pair / "old"), str(pair / "new"), dest="/c", output=str(pair / "plain.ota"), options=plain)
    assert (pair / "plain.ota").read_bytes() == (pair / "p.ota").read_bytes()


def test_where_the_files_are_does_not_matter(pair: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _pack(pair)
    for side in ("old", "new"):
        (pair / side / "large").rename(pair / side / "renamed")
    _no_delta(monkeypatch)
    assert _pack(pair).cached == 3


def _truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def _flip(path: Path) -> None:
    raw = bytearray(path.read_bytes())
    raw[-1] ^= 1
    path.write_bytes(raw)


def _engine(path: Path) -> None:
    raw = bytearray(path.read_bytes())
    raw[50] ^= 1
    path.write_bytes(raw)


@pytest.mark.parametrize("damage", [_truncate, _flip, _engine, lambda path: path.write_bytes(b""), os.unlink])
def test_a_damaged_entry_is_made_anew(pair: Path, damage: object) -> None:
    _pack(pair)
    for path in _entries(pair):
        damage(path)  # type: ignore[operator]
    again = _pack(pair, "again.ota")
    assert again.cached == 0
    assert (pair / "again.ota").read_bytes() == (pair / "p.ota").read_bytes()
    assert _pack(pair).cached == 3


def test_the_least_used_goes(tmp_path: Path) -> None:
    cache = DeltaCache(str(tmp_path / "cache"), limit=10_000)
    keys = [f"{number:064x}" for number in range(256, 256 + 5)]
    for age, name in enumerate(keys):
        with Payload(bytes(3000)) as payload:
            cache.put(name, (EngineId.BSDIFF, payload))
        os.utime(cache._path(name), (age, age))
    found = cache.get(keys[0])
    assert found is not None
    assert found.delta is not None
    found.delta[1].close()
    cache.trim()
    left = [name for name in keys if cache.get(name)]
    assert keys[0] in left
    assert keys[1] not in left
    assert sum(path.stat().st_size for path in (tmp_path / "cache").glob("??/*")) <= 10_000


def test_what_cannot_be_kept_is_not_missed(pair: Path) -> None:
    _pack(pair, "first.ota")
    for path in _entries(pair):
        path.unlink()
        path.parent.rmdir()
        path.parent.write_bytes(b"in the way")
    summary = _pack(pair)
    assert (summary.deltas, summary.cached) == (2, 0)
    assert (pair / "first.ota").read_bytes() == (pair / "p.ota").read_bytes()


def test_a_folder_that_is_none_is_refused(pair: Path) -> None:
    (pair / "cache").write_bytes(b"")
    with pytest.raises(OtaError) as caught:
        _pack(pair)
    assert caught.value.code is Code.CONFIG


def test_a_key_depends_on_contents_and_engines() -> None:
    content = Content(b"/new", 5, 1, b"/old", 6, 2)
    base = key(content, [EngineId.BSDIFF], "")
    assert key(Content(b"/elsewhere", 5, 1, b"/x", 6, 2), [EngineId.BSDIFF], "") == base
    others = [
        key(Content(b"/new", 5, 1, b"/old", 6, 3), [EngineId.BSDIFF], ""),
        key(Content(b"/new", 7, 1, b"/old", 6, 2), [EngineId.BSDIFF], ""),
        key(content, [EngineId.BSDIFF, EngineId.FULL], ""),
        key(content, [EngineId.BSDIFF], "effort 9"),
    ]
    assert len({base, *others}) == 5
    assert set(ENGINES) >= {EngineId.BSDIFF}
