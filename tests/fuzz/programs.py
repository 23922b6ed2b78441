"""Programs that are made up, for each machine that engine xref knows: instructions and tables that refer to each other,
linked twice, with something put in between.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from typing import Final, NamedTuple

_BASE: Final = 0x10000
_LE: Final = "little"


class _Item(NamedTuple):
    """A thing of a program. size: its bytes; code: what it is at an address, if it refers to another one. reach: items
    that lie between at most."""

    size: int
    code: Callable[[int, int], int]
    reach: int = 1000


def _plain(word: int, size: int = 4) -> _Item:
    return _Item(size, lambda _at, _to: word)


def _bits(value: int, low: int, count: int) -> int:
    return value >> low & (1 << count) - 1


def _halves(high: int, low: int) -> int:
    """Two halfwords of Thumb as they stand in memory."""
    return high | low << 16


def _imm16(top: int, reg: int, value: int) -> int:
    return _halves(
        top | _bits(value, 11, 1) << 10 | _bits(value, 12, 4), _bits(value, 8, 3) << 12 | reg << 8 | _bits(value, 0, 8)
    )


def _adr(at: int, to: int) -> int:
    return 0x10000001 | _bits(to - at, 0, 2) << 29 | _bits(to - at, 2, 19) << 5


def _adrp(at: int, to: int) -> int:
    pages = (to >> 12) - (at >> 12)
    return 0x90000003 | _bits(pages, 0, 2) << 29 | _bits(pages, 2, 19) << 5


def _rv_jal(at: int, to: int) -> int:
    d = to - at
    return 0xEF | _bits(d, 20, 1) << 31 | _bits(d, 1, 10) << 21 | _bits(d, 11, 1) << 20 | _bits(d, 12, 8) << 12


def _thumb_bl(at: int, to: int) -> int:
    d = to - at - 4
    s = _bits(d, 24, 1)
    j1, j2 = _bits(d, 23, 1) ^ s ^ 1, _bits(d, 22, 1) ^ s ^ 1
    return _halves(0xF000 | s << 10 | _bits(d, 12, 10), 0xD000 | j1 << 13 | j2 << 11 | _bits(d, 1, 11))


def _thumb_beq(at: int, to: int) -> int:
    d = to - at - 4
    high = 0xF000 | _bits(d, 20, 1) << 10 | _bits(d, 12, 6)
    return _halves(high, 0x8000 | _bits(d, 18, 1) << 13 | _bits(d, 19, 1) << 11 | _bits(d, 1, 11))


# What refers to one thing in two steps stands together: the second step is made with the address of the first.
_A64: Final[Sequence[Sequence[_Item]]] = (
    [_Item(4, lambda at, to: 0x94000000 | _bits(to - at, 2, 26))],
    [_Item(4, lambda at, to: 0x54000000 | _bits(to - at, 2, 19) << 5)],
    [_Item(4, lambda at, to: 0x36000002 | _bits(to - at, 2, 14) << 5)],
    [_Item(4, _adr)],
    [_Item(4, _adrp), _Item(4, lambda _at, to: 0x91000063 | (to & 0xFFF) << 10)],
    [_Item(4, _adrp), _plain(0xD503201F), _Item(4, lambda _at, to: 0xF9400063 | (to & 0xFF8) << 7)],
    [_plain(0xAA0103E0)],
)
_A32: Final = (
    [_Item(4, lambda at, to: 0xEB000000 | _bits(to - at - 8, 2, 24))],
    [
        _Item(4, lambda _at, to: 0xE3000000 | 3 << 12 | _bits(to, 12, 4) << 16 | _bits(to, 0, 12)),
        _Item(4, lambda _at, to: 0xE3400000 | 3 << 12 | _bits(to, 28, 4) << 16 | _bits(to, 16, 12)),
    ],
    # ldr r3, [pc]; b over the word; the word
    [_plain(0xE59F3000), _plain(0xEA000000), _Item(4, lambda _at, to: to)],
    [
        _plain(0xE59F3004),
        _plain(0xE08F3003),
        _plain(0xEA000000),
        _Item(4, lambda at, to: to - (at - 8) - 8 & 0xFFFFFFFF),
    ],
    [_Item(4, lambda at, to: 0xE59F4000 | to - at - 8 if 0 <= to - at - 8 < 4096 else 0xE1A00001)],
    [_plain(0xE1A00001)],
)
_THUMB: Final = (
    [_Item(4, _thumb_bl)],
    [_Item(4, _thumb_beq)],
    [_Item(2, lambda at, to: 0xE000 | _bits(to - at - 4, 1, 11))],
    [_Item(2, lambda at, to: 0xD100 | _bits(to - at - 4, 1, 8), 30)],
    [_Item(2, lambda at, to: 0xB100 | _bits(to - at - 4, 6, 1) << 9 | _bits(to - at - 4, 1, 5) << 3, 8)],
    [_Item(4, lambda _at, to: _imm16(0xF240, 3, to & 0xFFFF)), _Item(4, lambda _at, to: _imm16(0xF2C0, 3, to >> 16))],
    [_Item(4, lambda at, to: _halves(0xF8DF, 0x4000 | (to - (at + 4 & ~3)) & 0xFFF))],
    [_Item(2, lambda at, to: 0x4800 | (to - (at + 4 & ~3) >> 2) & 0xFF), _plain(0x4478, 2)],
    [_plain(0x4601, 2)],
)
_RISCV: Final = (
    [_Item(4, _rv_jal)],
    [
        _Item(4, lambda at, to: 0x00000517 | (to - at + 0x800) & 0xFFFFF000),
        _Item(4, lambda at, to: 0x00050513 | _bits(to - (at - 4), 0, 12) << 20),
    ],
    [
        _Item(4, lambda at, to: 0x00000517 | (to - at + 0x800) & 0xFFFFF000),
        _Item(4, lambda at, to: 0x00B52023 | _bits(to - (at - 4), 5, 7) << 25 | _bits(to - (at - 4), 0, 5) << 7),
    ],
    [_plain(0x8082, 2)],
)
_MIPS: Final = ([_Item(4, lambda _at, to: 0x0C000000 | _bits(to, 2, 26))], [_plain(0x27BDFFE0)])
_X86: Final = (
    [_plain(0xE8, 1), _Item(4, lambda at, to: to - at - 4 & 0xFFFFFFFF)],
    [_plain(0x840F, 2), _Item(4, lambda at, to: to - at - 4 & 0xFFFFFFFF)],
    [_plain(0x058D48, 3), _Item(4, lambda at, to: to - at - 4 & 0xFFFFFFFF)],
    [_plain(0xC3, 1)],
)
MACHINES: Final = {"a64": (183, 8, _A64), "a32": (40, 4, _A32), "thumb": (40, 4, _THUMB), "riscv": (243, 8, _RISCV),
                   "mips": (8, 4, _MIPS), "x86": (62, 8, _X86)}  # fmt: skip
"""ELF's number of the machine, bytes of a pointer, groups of items."""


def _tables(width: int, starts: Sequence[int], at: int, odd: int) -> list[tuple[int, int, bytes]]:
    """Sections with addresses: type, flags, content. odd: what is added to addresses of code."""
    pointers = b"".join((start + odd).to_bytes(width, _LE) for start in starts)
    relative = b"".join(
        (start - at - len(pointers) - 4 * i & 0xFFFFFFFF).to_bytes(4, _LE) for i, start in enumerate(starts)
    )
    relocations = b"".join((start).to_bytes(width, _LE) + (8).to_bytes(width, _LE) + (start + 8).to_bytes(width, _LE)
                           for start in starts[::3])  # fmt: skip
    return [(1, 3, pointers), (1, 2, relative), (4, 2, relocations)]


def _linked(machine: str, groups: Sequence[Sequence[_Item]], targets: Sequence[int], gap: int) -> bytes:
    """An ELF file of these groups, each of which refers to the beginning of another one."""
    number, width, _ = MACHINES[machine]
    wide = width == 8
    head, entry, section = (64, 56, 64) if wide else (52, 32, 40)
    at = _BASE + head + entry
    starts = []
    for group in groups:
        starts.append(at)
        at += sum(item.size for item in group)
    text = bytearray()
    for start, group, target in zip(starts, groups, targets, strict=True):
        for item in group:
            address = start + sum(i.size for i in group[: group.index(item)])
            text += (item.code(address, starts[target % len(starts)]) & (1 << 8 * item.size) - 1).to_bytes(
                item.size, _LE
            )
    text += bytes(gap + -(len(text) + gap + head + entry) % 16)
    parts = [(1, 6, bytes(text)), *_tables(width, starts, _BASE + head + entry + len(text), machine == "thumb")]
    offset, rows = head + entry, [(0, 0, 0, 0)]
    for kind, flags, content in parts:
        rows.append((kind, flags, offset, len(content)))
        offset += len(content)

    def numbers(*values: tuple[int, int]) -> bytes:
        return b"".join((value & (1 << 8 * size) - 1).to_bytes(size, _LE) for value, size in values)

    w = width
    ident = b"\x7fELF" + bytes([1 + wide, 1, 1]) + bytes(9)
    header = ident + numbers((2, 2), (number, 2), (1, 4), (_BASE, w), (head, w), (offset, w), (0, 4))
    header += numbers((head, 2), (entry, 2), (1, 2), (section, 2), (len(rows), 2), (0, 2))
    flags_, sizes = ((7, 4),), ((0, w), (_BASE, w), (_BASE, w), (offset, w), (offset, w))
    load = numbers((1, 4), *flags_, *sizes, (4096, w)) if wide else numbers((1, 4), *sizes, *flags_, (4096, w))
    table = b"".join(
        numbers(
            (0, 4), (kind, 4), (flags, w), (_BASE + start, w), (start, w), (size, w), (0, 4), (0, 4), (4, w), (0, w)
        )
        for kind, flags, start, size in rows
    )
    return header + load + b"".join(content for _, _, content in parts) + table


def pairs(count: int = 90) -> Iterator[tuple[str, bytes, bytes]]:
    """For each machine: its name, old and new."""
    for name, (_, _, kinds) in MACHINES.items():
        rng = random.Random(name)
        groups = [kinds[i % len(kinds)] for i in range(count)]
        targets = [i + rng.randrange(1, min(group[0].reach, 40) + 1) for i, group in enumerate(groups)]
        middle = count // 3
        more = list(kinds) * 2
        moved = [target + (target >= middle) * len(more) for target in targets]
        yield (
            name,
            _linked(name, groups, targets, 0),
            _linked(name, [*groups[:middle], *more, *groups[middle:]],
                    [*moved[:middle], *range(middle, middle + len(more)), *moved[middle:]], 16),
        )  # fmt: skip
