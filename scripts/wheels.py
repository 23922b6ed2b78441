"""Pairs of wheels from PyPI, pinned by digest: they stay there for good."""

from __future__ import annotations

import hashlib
import re
import shutil
import sys
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from scripts.pairs_base import CACHE, CorpusError, run


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
PANDAS: Final = (
    Wheel(
        "pandas", "2.2.2", "manylinux2014_aarch64", "58b84b91b0b9f4bafac2a0ac55002280c094dfc6402402332c0913a59654ab2b"
    ),
    Wheel(
        "pandas", "2.2.3", "manylinux2014_aarch64", "cd8d0c3be0515c12fed0bdbae072551c8b54b7192c7b1fda0ba56059a0179698"
    ),
)
RUFF: Final = (
    Wheel("ruff", "0.6.8", "manylinux_2_17_armv7l", "9f1476236b3eacfacfc0f66aa9e6cd39f2a624cb73ea99189556015f27c0bdeb"),
    Wheel("ruff", "0.6.9", "manylinux_2_17_armv7l", "eae02b700763e3847595b9d2891488989cac00214da7f845f4bcf2989007d577"),
)


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
