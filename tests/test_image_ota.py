"""image-ota: the questions of the SDK's makefile, the package of a partition config with eight partitions."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from e2e_support import edited, write
from otastream import model
from otastream.cli import main, otaunpack
from otastream.errors import Code
from otastream.inspection import inspect_package
from otastream.model import EngineId
from reference import Board, Item, load
from terminal import environment, talk

CONFIG = """\
IMAGE_LIST = cis ipl ipl_cust uboot kernel rootfs misc miservice customer
OTA_IMAGE_LIST = ipl ipl_cust uboot kernel \\
                 rootfs misc miservice customer
FLASH_TYPE = spinand
ipl$(PATSIZE) = 0x8000
ipl$(OTABLK) = /dev/mtd0 /dev/mtd1
ipl$(OTAMASK) = 0x2
ipl_cust$(PATSIZE) = $(ipl$(PATSIZE))
ipl_cust$(OTABLK) = /dev/mtd2
uboot$(PATSIZE) = $(shell printf 0x%x 32768)
uboot$(OTABLK) = /dev/mtd3
kernel$(PATSIZE) = 0x10000
kernel$(OTABLK) = /dev/mtd4 /dev/mtd5
rootfs$(FSTYPE) = squashfs
rootfs$(PATSIZE) = 0x10000
rootfs$(OTABLK) = /dev/mtd6
misc$(FSTYPE) = jffs2
misc$(PATSIZE) = 0x8000
misc$(OTABLK) = /dev/mtd7
miservice$(FSTYPE) = ubifs
miservice$(PATSIZE) = 0x8000
miservice$(OTABLK) = /dev/ubi0_0
customer$(FSTYPE) = ubifs
customer$(PATSIZE) = 0x10000
customer$(OTABLK) = $(customer$(MOUNTPT))
customer$(MOUNTPT) = /dev/ubi0_1
"""
IMAGES = {
    "ipl": "ipl_s.bin",
    "ipl_cust": "ipl_cust_s.bin",
    "uboot": "uboot_s.bin",
    "kernel": "kernel",
    "rootfs": "rootfs.sqfs",
    "misc": "misc.jffs2",
    "miservice": "miservice.ubifs",
    "customer": "customer.ubifs",
}
NODES = {
    "ipl": ["mtd1"],
    "ipl_cust": ["mtd2"],
    "uboot": ["mtd3"],
    "kernel": ["mtd4", "mtd5"],
    "rootfs": ["mtd6"],
    "misc": ["mtd7"],
    "miservice": ["ubi0_0"],
    "customer": ["ubi0_1"],
}


def image(name: str) -> bytes:
    return bytes(range(256)) * 80 + name.encode() * 50


@pytest.fixture
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A config, the images of two releases, and a board with the old one."""
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "p.config", CONFIG.encode())
    for name, file in IMAGES.items():
        write(tmp_path / "old" / file, image(name))
        write(tmp_path / "images" / file, edited(image(name), len(name)))
        for node in NODES[name]:
            write(tmp_path / "board/dev" / node, image(name).ljust(0x10000, b"\xff"))
    write(tmp_path / "board/dev/mtd0", b"not to be touched".ljust(0x10000, b"\xff"))
    write(tmp_path / "end.sh", b'echo "$OTA_STATUS" > "$OTA_ROOT/log"\n')
    (tmp_path / "board/tmp").mkdir()
    return tmp_path


def image_ota(*args: str) -> int:
    return main.run(["image-ota", "--config", "p.config", "--images", "images", *args])


def check(items: list[Item], names: list[str]) -> None:
    """The board has the new images of these partitions and the old ones of the others."""
    Board(Path("board")).apply(items)
    for name, nodes in NODES.items():
        want = edited(image(name), len(name)) if name in names else image(name)
        for node in nodes:
            assert Path("board/dev", node).read_bytes()[: len(want)] == want, node
    assert Path("board/dev/mtd0").read_bytes().startswith(b"not to be touched")


def records() -> list[Item]:
    return load("images/SStarOta.bin.gz")


# ---- without questions -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("old", [[], ["--old", "old"]])
def test_eight_partitions(work: Path, old: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert image_ota("--all", "--end-script", "end.sh", "--package-version", "2.0", *old) == 0
    err = capsys.readouterr().err
    assert "uboot: uboot$(PATSIZE) is not known" in err
    assert "kernel: if U-Boot reads kernel_file_size" in err
    assert ("misc: boards write to jffs2, so it is sent whole" in err) == bool(old)
    items = records()
    made = [item.record for item in items if isinstance(item.record, model.Block | model.Ubi)]
    assert [record.label for record in made] == list(IMAGES)
    assert [type(record) for record in made] == [model.Block] * 6 + [model.Ubi] * 2
    assert [record.mask for record in made] == [2, *[None] * 7]
    deltas = [record.label for record in made if record.engine is EngineId.BSDIFF]
    # the boot loader's source is its first target, which the mask leaves alone
    assert deltas == (["ipl", "ipl_cust", "uboot", "kernel", "rootfs"] if old else [])
    if old:
        (work / "board/dev/mtd0").write_bytes(image("ipl").ljust(0x10000, b"\xff"))
        Board(work / "board").apply(items)
        (work / "board/dev/mtd0").write_bytes(b"not to be touched")
    check(items, list(IMAGES))
    layout = (work / "images/SStarOtaLayout.txt").read_text().splitlines()
    assert layout[0] == "1,end.sh,end.sh,0x1"
    assert layout[1] == "2,ipl,/dev/mtd0 /dev/mtd1,0x2"
    assert layout[4] == "5,kernel,/dev/mtd4 /dev/mtd5,0x3"
    assert len(layout) == 9


def test_onto_regular_files(work: Path) -> None:
    """The applier itself, on a config without UBI: files stand for the nodes."""
    text = CONFIG.replace("ubifs", "squashfs").replace("/dev/ubi0_", "/dev/vol")
    write(work / "p.config", text.encode())
    for name in ("miservice", "customer"):
        shutil.move(work / f"images/{name}.ubifs", work / f"images/{name}.sqfs")
    for number in range(2):
        shutil.move(work / f"board/dev/ubi0_{number}", work / f"board/dev/vol{number}")
    assert image_ota("--yes", "--end-script", "end.sh", "--output", ".") == 0
    for _ in range(2):
        words = "-x SStarOta.bin.gz --root board -t board/tmp".split()
        assert main.run(words, command=otaunpack.command, name="otaunpack") == 0
    assert (work / "board/log").read_text() == "0\n"
    for name, nodes in NODES.items():
        want = edited(image(name), len(name))
        for node in nodes:
            path = work / "board/dev" / node.replace("ubi0_", "vol")
            assert path.read_bytes()[: len(want)] == want, node
    assert (work / "board/dev/mtd0").read_bytes().startswith(b"not to be touched")
    assert (work / "SStarOtaLayout.txt").exists()
    assert not list(work.glob(".otastream*"))


def test_some(work: Path) -> None:
    assert image_ota("--only", "rootfs,kernel") == 0
    check(records(), ["kernel", "rootfs"])
    assert [getattr(item.record, "label", None) for item in records()[3:5]] == ["kernel", "rootfs"]


def test_the_same_bytes_again(work: Path) -> None:
    found = set()
    for _ in range(2):
        assert image_ota("--all") == 0
        found.add((work / "images/SStarOta.bin.gz").read_bytes())
        time.sleep(1.01)  # gzip would write the second down
    assert len(found) == 1


def test_boot_loaders_on_sd_are_files(work: Path) -> None:
    write(work / "p.config", b"OTA_IMAGE_LIST = ipl uboot\nFLASH_TYPE = sdmmc\nipl$(OTABLK) = /boot/IPL\n"
          b"ipl$(PATSIZE) = 40000\nuboot$(OTABLK) = /dev/mmcblk0boot0\n")  # fmt: skip
    for name in ("ipl", "uboot"):
        write(work / f"images/boot/{name.upper()}", image(name))
    assert image_ota("--all") == 0
    kinds = {record.label: type(record) for item in records() if isinstance(record := item.record, model.Action)}
    assert kinds == {"ipl": model.File, "uboot": model.Block}
    write(work / "p.config", b"OTA_IMAGE_LIST = ipl\nFLASH_TYPE = sdmmc\nipl$(OTABLK) = /boot/IPL\nipl$(PATSIZE) = 9\n")
    assert image_ota("--all") == Code.TOO_SMALL


def test_a_squashfs_in_a_volume_is_a_volume(work: Path) -> None:
    write(work / "p.config", b"OTA_IMAGE_LIST = rootfs\nrootfs$(FSTYPE) = squashfs\nrootfs$(OTABLK) = /dev/ubi0_3\n")
    assert image_ota("--all") == 0
    assert any(isinstance(item.record, model.Ubi) for item in records())


# ---- what does not go --------------------------------------------------------------------------------------------


def test_the_environment_goes_with_its_partition(work: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """BLKENV as data: what the SDK hands to a shell, with the escapes that were meant for that shell taken off."""
    lines = "misc$(BLKENV) = size $(misc$(PATSIZE))\\nboot load \\$${start} \\; go\\nfw_setenv quoted 'a b'\\ngone\n"
    write(work / "p.config", (CONFIG + lines).encode())
    assert image_ota("--only", "misc") == 0
    assert b"misc" in (work / "images/SStarOtaLayout.txt").read_bytes()
    package = work / "images/SStarOta.bin.gz"
    records = [entry.record for entry in inspect_package(str(package)).entries]
    changes = ((b"boot", b"load ${start} ; go"), (b"gone",), (b"quoted", b"a b"), (b"size", b"0x8000"))
    assert model.ExpectEnv(changes) in records
    assert records[-2] == model.Env(changes)
    assert image_ota("--only", "misc", "--skip-env") == 0
    assert not any(isinstance(e.record, model.Env) for e in inspect_package(str(package)).entries)
    assert image_ota("--only", "kernel") == 0
    assert "set it with kernel$(BLKENV)" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("args", "code", "said"),
    [
        (["--only", "rootfs,logo"], Code.USAGE, "logo: not in OTA_IMAGE_LIST"),
        (["--all", "--only", "rootfs"], Code.USAGE, "--all and --only do not go together"),
        (["--only", ""], Code.USAGE, "no partition was chosen"),
        (["--all", "--set", "x"], Code.USAGE, "write NAME=VALUE"),
        (["--all", "--set", "rootfs$(PATSIZE)=100"], Code.TOO_SMALL, "the target has 100"),
        (["--all", "--set", "rootfs$(OTABLK)="], Code.CONFIG, "has no rootfs$(OTABLK)"),
        (["--all", "--set", "rootfs$(OTABLK)=/dev/mtd7"], Code.CONFIG, "the target of two updates"),
        (["--all", "--end-script", "gone.sh"], Code.INPUT, "gone.sh"),
        (["--all", "--ram", "1K"], Code.USAGE, "the budget is"),
        (["--all", "--output", "no/where"], Code.OUTPUT, "no/where"),
        (["--all", "--set", "OTA_IMAGE_LIST=logo", "--set", "logo$(OTABLK)=/dev/a"], Code.INPUT, "no image of logo"),
    ],
)
def test_refused(work: Path, capsys: pytest.CaptureFixture[str], args: list[str], code: Code, said: str) -> None:
    assert image_ota(*args) == code
    assert said in capsys.readouterr().err
    assert sorted(os.listdir("images")) == sorted(IMAGES.values())


def test_config_and_images_are_needed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main.run(["image-ota", "--all"]) == Code.USAGE
    assert "give --config and --images" in capsys.readouterr().err


# ---- questions ---------------------------------------------------------------------------------------------------


def test_on_a_terminal(work: Path) -> None:
    yes = {"kernel": "yes", "customer": "y"}
    answers = [("Start scripts:", ""), ("End scripts:", "end.sh")]
    answers += [(f"Make {name} ?(yes/no)", yes.get(name, "no")) for name in IMAGES]
    command = [sys.executable, "-m", "otastream", "image-ota", "--config", "p.config", "--images", "images"]
    code, seen = talk(command, answers)
    assert code == 0, seen
    assert seen.index("Start scripts:") < seen.index("End scripts:") < seen.index("Make ipl ?(yes/no)")
    assert "2 partitions" in seen
    check(records(), ["kernel", "customer"])
    assert [item.record.when for item in records() if isinstance(item.record, model.Script)] == [model.When.END]


def test_a_makefile_with_ota_mk(work: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What --emit-mk prints works in a makefile, on a terminal and with flags that ask nothing."""
    assert main.run(["image-ota", "--emit-mk", "--config", "p.config", "--images", "images"]) == 0
    write(work / "ota.mk", capsys.readouterr().out.encode())
    write(work / "Makefile", f"OTASTREAM = {sys.executable} -m otastream\ninclude ota.mk\n".encode())
    answers = [("Start scripts:", "end.sh"), ("End scripts:", "")]
    answers += [(f"Make {name} ?(yes/no)", "yes" if name == "rootfs" else "") for name in IMAGES]
    code, seen = talk(["make", "image-ota"], answers)
    assert code == 0, seen
    check(records(), ["rootfs"])
    done = subprocess.run(["make", "ota_images", "OTA_FLAGS=--only misc"], env=environment(), check=False)
    assert done.returncode == 0
    assert [getattr(item.record, "label", None) for item in records()[2:3]] == ["misc"]


def test_answers_from_a_pipe(work: Path) -> None:
    command = [sys.executable, "-m", "otastream", "image-ota", "--config", "p.config", "--images", "images"]
    answers = "\nend.sh\n" + "no\n" * 3 + "yes\n" * 5
    done = subprocess.run(command, input=answers, text=True, capture_output=True, env=environment(), check=False)
    assert done.returncode == 0, done.stderr
    check(records(), list(IMAGES)[3:])
    done = subprocess.run(command, input="\n\nyes\n", text=True, capture_output=True, env=environment(), check=False)
    assert done.returncode == Code.USAGE
    assert "give --all, or --only A,B" in done.stderr
    done = subprocess.run(
        [*command, "--start-script", "end.sh", "--end-script", "end.sh"],
        input="no\n" * 7 + "yes\n", text=True, capture_output=True, env=environment(), check=False,
    )  # fmt: skip
    assert done.returncode == 0
    assert "scripts:" not in done.stderr
