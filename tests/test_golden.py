"""Every reader is held to tests/golden: the Python one here, the C executor by its records."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from golden import builder as b
from golden import make
from otastream.errors import Code, OtaError
from otastream.inspection import inspect_package, verify_package
from otastream.native import ExecOptions, Executor
from otastream.stages.decompress import decompress
from otastream.stages.read import read
from otastream.stages.records import records
from otastream.stages.verify import verify
from otastream.views.codings import Coder

FOLDER = Path(__file__).parent / "golden"
INDEX: dict[str, dict[str, Any]] = json.loads((FOLDER / "index.json").read_text())
GOOD = [name for name in INDEX if name.startswith("good/")]
BAD = [name for name in INDEX if name.startswith("bad/")]
OLD = b"hello, bored\n"
WORKSPACE = 100 * 4096  # what the packages with views state


def test_the_index_lists_exactly_the_files() -> None:
    files = {str(path.relative_to(FOLDER)) for path in FOLDER.glob("*/*.ota")}
    assert files == set(INDEX)
    for name, about in INDEX.items():
        assert hashlib.sha256((FOLDER / name).read_bytes()).hexdigest() == about["sha256"], name


def test_there_are_vectors_for_every_error_of_the_format() -> None:
    raised = {INDEX[name]["error"] for name in BAD}
    # of the package group only scripts are missing: they fail when they run
    package = {code.name for code in Code if code.who == "package" and "SCRIPT" not in code.name}
    assert raised == package
    assert all(name.removeprefix("bad/").split("-")[0].upper() == INDEX[name]["error"] for name in BAD)


def test_the_generator_makes_the_same_bytes() -> None:
    made = make.packages()
    assert set(made) == set(INDEX)
    for name, data in made.items():
        if "compressed" in INDEX[name]:  # these depend on the version of zlib or libzstd: same content, not same bytes
            if INDEX[name]["error"] is None:
                assert b.count_records(data) == INDEX[name]["records"]
        else:
            assert data == (FOLDER / name).read_bytes(), name


@pytest.mark.parametrize("name", GOOD)
def test_good(name: str) -> None:
    assert sum(1 for _ in verify_package(str(FOLDER / name)).entries) == INDEX[name]["records"]


@pytest.mark.parametrize("piece", [1, 7, 1000])
def test_good_in_any_split(piece: int) -> None:
    for name in GOOD:
        path = FOLDER / name
        if path.stat().st_size < 5000:
            whole, split = (b"".join(decompress(verify(read(str(path), piece=size)))) for size in (1 << 16, piece))
            assert whole == split, name


@pytest.mark.parametrize("name", BAD)
def test_bad(name: str) -> None:
    with pytest.raises(OtaError) as caught:
        list(verify_package(str(FOLDER / name)).entries)
    assert caught.value.code.name == INDEX[name]["error"], str(caught.value)
    assert str(caught.value)


@pytest.mark.parametrize("piece", [1, 3])
def test_bad_in_any_split(piece: int) -> None:
    for name in BAD:
        path = FOLDER / name
        if path.stat().st_size > 2000 or "payload" in INDEX[name]:  # payloads are looked at by engines
            continue
        with pytest.raises(OtaError) as caught:
            for _ in records(decompress(verify(read(str(path), piece=piece)))):
                pass
        assert caught.value.code.name == INDEX[name]["error"], name


def _stream(name: str) -> bytes | None:
    """The record stream of a package; None if the error is in a lower layer."""
    try:
        return b"".join(decompress(verify(read(str(FOLDER / name)))))
    except OtaError:
        return None


def _executed(data: bytes, tmp_path: Path, *, check_only: bool) -> str | None:
    """What the C executor says to a record stream."""
    root, tmp = tmp_path / "root", tmp_path / "tmp"
    for folder in (root, tmp):
        folder.mkdir(exist_ok=True)
    (root / "a").write_bytes(OLD)
    try:
        options = ExecOptions(check_only=check_only, workspace=WORKSPACE, coder=Coder(), volatile_tmp=True)
        with Executor(root, tmp, options=options) as executor:
            executor.feed(data)
            executor.finish()
    except OtaError as failure:
        return failure.code.name
    return None


def test_the_executor_accepts_and_refuses_the_same_records(tmp_path: Path) -> None:
    checked = 0
    for name, about in INDEX.items():
        data = _stream(name)
        if data is None:
            continue
        assert _executed(data, tmp_path, check_only="payload" not in about) == about["error"], name
        checked += 1
    assert checked > 300


def test_a_bad_digest_of_full_content_is_corrupt(tmp_path: Path) -> None:
    fields = {b.PATH: b"a", b.MODE: 0, b.SIZE: 3, b.DIGEST: 1, b.ENGINE: 0}
    package = tmp_path / "p.ota"
    package.write_bytes(b.Package(b.stream(b.record(b.FILE, fields, b"abc"))).build())
    assert [entry.sent for entry in inspect_package(str(package)).entries] == [0, 3, 0]
    with pytest.raises(OtaError) as caught:
        list(verify_package(str(package)).entries)
    assert (caught.value.code, caught.value.record) == (Code.CORRUPT, 1)
