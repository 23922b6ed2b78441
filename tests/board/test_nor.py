"""SPI NOR: emulated chips behind the kernel's own spi-nor driver, on the machine of a real SoC."""

from __future__ import annotations

from pathlib import Path

import pytest

from board.machine import Ast2600, Job
from board.media import ERASED
from board.releases import KIB, MIB, Workshop, image_pair, package
from board.rig import Bench


def chips(folder: Path) -> tuple[Path, Path]:
    """Erased: 64 MiB with sectors of 4 KiB, 16 MiB with sectors of 64 KiB."""
    small, large = folder / "chip0", folder / "chip1"
    small.write_bytes(ERASED * (64 * MIB))
    large.write_bytes(ERASED * (16 * MIB))
    return small, large


def put(path: Path, at: int, data: bytes) -> None:
    with path.open("r+b") as file:
        file.seek(at)
        file.write(data)


def test_a_flash_update_that_is_cut(bench: Bench, shop: Workshop, tmp_path: Path) -> None:
    """A kernel as delta from the other chip, and a small image in full onto a partition between neighbours."""
    small, large = chips(tmp_path)
    old, new = image_pair(bench.kit, 600 * KIB)
    config = image_pair(bench.kit, 200 * KIB, seed=4, start=3 * MIB)[1]
    neighbour = image_pair(bench.kit, 64 * KIB, seed=5)[0]
    put(large, 0, old)
    put(small, 0, image_pair(bench.kit, 2 * MIB, start=MIB)[0])
    put(small, 4 * MIB - len(neighbour), neighbour)
    put(small, 4 * MIB + 256 * KIB, neighbour)
    images = (
        shop.one_image("kernel", new, "/dev/mtd0", old=old, source="/dev/mtd1"),
        shop.one_image("config", config, "/dev/mtd2"),
    )
    before = small.read_bytes()
    job = Job(
        f"""
        mtdpart add /dev/mtd0 config {4 * MIB} {256 * KIB} >/dev/null
        expect 0 apply -x /job/p.ota
        expect 0 apply -x /job/p.ota 2>/tmp/words
        grep -q "2 of them were right already; 0 bytes written" /tmp/words
        """,
        {"p.ota": package(tmp_path / "p.ota", images=images)},
        ("spinor",),
    )
    bench.survive(Ast2600([small, large]), job)
    after = small.read_bytes()
    assert after[: len(new)] == new
    end = -(-len(new) // 4096) * 4096
    assert set(after[len(new) : end]) <= {0xFF}
    assert after[end : 4 * MIB] == before[end : 4 * MIB]
    assert after[4 * MIB :][: len(config)] == config
    assert after[4 * MIB + 256 * KIB :] == before[4 * MIB + 256 * KIB :]
    assert large.read_bytes() == old + ERASED * (16 * MIB - len(old))


@pytest.mark.full
def test_the_self_test(bench: Bench, tmp_path: Path) -> None:
    bench.succeed(Ast2600(chips(tmp_path)), Job("expect 0 /job/otaunpack --self-test", sets=("spinor",)))
