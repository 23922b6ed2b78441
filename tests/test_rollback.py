"""Boards that keep the highest version that they have run, in both programs."""

from __future__ import annotations

from pathlib import Path

import pytest

from e2e_support import Applier, applier_named, succeed, write
from otastream.errors import Code


@pytest.fixture(params=["otastream", "otaunpack"])
def applier(request: pytest.FixtureRequest) -> Applier:
    return applier_named(request.param)


@pytest.fixture(scope="module")
def packages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """1.9.ota, 1.10.ota and none.ota, which write their version to /v and log it in the end script; fails.ota."""
    folder = tmp_path_factory.mktemp("packages")
    script = 'echo "$OTA_STATUS $(cat "$OTA_ROOT/etc/otastream/accepted")" >"$OTA_ROOT/log"\n'
    write(folder / "end.sh", script.encode())
    write(folder / "exit.sh", b"exit 1\n")
    for name, version in (("1.9", '"1.9"'), ("1.10", '"1.10"'), ("none", None), ("fails", '"2.0"')):
        write(folder / name, name.encode())
        lines = [f"version = {version}"] if version else []
        lines += ["[scripts]", 'end = "end.sh"', *(['inline = ["exit.sh"]'] if name == "fails" else [])]
        lines += ["[[file]]", 'action = "update"', f'new = "{name}"', 'dest = "/v"']
        write(folder / f"{name}.toml", "\n".join(lines).encode())
        succeed("pack", "--spec", folder / f"{name}.toml", "-o", folder / f"{name}.ota")
    return folder


def _board(folder: Path, accepted: bytes | None) -> Path:
    root = folder / "root"
    (root / "tmp").mkdir(parents=True)
    (root / "etc/otastream").mkdir(parents=True)
    if accepted is not None:
        write(root / "etc/otastream/accepted", accepted)
    return root


def test_a_version_is_kept_and_only_raised(applier: Applier, packages: Path, tmp_path: Path) -> None:
    root = _board(tmp_path, b"")
    accepted = root / "etc/otastream/accepted"
    applier.succeed(packages / "none.ota", root)
    assert accepted.read_bytes() == b""
    applier.succeed(packages / "1.9.ota", root)
    assert accepted.read_bytes() == b"1.9\n"
    assert (root / "log").read_text() == "0 1.9\n"  # before the end script
    for name in ("1.10", "1.10"):
        applier.succeed(packages / f"{name}.ota", root)
        assert accepted.read_bytes() == b"1.10\n"
    for name in ("1.9", "none"):
        assert applier.code(packages / f"{name}.ota", root) == Code.ROLLBACK
        done = applier.run(packages / f"{name}.ota", root, "--dry-run")
        assert done.returncode == Code.ROLLBACK
        assert b"has run 1.10" in done.stderr
        assert (root / "v").read_bytes() == b"1.10"
    assert accepted.read_bytes() == b"1.10\n"


def test_a_board_without_the_file_takes_all(applier: Applier, packages: Path, tmp_path: Path) -> None:
    root = _board(tmp_path, None)
    for name in ("1.10", "1.9", "none"):
        applier.succeed(packages / f"{name}.ota", root)
        assert (root / "v").read_bytes() == name.encode()
    assert not (root / "etc/otastream/accepted").exists()


def test_what_fails_or_is_only_tried_raises_nothing(applier: Applier, packages: Path, tmp_path: Path) -> None:
    root = _board(tmp_path, b"1.10\n")
    assert applier.code(packages / "fails.ota", root) == Code.SCRIPT
    assert applier.code(packages / "fails.ota", root, "--dry-run") == 0
    assert (root / "etc/otastream/accepted").read_bytes() == b"1.10\n"


def test_developers_may_go_back_where_there_are_no_keys(applier: Applier, packages: Path, tmp_path: Path) -> None:
    root = _board(tmp_path, b"1.10\n")
    applier.succeed(packages / "1.9.ota", root, "--allow-downgrade")
    assert (root / "v").read_bytes() == b"1.9"
    assert (root / "etc/otastream/accepted").read_bytes() == b"1.10\n"
    succeed("keygen", "-o", tmp_path / "key.pem")
    public = tmp_path / "key.pub.pem"
    done = applier.run(packages / "1.9.ota", root, "--allow-downgrade", "-k", str(public))
    assert done.returncode == Code.USAGE
    assert b"without keys" in done.stderr


def test_the_folder_may_be_a_link(applier: Applier, packages: Path, tmp_path: Path) -> None:
    root = _board(tmp_path, None)
    (root / "etc/otastream").rmdir()
    write(root / "data/ota/accepted", b"1.9\n")
    (root / "etc/otastream").symlink_to("/data/ota")
    applier.succeed(packages / "1.10.ota", root)
    assert (root / "data/ota/accepted").read_bytes() == b"1.10\n"
    assert applier.code(packages / "1.9.ota", root) == Code.ROLLBACK


def test_a_file_that_cannot_be_written_is_said(applier: Applier, packages: Path, tmp_path: Path) -> None:
    """The update is there, the end script learns of the failure, and running it again goes on."""
    root = _board(tmp_path, b"1.9\n")
    (root / "etc/otastream/.otastream-new/x").mkdir(parents=True)
    assert applier.code(packages / "1.10.ota", root) not in (0, Code.ROLLBACK)
    assert (root / "log").read_text().startswith("-1")
    (root / "etc/otastream/.otastream-new/x").rmdir()
    applier.succeed(packages / "1.10.ota", root)
    assert (root / "etc/otastream/accepted").read_bytes() == b"1.10\n"
