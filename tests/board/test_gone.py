"""Targets that a real kernel takes away in the midst of an update, while the wall clock jumps."""

from __future__ import annotations

from pathlib import Path

import pytest

from board import media
from board.machine import Job, Virt
from board.releases import KIB, Workshop, image_pair, package
from board.rig import Bench
from otastream.errors import Code
from otastream.model import Codec


@pytest.mark.usefixtures("pnand")
def test_targets_that_go_while_the_clock_jumps(bench: Bench, shop: Workshop, tmp_path: Path) -> None:
    """A disk is unbound from its driver when half of its image has come; the begin script detaches UBI.

    Each is a named error in exit code and status file, and with the target back the same package ends in new.
    """
    old, new = image_pair(bench.kit, 600 * KIB)
    disk = shop.file("disk", old.ljust(1024 * KIB, b"d"))
    (tmp_path / "empty").mkdir()
    kept = media.ext4(tmp_path / "kept", tmp_path / "empty", mib=16)
    chip = media.Nand(tmp_path / "chip", parts=(24,)).make()
    whole = shop.image("disk", new, "/dev/vda", codec=Codec.NONE)
    volume = package(
        tmp_path / "volume.ota",
        images=(shop.one_image("volume", new, "/dev/ubi0_0", kind="ubi"),),
        scripts={"begin": "[ -e /tmp/back ] || ubidetach -d 0", "end": "echo $OTA_STATUS >/tmp/end"},
    )
    half = whole.stat().st_size // 2
    job = Job(
        f"""
        mount -t ext4 /dev/vdb /mnt
        mkdir -p /tmp/ota
        (
            while :; do
                date -s "1970-01-02 00:00:00"
                usleep 20000
                date -s "2037-01-02 00:00:00"
                usleep 20000
            done
        ) >/dev/null &
        clock=$!
        update() {{ apply -x "$@" -t /tmp/ota --status /mnt/status; }}
        status() {{ head -n 1 /mnt/status; sed -n "s/^code=//p; s/^error=//p; s/^target=//p" /mnt/status; }}
        told() {{ [ "$(status | tr '\\n' ' ')" = "$* " ] || fail "the status file says $(status)"; }}

        device=$(basename "$(readlink -f /sys/block/vda/device)")
        driver=/sys/bus/virtio/drivers/virtio_blk
        pulled_out() {{
            head -c {half} /job/disk.ota
            echo $device >$driver/unbind
            tail -c +{half + 1} /job/disk.ota
        }}
        pulled_out | expect {Code.IO.value} update -
        told state=failed-after-write {Code.IO.value} IO /dev/vda
        echo $device >$driver/bind
        expect 0 update /job/disk.ota
        told state=done 0 "" ""
        same /job/new /dev/vda

        {chip.load} path=/dev/vdc
        ubiattach -m 0 -d 0 >/dev/null
        ubimkvol /dev/ubi0 -N a -s 1MiB >/dev/null
        expect {Code.MISSING.value} update /job/volume.ota
        told state=failed-after-write {Code.MISSING.value} MISSING /dev/ubi0_0
        [ "$(cat /tmp/end)" = -1 ]
        touch /tmp/back
        ubiattach -m 0 -d 0 >/dev/null
        expect 0 update /job/volume.ota
        told state=done 0 "" ""
        [ "$(cat /tmp/end)" = 0 ]
        same /job/new /dev/ubi0_0
        kill $clock
        """,
        {"disk.ota": whole, "volume.ota": volume, "new": new},
        ("disk", "ext4", "ubi"),
    )
    bench.succeed(Virt([disk, kept, chip.path]), job)
    assert disk.read_bytes() == new.ljust(1024 * KIB, b"d")
