"""Initramfs archives (cpio, "newc" form) without root: folders, files, links, device nodes."""

from __future__ import annotations

import stat
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

_ALIGN = 4


def _padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % _ALIGN)


@dataclass
class Archive:
    """Members in the order in which they were added; parent folders come by themselves."""

    _parts: list[bytes] = field(default_factory=list)
    _folders: set[str] = field(default_factory=set)

    def _member(self, name: str, mode: int, data: bytes = b"", device: tuple[int, int] = (0, 0)) -> None:
        path = name.encode() + b"\0"
        number = len(self._parts) + 1
        fields = (number, mode, 0, 0, 1, 0, len(data), 0, 0, *device, len(path), 0)
        head = b"070701" + b"".join(b"%08x" % value for value in fields)
        self._parts.append(_padded(head + path) + _padded(data))

    def folder(self, name: str) -> None:
        if name and name not in self._folders:
            self.folder(name.rpartition("/")[0])
            self._folders.add(name)
            self._member(name, stat.S_IFDIR | 0o755)

    def file(self, name: str, data: bytes | Path, mode: int = 0o644) -> None:
        self.folder(name.rpartition("/")[0])
        self._member(name, stat.S_IFREG | mode, data.read_bytes() if isinstance(data, Path) else data)

    def link(self, name: str, text: str) -> None:
        self.folder(name.rpartition("/")[0])
        self._member(name, stat.S_IFLNK | 0o777, text.encode())

    def character_device(self, name: str, major: int, minor: int) -> None:
        self.folder(name.rpartition("/")[0])
        self._member(name, stat.S_IFCHR | 0o600, device=(major, minor))

    def tree(self, name: str, top: Path) -> None:
        """All files beneath top, with their modes."""
        for path in _files(top):
            self.file(f"{name}/{path.relative_to(top)}", path, stat.S_IMODE(path.stat().st_mode))

    def to_bytes(self) -> bytes:
        trailer = Archive()
        trailer._member("TRAILER!!!", 0)
        return b"".join([*self._parts, *trailer._parts])


def _files(top: Path) -> Iterator[Path]:
    return (path for path in sorted(top.rglob("*")) if path.is_file())
