"""The SDK's workflow on real flash: the commands of its page, and a partition config of eight partitions.

What docs/how-to/from-otapack.md has its reader type on the host runs here as it stands there; what it has typed on the
board is typed on a board. Sections have the numbers of the SDK's page.
"""

from __future__ import annotations

import io
import shlex
import shutil
import subprocess
import sys
import tarfile
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest

from board import media
from board.machine import Job, Virt
from board.provide import run
from board.releases import KIB, folder_pair, image_pair, tree
from board.rig import Bench
from board.test_nand import BLOCK, NANDSIM
from board.test_ubi import LEB
from e2e_support import edited, write
from otastream import model
from otastream.errors import Code
from reference import load
from terminal import environment, talk
from test_otapack_examples import blocks

DRIVERS: Final = ("disk", "mtdblock", "nandsim", "ubifs", "squashfs", "jffs2")
NAND: Final = r"""
# flash NAME PART: put an image there as a factory would; nand_holds NAME PART; mounts TYPE DEVICE TREE
flash() { flash_erase -q /dev/mtd$2 0 0 2>/dev/null || true; nandwrite -q -p -m /dev/mtd$2 /job/$1 >/dev/null; }
nand_holds() { nanddump -q --bb=skipbad -l $(stat -c %s /job/$1) -f /tmp/after /dev/mtd$2; same /job/$1 /tmp/after; }
mounts() { mount -t $1 -o ro $2 /mnt; same_tree /job/$3 /mnt; umount /mnt; }
# logged LINE,...: what the scripts wrote down
logged() { [ "$(tr '\n' , </log)" = "$1" ] || fail "log: $(cat /log)"; }
"""

# Sent to the board by the host's `otaunpack`, which only notes what was typed and keeps the package.
NOTE: Final = """\
#!/bin/sh
at="$SENT/$(ls "$SENT" | wc -l)"
mkdir "$at"
echo "$(basename "$0") $*" >"$at/command"
cp "$2" "$at/package"
"""


@dataclass(frozen=True, slots=True)
class Sent:
    """What was typed on the board, and the package that it names."""

    command: str
    package: bytes

    def typed(self, name: str) -> str:
        """As lines of a job whose file `name` is the package."""
        return f"cp /job/{name} {shlex.quote(shlex.split(self.command)[2])}\n{self.command}"


class Desk:
    """Where the reader of the page stands: `work`, with the programs on the path."""

    def __init__(self, folder: Path) -> None:
        self.work, self._bin, self._sent = folder / "work", folder / "bin", folder / "sent"
        self.work.mkdir()
        for name, module in (("otapack", "otastream.cli.otapack"), ("otastream", "otastream")):
            write(self._bin / name, f'#!/bin/sh\nexec "{sys.executable}" -m {module} "$@"\n'.encode(), 0o755)
        for name in ("otaunpack", "otaupack"):
            write(self._bin / name, NOTE.encode(), 0o755)

    def command(self, script: str) -> list[str]:
        """Types it in `work`; the first line that fails ends it."""
        setting = f'export PATH="{self._bin}:$PATH" SENT="{self._sent}"; cd "{self.work}"\n'
        return ["bash", "-euc", setting + script]

    def type(self, script: str) -> list[Sent]:
        """What went to the board, in order. Packages of before are gone."""
        for package in self.work.glob("*.bin*"):
            package.unlink()
        shutil.rmtree(self._sent, ignore_errors=True)
        self._sent.mkdir()
        done = subprocess.run(self.command(script), env=environment(), capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        folders = sorted(self._sent.iterdir(), key=lambda path: int(path.name))
        return [Sent((at / "command").read_text().strip(), (at / "package").read_bytes()) for at in folders]


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


def tar(folder: Path) -> bytes:
    """The folder's content, of root."""

    def of_root(member: tarfile.TarInfo) -> tarfile.TarInfo:
        member.uid = member.gid = 0
        return member

    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        archive.add(folder, ".", filter=of_root)
    return out.getvalue()


def jffs2(path: Path, folder: Path, *, erase: int, nand: bool = False) -> Path:
    """A jffs2; nand: its marks of erased blocks are in the spare area, where the kernel puts them."""
    run("mkfs.jffs2", "-U", "-l", "-e", hex(erase), *["-n"] * nand, "-r", folder, "-o", path)
    return path


# ---- the page ----------------------------------------------------------------------------------------------------

NOR_BLOCK: Final = 65536
NOR_PARTS: Final = (2, 2, 1, 1, 1, 1, 1, 1, 0x500000 // NOR_BLOCK, 0x600000 // NOR_BLOCK)
"""mtd0 and mtd1 of 0x20000 bytes, mtd8 of 0x500000, mtd9 of 0x600000, as the page's commands say."""

NAND_PARTS: Final = "parts=24,200 badblocks=1,5,40 weakblocks=2:1"
"""mtd10 of 0x300000 bytes, of which block 2 fails when it is erased again, and mtd11 for the volumes."""

PAGE_BOARD: Final = """
ln -s /job/otaunpack /bin/otaupack
ubiattach -m 11 -d 0 -O 2048 >/dev/null
ubimkvol /dev/ubi0 -N config -S 40 >/dev/null
ubimkvol /dev/ubi0 -N customer -S 70 >/dev/null
mkdir /config /w
mount -t ubifs ubi0:config /config
cd /w
holds() { same /job/$1 /dev/mtd${2}ro; }
bad() { [ "$(bad_blocks /dev/mtd10)" = "$1" ] || fail "bad blocks are $(bad_blocks /dev/mtd10), not $1"; }
on_nor() { flash_erase -q /dev/mtd$2 0 $(($(stat -c %s /job/$1) / 65536 + 1)); cat /job/$1 >/dev/mtd$2; }
config() { rm -rf /config/* /log; tar -xf /job/old.tar -C /config; }
in_config() { cmp /job/$(basename $1) /config/$1; }
"""

OLD_IMAGES: Final = "on_nor kernel.old 8; on_nor rootfs.old 9"
NEW_IMAGES: Final = "holds kernel 8; holds rootfs 9; mounts squashfs /dev/mtdblock9 root.tree"
SECTIONS: Final = {
    "2.2": (OLD_IMAGES, f"{NEW_IMAGES}; logged 'start,end 0,'"),
    "2.4": ("", "holds ipl 0; holds ipl 1"),
    "2.5": ("on_nor rootfs.old 9", "holds rootfs 9; mounts ubifs ubi0:customer root.tree"),
    "2.6": (
        "echo old >/config/camera.conf; echo x >/config/legacy.conf",
        "in_config camera.conf; in_config net/ntp.conf; [ ! -e /config/legacy.conf ]; logged migrate,",
    ),
    "2.7": (OLD_IMAGES, f"in_config app; {NEW_IMAGES}"),
    "2.8": ("", "same_tree /job/new.tree /config"),
    "3.3": ("on_nor kernel.old 8", "holds kernel 8"),
    "3.6": ("on_nor kernel.old 8", "holds kernel 8"),
    "3.8": ("flash kernel.old 10; bad '1 5 '", "nand_holds kernel 10; bad '1 2 5 '"),
}
"""Section -> what the board has before each `otaunpack` of the section beside /config, and what it has then."""

UNPACK: Final = {"2.5": "otaunpack -r SStarOta.bin"}
"""Sections that only make a package."""

MORE: Final = """\
otapack -c SStarOta.bin
otapack -a SStarOta.bin -o images/kernel -s release-1.0/kernel -d /dev/mtd10 -t 0x300000 --block-update
otapack -a SStarOta.bin -o release-1.0/kernel -n images/kernel -d /dev/mtd8 -t 0x500000 --file-update-diff -l kernel
otapack -a SStarOta.bin -s images/jffs2 -d /dev/mtdblock9 -t 0x600000 --block-update
otaunpack -x SStarOta.bin -t /config
"""
"""Deltas for character devices: the NAND goes back to what was before 3.8, a NOR; and the jffs2 of section 2.5."""


def test_the_page(bench: Bench, desk: Desk, tmp_path: Path, pnand: None) -> None:
    old, new = folder_pair(tmp_path / "work", files=6, size=10_000)
    kernel_old, kernel = image_pair(bench.kit, 160 * KIB)
    app = kernel[:20_000]
    for side, content in ((old, app), (new, edited(app, 5))):
        write(side / "app", content, 0o755)
    (desk.work / "images").mkdir()
    (desk.work / "release-1.0").mkdir()
    images, before = desk.work / "images", desk.work / "release-1.0"
    write(images / "ipl_s.bin", kernel[-100_000:])
    for folder, side, content in ((before, old, kernel_old), (images, new, kernel)):
        write(folder / "kernel", content)
        media.squashfs(folder / "rootfs.sqfs", side)
    media.ubifs(images / "customer.ubifs", new, block=LEB, blocks=70)
    jffs2(images / "jffs2", new, erase=NOR_BLOCK)
    write(desk.work / "start.sh", b'echo start >>"$OTA_ROOT/log"; [ ! -e "$OTA_ROOT/refuse" ]\n')
    write(desk.work / "end.sh", b'echo "end $OTA_STATUS" >>"$OTA_ROOT/log"\n')
    write(desk.work / "migrate.sh", b'echo migrate >>"$OTA_ROOT/log"\n')
    write(desk.work / "app/camera.conf", b"size = 2\n")
    write(desk.work / "app/ntp.conf", b"server\n")
    write(desk.work / "release.toml", blocks("2.2", "toml")[0].encode())
    files: dict[str, Path | bytes] = {
        "kernel.old": kernel_old, "kernel": kernel, "rootfs.old": before / "rootfs.sqfs",
        "rootfs": images / "rootfs.sqfs", "ipl": images / "ipl_s.bin", "jffs2": images / "jffs2",
        "app": new / "app", "camera.conf": desk.work / "app/camera.conf", "ntp.conf": desk.work / "app/ntp.conf",
        "old.tar": tar(old), "new.tree": tree(new), "root.tree": tree(new),
    }  # fmt: skip

    script = ""
    for section, (prepare, check) in SECTIONS.items():
        typed = desk.type("".join(blocks(section)) + UNPACK.get(section, ""))
        assert typed, section
        for number, sent in enumerate(typed):
            name = f"{section}-{number}"
            files[name] = sent.package
            script += f"echo @@SECTION {section}\nconfig\n{prepare}\n{sent.typed(name)}\n{check}\n"

    (more,) = desk.type(MORE)
    files["more"] = more.package
    script += f"""
    echo @@REFUSED
    config
    {OLD_IMAGES}
    touch /refuse
    expect {Code.BEGIN_SCRIPT.value} otaunpack -x /job/2.2-0
    logged 'start,end -1,'
    holds kernel.old 8; holds rootfs.old 9

    echo @@MORE
    config
    {OLD_IMAGES}
    {more.typed("more")}
    nand_holds kernel.old 10
    bad '1 2 5 '
    holds kernel 8
    holds jffs2 9
    mounts jffs2 mtd9 root.tree
    same_tree /job/old.tree /config
    """
    files["old.tree"] = tree(old)
    chip = media.Nand(tmp_path / "chip", parts=NOR_PARTS, erase=NOR_BLOCK, page=1).make()
    job = Job(f"{NAND}{chip.load}\n{NANDSIM}{NAND_PARTS} {PAGE_BOARD}{script}", files, DRIVERS)
    bench.succeed(Virt([chip.path], ram=160, synced=False), job)


# ---- a partition config ------------------------------------------------------------------------------------------

CONFIG: Final = """\
IMAGE_LIST = cis ipl ipl_cust uboot kernel rootfs misc miservice customer
OTA_IMAGE_LIST = ipl ipl_cust uboot kernel \\
                 rootfs misc miservice customer
FLASH_TYPE = spinand
cis$(PATSIZE) = 0x20000
ipl$(PATSIZE) = 0x60000
ipl$(OTABLK) = /dev/mtd0 /dev/mtd1
ipl$(OTAMASK) = 0x2
ipl_cust$(PATSIZE) = $(ipl$(PATSIZE))
ipl_cust$(OTABLK) = /dev/mtd2
uboot$(PATSIZE) = 0x80000
uboot$(OTABLK) = /dev/mtd3
kernel$(PATSIZE) = 0x140000
kernel$(OTABLK) = /dev/mtd4 /dev/mtd5
rootfs$(FSTYPE) = squashfs
rootfs$(PATSIZE) = 0x100000
rootfs$(OTABLK) = /dev/mtd6
misc$(FSTYPE) = jffs2
misc$(PATSIZE) = 0x100000
misc$(OTABLK) = /dev/mtd7
miservice$(FSTYPE) = ubifs
miservice$(PATSIZE) = 0x300000
miservice$(OTABLK) = $(miservice$(MOUNTPT))
miservice$(MOUNTPT) = /dev/ubi0_0
customer$(FSTYPE) = ubifs
customer$(PATSIZE) = 0x400000
customer$(OTABLK) = /dev/ubi0_1
"""
RAW: Final = {"ipl": (1,), "ipl_cust": (2,), "uboot": (3,), "kernel": (4, 5), "rootfs": (6,), "misc": (7,)}
"""Partition -> its MTD partitions; mtd0 is in the list of `ipl`, but not in its mask."""
VOLUMES: Final = {"miservice": 30, "customer": 40}
"""Partition -> blocks of its volume; ubi0_0 and ubi0_1 on mtd8."""

CONFIG_PARTS: Final = "parts=4,4,4,6,12,12,8,8,160 badblocks=5,13,31,51,70 weakblocks=20:1"
CONFIG_BOARD: Final = """
ubiattach -m 8 -d 0 -O 2048 >/dev/null
ubimkvol /dev/ubi0 -N miservice -S 30 >/dev/null
ubimkvol /dev/ubi0 -N customer -S 40 >/dev/null
ubiupdate() { ubiupdatevol /dev/ubi0_$2 /job/$1; }
volume() { same /job/$1 /dev/ubi0_$2; }
"""


def each_target(raw: str, volume: str, side: str) -> str:
    """Shell commands for all targets of the config: `raw` IMAGE PART, `volume` IMAGE NUMBER."""
    lines = [f"{raw} {name}.{side} {part}" for name, parts in RAW.items() for part in parts]
    return "\n".join(lines + [f"{volume} {name}.{side} {number}" for number, name in enumerate(VOLUMES)])


def config_images(bench: Bench, folders: dict[str, Path], trees: dict[str, Path]) -> dict[str, Path]:
    """The images of both sides, in their folders as the SDK names them; partition.side -> path."""
    made: dict[str, Path] = {}
    sizes = {"ipl": 150_000, "ipl_cust": 200_000, "uboot": 400_000, "kernel": 1_000_000}
    for number, (name, size) in enumerate(sizes.items()):
        pair = image_pair(bench.kit, size, seed=number, start=number << 20)
        for side, content in zip(trees, pair, strict=True):
            made[f"{name}.{side}"] = folders[side] / (name if name == "kernel" else f"{name}_s.bin")
            write(made[f"{name}.{side}"], content)
    for side, top in trees.items():
        made[f"rootfs.{side}"] = media.squashfs(folders[side] / "rootfs.sqfs", top)
        made[f"misc.{side}"] = jffs2(folders[side] / "misc.jffs2", top, erase=BLOCK, nand=True)
        for name, count in VOLUMES.items():
            made[f"{name}.{side}"] = media.ubifs(folders[side] / f"{name}.ubifs", top, block=LEB, blocks=count)
    return made


def test_a_partition_config(bench: Bench, desk: Desk, tmp_path: Path) -> None:
    """Asked at a terminal and not asked, the same package; it, and then deltas, go to raw NAND and UBI volumes."""
    trees = dict(zip(("old", "new"), folder_pair(tmp_path, files=12, size=40_000), strict=True))
    project = desk.work / "project"
    output = project / "image/output/images"
    images = config_images(bench, {"old": project / "release-1.0", "new": output}, trees)
    write(project / "image/configs/spinand.ubifs.p2.partition.config", CONFIG.encode())
    makefile = "PROJ_ROOT = $(CURDIR)\nIMAGEDIR = $(PROJ_ROOT)/image/output/images\ninclude image/ota.mk\n"
    write(project / "Makefile", makefile.encode())
    write(project / "start.sh", b'echo start >>"$OTA_ROOT/log"\n')
    write(project / "end.sh", b'echo "end $OTA_STATUS" >>"$OTA_ROOT/log"\n')

    package = output / "SStarOta.bin.gz"
    asked, silent = blocks("2.3")
    answers = [("Start scripts:", "start.sh"), ("End scripts:", "end.sh")]
    answers += [(f"Make {name} ?(yes/no)", "yes") for name in [*RAW, *VOLUMES]]
    code, seen = talk(desk.command(asked), answers)
    assert code == 0, seen
    whole = package.read_bytes()
    kinds = [type(item.record) for item in load(package)]
    assert [kinds.count(kind) for kind in (model.Block, model.Ubi)] == [6, 2]
    package.unlink()
    cd, everything, _, deltas = silent.splitlines()
    scripts = " --start-script start.sh --end-script end.sh"
    desk.type(f"{cd}\n{everything}{scripts}")
    assert package.read_bytes() == whole
    desk.type(f"{cd}\n{deltas}{scripts}")
    assert sum(r.engine is model.EngineId.BSDIFF for i in load(package) if isinstance(r := i.record, model.Block)) == 5

    script = f"""
    flash ipl.old 0
    for package in whole deltas; do
        echo @@PACKAGE $package
        {each_target("flash", "ubiupdate", "old")}
        apply -x /job/$package -t /tmp
        {each_target("nand_holds", "volume", "new")}
        nand_holds ipl.old 0
        logged 'start,end 0,'
        rm /log
        mounts squashfs /dev/mtdblock6 tree
        mounts jffs2 mtd7 tree
        mounts ubifs ubi0:miservice tree
        mounts ubifs ubi0:customer tree
    done
    for part in 0 1 2 3 4 5 6 7; do echo "@@BAD $part: $(bad_blocks /dev/mtd$part)"; done
    """
    files: dict[str, Path | bytes] = {"whole": whole, "deltas": package, "tree": tree(trees["new"]), **images}
    job = Job(f"{NAND}{NANDSIM}{CONFIG_PARTS} {CONFIG_BOARD}{script}", files, DRIVERS)
    result = bench.succeed(Virt(ram=192), job)
    assert result.find("@@BAD") == ["0:", "1: 1", "2:", "3: 1", "4: 2", "5: 1", "6:", "7: 1"]
