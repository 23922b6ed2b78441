"""What the packer's stages hand to each other: entries of a tree, steps of a plan, finished payloads.

No I/O and no behaviour here; docs/DESIGN.md explains the stages.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Protocol

from otastream.model import SIZE_MAX, Action, CodingId, Expect, Owner, Xattrs

READ_SIZE: Final = 1 << 20  # bytes read at once from inputs
DELTA_MAX: Final = SIZE_MAX
"""Files above this size, old or new, are sent full: none, unless the caller says otherwise."""
CHUNK_SIZE: Final = 32768  # bytes of a payload chunk: half the limit, which keeps a reader's buffers small

_NUMBERS: Final = re.compile(rb"[0-9]+(?:[-._~+][0-9]+)*")


class Kind(enum.IntEnum):
    """What an entry of a tree is."""

    FILE = 1
    DIR = 2
    LINK = 3


@dataclass(frozen=True, slots=True)
class Stamp:
    """What must stay the same while a file is read."""

    size: int
    mtime_ns: int
    ctime_ns: int
    ino: int


@dataclass(frozen=True, slots=True)
class Entry:
    """One name in a tree. path is relative to the tree; mode has 12 bits (0 for links); text is that of a link.

    inode is (device, inode) where the file has further names, else None. digest is None until it was hashed.
    """

    path: bytes
    kind: Kind
    mode: int
    stamp: Stamp
    inode: tuple[int, int] | None = None
    text: bytes | None = None
    owner: Owner | None = None
    xattrs: Xattrs | None = None
    digest: int | None = None


class Change(enum.StrEnum):
    """What a step means to a person who reads the summary."""

    ADDED = "added"
    CHANGED = "changed"
    META = "meta"
    MOVED = "moved"
    DELETED = "deleted"
    SCRIPT = "script"
    ENVIRONMENT = "environment"
    NONE = "none"


@dataclass(frozen=True, slots=True)
class Content:
    """Local files behind a payload: new is what the target shall hold, old the source of a delta.

    Sizes and digests (XXH64) are those the plan was made with; whoever reads the files again checks them.
    """

    new: bytes
    size: int
    digest: int
    old: bytes | None = None
    old_size: int = 0
    old_digest: int = 0


class Payload(Protocol):
    """The bytes of one record, ready to be sent once."""

    @property
    def size(self) -> int:
        """Bytes in all chunks together."""

    def chunks(self, limit: int = CHUNK_SIZE) -> Iterator[bytes | memoryview]:
        """Pieces of 1 .. limit bytes; each lives until the next one is pulled."""

    def close(self) -> None:
        """Give up what is held; safe at any time and more than once."""


@dataclass(frozen=True, slots=True)
class Step:
    """One thing to do, and what must hold for it. action None: only the expects.

    Where content has an old file, the action names a delta engine and its source; the diff stage may turn it into full.
    raw: the encoded header of the action, if it is known. made: its payload, if that is decided; cached: it was made in
    an earlier run.
    """

    change: Change
    expects: tuple[Expect, ...] = ()
    action: Action | None = None
    content: Content | None = None
    raw: bytes | None = None
    made: Payload | None = None
    cached: bool = False


@dataclass(frozen=True, slots=True)
class Ready:
    """A record whose engine is decided, with its payload where it has one. raw: its encoded header, if it is known.
    cached: its delta was made in an earlier run. codings: what a view in the payload needs of the board; workspace:
    bytes for view and engine; cost: about what the payload takes in a package; least: what another one without a view
    would take at the least; certain: that one was not made. scratch: bytes that the temporary folder must hold while a
    node is updated onto itself. fallback: the second payload, where there is one.
    """

    record: Action
    payload: Payload | None = None
    raw: bytes | None = None
    cached: bool = False
    codings: frozenset[CodingId] = frozenset()
    workspace: int = 0
    cost: int = 0
    least: int = 0
    certain: bool = False
    scratch: int = 0
    fallback: Payload | None = None


def basename(path: bytes) -> bytes:
    """The last component."""
    return path.rpartition(b"/")[2]


def parent(path: bytes) -> bytes:
    """The path without its last component; empty at the top."""
    return path.rpartition(b"/")[0]


def stem(path: bytes) -> bytes:
    """The last component with every version-like run of numbers made equal: libssl.so.3.0.11 -> libssl.so.#."""
    return _NUMBERS.sub(b"#", basename(path))


def show(path: bytes) -> str:
    """A path for people: bytes that are not UTF-8 or not printable come as escapes."""
    text = path.decode("utf-8", "backslashreplace")
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)
