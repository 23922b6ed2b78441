"""Choosing targets: masks, patterns, a program that is asked; the same in both appliers."""

from __future__ import annotations

from pathlib import Path

import pytest

from e2e_support import Applier, write
from otastream.config import Edit, Image, Release
from otastream.errors import Code
from otastream.pack import pack_release

OLD, NEW = b"old" * 1000, b"new" * 1000
PATHS = ("dev/a", "dev/b", "dev/c", "dev/d", "config/one", "config/two", "config/three")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for path in PATHS:
        write(tmp_path / "root" / path, OLD)
    (tmp_path / "root/tmp").mkdir()
    return tmp_path / "root"


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """Two images, the first with a mask; three single files, one of them without a label."""
    write(tmp_path / "new", NEW)
    new = str(tmp_path / "new")
    images = (
        Image(new=new, targets=("/dev/a", "/dev/b", "/dev/c"), mask=0b011, label="root fs"),
        Image(new=new, targets=("/dev/d",)),
    )
    files = (
        Edit(action="update", dest="/config/one", new=new, label="first"),
        Edit(action="delete", dest="/config/two", label="second"),
        Edit(action="update", dest="/config/three", new=new),
    )
    pack_release(Release(image=images, file=files), output=str(tmp_path / "p.ota"))
    return tmp_path / "p.ota"


def hook(folder: Path, body: str) -> str:
    path = folder / "hook"
    write(path, f"#!/bin/sh\n{body}\n".encode(), 0o755)
    return str(path)


def changed(root: Path) -> set[str]:
    """The paths that are no longer as they were."""
    return {p for p in PATHS if not (root / p).exists() or (root / p).read_bytes() != OLD}


EVERYTHING = {"dev/a", "dev/b", "dev/d", "config/one", "config/two", "config/three"}


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ((), EVERYTHING),
        (("--select", "0x4"), EVERYTHING - {"dev/a", "dev/b"} | {"dev/c"}),
        (("--select", "7"), EVERYTHING | {"dev/c"}),
        (("--target", "/dev/*"), EVERYTHING - {"config/one", "config/two"}),
        (("--target", "!/dev/?"), {"config/one", "config/two", "config/three"}),
        (("--target", "/dev/b", "--target", "second"), {"dev/b", "config/two", "config/three"}),
        (("--target", "*", "--target", "!/config/t*"), EVERYTHING - {"config/two"}),
        (("--target", "root*s", "--select", "6"), {"dev/b", "dev/c", "config/three"}),
    ],
)  # fmt: skip
def test_masks_and_patterns(
    applier: Applier, package: Path, root: Path, options: tuple[str, ...], expected: set[str]
) -> None:
    applier.succeed(package, root, *options)
    assert changed(root) == expected
    applier.succeed(package, root, *options)
    assert changed(root) == expected


def test_a_hook_is_asked_before_anything_is_written(
    applier: Applier, package: Path, root: Path, tmp_path: Path
) -> None:
    log = tmp_path / "log"
    body = f'printf "%s|%s|%s|%s|%s\\n" "$@" "$(head -c 3 {root}/dev/a)" >> {log}\n[ "$1" != /dev/b -a "$4" != first ]'
    done = applier.run(package, root, "--hook", hook(tmp_path, body))
    assert done.returncode == 0, done.stderr.decode()
    assert changed(root) == EVERYTHING - {"dev/b", "config/one"}
    assert log.read_text().splitlines() == [
        "/dev/a|0|0|root fs|old",
        "/dev/b|0|1|root fs|old",
        "/dev/d|1|0||old",
        "/config/one|2|0|first|old",
        "/config/two|3|0|second|old",
    ]
    assert b"3 targets left alone" in done.stderr


@pytest.mark.parametrize("body", ["exit 2", "kill -9 $$", "[ $1 = /dev/a ] || exit 3"])
def test_a_hook_that_fails(applier: Applier, package: Path, root: Path, tmp_path: Path, body: str) -> None:
    assert applier.code(package, root, "--hook", hook(tmp_path, body)) == Code.HOOK
    assert changed(root) == set()


def test_a_hook_that_is_none(applier: Applier, package: Path, root: Path, tmp_path: Path) -> None:
    write(tmp_path / "no-program", b"text")
    assert applier.code(package, root, "--hook", str(tmp_path / "no-program")) in (Code.USAGE, Code.HOOK)
    assert applier.code(package, root, "--hook", str(tmp_path / "nowhere")) == Code.USAGE
    assert changed(root) == set()


def test_what_is_left_out_is_not_looked_at(applier: Applier, package: Path, root: Path) -> None:
    for path in ("dev/a", "dev/b"):
        (root / path).unlink()
    assert applier.code(package, root) == Code.MISSING
    applier.succeed(package, root, "--target", "!root fs")


@pytest.mark.parametrize("options", [("--select", "0"), ("--select", "x"), ("--select", "0x100"), ("--slot", "c")])
def test_wrong_options(applier: Applier, package: Path, root: Path, options: tuple[str, ...]) -> None:
    assert applier.code(package, root, *options) == Code.USAGE
    assert changed(root) == set()


def test_more_files_than_can_be_asked_about(applier: Applier, root: Path, tmp_path: Path) -> None:
    files = tuple(Edit(action="delete", dest=f"/config/{number}", label="x") for number in range(257))
    pack_release(Release(file=files), output=str(tmp_path / "p.ota"))
    assert applier.code(tmp_path / "p.ota", root, "--target", "!y") == Code.LIMIT
    applier.succeed(tmp_path / "p.ota", root)


def test_a_dry_run_asks_and_changes_nothing(applier: Applier, package: Path, root: Path, tmp_path: Path) -> None:
    log = tmp_path / "log"
    applier.succeed(package, root, "--dry-run", "--hook", hook(tmp_path, f'echo "$1" >> {log}'))
    assert len(log.read_text().splitlines()) == 5
    assert changed(root) == set()
