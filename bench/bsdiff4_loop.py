"""The obvious way, as a program: a Python loop over bsdiff4, one patch a file.

    python -m bench.bsdiff4_loop pack OLD NEW PATCHES
    python -m bench.bsdiff4_loop apply OLD PATCHES NEW

A file whose bytes did not change costs nothing. A changed file costs its BSDIFF40 patch, a new one itself under bz2
(what bsdiff uses inside), and whichever of the two is smaller is kept. Names of new files, modes and links cost nothing
here, which flatters it.
"""

from __future__ import annotations

import bz2
import shutil
import sys
from pathlib import Path

import bsdiff4


def regular(folder: Path) -> list[Path]:
    return sorted(p.relative_to(folder) for p in folder.rglob("*") if p.is_file() and not p.is_symlink())


def pack(old: Path, new: Path, patches: Path) -> None:
    patches.mkdir()
    gone = set(regular(old)) - set(regular(new))
    (patches / "deleted.bz2").write_bytes(bz2.compress("\n".join(map(str, sorted(gone))).encode()))
    for name in regular(new):
        after = (new / name).read_bytes()
        candidates = {"bz2": bz2.compress(after)}
        if (old / name).is_file():
            before = (old / name).read_bytes()
            if before == after:
                continue
            candidates["bsdiff"] = bsdiff4.diff(before, after)
        kind = min(candidates, key=lambda k: len(candidates[k]))
        target = patches / f"{name}.{kind}"
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(candidates[kind])


def apply(old: Path, patches: Path, new: Path) -> None:
    shutil.copytree(old, new, symlinks=True)
    for line in filter(None, bz2.decompress((patches / "deleted.bz2").read_bytes()).decode().split("\n")):
        (new / line).unlink()
        for folder in (new / line).parents:
            if any(folder.iterdir()):
                break
            folder.rmdir()
    for name in regular(patches):
        if name == Path("deleted.bz2"):
            continue
        patch = (patches / name).read_bytes()
        target = new / name.with_suffix("")
        if name.suffix == ".bsdiff":
            content = bsdiff4.patch(target.read_bytes(), patch)
        else:
            content = bz2.decompress(patch)
            target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)


if __name__ == "__main__":
    {"pack": pack, "apply": apply}[sys.argv[1]](*map(Path, sys.argv[2:5]))
