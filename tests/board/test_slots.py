"""A/B on raw NAND: the environment in two copies, one behind a bad block, an image for two slots, cut on the way."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import pytest

from board import media
from board.machine import Job, Virt
from board.releases import MIB, Workshop, image_pair
from board.rig import Bench

SIZE = 0x1000
FILES = {
    "fw_env.config": b"/dev/mtd0 0x0 0x1000 0x20000 3\n/dev/mtd1 0x0 0x1000 0x20000 3\n",
    # this kernel has no root=: what runs is told by another word of its command line
    "slots": b"a /dev/mtd2\nb /dev/mtd3\nselect boot_slot a b\nboot a panic=-1\nboot b nowhere\n",
}
BEGIN = """
mkdir -p /etc/otastream
cp /job/fw_env.config /etc/fw_env.config
cp /job/slots /etc/otastream/slots
"""


def environment(flag: int, variables: dict[str, str]) -> bytes:
    """A copy as U-Boot writes it."""
    data = b"".join(f"{name}={value}\0".encode() for name, value in variables.items()).ljust(SIZE - 5, b"\0")
    return struct.pack("<IB", zlib.crc32(data), flag) + data


def variables(copy: bytes) -> tuple[int, dict[str, str]]:
    """Flag and variables; nothing where the CRC is wrong."""
    crc, flag = struct.unpack_from("<IB", copy)
    if zlib.crc32(copy[5:]) != crc:
        return 0, {}
    pairs = (text.decode().partition("=") for text in copy[5:].split(b"\0\0")[0].split(b"\0"))
    return flag, {name: value for name, _, value in pairs}


@pytest.mark.usefixtures("pnand")
def test_an_update_of_the_other_slot(bench: Bench, shop: Workshop, tmp_path: Path) -> None:
    old, new = image_pair(bench.kit, MIB)
    chip = media.Nand(tmp_path / "chip", parts=(3, 3, 12, 12)).make(bad=[0, 20], weak={2: "p"})
    chip.write(0, environment(1, {"boot_slot": "a", "keep": "this"}))
    chip.write(1, environment(0, {"boot_slot": "b"}))
    chip.write(2, old)
    package = shop.image("p", new, "/dev/mtd2", "/dev/mtd3", old=old)
    job = Job(chip.load + BEGIN + "expect 0 apply -x /job/p.ota --slot auto\n", {"p.ota": package, **FILES}, ("disk",))
    bench.survive(Virt([chip.path]), job, at=(50,))
    assert chip.read(2, len(old)) == old
    assert chip.read(3, len(new)) == new
    newest = max(variables(chip.read(part, SIZE)) for part in (0, 1))[1]
    assert newest == {"boot_slot": "b", "keep": "this", "upgrade_available": "1", "bootcount": "0"}

    script = """
    expect 10 /job/otaunpack --mark-good
    sed -i -e '/^boot/d' /etc/otastream/slots
    printf 'boot a nowhere\\nboot b panic=-1\\n' >>/etc/otastream/slots
    expect 0 /job/otaunpack --mark-good >/tmp/state
    grep -qx running=b /tmp/state
    grep -qx trial=0 /tmp/state
    expect 0 /job/otaunpack --rollback >/tmp/state
    grep -qx selected=a /tmp/state
    [ "$(cat /sys/module/pnand/parameters/illegal)" = 0 ] || fail "a page was programmed twice"
    """
    bench.succeed(Virt([chip.path]), Job(chip.load + BEGIN + script, FILES, ("disk",)))
    newest = max(variables(chip.read(part, SIZE)) for part in (0, 1))[1]
    assert newest["boot_slot"] == "a"
    assert newest["keep"] == "this"
