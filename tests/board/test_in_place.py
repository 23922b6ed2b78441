"""Partitions that are updated onto themselves: NAND with bad blocks and NOR behind a real kernel, cut in between."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from board import media
from board.machine import Ast2600, Job, Virt
from board.releases import KIB, MIB, Workshop, folder_pair, image_pair, package
from board.rig import FULL, Bench
from board.test_nor import chips, put
from board.test_ram import used
from board.test_views import LIMIT_KIB, squashed
from otastream.inspection import inspect_package
from otastream.model import Block, View

BLOCK = 131072


def in_place(shop: Workshop, out: Path, old: bytes, new: bytes, node: str, *, erase: int) -> Path:
    image = msgspec.structs.replace(shop.one_image("kernel", new, node, old=old), in_place=True)
    return package(out, images=(image,), block_buffer=erase, scratch=512 * KIB)


def moved(old: bytes, new: bytes, size: int) -> bytes:
    """New with its halves exchanged: much of old has to be kept."""
    return (new[len(new) // 2 :] + new[: len(new) // 2])[:size]


@pytest.mark.usefixtures("pnand")
@pytest.mark.parametrize("page", [2048, 1], ids=["nand", "nor"])
def test_exact_cuts_in_place(bench: Bench, shop: Workshop, tmp_path: Path, page: int) -> None:
    """The n-th program or erase is torn and the power is off; run again, and it is the new image. Many in one boot."""
    erase = BLOCK if page > 1 else BLOCK // 8
    old, new = image_pair(bench.kit, 3 * max(erase, 65536))
    new = moved(old, new, len(old))
    chip = media.Nand(tmp_path / "chip", parts=(32, 1), erase=erase, page=page).make(bad=[] if page == 1 else [1, 3])
    chip.write(0, old)
    step = 1 if FULL else 41
    put_old = "cat /job/old >/dev/mtd0" if page == 1 else "nandwrite -q -p -m /dev/mtd0 /job/old >/dev/null"
    read = f"head -c {len(new)} /dev/mtd0" if page == 1 else f"nanddump -q --bb=skipbad -l {len(new)} /dev/mtd0"
    run = "apply -x /job/p.ota -t /tmp/ota --volatile-scratch"
    job = Job(
        chip.load
        + f"""
        knob=/sys/module/pnand/parameters
        mkdir -p /tmp/ota
        cuts=0 n=1
        while :; do
            echo $n >$knob/cut
            {run} >/tmp/words 2>&1 && got=0 || got=$?
            off=$(cat $knob/cut)
            echo 0 >$knob/cut
            [ $off = -1 ] || break
            [ $got != 0 ] || fail "success without power, cut at $n"
            cuts=$((cuts + 1))
            {run} >/tmp/words 2>&1 || {{ cat /tmp/words; fail "after the cut at operation $n"; }}
            {read} >/tmp/back
            cmp -n {len(new)} /tmp/back /job/new || fail "wrong image after the cut at operation $n"
            [ -z "$(ls /tmp/ota)" ] || fail "left: $(ls /tmp/ota)"
            flash_erase -q /dev/mtd0 0 0 2>/dev/null
            {put_old}
            n=$((n + {step}))
        done
        [ $got = 0 ] || {{ cat /tmp/words; fail "without a cut: $got"; }}
        echo "@@CUTS $cuts illegal $(cat $knob/illegal)"
        """,
        {
            "p.ota": in_place(shop, tmp_path / "p.ota", old, new, "/dev/mtd0", erase=erase),
            "new": new,
            "old": old,
        },
        ("disk",),
    )
    result = bench.succeed(Virt([chip.path]), job)
    cuts, _, illegal = result.find("@@CUTS ")[0].split()
    assert int(cuts) >= (150 if FULL else 4)
    assert illegal == "0"
    assert chip.read(0, len(new)) == new


@pytest.mark.usefixtures("pnand")
def test_a_squashfs_in_place(bench: Bench, shop: Workshop, tmp_path: Path) -> None:
    """Parts are rebuilt on NAND with bad blocks, within the memory of zlib's views; also after the power went."""
    old, new = (squashed(tmp_path, top, "gzip") for top in folder_pair(tmp_path, files=12, size=150_000))
    new = old[:4096] + new  # all of it moves on
    made = in_place(shop, tmp_path / "p.ota", old, new, "/dev/mtd0", erase=BLOCK)
    assert made.stat().st_size < len(new) // 3
    assert [r.new_view for r in (e.record for e in inspect_package(str(made)).entries) if isinstance(r, Block)] == [
        View.PARTS
    ]
    chip = media.Nand(tmp_path / "chip", parts=(64, 1)).make(bad=[1, 7])
    chip.write(0, old)
    cuts = " ".join(str(len(new) // 2048 // share) for share in (10, 4, 3))  # of so many pages and more
    bound = f"/job/bound -a {LIMIT_KIB['gzip']} /job/otaunpack --progress none"
    job = Job(
        chip.load
        + f"""
        knob=/sys/module/pnand/parameters
        mkdir -p /tmp/ota
        for n in {cuts}; do
            echo $n >$knob/cut
            apply -x /job/p.ota -t /tmp/ota --volatile-scratch >/tmp/words 2>&1 && fail "success without power"
            [ $(cat $knob/cut) = -1 ] || fail "no cut at $n"
            echo 0 >$knob/cut
        done
        {bound} -x /job/p.ota -t /tmp/ota --volatile-scratch
        [ -z "$(ls /tmp/ota)" ] || fail "left: $(ls /tmp/ota)"
        nanddump -q --bb=skipbad -l {len(new)} /dev/mtd0 | head -c {len(new)} >/tmp/back
        cmp /tmp/back /job/new
        echo "@@ILLEGAL $(cat $knob/illegal)"
        """,
        {"p.ota": made, "new": new},
        ("disk",),
    )
    result = bench.succeed(Virt([chip.path], ram=128), job)
    assert result.find("@@ILLEGAL ") == ["0"]
    use = used(result.find("@@BOUND")[0])
    print(f"squashfs in place: {use}")
    assert (use.code, use.address_space) == (0, LIMIT_KIB["gzip"])


def test_spi_nor(bench: Bench, shop: Workshop, tmp_path: Path) -> None:
    """The real spi-nor driver; what lies behind the image stays."""
    small, large = chips(tmp_path)
    old, new = image_pair(bench.kit, 600 * KIB)
    new = moved(old, new, len(new))
    put(small, 0, old)
    put(small, MIB, old)
    made = in_place(shop, tmp_path / "p.ota", old, new, "/dev/mtd0", erase=65536)
    job = Job(
        """
        expect 10 apply -x /job/p.ota
        expect 0 apply -x /job/p.ota --volatile-scratch
        expect 0 apply -x /job/p.ota --volatile-scratch 2>/tmp/words
        grep -q "0 bytes written" /tmp/words
        """,
        {"p.ota": made},
        ("spinor",),
    )
    bench.succeed(Ast2600([small, large]), job)
    assert small.read_bytes()[: len(new)] == new
    assert small.read_bytes()[MIB:] == old + media.ERASED * (63 * MIB - len(old))
