"""The display on real framebuffers: the emulator's picture of the screen is what otadisplay draws into memory here.

virtio-gpu gives 32 bits a pixel, the driver of the cirrus card 16. For each rotation an update succeeds and one fails;
what is on the screen afterwards is compared, pixel by pixel, with the same progress lines shown on a file.
"""

from __future__ import annotations

import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

from board.machine import Desk, Job, Virt
from board.provide import TREE
from board.releases import Workshop, folder_pair, package
from board.rig import Bench
from e2e_support import board_program
from otastream.config import Folder
from otastream.errors import Code
from pictures import LAYOUTS, Layout, Screen, png, read_ppm, read_screen, upgrade_picture

WIDTH, HEIGHT = 640, 480
PATIENCE = 60.0
"""Seconds until the driver must have shown what was drawn."""
NEAR = 9
"""Difference of a colour that is no difference: 5 bits are widened in several ways, and processors round in others."""


@dataclass(frozen=True)
class Card:
    device: str
    driver: str
    layout: Layout
    prepare: str = ""  # what the job does first


VGA_BIOS = """
busybox devmem 0x3eff03c2 8 1
echo 4 >/sys/class/graphics/fb0/blank
echo 0 >/sys/class/graphics/fb0/blank
"""
"""What a PC's firmware does and this machine has none for: VGA's miscellaneous output register says that the CRT
controller is at the addresses for colour (behind the machine's window on PCI ports), then the mode is set again."""

CARDS = {
    "32 bits": Card(f"virtio-gpu-pci,xres={WIDTH},yres={HEIGHT}", "virtio-gpu", LAYOUTS["xrgb8888"]),
    "16 bits": Card("cirrus-vga,romfile=", "cirrus", LAYOUTS["rgb565"], VGA_BIOS),
}


def shown_here(folder: Path, size: tuple[int, int], layout: Layout, picture: Path, rotation: str, lines: str) -> Screen:
    """What the same program for this machine draws into a file."""
    screen = folder / "screen"
    screen.write_bytes(bytes(size[0] * size[1] * layout.bits // 8))
    program = board_program("amd64").with_name("otadisplay")
    geometry = f"{size[0]}x{size[1]},{layout.name}"
    subprocess.run(
        [program, "-p", picture, "-s", rotation, "--fb", screen, "--geometry", geometry],
        input=lines, text=True, check=True,
    )  # fmt: skip
    return read_screen(screen, *size, layout)


def differing(one: Screen, other: Screen) -> int:
    """Pixels that differ."""
    if (one.width, one.height) != (other.width, other.height):
        return one.width * one.height
    count = 0
    for a, b in zip(one.rows, other.rows, strict=True):
        if a != b:
            far = [abs(x - y) > NEAR for x, y in zip(a, b, strict=True)]
            count += sum(any(far[i : i + 3]) for i in range(0, len(far), 3))
    return count


@pytest.mark.parametrize("name", CARDS)
def test_screens(bench: Bench, shop: Workshop, tmp_path: Path, name: str) -> None:
    card = CARDS[name]
    old, new = folder_pair(tmp_path, files=4, size=20_000)
    folders = (Folder(old=str(old), new=str(new), dest="/config"),)
    picture = shop.file("upgrade.png", png(WIDTH, HEIGHT, upgrade_picture(WIDTH, HEIGHT)))
    good = package(tmp_path / "good.ota", folders=folders)
    bad = package(tmp_path / "bad.ota", folders=folders, scripts={"inline": "exit 1\n"})
    top = tmp_path / "top"
    top.mkdir()
    job = Job(
        card.prepare
        + f"""
        chmod +x /job/otadisplay
        echo "@@SCREEN $(cat /sys/class/graphics/fb0/virtual_size) $(cat /sys/class/graphics/fb0/bits_per_pixel)"
        for rotation in 0 1 2 3; do
            for name in good bad; do
                rm -rf /tmp/root; mkdir -p /tmp/root
                (cd /tmp/root && tar xf /job/old.tar)
                [ $name = good ] && want=0 || want={Code.SCRIPT.value}
                expect $want apply -x /job/$name.ota --root /tmp/root -p /job/upgrade.png -s $rotation
                echo "@@SHOT $name $rotation"
                read -r answer
            done
        done
        """,
        {
            "good.ota": good,
            "bad.ota": bad,
            "upgrade.png": picture,
            "old.tar": _tar(old),
            "otadisplay": TREE / "build/board/armhf/otadisplay",
        },
        (card.driver,),
    )
    lines: list[str] = []
    sizes: list[tuple[int, int]] = []
    seen: dict[tuple[str, str], Screen] = {}

    def watch(line: str, desk: Desk) -> None:
        if line.startswith('{"phase"'):
            lines.append(line)
        if line.startswith("@@SCREEN "):
            size, bits = line.split()[1:]
            width, height = map(int, size.split(","))
            assert int(bits) == card.layout.bits
            sizes.append((width, height))
        if line.startswith("@@SHOT "):
            _, verdict, rotation = line.split()
            want = shown_here(tmp_path, sizes[0], card.layout, picture, rotation, "\n".join(lines) + "\n")
            lines.clear()
            deadline = time.monotonic() + PATIENCE
            while True:  # the driver shows what was drawn a little later
                got = read_ppm(desk.screen())
                if not (wrong := differing(got, want)) or time.monotonic() > deadline:
                    break
            shot = bench.log.with_name(f"display-{card.layout.bits}-{verdict}-{rotation}")
            shot.with_suffix(".png").write_bytes(got.png())
            if wrong:
                shot.with_suffix(".want.png").write_bytes(want.png())
            assert not wrong, f"{wrong} pixels of {shot}.png are not as in {shot}.want.png"
            seen[verdict, rotation] = got
            desk.enter()

    bench.watched(Virt(screen=card.device), job, watch)
    assert len(seen) == 8
    assert len({screen.png() for screen in seen.values()}) == 8, "each rotation and each end looks different"


def _tar(folder: Path) -> bytes:
    done = subprocess.run(
        ["tar", "c", "--owner=0", "--group=0", "--transform=s,^old,config,", "-C", folder.parent, folder.name],
        capture_output=True, check=True,
    )  # fmt: skip
    return done.stdout
