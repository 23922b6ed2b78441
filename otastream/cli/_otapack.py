"""What an append of otapack means: options -> a release of one thing, and what the command line should have been."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from typing import Final, Literal

from otastream.config import Edit, Folder, Image, Inline, Release, Scripts
from otastream.errors import Code, OtaError, error

OPTIONS: Final = {
    "src": "-s", "dst": "-d", "size": "-t", "mode": "-m", "old": "-o", "new": "-n", "label": "-l",
    "mask": "--default-mask",
}  # fmt: skip
_PLACEHOLDERS: Final = {
    "src": "SOURCE", "dst": "TARGET", "size": "SIZE", "mode": "MODE", "old": "OLD", "new": "NEW", "label": "TEXT",
    "mask": "MASK",
}  # fmt: skip
_NODES: Final = "/dev/"
_VOLUME: Final = re.compile(r"/dev/ubi\d+_\d+")
_NO_VOLUME: Final = re.compile(r"/dev/(mtd|mtdblock|mmcblk)\d.*")


@dataclass(frozen=True, slots=True)
class Given:
    """Options of one append, as they were typed; what vendor makefiles give as 0 for "nothing" is None."""

    src: str | None = None
    dst: str | None = None
    size: str | None = None
    mode: str | None = None
    old: str | None = None
    new: str | None = None
    label: str | None = None
    mask: str | None = None


@dataclass(frozen=True, slots=True)
class Mode:
    """Which options a mode needs and which it may have. "src" stands for -s or -n where both are known."""

    needs: str
    may: str = ""


MODES: Final = {
    "block-update": Mode("src dst", "size mode old label mask"),
    "ubi-update": Mode("src dst", "size mode old label mask"),
    "file-update": Mode("src dst", "size mode label mask"),
    "file-add": Mode("src dst", "size mode label mask"),
    "file-delete": Mode("dst", "label"),
    "file-update-diff": Mode("old new dst", "size mode label mask"),
    "dir-update": Mode("old new dst", "label"),
    "dir-update-diff": Mode("old new dst", "label"),
    "script-add": Mode("src", "dst label"),
}


def checked(package: str, mode: str, given: Given) -> Given:
    """The options with -n taken for -s, or -s for -n, where the mode has only the other one. USAGE: they do not fit."""
    known = f"{MODES[mode].needs} {MODES[mode].may}".split()
    if "old" in known and "new" not in known and given.new is not None and given.src is None:
        given = replace(given, src=given.new, new=None)
    elif mode == "file-update-diff" and given.src is not None and given.new is None:
        given = replace(given, new=given.src, src=None)
    missing = [name for name in MODES[mode].needs.split() if getattr(given, name) is None]
    strange = [f.name for f in fields(Given) if f.name not in known and getattr(given, f.name) is not None]
    if missing:
        names = " and ".join(OPTIONS[name] for name in missing)
        raise error(Code.USAGE, f"--{mode} needs {names}", hint=right(package, mode, given))
    if strange:
        names = " and ".join(OPTIONS[name] for name in strange)
        raise error(Code.USAGE, f"--{mode} has no {names}", hint=right(package, meant(mode, given), given))
    return given


def meant(mode: str, given: Given) -> str:
    """The mode that fits the other options, where this one does not."""
    targets = (given.dst or "").split()
    if mode == "file-update" and given.old is not None:
        return "file-update-diff"
    if mode in ("block-update", "ubi-update", "file-add") and targets and targets[0].startswith(_NODES):
        return "ubi-update" if _VOLUME.fullmatch(targets[0]) else "block-update"
    return mode


def right(package: str, mode: str, given: Given) -> str:
    """A command line that works, with what was given and words where something is missing."""
    if mode == "file-update-diff" and given.new is None:
        given = replace(given, new=given.src)
    given = _mended(mode, given)
    words = ["otapack", "-a", shlex.quote(package)]
    for name in ("src", "old", "new", "dst", "size", "mode", "label", "mask"):
        value = getattr(given, name)
        needed = name in MODES[mode].needs.split()
        if needed or (value is not None and name in MODES[mode].may.split()):
            words += [OPTIONS[name], _PLACEHOLDERS[name] if value is None else shlex.quote(value)]
    return " ".join([*words, f"--{mode}"])


def _mended(mode: str, given: Given) -> Given:
    """Values that no command line can have, as one that can: placeholders, targets that are absolute."""
    targets = (given.dst or "").split()
    if mode != "script-add":
        targets = [target if target.startswith("/") else f"/{target}" for target in targets]
    return replace(
        given,
        dst=" ".join(targets) or None,
        size=given.size if _is(number, "-t", given.size) else _PLACEHOLDERS["size"],
        mode=given.mode if _is(_mode, given.mode) else _PLACEHOLDERS["mode"],
        mask=given.mask if _is(number, "--default-mask", given.mask) else _PLACEHOLDERS["mask"],
    )


def _is(check: Callable[..., object], *values: str | None) -> bool:
    try:
        check(*values)
    except OtaError:
        return False
    return True


# ---- values ------------------------------------------------------------------------------------------------------


def number(option: str, text: str | None) -> int | None:
    """Hexadecimal with 0x, else decimal; None for nothing and for 0, which makefiles write for it."""
    if text is None or not text.strip():
        return None
    if re.fullmatch(r"\s*(0[xX][0-9a-fA-F]{1,15}|[0-9]{1,18})\s*", text) is None:
        raise error(Code.USAGE, f"{option} {text!r} is not a number: write 5242880 or 0x500000")
    return int(text, 16 if "x" in text.lower() else 10) or None


def fits(given: Given) -> None:
    """TOO_SMALL: the file is larger than its target is said to be."""
    limit, new = number("-t", given.size), given.src if given.src is not None else given.new
    if limit is not None and new is not None and os.path.isfile(new) and os.path.getsize(new) > limit:
        raise error(Code.TOO_SMALL, f"{os.path.getsize(new)} bytes, the target has {limit}", target=new)


def _mode(text: str | None) -> str | None:
    """Octal permission bits; 0 is what makefiles write for "as the source"."""
    if text is None or not text.strip("0 "):
        return None
    if re.fullmatch("0{0,2}[0-7]{3,4}", text) is None:
        raise error(Code.USAGE, f"-m {text!r} is not a mode: write 0644 or 755")
    return text.lstrip("0").rjust(4, "0")


def _mask(text: str | None, count: int) -> int | None:
    """The mask of so many targets; None when all are in it. Bits beyond the targets mean nothing."""
    if text is None:
        return None
    wanted, everything = number("--default-mask", text) or 0, (1 << count) - 1
    return None if wanted & everything == everything else wanted & everything


def plain(given: Given) -> Given:
    """Without what makefiles write for "nothing": a size or a mode of 0."""
    size = given.size if number("-t", given.size) else None
    return replace(given, size=size, mode=None if _mode(given.mode) is None else given.mode)


# ---- the release --------------------------------------------------------------------------------------------------


def release(mode: str, given: Given) -> Release:
    """What to append. The options must have been checked. USAGE: a value is none, or does not fit the target."""
    targets = tuple((given.dst or "").split())
    if mode == "script-add":
        label = given.label or given.dst
        item = given.src or "" if label is None else Inline(path=given.src or "", label=label)
        return Release(scripts=Scripts(inline=(item,)))
    for target in targets:
        if not target.startswith("/"):
            raise error(Code.USAGE, f"-d {target}: a path on the board is absolute")
    if not targets:
        raise error(Code.USAGE, "-d names no target")
    if mode.startswith("dir-"):
        return Release(folder=tuple(_folder(mode, given, dest) for dest in targets))
    nodes = [target.startswith(_NODES) for target in targets]
    if mode in ("block-update", "ubi-update"):
        wrong = _VOLUME if mode == "block-update" else _NO_VOLUME
        for target in filter(wrong.fullmatch, targets):
            raise error(
                Code.USAGE,
                f"--{mode} cannot write {target}, which {'is' if mode == 'block-update' else 'is not'} a UBI volume",
            )
        return Release(image=(_image("ubi" if mode == "ubi-update" else "block", given, targets),))
    if any(nodes):
        if not all(nodes) or mode in ("file-add", "file-delete"):
            hint = "give nodes and files an append each" if not all(nodes) else None
            if mode == "file-delete":
                hint = "a node stays; leave it out of -d"
            raise error(Code.USAGE, f"--{mode} cannot do that to a device node", target=given.dst, hint=hint)
        kind: Literal["block", "ubi"] = "ubi" if all(map(_VOLUME.fullmatch, targets)) else "block"
        # makefiles do this for boot loaders on SD, documents for deltas of images
        return Release(image=(_image(kind, given, targets),))
    if _mask(given.mask, len(targets)) is not None:
        hint = "give -d only what is to be updated, or several appends"
        raise error(Code.USAGE, f"--{mode} has no --default-mask that leaves targets out", hint=hint)
    return Release(file=tuple(_edit(mode, given, dest) for dest in targets))


def _image(kind: Literal["block", "ubi"], given: Given, targets: tuple[str, ...]) -> Image:
    return Image(
        new=given.src or given.new or "",
        targets=targets,
        kind=kind,
        old=given.old,
        size=number("-t", given.size),
        label=given.label or _name(given.src or given.new or ""),
        mask=_mask(given.mask, len(targets)),
    )


def _name(path: str) -> str | None:
    """The label of a record that was given none: the name of its source, where text can hold it."""
    name = path.rstrip("/").rpartition("/")[2]
    try:
        return name if 1 <= len(name.encode()) <= 512 else None
    except UnicodeEncodeError:
        return None


def _folder(mode: str, given: Given, dest: str) -> Folder:
    force = mode == "dir-update"
    dest = dest.rstrip("/") or "/"
    return Folder(old=given.old, new=given.new or "", dest=dest, force=force, label=given.label)


def _edit(mode: str, given: Given, dest: str) -> Edit:
    action: Literal["add", "update", "delete"] = (
        "delete" if mode == "file-delete" else "add" if mode == "file-add" else "update"
    )
    new = given.src if given.src is not None else given.new
    label = given.label or (_name(new) if new is not None else None)
    return Edit(action=action, dest=dest, new=new, old=given.old, mode=_mode(given.mode), label=label)
