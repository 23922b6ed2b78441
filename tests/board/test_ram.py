"""Memory bounds, proven on the board: the program succeeds within an address space (guest/bound.c says why that is the
proof), and its largest resident set stands beside it. The bounds are those of csrc/board/budget.json.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import msgspec
import pytest

from board import media
from board.machine import Job, Virt
from board.provide import TREE
from board.releases import KIB, MIB, Workshop, folder_pair, image_pair, package, tree
from board.rig import FULL, Bench
from otastream.config import Folder

BUDGET = json.loads((TREE / "csrc/board/budget.json").read_text())
KINDS = {"default": None, "256K": 256 * KIB}
"""Packages by what they were packed with: `--ram`, or nothing."""

MEGABYTES = 64 if FULL else 16
FILES = 10_000 if FULL else 1_000


@dataclass(frozen=True)
class Used:
    """KiB and milliseconds, as guest/bound.c writes them."""

    address_space: int
    resident: int
    ms: int
    code: int


def used(text: str) -> Used:
    found = re.fullmatch(r"as=(\d+) rss=(\d+) ms=(\d+) code=(\d+)", text)
    assert found is not None, text
    return Used(*map(int, found.groups()))


def bounded(kind: str, args: str) -> str:
    """The shell command that applies within the bound of this kind of package."""
    return f"/job/bound -a {BUDGET['address_space_kib'][kind]} /job/otaunpack --progress none {args}"


def judge(found: list[str], what: str, kinds: Iterable[str] = KINDS) -> None:
    """One line a kind; every one must hold."""
    for kind, text in zip(kinds, found, strict=True):
        use = used(text)
        print(f"{what}, {kind}: {text}")
        assert use.code == 0
        assert use.address_space == BUDGET["address_space_kib"][kind]
        assert use.resident <= BUDGET["resident_kib"][kind], f"{what}, {kind}: {use.resident} KiB resident"


def packages_disk(folder: Path, made: list[Path]) -> Path:
    """What is too large for the initramfs goes onto a disk of its own."""
    top = folder / "packages"
    top.mkdir()
    for path in made:
        path.rename(top / path.name)
    size = sum(path.stat().st_size for path in top.iterdir())
    return media.ext4(folder / "packages.img", top, mib=size // MIB * 9 // 8 + 24)


def test_a_full_image(bench: Bench, shop: Workshop, tmp_path: Path) -> None:
    """Onto a block device; the package is read twice from a disk."""
    kernel = bench.kit.image.read_bytes()
    image = bytes(kernel * 4)[: MEGABYTES * MIB]
    made = [shop.image(f"p{kind}", image, "/dev/vda", ram=ram) for kind, ram in KINDS.items()]
    slot = tmp_path / "slot"
    slot.write_bytes(bytes(len(image)))
    runs = "".join(
        f"dd if=/dev/zero of=/dev/vda bs=1M count={MEGABYTES} conv=fsync 2>/dev/null\n"
        f"{bounded(kind, f'-x /mnt/p{kind}.ota')}\n"
        for kind in KINDS
    )
    disk = packages_disk(tmp_path, made)
    job = Job(f"mount -t ext4 -o ro /dev/vdb /mnt\n{runs}", sets=("disk", "ext4"))
    result = bench.succeed(Virt([slot, disk], synced=False), job, timeout=900)
    assert slot.read_bytes() == image
    judge(result.find("@@BOUND"), f"full image of {MEGABYTES} MiB")


@pytest.mark.parametrize("engine", ["bsdiff", "xref"])
def test_a_delta_of_a_kernel(bench: Bench, shop: Workshop, tmp_path: Path, engine: str) -> None:
    """20 MB of kernel from one block device to another. xref falls back to bsdiff where its model has no room."""
    size = 21 * MIB if FULL else 6 * MIB if engine == "bsdiff" else MIB
    old, new = image_pair(bench.kit, size, start=0)
    files: dict[str, Path | bytes] = {}
    runs = ""
    for kind, ram in KINDS.items():
        made = shop.image(f"p{kind}", new, "/dev/vdb", old=old, source="/dev/vda", ram=ram, engine=engine)
        assert made.stat().st_size < len(new) // 10
        files[made.name] = made
        runs += f"dd if=/dev/zero of=/dev/vdb bs=1M count={len(new) // MIB} conv=fsync 2>/dev/null\n"
        runs += bounded(kind, f"-x /job/{made.name}") + "\n"
    slots = [tmp_path / "a", tmp_path / "b"]
    for slot in slots:
        slot.write_bytes(old.ljust(24 * MIB, b"\0"))
    job = Job(runs, files, ("disk",))
    result = bench.succeed(Virt([*slots], synced=False), job, timeout=900)
    assert slots[1].read_bytes()[: len(new)] == new
    judge(result.find("@@BOUND"), f"{engine} delta of {len(old)} bytes")


def test_a_kernel_in_place(bench: Bench, shop: Workshop, tmp_path: Path) -> None:
    """A partition onto itself, by engine xref where its model has room; scratch and journal in a folder in memory."""
    old, new = image_pair(bench.kit, MIB, start=0)
    new = new[: len(new) // 2] + new[len(new) // 4 :]
    image = msgspec.structs.replace(shop.one_image("p", new, "/dev/vda", old=old), in_place=True)
    files: dict[str, Path | bytes] = {"old": old}
    runs = ""
    for kind, ram in KINDS.items():
        made = package(tmp_path / f"p{kind}.ota", images=(image,), engine="xref", ram=ram)
        files[made.name] = made
        runs += "dd if=/job/old of=/dev/vda bs=64K conv=fsync 2>/dev/null\n"
        runs += bounded(kind, f"-x /job/{made.name} --volatile-scratch") + "\n"
    slot = tmp_path / "slot"
    slot.write_bytes(bytes(2 * MIB))
    result = bench.succeed(Virt([slot], synced=False), Job(runs, files, ("disk",)), timeout=900)
    assert slot.read_bytes()[: len(new)] == new
    judge(result.find("@@BOUND"), f"in place, {len(new)} bytes")


@pytest.mark.parametrize("kind", KINDS)
def test_a_folder_of_many_files(bench: Bench, tmp_path: Path, kind: str) -> None:
    """In memory, where the two syncs of every file cost nothing: test_files.py has them, here are bounds."""
    old, new = folder_pair(tmp_path, files=FILES, size=1500)
    top = tmp_path / "top"
    top.mkdir()
    folders = (Folder(old=str(old), new=str(new), dest="/config"),)
    package(top / "p.ota", folders=folders, ram=KINDS[kind])
    want = tree(new)
    old.rename(top / "config")
    disk = media.ext4(tmp_path / "disk.img", top, mib=FILES // 100 + 32)
    job = Job(
        f"""
        mount -t ext4 -o ro /dev/vda /mnt
        cp -a /mnt/config /tmp
        echo "@@COPIED $(cut -d' ' -f1 /proc/uptime)"
        {bounded(kind, "-x /mnt/p.ota --root /tmp")}
        same_tree /job/tree /tmp/config
        """,
        {"tree": want},
        ("disk", "ext4"),
    )
    result = bench.succeed(Virt([disk], ram=192, synced=False), job, timeout=900)
    judge(result.find("@@BOUND"), f"folder of {FILES} files", [kind])


@pytest.mark.full
@pytest.mark.parametrize("kind", KINDS)
def test_the_least_address_space(bench: Bench, shop: Workshop, tmp_path: Path, kind: str) -> None:
    """How far below its bound the program still works; no bound here, but it must have one."""
    _, new = image_pair(bench.kit, MIB)
    made = shop.image("p", new, "/dev/vda", ram=KINDS[kind])
    slot = tmp_path / "slot"
    slot.write_bytes(bytes(2 * MIB))
    job = Job(
        """
        low=64 high=4096
        while [ $((high - low)) -gt 4 ]; do
            middle=$(((low + high) / 8 * 4))
            dd if=/dev/zero of=/dev/vda bs=1M count=1 conv=fsync 2>/dev/null
            if /job/bound -a $middle /job/otaunpack --progress none -x /job/p.ota >/tmp/out 2>&1
            then high=$middle; cp /tmp/out /tmp/best
            else low=$middle
            fi
        done
        cat /tmp/best
        """,
        {"p.ota": made},
        ("disk",),
    )
    use = used(bench.succeed(Virt([slot], synced=False), job).find("@@BOUND")[0])
    print(f"least address space, {kind}: {use}")
    assert 64 < use.address_space <= BUDGET["address_space_kib"][kind]
