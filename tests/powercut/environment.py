"""U-Boot's environment of a case, as its boot loader reads it: what environment.h knows, for tests in Python."""

from __future__ import annotations

import binascii
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Environment:
    """Two copies on one node. states: the variables that it may have, the first before the update, the last after."""

    node: str
    size: int
    offsets: tuple[int, int]
    states: tuple[frozenset[str], ...]

    @classmethod
    def of(cls, case: Path) -> Environment | None:
        """That of a case; None: it has none."""
        if not (case / "environment").exists():
            return None
        head, *states = (case / "environment").read_text().splitlines()
        size, node, first, _, second = head.split()
        return cls(node[1:], int(size), (int(first), int(second)), tuple(frozenset(line.split()) for line in states))

    def read(self, root: Path) -> frozenset[str] | None:
        """NAME=VALUE of the copy in use; None: none is whole, or there is no node."""
        if not (root / self.node).exists():
            return None
        content = (root / self.node).read_bytes()
        copies = [content[at : at + self.size] for at in self.offsets]
        whole = [copy for copy in copies if binascii.crc32(copy[5:]) == int.from_bytes(copy[:4], "little")]
        if not whole:
            return None
        newest = max(whole, key=lambda copy: -1 if {255, 0} == {c[4] for c in whole} and copy[4] == 255 else copy[4])
        return frozenset(text.decode() for text in newest[5:].partition(b"\0\0")[0].split(b"\0"))
