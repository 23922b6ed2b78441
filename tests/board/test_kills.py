"""The machine is switched off (SIGKILL of the emulator) within an update, at a random write to its disks, many times.

``make kills-board`` asks for more kills than a normal run. A boot takes up the update that was killed, compares, puts
old back, begins anew and is killed; or it is killed while it takes up the update. A kill counts if the next boot finds
that the program was between its first write and its end: the status file says so.
"""

from __future__ import annotations

import os
import random
from collections import Counter
from pathlib import Path

import pytest

from board import media
from board.machine import Job, Machine, Virt, WriteNumber
from board.releases import MIB, Workshop, folder_pair, image_pair, package, tree
from board.rig import Bench
from board.test_in_place import BLOCK, in_place, moved
from otastream.config import Folder

KILLS = int(os.environ.get("OTA_BOARD_KILLS", "2"))
# what a job defines before: reset (old on the medium), check (new is there); the second disk or the only one is /mnt
LOOP = """
update() {
    echo @@BEGIN
    expect 0 apply -x /job/p.ota --status /mnt/status "$@"
    echo @@END
    grep -q state=done /mnt/status
    check
    [ -z "$(find /mnt -name '*otastream*')" ] || fail "left: $(find /mnt -name '*otastream*')"
    rm /mnt/status
}
if [ -e /mnt/running ]; then
    echo "@@STATE $(cat /mnt/status 2>/dev/null | head -n 1)"
    update "$@"
fi
reset
touch /mnt/running
again
update "$@"
umount /mnt
"""


def killed(bench: Bench, board: Machine, job: Job) -> None:
    """Kill until enough kills were in the midst of an update; then let it end."""
    rng = random.Random(bench.log.name)
    clean = WriteNumber(None)
    assert bench.run(board, job, cut=clean).code == 0, f"console in {bench.log}"
    states: Counter[str] = Counter()
    was_killed, recoveries = False, 0
    while states["state=writing"] < KILLS:
        # a boot that has to take up an update first makes more writes
        cut = WriteNumber(1 + rng.randrange(clean.seen * (3 if was_killed else 2) // 2))
        result = bench.run(board, job, cut=cut)
        states.update(result.find("@@STATE"))
        recoveries += was_killed and result.code is None and result.lines.count("@@BEGIN") == 1
        assert result.code in (0, None), f"exit {result.code}; console in {bench.log}\n" + "\n".join(result.lines[-40:])
        was_killed = result.code is None
        print(f"{sum(states.values())} {dict(states)}, {recoveries} while taken up", flush=True)
    bench.succeed(board, job)
    print(f"{clean.seen} writes an update; {states['state=writing']} kills, {recoveries} of them while it was taken up")


def test_a_folder(bench: Bench, tmp_path: Path) -> None:
    """On ext4, with scripts: they see 0 also after a kill; a neighbour of the folder stays as it is."""
    log = 'echo "{} $OTA_STATUS" >>"$OTA_ROOT/log"; sync "$OTA_ROOT/log"'
    scripts = {when: log.format(when) for when in ("begin", "inline", "end")}
    old, new = folder_pair(tmp_path, files=30, size=30_000)
    made = package(tmp_path / "p.ota", folders=(Folder(old=str(old), new=str(new), dest="/config"),), scripts=scripts)
    top = tmp_path / "disk"
    top.mkdir()
    old.rename(top / "old")
    (top / "keep").write_bytes(b"not part of the update\n")
    disk = media.ext4(tmp_path / "disk.img", top, mib=32)
    job = Job(
        """
        check() {
            same_tree /job/tree /mnt/config
            again
            same_tree /job/tree /mnt/config
            [ "$(cat /mnt/keep)" = "not part of the update" ]
            tail -n 3 /mnt/log | tr '\\n' , | grep -qx "begin 0,inline 0,end 0," || fail "$(cat /mnt/log)"
        }
        reset() {
            rm -rf /mnt/config /mnt/log
            cp -a /mnt/old /mnt/config
        }
        again() {
            umount /mnt
            mount -t ext4 /dev/vda /mnt
        }
        mount -t ext4 /dev/vda /mnt
        set -- --root /mnt
        """
        + LOOP,
        {"p.ota": made, "tree": tree(new)},
        ("disk", "ext4"),
    )
    killed(bench, Virt([disk], synced=False), job)


@pytest.mark.usefixtures("pnand")
def test_a_kernel_in_place(bench: Bench, shop: Workshop, tmp_path: Path) -> None:
    """A part of a kernel on NAND with bad blocks; the scratch is on a disk. Its halves change places: much is kept."""
    old, new = image_pair(bench.kit, 1 * MIB)
    new = moved(old, new, len(new))
    chip = media.Nand(tmp_path / "chip", parts=(16, 8)).make(bad=[0, 7, 11])
    neighbour = image_pair(bench.kit, 5 * BLOCK + 100, seed=5)[1]
    chip.write(1, neighbour)
    (tmp_path / "empty").mkdir()
    disk = media.ext4(tmp_path / "disk", tmp_path / "empty", mib=16)
    made = in_place(shop, tmp_path / "p.ota", old, new, "/dev/mtd0", erase=BLOCK)
    job = Job(
        chip.load
        + f"""
        check() {{
            [ "$(cat /sys/module/pnand/parameters/illegal)" = 0 ] || fail "a page was programmed twice"
            nanddump -q --bb=skipbad -l {len(new)} /dev/mtd0 >/tmp/back
            cmp -n {len(new)} /tmp/back /job/new || fail "another image"
        }}
        reset() {{
            flash_erase -q /dev/mtd0 0 0 2>/dev/null
            nandwrite -q -p -m /dev/mtd0 /job/old >/dev/null
        }}
        again() {{
            umount /mnt
            mount -t ext4 /dev/vdb /mnt
        }}
        mount -t ext4 /dev/vdb /mnt
        set -- -t /mnt
        """
        + LOOP,
        {"p.ota": made, "old": old, "new": new},
        ("disk", "ext4"),
    )
    killed(bench, Virt([chip.path, disk], synced=False), job)
    assert chip.bad() == [0, 7, 11]
    assert chip.read(0, len(new)) == new
    assert chip.read(1, len(neighbour)) == neighbour
