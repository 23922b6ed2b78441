"""A second applier, as simple as can be: it holds whole files in memory and knows nothing of the C core.

The tests of the packer execute packages with it. It follows docs/SPEC.md section 5.3 to the letter and is strict where
the executor may be lenient: an expect that does not hold is an error at every start.
"""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import xxhash

from otastream import model
from otastream.engines import ENGINES
from otastream.errors import Code, error
from otastream.model import Chunk, EngineId, Head, Record, Source
from otastream.native import BytesSource
from otastream.stages.decompress import decompress
from otastream.stages.read import read
from otastream.stages.records import records
from otastream.stages.verify import verify


class Cut(Exception):  # noqa: N818
    """The power went away."""


@dataclass(frozen=True)
class Item:
    record: Record
    payload: bytes


def load(package: str | Path) -> list[Item]:
    """All records of a package with their payloads."""
    items: list[Item] = []
    for event in records(decompress(verify(read(str(package))))):
        if isinstance(event, Head):
            items.append(Item(event.record, b""))
        elif isinstance(event, Chunk):
            items[-1] = Item(items[-1].record, items[-1].payload + bytes(event.data))
    return items


def _delta(engine: EngineId, old: bytes, payload: bytes, size: int) -> bytes:
    """xref has no second decoder; tests/golden/xref.json holds the one that there is."""
    if engine is EngineId.BSDIFF:
        return bspatch(old, payload, size)
    decoder = ENGINES[engine].decoder(size, source=BytesSource(old))
    made = b"".join(bytes(view) for view in decoder.feed(payload))
    decoder.finish()
    return made


def bspatch(old: bytes, payload: bytes, size: int) -> bytes:
    """Engine bsdiff (docs/SPEC.md section 6.2), byte by byte."""
    data, new, pos = iter(payload), bytearray(), 0

    def number() -> int:
        value = shift = 0
        for byte in data:
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return value
        raise AssertionError("payload ends early")

    while len(new) < size:
        add, literals, coded = number(), number(), number()
        pos += coded >> 1 if coded % 2 == 0 else -(coded >> 1) - 1
        left = add
        while left:
            same, different = number(), number()
            left -= same + different
            assert pos >= 0
            assert pos + same + different <= len(old)
            new += old[pos : pos + same]
            pos += same
            for _ in range(different):
                new.append(old[pos] + next(data) & 0xFF)
                pos += 1
        new += bytes(next(data) for _ in range(literals))
    assert len(new) == size
    assert next(data, None) is None
    return bytes(new)


class Board:
    """A folder that stands for / of a board."""

    def __init__(self, root: Path) -> None:
        self.root = os.fsencode(root)
        self.scripts: list[tuple[model.When, bytes]] = []

    def apply(self, items: list[Item], *, records: int | None = None, torn: bool = False) -> None:
        """Execute; stop with Cut after so many records, or (torn) when the next one is half done."""
        left = records
        for item in items:
            if isinstance(item.record, model.ExpectTree):
                self._check(item.record)
            elif isinstance(item.record, model.ExpectNode):
                self._check_node(item.record)
        for item in items:
            if isinstance(item.record, model.Manifest | model.Expect | model.End):
                continue
            if left == 0:
                if torn:
                    self._tear(item)
                raise Cut
            self._execute(item)
            left = None if left is None else left - 1

    # ---- looking ----

    def _full(self, root: bytes, path: bytes) -> bytes:
        return os.path.join(self.root, root.lstrip(b"/"), path)

    def _stat(self, root: bytes, path: bytes) -> os.stat_result | None:
        """None: absent, or a way there that leads through something that is no folder."""
        parts = path.split(b"/")
        for count in range(1, len(parts)):
            try:
                st = os.lstat(self._full(root, b"/".join(parts[:count])))
            except FileNotFoundError:
                return None
            if not stat.S_ISDIR(st.st_mode):
                return None
        try:
            return os.lstat(self._full(root, path))
        except FileNotFoundError:
            return None

    def _read(self, root: bytes, path: bytes) -> bytes | None:
        st = self._stat(root, path)
        if st is None or not stat.S_ISREG(st.st_mode):
            return None
        return Path(os.fsdecode(self._full(root, path))).read_bytes()

    def _state(self, root: bytes, path: bytes) -> model.State:
        st = self._stat(root, path)
        if st is None:
            return model.ABSENT
        if stat.S_ISDIR(st.st_mode):
            return model.DIRECTORY
        if stat.S_ISLNK(st.st_mode):
            return model.LinkState(os.readlink(self._full(root, path)))
        data = self._read(root, path)
        assert data is not None
        return model.FileState(len(data), xxhash.xxh64_intdigest(data))

    def _check(self, expect: model.ExpectTree) -> None:
        state = self._state(expect.root, expect.path)
        if state == expect.new:
            return
        one_folder = (expect.old == model.DIRECTORY) != (expect.new == model.DIRECTORY)
        loose = one_folder and not isinstance(expect.old, model.Absent) and not isinstance(expect.new, model.Absent)
        allowed = expect.old in (state, model.ANY) or (loose and state == model.ABSENT)
        if not allowed:
            raise error(Code.TARGET, f"{state} is neither {expect.old} nor {expect.new}", target=str(expect.path))
        if expect.source is not None and not self._has(expect.source):
            raise error(Code.MISSING, "source", target=str(expect.source.path))

    def _has(self, source: Source) -> bool:
        assert source.path is not None
        return self._state(source.root, source.path) == model.FileState(source.size, source.digest or 0)

    def _node(self, node: bytes) -> Path:
        return Path(os.fsdecode(os.path.join(self.root, node.lstrip(b"/"))))

    def _check_node(self, expect: model.ExpectNode) -> None:
        def holds(node: bytes, size: int, digest: int | None) -> bool:
            return xxhash.xxh64_intdigest(self._node(node).read_bytes()[:size]) == digest

        chosen = _chosen(expect.targets, expect.mask)
        if any(self._node(node).stat().st_size < expect.size for node in chosen):
            raise error(Code.TOO_SMALL)
        if expect.source is None or all(holds(node, expect.size, expect.digest) for node in chosen):
            return
        if not holds(expect.source.node or expect.targets[0], expect.source.size, expect.source.digest):
            raise error(Code.TARGET)

    # ---- doing ----

    def _execute(self, item: Item) -> None:
        match item.record:
            case model.Script(when=when):
                self.scripts.append((when, item.payload))
            case model.File():
                self._file(item.record, item.payload)
            case model.Dir() as record:
                full = self._full(record.root, record.path)
                if self._state(record.root, record.path) != model.DIRECTORY:
                    os.mkdir(full)
                self._meta(full, record)
            case model.Delete() as record:
                self._delete(record)
            case model.Link() as record:
                self._link(record)
            case model.Move() as record:
                self._move(record)
            case model.Block() | model.Ubi() as record:
                self._block(record, item.payload)
            case _:
                raise AssertionError(item.record)

    def _meta(self, full: bytes, record: model.File | model.Dir | model.Move) -> None:
        if record.owner is not None:
            os.chown(full, record.owner.uid, record.owner.gid, follow_symlinks=False)
        if record.xattrs is not None:
            for there in os.listxattr(full):
                if os.fsencode(there) not in dict(record.xattrs):
                    os.removexattr(full, there)
            for name, value in record.xattrs:
                os.setxattr(full, name, value)
        os.chmod(full, record.mode)

    def _file(self, record: model.File, payload: bytes) -> None:
        full = self._full(record.root, record.path)
        state = self._state(record.root, record.path)
        right = state == model.FileState(record.size, record.digest)
        if right and record.single and os.lstat(full).st_nlink > 1:
            right = False
        if right:
            self._meta(full, record)
            return
        assert record.engine is not None, "the content should be there"
        data = payload
        if record.engine in (EngineId.BSDIFF, EngineId.XREF):
            assert record.source is not None
            source = record.source
            path = record.path if source.path is None else source.path
            old = self._read(source.root if source.path is not None else record.root, path)
            assert old is not None
            assert len(old) == source.size
            data = _delta(record.engine, old, payload, record.size)
        assert (len(data), xxhash.xxh64_intdigest(data)) == (record.size, record.digest)
        if record.parents:
            os.makedirs(os.path.dirname(full), exist_ok=True)
        staged = os.path.join(os.path.dirname(full), model.STAGING_NAME)
        Path(os.fsdecode(staged)).unlink(missing_ok=True)
        Path(os.fsdecode(staged)).write_bytes(data)
        self._meta(staged, record)
        os.rename(staged, full)

    def _tear(self, item: Item) -> None:
        """Leave what a cut in the middle of staging leaves."""
        if isinstance(item.record, model.File) and item.record.engine is not None:
            folder = os.path.dirname(self._full(item.record.root, item.record.path))
            if os.path.isdir(folder):
                Path(os.fsdecode(os.path.join(folder, model.STAGING_NAME))).write_bytes(b"torn")

    def _delete(self, record: model.Delete) -> None:
        full, st = self._full(record.root, record.path), self._stat(record.root, record.path)
        if st is None or stat.S_ISDIR(st.st_mode) != (record.type is model.DeleteType.DIR):
            return
        if record.type is model.DeleteType.FILE:
            os.unlink(full)
            return
        if not os.listdir(full):
            os.rmdir(full)

    def _link(self, record: model.Link) -> None:
        full = self._full(record.root, record.path)
        staged = os.path.join(os.path.dirname(full), model.STAGING_NAME)
        Path(os.fsdecode(staged)).unlink(missing_ok=True)
        if record.type is model.LinkType.SYMBOLIC:
            os.symlink(record.to, staged)
            os.rename(staged, full)
            return
        to = self._full(record.root, record.to)
        if os.path.lexists(full) and os.path.samestat(os.lstat(to), os.lstat(full)):
            return
        os.link(to, staged, follow_symlinks=False)
        os.rename(staged, full)

    def _move(self, record: model.Move) -> None:
        full = self._full(record.root, record.path)
        assert record.source.path is not None
        source = self._full(record.source.root, record.source.path)
        there = self._stat(record.source.root, record.source.path)
        if self._state(record.root, record.path) == model.FileState(record.size, record.digest):
            if (
                there is not None
                and stat.S_ISREG(there.st_mode)
                and not os.path.samestat(os.lstat(source), os.lstat(full))
            ):
                os.unlink(source)
        else:
            assert there is not None
            os.rename(source, full)
        self._meta(full, record)

    def _block(self, record: model.Block | model.Ubi, payload: bytes) -> None:
        data = payload
        for target in _chosen(record.targets, record.mask):
            node = self._node(target)
            before = node.read_bytes()
            if xxhash.xxh64_intdigest(before[: record.size]) == record.digest:
                continue
            if record.engine in (EngineId.BSDIFF, EngineId.XREF) and data is payload:
                assert record.source is not None
                old = self._node(record.source.node or record.targets[0]).read_bytes()[: record.source.size]
                data = _delta(record.engine, old, payload, record.size)
            assert xxhash.xxh64_intdigest(data) == record.digest
            node.write_bytes(data + before[record.size :])


def _chosen(targets: tuple[bytes, ...], mask: int | None) -> list[bytes]:
    return [node for number, node in enumerate(targets) if mask is None or mask >> number & 1]


# ---- trees ---------------------------------------------------------------------------------------------------------


def snapshot(root: Path) -> dict[bytes, tuple[object, ...]]:
    """Everything about a tree that an update must get right; hard links as the first name of their group."""
    top = os.fsencode(root)
    found: dict[bytes, tuple[object, ...]] = {}
    inodes: dict[tuple[int, int], bytes] = {}
    for path in sorted(_walk(top, b"")):
        full = os.path.join(top, path)
        st = os.lstat(full)
        if stat.S_ISLNK(st.st_mode):
            found[path] = ("link", os.readlink(full))
        elif stat.S_ISDIR(st.st_mode):
            found[path] = ("dir", stat.S_IMODE(st.st_mode))
        else:
            first = inodes.setdefault((st.st_dev, st.st_ino), path)
            data = Path(os.fsdecode(full)).read_bytes()
            found[path] = ("file", stat.S_IMODE(st.st_mode), xxhash.xxh64_intdigest(data), len(data), first)
    return found


def _walk(top: bytes, path: bytes) -> Iterator[bytes]:
    for name in os.listdir(os.path.join(top, path)):
        below = os.path.join(path, name)
        yield below
        if stat.S_ISDIR(os.lstat(os.path.join(top, below)).st_mode):
            yield from _walk(top, below)


def copy_tree(source: Path, target: Path) -> None:
    """A copy with modes, symbolic links and hard links, which shutil would separate."""
    inodes: dict[tuple[int, int], bytes] = {}
    top, goal = os.fsencode(source), os.fsencode(target)
    os.mkdir(goal)
    for path in sorted(_walk(top, b"")):
        full, to = os.path.join(top, path), os.path.join(goal, path)
        st = os.lstat(full)
        if stat.S_ISLNK(st.st_mode):
            os.symlink(os.readlink(full), to)
        elif stat.S_ISDIR(st.st_mode):
            os.mkdir(to)
            os.chmod(to, stat.S_IMODE(st.st_mode))
        elif (st.st_dev, st.st_ino) in inodes:
            os.link(inodes[(st.st_dev, st.st_ino)], to)
        else:
            shutil.copy2(full, to)
            inodes[(st.st_dev, st.st_ino)] = to
