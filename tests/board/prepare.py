"""Everything that the emulated board needs, from nothing, cached in .cache/board: kernels, initramfs, test module, runner.

    python -m board.prepare      (with tests/ on the path)

Nothing is installed: Debian's armhf packages are unpacked into the cache (scripts/debroot.py). The emulator and the cross
compiler must be there (scripts/apt.sh board).
"""

from __future__ import annotations

import fcntl
import gzip
import hashlib
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

from board import uimage
from board.cpio import Archive

HERE = Path(__file__).resolve().parent
TREE = HERE.parent.parent
CACHE = TREE / ".cache/board"
TOOLS = ("qemu-system-arm", "arm-linux-gnueabihf-gcc", "make")
RAM = {"virt": 0x40000000, "ast2600-evb": 0x80000000}

# Kernel modules that jobs ask for, by set; what they need is found in the modules themselves.
SETS = {
    "virtio": ("virtio_mmio", "virtio_blk"),
    "net": ("virtio_mmio", "virtio_net"),
    "nandsim": ("nandsim",),
    "mtdblock": ("mtdblock",),
    "ubi": ("ubi",),
    "ubifs": ("zstd", "deflate", "ubi", "ubifs"),
    "ext4": ("crc32c_generic", "ext4"),
    "squashfs": ("squashfs",),
    "spinor": ("spi-aspeed-smc", "spi-nor"),
}
ONLY_SHIPPED = ("nandsim",)  # loaded by the job, with parameters
MTD_TOOLS = (
    "flash_erase", "nandwrite", "nanddump", "mtdinfo", "mtdpart", "ubiattach", "ubidetach", "ubiformat", "ubimkvol",
    "ubinfo", "ubiupdatevol", "ubirename", "ubiblock",
)  # fmt: skip
LIBRARIES = ("libc.so.6",)


def missing_tools() -> list[str]:
    return [tool for tool in TOOLS if shutil.which(tool) is None]


def _run(*args: str | Path) -> str:
    done = subprocess.run(args, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(map(str, args))}\n{done.stdout}{done.stderr}")
    return done.stdout


def _debroot(arch: str, *args: str | Path) -> str:
    return _run(sys.executable, TREE / "scripts/debroot.py", arch, *args).strip()


def _fetch() -> str:
    """Unpack the packages; the kernel's ABI, e.g. 6.1.0-50-armmp."""
    kernel = _debroot("armhf", "first-dependency", "linux-image-armmp")
    abi = kernel.removeprefix("linux-image-")
    common = f"linux-headers-{abi.removesuffix('-armmp')}-common"
    _debroot("armhf", "get", CACHE / "kernel", kernel)
    _debroot("armhf", "get", CACHE / "user", "busybox-static", "mtd-utils", "libc6")
    _debroot("armhf", "get", CACHE / "headers", f"linux-headers-{abi}", common)
    _debroot("amd64", "get", CACHE / "headers-tools", "linux-kbuild-" + ".".join(abi.split(".")[:2]))
    return abi


def _kernels(abi: str) -> None:
    image = uimage.unpacked((CACHE / f"kernel/boot/vmlinuz-{abi}").read_bytes())
    for machine, ram in RAM.items():
        (CACHE / f"uImage.{machine}").write_bytes(uimage.wrap(image, ram))
    tree = CACHE / f"kernel/usr/lib/linux-image-{abi}/aspeed-ast2600-evb.dtb"
    shutil.copy(tree, CACHE / "ast2600-evb.dtb")


class _Modules:
    """The kernel's modules and what each needs, as the modules themselves say."""

    def __init__(self, abi: str) -> None:
        folder = CACHE / "kernel/lib/modules" / abi
        self._paths = {path.stem.replace("-", "_"): path for path in folder.rglob("*.ko")}

    def closure(self, names: Iterable[str]) -> list[Path]:
        """In the order of loading. What is built into the kernel is left out."""
        found: dict[str, Path] = {}
        for name in names:
            self._visit(name.replace("-", "_"), found)
        return list(found.values())

    def _visit(self, name: str, found: dict[str, Path]) -> None:
        path = self._paths.get(name)
        if path is None or name in found:
            return
        needs = re.search(rb"\0depends=([^\0]*)\0", path.read_bytes())
        for need in needs.group(1).decode().split(",") if needs and needs.group(1) else ():
            self._visit(need.replace("-", "_"), found)
        found[name] = path


def _initramfs(abi: str) -> None:
    archive, modules = Archive(), _Modules(abi)
    for name in ("proc", "sys", "dev", "tmp", "mnt", "etc", "job"):
        archive.folder(name)
    archive.character_device("dev/console", 5, 1)
    archive.file("init", HERE / "guest/init.sh", 0o755)
    archive.file("bin/busybox", CACHE / "user/bin/busybox", 0o755)
    archive.link("bin/sh", "busybox")
    wanted: dict[str, Path] = {}
    for name, members in SETS.items():
        order = modules.closure(members)
        listed = [] if name in ONLY_SHIPPED else [path.name for path in order]
        archive.file(f"lib/sets/{name}", "".join(f"{ko}\n" for ko in listed).encode())
        wanted |= {path.name: path for path in order}
    for ko, path in wanted.items():
        archive.file(f"lib/ko/{ko}", path)
    archive.file("lib/ko/pflash.ko", CACHE / "pflash/pflash.ko")
    libraries = CACHE / "user/lib/arm-linux-gnueabihf"
    archive.file("lib/ld-linux-armhf.so.3", libraries / "ld-linux-armhf.so.3", 0o755)
    for library in LIBRARIES:
        archive.file(f"lib/{library}", libraries / library, 0o755)
    for tool in MTD_TOOLS:
        archive.file(f"sbin/{tool}", CACHE / "user/usr/sbin" / tool, 0o755)
    (CACHE / "base.cpio.gz").write_bytes(gzip.compress(archive.to_bytes(), 6, mtime=0))


def _test_module(abi: str) -> None:
    """pflash.ko against Debian's headers, whose makefiles name each other by absolute path."""
    sources = CACHE / "headers/usr/src"
    headers, common = sources / f"linux-headers-{abi}", sources / f"linux-headers-{abi.removesuffix('-armmp')}-common"
    (headers / "Makefile").write_text(f"include {common}/Makefile\n")
    kbuild = next((CACHE / "headers-tools/usr/lib").glob("linux-kbuild-*"))
    for part in ("scripts", "tools"):
        for link in (headers / part, common / part):
            if link.is_symlink():
                link.unlink()
                link.symlink_to(kbuild / part)
    variables = headers / ".kernelvariables"
    if variables.exists():
        variables.write_text(re.sub(r"(?<!\S)/usr/src/", f"{sources}/", variables.read_text()))
    out = CACHE / "pflash"
    shutil.rmtree(out, ignore_errors=True)
    shutil.copytree(HERE / "pflash", out)
    _run("make", "-s", "-C", headers, f"M={out}", "ARCH=arm", "CROSS_COMPILE=arm-linux-gnueabihf-", "modules")
    _run("arm-linux-gnueabihf-strip", "--strip-debug", out / "pflash.ko")


def _fingerprint() -> str:
    """Changes when anything that the cache is made from changes here."""
    paths = sorted([*HERE.glob("*.py"), *HERE.glob("guest/init.sh"), *HERE.glob("pflash/*")])
    wanted = [path for path in paths if path.name in ("prepare.py", "cpio.py", "uimage.py") or path.parent != HERE]
    return hashlib.sha256(b"".join(path.read_bytes() for path in wanted)).hexdigest()


def prepare() -> Path:
    """The cache folder, complete. Several processes may ask at once."""
    CACHE.mkdir(parents=True, exist_ok=True)
    with (CACHE / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        stamp = CACHE / "ready"
        if not stamp.exists() or stamp.read_text() != _fingerprint():
            abi = _fetch()
            _kernels(abi)
            _test_module(abi)
            _initramfs(abi)
            stamp.write_text(_fingerprint())
    return CACHE


if __name__ == "__main__":
    if absent := missing_tools():
        raise SystemExit(f"missing: {', '.join(absent)}; run scripts/apt.sh board")
    print(prepare())  # noqa: T201
