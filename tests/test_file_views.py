"""Deltas of files that look inside: modules as kbuild compresses them, archives, firmware; in folders and alone."""

from __future__ import annotations

import io
import lzma
import random
import shutil
import struct
import subprocess
import zipfile
import zlib
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import code_samples
from e2e_support import Applier, applier_with_encoders, board, state, succeed, write
from otastream.cli.main import run
from otastream.config import Edit, Release
from otastream.inspection import inspect_package, verify_package
from otastream.model import CodingId, EngineId, File, Manifest, View
from otastream.options import VIEW_RAM, PackOptions
from otastream.pack import Summary, pack_folders, pack_release
from otastream.stages.hash import MAGIC_READ, holds_magic
from otastream.views import codings, scan
from otastream.views.expand import expand
from otastream.views.parts import CODINGS_MAX
from test_views import changed, member, needs_mksquashfs, squash, words

ALL = frozenset(CodingId)
OLD, NEW = code_samples.pair(700)  # a program and its next version, about 40 kB


def xz(data: bytes) -> bytes:
    """As kbuild compresses a module."""
    return _piped(data, "xz", "--check=crc32", "--lzma2=dict=1MiB")


def zstd(data: bytes, level: int = 19) -> bytes:
    with_size = "--stream-size", str(len(data))
    return _piped(data, "zstd", "-q", f"-{level}", *with_size)


def _piped(data: bytes, *command: str) -> bytes:
    return subprocess.run([*command, "-c"], input=data, capture_output=True, check=True).stdout


def archive(members: dict[str, bytes], *, described: bool = False, level: int = 6) -> bytes:
    """A zip; described: sizes come behind the data, as where an archive is written to a pipe."""
    whole = io.BytesIO()
    out: Any = _Pipe(whole) if described else whole
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED, compresslevel=level) as made:
        for name, data in members.items():
            info = zipfile.ZipInfo(name, (2024, 1, 1, 0, 0, 0))
            made.writestr(info, data, zipfile.ZIP_STORED if name.endswith(".png") else zipfile.ZIP_DEFLATED)
    return whole.getvalue()


class _Pipe(io.RawIOBase):
    def __init__(self, to: io.BytesIO) -> None:
        self._to = to

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        return self._to.write(data)


def members(seed: int) -> dict[str, bytes]:
    made = {f"lib/part{number}.py": words(number, 3000) for number in range(12)}
    return made | {"lib/code.so": NEW if seed else OLD, "icon.png": random.Random(1).randbytes(700)}


CONTENTS: dict[str, Callable[[bytes], bytes]] = {
    "firmware.bin": lambda data: random.Random(2).randbytes(900) + member(data) + bytes(333),
    "mod.ko.gz": lambda data: member(data, 6),
    "deeper/app.apk": lambda data: archive(members(0) | {"lib/code.so": data}),
    "deeper/piped.jar": lambda data: archive(members(0) | {"lib/code.so": data}, described=True, level=9),
}
_OTHER = {"id": lzma.FILTER_LZMA2, "preset": 3, "dict_size": 1 << 19}
MORE: dict[str, Callable[[bytes], bytes]] = {
    "mod.ko.xz": xz,
    "mod.ko.zst": zstd,
    "data.xz": lambda data: lzma.compress(data, filters=[_OTHER]),  # another check, another preset
}


class Trees:
    """An old and a new folder, and the package between them."""

    def __init__(self, folder: Path, contents: dict[str, Callable[[bytes], bytes]]) -> None:
        self.folder, self.old, self.new = folder, folder / "old", folder / "new"
        for side, data in ((self.old, OLD), (self.new, NEW)):
            write(side / "same", b"unchanged")
            write(side / "plain", data)
            for name, make in contents.items():
                write(side / name, make(data))
        self.package = folder / "p.ota"

    def pack(self, options: PackOptions | None = None) -> Summary:
        package = str(self.package)
        return pack_folders(str(self.old), str(self.new), dest="/config", output=package, options=options)

    def files(self) -> dict[str, File]:
        found = [entry.record for entry in inspect_package(str(self.package)).entries]
        return {item.path.decode(): item for item in found if isinstance(item, File)}

    def apply(self, applier: Applier) -> None:
        """Apply it twice: the second time there is nothing to do."""
        root = board(self.folder, self.old)
        for _ in range(2):
            applier.succeed(self.package, root)
            assert state(root / "config") == state(self.new)
        shutil.rmtree(root)


def test_a_folder_in_both_programs(tmp_path: Path, applier: Applier) -> None:
    trees = Trees(tmp_path, CONTENTS)
    plain = trees.pack(PackOptions(encoders=frozenset()))
    viewed = trees.pack()
    assert viewed.package < plain.package / 5
    files = trees.files()
    for name in CONTENTS:
        assert (files[name].old_view, files[name].new_view) == (View.PARTS, View.PARTS)
    assert files["deeper/app.apk"].note == "zip: 100 % reproduced, 1 parts recompressed, 12 kept, 0 sent as they are"
    assert files["plain"].new_view is None
    assert len(list(verify_package(str(trees.package)).entries)) > len(CONTENTS)
    trees.apply(applier)


@pytest.mark.parametrize("program", ["otastream", "otaunpack"])
def test_what_other_libraries_compress(tmp_path: Path, program: str) -> None:
    """The board program that has all encoders is the one with sanitizers."""
    if not {CodingId.XZ, CodingId.ZSTD} <= codings.present():
        pytest.skip("no liblzma or libzstd of the right version")
    trees = Trees(tmp_path, MORE)
    plain = trees.pack(PackOptions(encoders=frozenset()))
    viewed = trees.pack(PackOptions(encoders=ALL))
    assert viewed.package < plain.package / 2
    assert all(trees.files()[name].new_view is View.PARTS for name in MORE)
    trees.apply(applier_with_encoders(program))


@needs_mksquashfs
def test_a_squashfs_in_a_folder(tmp_path: Path, applier: Applier) -> None:
    sides = iter([squash(tmp_path, f"t{seed}", members(seed), "-b", "32K") for seed in (0, 1)])
    trees = Trees(tmp_path, {"rootfs.bin": lambda _: b"a header of a vendor" * 3 + next(sides)})
    trees.pack()
    note = trees.files()["rootfs.bin"].note
    assert note is not None
    assert note.startswith("squashfs gzip (32 KiB blocks): 100 % reproduced, ")
    trees.apply(applier)


@needs_mksquashfs
def test_an_archive_in_a_squashfs(tmp_path: Path, applier: Applier) -> None:
    """What could not be compressed further stands in the image as it is, and is taken apart there."""
    texts = {f"t{number}": words(number, 9000) for number in range(4)}
    images = []
    for seed in (0, 1):
        texts["t1"] = changed(words(1, 9000), seed)
        content = members(seed) | {"app/app.apk": archive(texts)}
        images.append(squash(tmp_path, f"t{seed}", content, "-b", "32K", "-no-fragments"))
    sides = iter(images)
    trees = Trees(tmp_path, {"rootfs.bin": lambda _: next(sides)})
    plain = trees.pack(PackOptions(encoders=frozenset()))
    assert trees.pack().package < plain.package / 2
    note = trees.files()["rootfs.bin"].note
    assert note is not None
    assert note.startswith("squashfs gzip (32 KiB blocks), zip: ")
    trees.apply(applier)


def test_a_renamed_file_and_a_single_one(tmp_path: Path, applier: Applier) -> None:
    """A module whose folder has another version in its name; and a file that is replaced by itself."""
    trees = Trees(tmp_path, {})
    write(trees.old / "lib/6.1.0-32/mod.ko.gz", member(OLD))
    write(trees.new / "lib/6.1.0-37/mod.ko.gz", member(NEW))
    trees.pack()
    record = trees.files()["lib/6.1.0-37/mod.ko.gz"]
    assert record.new_view is View.PARTS
    assert record.source is not None
    assert record.source.path == b"lib/6.1.0-32/mod.ko.gz"
    trees.apply(applier)

    root = board(tmp_path, trees.old)
    write(root / "etc/app.apk", archive(members(0)))
    write(tmp_path / "a", archive(members(0)))
    write(tmp_path / "b", archive(members(1)))
    edit = Edit(dest="/etc/app.apk", action="update", old=str(tmp_path / "a"), new=str(tmp_path / "b"))
    made = pack_release(Release(file=(edit,)), output=str(trees.package))
    assert made.package < 6000
    applier.succeed(trees.package, root)
    assert (root / "etc/app.apk").read_bytes() == archive(members(1))


@pytest.mark.parametrize("name", CONTENTS)
def test_diff_and_patch(tmp_path: Path, name: str) -> None:
    old, new, delta, out = (tmp_path / each for each in ("old", "new", "delta.ota", "out"))
    old.write_bytes(CONTENTS[name](OLD))
    new.write_bytes(CONTENTS[name](NEW))
    assert run(["diff", str(old), str(new), "-o", str(delta)]) == 0
    assert delta.stat().st_size < 6000
    assert run(["patch", str(old), str(delta), "-o", str(out)]) == 0
    assert out.read_bytes() == new.read_bytes()


def test_patch_without_the_coding_refuses_by_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    old, new, delta, out = (tmp_path / each for each in ("old", "new", "delta.ota", "out"))
    old.write_bytes(member(OLD))
    new.write_bytes(member(NEW))
    assert run(["diff", str(old), str(new), "-o", str(delta)]) == 0
    monkeypatch.setattr(codings, "present", lambda: frozenset({CodingId.XZ}))
    assert run(["patch", str(old), str(delta), "-o", str(out)]) != 0
    assert "deflate-zlib" in capsys.readouterr().err
    assert not out.exists()


# ---- what is sent --------------------------------------------------------------------------------------------------


def by_blocks(data: bytes, at: int) -> bytes:
    """A member whose blocks end where no compressor here ends them."""
    worker = zlib.compressobj(9, zlib.DEFLATED, -15)
    packed = worker.compress(data[:at]) + worker.flush(zlib.Z_BLOCK) + worker.compress(data[at:]) + worker.flush()
    return b"\x1f\x8b\x08\0\0\0\0\0\2\3" + packed + struct.pack("<II", zlib.crc32(data), len(data))


PLAIN: dict[str, dict[str, Callable[[bytes], bytes]]] = {
    "nothing compressed": {f"f{number}": lambda data: data[4:] for number in range(3)},
    "damaged": {f"f{number}.gz": lambda data: member(data)[:-3] for number in range(5)},
    "nothing in common": {"f.gz": lambda data: member(words(data == NEW, 9000))},
    "tiny": {"f.gz": lambda data: member(b"version %d" % (data == NEW) * 20)},
    "unknown": {f"f{number}.gz": partial(by_blocks, at=5000 + 100 * number) for number in range(6)},
    "all": CONTENTS,
}


@pytest.mark.parametrize("kind", PLAIN)
def test_never_larger(tmp_path: Path, kind: str) -> None:
    """Whatever is in the files; and the same bytes for any number of threads."""
    trees = Trees(tmp_path, PLAIN[kind])
    plain = trees.pack(PackOptions(encoders=frozenset()))
    assert trees.pack().package <= plain.package + 64
    first = trees.package.read_bytes()
    trees.pack(PackOptions(jobs=3))
    assert trees.package.read_bytes() == first
    if kind != "all":
        assert not any(record.new_view for record in trees.files().values())
        manifest = next(inspect_package(str(trees.package)).entries).record
        assert isinstance(manifest, Manifest)
        assert "view-parts" not in manifest.needs
        assert plain.ram == trees.pack().ram


def test_why_there_is_no_view(tmp_path: Path) -> None:
    """In `inspect`, as long as it costs next to nothing."""
    trees = Trees(tmp_path, PLAIN["unknown"])
    trees.pack()
    notes = [record.note for record in trees.files().values() if record.note]
    assert notes == ["0/1 reproduced: gzip"]
    assert "0/1 reproduced: gzip" in succeed("inspect", trees.package)


def test_a_note_is_no_reason_to_make_a_large_package_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trees = Trees(tmp_path, PLAIN["unknown"])
    monkeypatch.setattr("otastream.planning.NOTED_MAX", 0)
    monkeypatch.setattr("otastream.sides.Work.settle", lambda _: pytest.fail("packages are compared"))
    trees.pack()
    assert not [record.note for record in trees.files().values() if record.note]


def test_what_the_boards_have_decides(tmp_path: Path) -> None:
    trees = Trees(tmp_path, CONTENTS | MORE)
    made = trees.pack()
    files = trees.files()
    assert [name for name in files if files[name].new_view] == sorted(CONTENTS)
    manifest = next(inspect_package(str(trees.package)).entries).record
    assert isinstance(manifest, Manifest)
    assert {"deflate-zlib", "view-parts"} < set(manifest.needs)
    assert not {"xz-liblzma", "zstd-1.5.4"} & set(manifest.needs)
    small = trees.pack(PackOptions(ram=512 << 10))
    assert small.ram <= 512 << 10 < made.ram
    assert not any(record.new_view for record in trees.files().values())


def test_the_cache(tmp_path: Path) -> None:
    """What is kept depends on what the boards have."""
    trees = Trees(tmp_path, CONTENTS)
    cache = str(tmp_path / "cache")
    first = trees.pack(PackOptions(cache=cache))
    bytes_ = trees.package.read_bytes()
    again = trees.pack(PackOptions(cache=cache))
    assert (first.cached, again.cached) == (0, len(CONTENTS) + 1)
    assert trees.package.read_bytes() == bytes_
    trees.pack(PackOptions(cache=cache, encoders=frozenset()))
    assert not any(record.new_view for record in trees.files().values())
    trees.pack(PackOptions(cache=cache))
    assert trees.package.read_bytes() == bytes_


def test_xref_beside_views_and_inside(tmp_path: Path, applier: Applier) -> None:
    trees = Trees(tmp_path, {"mod.ko.gz": CONTENTS["mod.ko.gz"]})
    beside = {}
    for effort in (5, 9):
        trees.pack(PackOptions(effort=effort))
        files = trees.files()
        beside[effort] = files["plain"].engine
        assert (files["mod.ko.gz"].new_view, files["mod.ko.gz"].engine) == (View.PARTS, EngineId.XREF)
        trees.apply(applier)
    assert beside == {5: EngineId.BSDIFF, 9: EngineId.XREF}


def test_xref_inside_takes_no_more_memory(tmp_path: Path) -> None:
    """What the codec has less is what the engine has."""
    trees = Trees(tmp_path, {"mod.ko.gz": CONTENTS["mod.ko.gz"]})
    for side in (trees.old, trees.new):
        (side / "plain").unlink()  # a delta of the same would be of use to that of the module
    found = trees.pack()
    other = trees.pack(PackOptions(engine="bsdiff"))
    assert found.package < other.package
    assert found.window_log < other.window_log
    assert other.ram <= found.ram <= VIEW_RAM


@pytest.mark.parametrize("beside", ["new", "deltas", "small"])
def test_where_xref_inside_does_not_pay(tmp_path: Path, beside: str) -> None:
    """All that is new, and all deltas, would be larger with the window that it leaves to the codec; deltas of small
    files have much in common.
    """
    trees = Trees(tmp_path, {"mod.ko.gz": CONTENTS["mod.ko.gz"]})
    if beside == "new":
        write(trees.new / "added", words(5, 20_000))
    elif beside == "deltas":
        for seed, side in enumerate((trees.old, trees.new)):
            write(side / "large", changed(random.Random(6).randbytes(4_000_000), seed))
    else:
        trees = Trees(tmp_path, CONTENTS)
    trees.pack()
    made = trees.files()["mod.ko.gz"]
    assert (made.new_view, made.engine) == (View.PARTS, EngineId.BSDIFF)


# ---- what is found -------------------------------------------------------------------------------------------------


def found(data: bytes) -> list[bytes | None]:
    return [part.raw for part in scan.scan(memoryview(data)).parts]


def test_members_are_found_in_any_archive() -> None:
    wanted = [data for name, data in members(0).items() if name != "icon.png"]
    assert found(b"a stub in front" + archive(members(0))) == wanted
    assert found(archive(members(0), described=True)) == wanted
    inner = archive({"a": words(1, 500)})
    assert found(archive({"in.png": inner, "b": words(2, 500)})) == [words(1, 500), words(2, 500)]


def test_blocks_of_xz() -> None:
    """By the program with several blocks, with a filter in front, and what liblzma makes by itself."""
    data = words(1, 60_000)
    assert found(_piped(data, "xz", "-T1", "--block-size=100000")) == [
        data[at : at + 100_000] for at in range(0, len(data), 100_000)
    ]
    assert found(_piped(data, "xz", "--arm", "--lzma2=preset=6,dict=256KiB", "--check=sha256")) == [data]
    assert found(lzma.compress(data, preset=0, check=lzma.CHECK_NONE)) == [data]
    noise = random.Random(1).randbytes(70_000)  # chunks that are stored
    assert found(b"front" + lzma.compress(noise + data)) == [noise + data]


def test_frames_of_zstd() -> None:
    data = words(1, 60_000)
    assert found(b"front" + zstd(data) + zstd(bytes(100_000), 3) + zstd(data[:200], 1)) == [data, data[:200]]
    assert found(_piped(data, "zstd", "-q", "--no-check", "--stream-size", str(len(data)))) == [data]
    assert found(_piped(data, "zstd", "-q")) == []  # nobody knows how long it was going to be


@given(data=st.data())
def test_damaged_files(data: st.DataObject) -> None:
    """Whatever is broken, looking inside ends without an error."""
    good = data.draw(st.sampled_from(_GOOD))
    broken = bytearray(good)
    for _ in range(data.draw(st.integers(1, 4))):
        broken[data.draw(st.integers(0, len(good) - 1) | st.integers(0, 60))] = data.draw(st.integers(0, 255))
    for old, new in ((bytes(broken), good), (good, bytes(broken[: data.draw(st.integers(0, len(good)))]))):
        expand(old, new, allowed=ALL)


_SHORT = words(3, 400)
_GOOD = (archive({"a": _SHORT}), archive({"a": _SHORT}, described=True), xz(_SHORT), zstd(_SHORT), member(_SHORT))


def test_more_codings_than_a_front_may_have() -> None:
    """The rest is sent as it is."""
    kinds = [{"level": level} for level in range(1, 10)] + [{"level": level, "memLevel": 9} for level in (6, 9)]
    kinds += [{"level": 9, "strategy": strategy} for strategy in range(1, 5)]

    def packed(edit: Callable[[bytes], bytes]) -> bytes:
        texts = (edit(words(number, 9000)) for number in range(len(kinds)))
        made = b"".join(member(text, **kind) for text, kind in zip(texts, kinds, strict=True))
        return made + b"".join(xz(edit(words(number, 2 << number))) for number in range(9, 15))

    made = expand(packed(lambda text: text), packed(lambda text: changed(text, 2)), allowed=ALL)
    assert made is not None
    assert not isinstance(made, str)
    assert made.note.endswith(" sent as they are")
    assert not made.note.endswith(" 0 sent as they are")
    made.front.encode()
    assert len(made.front.encodings) == CODINGS_MAX


def test_a_part_that_no_board_has_the_memory_for() -> None:
    old, new = member(OLD) + xz(OLD), member(NEW) + xz(NEW)
    made = expand(old, new, allowed=ALL, memory=300_000)
    assert made is not None
    assert not isinstance(made, str)
    assert made.note.startswith("gzip, xz: ")
    assert made.note.endswith(" % reproduced, 1 parts recompressed, 0 kept, 1 sent as they are")
    assert str(expand(xz(OLD), xz(NEW), allowed=ALL, memory=300_000)).startswith("needs ")


@pytest.mark.parametrize("at", [0, 1, MAGIC_READ - 4, MAGIC_READ - 3, MAGIC_READ - 1, MAGIC_READ, 2 * MAGIC_READ - 2])
def test_magics_are_found_wherever_they_are(tmp_path: Path, at: int) -> None:
    path = tmp_path / "f"
    for magic in scan.MAGICS:
        path.write_bytes(bytes(at) + magic + bytes(40))
        assert holds_magic(bytes(path), scan.MAGICS)
    path.write_bytes(bytes(at) + b"\x1f\x8b")
    assert not holds_magic(bytes(path), scan.MAGICS)
