#!/usr/bin/env python3
"""Fetch Debian packages of another architecture and unpack them into a folder; the system stays as it is.

    debroot.py [--cache DIR] ARCH get OUT PACKAGE...     unpack these packages (and nothing they depend on) into OUT
    debroot.py [--cache DIR] ARCH first-dependency NAME  print what a meta package stands for, e.g. linux-image-armmp

apt does the work (mirrors, signatures, hashes) in a root of its own beneath the cache: its lists, its status file, its
downloads. The mirror is the one this machine uses for Debian, or OTA_DEBIAN_MIRROR. Only the main suite is used: the
index of another architecture's security suite is not on every mirror.
"""

from __future__ import annotations

import argparse
import fcntl
import os
import re
import subprocess
import sys
import time
from pathlib import Path

SUITE = "bookworm"
KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"
DEFAULT_CACHE = Path(__file__).resolve().parent.parent / ".cache" / "debroot"
LISTS_LIVE = 24 * 3600.0
"""Seconds until the package index is fetched again."""


def mirror() -> str:
    """The Debian mirror that this machine is set up with."""
    if named := os.environ.get("OTA_DEBIAN_MIRROR"):
        return named
    sources = [Path("/etc/apt/sources.list"), *sorted(Path("/etc/apt/sources.list.d").glob("*"))]
    for path in sources:
        text = path.read_text(errors="replace") if path.is_file() else ""
        if found := re.search(r"https?://\S+/debian/?(?=\s)", text):
            return found.group(0)
    return "http://deb.debian.org/debian"


def proxies() -> str:
    """How this machine reaches its mirrors, as apt options."""
    dump = subprocess.run(["apt-config", "dump"], capture_output=True, text=True, check=True).stdout
    return "".join(f"{line}\n" for line in dump.splitlines() if re.match(r"Acquire::https?::proxy", line, re.I))


class Root:
    """A private apt root for one architecture."""

    def __init__(self, cache: Path, arch: str) -> None:
        self.dir = cache.resolve() / arch
        self.debs = self.dir / "debs"
        self._config = self.dir / "apt.conf"
        for part in ("etc/sources.list.d", "etc/preferences.d", "state/lists/partial", "apt/archives/partial", "debs"):
            (self.dir / part).mkdir(parents=True, exist_ok=True)
        (self.dir / "status").touch()
        (self.dir / "etc/sources.list.d/debian.sources").write_text(
            f"Types: deb\nURIs: {mirror()}\nSuites: {SUITE}\nComponents: main\nSigned-By: {KEYRING}\n"
        )
        self._config.write_text(
            f'APT::Architecture "{arch}";\nAPT::Architectures {{ "{arch}"; }};\nAPT::Sandbox::User "";\n'
            f'Acquire::Languages "none";\nAcquire::Retries "3";\nDir::Etc "{self.dir}/etc";\n'
            f'Dir::Etc::sourcelist "/dev/null";\nDir::State "{self.dir}/state";\n'
            f'Dir::State::status "{self.dir}/status";\nDir::Cache "{self.dir}/apt";\n{proxies()}'
        )

    def _apt(self, *args: str, cwd: Path | None = None) -> str:
        env = {**os.environ, "APT_CONFIG": str(self._config), "LC_ALL": "C"}
        done = subprocess.run(args, env=env, cwd=cwd, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise SystemExit(f"debroot: {' '.join(args)}: {done.stderr.strip() or done.stdout.strip()}")
        return done.stdout

    def update(self) -> None:
        stamp = self.dir / "updated"
        if not stamp.exists() or time.time() - stamp.stat().st_mtime > LISTS_LIVE:
            self._apt("apt-get", "-q", "update")
            stamp.touch()

    def first_dependency(self, package: str) -> str:
        found = re.search(r"Depends: (\S+)", self._apt("apt-cache", "depends", package))
        if not found:
            raise SystemExit(f"debroot: {package} depends on nothing")
        return found.group(1)

    def deb(self, package: str) -> Path:
        """The downloaded package; fetched when it is not there in the version of the index."""
        version = re.search(r"^Version: (\S+)", self._apt("apt-cache", "show", "--no-all-versions", package), re.M)
        if not version:
            raise SystemExit(f"debroot: {package} is not in {SUITE}")
        pattern = f"{package}_{version.group(1).replace(':', '%3a')}_*.deb"
        if not list(self.debs.glob(pattern)):
            self._apt("apt-get", "-q", "download", package, cwd=self.debs)
        return next(self.debs.glob(pattern))


def get(root: Root, out: Path, packages: list[str]) -> None:
    """Unpack into `out`, unless exactly these versions are there already."""
    debs = [root.deb(p) for p in packages]
    stamp = out / ".packages"
    names = "\n".join(sorted(d.name for d in debs)) + "\n"
    if stamp.exists() and stamp.read_text() == names:
        return
    out.mkdir(parents=True, exist_ok=True)
    for deb in debs:
        subprocess.run(["dpkg-deb", "-x", deb, out], check=True)
    stamp.write_text(names)


def main() -> int:
    parser = argparse.ArgumentParser(description="Debian packages of another architecture, unpacked into a folder.")
    parser.add_argument("--cache", type=Path, default=DEFAULT_CACHE)
    parser.add_argument("arch")
    sub = parser.add_subparsers(dest="what", required=True)
    get_args = sub.add_parser("get")
    get_args.add_argument("out", type=Path)
    get_args.add_argument("packages", nargs="+")
    sub.add_parser("first-dependency").add_argument("name")
    args = parser.parse_args()
    root = Root(args.cache, args.arch)
    with (root.dir / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        root.update()
        if args.what == "get":
            get(root, args.out, args.packages)
        else:
            print(root.first_dependency(args.name))
    return 0


if __name__ == "__main__":
    sys.exit(main())
