"""Every command of docs/how-to/from-otapack.md runs as it stands there and does what the page says."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final

import pytest

from e2e_support import edited, state, write
from otastream import model
from reference import Board, load

ROOT: Final = Path(__file__).resolve().parent.parent
PAGE: Final = (ROOT / "docs/how-to/from-otapack.md").read_text()
IMAGES: Final = {"kernel": 90_000, "rootfs.sqfs": 70_000, "ipl_s.bin": 9_000, "customer.ubifs": 50_000}

# What the SDK's page tells its reader to type. (Its pages spell otaunpack in two ways.)
VENDOR: Final = """\
otapack -c SStarOta.bin
otapack -c SStarOta.bin -b start.sh -e end.sh
otapack -a SStarOta.bin -s ./images/kernel -d /dev/mtdblock8 -t 0x500000 --block-update
gzip SStarOta.bin
make image-ota
otapack -a ./test-diff.bin -o ./old/ -n ./new/ -d /config --dir-update
otapack -a ./test-diff.bin -o ./old/ -n ./new/ -d /config --dir-update-diff
otaupack -x SStarOta.bin.gz
otaupack -r SStarOta.bin
otaunpack -x SStarOta.bin.gz -p upgrade.jpg
otaupack -x SStarOta.bin.gz -t /tmp
""".splitlines()

CONFIG: Final = """\
OTA_IMAGE_LIST = ipl kernel rootfs customer
FLASH_TYPE = spinand
ipl$(OTABLK) = /dev/mtd0 /dev/mtd1
ipl$(PATSIZE) = 0x20000
kernel$(OTABLK) = /dev/mtdblock8
kernel$(PATSIZE) = 0x500000
rootfs$(FSTYPE) = squashfs
rootfs$(OTABLK) = /dev/mtdblock9
rootfs$(PATSIZE) = 0x600000
customer$(FSTYPE) = ubifs
customer$(OTABLK) = /dev/ubi0_1
customer$(PATSIZE) = 0x800000
"""


def image(name: str) -> bytes:
    """Of the old release."""
    return (name.encode() * 1000 + bytes(range(256)) * 400)[: IMAGES[name]]


def new_image(name: str) -> bytes:
    return edited(image(name), IMAGES[name])


@pytest.fixture
def work(tmp_path: Path) -> Path:
    """Where the reader stands, the programs on the path, and a board that has the old release."""
    for name, module in (("otapack", "otapack"), ("otaunpack", "otaunpack"), ("otaupack", "otaunpack")):
        root = ' --root "$BOARD"' if module == "otaunpack" else ""
        text = f'#!/bin/sh\nexec "{sys.executable}" -m otastream.cli.{module} "$@"{root}\n'
        write(tmp_path / "bin" / name, text.encode(), 0o755)
    write(tmp_path / "bin/otastream", f'#!/bin/sh\nexec "{sys.executable}" -m otastream "$@"\n'.encode(), 0o755)
    folder, board = tmp_path / "work", tmp_path / "board"
    for name in IMAGES:
        write(folder / "images" / name, new_image(name))
        write(folder / "release-1.0" / name, image(name))
    (folder / "project/image").mkdir(parents=True)
    write(folder / "project/image/configs/spinand.ubifs.p2.partition.config", CONFIG.encode())
    (folder / "images").rename(folder / "project/images")
    (folder / "images").symlink_to("project/images")
    (folder / "project/image/output").mkdir()
    (folder / "project/image/output/images").symlink_to("../../images")
    (folder / "project/release-1.0").symlink_to("../release-1.0")
    makefile = "PROJ_ROOT = $(CURDIR)\nIMAGEDIR = $(PROJ_ROOT)/image/output/images\ninclude image/ota.mk\n"
    write(folder / "project/Makefile", makefile.encode())
    for name, text in (("start.sh", "start"), ("migrate.sh", "migrate"), ("end.sh", "end $OTA_STATUS")):
        write(folder / name, f'echo {text} >> "$OTA_ROOT/log"\n'.encode())
    for name, content in (("camera.conf", b"size = 2\n"), ("ntp.conf", b"server\n")):
        write(folder / "app" / name, content)
    app = bytes(range(256)) * 100
    for side, content in (("old", app), ("new", edited(app, 5))):
        write(folder / side / "app", content, 0o755)
        write(folder / side / f"only-{side}", b"x")
    write(board / "config/app", app, 0o755)
    for name in ("camera.conf", "legacy.conf", "only-old"):
        write(board / "config" / name, b"x")
    nodes = {
        "mtd0": "ipl_s.bin",
        "mtd1": "ipl_s.bin",
        "mtdblock8": "kernel",
        "mtdblock9": "rootfs.sqfs",
        "mtd10": "kernel",
    }
    for node, name in nodes.items():
        write(board / "dev" / node, image(name).ljust(200_000, b"\xff"))
    write(board / "dev/ubi0_1", image("customer.ubifs").ljust(200_000, b"\xff"))
    return folder


def blocks(heading: str, language: str = "sh") -> list[str]:
    """The code blocks of a section."""
    section = PAGE.split(f"\n## {heading}", 1)[1].split("\n## ", maxsplit=1)[0]
    return re.findall(rf"```{language}\n(.*?)```", section, re.DOTALL)


def run(folder: Path, script: str, answers: str = "") -> str:
    """Type it; the first line that fails ends it. What was printed."""
    env = {
        **os.environ,
        "PATH": f"{folder.parent / 'bin'}:{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
        "BOARD": str(folder.parent / "board"),
    }
    done = subprocess.run(
        ["bash", "-euc", script], cwd=folder, env=env, input=answers, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


def holds(folder: Path, node: str, name: str) -> bool:
    return (folder.parent / "board/dev" / node).read_bytes().startswith(new_image(name))


# ---- the sections ------------------------------------------------------------------------------------------------


def _step_by_step(folder: Path) -> None:
    steps, whole = blocks("2.2")
    (spec,) = blocks("2.2", "toml")
    run(folder, steps)
    assert holds(folder, "mtdblock8", "kernel")
    assert holds(folder, "mtdblock9", "rootfs.sqfs")
    assert (folder.parent / "board/log").read_text() == "start\nend 0\n"
    write(folder / "release.toml", spec.encode())
    for node, name in (("mtdblock8", "kernel"), ("mtdblock9", "rootfs.sqfs")):
        (folder.parent / "board/dev" / node).write_bytes(image(name).ljust(200_000, b"\xff"))
    run(folder, whole)
    assert holds(folder, "mtdblock8", "kernel")
    assert holds(folder, "mtdblock9", "rootfs.sqfs")


def _makefile(folder: Path) -> None:
    asked, silent = blocks("2.3")
    said = run(folder, asked, "\nend.sh\nno\nyes\nyes\nno\n".replace("end.sh", str(folder / "end.sh")))
    assert "Make kernel ?(yes/no)" in said
    package = folder / "project/image/output/images/SStarOta.bin.gz"
    assert [r.label for item in load(package) if isinstance(r := item.record, model.Block)] == ["kernel", "rootfs"]
    run(folder, f'otaunpack -x "{package}"')
    assert holds(folder, "mtdblock8", "kernel")
    for number, engines in enumerate(("full full full full", "full full", "bsdiff bsdiff bsdiff full")):
        lines = silent.splitlines()
        run(folder, "\n".join([lines[0], lines[1 + number]]))
        made = [r.engine.name for item in load(package) if isinstance(r := item.record, model.Block | model.Ubi)]
        assert " ".join(made).lower() == engines
    assert (package.parent / "SStarOtaLayout.txt").read_text().splitlines()[3] == "4,customer,/dev/ubi0_1,0x1"


def _raw(folder: Path) -> None:
    run(folder, *blocks("2.4"))
    assert holds(folder, "mtd0", "ipl_s.bin")
    assert holds(folder, "mtd1", "ipl_s.bin")
    assert (folder / "SStarOtaLayout.txt").read_text() == "1,ipl,/dev/mtd0 /dev/mtd1,0x3\n"


def _file_systems(folder: Path) -> None:
    assert "/dev/ubi0_1" in run(folder, *blocks("2.5"))
    Board(folder.parent / "board").apply(load(folder / "SStarOta.bin"))  # a file stands for a volume there only
    assert holds(folder, "mtdblock9", "rootfs.sqfs")
    assert holds(folder, "ubi0_1", "customer.ubifs")


def _files(folder: Path) -> None:
    run(folder, *blocks("2.6"))
    config = folder.parent / "board/config"
    assert (config / "camera.conf").read_bytes() == b"size = 2\n"
    assert (config / "net/ntp.conf").read_bytes() == b"server\n"
    assert not (config / "legacy.conf").exists()
    assert (folder.parent / "board/log").read_text() == "migrate\n"


def _differences(folder: Path) -> None:
    run(folder, *blocks("2.7"))
    assert (folder.parent / "board/config/app").read_bytes() == (folder / "new/app").read_bytes()
    assert holds(folder, "mtdblock8", "kernel")
    assert holds(folder, "mtdblock9", "rootfs.sqfs")
    engines = {item.record.engine for item in load(folder / "SStarOta.bin") if isinstance(item.record, model.Block)}
    assert engines == {model.EngineId.BSDIFF}


def _folders(folder: Path) -> None:
    config = folder.parent / "board/config"
    for name in ("camera.conf", "legacy.conf"):
        (config / name).unlink()
    before = (config / "app").read_bytes()
    for number, script in enumerate(blocks("2.8")):
        write(config / "app", b"whatever" if number == 0 else before, 0o755)
        write(config / "only-old", b"x")
        (config / "only-new").unlink(missing_ok=True)
        run(folder, script)
        assert state(config) == state(folder / "new")
    assert len(blocks("2.8")) == 3


def _upgrade(folder: Path) -> None:
    run(folder, *blocks("3.3"))
    assert holds(folder, "mtdblock8", "kernel")
    assert not (folder / "SStarOta.bin").exists()  # gzip has taken it


def _display(folder: Path) -> None:
    said = run(folder, "".join(blocks("3.5")))
    assert '{"phase": ' in said
    assert "no display: otadisplay is not installed" in said or "otadisplay: warning: " in said


def _with_differences(folder: Path) -> None:
    run(folder, *blocks("3.6"))
    assert holds(folder, "mtdblock8", "kernel")


def _nand(folder: Path) -> None:
    run(folder, *blocks("3.8"))
    assert holds(folder, "mtd10", "kernel")


SECTIONS: Final[dict[str, Callable[[Path], None]]] = {
    "2.2": _step_by_step,
    "2.3": _makefile,
    "2.4": _raw,
    "2.5": _file_systems,
    "2.6": _files,
    "2.7": _differences,
    "2.8": _folders,
    "3.3": _upgrade,
    "3.5": _display,
    "3.6": _with_differences,
    "3.8": _nand,
}


@pytest.mark.parametrize("section", SECTIONS)
def test_section(work: Path, section: str) -> None:
    SECTIONS[section](work)


def test_every_command_is_tested() -> None:
    """A section with commands has a test above, and nothing that the SDK's page says is missing."""
    headings = re.findall(r"^## (\S+)", PAGE, re.MULTILINE)
    assert {heading for heading in headings if blocks(heading)} == set(SECTIONS)
    assert [line for line in VENDOR if line not in PAGE] == []


def test_every_option_is_explained() -> None:
    from otastream.cli import otapack

    options = [option for p in otapack.command.params for option in p.opts if option.startswith("-")]
    table = PAGE.split("## 2.2", maxsplit=1)[0]
    long = {"--create": "-c", "--append": "-a", "--begin-script": "-b", "--end-script": "-e", "--src-file": "-s",
            "--dst-file": "-d", "--dst-file-size": "-t", "--file-mode": "-m", "--diff-old": "-o", "--diff-new": "-n",
            "--add-log": "-l"}  # fmt: skip
    left = [o for o in options if long.get(o, o) not in table and o not in ("--debug", "--version")]
    assert left == []
