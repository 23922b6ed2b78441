"""What a package consists of: frozen records, closed unions. No I/O, no behaviour beyond small conversions.

Field meanings and limits stand in docs/SPEC.md section 5; names here are the names there.
Paths, roots and nodes are bytes, as file systems have them.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass, replace
from typing import Final

HEADER_MAX: Final = 16384
WORKSPACE_UNIT: Final = 4096
WORKSPACE_MAX: Final = 65535 * WORKSPACE_UNIT
CHUNK_MAX: Final = 65536
PATH_MAX: Final = 4096
NAME_MAX: Final = 255
DEPTH_MAX: Final = 64
TARGETS_MAX: Final = 8
SCRIPT_MAX: Final = 1 << 20
ENV_VALUE_MAX: Final = 4096
SIZE_MAX: Final = (1 << 63) - 1
UNIT_MIN: Final = 4096
UNIT_MAX: Final = 1 << 26
UNITS_MAX: Final = 65536
KEPT_MAX: Final = 128
READS_MAX: Final = 128
STAGING_NAME: Final = b".otastream-new"


class Codec(enum.IntEnum):
    NONE = 0
    GZIP = 1
    ZSTD = 2
    LZMA = 3


class EngineId(enum.IntEnum):
    FULL = 0
    BSDIFF = 1
    XREF = 2


class View(enum.IntEnum):
    """What a delta runs between, where that is not the content itself."""

    PARTS = 1


class CodingId(enum.IntEnum):
    """How a part of an image is compressed: a promise of bytes, kept by one library."""

    DEFLATE = 1
    XZ = 2
    ZSTD = 3
    GNUZIP = 4
    LZ4 = 5
    LZO = 6
    JFFS2 = 7


class When(enum.IntEnum):
    INLINE = 0
    BEGIN = 1
    END = 2


class DeleteType(enum.IntEnum):
    FILE = 1
    DIR = 2


class LinkType(enum.IntEnum):
    SYMBOLIC = 0
    HARD = 1


# ---- states ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Absent:
    """Nothing has this name."""


@dataclass(frozen=True, slots=True)
class FileState:
    size: int
    digest: int


@dataclass(frozen=True, slots=True)
class DirState:
    """A folder, whatever is in it."""


@dataclass(frozen=True, slots=True)
class LinkState:
    text: bytes


@dataclass(frozen=True, slots=True)
class AnyState:
    """Whatever is there, or nothing."""


State = Absent | FileState | DirState | LinkState | AnyState

ABSENT: Final = Absent()
DIRECTORY: Final = DirState()
ANY: Final = AnyState()

# ---- parts of records ------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Source:
    """Old content that a delta or a move reads: a file, a node, or (neither path nor node) the target itself."""

    size: int
    digest: int | None = None
    path: bytes | None = None
    root: bytes = b"/"
    node: bytes | None = None


@dataclass(frozen=True, slots=True)
class Owner:
    uid: int
    gid: int


Xattrs = tuple[tuple[bytes, bytes], ...]
EnvChanges = tuple[tuple[bytes] | tuple[bytes, bytes], ...]
"""Variables of the boot loader's environment, names rising: (name, value) sets one, (name,) deletes it."""

# ---- records ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Manifest:
    records: int
    bytes: int
    needs: tuple[str, ...]
    name: str | None = None
    version: str | None = None
    created: int | None = None


@dataclass(frozen=True, slots=True)
class ExpectTree:
    path: bytes
    old: State
    new: State
    root: bytes = b"/"
    source: Source | None = None
    label: str | None = None  # with one, the path may be left alone


@dataclass(frozen=True, slots=True)
class ExpectNode:
    targets: tuple[bytes, ...]
    size: int
    digest: int
    source: Source | None = None
    mask: int | None = None
    label: str | None = None


@dataclass(frozen=True, slots=True)
class ExpectBoard:
    compatible: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ExpectVersion:
    version: str


@dataclass(frozen=True, slots=True)
class ExpectInPlace:
    """A node that is updated onto itself. unit: bytes replaced at once; scratch: bytes of the temporary folder that it
    takes at most; plan: XXH64 of the payload, which says in what order what is replaced.
    """

    targets: tuple[bytes, ...]
    size: int
    digest: int
    source: Source
    unit: int
    scratch: int
    plan: int
    label: str | None = None


@dataclass(frozen=True, slots=True)
class ExpectEnv:
    """The environment is there, whole, and has room for these changes."""

    env: EnvChanges


Expect = ExpectTree | ExpectNode | ExpectBoard | ExpectVersion | ExpectInPlace | ExpectEnv


@dataclass(frozen=True, slots=True)
class Script:
    when: When
    size: int
    digest: int
    label: str | None = None
    engine: EngineId = EngineId.FULL


@dataclass(frozen=True, slots=True)
class Block:
    """mask: bit n says that target n is written; None: all of them. unit, plan: as in ExpectInPlace, both or none.
    fallback: a second payload follows, the content in full, for where the first does not apply.
    """

    targets: tuple[bytes, ...]
    size: int
    digest: int
    engine: EngineId
    source: Source | None = None
    label: str | None = None
    mask: int | None = None
    old_view: View | None = None
    new_view: View | None = None
    note: str | None = None
    unit: int | None = None
    plan: int | None = None
    fallback: bool = False


@dataclass(frozen=True, slots=True)
class Ubi:
    targets: tuple[bytes, ...]
    size: int
    digest: int
    engine: EngineId
    source: Source | None = None
    label: str | None = None
    mask: int | None = None
    old_view: View | None = None
    new_view: View | None = None
    note: str | None = None
    fallback: bool = False


@dataclass(frozen=True, slots=True)
class File:
    """engine None: the content stays, only mode, owner and xattrs are set."""

    path: bytes
    size: int
    digest: int
    mode: int
    root: bytes = b"/"
    owner: Owner | None = None
    xattrs: Xattrs | None = None
    engine: EngineId | None = None
    source: Source | None = None
    single: bool = False  # field links = 1
    label: str | None = None
    parents: bool = False  # missing folders above are made first
    old_view: View | None = None
    new_view: View | None = None
    note: str | None = None
    fallback: bool = False


@dataclass(frozen=True, slots=True)
class Delete:
    path: bytes
    type: DeleteType
    root: bytes = b"/"
    label: str | None = None


@dataclass(frozen=True, slots=True)
class Dir:
    path: bytes
    mode: int
    root: bytes = b"/"
    owner: Owner | None = None
    xattrs: Xattrs | None = None
    label: str | None = None


@dataclass(frozen=True, slots=True)
class Link:
    path: bytes
    type: LinkType
    to: bytes
    root: bytes = b"/"
    owner: Owner | None = None
    label: str | None = None


@dataclass(frozen=True, slots=True)
class Move:
    path: bytes
    source: Source
    size: int
    digest: int
    mode: int
    root: bytes = b"/"
    owner: Owner | None = None
    xattrs: Xattrs | None = None
    label: str | None = None


@dataclass(frozen=True, slots=True)
class Env:
    """Change the boot loader's environment."""

    env: EnvChanges
    label: str | None = None


@dataclass(frozen=True, slots=True)
class End:
    """The package is complete."""


Action = Script | Block | Ubi | File | Delete | Dir | Link | Move | Env
Record = Manifest | Expect | Action | End

# ---- the record stream as events -------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Head:
    """A record begins. ``raw`` is its encoded header (without the byte string head), None before it was encoded."""

    record: Record
    raw: bytes | None = None


@dataclass(frozen=True, slots=True)
class Chunk:
    """A piece of the payload of the record before; lives until the next event is pulled."""

    data: bytes | memoryview


@dataclass(frozen=True, slots=True)
class Tail:
    """A payload of the record before is complete. Of two payloads, the fallback comes second."""


Event = Head | Chunk | Tail


def in_full(record: Block | Ubi | File) -> Block | Ubi | File:
    """The record that sends the same content without a delta."""
    if isinstance(record, Block):
        record = replace(record, unit=None, plan=None)
    return replace(record, engine=EngineId.FULL, source=None, old_view=None, new_view=None, fallback=False)


@dataclass(frozen=True, slots=True)
class Preamble:
    """What stands in front of the frames, docs/SPEC.md section 2. signatures: (key id, signature) pairs.

    ram: all bytes that applying needs; workspace: of these, what engines and views need, a multiple of WORKSPACE_UNIT.
    """

    codec: Codec
    window_log: int
    frame_log: int
    ram: int
    length: int
    first: bytes
    signatures: tuple[tuple[bytes, bytes], ...] = ()
    version: int = 1
    workspace: int = 0
