"""Small random folders, made to collide: few names, few contents, every kind of entry."""

from __future__ import annotations

import os
import random
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from hypothesis import strategies as st

from otastream.tree import Kind

_RANDOM = random.Random(7)
_BASES: Final = [_RANDOM.randbytes(1800) for _ in range(3)]
CONTENTS: Final = [b"", *_BASES, _BASES[0] + b"!", b"?" + _BASES[1][:900] + b"#" + _BASES[1][900:], b"x" * 40]
_NAMES: Final = [b"a", b"b", b"a-1.so", b"a-2.so", b"c\n\xff"]


@dataclass(frozen=True)
class Node:
    """kind None: a hard link to the (value modulo their number)-th file that is there already."""

    path: bytes
    kind: Kind | None
    value: int
    mode: int


_PATHS = st.lists(st.sampled_from(_NAMES), min_size=1, max_size=3).map(b"/".join)
_NODES = st.builds(
    Node,
    path=_PATHS,
    kind=st.sampled_from([Kind.FILE, Kind.FILE, Kind.FILE, Kind.DIR, Kind.LINK, None]),
    value=st.integers(0, len(CONTENTS) - 1),
    mode=st.sampled_from([0o644, 0o755, 0o600]),
)
trees = st.lists(_NODES, max_size=14)


def build(root: Path, nodes: list[Node]) -> None:
    """Make the nodes in order; one that collides with what is there is left out, missing folders are made."""
    top = os.fsencode(root)
    os.makedirs(top, exist_ok=True)
    files: list[bytes] = []
    for node in nodes:
        full = os.path.join(top, node.path)
        try:
            _folders(top, node.path)
        except FileExistsError:
            continue
        if os.path.lexists(full):
            continue
        if node.kind is Kind.DIR:
            os.mkdir(full)
            os.chmod(full, node.mode | 0o700)
        elif node.kind is Kind.LINK:
            os.symlink((b"a", b"../b", b"nowhere/x", b"/etc")[node.value % 4], full)
        elif node.kind is None and files:
            os.link(files[node.value % len(files)], full)
            files.append(full)
        else:
            Path(os.fsdecode(full)).write_bytes(CONTENTS[node.value])
            os.chmod(full, node.mode)
            files.append(full)


def _folders(top: bytes, path: bytes) -> None:
    parts = path.split(b"/")[:-1]
    for count in range(1, len(parts) + 1):
        folder = os.path.join(top, b"/".join(parts[:count]))
        if os.path.islink(folder) or os.path.isfile(folder):
            raise FileExistsError
        if not os.path.isdir(folder):
            os.mkdir(folder)
