"""Run one job in the emulated board; cut the power at a marked line.

A job is a folder that the guest sees as /job; its run.sh is the job. It is handed over as a second initramfs behind the
cached one, so that no disk and no root is needed. The console comes back line by line; the last `@@EXIT n` is the verdict.
"""

from __future__ import annotations

import os
import re
import selectors
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from board.cpio import Archive
from board.prepare import CACHE

_INITRD_AT = 32 << 20  # ast2600-evb: the emulator's own choice lies beyond what mem= leaves
_NO_VERDICT = -1


@dataclass(frozen=True)
class Machine:
    """virt: NAND (pflash, nandsim), disks, network. ast2600-evb: chips behind a real SPI NOR driver."""

    name: str = "virt"
    memory: int = 64  # MiB that Linux may use
    sets: tuple[str, ...] = ()  # kernel modules, see prepare.SETS
    disks: tuple[Path, ...] = ()  # virtio block devices; SPI NOR chips of the ast2600-evb
    network: bool = False  # 10.0.2.2 is this machine's 127.0.0.1
    append: str = ""


@dataclass
class Result:
    """What a run left. code: of the guest's verdict; cut: the power was cut as asked."""

    code: int = _NO_VERDICT
    cut: bool = False
    seconds: float = 0.0
    lines: list[str] = field(default_factory=list)

    @property
    def console(self) -> str:
        return "\n".join(self.lines)

    def passed(self) -> bool:
        """The job ended, and no check of it failed."""
        return self.code == 0 and not any(line.startswith("not ok") for line in self.lines)


def _command(machine: Machine, initrd: Path) -> list[str]:
    words = f"quiet loglevel=3 panic=-1 random.trust_bootloader=on sets={','.join(machine.sets)} {machine.append}"
    command = ["qemu-system-arm", "-nographic", "-nodefaults", "-no-reboot", "-serial", "stdio"]
    command += ["-kernel", str(CACHE / f"uImage.{machine.name}")]
    if machine.name == "virt":
        command += ["-M", "virt,highmem=off", "-cpu", "cortex-a7", "-m", f"{machine.memory}M", "-initrd", str(initrd)]
        command += ["-append", f"console=ttyAMA0 {words}"]
        for number, disk in enumerate(machine.disks):
            drive = f"if=none,id=disk{number},file={disk},format=raw,cache=writethrough"
            command += ["-drive", drive, "-device", f"virtio-blk-device,drive=disk{number}"]
    else:
        at = 0x80000000 + _INITRD_AT
        where = f"initrd={at:#x},{initrd.stat().st_size} mem={machine.memory}M"
        command += ["-M", "ast2600-evb,spi-model=s25fl129p1", "-m", "1G", "-dtb", str(CACHE / "ast2600-evb.dtb")]
        command += ["-device", f"loader,file={initrd},addr={at:#x},force-raw=on"]
        command += ["-append", f"console=ttyS4,115200n8 {where} {words}"]
        for number, disk in enumerate(machine.disks):
            command += ["-drive", f"if=mtd,index={number},format=raw,file={disk}"]
    network = ["-netdev", "user,id=net", "-device", "virtio-net-device,netdev=net"]
    return command + (network if machine.network else ["-nic", "none"])


@contextmanager
def _initrd(job: Path) -> Iterator[Path]:
    archive = Archive()
    archive.tree("job", job)
    with tempfile.NamedTemporaryFile(dir=CACHE, prefix="initrd.") as file:
        base = (CACHE / "base.cpio.gz").read_bytes()
        file.write(base + bytes(-len(base) % 4) + archive.to_bytes())
        file.flush()
        yield Path(file.name)


def _lines(process: subprocess.Popen[bytes], deadline: float) -> Iterator[str]:
    """Lines of the console until the emulator ends or time is up."""
    assert process.stdout is not None
    rest = b""
    with selectors.DefaultSelector() as selector:
        selector.register(process.stdout, selectors.EVENT_READ)
        while (left := deadline - time.monotonic()) > 0:
            if not selector.select(left):
                continue
            data = os.read(process.stdout.fileno(), 1 << 16)
            if not data:
                return
            *lines, rest = (rest + data).split(b"\n")
            yield from (line.decode(errors="replace").rstrip("\r") for line in lines)


def run(machine: Machine, job: Path, *, cut: str | None = None, log: Path | None = None, timeout: float = 180) -> Result:
    """Boot, run the job, read the console. cut: regular expression; the emulator is killed when a line matches it."""
    result = Result()
    begin = time.monotonic()
    with _initrd(job) as initrd:
        process = subprocess.Popen(
            _command(machine, initrd), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
        try:
            for line in _lines(process, begin + timeout):
                result.lines.append(line)
                if line.startswith("@@EXIT "):
                    result.code = int(line.split()[1])
                if cut is not None and re.search(cut, line):
                    result.cut = True
                    break
        finally:
            process.send_signal(signal.SIGKILL)  # the power cut: nothing is flushed
            process.communicate()
    result.seconds = time.monotonic() - begin
    if log is not None:
        with log.open("a") as file:
            file.write(f"{result.console}\n== code {result.code}, cut {result.cut}, {result.seconds:.1f} s\n")
    return result


def run_with_cuts(machine: Machine, job: Path, *, cuts: Sequence[str], log: Path | None = None) -> list[Result]:
    """Boot once for each cut and then once more to the end; the disks keep what was written."""
    results = [run(machine, job, cut=cut, log=log) for cut in cuts]
    return [*results, run(machine, job, log=log)]
