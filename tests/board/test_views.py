"""Deltas inside of compressed images, on the board: onto real media, within the memory that the package states."""

from __future__ import annotations

import struct
import subprocess
import sys
import zipfile
import zlib
from pathlib import Path

import pytest

from board import media
from board.machine import Job, Virt
from board.provide import TREE
from board.releases import MIB, Workshop, folder_pair, image_pair, package, tree
from board.rig import Bench
from board.test_ram import used
from otastream.config import Folder
from otastream.inspection import inspect_package
from otastream.model import CodingId, File
from otastream.views import codings

LIMIT_KIB = {"gzip": 1536, "xz": 6144, "zstd": 6144, "lz4": 1792, "lzo": 2304}
"""Address space for applying, with blocks of 128 KiB."""

CODINGS = {
    "gzip": CodingId.DEFLATE, "xz": CodingId.XZ, "zstd": CodingId.ZSTD, "lz4": CodingId.LZ4, "lzo": CodingId.LZO,
}  # fmt: skip


def squashed(folder: Path, top: Path, name: str) -> bytes:
    out = folder / f"{top.name}.{name}"
    args: list[str | Path] = ["mksquashfs", top, out, "-comp", name, "-noappend", "-quiet", "-no-progress", "-all-root"]
    subprocess.run(args, check=True, capture_output=True)
    return out.read_bytes()


def program(name: str) -> Path:
    """The board program that has this encoder: the usual one, one with a small library, one with the large ones."""
    others = {"gzip": (), "lz4": ("lz4",), "lzo": ("lzo",)}.get(name, ("xz", "zstd"))
    build = [sys.executable, str(TREE / "scripts/boardbuild.py"), "--encoders", ",".join(["gzip", *others]), "armhf"]
    subprocess.run(build, check=True, capture_output=True)
    return TREE / "build/board" / "-".join(["armhf", *others]) / "otaunpack"


def test_modules_and_archives_of_a_folder(bench: Bench, tmp_path: Path) -> None:
    """As gzip and a zip program make them, within the bound of zlib's."""
    sides = folder_pair(tmp_path, files=12, size=200_000)
    for side in sides:
        contents = [path for path in sorted(side.rglob("*")) if path.is_file() and not path.is_symlink()]
        with zipfile.ZipFile(side / "app.apk", "w", zipfile.ZIP_DEFLATED) as archive:
            for path in contents[::2]:
                archive.write(path, str(path.relative_to(side)))
        for path in contents[1::2]:
            subprocess.run(["gzip", "-n", path], check=True)
    old, new = sides
    top = tmp_path / "top"
    top.mkdir()
    package(top / "p.ota", folders=(Folder(old=str(old), new=str(new), dest="/config"),))
    records = [entry.record for entry in inspect_package(str(top / "p.ota")).entries]
    viewed = [item for item in records if isinstance(item, File) and item.new_view]
    assert len(viewed) > 3
    want = tree(new)
    old.rename(top / "config")
    disk = media.ext4(tmp_path / "disk.img", top, mib=64)
    job = Job(
        f"""
        mount -t ext4 -o ro /dev/vda /mnt
        cp -a /mnt/config /tmp
        /job/bound -a {LIMIT_KIB["gzip"]} /job/otaunpack --progress none -x /mnt/p.ota --root /tmp
        same_tree /job/tree /tmp/config
        """,
        {"tree": want},
        ("disk", "ext4"),
    )
    result = bench.succeed(Virt([disk], ram=192, synced=False), job, timeout=900)
    use = used(result.find("@@BOUND")[0])
    print(f"files with views: {use}")
    assert (use.code, use.address_space) == (0, LIMIT_KIB["gzip"])


@pytest.mark.usefixtures("pnand")
def test_squashfs_images_on_volumes(bench: Bench, shop: Workshop, tmp_path: Path) -> None:
    """One slot to the other by each library; mounted from the volume and compared, within its bound."""
    old, new = folder_pair(tmp_path, files=25, size=200_000)
    names = [name for name, coding in CODINGS.items() if coding in codings.present()]
    files: dict[str, Path | bytes] = {"tree": tree(new)}
    runs = ""
    for name in names:
        images = [squashed(tmp_path, top, name) for top in (old, new)]
        made = shop.image(
            name, images[1], "/dev/ubi0_1", old=images[0], source="/dev/ubi0_0", kind="ubi",
            encoders=frozenset({CODINGS[name]}),
        )  # fmt: skip
        assert made.stat().st_size < len(images[1]) // 3
        files |= {f"{name}.old": images[0], f"{name}.new": images[1], f"{name}.ota": made, f"{name}.run": program(name)}
        runs += f"""
        ubiupdatevol /dev/ubi0_0 /job/{name}.old
        ubiupdatevol /dev/ubi0_1 -t
        chmod +x /job/{name}.run
        /job/bound -a {LIMIT_KIB[name]} /job/{name}.run --progress none -x /job/{name}.ota
        cmp -n {len(images[1])} /dev/ubi0_1 /job/{name}.new
        """
        if name == "gzip":
            runs += """
            ubiblock --create /dev/ubi0_1
            mount -t squashfs -o ro /dev/ubiblock0_1 /mnt
            same_tree /job/tree /mnt
            umount /mnt
            ubiblock --remove /dev/ubi0_1
            """
    chip = media.Nand(tmp_path / "chip", parts=(160,)).make(bad=[3, 50])
    job = Job(
        chip.load
        + f"""
        ubiattach -m 0 -d 0 >/dev/null
        ubimkvol /dev/ubi0 -N a -s 5MiB >/dev/null
        ubimkvol /dev/ubi0 -N b -s 5MiB >/dev/null
        {runs}
        """,
        files,
        ("disk", "ubifs", "squashfs"),
    )
    result = bench.succeed(Virt([chip.path], ram=128), job, timeout=900)
    found = result.find("@@BOUND")
    assert len(found) == len(names)
    for name, text in zip(names, found, strict=True):
        use = used(text)
        print(f"squashfs {name}: {text}")
        assert (use.code, use.address_space) == (0, LIMIT_KIB[name])


@pytest.mark.usefixtures("pnand")
def test_ubifs_images_on_volumes(bench: Bench, shop: Workshop, tmp_path: Path) -> None:
    """Nodes by LZO, as mkfs.ubifs makes them: mounted as ubifs and compared, within the bound of the usual program."""
    if CodingId.LZO not in codings.present():
        pytest.skip("no liblzo2 on this machine")
    old, new = folder_pair(tmp_path, files=12, size=100_000)
    paths = [media.ubifs(tmp_path / f"{top.name}.ubifs", top, block=126976, blocks=40) for top in (old, new)]
    images = [path.read_bytes() for path in paths]
    made = shop.image(
        "ubifs", images[1], "/dev/ubi0_1", old=images[0], source="/dev/ubi0_0", kind="ubi",
        encoders=frozenset({CodingId.LZO}),
    )  # fmt: skip
    assert made.stat().st_size < len(images[1]) // 3
    files: dict[str, Path | bytes] = {
        "tree": tree(new), "old": images[0], "new": images[1], "p.ota": made, "run": program("lzo"),
    }  # fmt: skip
    chip = media.Nand(tmp_path / "chip", parts=(160,)).make(bad=[3, 50])
    job = Job(
        chip.load
        + f"""
        ubiattach -m 0 -d 0 >/dev/null
        ubimkvol /dev/ubi0 -N a -s 6MiB >/dev/null
        ubimkvol /dev/ubi0 -N b -s 6MiB >/dev/null
        ubiupdatevol /dev/ubi0_0 /job/old
        ubiupdatevol /dev/ubi0_1 -t
        chmod +x /job/run
        /job/bound -a {LIMIT_KIB["gzip"]} /job/run --progress none -x /job/p.ota
        cmp -n {len(images[1])} /dev/ubi0_1 /job/new
        mount -t ubifs /dev/ubi0_1 /mnt
        same_tree /job/tree /mnt
        umount /mnt
        """,
        files,
        ("disk", "ubifs"),
    )
    result = bench.succeed(Virt([chip.path], ram=128), job, timeout=900)
    use = used(result.find("@@BOUND")[0])
    print(f"ubifs lzo: {use}")
    assert (use.code, use.address_space) == (0, LIMIT_KIB["gzip"])


def uimage(raw: bytes) -> bytes:
    """A kernel as mkimage wraps what `gzip -n -9` made of it."""
    packed = subprocess.run(["gzip", "-n", "-9"], input=raw, capture_output=True, check=True).stdout
    head = struct.pack(
        ">7I4B32s", 0x27051956, 0, 0, len(packed), 0x8000, 0x8000, zlib.crc32(packed), 5, 2, 2, 1, b"Linux"
    )
    return head[:4] + struct.pack(">I", zlib.crc32(head)) + head[8:] + packed


def test_a_gzip_kernel(bench: Bench, shop: Workshop, tmp_path: Path) -> None:
    """By GNU gzip's encoder, old read through restart points, within the bound of all packages without xz and zstd."""
    old, new = map(uimage, image_pair(bench.kit, 3 * MIB))
    made = shop.image("p", new, "/dev/vdb", old=old, source="/dev/vda", block_buffer=131072)
    assert made.stat().st_size < len(new) // 10
    slots = [tmp_path / "a", tmp_path / "b"]
    for slot in slots:
        slot.write_bytes(old.ljust(4 * MIB, b"\0"))
    job = Job(
        f"/job/bound -a {LIMIT_KIB['gzip']} /job/otaunpack --progress none -x /job/p.ota", {"p.ota": made}, ("disk",)
    )
    result = bench.succeed(Virt([*slots], synced=False), job, timeout=600)
    assert slots[1].read_bytes()[: len(new)] == new
    [text] = result.find("@@BOUND")
    print(f"gzip kernel: {text}")
    assert (used(text).code, used(text).address_space) == (0, LIMIT_KIB["gzip"])
