"""The cpio archives (format newc) that Linux unpacks as initramfs, made without root.

The format is described in the kernel's Documentation/driver-api/early-userspace/buffer-format.rst: a head of 14 fields
of 8 hex digits, the name, the data, each padded to 4 bytes. Several archives one behind the other are unpacked one over
the other, so a job is an archive of its own behind that of the board.
"""

from __future__ import annotations

import stat
from pathlib import PurePosixPath

MAGIC = b"070701"
TRAILER = "TRAILER!!!"


def _padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % 4)


def _entry(number: int, name: str, mode: int, data: bytes = b"", device: tuple[int, int] = (0, 0)) -> bytes:
    """One member; owner root, one link, time 0, no checksum."""
    path = name.encode() + b"\0"
    fields = (number, mode, 0, 0, 1, 0, len(data), 0, 0, *device, len(path), 0)
    head = MAGIC + b"".join(b"%08X" % value for value in fields)
    return _padded(head + path) + _padded(data)


class Archive:
    """Members in the order in which they were added; folders above them come by themselves."""

    def __init__(self) -> None:
        self._members: dict[str, bytes] = {}

    def _add(self, name: str, mode: int, data: bytes = b"", device: tuple[int, int] = (0, 0)) -> None:
        path = PurePosixPath(name)
        for above in reversed(path.parents):
            if str(above) != "." and str(above) not in self._members:
                self._put(str(above), stat.S_IFDIR | 0o755)
        self._put(str(path), mode, data, device)

    def _put(self, name: str, mode: int, data: bytes = b"", device: tuple[int, int] = (0, 0)) -> None:
        self._members[name] = _entry(len(self._members) + 1, name, mode, data, device)

    def folder(self, name: str) -> None:
        self._add(name, stat.S_IFDIR | 0o755)

    def file(self, name: str, data: bytes, mode: int = 0o644) -> None:
        self._add(name, stat.S_IFREG | mode, data)

    def link(self, name: str, text: str) -> None:
        self._add(name, stat.S_IFLNK | 0o777, text.encode())

    def node(self, name: str, major: int, minor: int) -> None:
        """A character device."""
        self._add(name, stat.S_IFCHR | 0o600, device=(major, minor))

    def pack(self) -> bytes:
        """The whole archive; the end is padded so that another one can follow."""
        data = b"".join(self._members.values()) + _entry(0, TRAILER, 0)
        return data + bytes(-len(data) % 512)
