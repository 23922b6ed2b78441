"""Media that outlive the emulated machine, made and read on the host.

A `Nand` is the file behind pnand.ko (see pnand/pnand.c for its layout). Since the host can read cells and marks, a test
compares the whole flash without asking the kernel under test.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from board.provide import run

ERASED = b"\xff"
GOOD = 0xFF
SECTOR = 4096


@dataclass(frozen=True, slots=True)
class Nand:
    """NAND flash in a file. erase, page: bytes. parts: blocks of each partition, which is mtd0, mtd1, ... in the board.

    page 1 makes it NOR.
    """

    path: Path
    parts: Sequence[int]
    erase: int = 131072
    page: int = 2048

    @property
    def blocks(self) -> int:
        return sum(self.parts)

    @property
    def load(self) -> str:
        """The command that makes it an MTD device of the board (it is the first disk)."""
        parts = ",".join(map(str, self.parts))
        return f"insmod /job/pnand.ko blocks={self.blocks} erase={self.erase} page={self.page} parts={parts}"

    def make(self, *, bad: Iterable[int] = (), weak: Mapping[int, str] | None = None) -> Nand:
        """Erased; bad: blocks that the factory marked. weak: block -> "e" erasing fails, "p" programming fails."""
        marks, health = bytearray(ERASED * self.blocks), bytearray(ERASED * self.blocks)
        for block in bad:
            marks[block] = 0
        for block, how in (weak or {}).items():
            health[block] = ord(how)
        with self.path.open("wb") as file:
            for _ in range(self.blocks):
                file.write(ERASED * self.erase)
            file.write(marks + health)
            file.write(ERASED * (-file.tell() % SECTOR))
        return self

    def first(self, part: int) -> int:
        """Number of the first block of a partition."""
        return sum(self.parts[:part])

    def bad(self) -> list[int]:
        """Numbers of the bad blocks of the whole chip."""
        with self.path.open("rb") as file:
            file.seek(self.blocks * self.erase)
            return [number for number, mark in enumerate(file.read(self.blocks)) if mark != GOOD]

    def _good(self, part: int) -> Iterator[int]:
        bad = set(self.bad())
        start = self.first(part)
        return (block for block in range(start, start + self.parts[part]) if block not in bad)

    def write(self, part: int, image: bytes) -> None:
        """Put an image into the good blocks of a partition, as a production line would; the rest stays."""
        good = self._good(part)
        with self.path.open("r+b") as file:
            for at in range(0, len(image), self.erase):
                file.seek(next(good) * self.erase)
                file.write(image[at : at + self.erase].ljust(self.erase, ERASED))

    def read(self, part: int, size: int | None = None) -> bytes:
        """The good blocks of a partition, joined; size: only so many bytes from the front."""
        with self.path.open("rb") as file:
            data = bytearray()
            for block in self._good(part):
                if size is not None and len(data) >= size:
                    break
                file.seek(block * self.erase)
                data += file.read(self.erase)
        return bytes(data[:size])


def ext4(path: Path, folder: Path, *, mib: int) -> Path:
    """An ext4 disk with the content of a folder; its owner is root."""
    path.unlink(missing_ok=True)
    run("mke2fs", "-q", "-t", "ext4", "-E", "root_owner=0:0", "-d", folder, path, f"{mib}M")
    return path


def squashfs(path: Path, folder: Path) -> Path:
    """A gzip squashfs, root's, the same bytes each time."""
    path.unlink(missing_ok=True)
    run("mksquashfs", folder, path, *"-comp gzip -all-root -all-time 0 -mkfs-time 0 -no-progress -quiet".split())
    return path


def ubifs(path: Path, folder: Path, *, block: int, blocks: int, page: int = 2048) -> Path:
    """A ubifs for a volume of so many logical erase blocks of `block` bytes."""
    path.unlink(missing_ok=True)
    geometry = ["-m", str(page), "-e", str(block), "-c", str(blocks)]
    run("mkfs.ubifs", *geometry, "-x", "lzo", "-U", "-r", folder, "-o", path)
    return path
