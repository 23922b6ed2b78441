"""Packages for the board tests, made as users make them, and what a board must look like when they are applied."""

from __future__ import annotations

import hashlib
import os
import random
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from board.provide import Kit
from e2e_support import edited
from otastream.config import Edit, Folder, Image, Release, Scripts
from otastream.pack import PackOptions, pack_release

KIB, MIB = 1 << 10, 1 << 20


def image_pair(kit: Kit, size: int, *, seed: int = 1, start: int = 8 * MIB) -> tuple[bytes, bytes]:
    """Old and new of about this many bytes: real ARM code, and the same with edits, a deletion and an insertion."""
    with kit.image.open("rb") as file:
        file.seek(start)
        old = file.read(size)
    return old, edited(old, seed)


def folder_pair(folder: Path, *, files: int, size: int, seed: int = 1) -> tuple[Path, Path]:
    """Old and new folders of plain names: changed, same, added, deleted and moved files, modes, links.

    size: bytes of the largest file. Owner and times are left to whoever writes them.
    """
    rng = random.Random(seed)
    old, new = folder / "old", folder / "new"
    words = [rng.randbytes(rng.randrange(3, 12)).hex().encode() for _ in range(500)]
    for side in (old, new):
        (side / "bin").mkdir(parents=True)
        (side / "empty").mkdir()
        (side / "bin/sh").symlink_to("tool0")
        (side / "same").write_bytes(b"the same\n")
    for i in range(files):
        content = b" ".join(rng.choices(words, k=rng.randrange(size // 40, size // 14 + 2)))
        (old / f"bin/tool{i}").write_bytes(content)
        (new / f"bin/tool{i}").write_bytes(edited(content, seed + i))
        (new / f"bin/tool{i}").chmod(0o755)
    moved = rng.randbytes(size)
    (old / "here").write_bytes(moved)
    (new / "there").mkdir()
    (new / "there/moved").write_bytes(moved)
    (old / "gone").write_bytes(b"gone")
    (new / "link").symlink_to("there/moved")
    (new / "secret").write_bytes(rng.randbytes(size))
    (new / "secret").chmod(0o600)
    for side in (old, new):
        side.chmod(0o755)
    return old, new


def tree(top: Path) -> bytes:
    """The text that tree() of guest/lib.sh writes about the same folder."""
    paths = sorted([top, *top.rglob("*")], key=lambda path: os.fsencode(_name(top, path)))
    sums, modes, links = [], [], []
    for path in paths:
        name, mode = _name(top, path), path.lstat().st_mode
        if stat.S_ISLNK(mode):
            links.append(f"{os.readlink(path)} <- {name}\n")
            continue
        modes.append(f"{stat.S_IMODE(mode):o} {name}\n")
        if stat.S_ISREG(mode):
            sums.append(f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {name}\n")
    return "".join(sums + modes + links).encode()


def _name(top: Path, path: Path) -> str:
    return "." if path == top else f"./{path.relative_to(top)}"


def package(
    out: Path,
    *,
    images: tuple[Image, ...] = (),
    folders: tuple[Folder, ...] = (),
    files: tuple[Edit, ...] = (),
    scripts: Mapping[str, str] | None = None,
    **options: Any,
) -> Path:
    """Make the package `out`. scripts: begin, end, inline -> text. options: of PackOptions."""
    paths = {}
    for when, text in (scripts or {}).items():
        path = out.with_suffix(f".{when}.sh")
        path.write_text(text)
        paths[when] = str(path)
    run = Scripts(
        begin=paths.get("begin"), end=paths.get("end"), inline=(paths["inline"],) if "inline" in paths else ()
    )
    release = Release(name="board", version="2", scripts=run, image=images, folder=folders, file=files)
    pack_release(release, output=str(out), options=PackOptions(**options))
    return out


class Workshop:
    """A folder in which one test makes its images and packages."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def file(self, name: str, data: bytes) -> Path:
        path = self.folder / name
        path.write_bytes(data)
        return path

    def image(
        self,
        name: str,
        new: bytes,
        *targets: str,
        old: bytes | None = None,
        source: str | None = None,
        kind: str = "block",
        **options: Any,
    ) -> Path:
        """A package with one image. old: what `source` (or the target itself) holds; then a delta is sent."""
        image = self.one_image(name, new, *targets, old=old, source=source, kind=kind)
        return package(self.folder / f"{name}.ota", images=(image,), **options)

    def one_image(
        self,
        name: str,
        new: bytes,
        *targets: str,
        old: bytes | None = None,
        source: str | None = None,
        kind: str = "block",
    ) -> Image:
        """The image for a package of several."""
        old_path = None if old is None else str(self.file(f"{name}.old", old))
        made = {"new": str(self.file(f"{name}.new", new)), "targets": targets, "old": old_path, "source": source}
        return Image(**made, kind="ubi" if kind == "ubi" else "block")  # type: ignore[arg-type]
