"""The error tree: every failure names who must act, and its code is the exit code of the programs.

The list of codes is that of ``csrc/include/otastream.h`` (``OTA_ERRORS``); a test holds the two together.
"""

from __future__ import annotations

import enum
from typing import Final


class Code(enum.IntEnum):
    """Error codes; also exit codes. Never renumbered."""

    USAGE = 2
    CONFIG = 10
    INPUT = 11
    CHANGED = 12
    OUTPUT = 13
    LOCKED = 14
    CANCELLED = 15
    HOOK = 16
    MAGIC = 20
    VERSION = 21
    TRUNCATED = 22
    CORRUPT = 23
    FORMAT = 24
    UNSUPPORTED = 25
    LIMIT = 26
    PATH = 27
    CODEC = 28
    DELTA = 29
    SCRIPT = 30
    BEGIN_SCRIPT = 31
    END_SCRIPT = 32
    UNSIGNED = 40
    KEY = 41
    SIGNATURE = 42
    ROLLBACK = 43
    TARGET = 50
    MISSING = 51
    BOARD = 52
    MIN_VERSION = 53
    TOO_SMALL = 54
    RESULT = 55
    ENV = 56
    IO = 60
    SPACE = 61
    RAM = 62
    READONLY = 63
    BAD_BLOCKS = 64
    VERIFY = 65
    NODE = 66
    INTERNAL = 70

    @property
    def who(self) -> str:
        """Who must act: caller, package, trust, mismatch or device."""
        return _WHO[self.value // 10] if self is not Code.INTERNAL else "caller"

    @property
    def text(self) -> str:
        """What happened, in one sentence."""
        return TEXTS[self]


_WHO: Final = ("caller", "caller", "package", "package", "trust", "mismatch", "device")

TEXTS: Final[dict[Code, str]] = {
    Code.USAGE: "wrong arguments",
    Code.CONFIG: "the configuration is not valid",
    Code.INPUT: "an input file or folder cannot be used",
    Code.CHANGED: "an input changed while it was read",
    Code.OUTPUT: "the output cannot be written",
    Code.LOCKED: "another applier is at work on the same root",
    Code.CANCELLED: "stopped on request",
    Code.HOOK: "the hook program failed",
    Code.MAGIC: "this is not an otastream package",
    Code.VERSION: "the package has a format version that this program does not know",
    Code.TRUNCATED: "the package ends too early",
    Code.CORRUPT: "the package is damaged: a digest does not match",
    Code.FORMAT: "the package breaks the format",
    Code.UNSUPPORTED: "the package needs a feature that this program does not have",
    Code.LIMIT: "a size or count in the package is above the limit",
    Code.PATH: "a path in the package is not safe",
    Code.CODEC: "the compressed stream is damaged",
    Code.DELTA: "a delta is damaged or does not fit its source",
    Code.SCRIPT: "a script of the package failed",
    Code.BEGIN_SCRIPT: "the begin script failed; nothing was updated",
    Code.END_SCRIPT: "the end script failed",
    Code.UNSIGNED: "the package is not signed, and this board demands it",
    Code.KEY: "the package is signed by no key that this board trusts",
    Code.SIGNATURE: "a signature does not match",
    Code.ROLLBACK: "the package is older than what this board has already run",
    Code.TARGET: "a target is neither the old nor the new one",
    Code.MISSING: "a target or source is missing",
    Code.BOARD: "the package is not for this board",
    Code.MIN_VERSION: "the installed version is too old for this package",
    Code.TOO_SMALL: "the image is larger than its target",
    Code.RESULT: "what was written is not what the package promises",
    Code.ENV: "the environment of the boot loader cannot be used",
    Code.IO: "reading or writing failed",
    Code.SPACE: "not enough free space",
    Code.RAM: "not enough free memory",
    Code.READONLY: "a target cannot be written: read-only or no permission",
    Code.BAD_BLOCKS: "too many bad blocks",
    Code.VERIFY: "what was read back is not what was written",
    Code.NODE: "a target is not of the kind that the record needs",
    Code.INTERNAL: "a bug in otastream: please report it",
}


class OtaError(Exception):
    """A failure with a code, what exactly went wrong, and where.

    ``record`` is the number of the record in the package, ``offset`` a byte position in the file; both may be None.
    """

    def __init__(
        self,
        code: Code,
        detail: str = "",
        *,
        target: str | None = None,
        record: int | None = None,
        offset: int | None = None,
        hint: str | None = None,
    ) -> None:
        self.code = code
        self.detail = detail
        self.target = target
        self.record = record
        self.offset = offset
        self.hint = hint
        super().__init__(code, detail)

    def __str__(self) -> str:
        parts = [f"{self.code.who}: {self.code.text}"]
        if self.detail:
            parts.append(self.detail)
        if self.target is not None:
            parts.append(self.target)
        where = []
        if self.record is not None:
            where.append(f"record {self.record}")
        if self.offset is not None:
            where.append(f"offset {self.offset}")
        text = ": ".join(parts)
        return f"{text} ({', '.join(where)})" if where else text


class CallerError(OtaError):
    """The person or program that called must change something."""


class PackageError(OtaError):
    """The package is at fault: ask whoever made or carried it."""


class TrustError(OtaError):
    """Who made the package is not accepted here."""


class MismatchError(OtaError):
    """Package and board do not fit together."""


class DeviceError(OtaError):
    """The board or its media failed."""


_CLASSES: Final[dict[str, type[OtaError]]] = {
    "caller": CallerError,
    "package": PackageError,
    "trust": TrustError,
    "mismatch": MismatchError,
    "device": DeviceError,
}


def error(
    code: Code,
    detail: str = "",
    *,
    target: str | None = None,
    record: int | None = None,
    offset: int | None = None,
    hint: str | None = None,
) -> OtaError:
    """The right subclass of OtaError for this code, ready to be raised."""
    return _CLASSES[code.who](code, detail, target=target, record=record, offset=offset, hint=hint)
