"""Fetch real old/new pairs of ARM software into .cache/corpus: what demo, bench and slow tests run on.

    python -m scripts.corpus                 list the pairs
    python -m scripts.corpus numpy libssl    fetch these (what is there already is kept)
    python -m scripts.corpus folders | files | images | all

A pair is two folders or two files, old and new, as a board would have them. The wheel pairs are pinned by digest and
stay on PyPI for good; the others are the oldest and the newest that Debian's archive offers today, so their versions
are written beside them (origin.json).
"""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from scripts import debian, images
from scripts.pairs_base import CACHE, CorpusError
from scripts.wheels import NUMPY, RUFF, wheels

__all__ = ["CACHE", "FILES", "FOLDERS", "IMAGES", "CorpusError", "Pair", "Source", "fetch", "files"]


@dataclass(frozen=True, slots=True)
class Pair:
    """Two folders or files on disk, and where they come from."""

    name: str
    old: Path
    new: Path
    what: str


@dataclass(frozen=True, slots=True)
class Source:
    """Where a pair is fetched from. arch: whose code it holds (Debian's name). code: it is one program or kernel."""

    about: str
    fetch: debian.Fetcher
    arch: str = ""
    code: bool = False


def _file(arch: str, package: str, pattern: str, *, upgrade: bool = False) -> Source:
    about = f"{Path(pattern).name} of {package}, {arch}"
    return Source(about, debian.file_pair(arch, package, pattern, upgrade=upgrade), arch, code=True)


def _sides(name: str) -> images.Sides:
    def sides() -> tuple[Path, Path]:
        pair = fetch(name)
        return pair.old, pair.new

    return sides


FOLDERS: Final[dict[str, Source]] = {
    "numpy": Source("numpy 1.26.3/1.26.4 for aarch64: 914 files, 48 MB", wheels(*NUMPY), "arm64"),
    "ruff": Source("ruff 0.6.8/0.6.9 for armv7: one 27 MB program", wheels(*RUFF), "armhf"),
    "modules": Source(
        "kernel modules of two Debian armhf kernels: 3,500 files, 157 MB",
        debian.kernel_pair("armhf", "armmp", debian.take_modules, "lib/modules"),
        "armhf",
    ),
    "rootfs": Source("a root file system of about 60 Debian packages: 3,800 files, 175 MB", debian.rootfs, "arm64"),
}
"""Pairs of folders."""

FILES: Final[dict[str, Source]] = {
    "libssl-armhf": _file("armhf", "libssl3", "lib/arm-linux-gnueabihf/libssl.so.3"),
    "busybox-armhf": _file("armhf", "busybox", "bin/busybox", upgrade=True),
    "sshd-armhf": _file("armhf", "openssh-server", "sbin/sshd"),
    "libc-arm64": _file("arm64", "libc6", "lib/aarch64-linux-gnu/libc.so.6"),
    "libcrypto-armhf": _file("armhf", "libssl3", "lib/arm-linux-gnueabihf/libcrypto.so.3"),
    "libcrypto-arm64": _file("arm64", "libssl3", "lib/aarch64-linux-gnu/libcrypto.so.3"),
    "python-arm64": _file("arm64", "python3.11-minimal", "bin/python3.11"),
    "qemu-arm64": _file("arm64", "qemu-system-arm", "bin/qemu-system-aarch64"),
    "node-arm64": _file("arm64", "libnode108", "lib/aarch64-linux-gnu/libnode.so.108"),
    "kernel-armhf": Source(
        "what an armhf zImage unpacks",
        debian.kernel_pair("armhf", "armmp", debian.take_payload, "the payload of boot/vmlinuz"),
        "armhf",
        code=True,
    ),
    "kernel-arm64": Source(
        "an arm64 kernel Image",
        debian.kernel_pair("arm64", "arm64-unsigned", debian.take_image, "boot/vmlinuz"),
        "arm64",
        code=True,
    ),
    "zimage-armhf": Source(
        "the same zImage, compressed", debian.kernel_pair("armhf", "armmp", debian.take_image, "boot/vmlinuz"), "armhf"
    ),
}
"""Pairs of files."""

_ROOT: Final = _sides("rootfs")
_BIN: Final = {"beneath": "bin", "of": "the root file system's bin"}
_LIBEXEC: Final = {"beneath": "usr/libexec", "of": "its usr/libexec"}

IMAGES: Final[dict[str, Source]] = {
    "squashfs-gzip": Source("squashfs image of rootfs", images.squashfs("gzip", _ROOT)),
    "squashfs-xz": Source("the same with xz", images.squashfs("xz", _ROOT)),
    "squashfs-zstd": Source("the same with zstd", images.squashfs("zstd", _ROOT)),
    "kernel-gzip": Source(
        "the payload of an armhf zImage by gzip", images.gzipped(_sides("kernel-armhf"), "an armhf kernel"), "armhf"
    ),
    "kernel-uimage": Source("the same in a uImage", images.uimage(_sides("kernel-armhf"), "an armhf kernel"), "armhf"),
    "initramfs-gzip": Source("drivers of an armhf kernel in a cpio.gz", images.initramfs(_sides("modules")), "armhf"),
    "initramfs-unsigned": Source(
        "the same without signatures", images.initramfs(_sides("modules"), signed=False), "armhf"
    ),
    "squashfs-lz4": Source("squashfs of rootfs/bin with lz4", images.squashfs("lz4", _ROOT, **_BIN)),
    "squashfs-lzo": Source("the same with lzo", images.squashfs("lzo", _ROOT, **_BIN)),
    "ubifs-lzo": Source("ubifs of rootfs/bin", images.ubifs("lzo", _ROOT, **_BIN)),
    "ubifs-zlib": Source("the same with zlib", images.ubifs("zlib", _ROOT, **_BIN)),
    "jffs2-zlib": Source("jffs2 of rootfs/bin", images.jffs2(_ROOT, **_BIN)),
    **{
        f"small-{name}": Source(f"a small squashfs with {name}", images.squashfs(name, _ROOT, **_LIBEXEC))
        for name in ("gzip", "xz", "zstd", "lz4", "lzo")
    },
    "small-ubifs-lzo": Source("a small ubifs", images.ubifs("lzo", _ROOT, **_LIBEXEC)),
    "small-jffs2-zlib": Source("a small jffs2", images.jffs2(_ROOT, **_LIBEXEC)),
    "small-gzip-file": Source(
        "libcrypto by gzip", images.gzipped(_sides("libcrypto-armhf"), "libcrypto.so.3 of armhf"), "armhf"
    ),
}
"""Pairs of compressed images, made of the others."""

ALL: Final = {**FOLDERS, **FILES, **IMAGES}


def fetch(name: str) -> Pair:
    """The pair called `name`, from the cache or fetched now. Raises CorpusError, KeyError for an unknown name."""
    source = ALL[name]
    folder = CACHE / name
    note = folder / "origin.json"
    if not note.exists():
        work = CACHE / f"{name}.part"
        for leftover in (work, folder):
            shutil.rmtree(leftover, ignore_errors=True)
        work.mkdir(parents=True)
        what = source.fetch(work)
        (work / "origin.json").write_text(json.dumps({"what": what}) + "\n")
        work.rename(folder)
    return Pair(name, folder / "old", folder / "new", json.loads(note.read_text())["what"])


def files(folder: Path) -> Iterator[Path]:
    """Regular files beneath a folder, or the file that it is; links are not followed."""
    names = (folder,) if folder.is_file() else folder.rglob("*")
    return (p for p in names if p.is_file() and not p.is_symlink())


def main(names: Sequence[str]) -> int:
    if not names:
        for name, source in ALL.items():
            print(f"{name:16} {source.about}{'  [there]' if (CACHE / name / 'origin.json').exists() else ''}")
        return 0
    groups = {"all": ALL, "folders": FOLDERS, "files": FILES, "images": IMAGES}
    for name in (found for given in names for found in groups.get(given, (given,))):
        if name not in ALL:
            print(f"corpus: no pair {name!r}; there are: {', '.join(ALL)}", file=sys.stderr)
            return 2
        try:
            pair = fetch(name)
        except CorpusError as problem:
            print(f"corpus: {name}: {problem}", file=sys.stderr)
            return 1
        count = [(len(s), sum(s)) for s in ([p.stat().st_size for p in files(f)] for f in (pair.old, pair.new))]
        print(f"{name}: {pair.what}")
        for side, (number, total) in zip(("old", "new"), count, strict=True):
            print(f"  {CACHE / name / side}: {number} file{'s' if number > 1 else ''}, {total:,} bytes")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
