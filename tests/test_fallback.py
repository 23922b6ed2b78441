"""A delta with the same content in full behind it (``pack --fallback``): whatever the board has, it ends in new."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest

from e2e_support import Applier, applier_named, applier_with_encoders, edited, otastream, succeed, write
from golden import builder as b
from otastream.config import Edit, Image, Release, load_release
from otastream.errors import Code, OtaError
from otastream.inspection import verify_package
from otastream.model import ANY, Block, Codec, EngineId, ExpectNode, ExpectTree, File, Manifest
from otastream.options import PackOptions
from otastream.pack import pack_release
from otastream.stages.decompress import decompress
from otastream.stages.read import read
from otastream.stages.verify import verify
from reference import load
from test_file_views import xz
from test_views import words

OLD = random.Random(1).randbytes(60_000)
NEW = edited(OLD, 1)
OTHER = random.Random(2).randbytes(60_000)
ROOM = bytes(80_000)
SPEC = """
[[image]]
new = "new.img"
old = "old.img"
targets = ["/dev/a"]
source = "/dev/b"
{image}
[[image]]
new = "new.img"
old = "old.img"
targets = ["/dev/p"]
{image}
[[file]]
action = "update"
dest = "/etc/app"
new = "new.img"
old = "old.img"
{file}
"""
FLAG = "fallback = true"


def release(folder: Path, *, image: str = FLAG, file: str = FLAG) -> Path:
    """A release.toml: two images and a file."""
    write(folder / "old.img", OLD)
    write(folder / "new.img", NEW)
    write(folder / "release.toml", SPEC.format(image=image, file=file).encode())
    return folder / "release.toml"


@pytest.fixture
def package(tmp_path: Path) -> Path:
    succeed("pack", "--spec", release(tmp_path), "-o", tmp_path / "p.ota")
    return tmp_path / "p.ota"


def board(folder: Path, held: bytes, app: bytes | None) -> Path:
    """A board that has this for old."""
    for name in "abp":
        write(folder / f"root/dev/{name}", (held + ROOM)[: len(ROOM)])
    if app is not None:
        write(folder / "root/etc/app", app)
    (folder / "root/etc").mkdir(exist_ok=True)
    (folder / "root/tmp").mkdir()
    return folder / "root"


def is_new(root: Path, held: bytes) -> bool:
    room = (held + ROOM)[: len(ROOM)]
    written = NEW + room[len(NEW) :]
    nodes = [(root / "dev" / name).read_bytes() == written for name in "ap"]
    kept = (root / "dev/b").read_bytes() == room
    return all(nodes) and kept and (root / "etc/app").read_bytes() == NEW


@pytest.mark.parametrize("program", ["otastream", "otaunpack"])
@pytest.mark.parametrize(
    ("held", "app", "count"), [(OLD, OLD, 0), (OLD, None, 1), (OTHER, OTHER, 3), (b"", None, 3), (NEW, NEW, None)]
)
def test_every_board_ends_in_new(
    tmp_path: Path, package: Path, program: str, held: bytes, app: bytes | None, count: int | None
) -> None:
    root, applier = board(tmp_path, held, app), applier_named(program)
    done = applier.run(package, root)
    assert done.returncode == 0, done.stderr
    assert is_new(root, held)
    said = b"%d of them in full: the delta did not apply" % (count or 0)
    assert (said in done.stderr) == bool(count), done.stderr
    assert not list((root / "tmp").iterdir())
    again = applier.run(package, root)
    assert (again.returncode, b"3 of them were right already" in again.stderr) == (0, True)
    assert b"did not apply" not in again.stderr


@pytest.mark.parametrize("program", ["otastream", "otaunpack"])
def test_without_it_such_a_board_is_refused(tmp_path: Path, program: str) -> None:
    succeed("pack", "--spec", release(tmp_path, image="", file=""), "-o", tmp_path / "p.ota")
    root = board(tmp_path, OTHER, OTHER)
    assert applier_named(program).code(tmp_path / "p.ota", root) == Code.TARGET
    assert (root / "etc/app").read_bytes() == OTHER


@pytest.mark.parametrize("program", ["otastream", "otaunpack"])
def test_a_board_without_the_encoder(tmp_path: Path, program: str) -> None:
    """xz is not among what every board program has: the same package ends in new on all of them."""
    old, new = xz(words(1, 20_000)), xz(b"changed " + words(1, 20_000))
    write(tmp_path / "old.img", old)
    write(tmp_path / "new.img", new)
    spec = SPEC.split("[[image]]")[1].format(image=FLAG)
    write(tmp_path / "release.toml", f"[[image]]{spec}".encode())
    options = ("--board-encoders", "gzip,xz", "--spec", tmp_path / "release.toml", "-o", tmp_path / "p.ota")
    succeed("pack", "--fallback", *options)
    manifest, *_ = (item.record for item in load(tmp_path / "p.ota"))
    assert isinstance(manifest, Manifest)
    assert manifest.needs == ("block", "bsdiff", "fallback", "full", "view-parts")
    has_all: list[tuple[Applier, bytes]] = [
        (applier_with_encoders(program), b"1 record executed; "), (applier_named("otaunpack"), b"of them in full")
    ]  # fmt: skip
    for number, (applier, said) in enumerate(has_all):
        root = board(tmp_path / str(number), old, None)
        done = applier.run(tmp_path / "p.ota", root)
        assert (done.returncode, said in done.stderr) == (0, True), done.stderr
        assert (root / "dev/a").read_bytes()[: len(new)] == new


def test_what_a_package_has(package: Path) -> None:
    records = [item.record for item in load(package)]
    assert [record.old for record in records if isinstance(record, ExpectTree)] == [ANY]
    assert [record.source for record in records if isinstance(record, ExpectNode)] == [None, None]
    coded = [record for record in records if isinstance(record, Block | File)]
    assert [(record.engine, record.fallback) for record in coded] == [(EngineId.BSDIFF, True)] * 3
    assert all(record.source is not None and record.source.digest is not None for record in coded)


def test_inspect_and_verify(package: Path) -> None:
    shown = succeed("inspect", package)
    assert shown.count("in full, where the delta does not apply") == 3
    lines = [json.loads(line) for line in succeed("inspect", "--json", package).splitlines()]
    assert [line["fallback_sent"] for line in lines if line.get("fallback") is True] == [len(NEW)] * 3
    assert lines[-1]["fallback"] == 3 * len(NEW)
    assert sum(line["sent"] for line in lines[1:-1]) + lines[-1]["fallback"] == lines[-1]["sent"]
    assert "3 records" in succeed("verify", package)


def test_a_damaged_fallback_is_found(tmp_path: Path) -> None:
    """Both payloads are looked at: with codec none, by changing a byte of the last one and chaining anew."""
    spec = load_release(str(release(tmp_path)))
    pack_release(spec, output=str(tmp_path / "p.ota"), options=PackOptions(codec=Codec.NONE))
    stream = b"".join(decompress(verify(read(str(tmp_path / "p.ota")))))
    at = stream.rindex(NEW[-8:])
    data = stream[:at] + bytes([stream[at] ^ 1]) + stream[at + 1 :]
    (tmp_path / "bad.ota").write_bytes(b.Package(data).build())
    with pytest.raises(OtaError) as caught:
        list(verify_package(str(tmp_path / "bad.ota")).entries)
    assert caught.value.code is Code.CORRUPT


def test_a_delta_that_is_not_worth_it_has_none(tmp_path: Path) -> None:
    write(tmp_path / "old.img", OTHER)
    write(tmp_path / "new.img", NEW)
    image = Image(new=str(tmp_path / "new.img"), old=str(tmp_path / "old.img"), targets=("/dev/a",), fallback=True)
    pack_release(Release(image=(image,)), output=str(tmp_path / "p.ota"))
    record = next(item.record for item in load(tmp_path / "p.ota") if isinstance(item.record, Block))
    assert (record.engine, record.fallback) == (EngineId.FULL, False)


def test_the_option_is_for_all_that_can(tmp_path: Path, package: Path) -> None:
    spec = release(tmp_path, image="", file="")
    succeed("pack", "--spec", spec, "--fallback", "-j", "3", "-o", tmp_path / "q.ota")
    assert (tmp_path / "q.ota").read_bytes() == package.read_bytes()
    done = otastream("pack", "--fallback", tmp_path, tmp_path, "--dest", "/", "-o", tmp_path / "r.ota")
    assert (done.returncode, b"--fallback needs" in done.stderr) == (Code.USAGE, True)


def test_append_keeps_both_payloads(tmp_path: Path, package: Path) -> None:
    write(tmp_path / "more/file", b"more")
    before = [item for item in load(package) if isinstance(item.record, Block | File)]
    (tmp_path / "empty").mkdir()
    succeed("append", package, tmp_path / "empty", tmp_path / "more", "--dest", "/more")
    after = [item for item in load(package) if isinstance(item.record, Block | File)]
    assert after[: len(before)] == before
    root = board(tmp_path, OTHER, None)
    (root / "more").mkdir()
    applier_named("otastream").succeed(package, root)
    assert is_new(root, OTHER)


@pytest.mark.parametrize(
    ("release_", "said"),
    [
        (Release(image=(Image(new="n", targets=("/dev/a",), fallback=True),)), "needs old"),
        (Release(image=(Image(new="n", old="o", targets=("/dev/a",), in_place=True, fallback=True),)), "in-place"),
        (Release(file=(Edit(action="update", dest="/a", new="n", fallback=True),)), "only a file to update"),
        (Release(file=(Edit(action="add", dest="/a", new="n", fallback=True),)), "only a file to update"),
    ],
)
def test_what_can_have_none(tmp_path: Path, release_: Release, said: str) -> None:
    with pytest.raises(OtaError) as caught:
        pack_release(release_, output=str(tmp_path / "p.ota"))
    assert (caught.value.code, said in str(caught.value)) == (Code.CONFIG, True)
