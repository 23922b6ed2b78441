"""From a partition config to a release: where the images are, how each is written, what is asked."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

import click
import msgspec

from otastream.cli import _otapack
from otastream.cli._otapack import Given
from otastream.config import Release, Scripts
from otastream.errors import Code, error
from otastream.partitions import Partition

_BOOT: Final = ("ipl", "ipl_cust", "uboot")
_READ_ONLY: Final = ("", "squashfs", "ramfs", "cramfs", "romfs", "erofs")
"""File systems whose image is the same on every board; others were written to, and have no old image."""
_SUFFIXES: Final = {"squashfs": (".sqfs", ".squashfs")}


@dataclass(frozen=True, slots=True)
class Choice:
    """What is to be packed."""

    start: str | None
    end: str | None
    names: tuple[str, ...]


# ---- asking ------------------------------------------------------------------------------------------------------


def ask(names: Sequence[str], *, start: str | None, end: str | None) -> Choice:
    """The questions of the vendor's makefile, on the terminal or from a pipe; what was given is not asked for.

    CANCELLED: a terminal was closed; USAGE: a pipe has no more answers.
    """
    start = _answer("Start scripts:") or None if start is None else start
    end = _answer("End scripts:") or None if end is None else end
    return Choice(start, end, tuple(name for name in names if _answer(f"Make {name} ?(yes/no)") in ("y", "yes")))


def _answer(question: str) -> str:
    click.echo(question, nl=False, err=True)
    line = sys.stdin.readline()
    if not sys.stdin.isatty():
        click.echo(line.rstrip("\n"), err=True)
    if line:
        return line.strip()
    if sys.stdin.isatty():
        raise error(Code.CANCELLED, "no answer")
    raise error(
        Code.USAGE, "nobody answers the questions", hint="give --all, or --only A,B with the partitions to pack"
    )


def listed(only: str, names: Sequence[str]) -> tuple[str, ...]:
    """The partitions of --only, in the order of the config. USAGE: one is not in OTA_IMAGE_LIST."""
    wanted = {name.strip() for name in only.split(",") if name.strip()}
    if strange := sorted(wanted - set(names)):
        known = ", ".join(names)
        raise error(Code.USAGE, f"--only {', '.join(strange)}: not in OTA_IMAGE_LIST", hint=f"there are {known}")
    return tuple(name for name in names if name in wanted)


# ---- images ------------------------------------------------------------------------------------------------------


def image_names(partition: Partition, flash_type: str) -> list[str]:
    """Where the image of a partition may be in the folder of images, the vendor's own place first."""
    name = partition.name
    found = []
    if name in _BOOT and flash_type == "sdmmc":
        found.append(f"boot/{name.upper()}")
    elif name in _BOOT:
        found.append(f"{name}_s.bin")
    if partition.fstype:
        found += [name + suffix for suffix in _SUFFIXES.get(partition.fstype, (f".{partition.fstype}",))]
    return [*found, *((f"{name}.bin", name) if name == "boot" else (name, f"{name}.bin")), f"{name}.img"]


def find_image(folder: str, names: Iterable[str]) -> str | None:
    """The first that is there."""
    return next((path for name in names if os.path.isfile(path := os.path.join(folder, name))), None)


def mode_of(partition: Partition, flash_type: str) -> str:
    """The mode of otapack that writes a partition."""
    volumes = [re.fullmatch(r"/dev/ubi\d+_\d+", target) is not None for target in partition.targets]
    if partition.fstype == "ubifs" or all(volumes):
        return "ubi-update"
    if partition.name in _BOOT and flash_type == "sdmmc":
        return "file-update"
    return "block-update"


@dataclass(frozen=True, slots=True)
class Part:
    """One partition, ready: its release, and what a person should know."""

    release: Release
    notes: tuple[str, ...]


def part(partition: Partition, *, flash_type: str, images: str, old: str | None, environment: str = "") -> Part:
    """What is to be done to one partition. INPUT: there is no image. CONFIG: see ``otastream.config``."""
    names = image_names(partition, flash_type)
    new = find_image(images, names)
    if new is None:
        tried = ", ".join(names)
        raise error(Code.INPUT, f"there is no image of {partition.name}; tried {tried}", target=images)
    notes = []
    before = None
    if old is not None and partition.fstype in _READ_ONLY:
        before = find_image(old, names)
        if before is None:
            notes.append(f"{partition.name}: no old image in {old}, so it is sent whole")
    elif old is not None:
        notes.append(f"{partition.name}: boards write to {partition.fstype}, so it is sent whole")
    mode = mode_of(partition, flash_type)
    if before is not None and mode == "file-update":
        mode = "file-update-diff"
    if partition.size is None:
        notes.append(f"{partition.name}: {partition.name}$(PATSIZE) is not known, so no size is checked here")
    if partition.name == "kernel" and flash_type == "spinand" and not environment:
        notes.append("kernel: if U-Boot reads kernel_file_size bytes, set it with kernel$(BLKENV)")
    size = None if partition.size is None else str(partition.size)
    given = Given(
        src=None if mode == "file-update-diff" else new,
        new=new if mode == "file-update-diff" else None,
        dst=" ".join(partition.targets),
        size=size,
        old=before,
        label=partition.name,
        mask=partition.mask,
    )
    _otapack.fits(given)
    release = msgspec.structs.replace(_otapack.release(mode, given), env=variables(environment))
    return Part(release, tuple(notes))


def variables(environment: str) -> dict[str, str | bool]:
    """The variables of BLKENV: NAME VALUE, several separated by ``\\n``; without a value the variable is deleted."""
    found: dict[str, str | bool] = {}
    for line in re.split(r"\\n|\n", environment):
        plain = re.sub(r"\\([$;`\"'\\])", r"\1", line)  # escapes for a shell that there is not
        name, _, value = plain.strip().removeprefix("fw_setenv ").strip().partition(" ")
        value = value.strip()
        if len(value) > 1 and value[0] == value[-1] and value[0] in "\"'":
            value = value[1:-1]
        if name:
            found[name] = value or False
    return found


def joined(
    parts: Iterable[Part], *, start: str | None, end: str | None, version: str | None, compatible: tuple[str, ...]
) -> Release:
    """One release of all parts."""
    scripts = Scripts(begin=start or None, end=end or None)
    whole = Release(scripts=scripts, version=version, compatible=compatible)
    for each in parts:
        image, file = whole.image + each.release.image, whole.file + each.release.file
        whole = msgspec.structs.replace(whole, image=image, file=file, env=whole.env | each.release.env)
    return whole


MAKEFILE: Final = """\
# ota.mk: gives this makefile the target image-ota, which packs the partitions of OTA_IMAGE_LIST.
# Written by `otastream image-ota --emit-mk`. Include it in place of the SDK's own ota.mk.
#
#   make image-ota                             asks which partitions to pack
#   make image-ota OTA_FLAGS=--all             asks nothing
#   make image-ota OTA_FLAGS="--all --old release-1.0/images"     as deltas

OTASTREAM  ?= otastream
OTA_CONFIG ?= {config}
OTA_IMAGES ?= {images}
OTA_FLAGS  ?=

.PHONY: image-ota ota_images
image-ota ota_images:
\t@$(OTASTREAM) image-ota --config $(OTA_CONFIG) --images $(OTA_IMAGES) $(OTA_FLAGS)
"""
