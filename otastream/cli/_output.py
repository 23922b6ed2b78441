"""What every command prints alike: errors, sizes, names."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from typing import Final

from otastream.errors import Code, OtaError
from otastream.model import Preamble

_HINTS: Final = {
    "caller": "",
    "package": "fetch the package again; if it stays so, ask whoever made it",
    "trust": "check who made the package and which keys this board trusts",
    "mismatch": "use a package that was made for what is on this board",
    "device": "look at the board: its media, free space and memory",
}
_HINTS_OF: Final = {
    Code.BAD_BLOCKS: "run the same package again; if it stays so, the chip is worn out",
    Code.LOCKED: "wait for the other one; the lock goes with its process",
    Code.CANCELLED: "run the same package again to finish",
    Code.VERSION: "update otastream here, or pack with the version that is here",
    Code.UNSUPPORTED: "update otastream here, or pack without that feature",
    Code.SCRIPT: "look at what the script printed, then run the same package again or ask whoever made it",
    Code.BEGIN_SCRIPT: "look at what the script printed, then run the same package again or ask whoever made it",
    Code.END_SCRIPT: "the update itself is complete; look at what the script printed",
    Code.ROLLBACK: "take a newer package; where the board has no keys, --allow-downgrade insists",
    Code.MIN_VERSION: "install that version first",
    Code.RESULT: "run the same package again; if it stays so, the package was made wrong",
    Code.SPACE: "make room, then run the same package again",
    Code.RAM: "stop programs, or pack for less memory: --ram",
    Code.VERIFY: "run the same package again; if it stays so, the medium is worn out",
}


def report(failure: OtaError, program: str = "otastream") -> None:
    """Print an error as two lines at most on stderr: what happened and who must act, then a hint."""
    lines = [f"{program}: error: {failure}"]
    hint = failure.hint or _HINTS_OF.get(failure.code) or _HINTS[failure.code.who]
    if hint:
        lines.append(f"{program}: hint: {hint}")
    print("\n".join(printable(line) for line in lines), file=sys.stderr)


def printable(text: str) -> str:
    """Text that cannot confuse a terminal: what is not printable is shown as an escape."""
    if text.isprintable():  # as nearly every name is
        return text
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape", "surrogatepass").decode() for char in text
    )


def shown(name: bytes) -> str:
    """A path for people: bytes that are no text as \\xNN."""
    return printable(name.decode("utf-8", "backslashreplace"))


def portable(name: bytes) -> str:
    """A path for JSON: bytes that are not UTF-8 as lone surrogates, as ``os.fsdecode`` gives them."""
    return os.fsdecode(name)


def key_ids(preamble: Preamble) -> str:
    """Who signed, as the ids of their keys; empty when nobody did."""
    return ", ".join(key_id.hex() for key_id, _ in preamble.signatures)


def size(count: int) -> str:
    """Bytes for people: 3 digits and a binary unit."""
    value = float(count)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if value < 1000:
            return f"{count} B" if unit == "B" else f"{value:.3g} {unit}"
        value /= 1024
    return f"{value:.4g} TiB"


def count(number: int, what: str) -> str:
    """A number of things: ``1 record``, ``2 records``."""
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def share(part: int, whole: int) -> str:
    """How much a part is of the whole, in parentheses behind a blank; empty where that says nothing."""
    if not 0 < part < whole:
        return ""
    percent = part / whole * 100
    return f" ({percent:.1f}%)" if percent >= 0.05 else " (below 0.1%)"


def exit_codes() -> Iterator[tuple[str, str]]:
    """(who must act, ``code text`` lines of that group), in the order of the codes."""
    groups: dict[str, list[str]] = {}
    for code in Code:
        groups.setdefault(code.who, []).append(f"{code.value:3} {code.text}")
    for who, lines in groups.items():
        yield who, "\n".join(lines)
