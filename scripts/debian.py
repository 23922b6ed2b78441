"""Pairs out of Debian packages of ARM: apt in a root of its own downloads them, dpkg-deb unpacks them.

For every package the oldest and the newest version that Debian 12 offers today become old and new, so the versions are
written beside each pair. Needs apt, dpkg and the archive's keyring (scripts/apt.sh corpus).
"""

from __future__ import annotations

import contextlib
import functools
import lzma
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from scripts.pairs_base import CACHE, CorpusError, run

KEYRING: Final = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
MIRROR: Final = "http://deb.debian.org/debian"
SECURITY: Final = "http://deb.debian.org/debian-security"
SUITE: Final = "bookworm"
NEXT: Final = "trixie"
EPOCH: Final = "1700000000"
"""Time stamps of what is made here."""

ROOTFS: Final = """libc6 libc-bin libssl3 openssl systemd libsystemd0 libsystemd-shared udev libudev1 systemd-sysv
systemd-timesyncd systemd-resolved perl-base openssh-server openssh-client openssh-sftp-server bluez libbluetooth3 curl
libcurl4 swupdate libswupdate0.1 wpasupplicant hostapd util-linux mount libmount1 libblkid1 libuuid1 libsmartcols1
libfdisk1 fdisk nginx mosquitto libmosquitto1 libglib2.0-0 python3.11-minimal libpython3.11-minimal
libpython3.11-stdlib sudo rsync libexpat1 liblzma5 xz-utils libxml2 libpng16-16 libpcre2-8-0 libarchive13 bash coreutils
busybox libstdc++6 libgcc-s1 zlib1g libgnutls30 libsqlite3-0 iptables kmod dbus-daemon iproute2 e2fsprogs
ca-certificates tzdata""".split()
"""What a camera's root file system may hold, and then some: about 60 packages."""
_LEFT_OUT: Final = ("doc", "man", "locale", "lintian", "info", "bug", "doc-base")

Fetcher = Callable[[Path], str]
"""Puts old and new into the folder and says what they are."""


def _mirror(suite: str, default: str) -> str:
    """Where this machine gets the suite from, or the public mirror."""
    etc = Path("/etc/apt")
    for path in (etc / "sources.list", *sorted((etc / "sources.list.d").glob("*"))):
        text = path.read_text(errors="replace") if path.is_file() else ""
        if found := re.search(rf"^\s*deb\s+(?:\[[^]]*\]\s+)?(\S+)\s+{suite}\s", text, re.MULTILINE):
            return found[1]
        for stanza in re.split(r"\n\s*\n", text):
            fields = dict(re.findall(r"^([A-Za-z-]+):[ \t]*(.+)$", stanza, re.MULTILINE))
            if suite in fields.get("Suites", "").split() and fields.get("URIs"):
                return str(fields["URIs"].split()[0])
    return default


def _older(a: str, b: str) -> int:
    return -1 if subprocess.call(["dpkg", "--compare-versions", a, "lt", b]) == 0 else 1


class PrivateApt:
    """apt with its own sources, state and cache, so that the machine's apt is neither used nor changed."""

    def __init__(self, folder: Path, arch: str) -> None:
        self.folder = folder / arch
        for name in ("lists/partial", "cache/archives/partial", "debs"):
            (self.folder / name).mkdir(parents=True, exist_ok=True)
        (self.folder / "status").touch()
        self.options = [
            f"-oAPT::Architecture={arch}",
            f"-oAPT::Architectures={arch}",
            "-oAPT::Sandbox::User=root",
            "-oAcquire::Languages=none",
            "-oAcquire::Retries=3",
            f"-oDir::State={self.folder}",
            f"-oDir::State::status={self.folder / 'status'}",
            f"-oDir::Cache={self.folder / 'cache'}",
            f"-oDir::Etc::sourcelist={self.folder / 'sources.list'}",
            "-oDir::Etc::sourceparts=/dev/null",
        ]
        self._suites(arch)

    def _suites(self, arch: str) -> None:
        signed = f" signed-by={KEYRING}" if KEYRING.exists() else ""
        places = [(_mirror(SUITE, MIRROR), suite) for suite in (SUITE, f"{SUITE}-updates", NEXT)]
        if arch == "arm64":  # that of armhf is often behind its packages
            places.append((_mirror(f"{SUITE}-security", SECURITY), f"{SUITE}-security"))
        lines = [f"deb [arch={arch}{signed}] {mirror} {suite} main\n" for mirror, suite in places]
        (self.folder / "sources.list").write_text("".join(lines))

    def update(self) -> None:
        run(["apt-get", *self.options, "-q", "update"], f"reading the index of {SUITE}")

    def names(self, prefix: str) -> list[str]:
        return run(["apt-cache", *self.options, "pkgnames", prefix], "listing packages").split()

    def versions(self, package: str, suite: str = SUITE) -> list[str]:
        """What the suite (and what belongs to it) offers, oldest first."""
        listed = run(["apt-cache", *self.options, "madison", package], f"looking for {package}")
        found = set()
        for line in listed.splitlines():
            _, version, place = (part.strip() for part in line.split("|"))
            if re.search(rf" {suite}(-updates|-security)?/", place):
                found.add(version)
        return sorted(found, key=functools.cmp_to_key(_older))

    def download(self, package: str, version: str) -> Path:
        """The .deb of a package in this version."""
        debs = self.folder / "debs"
        pattern = f"{package}_{version.replace(':', '%3a')}_*.deb"
        if not list(debs.glob(pattern)):
            run(
                ["apt-get", *self.options, "-q", "download", f"{package}={version}"], f"downloading {package}", cwd=debs
            )
        return next(debs.glob(pattern))

    def unpack(self, package: str, version: str, into: Path) -> None:
        into.mkdir(parents=True, exist_ok=True)
        run(["dpkg-deb", "-x", self.download(package, version), into], f"unpacking {package}")

    def oldest_and_newest(self, package: str) -> tuple[str, str]:
        versions = self.versions(package)
        if not versions:
            raise CorpusError(f"the archive does not offer {package}")
        return versions[0], versions[-1]


@functools.cache
def _apt(arch: str) -> PrivateApt:
    apt = PrivateApt(CACHE / "apt", arch)
    apt.update()
    return apt


@contextlib.contextmanager
def _unpacked(into: Path, side: str) -> Iterator[Path]:
    folder = into / f"deb-{side}"
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


# ---- single files ----------------------------------------------------------------------------------------------


def file_pair(arch: str, package: str, pattern: str, *, upgrade: bool = False) -> Fetcher:
    """One file of a package. upgrade: from the newest version of Debian 12 to that of the next release."""

    def fetch(into: Path) -> str:
        apt = _apt(arch)
        versions = apt.oldest_and_newest(package)
        if upgrade:
            versions = versions[1], apt.versions(package, NEXT)[-1]
        for side, version in zip(("old", "new"), versions, strict=True):
            with _unpacked(into, side) as folder:
                apt.unpack(package, version, folder)
                found = sorted((*folder.glob(pattern), *folder.glob(f"usr/{pattern}")))
                if not found:
                    raise CorpusError(f"{package} {version} has no {pattern}")
                shutil.copyfile(found[0].resolve(), into / side)
        return f"{pattern} of {package}:{arch} {versions[0]} -> {versions[1]}"

    return fetch


# ---- kernels ---------------------------------------------------------------------------------------------------


def _kernels(arch: str, flavour: str) -> tuple[list[tuple[str, str]], PrivateApt]:
    """(package, version) of the oldest and the newest linux-image-6.1.0-N-FLAVOUR."""
    apt = _apt(arch)
    found = (re.fullmatch(rf"linux-image-6\.1\.0-(\d+)-{flavour}", n) for n in apt.names("linux-image-6.1.0-"))
    images = [(p, apt.versions(p)) for _, p in sorted((int(m[1]), m[0]) for m in found if m)]
    offered = [(package, versions[-1]) for package, versions in images if versions]
    if len(offered) < 2:
        raise CorpusError(f"the archive offers only {len(offered)} {flavour} kernel(s): no pair")
    return [offered[0], offered[-1]], apt


def kernel_pair(arch: str, flavour: str, take: Callable[[Path, Path], None], what: str) -> Fetcher:
    """Something out of two kernel packages: take(unpacked package, where to put it)."""

    def fetch(into: Path) -> str:
        images, apt = _kernels(arch, flavour)
        for side, (package, version) in zip(("old", "new"), images, strict=True):
            with _unpacked(into, side) as folder:
                apt.unpack(package, version, folder)
                take(folder, into / side)
        return f"{what} of Debian's " + " -> ".join(f"{package}:{arch} {version}" for package, version in images)

    return fetch


def take_modules(package: Path, to: Path) -> None:
    (version,) = (package / "lib/modules").iterdir()
    version.rename(to)


def take_image(package: Path, to: Path) -> None:
    (image,) = (package / "boot").glob("vmlinuz-*")
    image.rename(to)


def take_payload(package: Path, to: Path) -> None:
    """What the zImage unpacks when it starts: its largest xz stream."""
    (image,) = (package / "boot").glob("vmlinuz-*")
    data = image.read_bytes()
    best = b""
    for found in re.finditer(rb"\xfd7zXZ\0", data):
        with contextlib.suppress(lzma.LZMAError):
            best = max(best, lzma.LZMADecompressor(lzma.FORMAT_XZ).decompress(data[found.start() :]), key=len)
    if not best:
        raise CorpusError(f"no xz stream in {image.name}")
    to.write_bytes(best)


# ---- root file systems -----------------------------------------------------------------------------------------


def rootfs(into: Path) -> str:
    """A root file system of about 60 packages, each in its oldest and its newest version."""
    apt = _apt("arm64")
    changed = 0
    for package in ROOTFS:
        versions = apt.oldest_and_newest(package)
        changed += versions[0] != versions[1]
        for side, version in zip(("old", "new"), versions, strict=True):
            apt.unpack(package, version, into / side)
    for side in ("old", "new"):
        for name in _LEFT_OUT:
            shutil.rmtree(into / side / "usr/share" / name, ignore_errors=True)
    return f"{len(ROOTFS)} arm64 packages of Debian 12, {changed} of them in two versions"
