"""Partition configs of camera SDKs: make-style variables that say what partitions a board has.

Read are assignments (``=``, ``:=``, ``?=``, ``+=``), comments, continued lines, ``ifeq`` and its like, and
references that may stand in each other. Nothing is run: a value that needs make's functions is not known.
``boot$(OTABLK)`` is a name as it stands there; whatever the SDK makes of its second half is the SDK's business.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from otastream.errors import Code, error

_ASSIGNMENT: Final = re.compile(r"(?:export\s+|override\s+)?([^\s:=?+#]+)\s*(:{0,3}=|\?=|\+=)\s*(.*)", re.S)
_CONDITIONS: Final = ("ifeq", "ifneq", "ifdef", "ifndef")
_CONDITION: Final = re.compile(r"(ifn?eq)\s*\((.*)\)")
_DEPTH: Final = 32  # references inside references


class UnknownValueError(Exception):
    """A value that only make can tell; the text says why."""


@dataclass(frozen=True, slots=True)
class Partition:
    """One partition of OTA_IMAGE_LIST. size: bytes, None when only make knows; mask: None when there is none."""

    name: str
    targets: tuple[str, ...]
    fstype: str
    size: int | None
    mask: str | None


class PartitionConfig:
    """The variables of a config; ``given`` are set beforehand, and stay."""

    def __init__(self, text: str, *, path: str, given: Mapping[str, str] | None = None) -> None:
        self._path = path
        self._given = dict(given or {})
        self._values: dict[str, str] = dict(self._given)
        self._read(text)

    def names(self) -> tuple[str, ...]:
        """The partitions of OTA_IMAGE_LIST, in order. CONFIG: there is no such variable."""
        if "OTA_IMAGE_LIST" not in self._values:
            raise error(Code.CONFIG, "has no OTA_IMAGE_LIST", target=self._path)
        return tuple(dict.fromkeys(self.value("OTA_IMAGE_LIST").split()))

    @property
    def flash_type(self) -> str:
        """nor, spinand, emmc, sdmmc, or nothing."""
        return self.value("FLASH_TYPE").strip()

    def partition(self, name: str) -> Partition:
        """What the config says about a partition. CONFIG: it has no target, or a value cannot be known."""

        def of(key: str) -> str:
            return self.value(f"{name}$({key})").strip()

        targets = tuple(of("OTABLK").split())
        if not targets:
            raise error(Code.CONFIG, f"partition {name} has no {name}$(OTABLK), the node to write", target=self._path)
        return Partition(name, targets, of("FSTYPE"), self._size(name), of("OTAMASK") or None)

    def environment(self, name: str) -> str:
        """The variables that go with a partition, as BLKENV has them. CONFIG: a value cannot be known."""
        return self.value(f"{name}$(BLKENV)").strip()

    def value(self, name: str) -> str:
        """A variable with everything in it replaced; empty when it is not set. CONFIG: only make can tell."""
        try:
            return self._expand(self._values.get(name, ""), 0)
        except UnknownValueError as failure:
            hint = f"say it with --set '{name}=...'"
            raise error(Code.CONFIG, f"{name}: {failure}", target=self._path, hint=hint) from None

    def _raw(self, name: str, key: str) -> str:
        return self._values.get(f"{name}$({key})", "").strip()

    def _size(self, name: str) -> int | None:
        try:
            text = self._expand(self._raw(name, "PATSIZE"), 0).strip()
        except UnknownValueError:
            return None
        if not text:
            return None
        if re.fullmatch(r"0[xX][0-9a-fA-F]{1,15}|[0-9]{1,18}", text) is None:
            raise error(Code.CONFIG, f"{name}$(PATSIZE) is {text!r}, not a number of bytes", target=self._path)
        return int(text, 16 if text[1:2] in ("x", "X") else 10) or None

    # ---- reading ----

    def _read(self, text: str) -> None:
        taken: list[bool] = []  # of each condition around this line: whether its branch is the one to read
        chosen: list[bool] = []  # whether one of its branches was
        for number, line in _lines(text):
            if (word := line.split(maxsplit=1)[0]) in _CONDITIONS:
                holds = all(taken) and self._holds(line, number)
                taken.append(holds)
                chosen.append(holds)
            elif word in ("else", "endif") and not taken:
                raise self._broken(number, f"{word} without a condition")
            elif word == "else":
                rest = line.split(maxsplit=1)[1:]
                holds = not chosen[-1] and all(taken[:-1]) and (not rest or self._holds(rest[0], number))
                taken[-1], chosen[-1] = holds, chosen[-1] or holds
            elif word == "endif":
                taken.pop()
                chosen.pop()
            elif all(taken):
                self._assign(line, number)
        if taken:
            raise error(Code.CONFIG, "a condition has no endif", target=self._path)

    def _assign(self, line: str, number: int) -> None:
        match = _ASSIGNMENT.fullmatch(line)
        if match is None:
            raise self._broken(number, f"is no assignment: {line[:60]!r}")
        name, how, value = match.groups()
        if name in self._given or (how == "?=" and name in self._values):
            return
        if how == "+=" and name in self._values:
            value = f"{self._values[name]} {value}"
        elif how.startswith(":"):
            value = self._now(name, value)
        self._values[name] = value

    def _now(self, name: str, value: str) -> str:
        """A value as it is at this line; where only make can tell, as it stands, to fail when it is used."""
        try:
            return self._expand(value, 0).replace("$", "$$")
        except UnknownValueError:
            if f"$({name})" in value:
                return "$(shell )"  # a reference to itself: never known
            return value

    def _holds(self, line: str, number: int) -> bool:
        word, _, name = line.partition(" ")
        if word in ("ifdef", "ifndef"):
            return bool(self._values.get(name.strip())) == (word == "ifdef")
        match = _CONDITION.fullmatch(line)
        sides = match[2].split(",") if match else []
        if match is None or len(sides) != 2:
            raise self._broken(number, f"is a condition that is not understood: {line[:60]!r}")
        try:
            equal = len({self._expand(side, 0, strict=False).strip() for side in sides}) == 1
        except UnknownValueError as failure:
            raise self._broken(number, str(failure)) from None
        return equal == (match[1] == "ifeq")

    def _broken(self, number: int, problem: str) -> Exception:
        return error(Code.CONFIG, f"line {number}: {problem}", target=self._path)

    # ---- references ----

    def _expand(self, text: str, depth: int, *, strict: bool = True) -> str:
        """strict False: a variable that is not set is empty, as make has it."""
        if depth > _DEPTH:
            raise UnknownValueError("refers to itself")
        parts, pos = [], 0
        while (at := text.find("$", pos)) >= 0:
            parts.append(text[pos:at])
            mark = text[at + 1 : at + 2]
            if mark in ("(", "{"):
                end = _closing(text, at + 1)
                parts.append(self._reference(text[at + 2 : end], depth + 1, strict=strict))
                pos = end + 1
            else:
                parts.append("$" if mark == "$" else self._reference(mark, depth + 1, strict=strict))
                pos = at + 2
        return "".join([*parts, text[pos:]])

    def _reference(self, inner: str, depth: int, *, strict: bool) -> str:
        if inner in self._values:
            return self._expand(self._values[inner], depth, strict=strict)
        if re.match(r"[a-z-]+\s", inner):
            raise UnknownValueError(f"make's function {inner.split(maxsplit=1)[0]} is not run here")
        if "$" in inner and re.fullmatch(r"[^$]+\$[({][A-Z0-9_]+[)}]", inner) is None:
            return self._reference(self._expand(inner, depth, strict=strict), depth + 1, strict=strict)
        if not strict:
            return ""
        raise UnknownValueError(f"$({inner}) is not set")


def _closing(text: str, start: int) -> int:
    """Where the parenthesis or brace at ``start`` is closed."""
    pairs = {"(": ")", "{": "}"}
    opening, closing, level = text[start], pairs[text[start]], 0
    for at in range(start, len(text)):
        level += (text[at] == opening) - (text[at] == closing)
        if level == 0:
            return at
    raise UnknownValueError("a reference is not closed")


def _lines(text: str) -> list[tuple[int, str]]:
    """(number of the first line, line) without comments and empty lines; continued lines joined."""
    found: list[tuple[int, str]] = []
    joined, first = "", 0
    for number, line in enumerate(text.splitlines(), 1):
        first = first or number
        if line.endswith("\\"):
            joined += line[:-1].strip() + " "
            continue
        whole = re.sub(r"(?<!\\)#.*", "", joined + line.lstrip()).strip()
        if whole:
            found.append((first, whole))
        joined, first = "", 0
    return [*found, *([(first, joined.strip())] if joined.strip() else [])]


def load_config(path: str, *, given: Mapping[str, str] | None = None) -> PartitionConfig:
    """Read a partition config. Raises INPUT, and CONFIG with the line that is not understood."""
    try:
        with open(path, encoding="utf-8", errors="surrogateescape") as file:
            text = file.read()
    except OSError as failure:
        raise error(Code.INPUT, failure.strerror or "cannot be read", target=path) from failure
    return PartitionConfig(text, path=path, given=given)
