"""What is compressed inside an image, found by looking: containers by their magic, at any offset, one in the other.

A container that is damaged, or of a kind that nobody knows, is plain bytes like all others; the note says so.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from operator import attrgetter
from typing import Final

from otastream.views import codings, gzip, jffs2, naming, squashfs, ubifs, xz, zipped, zstd
from otastream.views.codings import Coding


@dataclass(slots=True)
class Found:
    """A compressed part. coding: at first that of its container, as far as that is known; another: one that is as
    likely. limit: of its raw bytes.
    """

    image: memoryview
    offset: int
    packed: int
    coding: Coding
    limit: int
    container: str
    another: Coding | None = None

    @property
    def raw(self) -> bytes | None:
        """What it expands to; None: it does not decode."""
        try:
            raw, used = codings.decode(self.coding, self.image[self.offset : self.offset + self.packed], self.limit)
        except ValueError:
            return None
        return raw if raw and used == self.packed else None


@dataclass(slots=True)
class Scan:
    """Parts by offset, none over another, and what was recognised, in words."""

    parts: list[Found]
    note: str


_Reader = Callable[[memoryview, int], tuple[list[Found], int, str]]
"""(image, offset of the container) -> its parts, where it ends, its name ("": nothing to tell). ValueError: damaged, or
none at all.
"""


def _squashfs(image: memoryview, start: int) -> tuple[list[Found], int, str]:
    data = image[start:]
    head = squashfs.read_super(data)
    size = f"{head.block >> 10} KiB" if head.block >> 20 == 0 else f"{head.block >> 20} MiB"
    name = f"squashfs {squashfs.NAMES.get(head.compressor, head.compressor)} ({size} blocks)"
    try:
        coding = squashfs.coding_of(head)
        found = [
            Found(image, start + item.offset, item.packed, coding, item.limit, f"{name} at {start}")
            for item in squashfs.extents(data)
        ]
    except ValueError as exc:
        raise DamagedError(name, str(exc), start + head.used) from exc
    return found, start + head.used, name


def _gzip(image: memoryview, start: int) -> tuple[list[Found], int, str]:
    data, packed, coding = gzip.member(image, start)
    found = Found(image, data, packed, coding, codings.PART_MAX, f"gzip at {start}")
    return [found], data + packed, naming.member(image, "gzip", start, data)


def _xz(image: memoryview, start: int) -> tuple[list[Found], int, str]:
    found = [
        Found(image, block.offset, block.packed, block.coding, block.raw, f"xz at {start}", block.made)
        for block in xz.blocks(image, start)
    ]
    return found, found[-1].offset + found[-1].packed, naming.member(image, "xz", start, start)


def _zstd(image: memoryview, start: int) -> tuple[list[Found], int, str]:
    packed, size, coding = zstd.frame(image, start)
    found = Found(image, start, packed, coding, size, f"zstd at {start}")
    return [found], start + packed, naming.member(image, "zstd", start, start)


def _zip(image: memoryview, start: int) -> tuple[list[Found], int, str]:
    data, packed, size, coding = zipped.member(image, start)
    return [Found(image, data, packed, coding, size, "zip")], data + packed, "zip"


def _ubifs(image: memoryview, start: int) -> tuple[list[Found], int, str]:
    return _node(image, ubifs.node(image, start), "ubifs")


def _jffs2(image: memoryview, start: int) -> tuple[list[Found], int, str]:
    return _node(image, jffs2.node(image, start), "jffs2")


def _node(image: memoryview, node: ubifs.Node, system: str) -> tuple[list[Found], int, str]:
    if node.coding is None:
        return [], node.end, ""
    name = f"{system} {node.kind}"
    return [Found(image, node.begin, node.end - node.begin, node.coding, node.size, name)], node.end, name


class DamagedError(ValueError):
    """A container that was recognised, but of which nothing can be used. end: where looking goes on."""

    def __init__(self, name: str, why: str, end: int) -> None:
        super().__init__(f"{name}: {why}")
        self.end = end


_MAGICS: Final[tuple[tuple[bytes, _Reader], ...]] = (
    (squashfs.MAGIC, _squashfs),
    (gzip.MAGIC, _gzip),
    (xz.MAGIC, _xz),
    (zstd.MAGIC, _zstd),
    (zipped.MAGIC, _zip),
    (ubifs.MAGIC, _ubifs),
    (jffs2.LITTLE, _jffs2),
    (jffs2.BIG, _jffs2),
)
MAGICS: Final = tuple(magic for magic, _ in _MAGICS)
"""Without one of these, nothing is found."""


def scan(image: memoryview) -> Scan:
    """Every part that can be found in an image; between the parts of a container there may be others.

    A file that squashfs could not compress further, such as an archive, stands in its image as it is.
    """
    parts: list[Found] = []
    notes: dict[str, None] = {}
    at, inner = 0, 0  # where looking goes on: outside of the last container, and in it
    around: list[Found] = []
    for start, reader in _places(image):
        whole = image
        if start < at:
            stop = _gap(around, start, at)
            if start < inner or stop is None:
                continue
            whole = image[:stop]
        try:
            found, end, name = reader(whole, start)
        except DamagedError as exc:
            notes[str(exc)] = None
            continue
        except ValueError:
            continue
        if start < at:
            inner = end
        else:
            at, around = end, found
        parts += found
        if name:
            notes[name] = None
    names = [*(naming.whole(image) if parts else ()), *notes]
    return Scan(sorted(parts, key=attrgetter("offset")), naming.joined(names))


def _gap(parts: list[Found], start: int, end: int) -> int | None:
    """Where the bytes at start end that are in none of the parts of a container, which has an end itself."""
    index = bisect_right(parts, start, key=attrgetter("offset"))
    if index and start < parts[index - 1].offset + parts[index - 1].packed:
        return None
    return parts[index].offset if index < len(parts) else end


def _places(image: memoryview) -> Iterator[tuple[int, _Reader]]:
    """Every offset with a magic, rising."""
    whole = bytes(image)
    following = {magic: whole.find(magic) for magic, _ in _MAGICS}
    readers = dict(_MAGICS)
    while any(offset >= 0 for offset in following.values()):
        magic = min((offset, magic) for magic, offset in following.items() if offset >= 0)[1]
        offset = following[magic]
        yield offset, readers[magic]
        following[magic] = whole.find(magic, offset + 1)
