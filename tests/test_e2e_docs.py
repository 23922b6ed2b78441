"""What the how-tos tell a user to type works as it stands there."""

from __future__ import annotations

import json
import os
import random
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

from e2e_support import edited, make_pair, write

DOCS: Final = Path(__file__).resolve().parent.parent / "docs"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where the user stands; ``otastream`` is on the path."""
    write(tmp_path / "bin/otastream", f'#!/bin/sh\nexec "{sys.executable}" -m otastream "$@"\n'.encode(), 0o755)
    (tmp_path / "work").mkdir()
    return tmp_path / "work"


def blocks(page: str, language: str, *, until: str | None = None) -> list[str]:
    """The code blocks of a page, those behind the heading `until` left out."""
    text = (DOCS / page).read_text()
    if until is not None:
        assert f"\n## {until}\n" in text
        text = text.split(f"\n## {until}\n")[0]
    return re.findall(rf"```{language}\n(.*?)```", text, re.S)


def run(script: str, folder: Path) -> str:
    """Type it; the first line that fails ends it."""
    root = str(Path(__file__).resolve().parent.parent)
    env = {**os.environ, "PATH": f"{folder.parent / 'bin'}:{os.environ['PATH']}", "PYTHONPATH": root}
    done = subprocess.run(["bash", "-euxc", script], cwd=folder, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_first_package(folder: Path) -> None:
    make_pair(folder)
    for name in ("old/odd", "new/odd"):  # diff -r of coreutils cannot show them
        subprocess.run(["rm", "-r", folder / name], check=True)
    for side in ("old", "new"):
        (folder / side / "dangling").unlink()  # diff -r follows links
    script = "".join(blocks("how-to/first-package.md", "sh", until="On a board"))
    assert "--root" in script
    run(script, folder)


def test_images(folder: Path) -> None:
    image = random.Random(3).randbytes(300_000)
    new = edited(image, 4)
    write(folder / "build/2.0/rootfs.squashfs", image)
    write(folder / "build/2.1/rootfs.squashfs", new)
    spec, with_fallback = blocks("how-to/ab-images.md", "toml")
    write(folder / "release.toml", spec.encode())
    run("".join(blocks("how-to/ab-images.md", "sh")), folder)
    board = folder / "board/dev"
    assert (board / "mmcblk0p3").read_bytes()[: len(new)] == new
    assert (board / "mmcblk0p2").read_bytes() == image
    assert (folder / "update.ota").stat().st_size < len(new) / 4

    write(folder / "release.toml", with_fallback.encode())
    write(board / "mmcblk0p2", b"something else")
    write(board / "mmcblk0p3", bytes(len(new)))
    run("otastream pack --spec release.toml -o fb.ota && otastream apply fb.ota --root board -t board/tmp", folder)
    assert (board / "mmcblk0p3").read_bytes()[: len(new)] == new
    assert (folder / "fb.ota").stat().st_size > len(new)


def test_scripts(folder: Path) -> None:
    make_pair(folder)
    (spec,) = blocks("how-to/scripts.md", "toml")
    write(folder / "release.toml", spec.encode())
    for name in re.findall(r'"(scripts/.*?)"', spec):
        write(folder / name, b"exit 0\n")
    (folder / "build/2.0").mkdir(parents=True)
    (folder / "build/2.1").mkdir(parents=True)
    (folder / "old").rename(folder / "build/2.0/rootfs")
    (folder / "new").rename(folder / "build/2.1/rootfs")
    (command,) = [b for b in blocks("how-to/scripts.md", "sh") if b.startswith("otastream")]
    run(f"{command}otastream inspect update.ota", folder)


@pytest.mark.skipif(shutil.which("openssl") is None, reason="no openssl command")
def test_signing(folder: Path) -> None:
    make_pair(folder)
    shutil.copytree(folder / "old", folder / "board/config", symlinks=True)
    run("".join(blocks("how-to/signing.md", "sh")), folder)
    shown = run("otastream verify update.ota --key vendor.pub.pem --key other.pub.pem --json", folder)
    assert len(json.loads(shown)["trusted"]) == 2


def test_exit_codes_page_covers_every_code() -> None:
    """The groups of the page are those of the error list."""
    from otastream.errors import Code

    page = (DOCS / "how-to/exit-codes.md").read_text()
    for line in re.findall(r"^\| ([0-9, -]+) \| (\w+) \|", page, re.M):
        spans = [tuple(map(int, part.split("-"))) for part in line[0].split(",")]
        for code in Code:
            inside = any(span[0] <= code.value <= span[-1] for span in spans)
            assert inside == (code.who == line[1]), (code, line)
