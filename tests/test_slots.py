"""A/B: one package, sent once, for either slot; the boot loader is told as data, and asked by its own tools."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from e2e_support import OTASTREAM, Applier, board_program, edited, otastream, succeed, write
from env_support import Environment, needs_tools
from otastream.config import Image, Release, Scripts
from otastream.errors import Code
from otastream.pack import pack_release

pytestmark = needs_tools
OLD = bytes(range(256)) * 200 + b"."
NEW = edited(OLD, 3) + b"."
KERNEL = b"kernel" * 1000
EMPTY = b"\xff" * 0x10000
PAGE = (Path(__file__).parent.parent / "docs/how-to/ab-boot.md").read_text()


def recipe(name: str) -> str:
    """A file of slots as the page shows it."""
    return PAGE.split(f"```slots-{name}\n")[1].split("```")[0]


UBOOT, VENDOR = recipe("uboot"), recipe("vendor")
ORDER = 'a /dev/mtd3 /dev/mtd5\nb /dev/mtd4 /dev/mtd6\nselect BOOT_ORDER "A B" "B A"\n'


class Board:
    """Kernel and root file system in two slots, slot a filled, and an environment."""

    def __init__(self, folder: Path, slots: str, variables: dict[str, str], *, command_line: str | None) -> None:
        self.root = folder / "root"
        for number, content in {3: KERNEL, 4: b"", 5: OLD, 6: b"", 9: b"shared"}.items():
            write(self.root / f"dev/mtd{number}", content.ljust(len(EMPTY), b"\xff"))
        (self.root / "tmp").mkdir()
        write(self.root / "etc/otastream/slots", slots.encode())
        if command_line is not None:
            self.boot(command_line)
        self.environment = Environment(self.root, variables)

    def boot(self, command_line: str) -> None:
        write(self.root / "proc/cmdline", command_line.encode() + b"\n")

    def node(self, number: int) -> bytes:
        return (self.root / f"dev/mtd{number}").read_bytes().rstrip(b"\xff")

    def variables(self, *names: str) -> list[str | None]:
        found = self.environment.read()
        return [found.get(name) for name in names]


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A delta for the root file system of either slot, and a new kernel."""
    folder = tmp_path_factory.mktemp("package")
    for name, content in (("old", OLD), ("new", NEW), ("kernel", KERNEL + b"2")):
        write(folder / name, content)
    images = (
        Image(new=str(folder / "kernel"), targets=("/dev/mtd3", "/dev/mtd4"), label="kernel"),
        Image(new=str(folder / "new"), targets=("/dev/mtd5", "/dev/mtd6"), old=str(folder / "old"), label="rootfs"),
    )
    pack_release(Release(image=images), output=str(folder / "p.ota"))
    return folder / "p.ota"


def slots(applier: Applier, board: Board, action: str) -> tuple[int, dict[str, str], str]:
    """Status, mark-good or rollback, by the same program that applies."""
    option = "--slot-status" if action == "status" else f"--{action}"
    program = [*OTASTREAM, action] if applier.python else [board_program("amd64"), option]
    done = subprocess.run([*program, "--root", board.root], capture_output=True, check=False)
    pairs = (line.partition("=") for line in done.stdout.decode().splitlines())
    return done.returncode, {key: value for key, _, value in pairs}, done.stderr.decode()


def test_uboot_boot_count(applier: Applier, package: Path, tmp_path: Path) -> None:
    """Update, trial, good; then an update that does not start, and the boot loader's way back."""
    board = Board(
        tmp_path, UBOOT, {"boot_slot": "a", "bootlimit": "3"}, command_line="console=x root=/dev/mtdblock5 ro"
    )
    names = ("boot_slot", "upgrade_available", "bootcount", "ota_incomplete", "bootlimit")
    applier.succeed(package, board.root, "--slot", "auto")
    assert (board.node(4), board.node(6)) == (KERNEL + b"2", NEW)
    assert (board.node(3), board.node(5)) == (KERNEL, OLD), "the slot that runs stays"
    assert board.variables(*names) == ["b", "1", "0", None, "3"]
    assert slots(applier, board, "status")[1] == {
        "running": "a", "selected": "b", "trial": "1", "bootcount": "0", "incomplete": "", "good": "",
    }  # fmt: skip
    code, _, stderr = slots(applier, board, "mark-good")
    assert (code, "is not the one that is selected" in stderr) == (Code.CONFIG, True)

    board.environment.set("bootcount", "1")  # as U-Boot does
    board.boot("root=/dev/mtdblock6")
    code, state, _ = slots(applier, board, "mark-good")
    assert (code, state["running"], state["trial"]) == (0, "b", "0")
    assert board.variables(*names) == ["b", "0", "0", None, "3"]

    write(board.root / "dev/mtd6", OLD.ljust(len(EMPTY), b"\xff"))  # back to the old one for the delta
    applier.succeed(package, board.root, "--slot", "auto")
    assert board.node(5) == NEW, "the delta runs from the slot that stays, whichever it is"
    assert board.variables(*names) == ["a", "1", "0", None, "3"]
    board.environment.set("bootcount", "4")  # above the limit: altbootcmd starts the other slot
    code, state, _ = slots(applier, board, "rollback")
    assert (code, state["selected"], state["trial"]) == (0, "b", "0")
    assert board.variables(*names) == ["b", "0", "0", None, "3"]


def test_vendor_slot_select(applier: Applier, package: Path, tmp_path: Path) -> None:
    """No trial counter: which slots are good stands in a list of bytes; the rest of a byte stays."""
    board = Board(tmp_path, VENDOR, {"slot_select": "0", "slot_metadata": "81,83"}, command_line="root=/dev/mtdblock5")
    applier.succeed(package, board.root, "--slot", "auto")
    assert board.variables("slot_select", "slot_metadata", "bootcount") == ["1", "81,03", None]
    board.boot("root=/dev/mtdblock6")
    code, state, _ = slots(applier, board, "mark-good")
    assert (code, state["good"], state["trial"]) == (0, "a,b", "")
    assert board.variables("slot_select", "slot_metadata") == ["1", "81,83"]
    assert slots(applier, board, "rollback")[0] == 0
    assert board.variables("slot_select") == ["0"]
    board.environment.set("slot_metadata", "0x80,0x1")
    code, _, stderr = slots(applier, board, "rollback")
    assert (code, "never proved to work" in stderr) == (Code.CONFIG, True)


def test_slots_by_the_variable_alone(applier: Applier, package: Path, tmp_path: Path) -> None:
    board = Board(tmp_path, ORDER, {"BOOT_ORDER": "A B"}, command_line=None)
    applier.succeed(package, board.root, "--slot", "auto")
    assert board.variables("BOOT_ORDER", "upgrade_available") == ["B A", "1"]
    done = applier.run(package, board.root, "--slot", "auto")  # before the board has started anew
    assert (done.returncode, b"waits for its first start" in done.stderr) == (Code.CONFIG, True)
    applier.succeed(package, board.root, "--slot", "b")
    assert board.variables("BOOT_ORDER", "upgrade_available") == ["B A", "1"]


def test_a_failed_update_leaves_the_slot_that_runs(applier: Applier, package: Path, tmp_path: Path) -> None:
    """The end script fails, an inline script fails, and what is half written cannot be rolled back to."""
    for name, text in (("good", "exit 0"), ("bad", "exit 7")):
        write(tmp_path / name, text.encode())
    write(tmp_path / "new", NEW)
    image = Image(new=str(tmp_path / "new"), targets=("/dev/mtd5", "/dev/mtd6"))
    board = Board(tmp_path, UBOOT, {"boot_slot": "b"}, command_line="root=/dev/mtdblock5")
    release = Release(image=(image,), scripts=Scripts(inline=(str(tmp_path / "bad"),)))
    pack_release(release, output=str(tmp_path / "p.ota"))
    assert applier.code(tmp_path / "p.ota", board.root, "--slot", "auto") == Code.SCRIPT
    assert board.variables("boot_slot", "ota_incomplete", "upgrade_available") == ["a", "b", "0"]
    code, _, stderr = slots(applier, board, "rollback")
    assert (code, "half written" in stderr) == (Code.CONFIG, True)
    applier.succeed(package, board.root, "--slot", "auto")
    assert board.variables("boot_slot", "ota_incomplete", "upgrade_available") == ["b", None, "1"]


def test_what_is_refused(applier: Applier, package: Path, tmp_path: Path) -> None:
    board = Board(tmp_path, UBOOT, {"boot_slot": "a"}, command_line="root=/dev/mtdblock5")
    before = {number: board.node(number) for number in (3, 4, 5, 6)}

    def refused(code: Code, text: str, *options: str) -> None:
        done = applier.run(package, board.root, *options)
        assert (done.returncode, text in done.stderr.decode()) == (code, True), done.stderr.decode()
        assert {number: board.node(number) for number in before} == before

    refused(Code.CONFIG, "is the one that runs", "--slot", "a")
    for slots_file, problem in (
        ("a /dev/mtd3\nb /dev/mtd4\n", "there is no line: select"),
        ("a /dev/mtd3\nselect x 0 1\n", "the nodes of a slot are missing"),
        (UBOOT + "trial x\n", "is not: trial NAME COUNTER"),
        (UBOOT + "good x\n", "is not: good NAME MASK"),
        (UBOOT + "slot c\n", "begins with none of"),
        ("a /dev/mtd3\nb /dev/mtd4\nselect x 1 1\n", "there is no line: select"),
    ):
        write(board.root / "etc/otastream/slots", slots_file.encode())
        refused(Code.CONFIG, problem, "--slot", "auto")
    write(board.root / "etc/otastream/slots", UBOOT.replace(" /dev/mtd6\n", "\n").encode())
    refused(Code.TARGET, "no target in the slot", "--slot", "auto")
    (board.root / "etc/otastream/slots").unlink()
    refused(Code.CONFIG, "has no /etc/otastream/slots", "--slot", "b")
    (board.root / "etc/fw_env.config").unlink()
    write(board.root / "etc/otastream/slots", UBOOT.encode())
    refused(Code.ENV, "has no /etc/fw_env.config", "--slot", "b")


def test_status_as_json_with_the_last_update(package: Path, tmp_path: Path) -> None:
    board = Board(tmp_path, UBOOT, {"boot_slot": "a", "bootcount": "2"}, command_line="root=/dev/mtdblock6")
    last = tmp_path / "last"
    last.write_text("state=done\nversion=1.2\n")
    found = json.loads(succeed("status", "--root", board.root, "--status", last, "--json"))
    assert (found["running"], found["selected"], found["boot_count"]) == ("b", "a", 2)
    assert found["update"] == {"state": "done", "version": "1.2"}
    assert "update.version=1.2" in succeed("status", "--root", board.root, "--status", last)
    assert otastream("status", "--root", board.root, "--status", tmp_path / "none").returncode == Code.INPUT


def test_the_package_of_the_page(applier: Applier, tmp_path: Path) -> None:
    """The release file and the command of docs/how-to/ab-boot.md."""
    for name, content in (("2.0/rootfs.squashfs", OLD), ("2.1/rootfs.squashfs", NEW), ("2.1/kernel", KERNEL)):
        write(tmp_path / "build" / name, content)
    write(tmp_path / "release.toml", PAGE.split("```toml\n")[1].split("```")[0].encode())
    board = Board(tmp_path, UBOOT, {"boot_slot": "b"}, command_line="root=/dev/mtdblock5")
    succeed("pack", "--spec", tmp_path / "release.toml", "-o", tmp_path / "update.ota")
    applier.succeed(tmp_path / "update.ota", board.root, "--slot", "auto")
    assert (board.node(4), board.node(6), board.node(5)) == (KERNEL, NEW, OLD)
    assert board.variables("boot_slot", "upgrade_available") == ["b", "1"]
