"""Raw NAND: bad blocks from the factory, blocks that die on the way, two slots, and the power cut in between.

nandsim is the kernel's own simulator (real NAND core, OOB, ECC), but forgets. pnand outlives the machine, and the host
reads its cells.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from board import media
from board.machine import Job, Virt
from board.releases import MIB, Workshop, image_pair
from board.rig import FULL, Bench
from otastream.errors import Code

NANDSIM = (
    "insmod /lib/modules/nandsim.ko first_id_byte=0x2c second_id_byte=0xf1 third_id_byte=0x80 fourth_id_byte=0x1d "
)
BLOCK = 131072


def test_a_raw_update_on_nandsim(bench: Bench, shop: Workshop) -> None:
    """Bad are 1 and 5; 8 fails its second erase, 10 a program in its middle."""
    old, new = image_pair(bench.kit, 2 * MIB)
    too_large = image_pair(bench.kit, 7 * BLOCK, seed=3)[0]
    files: dict[str, Path | bytes] = {
        "old": old,
        "new": new,
        "p.ota": shop.image("p", new, "/dev/mtd0"),
        "large.ota": shop.image("large", too_large, "/dev/mtd1"),
        "mtdblock.ota": shop.image("mtdblock", new[BLOCK : 2 * BLOCK], "/dev/mtdblock0"),
    }
    job = Job(
        NANDSIM
        + f"""badblocks=1,5,64,66 weakblocks=8:1 weakpages={10 * 64 + 33}:1 parts=64,8
        size=$(stat -c %s /job/new)
        old() {{ nandwrite -q -p -m /dev/mtd$1 $2 >/dev/null; }}
        flash_erase -q /dev/mtd0 0 0 2>/dev/null || true
        old 0 /job/old
        nanddump -q --bb=skipbad -l $size -f /tmp/before /dev/mtd0
        cmp -n $(stat -c %s /job/old) /tmp/before /job/old
        [ "$(bad_blocks /dev/mtd0)" = "1 5 " ]
        expect 0 apply -x /job/p.ota
        [ "$(bad_blocks /dev/mtd0)" = "1 5 8 10 " ] || fail "bad blocks are $(bad_blocks /dev/mtd0)"
        nanddump -q --bb=skipbad -l $size -f /tmp/after /dev/mtd0
        cmp -n $size /tmp/after /job/new

        expect 0 apply -x /job/p.ota 2>/tmp/words
        grep -q "1 of them was right already; 0 bytes written" /tmp/words || fail "written again"

        [ "$(bad_blocks /dev/mtd1)" = "0 2 " ]
        old 1 /job/old 2>/dev/null || true
        sha256sum </dev/mtd1ro >/tmp/sum
        expect {Code.TOO_SMALL.value} apply -x /job/large.ota
        [ "$(sha256sum </dev/mtd1ro)" = "$(cat /tmp/sum)" ] || fail "written, though too small"

        expect 0 apply -x /job/mtdblock.ota 2>/tmp/words
        grep -q "name /dev/mtd0 in the package" /tmp/words || fail "no warning of mtdblock"
        """,
        files,
        ("nandsim", "mtdblock"),
    )
    bench.succeed(Virt(ram=128), job)


@pytest.mark.usefixtures("pnand")
def test_a_raw_update_that_is_cut(bench: Bench, shop: Workshop, tmp_path: Path) -> None:
    """Cut, boot, run again, cut later, ..., then to the end: cells and marks of the whole chip are as they shall be."""
    old, new = image_pair(bench.kit, 3 * MIB)
    chip = media.Nand(tmp_path / "chip", parts=(40, 8)).make(bad=[0, 7, 31], weak={4: "e", 12: "p"})
    neighbour = image_pair(bench.kit, 5 * BLOCK + 100, seed=5)[1]
    chip.write(0, old)
    chip.write(1, neighbour)
    before = chip.read(1)
    job = Job(
        chip.load
        + """
        expect 0 apply -x /job/p.ota
        [ "$(cat /sys/module/pnand/parameters/illegal)" = 0 ] || fail "a page was programmed twice"
        expect 0 apply -x /job/p.ota
        """,
        {"p.ota": shop.image("p", new, "/dev/mtd0")},
        ("disk",),
    )
    bench.survive(Virt([chip.path]), job)
    assert chip.bad() == [0, 4, 7, 12, 31]
    assert chip.read(0, len(new)) == new
    assert set(chip.read(0)[len(new) : -(-len(new) // BLOCK) * BLOCK]) <= {0xFF}
    assert chip.read(1) == before


@pytest.mark.usefixtures("pnand")
def test_a_delta_from_slot_to_slot_that_is_cut(bench: Bench, shop: Workshop, tmp_path: Path) -> None:
    """Flash to flash, bad blocks in both, at different places; the old slot stays as it is."""
    old, new = image_pair(bench.kit, 3 * MIB)
    chip = media.Nand(tmp_path / "chip", parts=(40, 40)).make(bad=[2, 3, 40, 51, 79], weak={45: "p"})
    chip.write(0, old)
    chip.write(1, image_pair(bench.kit, 2 * MIB, start=4 * MIB)[0])
    before = chip.read(0)
    package = shop.image("p", new, "/dev/mtd1", old=old, source="/dev/mtd0")
    assert package.stat().st_size < len(new) // 10
    job = Job(
        chip.load
        + """
        expect 0 apply -x /job/p.ota
        [ "$(cat /sys/module/pnand/parameters/illegal)" = 0 ] || fail "a page was programmed twice"
        """,
        {"p.ota": package},
        ("disk",),
    )
    bench.survive(Virt([chip.path]), job)
    assert chip.bad() == [2, 3, 40, 45, 51, 79]
    assert chip.read(1, len(new)) == new
    assert chip.read(0) == before


@pytest.mark.usefixtures("pnand")
@pytest.mark.parametrize("page", [2048, 1], ids=["nand", "nor"])
def test_exact_cuts(bench: Bench, shop: Workshop, tmp_path: Path, page: int) -> None:
    """The n-th program or erase is torn and the power is off; run again, and it is the new image. Many in one boot."""
    erase = BLOCK if page > 1 else BLOCK // 8  # NOR takes 256 bytes at a time: about as many operations
    old, new = image_pair(bench.kit, 3 * erase // 2)
    chip = media.Nand(tmp_path / "chip", parts=(8, 8), erase=erase, page=page).make(bad=[] if page == 1 else [1, 9])
    chip.write(0, old)
    step = 1 if FULL else 17
    read = f"head -c {len(new)} /dev/mtd1" if page == 1 else f"nanddump -q --bb=skipbad -l {len(new)} /dev/mtd1"
    job = Job(
        chip.load
        + f"""
        knob=/sys/module/pnand/parameters
        cuts=0 n=1
        while :; do
            flash_erase -q /dev/mtd1 0 0 2>/dev/null
            echo $n >$knob/cut
            apply -x /job/p.ota >/tmp/words 2>&1 && got=0 || got=$?
            off=$(cat $knob/cut)
            echo 0 >$knob/cut
            [ $off = -1 ] || break
            [ $got != 0 ] || fail "success without power, cut at $n"
            cuts=$((cuts + 1))
            apply -x /job/p.ota >/tmp/words 2>&1 || {{ cat /tmp/words; fail "after the cut at operation $n"; }}
            {read} >/tmp/back
            cmp -n {len(new)} /tmp/back /job/new || fail "wrong image after the cut at operation $n"
            n=$((n + {step}))
        done
        [ $got = 0 ] || fail "without a cut: $got"
        echo "@@CUTS $cuts illegal $(cat $knob/illegal)"
        """,
        {"p.ota": shop.image("p", new, "/dev/mtd1", old=old, source="/dev/mtd0"), "new": new},
        ("disk",),
    )
    result = bench.succeed(Virt([chip.path]), job)
    cuts, _, illegal = result.find("@@CUTS ")[0].split()
    assert int(cuts) >= (70 if FULL else 5)
    assert illegal == "0"
    assert chip.bad() == ([] if page == 1 else [1, 9])
    assert chip.read(1, len(new)) == new
    assert chip.read(0, len(old)) == old
