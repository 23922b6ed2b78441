"""The corpus's root file systems as squashfs, 40 to 50 MB each (make board-squashfs): from one UBI volume to another
within the memory that is promised; compared byte for byte, mounted and compared again.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from board import media
from board.machine import Job, Virt
from board.provide import TREE
from board.releases import MIB, package, tree
from board.rig import Bench
from board.test_ram import used
from board.test_views import CODINGS, LIMIT_KIB, program
from otastream.config import Image
from otastream.options import BOARD_ENCODERS
from otastream.views import codings
from scripts.corpus import fetch

pytestmark = [pytest.mark.full, pytest.mark.usefixtures("pnand")]

LEB = 126976
"""Bytes of a logical erase block of pnand's geometry."""
SPARE = 60
"""Blocks that UBI has for itself and for bad ones."""
PATIENCE = 7200
"""Seconds: the emulated processor compresses up to 160 MB, by liblzma at its preset 6."""


@pytest.mark.parametrize("name", ["gzip", "xz", "zstd"])
def test_a_root_file_system(bench: Bench, tmp_path: Path, name: str) -> None:
    """Packed by the usual options for boards with this encoder."""
    if CODINGS[name] not in codings.present():
        pytest.skip(f"no library for {name} on this machine")
    pair, contents = fetch(f"squashfs-{name}"), fetch("rootfs")
    top = tmp_path / "top"
    top.mkdir()
    image = Image(old=str(pair.old), new=str(pair.new), source="/dev/ubi0_0", targets=("/dev/ubi0_1",), kind="ubi")
    made = package(
        top / "p.ota",
        images=(image,),
        encoders=BOARD_ENCODERS | {CODINGS[name]},
        cache=str(TREE / "build/board-tests/deltas"),
    )
    sent, size = made.stat().st_size, pair.new.stat().st_size
    print(f"squashfs {name}: {sent:,} bytes for an image of {size:,}")
    assert sent < size // 20
    for side in (pair.old, pair.new):
        shutil.copyfile(side, top / side.name)
    disk = media.ext4(tmp_path / "disk.img", top, mib=(2 * size // MIB + sent // MIB) * 9 // 8 + 24)
    blocks = -(-max(pair.old.stat().st_size, size) // LEB)
    chip = media.Nand(tmp_path / "chip", parts=(2 * blocks + SPARE,)).make(bad=[3, 50])
    job = Job(
        chip.load
        + f"""
        mkdir /tmp/image
        mount -t ext4 -o ro /dev/vdb /mnt
        ubiattach -m 0 -d 0 >/dev/null
        ubimkvol /dev/ubi0 -N a -S {blocks} >/dev/null
        ubimkvol /dev/ubi0 -N b -S {blocks} >/dev/null
        ubiupdatevol /dev/ubi0_0 /mnt/old
        chmod +x /job/run
        /job/bound -a {LIMIT_KIB[name]} /job/run --progress none -x /mnt/p.ota
        cmp -n {size} /dev/ubi0_1 /mnt/new
        ubiblock --create /dev/ubi0_1
        mount -t squashfs -o ro /dev/ubiblock0_1 /tmp/image
        same_tree /job/tree /tmp/image
        umount /tmp/image
        """,
        {"tree": tree(contents.new), "run": program(name)},
        ("disk", "ext4", "ubifs", "squashfs"),
    )
    result = bench.succeed(Virt([chip.path, disk], ram=160, synced=False), job, timeout=PATIENCE)
    [text] = result.find("@@BOUND")
    print(f"squashfs {name}: {text}; {size / MIB:.0f} MiB")
    assert (used(text).code, used(text).address_space) == (0, LIMIT_KIB[name])
