"""The cases of the power-cut machines: small boards and packages for them, made by the real packer.

    python -m powercut.cases FOLDER        (in the folder tests)

Each case is a folder: ``old`` and ``new`` boards (root, tmp), ``stream`` (the record stream of the package),
``touched`` (files whose old content the package must check), ``log`` (what its scripts write). Cases whose nodes may be
flash have ``images`` too: one line per node, its name and the size of its image; ``volumes`` if those are UBI volumes,
which no file can stand for. ``environment``: U-Boot's, and in which states it may be (environment.h).
"""

from __future__ import annotations

import binascii
import gzip
import io
import os
import random
import shutil
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import code_samples
from otastream.config import Edit, Folder, Image, Release, Scripts
from otastream.engines.order import least_scratch
from otastream.model import Codec
from otastream.options import PackOptions
from otastream.pack import pack_release
from otastream.stages.decompress import decompress
from otastream.stages.read import read
from otastream.stages.verify import verify

_SCRIPT: Final = 'echo "%s $OTA_STATUS" >> "$OTA_TMP/log"\n'


class Case:
    """A case being made: content is written to old and new, then the package is packed."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.old = folder / "old"
        self.new = folder / "new"
        self.local = folder / "local"
        self.touched: list[str] = []
        for top in (self.old, self.new):
            (top / "root/config").mkdir(parents=True)
            (top / "tmp").mkdir()
            self.put(top, "root/etc/keep", b"not part of the update")
        self.local.mkdir()

    def put(self, top: Path, name: str, content: bytes, mode: int = 0o644) -> None:
        path = top / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        path.chmod(mode)

    def both(self, name: str, old: bytes | None, new: bytes | None, *, mode: int = 0o644) -> None:
        """A file beneath /config of the old and of the new board. None: it is not there."""
        if old is not None:
            self.put(self.old, f"root/config/{name}", old)
        if new is not None:
            self.put(self.new, f"root/config/{name}", new, mode)
        if old and old != new:
            self.touched.append(f"root/config/{name}")

    def node(self, name: str, old: bytes, new: bytes, *, checked: bool = True) -> None:
        """A node, with what it holds before and after. checked: the package must find the old content there."""
        self.put(self.old, f"root/dev/{name}", old)
        self.put(self.new, f"root/dev/{name}", new)
        if checked:
            self.touched.append(f"root/dev/{name}")

    def file(self, name: str, content: bytes) -> str:
        """A file for the packer only."""
        self.put(self.local, name, content)
        return str(self.local / name)

    def pack(self, release: Release, *, engine: str = "auto", options: type[PackOptions] = PackOptions) -> None:
        package = self.folder / "package.ota"
        pack_release(release, output=str(package), options=options(codec=Codec.NONE, engine=engine))
        pieces = decompress(verify(read(str(package))))
        (self.folder / "stream").write_bytes(b"".join(bytes(piece) for piece in pieces))
        (self.folder / "touched").write_text("".join(f"{name}\n" for name in self.touched))

    def config(self) -> Folder:
        return Folder(old=str(self.old / "root/config"), new=str(self.new / "root/config"), dest="/config")


def _blob(seed: int, size: int) -> bytes:
    return random.Random(seed).randbytes(size)


def _edited(content: bytes, seed: int) -> bytes:
    """The same with some bytes changed and a piece put in: worth a delta."""
    rng = random.Random(seed)
    made = bytearray(content)
    for _ in range(5):
        made[rng.randrange(len(made))] ^= 0x55
    at = rng.randrange(len(made))
    return bytes(made[:at] + rng.randbytes(40) + made[at:])


# ---- files -------------------------------------------------------------------------------------------------------


def _contents(case: Case, engine: str) -> None:
    """New content for files: small and large, empty before and after, a mode on the way."""
    big = _blob(1, 150_000)
    case.both("big", big, _edited(big, 2))
    case.both("small", b"the old content", b"the new content, longer", mode=0o600)
    case.both("shorter", _blob(3, 3000), _blob(3, 200), mode=0o755)
    case.both("to-empty", b"something", b"")
    case.both("from-empty", b"", b"something")
    case.both("same", b"unchanged", b"unchanged")
    case.both("mode", b"mode only", b"mode only", mode=0o4755)
    case.pack(Release(folder=(case.config(),)), engine=engine)


def contents_full(case: Case) -> None:
    _contents(case, "full")


def contents_delta(case: Case) -> None:
    _contents(case, "auto")


def contents_xref(case: Case) -> None:
    """A program, which engine xref makes smallest, and an image of instructions."""
    old, new = code_samples.pair(40)
    case.both("program", old, new, mode=0o755)
    case.both("text", b"the old content" * 20, b"the new content" * 20)
    case.pack(Release(folder=(case.config(),)), engine="xref")


def tree(case: Case) -> None:
    """Folders, links, moves and deletes, and everything that turns into something else."""
    moved, base = _blob(5, 2000), _blob(6, 4000)
    old, new = case.old / "root/config", case.new / "root/config"
    case.both("gone", b"deleted", None)
    case.both("gone-too/inside", b"deleted with its folder", None)
    case.both("deep/er/new", None, b"in new folders")
    case.both("place-a/moved", moved, None)
    case.both("place-b/moved", None, moved, mode=0o640)
    case.both("swap-a", base + b"a", base + b"b")
    case.both("swap-b", base + b"b", base + b"a")
    case.both("file-to-folder", b"a file", None)
    case.put(case.new, "root/config/file-to-folder/inside", b"in a folder now")
    case.both("folder-to-file/inside", b"in a folder", None)
    case.put(case.new, "root/config/folder-to-file", b"a file now")
    case.both("file-to-link", b"a file", None)
    (new / "file-to-link").symlink_to("swap-a")
    (old / "link-to-folder").symlink_to("gone")
    case.put(case.new, "root/config/link-to-folder/inside", b"x")
    for top, text in ((old, "gone"), (new, "swap-b")):
        (top / "link").symlink_to(text)
    for top in (old, new):
        (top / "stays").symlink_to("anywhere")
    (new / "empty").mkdir(mode=0o700)
    case.pack(Release(folder=(case.config(),)))


def hard_links(case: Case) -> None:
    """Groups of names that are made, taken apart and changed."""
    old, new = case.old / "root/config", case.new / "root/config"
    one, two = _blob(7, 1500), _blob(8, 1500)
    case.both("apart-1", one, one)
    (old / "apart-2").hardlink_to(old / "apart-1")
    case.put(case.new, "root/config/apart-2", one)
    case.both("join-1", two, two)
    case.put(case.old, "root/config/join-2", two)
    (new / "join-2").hardlink_to(new / "join-1")
    case.both("change-1", one + two, _edited(one + two, 1))
    (old / "change-2").hardlink_to(old / "change-1")
    (new / "change-2").hardlink_to(new / "change-1")
    case.both("fresh/1", None, b"two new names" * 50)
    (new / "fresh/2").hardlink_to(new / "fresh/1")
    case.pack(Release(folder=(case.config(),)))


def contents_views(case: Case) -> None:
    """Deltas that look inside of compressed files: one onto itself, one of a file that is gone, one of an archive."""
    case.both("firmware", _zipped(1), _zipped(2), mode=0o600)
    case.both("lib/6.1.0-32/mod.ko.gz", _zipped(3), None)
    case.both("lib/6.1.0-37/mod.ko.gz", None, _zipped(4))
    case.both("app.apk", _archive(1), _archive(2))
    case.pack(Release(folder=(case.config(),)))


def _archive(seed: int) -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as archive:
        for number in range(3):
            text = b" ".join(b"%d" % (value * value) for value in range(1000 + (seed if number == 1 else 0), 3000))
            archive.writestr(zipfile.ZipInfo(f"part{number}"), text, zipfile.ZIP_DEFLATED)
    return made.getvalue()


def chain(case: Case) -> None:
    """Contents that move on from name to name: each is the source of the next."""
    parts = [_blob(20 + i, 6000) for i in range(6)]
    for i in range(6):
        case.both(f"v{i}", parts[i], _edited(parts[(i + 1) % 6], i))
    case.pack(Release(folder=(case.config(),)))


def alike(case: Case) -> None:
    """New files that are like an old one of another name: one that goes, one that stays, one that changes later."""
    gone, stays, changes, late = (_blob(40 + i, 6000) for i in range(4))
    case.both("data/first", gone, None)
    case.both("was/second", stays, stays)
    case.both("x/third", changes, _edited(changes, 50))
    case.both("b/new-1", None, _edited(gone, 51))
    case.both("b/new-2", None, _edited(stays, 52))
    case.both("b/new-3", None, _edited(changes, 53))
    case.both("place", b"a file", None)
    case.both("zz/fourth", late, None)
    case.put(case.new, "root/config/place/new-4", _edited(late, 54))
    case.touched.append("root/config/was/second")
    case.pack(Release(folder=(case.config(),)))


def edits(case: Case) -> None:
    """Single files with add, update and delete, and what is beneath a folder that is missing."""
    base = _blob(9, 5000)
    case.both("update.conf", base, _edited(base, 3))
    case.both("delete.conf", b"to be deleted", None)
    case.both("add/ed.conf", None, b"added")
    files = (
        Edit(action="update", dest="/config/update.conf", old=case.file("update", base),
             new=str(case.new / "root/config/update.conf")),
        Edit(action="delete", dest="/config/delete.conf", old=case.file("delete", b"to be deleted")),
        Edit(action="add", dest="/config/add/ed.conf", new=str(case.new / "root/config/add/ed.conf")),
    )  # fmt: skip
    case.pack(Release(file=files))


def scripts(case: Case) -> None:
    """A script of each kind around a folder; the scripts write to a log."""
    case.both("one", b"old one", b"new one")
    case.both("two", b"old two", None)
    case.put(case.old, "root/etc/otastream/accepted", b"1.9")
    case.put(case.new, "root/etc/otastream/accepted", b"2.0\n")
    texts = {name: case.file(f"{name}.sh", (_SCRIPT % name).encode()) for name in ("begin", "inline", "end")}
    (case.folder / "log").write_text("begin 0\ninline 0\nend 0\n")
    made = Scripts(begin=texts["begin"], inline=(texts["inline"],), end=texts["end"])
    case.pack(Release(version="2.0", folder=(case.config(),), scripts=made))


def contents_fallback(case: Case) -> None:
    """Single files with a fallback: one that is as expected, one that is not, one that is not there."""
    base = _blob(70, 20_000)
    for name, held in (("old", base), ("other", _blob(71, 9000)), ("none", None)):
        new = _edited(base, len(name))
        case.both(name, held, new)
    case.touched.clear()  # whatever they hold
    edits = (
        Edit(action="update", dest=f"/config/{name}", old=case.file("base", base),
             new=str(case.new / "root/config" / name), fallback=True)
        for name in ("old", "other", "none")
    )  # fmt: skip
    case.pack(Release(file=tuple(edits)))


# ---- images ------------------------------------------------------------------------------------------------------

_SIZE: Final = 100_000
_ROOM: Final = b"\xa5" * 70_000  # what is behind the image on its node stays


def _image(case: Case, names: str, *, delta: bool, source: str | None = None) -> None:
    old = _blob(11, _SIZE)
    new = _edited(old, 4)
    for name in names:
        case.node(name, old + _ROOM, new + _ROOM[len(new) - len(old) :], checked=False)
    if source is not None and source not in names:
        case.node(source, old + _ROOM, old + _ROOM)
    elif delta:
        case.touched.append(f"root/dev/{source or names[0]}")
    image = Image(
        new=case.file("new.img", new),
        targets=tuple(f"/dev/{name}" for name in names),
        old=case.file("old.img", old) if delta else None,
        source=f"/dev/{source}" if source else None,
    )
    (case.folder / "images").write_text(
        "".join(f"/dev/{name} {len(new)}\n" for name in sorted({*names, source or names[0]}))
    )
    case.pack(Release(image=(image,)))


def image_full(case: Case) -> None:
    _image(case, "a", delta=False)


def image_both_slots(case: Case) -> None:
    _image(case, "ab", delta=False)


def image_from_other_slot(case: Case) -> None:
    _image(case, "a", delta=True, source="b")


def image_both_slots_delta(case: Case) -> None:
    _image(case, "ab", delta=True, source="b")


def image_onto_itself(case: Case) -> None:
    """Built in the temporary folder first."""
    _image(case, "p", delta=True)


def _fallbacks(case: Case, held: bytes) -> None:
    """Deltas with a fallback, of one node from another and of one onto itself. held: what the board has for old."""
    old = _blob(11, _SIZE)
    new = _edited(old, 4)
    room = _ROOM[: len(old + _ROOM) - len(held)]
    case.node("a", held + room, new + (held + room)[len(new) :], checked=False)
    case.node("b", held + room, held + room, checked=False)
    case.node("p", held + room, new + (held + room)[len(new) :], checked=False)
    local = case.file("new.img", new), case.file("old.img", old)
    images = (
        Image(new=local[0], targets=("/dev/a",), old=local[1], source="/dev/b", fallback=True),
        Image(new=local[0], targets=("/dev/p",), old=local[1], fallback=True),
    )
    (case.folder / "images").write_text("".join(f"/dev/{name} {len(new)}\n" for name in "abp"))
    case.pack(Release(image=images))


def image_fallback(case: Case) -> None:
    """The deltas apply, and what stands behind them is not used."""
    _fallbacks(case, _blob(11, _SIZE))


def image_fallback_other(case: Case) -> None:
    """The board has something else for old: what is half made by then makes room for the whole."""
    _fallbacks(case, _blob(72, _SIZE))


def volumes_fallback(case: Case) -> None:
    """The same for UBI volumes: the update of one is begun, given up and begun again."""
    (case.folder / "volumes").write_text("1\n")
    old, held = _blob(73, 40_000), _blob(74, 41_000)
    new = _edited(old, 3)
    case.node("ubi0_0", held, new + held[len(new) :], checked=False)
    case.node("ubi0_1", held, held, checked=False)
    (case.folder / "images").write_text(f"/dev/ubi0_0 {len(new)}\n/dev/ubi0_1 {len(held)}\n")
    image = Image(new=case.file("new.img", new), targets=("/dev/ubi0_0",), old=case.file("old.img", old), kind="ubi",
                  source="/dev/ubi0_1", fallback=True)  # fmt: skip
    case.pack(Release(image=(image,)))


def _zipped(seed: int) -> bytes:
    """An image of three gzip members: one that stays, two that change a little."""
    parts = [_blob(31 + number, 40_000).hex().encode() for number in range(3)]
    parts[:2] = [part[: 500 * seed] + b"changed" + part[500 * seed :] for part in parts[:2]]
    return b"".join(gzip.compress(part, 9, mtime=0) + _blob(30, 700) for part in parts)


def _image_view(case: Case, source: str) -> None:
    """A delta that looks inside of compressed images, and rebuilds them."""
    old, new = _zipped(1), _zipped(2)
    room = bytes(len(old) + 70_000 - len(new))
    case.node("a", old + bytes(70_000), new + room, checked=source == "a")
    if source != "a":
        case.node(source, old + bytes(70_000), old + bytes(70_000))
    image = Image(
        new=case.file("new.img", new), targets=("/dev/a",), old=case.file("old.img", old), source=f"/dev/{source}"
    )
    (case.folder / "images").write_text("".join(f"/dev/{name} {len(new)}\n" for name in sorted({"a", source})))
    case.pack(Release(image=(image,)))


def image_xref_onto_itself(case: Case) -> None:
    """An image of instructions, in the place of the old one."""
    old, new = code_samples.pair(400)
    room = bytes(len(new) + 5000)
    case.node("p", old + room[len(old) :], new + room[len(new) :])
    image = Image(new=case.file("new.img", new), targets=("/dev/p",), old=case.file("old.img", old), source="/dev/p")
    (case.folder / "images").write_text(f"/dev/p {len(new)}\n")
    case.pack(Release(image=(image,)), engine="xref")


def image_view(case: Case) -> None:
    _image_view(case, "b")


def image_view_onto_itself(case: Case) -> None:
    _image_view(case, "a")


class _InPlace(PackOptions):
    """Small units, so that a small image has many; so little scratch that some of old has to be sent."""

    unit = 16384

    def __init__(self, **options: Any) -> None:
        super().__init__(scratch=least_scratch(16384) + 4096, **options)


class _Keeping(_InPlace):
    """Enough scratch for all that is to be kept."""

    def __init__(self, **options: Any) -> None:
        PackOptions.__init__(self, scratch=1 << 20, **options)


class _Wide(PackOptions):
    """Units that the erase blocks of all chips go into."""

    unit = 65536

    def __init__(self, **options: Any) -> None:
        super().__init__(scratch=least_scratch(65536) + 4096, **options)


class _HandingOn(_InPlace):
    """Enough for a unit to hand over what it has made of a part that it shares with the next one."""

    def __init__(self, **options: Any) -> None:
        PackOptions.__init__(self, scratch=least_scratch(16384) + 12288, **options)


class _WideHandingOn(_Wide):
    def __init__(self, **options: Any) -> None:
        PackOptions.__init__(self, scratch=least_scratch(65536) + 12288, **options)


def _in_place(case: Case, new: bytes, options: type[PackOptions]) -> None:
    """The delta of a node onto itself, without a second copy of the image."""
    old = _blob(11, _SIZE)
    case.node("p", old + _ROOM, new + (old + _ROOM)[len(new) :])
    image = Image(new=case.file("new.img", new), targets=("/dev/p",), old=case.file("old.img", old), in_place=True)
    (case.folder / "images").write_text(f"/dev/p {len(new)}\n")
    (case.folder / "unit").write_text(str(options.unit))
    case.pack(Release(image=(image,)), options=options)


def in_place(case: Case) -> None:
    """A piece is put in in front, so that all behind it moves on."""
    old = _blob(11, _SIZE)
    _in_place(case, old[:9000] + _blob(14, 7000) + _edited(old[9000:], 4), _InPlace)


def in_place_shuffled(case: Case) -> None:
    """Pieces go both ways, some to two places; less remains."""
    old = _blob(11, _SIZE)
    order = (70_000, 10_000, 55_000, 0, 40_000, 10_000, 30_000)
    _in_place(case, b"".join(_edited(old[at : at + 13_000], at) for at in order), _Keeping)


def in_place_wide(case: Case) -> None:
    """Large units; pieces change places."""
    old = _blob(11, _SIZE)
    _in_place(case, _edited(old[60_000:] + old[:60_000], 4), _Wide)


def _in_place_xref(case: Case, functions: int, options: type[PackOptions]) -> None:
    """A program by engine xref, whose functions change places; with every cut its tables are decoded again."""
    old, linked = code_samples.pair(functions)
    half = len(linked) // 2
    new = linked[:4096] + linked[half:] + linked[4096:half]
    room = _ROOM[:20_000]  # the middle of the node, which is changed to see that old is checked, belongs to the image
    case.node("p", old + room, new + (old + room)[len(new) :])
    image = Image(new=case.file("new.img", new), targets=("/dev/p",), old=case.file("old.img", old), in_place=True)
    (case.folder / "images").write_text(f"/dev/p {len(new)}\n")
    (case.folder / "unit").write_text(str(options.unit))
    case.pack(Release(image=(image,)), engine="xref", options=options)


def in_place_xref(case: Case) -> None:
    _in_place_xref(case, 500, _InPlace)


def in_place_xref_wide(case: Case) -> None:
    _in_place_xref(case, 800, _Wide)


def _packed(seed: int, count: int, *, front: int = 0) -> bytes:
    """An image of gzip members, of which two in three change; front: bytes that are put in in front, and the first
    members change places with the others.
    """
    out = bytearray(_blob(40, 3000 + front))
    for number in (*range(3 * bool(front), count), *range(3 * bool(front))):
        text = _blob(41 + number, 4500).hex().encode()
        if number % 3:
            text = text[: 400 * seed] + b"changed" + text[400 * seed :]
        out += gzip.compress(text, 9, mtime=0) + _blob(60, 100)
    return bytes(out)


def _in_place_view(case: Case, count: int, options: type[PackOptions]) -> None:
    """A compressed image whose parts are rebuilt in place; all of it moves on, parts cross the ends of units."""
    old, new = _packed(1, count), _packed(2, count, front=6000)
    room = bytes(len(new) + 5000)
    case.node("p", old + room[len(old) :], new + room[len(new) :])
    image = Image(new=case.file("new.img", new), targets=("/dev/p",), old=case.file("old.img", old), in_place=True)
    (case.folder / "images").write_text(f"/dev/p {len(new)}\n")
    (case.folder / "unit").write_text(str(options.unit))
    case.pack(Release(image=(image,)), options=options)


def in_place_view(case: Case) -> None:
    _in_place_view(case, 14, _HandingOn)


def in_place_view_wide(case: Case) -> None:
    _in_place_view(case, 34, _WideHandingOn)


def in_place_and_more(case: Case) -> None:
    """Two nodes in place and a folder, in one package."""
    images = []
    for number, name in enumerate("pq"):
        old = _blob(15 + number, 50_000)
        new = _edited(old[20_000:] + old[:20_000], number)
        room = _ROOM[:20_000]
        case.node(name, old + room, new + (old + room)[len(new) :])
        images.append(
            Image(
                new=case.file(f"new-{name}", new),
                targets=(f"/dev/{name}",),
                old=case.file(f"old-{name}", old),
                in_place=True,
            )
        )
    case.both("one", b"old one", b"new one")
    case.pack(Release(image=tuple(images), folder=(case.config(),)), options=_Keeping)


# ---- U-Boot's environment ----------------------------------------------------------------------------------------

_ENV_SIZE: Final = 6144
_ENV_ROOM: Final = 0x20000


def _copy(strings: str, flag: int) -> bytes:
    """A copy of an environment with these words for variables."""
    data = b"".join(word.encode() + b"\0" for word in strings.split()).ljust(_ENV_SIZE - 5, b"\0")
    return binascii.crc32(data).to_bytes(4, "little") + bytes([flag]) + data


def _environment(case: Case, *states: str, nodes: tuple[str, ...] = ("/dev/env", "/dev/env")) -> str:
    """U-Boot's environment, in two copies on one node or two; the lines that name its nodes as ``images``."""
    apart = nodes[0] != nodes[1]
    offsets = (0, 0) if apart else (0, _ENV_ROOM)
    for top, state in ((case.old, states[0]), (case.new, states[-1])):
        copies = [_copy(state, flag).ljust(_ENV_ROOM, b"\xff") for flag in (1, 0)]
        contents = dict(zip(nodes, copies, strict=True)) if apart else {nodes[0]: b"".join(copies)}
        for node, content in contents.items():
            case.put(top, f"root{node}", content)
        lines = (f"{node} {at:#x} {_ENV_SIZE:#x} 0x10000 2\n" for node, at in zip(nodes, offsets, strict=True))
        case.put(top, "root/etc/fw_env.config", "".join(lines).encode())
    places = " ".join(f"{node} {at}" for node, at in zip(nodes, offsets, strict=True))
    (case.folder / "environment").write_text("\n".join((f"{_ENV_SIZE} {places}", *states)) + "\n")
    return "".join(f"{node} 1\n" for node in dict.fromkeys(nodes))


def environment(case: Case) -> None:
    """Variables that are set, changed and deleted, behind an image."""
    new = _blob(60, 30_000)
    case.node("p", _blob(61, 40_000), new + _blob(61, 40_000)[30_000:], checked=False)
    env = _environment(case, "size=0x1000 kept=1 gone=yes", "kept=1 size=0x2000 added=now")
    (case.folder / "images").write_text(f"/dev/p {len(new)}\n{env}")
    changes: dict[str, str | bool] = {"size": "0x2000", "gone": False, "added": "now"}
    case.pack(Release(image=(Image(new=case.file("new.img", new), targets=("/dev/p",)),), env=changes))


def _slots(case: Case, names: str, states: tuple[str, ...], *, slots: str = "", kind: Any = "block",
           env: tuple[str, ...] = ("/dev/env", "/dev/env")) -> None:  # fmt: skip
    """A delta for either slot, of which the first runs; a variable beside them."""
    old, older = _blob(62, 90_000), _blob(63, 90_000)
    new = _edited(old, 7)
    nodes = [f"/dev/{name}" for name in names.split()]
    for name, before, after in zip(names.split(), (old, older), (old, new), strict=True):
        case.node(name, before + _ROOM[:20_000], after + (_ROOM[:20_000])[len(after) - len(before) :], checked=False)
    for top in (case.old, case.new):
        text = f"a {nodes[0]}\nb {nodes[1]}\nselect boot_slot {names}\n{slots}"
        case.put(top, "root/etc/otastream/slots", text.encode())
        case.put(top, "root/proc/cmdline", f"root={nodes[0]}\n".encode())
    lines = _environment(case, *states, nodes=env)
    (case.folder / "images").write_text(f"{nodes[0]} {len(old)}\n{nodes[1]} {len(new)}\n{lines}")
    image = Image(new=case.file("new.img", new), targets=tuple(nodes), old=case.file("old.img", old), kind=kind)
    case.pack(Release(image=(image,), env={"args": "new"}))


def slots(case: Case) -> None:
    """The slot that does not run is written and started on trial; the boot loader never starts half a slot."""
    begun = "boot_slot=a args={} upgrade_available=0 bootcount=0 ota_incomplete=b"
    states = ("boot_slot=a args=old", begun.format("old"), begun.format("new"),
              "boot_slot=b args=new upgrade_available=1 bootcount=0")  # fmt: skip
    _slots(case, "a b", states)


def slots_marked_good(case: Case) -> None:
    """Without a trial, with bits that say which slot is good."""
    begun = "boot_slot=a args={} good=81,03 ota_incomplete=b"
    states = ("boot_slot=a args=old good=81,83", begun.format("old"), begun.format("new"),
              "boot_slot=b args=new good=81,03")  # fmt: skip
    _slots(case, "a b", states, slots="trial none\ngood good 80\n")


def volumes(case: Case) -> None:
    """Slots and environment are UBI volumes."""
    (case.folder / "volumes").write_text("1\n")
    begun = "boot_slot=ubi0_0 args={} upgrade_available=0 bootcount=0 ota_incomplete=b"
    states = ("boot_slot=ubi0_0 args=old", begun.format("old"), begun.format("new"),
              "boot_slot=ubi0_1 args=new upgrade_available=1 bootcount=0")  # fmt: skip
    _slots(case, "ubi0_0 ubi0_1", states, kind="ubi", env=("/dev/ubi0_2", "/dev/ubi0_3"))


def everything(case: Case) -> None:
    """Images for two slots, a folder, a single file and scripts in one package."""
    old = _blob(12, 90_000)
    new = _edited(old, 5)
    for name in "ab":
        case.node(name, old + _ROOM, new + _ROOM[len(new) - len(old) :], checked=False)
    case.touched.append("root/dev/b")
    image = Image(
        new=case.file("new.img", new), targets=("/dev/a", "/dev/b"), old=case.file("old.img", old), source="/dev/b"
    )
    base = _blob(13, 20_000)
    case.both("lib", base, _edited(base, 6))
    case.both("was", b"here", None)
    case.both("is/now", None, b"here")
    case.put(case.old, "root/etc/conf", b"old")
    case.put(case.new, "root/etc/conf", b"new")
    edit = Edit(action="update", dest="/etc/conf", new=str(case.new / "root/etc/conf"))
    texts = {name: case.file(f"{name}.sh", (_SCRIPT % name).encode()) for name in ("begin", "inline", "end")}
    (case.folder / "log").write_text("begin 0\ninline 0\nend 0\n")
    made = Scripts(begin=texts["begin"], inline=(texts["inline"],), end=texts["end"])
    case.pack(Release(image=(image,), folder=(case.config(),), file=(edit,), scripts=made))


CASES: Final[tuple[Callable[[Case], None], ...]] = (
    contents_full, contents_delta, contents_xref, contents_views, contents_fallback, tree, hard_links, chain, alike,
    edits, scripts,
    image_full, image_both_slots, image_from_other_slot, image_both_slots_delta, image_onto_itself,
    image_view, image_view_onto_itself, image_xref_onto_itself, image_fallback, image_fallback_other,
    in_place, in_place_shuffled, in_place_wide, in_place_xref, in_place_xref_wide,
    in_place_view, in_place_view_wide, in_place_and_more,
    environment, slots, slots_marked_good, volumes, volumes_fallback, everything,
)  # fmt: skip


def make(folder: Path) -> list[Path]:
    """Make all cases beneath the folder, which is cleared first."""
    shutil.rmtree(folder, ignore_errors=True)
    made = []
    for build in CASES:
        target = folder / build.__name__
        build(Case(target))
        made.append(target)
    return made


if __name__ == "__main__":
    os.umask(0o022)
    for path in make(Path(sys.argv[1])):
        print(path)
