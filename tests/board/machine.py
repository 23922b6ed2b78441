"""Run a job on an emulated board, and cut its power.

A job is a shell script with its files; they are put behind the initramfs as a second archive, so no disk and no root
are needed to bring them in. The board is over when its script is (its exit status comes over the serial line), when the
power is cut (SIGKILL: what the emulator has not written by then is lost), or when it takes too long.
"""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from board.provide import HERE, RAM_AST2600, Kit
from scripts.newc import Archive

TIMEOUT = 240.0
COMMON = ("-nographic", "-nodefaults", "-serial", "stdio", "-no-reboot")
_TRACED = b"virtio_blk_handle_write"  # an event of the emulator
KERNEL_ARGS = "quiet loglevel=3 panic=-1 random.trust_bootloader=on"

WRITE = "@@WRITE"
Cut = Callable[[str], bool]
"""Told every line of the serial console; true: cut the power now. A `WriteNumber` also gets WRITE, a line for each."""


@dataclass(frozen=True, slots=True)
class Job:
    """script: shell, run by busybox. files: beside it in /job, local files or bytes. sets: of provide.DRIVERS."""

    script: str
    files: Mapping[str, Path | bytes] = field(default_factory=dict)
    sets: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Result:
    """code: exit status of the script; None: the power was cut before. seconds: of the whole run, on the wall."""

    code: int | None
    lines: Sequence[str]
    seconds: float

    @property
    def text(self) -> str:
        return "\n".join(self.lines)

    def find(self, mark: str) -> list[str]:
        """What follows `mark` on the lines that begin with it."""
        return [line[len(mark) :].strip() for line in self.lines if line.startswith(mark)]


class Machine(Protocol):
    """An emulated board."""

    def command(self, kit: Kit, initrd: Path, kernel_args: str) -> list[str | Path]: ...


@dataclass(frozen=True, slots=True)
class Virt:
    """The emulator's own board: Cortex-A7, virtio disks and network. ram: MiB. disks: raw images.

    synced: what the board has written outlives a cut; where no power is cut, not doing so is faster. screen: a display
    device of the emulator, with its options.
    """

    disks: Sequence[Path] = ()
    ram: int = 96
    network: bool = False
    synced: bool = True
    screen: str = ""

    def command(self, kit: Kit, initrd: Path, kernel_args: str) -> list[str | Path]:
        args: list[str | Path] = ["-M", "virt,highmem=off", "-cpu", "cortex-a7", "-m", f"{self.ram}M"]
        for i, disk in reversed(list(enumerate(self.disks))):  # the kernel finds the last one first: that is vda
            cache = "writethrough" if self.synced else "unsafe"
            args += ["-drive", f"if=none,id=d{i},file={disk},format=raw,cache={cache}"]
            args += ["-device", f"virtio-blk-device,drive=d{i}"]
        net = ["-netdev", "user,id=n", "-device", "virtio-net-device,netdev=n"] if self.network else ["-nic", "none"]
        if self.screen:
            args += ["-device", self.screen]
        args += ["-kernel", kit.virt, "-initrd", initrd, *net]
        return [*args, "-append", f"console=ttyAMA0 {kernel_args}"]


@dataclass(frozen=True, slots=True)
class Ast2600:
    """A board with SPI NOR chips behind the real drivers. chips: images of 64 MiB (4 KiB sectors) and 16 MiB (64 KiB).

    The machine has 1 GiB; the kernel is told to use `ram` MiB of it, so the initramfs must lie within them.
    """

    chips: Sequence[Path]
    ram: int = 96

    def command(self, kit: Kit, initrd: Path, kernel_args: str) -> list[str | Path]:
        at = RAM_AST2600 + (32 << 20)
        args: list[str | Path] = ["-M", "ast2600-evb,spi-model=s25fl129p1", "-m", "1G", "-dtb", kit.ast2600_dtb]
        for i, chip in enumerate(self.chips):
            args += ["-drive", f"if=mtd,index={i},format=raw,file={chip}"]
        args += ["-kernel", kit.ast2600, "-device", f"loader,file={initrd},addr={at:#x},force-raw=on", "-nic", "none"]
        where = f"mem={self.ram}M initrd={at:#x},{initrd.stat().st_size}"
        return [*args, "-append", f"console=ttyS4,115200n8 {where} {kernel_args}"]


class Desk:
    """Who sits in front of the board: sees its screen (QMP, the emulator's JSON protocol), types a line."""

    def __init__(self, process: subprocess.Popen[bytes], control: Path) -> None:
        self._process, self._control = process, control

    def screen(self) -> bytes:
        """A picture of the screen, as PPM."""
        shot = self._control.with_name("shot.ppm")
        with socket.socket(socket.AF_UNIX) as connection:
            connection.connect(str(self._control))
            with connection.makefile("rwb") as stream:
                stream.readline()  # the greeting
                for command in (
                    {"execute": "qmp_capabilities"},
                    {"execute": "screendump", "arguments": {"filename": str(shot)}},
                ):
                    stream.write(json.dumps(command).encode())
                    stream.flush()
                    while True:
                        answer = json.loads(stream.readline())
                        if "return" in answer:
                            break
                        assert "error" not in answer, answer
        return shot.read_bytes()

    def enter(self) -> None:
        """Press return: the job waits in `read`."""
        assert self._process.stdin is not None
        self._process.stdin.write(b"\n")
        self._process.stdin.flush()


Watch = Callable[[str, Desk], None]
"""Told every line of the serial console of a board with a screen."""


def progress_from(percent: int) -> Cut:
    """Cut when the update (not the check before it) has come so far."""

    def cut(line: str) -> bool:
        if not line.startswith('{"phase": "update"'):
            return False
        try:
            return (json.loads(line)["percent"] or 0) >= percent
        except json.JSONDecodeError:  # the kernel spoke in between
            return False

    return cut


def text_seen(mark: str) -> Cut:
    """Cut at a line that begins so."""
    return lambda line: line.startswith(mark)


class WriteNumber:
    """Cut at the n-th write to a disk that the board makes between its lines @@BEGIN and @@END (None: never).

    A write is counted when the emulator gets it, so it is on its way when the power goes. Jobs may have several such
    pairs of lines; counting goes on. seen: writes so far.
    """

    def __init__(self, n: int | None) -> None:
        self._n = n
        self._within = False
        self.seen = 0

    def __call__(self, line: str) -> bool:
        if line in ("@@BEGIN", "@@END"):
            self._within = line == "@@BEGIN"
        if line != WRITE or not self._within:
            return False
        self.seen += 1
        return self.seen == self._n


def _initrd(kit: Kit, job: Job, out: Path) -> None:
    base = kit.base.read_bytes()
    archive = Archive()
    archive.file("job/run.sh", f". /job/lib.sh\n{job.script}".encode())
    archive.file("job/lib.sh", (HERE / "guest/lib.sh").read_bytes())
    archive.file("job/otaunpack", kit.program.read_bytes(), 0o755)
    archive.file("job/bound", kit.bound.read_bytes(), 0o755)
    if kit.pnand is not None:
        archive.file("job/pnand.ko", kit.pnand.read_bytes())
    for name, content in job.files.items():
        archive.file(f"job/{name}", content if isinstance(content, bytes) else content.read_bytes(), 0o644)
    out.write_bytes(base + bytes(-len(base) % 4) + archive.pack())


def _lines(sources: Sequence[int], deadline: float) -> Iterator[str]:
    """Lines as they come, until the first source ends; TimeoutError when it is too late."""
    rest = dict.fromkeys(sources, b"")
    while True:
        left = deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError
        for source in select.select(sources, [], [], left)[0]:
            piece = os.read(source, 65536)
            if not piece:
                return
            *lines, rest[source] = (rest[source] + piece).split(b"\n")
            for line in lines:
                yield WRITE if _TRACED in line else line.decode(errors="replace").rstrip("\r")


@contextmanager
def _traced(folder: Path, cut: Cut | None) -> Iterator[tuple[list[str | Path], list[int]]]:
    """Options of the emulator that make it tell of writes, and where it does: nothing if `cut` does not count them."""
    if not isinstance(cut, WriteNumber):
        yield [], []
        return
    pipe = folder / "trace"
    os.mkfifo(pipe)
    source = os.open(pipe, os.O_RDWR)  # both ends: opening waits for nobody, and there is no end of file
    try:
        yield ["-trace", _TRACED.decode(), "-D", pipe], [source]
    finally:
        os.close(source)


def run(
    kit: Kit, machine: Machine, job: Job, *, log: Path, cut: Cut | None = None, watch: Watch | None = None,
    timeout: float = TIMEOUT,
) -> Result:  # fmt: skip
    """Start the board, run the job, wait for its end. log: gets the console, appended. AssertionError: no end."""
    began = time.monotonic()
    lines: list[str] = []
    code: int | None = None
    was_cut = False
    with (
        tempfile.TemporaryDirectory(prefix="otastream-board-") as folder,
        log.open("a", buffering=1) as console,
        _traced(Path(folder), cut) as (tracing, writes),
    ):
        initrd, control = Path(folder) / "initrd", Path(folder) / "qmp"
        _initrd(kit, job, initrd)
        args = [*machine.command(kit, initrd, f"{KERNEL_ARGS} sets={','.join(job.sets)}"), *tracing]
        if watch is not None:
            args += ["-qmp", f"unix:{control},server=on,wait=off"]
        process = subprocess.Popen(
            ["qemu-system-arm", *COMMON, *args], stdin=subprocess.DEVNULL if watch is None else subprocess.PIPE,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip
        desk = Desk(process, control)
        try:
            assert process.stdout is not None
            for line in _lines([process.stdout.fileno(), *writes], began + timeout):
                if line != WRITE:
                    console.write(f"{time.monotonic() - began:7.2f} {line}\n")
                    lines.append(line)
                if line.startswith("@@EXIT "):
                    code = int(line.split()[1])
                if watch is not None:
                    watch(line, desk)
                if cut is not None and cut(line):
                    was_cut = True
                    break
        except TimeoutError:
            raise AssertionError(f"no end after {timeout} s; console in {log}\n" + "\n".join(lines[-30:])) from None
        finally:
            process.send_signal(signal.SIGKILL)
            process.wait()
            for pipe in (process.stdin, process.stdout):
                if pipe is not None:
                    pipe.close()
            console.write(f"---- {'power cut' if was_cut else f'exit {code}'}, {time.monotonic() - began:.1f} s\n")
    if code is None and not was_cut:
        raise AssertionError(f"the board stopped without a verdict; console in {log}\n" + "\n".join(lines[-30:]))
    return Result(code, lines, time.monotonic() - began)
