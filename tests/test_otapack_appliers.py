"""One package for each mode of otapack, applied by the Python program and by the one for boards: equal boards."""

from __future__ import annotations

import contextlib
import shlex
import shutil
from pathlib import Path

import pytest

from e2e_support import applier_named, edited, make_pair, state, write
from otastream.cli import main, otapack
from otastream.errors import Code

OLD = bytes(range(256)) * 200
NEW = edited(OLD, 3)

MODES = {
    "block": "-s new -d '/dev/a /dev/b' --block-update",
    "block as a delta": "-s new -o old -d '/dev/a /dev/b' -t 0x20000 --block-update",
    "block as a delta onto itself": "-s new -o old -d /dev/a --block-update",
    "block with a mask": "-s new -d '/dev/a /dev/b /dev/c' --default-mask 0x5 --block-update",
    "block with a mask, as a delta": "-s new -o old -d '/dev/a /dev/b' --default-mask 0x2 --block-update",
    "no block at all": "-s new -d /dev/a --default-mask 0 --block-update",
    "file-update": "-s new -d '/config/app /config/link' -m 0700 --file-update",
    "file-add": "-s new -d /config/new/folder/file --file-add",
    "file-delete": "-d '/config/app /config/gone' --file-delete",
    "file-update-diff": "-o old -n new -d /config/app --file-update-diff",
    "file-update-diff of a node": "-o old -n new -d /dev/a --file-update-diff",
    "dir-update": "-o pair/old -n pair/new -d /tree --dir-update",
    "dir-update-diff": "-o pair/old -n pair/new -d /tree --dir-update-diff",
    "script-add": "-s script.sh -d name --script-add",
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files that the command lines name, and a board."""
    top = tmp_path_factory.mktemp("modes")
    write(top / "old", OLD)
    write(top / "new", NEW, 0o640)
    write(top / "script.sh", b'echo "$OTA_STATUS" > "$OTA_ROOT/log"\n')
    make_pair(top / "pair")
    board = top / "board"
    shutil.copytree(top / "pair/old", board / "tree", symlinks=True)
    write(board / "config/app", OLD, 0o755)
    (board / "config/link").symlink_to("app")
    for name in "abc":
        write(board / "dev" / name, OLD.ljust(0x20000, b"\xff"))
    (board / "tmp").mkdir()
    return top


def pack(folder: Path, package: Path, record: str) -> None:
    """A package of one record, made where its files are."""
    with contextlib.chdir(folder):
        for line in (f"-c {package}", f"-a {package} {record}"):
            assert main.run(shlex.split(line), command=otapack.command, name="otapack") == 0


@pytest.mark.parametrize("mode", MODES)
def test_both_programs_make_the_same_board(mode: str, folder: Path, tmp_path: Path) -> None:
    package = tmp_path / "p.bin"
    pack(folder, package, MODES[mode])
    found = []
    for name in ("otastream", "otaunpack"):
        root = tmp_path / name
        shutil.copytree(folder / "board", root, symlinks=True)
        for _ in range(2):
            applier_named(name).succeed(package, root)
        found.append(state(root))
    assert found[0] == found[1]
    assert (found[0] != state(folder / "board")) == (mode != "no block at all")


def test_both_refuse_the_same(folder: Path, tmp_path: Path) -> None:
    """A volume that is none, a file that is there already, an old file that is another one."""
    package = tmp_path / "p.bin"
    for record, code in (
        ("-s new -d /dev/a --ubi-update", Code.NODE),
        ("-s new -d /config/app --file-add", Code.TARGET),
        ("-o new -n pair/new/lib/lib0.so -d /config/app --file-update-diff", Code.TARGET),
        ("-s new -o new -d /dev/a --block-update", Code.TARGET),
        ("-s new -d /nowhere/file --file-update", Code.MISSING),
    ):
        pack(folder, package, record)
        for name in ("otastream", "otaunpack"):
            root = tmp_path / "board"
            shutil.copytree(folder / "board", root, symlinks=True)
            assert applier_named(name).code(package, root) == code, (name, record)
            shutil.rmtree(root)
