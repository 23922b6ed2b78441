"""What a release may say beyond old and new: masks, labels, force, folders above an added file."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from e2e_support import edited, make_pair, state, write
from otastream import model
from otastream.apply import ApplyOptions, apply_package
from otastream.config import Edit, Folder, Image, Inline, Release, Scripts, check_release, load_release
from otastream.errors import Code, OtaError
from otastream.native import Report
from otastream.pack import append_release, pack_release
from reference import Board, load

OLD = bytes(range(256)) * 100
NEW = edited(OLD, 1)


def pack(folder: Path, release: Release) -> str:
    package = str(folder / "p.ota")
    pack_release(release, output=package)
    return package


def apply(package: str, root: Path) -> Report:
    (root / "tmp").mkdir(exist_ok=True)
    return apply_package(package, ApplyOptions(root=str(root), tmp=str(root / "tmp")))


@pytest.mark.parametrize("old", [None, OLD])
@pytest.mark.parametrize("kind", ["block", "ubi"])
@pytest.mark.parametrize("mask", [None, 0, 1, 2, 3])
def test_only_targets_of_the_mask_are_written(tmp_path: Path, mask: int | None, kind: str, old: bytes | None) -> None:
    write(tmp_path / "new", NEW)
    write(tmp_path / "old", OLD)
    nodes = [tmp_path / f"root/dev/{number}" for number in range(2)]
    for node in nodes:
        write(node, OLD.ljust(40000, b"\xff"))
    names = tuple(f"/dev/{number}" for number in range(2))
    before = str(tmp_path / "old") if old is not None else None
    image = Image(new=str(tmp_path / "new"), old=before, targets=names, kind=kind, mask=mask)  # type: ignore[arg-type]
    package = pack(tmp_path, Release(image=(image,)))
    records = [item.record for item in load(package)]
    assert [r.mask for r in records if isinstance(r, model.ExpectNode | model.Block | model.Ubi)] == [mask, mask]
    if kind == "block":
        apply(package, tmp_path / "root")
    else:  # a regular file stands for a volume only here
        Board(tmp_path / "root").apply(load(package))
    for number, node in enumerate(nodes):
        assert node.read_bytes().startswith(NEW if mask is None or mask >> number & 1 else OLD)


def test_labels_reach_every_record(tmp_path: Path) -> None:
    old, new = make_pair(tmp_path)
    write(tmp_path / "one", NEW)
    one = str(tmp_path / "one")
    release = Release(
        image=(Image(new=one, targets=("/dev/a",), label="an image"),),
        folder=(Folder(old=str(old), new=str(new), dest="/config", label="a folder"),),
        file=(
            Edit(action="update", new=one, dest="/f", label="a file"),
            Edit(action="delete", dest="/g", label="a file that goes"),
        ),
        scripts=Scripts(inline=(Inline(path=one, label="a script"), one)),
    )
    labels = [item.record.label for item in load(pack(tmp_path, release)) if isinstance(item.record, model.Action)]
    assert labels[0] == "an image"
    assert labels[-4:] == ["a file", "a file that goes", "a script", "one"]
    assert len(labels) > 20
    assert set(labels[1:-4]) == {"a folder"}


def test_force_takes_any_board_and_sends_only_what_differs(tmp_path: Path) -> None:
    old, new = make_pair(tmp_path)
    forced = Folder(old=str(old), new=str(new), dest="/config", force=True)
    package = pack(tmp_path, Release(folder=(forced,)))
    records = [item.record for item in load(package)]
    files = {r.path for r in records if isinstance(r, model.File)}
    assert b"same.conf" not in files
    assert b"mode" in files  # only its mode differs, but nobody knows what the board has
    assert all(r.engine is model.EngineId.FULL for r in records if isinstance(r, model.File))
    assert not any(isinstance(r, model.Move) for r in records)
    for root in (tmp_path / "clean", tmp_path / "odd"):
        shutil.copytree(old, root / "config", symlinks=True)
    odd = tmp_path / "odd/config"
    write(odd / "same.conf", b"somebody was here")
    write(odd / "mode", b"other content")
    write(odd / "lib/lib0.so", b"not what it was")
    (odd / "lib/lib1.so").unlink()
    write(odd / "added/deep/file", b"there already, but another")
    for root in (tmp_path / "clean", tmp_path / "odd"):
        apply(package, root)
    assert state(tmp_path / "clean/config") == state(new)
    assert (odd / "same.conf").read_bytes() == b"somebody was here"
    write(odd / "same.conf", b"unchanged\n")
    assert state(odd) == state(new)
    apply(package, tmp_path / "odd")  # again


def test_without_force_another_board_is_refused(tmp_path: Path) -> None:
    old, new = make_pair(tmp_path)
    package = pack(tmp_path, Release(folder=(Folder(old=str(old), new=str(new), dest="/config"),)))
    shutil.copytree(old, tmp_path / "root/config", symlinks=True)
    write(tmp_path / "root/config/lib/lib0.so", b"not what it was")
    with pytest.raises(OtaError) as caught:
        apply(package, tmp_path / "root")
    assert caught.value.code is Code.TARGET


def test_an_added_file_brings_its_folders(tmp_path: Path) -> None:
    write(tmp_path / "one", NEW)
    write(tmp_path / "root/real/there/file", b"", 0o600)
    (tmp_path / "root/config").symlink_to("real")
    (tmp_path / "root/real/there").chmod(0o700)
    dests = "/config/there/a", "/config/x/y/z", "/top"
    edits = [Edit(action="add", new=str(tmp_path / "one"), dest=d) for d in dests]
    package = pack(tmp_path, Release(file=(edits[0],)))
    for edit in edits[1:]:
        append_release(package, Release(file=(edit,)))
    for _ in range(2):
        apply(package, tmp_path / "root")
        for edit in edits:
            assert (tmp_path / "root" / edit.dest[1:]).read_bytes() == NEW
    assert (tmp_path / "root/real/there").stat().st_mode & 0o7777 == 0o700
    assert (tmp_path / "root/real/x/y").stat().st_mode & 0o7777 == 0o755


@pytest.mark.parametrize(
    ("release", "problem"),
    [
        (Release(image=(Image(new="n", targets=("/a",), mask=2),)), "mask 0x2 does not fit 1 targets"),
        (Release(folder=(Folder(new="n", dest="/a", force=True),)), "needs old"),
        (Release(folder=(Folder(new="n", dest="/a", label="x" * 513),)), "a label must have 1 to 512 bytes"),
        (Release(scripts=Scripts(inline=(Inline(path="x", label=""),))), "a label must have 1 to 512 bytes"),
    ],
)
def test_refused(release: Release, problem: str) -> None:
    with pytest.raises(OtaError) as caught:
        check_release(release)
    assert caught.value.code is Code.CONFIG
    assert problem in caught.value.detail


def test_in_a_release_file(tmp_path: Path) -> None:
    (tmp_path / "r.toml").write_text(
        '[scripts]\ninline = ["a.sh", { path = "b.sh", label = "second" }]\n'
        '[[image]]\nnew = "i"\ntargets = ["/dev/a", "/dev/b"]\nmask = 0b01\n'
        '[[folder]]\nold = "o"\nnew = "n"\ndest = "/c"\nforce = true\nlabel = "l"\n'
    )
    release = load_release(str(tmp_path / "r.toml"))
    second = Inline(path=str(tmp_path / "b.sh"), label="second")
    assert release.scripts.inline == (str(tmp_path / "a.sh"), second)
    assert release.image[0].mask == 1
    assert (release.folder[0].force, release.folder[0].label) == (True, "l")


@pytest.mark.parametrize("old", [None, "old"])
def test_a_folder_that_the_board_lacks_is_missed_in_preflight(old: str | None, tmp_path: Path) -> None:
    (tmp_path / "old").mkdir()
    write(tmp_path / "new/a", b"1")
    write(tmp_path / "begin.sh", b"touch $OTA_ROOT/begun")
    folder = Folder(old=old and str(tmp_path / old), new=str(tmp_path / "new"), dest="/c")
    package = pack(tmp_path, Release(folder=(folder,), scripts=Scripts(begin=str(tmp_path / "begin.sh"))))
    (tmp_path / "root").mkdir()
    with pytest.raises(OtaError) as caught:
        apply(package, tmp_path / "root")
    assert (caught.value.code, caught.value.target) == (Code.MISSING, "/c")
    assert [path.name for path in (tmp_path / "root").iterdir()] == ["tmp"]


def test_a_folder_that_the_package_makes_need_not_be_there(tmp_path: Path) -> None:
    (tmp_path / "old").mkdir()
    write(tmp_path / "top/c/b", b"1")
    write(tmp_path / "new/a", b"2")
    folders = (
        Folder(old=str(tmp_path / "old"), new=str(tmp_path / "top"), dest="/"),
        Folder(new=str(tmp_path / "new"), dest="/c"),
    )
    (tmp_path / "root").mkdir()
    apply(pack(tmp_path, Release(folder=folders)), tmp_path / "root")
    assert ((tmp_path / "root/c/a").read_bytes(), (tmp_path / "root/c/b").read_bytes()) == (b"2", b"1")
