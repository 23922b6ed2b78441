"""Everything that the emulated board needs, from nothing, into .cache/board: about 60 MB of Debian packages.

The system is not touched: packages of the board's architecture are only downloaded (scripts/debroot.py) and unpacked.
What is there already is kept; to fetch anew, remove .cache/board.
"""

from __future__ import annotations

import fcntl
import gzip
import hashlib
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from board import kernel
from scripts.newc import Archive

HERE = Path(__file__).resolve().parent
TREE = HERE.parent.parent
CACHE = TREE / ".cache/board"
CROSS = "arm-linux-gnueabihf-"
HOST_TOOLS = ("qemu-system-arm", f"{CROSS}gcc", "make", "mksquashfs", "mkfs.ubifs", "mke2fs", "apt-get", "dpkg-deb")
RAM_VIRT, RAM_AST2600 = 0x40000000, 0x80000000

DRIVERS = {
    "disk": ("virtio_mmio", "virtio_blk"),
    "virtio-gpu": ("virtio_pci", "virtio-gpu"),
    "cirrus": ("cirrus",),
    "net": ("virtio_mmio", "virtio_net"),
    "ext4": ("crc32c_generic", "ext4"),
    "mtdblock": ("mtdblock",),
    "spinor": ("spi-aspeed-smc", "spi-nor"),
    "nandsim": ("mtd", "nandsim"),  # a job inserts it, with parameters
    "squashfs": ("squashfs",),
    "jffs2": ("jffs2",),
    "ubi": ("ubi",),
    "ubifs": ("zstd", "deflate", "lzo", "lzo-rle", "ubi", "ubifs"),  # nothing in the board loads compressors by itself
}
"""Sets of modules that a job can ask for; what they depend on comes with them."""

LAST_BY_HAND = frozenset({"nandsim"})
MTD_TOOLS = (
    "flash_erase", "mtdinfo", "mtdpart", "nanddump", "nandwrite",
    "ubiattach", "ubiblock", "ubidetach", "ubimkvol", "ubiupdatevol",
)  # fmt: skip
LIBRARIES = ("ld-linux-armhf.so.3", "libc.so.6")


class NotHereError(Exception):
    """The board cannot be emulated on this machine; the text says why and what helps."""


class FailedError(Exception):
    """A program that is part of this failed: the tests cannot say anything, which is not the same as being skipped."""


@dataclass(frozen=True, slots=True)
class Kit:
    """What a machine is started from; all are files beneath .cache/board or build."""

    virt: Path  # kernel for each machine
    ast2600: Path
    ast2600_dtb: Path
    base: Path  # initramfs
    program: Path  # otaunpack
    bound: Path  # runs a program within an address space
    pnand: Path | None
    no_pnand: str  # why there is no such module

    @property
    def image(self) -> Path:
        """The kernel without a wrapper: a real 20 MB image to update."""
        return CACHE / "made/Image"


def run(*args: str | Path, cwd: Path | None = None) -> str:
    done = subprocess.run(args, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL, cwd=cwd)
    if done.returncode != 0:
        tail = "\n".join((done.stderr or done.stdout).strip().splitlines()[-8:])
        raise FailedError(f"{' '.join(map(str, args))}\n{tail}")
    return done.stdout


@contextmanager
def _locked() -> Iterator[None]:
    CACHE.mkdir(parents=True, exist_ok=True)
    with (CACHE / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


# ---- packages ----------------------------------------------------------------------------------------------------


def _debroot(*args: str | Path) -> str:
    try:
        return run(sys.executable, TREE / "scripts/debroot.py", *args).strip()
    except FailedError as exc:
        raise NotHereError(f"no packages of the board: {exc}") from exc


def _fetched(folder: str, arch: str, packages: Callable[[], Sequence[str]]) -> Path:
    """Unpacked packages; the network is asked only when they are not there."""
    root = CACHE / folder
    if not (root / ".packages").exists():
        _debroot(arch, "get", root, *packages())
    return root


def _kernel_packages() -> list[str]:
    """linux-image-armmp stands for the kernel of the latest point release."""
    return [_debroot("armhf", "first-dependency", "linux-image-armmp")]


def _release(root: Path) -> str:
    """The kernel's version as its modules know it, such as 6.1.0-50-armmp."""
    return next((root / "lib/modules").iterdir()).name


# ---- what is made of them ----------------------------------------------------------------------------------------


def _made(name: str, inputs: Iterable[Path | str], make: Callable[[Path], None]) -> Path:
    """A file that is made anew when an input changed. Inputs: files by content, or any text."""
    path = CACHE / "made" / name
    path.parent.mkdir(exist_ok=True)
    sums = (hashlib.sha256(i.read_bytes() if isinstance(i, Path) else i.encode()).hexdigest() for i in inputs)
    key = "\n".join(sums)
    stamp = path.with_name(f".{name}.inputs")
    if not (path.exists() and stamp.exists() and stamp.read_text() == key):
        stamp.unlink(missing_ok=True)
        make(path)
        stamp.write_text(key)
    return path


def _kernels(root: Path) -> tuple[Path, Path]:
    zimage = next((root / "boot").glob("vmlinuz-*"))
    inputs = [root / ".packages", HERE / "kernel.py"]
    image = _made("Image", inputs, lambda out: _write(out, kernel.unpack(zimage.read_bytes())))
    virt = _made("virt", inputs, lambda out: _write(out, kernel.uimage(image.read_bytes(), RAM_VIRT)))
    ast = _made("ast2600", inputs, lambda out: _write(out, kernel.uimage(image.read_bytes(), RAM_AST2600)))
    return virt, ast


def _write(path: Path, data: bytes) -> None:
    path.write_bytes(data)


def _modules(root: Path) -> dict[str, Path]:
    return {path.stem.replace("-", "_"): path for path in (root / "lib/modules").rglob("*.ko")}


def _with_dependencies(names: Iterable[str], modules: dict[str, Path]) -> list[str]:
    """In the order of insertion; names that are no module are built into the kernel."""
    order: list[str] = []

    def visit(name: str) -> None:
        name = name.replace("-", "_")
        if name in order or name not in modules:
            return
        found = re.search(rb"\0depends=([^\0]*)\0", modules[name].read_bytes())
        for needed in found[1].decode().split(",") if found else ():
            visit(needed)
        order.append(name)

    for name in names:
        visit(name)
    return order


def _base(kernel_root: Path, user: Path, out: Path) -> None:
    """The initramfs of every job: busybox, MTD tools with their libc, modules by sets."""
    archive = Archive()
    for folder in ("dev", "etc", "job", "mnt", "proc", "root", "run", "sys", "tmp", "var"):
        archive.folder(folder)
    archive.node("dev/console", 5, 1)
    archive.node("dev/null", 1, 3)
    archive.file("init", (HERE / "guest/init.sh").read_bytes(), 0o755)
    archive.file("bin/busybox", (user / "bin/busybox").read_bytes(), 0o755)
    archive.link("bin/sh", "busybox")
    for name in LIBRARIES:
        archive.file(f"lib/{name}", (user / "lib/arm-linux-gnueabihf" / name).read_bytes(), 0o755)
    for name in MTD_TOOLS:
        archive.file(f"sbin/{name}", (user / "usr/sbin" / name).read_bytes(), 0o755)
    modules = _modules(kernel_root)
    needed: dict[str, None] = {}
    for name, wanted in DRIVERS.items():
        order = _with_dependencies(wanted, modules)
        needed |= dict.fromkeys(order)
        order = [module for module in order if module not in LAST_BY_HAND]
        archive.file(f"lib/sets/{name}", "".join(f"{module}.ko\n" for module in order).encode())
    for name in needed:
        archive.file(f"lib/modules/{name}.ko", modules[name].read_bytes())
    out.write_bytes(gzip.compress(archive.pack(), 6, mtime=0))


def _bound(out: Path) -> None:
    """With the same musl as the board program."""
    specs = TREE / "build/board/armhf/musl.specs"
    flags = "-std=c99 -pedantic -Wall -Wextra -Werror -Os -mthumb -static -s".split()
    run(f"{CROSS}gcc", f"-specs={specs}", *flags, "-o", out, HERE / "guest/bound.c")


# ---- the test module ---------------------------------------------------------------------------------------------


def _pnand(release: str) -> Path:
    """Build pnand.ko against Debian's headers; they expect to stand in /usr/src."""
    common = release.replace("-armmp", "-common")
    headers = _fetched("linux-headers", "armhf", lambda: [f"linux-headers-{release}", f"linux-headers-{common}"])
    version = release.split("-", maxsplit=1)[0].rsplit(".", 1)[0]
    tools = _fetched("linux-kbuild", _host_arch(), lambda: [f"linux-kbuild-{version}"])

    def make(out: Path) -> None:
        work = CACHE / "pnand"
        shutil.rmtree(work, ignore_errors=True)
        shutil.copytree(HERE / "pnand", work)
        source = _headers(headers / "usr/src", tools, release, work / "headers")
        run("make", "-s", "-C", source, f"M={work}", "ARCH=arm", f"CROSS_COMPILE={CROSS}", "modules")
        run(f"{CROSS}strip", "--strip-debug", "-o", out, work / "pnand.ko")

    inputs = [headers / ".packages", tools / ".packages", HERE / "pnand/pnand.c", HERE / "pnand/Makefile"]
    return _made("pnand.ko", inputs, make)


def _host_arch() -> str:
    return run("dpkg", "--print-architecture").strip()


def _headers(src: Path, tools: Path, release: str, out: Path) -> Path:
    """Debian's headers of one kernel with the paths in them put right; a copy, so that what was fetched stays."""
    out.mkdir()
    kbuild = next((tools / "usr/lib").glob("linux-kbuild-*"))
    common = f"linux-headers-{release.replace('-armmp', '-common')}"
    for name in (common, f"linux-headers-{release}"):
        (out / name).mkdir()
        for item in (src / name).iterdir():
            if item.name in {"scripts", "tools"}:
                (out / name / item.name).symlink_to(kbuild / item.name)
            elif item.name != "Makefile":
                (out / name / item.name).symlink_to(item)
    shutil.copy(src / common / "Makefile", out / common)
    (out / f"linux-headers-{release}/Makefile").write_text(f"include {out / common}/Makefile\n")
    return out / f"linux-headers-{release}"


# ---- all of it ---------------------------------------------------------------------------------------------------


def provide() -> Kit:
    """Fetch, build, or find it there. NotHereError: this machine lacks something. FailedError: a build failed."""
    absent = [tool for tool in HOST_TOOLS if not shutil.which(tool, path=f"{os.environ['PATH']}:/usr/sbin:/sbin")]
    if absent:
        raise NotHereError(f"not installed: {', '.join(absent)} (scripts/apt.sh board)")
    with _locked():
        root = _fetched("linux", "armhf", _kernel_packages)
        user = _fetched("userland", "armhf", lambda: ["busybox-static", "mtd-utils", "libc6"])
        virt, ast = _kernels(root)
        dtb = next((root / "usr/lib").glob("linux-image-*/aspeed-ast2600-evb.dtb"))
        inputs = [
            root / ".packages",
            user / ".packages",
            Path(__file__),
            HERE / "guest/init.sh",
            TREE / "scripts/newc.py",
        ]
        base = _made("base.cpio.gz", inputs, lambda out: _base(root, user, out))
        run(sys.executable, TREE / "scripts/boardbuild.py", "armhf")
        built = TREE / "build/board/armhf/otaunpack"
        program = _made("otaunpack", [built], lambda out: _write(out, built.read_bytes()))
        bound = _made("bound", [HERE / "guest/bound.c"], _bound)
        pnand, why = None, ""
        try:
            pnand = _pnand(_release(root))
        except (NotHereError, FailedError) as exc:
            why = f"the module pnand.ko cannot be built: {exc}"
        return Kit(virt, ast, dtb, base, program, bound, pnand, why)


if __name__ == "__main__":
    print(provide())
