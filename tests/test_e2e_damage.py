"""A damaged package is refused by verify and apply, whatever byte is wrong, wherever it ends; nothing is written."""

from __future__ import annotations

from pathlib import Path

import pytest

from e2e_support import Applier, applier_named, apply_args, board, overwrite, pack, state, write
from otastream.cli.main import run
from otastream.errors import Code

PACKAGE_CODES = frozenset(c.value for c in Code if c.who == "package")


@pytest.fixture(scope="module", params=["none", "gzip", "zstd", "lzma"])
def case(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, bytes]:
    """A board with old on it, and a small package: a delta, a new file, a deletion, a link."""
    folder = tmp_path_factory.mktemp("damage")
    old, new = folder / "old", folder / "new"
    write(old / "app", bytes(range(200)) * 4, 0o755)
    write(new / "app", bytes(range(200)) * 3 + b"!" + bytes(range(200)), 0o755)
    write(old / "gone", b"x")
    write(new / "added", b"new")
    (new / "link").symlink_to("app")
    package = pack(old, new, folder / "update.ota", "--codec", str(request.param))
    return board(folder, old), package.read_bytes()


def refused(root: Path, content: bytes, path: Path, capsys: pytest.CaptureFixture[str], *, apply: bool) -> None:
    """Both commands and the board program fail with a code of the group package; no traceback."""
    overwrite(path, content)
    assert run(["verify", str(path)]) in PACKAGE_CODES
    if apply:
        assert (code := run([str(a) for a in apply_args(path, root)])) in PACKAGE_CODES
        assert applier_named("otaunpack").run(path, root).returncode == code
    assert "Traceback" not in capsys.readouterr().err


def test_the_package_itself_is_accepted(case: tuple[Path, bytes], tmp_path: Path) -> None:
    root, content = case
    path = tmp_path / "whole.ota"
    path.write_bytes(content)
    assert run(["verify", str(path)]) == 0
    assert run([str(a) for a in apply_args(path, root, "--dry-run")]) == 0


def test_every_changed_byte(case: tuple[Path, bytes], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root, content = case
    before = state(root)
    for position in range(len(content)):
        for mask in (0x01, 0x80, 0xFF):
            damaged = bytearray(content)
            damaged[position] ^= mask
            refused(
                root, bytes(damaged), tmp_path / "bad.ota", capsys, apply=mask == 0x01 << position % 8 or mask == 0xFF
            )
        assert state(root) == before, f"byte {position}"


def test_every_truncation(case: tuple[Path, bytes], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root, content = case
    before = state(root)
    for length in range(len(content)):
        refused(root, content[:length], tmp_path / "short.ota", capsys, apply=True)
    assert state(root) == before


def test_bytes_after_the_end(case: tuple[Path, bytes], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root, content = case
    before = state(root)
    path = tmp_path / "long.ota"
    path.write_bytes(content + b"\0")
    assert run(["verify", str(path)]) == Code.FORMAT
    assert run([str(a) for a in apply_args(path, root)]) == Code.FORMAT
    assert applier_named("otaunpack").run(path, root).returncode == Code.FORMAT
    assert state(root) == before


def test_damage_on_a_pipe_is_refused(applier: Applier, case: tuple[Path, bytes]) -> None:
    """The same through a process of its own and stdin, at a few places."""
    root, content = case
    before = state(root)
    for position in (0, 9, 40, len(content) // 2, len(content) - 1):
        damaged = content[:position] + bytes([content[position] ^ 0x10]) + content[position + 1 :]
        done = applier.run("-", root, stdin=damaged)
        assert done.returncode in PACKAGE_CODES
        assert b"Traceback" not in done.stderr
        assert state(root) == before


@pytest.mark.parametrize(
    "content", [b"", b"\x89", b"PK\x03\x04 not a package", b"\x1f\x8b", b"\x28\xb5\x2f\xfd", b"\0" * 1000]
)
def test_what_is_no_package(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "old").mkdir()
    root = board(tmp_path, tmp_path / "old")
    path = tmp_path / "file"
    path.write_bytes(content)
    assert run(["verify", str(path)]) in PACKAGE_CODES
    assert (code := run([str(a) for a in apply_args(path, root)])) in PACKAGE_CODES
    assert applier_named("otaunpack").run(path, root).returncode == code
