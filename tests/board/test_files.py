"""Folders on mounted file systems: ext4 on a disk and ubifs on NAND; scripts; cuts in the middle."""

from __future__ import annotations

from pathlib import Path

import pytest

from board import media
from board.machine import Job, Virt, text_seen
from board.releases import folder_pair, package, tree
from board.rig import FULL, Bench
from otastream.config import Folder
from otastream.errors import Code

SCRIPTS = {
    "begin": 'echo "begin $OTA_STATUS" >>"$OTA_ROOT/log"; sync "$OTA_ROOT/log"; [ ! -e "$OTA_ROOT/refuse" ]',
    "inline": 'echo "inline $OTA_STATUS" >>"$OTA_ROOT/log"; [ ! -e "$OTA_ROOT/break" ]',
    "end": 'echo "end $OTA_STATUS" >>"$OTA_ROOT/log"',
}


def folder_package(folder: Path, *, files: int) -> tuple[Path, Path, Path]:
    """old, new, and the package with scripts between them for /config."""
    old, new = folder_pair(folder, files=files, size=30_000)
    folders = (Folder(old=str(old), new=str(new), dest="/config"),)
    return old, new, package(folder / "p.ota", folders=folders, scripts=SCRIPTS)


def on_disk(folder: Path, old: Path) -> Path:
    """An ext4 disk with old at /config and a neighbour."""
    top = folder / "disk"
    top.mkdir()
    old.rename(top / "config")
    (top / "keep").write_bytes(b"not part of the update\n")
    return media.ext4(folder / "disk.img", top, mib=32)


def test_scripts_learn_of_failures(bench: Bench, tmp_path: Path) -> None:
    """A begin script that fails stops everything; an inline script that fails comes late; the end script sees -1."""
    old, new, made = folder_package(tmp_path, files=3)
    old_tree, new_tree = tree(old), tree(new)
    disk = on_disk(tmp_path, old)
    job = Job(
        f"""
        mount -t ext4 /dev/vda /mnt
        log() {{ tr '\\n' , </mnt/log; rm /mnt/log; }}
        touch /mnt/refuse
        expect {Code.BEGIN_SCRIPT.value} apply -x /job/p.ota --root /mnt
        [ "$(log)" = "begin 0,end -1," ]
        same_tree /job/old /mnt/config
        rm /mnt/refuse
        touch /mnt/break
        expect {Code.SCRIPT.value} apply -x /job/p.ota --root /mnt
        [ "$(log)" = "begin 0,inline 0,end -1," ]
        rm /mnt/break
        expect 0 apply -x /job/p.ota --root /mnt
        [ "$(log)" = "begin 0,inline 0,end 0," ]
        same_tree /job/new /mnt/config
        """,
        {"p.ota": made, "old": old_tree, "new": new_tree},
        ("disk", "ext4"),
    )
    bench.succeed(Virt([disk]), job)


@pytest.mark.usefixtures("pnand")
def test_a_folder_on_ubifs_that_is_cut(bench: Bench, tmp_path: Path) -> None:
    old, new, made = folder_package(tmp_path, files=40)
    chip = media.Nand(tmp_path / "chip", parts=(128,)).make(bad=[8, 64], weak={100: "e"})
    top = tmp_path / "top"
    top.mkdir()
    before = tree(old)
    old.rename(top / "config")
    data = media.ubifs(tmp_path / "data", top, block=126976, blocks=100)
    job = Job(
        chip.load
        + """
        ubiattach -m 0 -d 0 >/dev/null
        if [ ! -e /dev/ubi0_0 ]; then
            ubimkvol /dev/ubi0 -N data -S 100 >/dev/null
            ubiupdatevol /dev/ubi0_0 /job/data
            mount -t ubifs ubi0:data /mnt
            same_tree /job/old /mnt/config
        else
            mount -t ubifs ubi0:data /mnt
        fi
        expect 0 apply -x /job/p.ota --root /mnt
        same_tree /job/new /mnt/config
        [ -z "$(find /mnt -name '*otastream*')" ]
        umount /mnt
        mount -t ubifs ubi0:data /mnt
        same_tree /job/new /mnt/config
        umount /mnt
        ubidetach -d 0
        [ "$(cat /sys/module/pnand/parameters/illegal)" = 0 ]
        """,
        {"p.ota": made, "data": data, "old": before, "new": tree(new)},
        ("disk", "ubifs"),
    )
    bench.survive(Virt([chip.path]), job)


@pytest.mark.usefixtures("pnand")
def test_exact_cuts_of_a_folder_on_ubifs(bench: Bench, tmp_path: Path) -> None:
    """The n-th flash operation is torn while files are replaced; mount again, run again: the new folder, whole."""
    old, new, made = folder_package(tmp_path, files=4)
    chip = media.Nand(tmp_path / "chip", parts=(64,)).make(bad=[8])
    top = tmp_path / "top"
    top.mkdir()
    old.rename(top / "config")
    data = media.ubifs(tmp_path / "data", top, block=126976, blocks=40)
    job = Job(
        chip.load
        + f"""
        knob=/sys/module/pnand/parameters
        ubiattach -m 0 -d 0 >/dev/null
        ubimkvol /dev/ubi0 -N data -S 40 >/dev/null
        cuts=0
        for n in $(seq 1 {2 if FULL else 23} 400); do
            ubiupdatevol /dev/ubi0_0 /job/data
            mount -t ubifs ubi0:data /mnt
            echo $n >$knob/cut
            apply -x /job/p.ota --root /mnt >/tmp/words 2>&1 && got=0 || got=$?
            off=$(cat $knob/cut)
            umount /mnt
            ubidetach -d 0
            echo 0 >$knob/cut
            ubiattach -m 0 -d 0 >/dev/null
            [ $off = -1 ] || break
            mount -t ubifs ubi0:data /mnt
            cuts=$((cuts + 1))
            apply -x /job/p.ota --root /mnt >/tmp/words 2>&1 || {{ cat /tmp/words; fail "after the cut at $n"; }}
            same_tree /job/new /mnt/config
            umount /mnt
        done
        echo "@@CUTS $cuts"
        """,
        {"p.ota": made, "data": data, "new": tree(new)},
        ("disk", "ubifs"),
    )
    assert int(bench.succeed(Virt([chip.path], ram=128), job).find("@@CUTS")[0]) >= 3


@pytest.mark.full
def test_a_cut_in_the_begin_script(bench: Bench, tmp_path: Path) -> None:
    """Between preflight and the first write."""
    old, new, _ = folder_package(tmp_path, files=3)
    folders = (Folder(old=str(old), new=str(new), dest="/config"),)
    made = package(tmp_path / "q.ota", folders=folders, scripts={"begin": "echo @@BEGIN; sync; sleep 2"})
    old_tree = tree(old)
    disk = on_disk(tmp_path, old)
    apply = "mount -t ext4 /dev/vda /mnt; expect 0 apply -x /job/p.ota --root /mnt; umount /mnt"
    board = Virt([disk])
    files: dict[str, Path | bytes] = {"p.ota": made, "old": old_tree, "new": tree(new)}
    bench.cut(board, Job(apply, files, ("disk", "ext4")), text_seen("@@BEGIN"))
    bench.succeed(board, Job("mount -t ext4 /dev/vda /mnt; same_tree /job/old /mnt/config", files, ("disk", "ext4")))
    bench.succeed(board, Job(apply, files, ("disk", "ext4")))
    bench.succeed(board, Job("mount -t ext4 /dev/vda /mnt; same_tree /job/new /mnt/config", files, ("disk", "ext4")))
