"""Fetch real old/new folder pairs of ARM software into .cache/corpus: what demo, bench and slow tests run on.

    python -m scripts.corpus                 list the pairs
    python -m scripts.corpus numpy ruff      fetch these (what is there already is kept)
    python -m scripts.corpus all

A pair is two folders, old and new, as a board would have them. The wheel pairs are pinned by digest and stay on PyPI
for good; the kernel-modules pair is the oldest and the newest that Debian's archive offers today, so its versions are
written beside it.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

CACHE: Final = Path(__file__).resolve().parent.parent / ".cache" / "corpus"
KEYRING: Final = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
MIRROR: Final = "http://deb.debian.org/debian"
SUITE: Final = "bookworm"


class CorpusError(Exception):
    """A pair cannot be had; the text says why and what helps."""


@dataclass(frozen=True, slots=True)
class Pair:
    """Two folders on disk, and where they come from."""

    name: str
    old: Path
    new: Path
    what: str


# ---- wheels from PyPI ------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Wheel:
    """One wheel, pinned. platform is pip's name for it; sha256 that of the file."""

    project: str
    version: str
    platform: str
    sha256: str


NUMPY: Final = (
    Wheel(
        "numpy", "1.26.3", "manylinux2014_aarch64", "8c66d6fec467e8c0f975818c1796d25c53521124b7cfb760114be0abad53a0a2"
    ),
    Wheel(
        "numpy", "1.26.4", "manylinux2014_aarch64", "7ab55401287bfec946ced39700c053796e7cc0e3acbef09993a9ad2adba6ca6e"
    ),
)
RUFF: Final = (
    Wheel("ruff", "0.6.8", "manylinux_2_17_armv7l", "9f1476236b3eacfacfc0f66aa9e6cd39f2a624cb73ea99189556015f27c0bdeb"),
    Wheel("ruff", "0.6.9", "manylinux_2_17_armv7l", "eae02b700763e3847595b9d2891488989cac00214da7f845f4bcf2989007d577"),
)


def run(argv: Sequence[str | Path], what: str, *, cwd: Path | None = None) -> str:
    """Run a program and return its stdout; CorpusError with the end of its stderr when it fails."""
    try:
        done = subprocess.run(argv, cwd=cwd, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
    except FileNotFoundError as absent:
        raise CorpusError(f"{what}: {absent.filename} is not installed (scripts/apt.sh corpus)") from None
    if done.returncode != 0:
        tail = "\n".join((done.stderr or done.stdout).strip().splitlines()[-3:])
        raise CorpusError(f"{what} failed; is the network there?\n{tail}")
    return done.stdout


def download_wheel(wheel: Wheel, folder: Path) -> Path:
    """The wheel's file in `folder`, downloaded unless it is there with the right digest."""
    pattern = f"{wheel.project}-{wheel.version}-*.whl"
    if not any(folder.glob(pattern)):
        folder.mkdir(parents=True, exist_ok=True)
        run(
            [
                sys.executable,
                "-m",
                "pip",
                "download",
                "-q",
                "--disable-pip-version-check",
                "--no-deps",
                "-d",
                folder,
                "--only-binary=:all:",
                "--python-version",
                "3.11",
                "--platform",
                wheel.platform,
                f"{wheel.project}=={wheel.version}",
            ],
            f"downloading {wheel.project} {wheel.version} from PyPI",
        )
    path = next(folder.glob(pattern))
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    if digest != wheel.sha256:
        path.unlink()
        raise CorpusError(f"{path.name} has SHA-256 {digest}, not the pinned {wheel.sha256}; removed, try again")
    return path


def unpack_wheel(path: Path, into: Path) -> None:
    """Unpack with the modes that the archive states; scripts go to bin/, as an installation puts them."""
    with zipfile.ZipFile(path) as archive:
        for info in archive.infolist():
            if info.is_dir():
                continue
            name = re.sub(r"^[^/]+\.data/scripts/", "bin/", info.filename)
            target = into / name
            if not target.resolve().is_relative_to(into.resolve()):
                raise CorpusError(f"{path.name}: unsafe name {info.filename!r}")
            target.parent.mkdir(parents=True, exist_ok=True)
            with archive.open(info) as source, target.open("wb") as sink:
                shutil.copyfileobj(source, sink)
            mode = info.external_attr >> 16 & 0o777 or 0o644
            target.chmod(0o755 if name.startswith("bin/") else mode)


def wheels(old: Wheel, new: Wheel) -> Callable[[Path], str]:
    """A fetcher of the pair of unpacked wheels."""

    def fetch(into: Path) -> str:
        for side, wheel in (("old", old), ("new", new)):
            unpack_wheel(download_wheel(wheel, CACHE / "downloads"), into / side)
        return f"{old.project} {old.version} -> {new.version}, {old.platform} wheels from PyPI"

    return fetch


# ---- kernel modules from Debian --------------------------------------------------------------------------------


def debian_mirror() -> str:
    """The mirror that this machine uses for Debian itself, or the public one."""
    etc = Path("/etc/apt")
    lists = [etc / "sources.list", *sorted((etc / "sources.list.d").glob("*.list"))]
    for path in filter(Path.exists, lists):
        for line in path.read_text().splitlines():
            found = re.match(rf"\s*deb\s+(?:\[[^]]*\]\s+)?(\S+)\s+{SUITE}\s", line)
            if found:
                return found[1]
    for path in sorted((etc / "sources.list.d").glob("*.sources")):
        for stanza in re.split(r"\n\s*\n", path.read_text()):
            fields = dict(re.findall(r"^([A-Za-z-]+):[ \t]*(.+)$", stanza, re.MULTILINE))
            if SUITE in fields.get("Suites", "").split() and fields.get("URIs"):
                return str(fields["URIs"].split()[0])
    return MIRROR


class PrivateApt:
    """apt with its own sources, state and cache, so that the machine's apt is neither used nor changed."""

    def __init__(self, folder: Path, arch: str) -> None:
        self.folder = folder
        for name in ("lists/partial", "cache/archives/partial", "debs"):
            (folder / name).mkdir(parents=True, exist_ok=True)
        (folder / "status").touch()
        signed = f" signed-by={KEYRING}" if KEYRING.exists() else ""
        (folder / "sources.list").write_text(f"deb [arch={arch}{signed}] {debian_mirror()} {SUITE} main\n")
        self.options = [
            f"-oAPT::Architecture={arch}",
            f"-oAPT::Architectures={arch}",
            "-oAPT::Sandbox::User=root",
            "-oAcquire::Languages=none",
            f"-oDir::State={folder}",
            f"-oDir::State::status={folder / 'status'}",
            f"-oDir::Cache={folder / 'cache'}",
            f"-oDir::Etc::sourcelist={folder / 'sources.list'}",
            "-oDir::Etc::sourceparts=/dev/null",
        ]

    def update(self) -> None:
        run(["apt-get", *self.options, "-q", "update"], f"reading the index of {SUITE}")

    def names(self, prefix: str) -> list[str]:
        return run(["apt-cache", *self.options, "pkgnames", prefix], "listing packages").split()

    def download(self, package: str) -> Path:
        """The .deb of the package's newest version."""
        debs = self.folder / "debs"
        if not list(debs.glob(f"{package}_*.deb")):
            run(["apt-get", *self.options, "-q", "download", package], f"downloading {package}", cwd=debs)
        return next(debs.glob(f"{package}_*.deb"))


def kernel_modules(into: Path) -> str:
    """lib/modules/VERSION of the oldest and the newest linux-image-6.1.0-N-armmp."""
    apt = PrivateApt(CACHE / "apt", "armhf")
    apt.update()
    found = (re.fullmatch(r"linux-image-6\.1\.0-(\d+)-armmp", n) for n in apt.names("linux-image-6.1.0-"))
    images = sorted((int(m[1]), m[0]) for m in found if m)
    if len(images) < 2:
        raise CorpusError(f"the archive offers only {len(images)} armmp kernel(s): no pair")
    debs = []
    for side, (_, package) in (("old", images[0]), ("new", images[-1])):
        deb = apt.download(package)
        unpacked = into / f"deb-{side}"
        run(["dpkg-deb", "-x", deb, unpacked], f"unpacking {deb.name}")
        (version,) = (unpacked / "lib/modules").iterdir()
        version.rename(into / side)
        shutil.rmtree(unpacked)
        debs.append(deb.stem)
    return f"lib/modules of Debian's {' -> '.join(debs)}"


# ---- the list --------------------------------------------------------------------------------------------------

PAIRS: Final[dict[str, tuple[str, Callable[[Path], str]]]] = {
    "numpy": ("numpy 1.26.3/1.26.4 for aarch64: 914 files, 48 MB", wheels(*NUMPY)),
    "ruff": ("ruff 0.6.8/0.6.9 for armv7: one 27 MB program", wheels(*RUFF)),
    "modules": ("kernel modules of two Debian armhf kernels: 3,500 files, 157 MB", kernel_modules),
}


def fetch(name: str) -> Pair:
    """The pair called `name`, from the cache or fetched now. Raises CorpusError, KeyError for an unknown name."""
    _, fetcher = PAIRS[name]
    folder = CACHE / name
    note = folder / "origin.json"
    if not note.exists():
        work = CACHE / f"{name}.part"
        for leftover in (work, folder):
            shutil.rmtree(leftover, ignore_errors=True)
        work.mkdir(parents=True)
        what = fetcher(work)
        (work / "origin.json").write_text(json.dumps({"what": what}) + "\n")
        work.rename(folder)
    return Pair(name, folder / "old", folder / "new", json.loads(note.read_text())["what"])


def files(folder: Path) -> Iterator[Path]:
    """Regular files beneath a folder; links are not followed."""
    return (p for p in folder.rglob("*") if p.is_file() and not p.is_symlink())


def main(names: Sequence[str]) -> int:
    if not names:
        for name, (about, _) in PAIRS.items():
            print(f"{name:8} {about}{'  [there]' if (CACHE / name / 'origin.json').exists() else ''}")
        return 0
    for name in PAIRS if list(names) == ["all"] else names:
        if name not in PAIRS:
            print(f"corpus: no pair {name!r}; there are: {', '.join(PAIRS)}", file=sys.stderr)
            return 2
        try:
            pair = fetch(name)
        except CorpusError as problem:
            print(f"corpus: {name}: {problem}", file=sys.stderr)
            return 1
        count = [(len(s), sum(s)) for s in ([p.stat().st_size for p in files(f)] for f in (pair.old, pair.new))]
        print(f"{name}: {pair.what}")
        for side, (number, total) in zip(("old", "new"), count, strict=True):
            print(f"  {CACHE / name / side}: {number} files, {total:,} bytes")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
