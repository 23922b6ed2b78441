"""Pairs of compressed images, made of other pairs of the corpus by the programs that firmware makers use."""

from __future__ import annotations

import os
import stat
import struct
import subprocess
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Final

from scripts.debian import EPOCH, Fetcher
from scripts.newc import Archive
from scripts.pairs_base import CorpusError, run

Sides = Callable[[], tuple[Path, Path]]
"""Old and new of another pair, fetched when asked for."""

STORAGE: Final = ("ata", "md", "mmc", "mtd", "nvme", "scsi", "usb")
"""Folders of kernel/drivers that an initramfs needs to reach its root file system."""
UBI_BLOCK: Final = 126976
"""Bytes of a logical erase block on NAND with pages of 2 KiB and blocks of 128 KiB."""
GZIP: Final = ("gzip", "-n", "-9", "-c")
_SIGNED: Final = b"~Module signature appended~\n"
_UIMAGE: Final = struct.Struct(">7I4B32s")


def _made(command: Callable[[Path, Path], list[str | Path]], sides: Sides, beneath: str, what: str) -> Fetcher:
    """command(folder, image): the program that makes an image of a folder."""

    def fetch(into: Path) -> str:
        for side, top in zip(("old", "new"), sides(), strict=True):
            # mksquashfs refuses options beside this variable
            env = {name: value for name, value in os.environ.items() if name != "SOURCE_DATE_EPOCH"}
            run(command(top / beneath, into / side), f"making {what} (scripts/apt.sh corpus)", env=env)
        return what

    return fetch


def squashfs(codec: str, sides: Sides, *options: str, beneath: str = "", of: str = "the root file system") -> Fetcher:
    """With the defaults of mksquashfs but for its options. beneath: a folder of the trees; of: what they are."""

    def command(folder: Path, image: Path) -> list[str | Path]:
        fixed = ["-noappend", "-no-progress", "-quiet", "-all-root", "-no-xattrs"]
        return ["mksquashfs", folder, image, "-comp", codec, *options, *fixed, "-mkfs-time", EPOCH, "-all-time", EPOCH]

    how = " ".join([codec, *options])
    return _made(command, sides, beneath, f"squashfs images ({how}, 128 KiB blocks) of {of}")


def ubifs(codec: str, sides: Sides, *, beneath: str, of: str) -> Fetcher:
    """For volumes of 256 MiB at most."""

    def command(folder: Path, image: Path) -> list[str | Path]:
        geometry = ["-m", "2048", "-e", str(UBI_BLOCK), "-c", str((256 << 20) // UBI_BLOCK)]
        return ["mkfs.ubifs", *geometry, "-x", codec, "-U", "-r", folder, "-o", image]

    return _made(command, sides, beneath, f"ubifs images ({codec}) of {of}")


def jffs2(sides: Sides, *, beneath: str, of: str) -> Fetcher:
    """For erase blocks of 64 KiB."""

    def command(folder: Path, image: Path) -> list[str | Path]:
        return ["mkfs.jffs2", "-l", "-n", "-e", "64KiB", "-U", "-r", folder, "-o", image]

    return _made(command, sides, beneath, f"jffs2 images (zlib) of {of}")


def gzipped(sides: Sides, what: str) -> Fetcher:
    """Two files, each by GNU gzip."""

    def fetch(into: Path) -> str:
        for side, path in zip(("old", "new"), sides(), strict=True):
            _gzip(path.read_bytes(), into / side)
        return f"{what}, {' '.join(GZIP[:-1])}"

    return fetch


def uimage(sides: Sides, what: str) -> Fetcher:
    """Two kernels, as `mkimage -C gzip` wraps what GNU gzip made of them (U-Boot's include/image.h)."""

    def fetch(into: Path) -> str:
        for side, path in zip(("old", "new"), sides(), strict=True):
            _gzip(path.read_bytes(), into / side)
            data = (into / side).read_bytes()
            values = (0x27051956, 0, int(EPOCH), len(data), 0x8000, 0x8000, zlib.crc32(data), 5, 2, 2, 1, b"Linux")
            head = _UIMAGE.pack(*values)
            (into / side).write_bytes(head[:4] + zlib.crc32(head).to_bytes(4, "big") + head[8:] + data)
        return f"{what}, {' '.join(GZIP[:-1])}, in a uImage"

    return fetch


def _unsigned(module: bytes) -> bytes:
    """Without what the kernel's sign-file appends: a signature, 12 bytes that end with its length, and a line."""
    if not module.endswith(_SIGNED):
        return module
    end = len(module) - len(_SIGNED)
    return module[: end - 12 - int.from_bytes(module[end - 4 : end], "big")]


def initramfs(modules: Sides, *, signed: bool = True) -> Fetcher:
    """Drivers of storage in a cpio archive, as initramfs-tools packs it. signed: with the signatures that they have."""

    def fetch(into: Path) -> str:
        for side, top in zip(("old", "new"), modules(), strict=True):
            archive = Archive()
            for name in STORAGE:
                for path in sorted((top / "kernel/drivers" / name).rglob("*")):
                    if path.is_file():
                        data = path.read_bytes() if signed else _unsigned(path.read_bytes())
                        archive.file(f"lib/modules/{path.relative_to(top)}", data, stat.S_IMODE(path.stat().st_mode))
            _gzip(archive.pack(), into / side)
        what = "" if signed else " without signatures"
        return f"an initramfs: cpio of the drivers {', '.join(STORAGE)}{what}; {' '.join(GZIP[:-1])}"

    return fetch


def _gzip(data: bytes, out: Path) -> None:
    try:
        out.write_bytes(subprocess.run(GZIP, input=data, capture_output=True, check=True).stdout)
    except (OSError, subprocess.CalledProcessError) as problem:
        raise CorpusError(f"gzip: {problem}") from problem
