"""release.toml: what a package is made of, as typed, checked and resolved values.

docs/release.example.toml shows every key. Unknown keys are refused with the nearest known one.
"""

from __future__ import annotations

import difflib
import os
import re
import tomllib
from collections.abc import Callable, Iterator
from typing import Any, Final, Literal

import msgspec

from otastream.errors import Code, OtaError, error
from otastream.fields import ENV_MAX, check_env_name, check_env_value, check_node, check_root
from otastream.model import ENV_VALUE_MAX, TARGETS_MAX

TEXT_MAX: Final = 255  # bytes of a name, a version, a board
LABEL_MAX: Final = 512
COMPATIBLE_MAX: Final = 64
_UNITS: Final = {"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30}


class Inline(msgspec.Struct, frozen=True, kw_only=True, rename="kebab", forbid_unknown_fields=True):
    """A script with a label for people in place of its file name."""

    path: str
    label: str


class Scripts(msgspec.Struct, frozen=True, kw_only=True, rename="kebab"):
    """Shell scripts, as local files. inline: run in this order when everything else is done."""

    begin: str | None = None
    end: str | None = None
    inline: tuple[str | Inline, ...] = ()


class Image(msgspec.Struct, frozen=True, kw_only=True, rename="kebab"):
    """One image, written to the start of each target node.

    new, old: local files. source: the node that holds old on the board; without it, the first target does. size: bytes
    that a target has; a larger image is refused. mask: bit n says that target n is written; without it, all are.
    in_place: the delta is written over old on the one target there is, without a second copy. fallback: new is sent
    behind its delta, for boards where that does not apply.
    """

    new: str
    targets: tuple[str, ...]
    kind: Literal["block", "ubi"] = "block"
    old: str | None = None
    source: str | None = None
    size: int | str | None = None
    label: str | None = None
    mask: int | None = None
    in_place: bool = False
    fallback: bool = False


class Folder(msgspec.Struct, frozen=True, kw_only=True, rename="kebab"):
    """One folder. new, old: local folders; dest: on the board. Without old, all is sent, whatever the board has.

    force: what differs between old and new is sent whole, whatever the board has there.
    """

    new: str
    dest: str
    old: str | None = None
    owner: bool = False
    xattrs: bool = False
    force: bool = False
    label: str | None = None


class Edit(msgspec.Struct, frozen=True, kw_only=True, rename="kebab"):
    """One file. dest: on the board. old: local copy of what the board has; without it, whatever is there is fine.

    add: there must be no other file yet; folders that are missing are made, all but the topmost. fallback: as of an
    image.
    """

    action: Literal["add", "update", "delete"]
    dest: str
    new: str | None = None
    old: str | None = None
    mode: str | None = None
    label: str | None = None
    fallback: bool = False


class Release(msgspec.Struct, frozen=True, kw_only=True, rename="kebab"):
    """A whole package: the top of release.toml. Paths of local files are as they shall be opened.

    env: variables of the boot loader's environment, False: deleted.
    """

    name: str | None = None
    version: str | None = None
    compatible: tuple[str, ...] = ()
    min_version: str | None = None
    scripts: Scripts = Scripts()
    image: tuple[Image, ...] = ()
    folder: tuple[Folder, ...] = ()
    file: tuple[Edit, ...] = ()
    env: dict[str, str | bool] = {}


_TABLES: Final[dict[str, type[msgspec.Struct]]] = {"scripts": Scripts, "image": Image, "folder": Folder, "file": Edit}


def parse_size(text: int | str) -> int:
    """Bytes of ``512K``, ``8MiB``, ``1G``, ``4096`` (units are powers of 1024). CONFIG if it is none."""
    if isinstance(text, int):
        if text < 0:
            raise error(Code.CONFIG, f"{text} is not a size")
        return text
    match = re.fullmatch(r"\s*([0-9]{1,18})\s*([kmg]?)(?:i?b)?\s*", text, re.IGNORECASE)
    if match is None:
        raise error(Code.CONFIG, f"{text!r} is not a size: write 4096, 512K or 8M")
    return int(match[1]) * _UNITS[match[2].lower()]


def parse_mode(text: str) -> int:
    """Permission bits of ``0755``. CONFIG if it is none."""
    if re.fullmatch("0?[0-7]{3,4}", text) is None or int(text, 8) > 0o7777:
        raise error(Code.CONFIG, f"{text!r} is not a mode: write 0644 or 4755")
    return int(text, 8)


def load_release(path: str) -> Release:
    """Read and check a release.toml; local paths in it are relative to the folder that it is in.

    Raises CONFIG, with the place in the file, and INPUT when it cannot be read.
    """
    try:
        with open(path, "rb") as file:
            data = file.read()
    except OSError as exc:
        raise error(Code.INPUT, exc.strerror or "cannot be read", target=path) from exc
    try:
        text = data.decode()
        values = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as exc:
        raise error(Code.CONFIG, str(exc), target=path) from exc
    for problem in _unknown(values, text):
        raise error(Code.CONFIG, problem, target=path)
    try:
        release = msgspec.convert(values, Release)
        check_release(release)
    except msgspec.ValidationError as exc:
        raise error(Code.CONFIG, _plain(str(exc)), target=path) from exc
    except OtaError as exc:
        raise error(Code.CONFIG, f"{exc.detail}: {exc.target}" if exc.target else exc.detail, target=path) from exc
    return _resolved(release, os.path.dirname(path))


# ---- checks --------------------------------------------------------------------------------------------------------


def _unknown(values: dict[str, Any], text: str) -> Iterator[str]:
    """Keys that no table has, with the nearest that there is."""
    yield from _unknown_in(values, Release, "", 0, text)
    for name, table in _TABLES.items():
        item = values.get(name)
        items = item if isinstance(item, list) else [item]
        for number, entry in enumerate(items):
            if isinstance(entry, dict):
                yield from _unknown_in(entry, table, name, number, text)


def _unknown_in(
    values: dict[str, Any], table: type[msgspec.Struct], name: str, number: int, text: str
) -> Iterator[str]:
    known = [field.encode_name for field in msgspec.structs.fields(table)]
    for key in values:
        if key not in known:
            near = difflib.get_close_matches(key.replace("_", "-").lower(), known, 1, 0.5)
            hint = f"did you mean {near[0]!r}?" if near else f"known are {', '.join(known)}"
            where = f" in [{name}]" if name else ""
            line = _line(text, name, number, key)
            yield f"{f'line {line}: ' if line else ''}unknown key {key!r}{where}: {hint}"


def _line(text: str, table: str, number: int, key: str) -> int | None:
    """Where a key of the number-th table of this name is written; None if that cannot be told."""
    here, seen = "", -1
    header = re.compile(rf"\[\[?\s*[\"']?{re.escape(key)}[\"']?\s*\]?\]")
    entry = re.compile(rf"[\"']?{re.escape(key)}[\"']?\s*[.=]")
    for count, raw in enumerate(text.splitlines(), 1):
        line = raw.strip()
        if found := re.match(r"\[\[?\s*[\"']?([^\]\"']+?)[\"']?\s*\]", line):
            here = found[1]
            seen += here == table
            if not table and header.match(line):
                return count
        elif here == table and (not table or seen == number) and entry.match(line):
            return count
    return None


def _plain(message: str) -> str:
    """msgspec's message with our way to name a place."""
    message = message.replace(" | null`", "`")  # TOML has no null
    return re.sub(r" - at `\$\.?(.*?)`$", lambda match: f" (at {match[1]})" if match[1] else "", message)


def check_release(release: Release) -> None:
    """CONFIG for whatever types cannot say: lengths, paths on the board, keys that do not go together."""
    texts = {"name": release.name, "version": release.version, "min-version": release.min_version}
    for what, text in (*texts.items(), *(("compatible", board) for board in release.compatible)):
        if text is not None and not 1 <= len(text.encode()) <= TEXT_MAX:
            raise error(Code.CONFIG, f"{what} must have 1 to {TEXT_MAX} bytes")
    if len(release.compatible) > COMPATIBLE_MAX:
        raise error(Code.CONFIG, f"more than {COMPATIBLE_MAX} compatible boards")
    for image in release.image:
        _check_image(image)
    for folder in release.folder:
        _check_place(check_root, folder.dest)
        if folder.force and folder.old is None:
            raise error(Code.CONFIG, "a folder with force needs old, which says what differs")
    _check_env(release.env)
    labelled = (*release.image, *release.folder, *release.file, *release.scripts.inline)
    for item in labelled:
        _check_label(None if isinstance(item, str) else item.label)
    for edit in release.file:
        _check_edit(edit)


def _check_image(image: Image) -> None:
    if not 1 <= len(image.targets) <= TARGETS_MAX:
        raise error(Code.CONFIG, f"an image needs 1 to {TARGETS_MAX} targets")
    if len(set(image.targets)) < len(image.targets):
        raise error(Code.CONFIG, "an image has the same target twice")
    if image.source is not None and image.old is None:
        raise error(Code.CONFIG, "an image with a source needs old, the image that the source holds")
    if image.mask is not None and not 0 <= image.mask < 1 << len(image.targets):
        raise error(Code.CONFIG, f"mask {image.mask:#x} does not fit {len(image.targets)} targets")
    if image.in_place and (
        image.old is None or len(image.targets) != 1 or image.source is not None or image.mask is not None
    ):
        raise error(Code.CONFIG, "an image in place has old and one target, no source and no mask")
    if image.in_place and image.kind != "block":
        raise error(Code.CONFIG, "an image in place is of kind block: a UBI volume is replaced as a whole")
    if image.fallback and image.old is None:
        raise error(Code.CONFIG, "an image with fallback needs old: without a delta it is sent in full anyway")
    if image.fallback and image.in_place:
        raise error(
            Code.CONFIG,
            "fallback does not go with in-place: a cut while all of the only copy is written leaves none that starts",
        )
    for node in (*image.targets, *((image.source,) if image.source is not None else ())):
        _check_place(check_node, node)
    if image.size is not None:
        parse_size(image.size)


def _check_env(env: dict[str, str | bool]) -> None:
    if len(env) > ENV_MAX:
        raise error(Code.CONFIG, f"more than {ENV_MAX} changes of the environment")
    for name, value in env.items():
        if not check_env_name(name.encode()):
            raise error(Code.CONFIG, f"env: {name!r} cannot be the name of a variable")
        if value is True or (isinstance(value, str) and not check_env_value(value.encode())):
            raise error(
                Code.CONFIG,
                f"env: {name} must be a text of 1 to {ENV_VALUE_MAX} bytes without control characters, or false",
            )


def _check_label(label: str | None) -> None:
    if label is not None and not 1 <= len(label.encode()) <= LABEL_MAX:
        raise error(Code.CONFIG, f"a label must have 1 to {LABEL_MAX} bytes")


def _check_edit(edit: Edit) -> None:
    _check_place(check_node, edit.dest)
    if (edit.action == "delete") != (edit.new is None):
        raise error(Code.CONFIG, f"a file to {edit.action} {'needs' if edit.new is None else 'has no'} new")
    if edit.action == "add" and edit.old is not None:
        raise error(Code.CONFIG, "a file to add has no old")
    if edit.fallback and (edit.action != "update" or edit.old is None):
        raise error(Code.CONFIG, "only a file to update, with old, has a fallback")
    if edit.mode is not None:
        parse_mode(edit.mode)
        if edit.action == "delete":
            raise error(Code.CONFIG, "a file to delete has no mode")


def _check_place(check: Callable[[bytes], bytes], path: str) -> None:
    """A path on the board."""
    try:
        check(os.fsencode(path))
    except OtaError as exc:
        raise error(Code.CONFIG, f"the path on the board {exc.detail}", target=path) from None


def _resolved(release: Release, base: str) -> Release:
    """The same with every local path relative to base."""

    def local(path: str | None) -> Any:
        return None if path is None else os.path.join(base, path)

    def tables(items: tuple[Any, ...]) -> Any:
        return tuple(msgspec.structs.replace(item, new=local(item.new), old=local(item.old)) for item in items)

    scripts = release.scripts
    return msgspec.structs.replace(
        release,
        scripts=Scripts(
            begin=local(scripts.begin),
            end=local(scripts.end),
            inline=tuple(
                local(item) if isinstance(item, str) else msgspec.structs.replace(item, path=local(item.path))
                for item in scripts.inline
            ),
        ),
        image=tables(release.image),
        folder=tables(release.folder),
        file=tables(release.file),
    )
