"""What the tables have in common: the row of one tool on one pair, and how rows are printed."""

from __future__ import annotations

import os
import platform
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from bench.measure import Usage


@dataclass(frozen=True, slots=True)
class Row:
    """What one tool did on one pair: bytes, seconds of the wall clock (cpu: of all processors), peak resident bytes of
    its largest process, instructions of applying (0: not counted). failed says why there are no numbers."""

    tool: str
    ours: bool = False
    note: str = ""
    size: int = 0
    pack_seconds: float = 0.0
    pack_cpu: float = 0.0
    pack_rss: int = 0
    apply_seconds: float = 0.0
    apply_cpu: float = 0.0
    apply_rss: int = 0
    instructions: int = 0
    failed: str | None = None


def done(tool: str, size: int, packed: Usage, applied: Usage, *, ours: bool, note: str = "", count: int = 0) -> Row:
    """The row of a tool that succeeded. count: instructions."""
    pack = (packed.seconds, packed.cpu, packed.rss)
    return Row(tool, ours, note, size, *pack, applied.seconds, applied.cpu, applied.rss, count)


def best_peer(rows: Iterable[Row]) -> int:
    """Bytes of the smallest delta of a peer; 0: there is none."""
    return min((row.size for row in rows if not row.ours and row.failed is None), default=0)


# ---- printing ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Column:
    """One column behind the tool's name. left: a text, not a number."""

    title: str
    text: Callable[[Row], str]
    left: bool = False


BYTES: Final = Column("bytes", lambda row: f"{row.size:,}")
PACK_CPU: Final = Column("pack CPU s", lambda row: f"{row.pack_cpu:.1f}")
PACK_MIB: Final = Column("pack MiB", lambda row: f"{row.pack_rss / 2**20:.0f}")
APPLY_CPU: Final = Column("apply CPU s", lambda row: f"{row.apply_cpu:.1f}")
APPLY_MIB: Final = Column("apply MiB", lambda row: f"{row.apply_rss / 2**20:.1f}")


def ratio(base: float, of: Callable[[Row], float] = lambda row: row.size) -> Column:
    """Against a base, bytes if nothing else is said (lower is better); 0: there is none."""
    return Column("ratio", lambda row: f"{of(row) / base:.3f}" if base else "-")


def per_byte(new: int) -> Column:
    """Instructions of applying for each byte of new."""
    return Column("apply instr/byte", lambda row: f"{row.instructions / new:.1f}" if row.instructions else "-")


def table(rows: Iterable[Row], columns: Sequence[Column], first: str = "tool") -> str:
    """In Markdown; a row that failed says why in the last column."""
    lines = [
        " | ".join([f"| {first}", *(column.title for column in columns)]) + " |",
        " | ".join(["| ---", *("---" if column.left else "---:" for column in columns)]) + " |",
    ]
    for row in rows:
        if row.failed is None:
            texts = [column.text(row) for column in columns]
        else:
            texts = ["-"] * (len(columns) - 1) + [f"not run: {' '.join(row.failed.split())}"]
        lines.append(" | ".join([f"| {row.tool}", *texts]) + " |")
    return "\n".join(lines) + "\n"


def machine() -> str:
    """What the numbers were measured on."""
    system = f"Linux {platform.release().split('-')[0]}, Python {platform.python_version()}"
    return f"{os.cpu_count()} {platform.machine()} cores, {system}"
