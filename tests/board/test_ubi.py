"""UBI volumes: static and dynamic ones are replaced, in full and by deltas, and the file systems on them mount."""

from __future__ import annotations

from pathlib import Path

import pytest

from board import media
from board.machine import Job, Virt
from board.releases import KIB, Workshop, folder_pair, image_pair, package, tree
from board.rig import FULL, Bench
from otastream.errors import Code

pytestmark = pytest.mark.usefixtures("pnand")

LEB = 126976
"""A logical erase block of pnand's geometry: two pages of a block hold UBI's headers."""

VOLUMES = """
ubiattach -m 0 -d 0 >/dev/null
if [ ! -e /dev/ubi0_3 ]; then
    ubimkvol /dev/ubi0 -N rootA -s 3MiB >/dev/null
    ubimkvol /dev/ubi0 -N rootB -s 3MiB >/dev/null
    ubimkvol /dev/ubi0 -N data -S 24 >/dev/null
    ubimkvol /dev/ubi0 -N boot -t static -s 1500KiB >/dev/null
    ubiupdatevol /dev/ubi0_0 /job/root.old
    ubiupdatevol /dev/ubi0_3 /job/boot.old
fi
echo "@@MARKERS $(cat /sys/class/ubi/ubi0_?/upd_marker | tr -d '\\n')"
"""
"""A blank chip is formatted by attaching it; the first boot makes and fills the volumes."""


def test_volumes_that_are_cut(bench: Bench, shop: Workshop, tmp_path: Path) -> None:
    """A squashfs as delta from the other slot, a ubifs in full, a static volume: one package, cut in each."""
    old, new = folder_pair(tmp_path, files=40, size=60_000)
    root_old = media.squashfs(tmp_path / "old.sqsh", old).read_bytes()
    root_new = media.squashfs(tmp_path / "new.sqsh", new).read_bytes()
    data = media.ubifs(tmp_path / "data.ubifs", new, block=LEB, blocks=24).read_bytes()
    boot_old, boot_new = image_pair(bench.kit, 900 * KIB)
    images = (
        shop.one_image("root", root_new, "/dev/ubi0_1", old=root_old, source="/dev/ubi0_0", kind="ubi"),
        shop.one_image("data", data, "/dev/ubi0_2", kind="ubi"),
        shop.one_image("boot", boot_new, "/dev/ubi0_3", kind="ubi"),
    )
    chip = media.Nand(tmp_path / "chip", parts=(160,)).make(bad=[3, 50, 90], weak={70: "e", 30: "p"})
    job = Job(
        chip.load
        + VOLUMES
        + f"""
        expect 0 apply -x /job/p.ota
        [ "$(cat /sys/class/ubi/ubi0_?/upd_marker | tr -d '\\n')" = 0000 ]
        [ "$(cat /sys/class/ubi/ubi0_3/data_bytes)" = {len(boot_new)} ]
        cmp -n {len(boot_new)} /dev/ubi0_3 /job/boot.new
        same /job/root.old /dev/ubi0_0
        ubiblock --create /dev/ubi0_1
        mount -t squashfs -o ro /dev/ubiblock0_1 /mnt
        same_tree /job/tree /mnt
        expect 0 apply -x /job/p.ota
        umount /mnt
        mount -t ubifs ubi0:data /mnt
        same_tree /job/tree /mnt
        expect {Code.NODE.value} apply -x /job/other.ota
        same_tree /job/tree /mnt
        umount /mnt
        expect {Code.NODE.value} apply -x /job/raw.ota
        """,
        {
            "p.ota": package(tmp_path / "p.ota", images=images),
            "other.ota": shop.image("other", root_new, "/dev/ubi0_2", kind="ubi"),
            "raw.ota": shop.image("raw", boot_old, "/dev/mtd0"),
            "root.old": root_old,
            "boot.old": boot_old,
            "boot.new": boot_new,
            "tree": tree(new),
        },
        ("disk", "ubifs", "squashfs"),
    )
    results = bench.survive(Virt([chip.path], ram=128), job)
    markers = [mark for result in results for mark in result.find("@@MARKERS")]
    assert markers[0] == "0000"
    assert any("1" in mark for mark in markers), f"no volume was cut in its update: {markers}"
    assert {3, 50, 90} <= set(chip.bad()) <= {3, 30, 50, 70, 90}


def test_exact_cuts_of_a_volume(bench: Bench, shop: Workshop, tmp_path: Path) -> None:
    """The n-th flash operation is torn; attach again, run again, and the volume is the new one."""
    old, new = image_pair(bench.kit, 300 * KIB)
    chip = media.Nand(tmp_path / "chip", parts=(64,)).make(bad=[5, 33])
    job = Job(
        chip.load
        + f"""
        knob=/sys/module/pnand/parameters
        ubiattach -m 0 -d 0 >/dev/null
        ubimkvol /dev/ubi0 -N a -s 1MiB >/dev/null
        ubimkvol /dev/ubi0 -N b -s 1MiB >/dev/null
        ubiupdatevol /dev/ubi0_0 /job/old
        cuts=0 marked=0
        for n in $(seq {1 if FULL else 4} {9 if FULL else 29} 170); do
            ubiupdatevol /dev/ubi0_1 /job/old
            echo $n >$knob/cut
            apply -x /job/p.ota >/tmp/words 2>&1 && got=0 || got=$?
            off=$(cat $knob/cut)
            ubidetach -d 0
            echo 0 >$knob/cut
            ubiattach -m 0 -d 0 >/dev/null
            [ $off = -1 ] || break
            [ $got != 0 ] || fail "success without power, cut at $n"
            cuts=$((cuts + 1))
            marked=$((marked + $(cat /sys/class/ubi/ubi0_1/upd_marker)))
            apply -x /job/p.ota >/tmp/words 2>&1 || {{ cat /tmp/words; fail "after the cut at operation $n"; }}
            same /job/new /dev/ubi0_1
        done
        same /job/old /dev/ubi0_0
        echo "@@CUTS $cuts $marked"
        """,
        {
            "p.ota": shop.image("p", new, "/dev/ubi0_1", old=old, source="/dev/ubi0_0", kind="ubi"),
            "old": old,
            "new": new,
        },
        ("disk", "ubi"),
    )
    cuts, marked = map(int, bench.succeed(Virt([chip.path]), job).find("@@CUTS")[0].split())
    assert cuts >= 3
    assert marked >= 1
    assert chip.bad() == [5, 33]
