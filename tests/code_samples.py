"""Programs that are made up: A64 functions that call each other and point at data, linked anew after a change."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Final

BASE: Final = 0x400000

_PLAIN: Final = (0xAA0103E0, 0x910043FF, 0xF9400FE1, 0x52800020, 0x7100041F, 0x8B010000, 0xB9000BE0, 0xD503201F)


def functions(count: int, seed: int = 1) -> list[list[tuple[str, int]]]:
    """Each function as instructions: ("plain", word), ("call", number of a function) or ("data", number of a datum)."""
    rng = random.Random(seed)
    made = []
    for _ in range(count):
        body: list[tuple[str, int]] = [("plain", 0xA9BF7BFD)]
        for _ in range(rng.randrange(6, 40)):
            what = rng.random()
            if what < 0.15:
                body.append(("call", rng.randrange(count)))
            elif what < 0.25:
                body.append(("data", rng.randrange(count)))
            else:
                body.append(("plain", rng.choice(_PLAIN) ^ rng.randrange(8)))
        body.append(("plain", 0xD65F03C0))
        made.append(body)
    return made


def kernel(program: Sequence[Sequence[tuple[str, int]]], *, distances: bool = False) -> bytes:
    """An image without headers: instructions from 0x1000 on, then where each function begins, from there on; with
    distances as addresses, behind which is how far away each is, twice.
    """
    text, starts, _ = _text(program, 0)
    if not distances:
        return bytes(0x1000) + text + b"".join((start - 0x1000).to_bytes(4, "little") for start in starts)
    image = bytes(0x1000) + text + bytes(-len(text) % 16 + 0x20000)
    image += b"".join((0xFFFF800008000000 + start).to_bytes(8, "little") for start in starts)
    return image + b"".join(
        (start - len(image) - 8 * i - at).to_bytes(4, "little", signed=True)
        for i, start in enumerate(starts)
        for at in (0, 4)
    )


def link(program: Sequence[Sequence[tuple[str, int]]], *, gap: int = 0) -> bytes:
    """An ELF file of the functions and a table of pointers to them, with `gap` bytes between."""
    text, starts, table = _text(program, gap)
    data = b"".join((BASE + start).to_bytes(8, "little") for start in starts)
    return _header(table + len(data)) + (bytes(0x1000 - 64 - 56) + text).ljust(table - 64 - 56, b"\0") + data


def _text(program: Sequence[Sequence[tuple[str, int]]], gap: int) -> tuple[bytes, list[int], int]:
    """Instructions, where each function begins, where the table is."""
    starts, at = [], 0x1000
    for body in program:
        starts.append(at)
        at += sum(8 if what == "data" else 4 for what, _ in body)
    table = (at + gap + 15) // 16 * 16
    text = bytearray()
    for start, body in zip(starts, program, strict=True):
        pc = start
        for what, value in body:
            if what == "call":
                words = [0x94000000 | (starts[value % len(starts)] - pc) // 4 & 0x3FFFFFF]
            elif what == "data":
                target = table + 8 * (value % len(starts))
                pages = (target >> 12) - (pc >> 12)
                words = [
                    0x90000000 | (pages & 3) << 29 | (pages >> 2 & 0x7FFFF) << 5,
                    0xF9400000 | (target & 0xFF8) << 7,
                ]
            else:
                words = [value]
            for word in words:
                text += word.to_bytes(4, "little")
                pc += 4
    return bytes(text), starts, table


def _header(size: int) -> bytes:
    numbers = ((2, 2), (183, 2), (1, 4), (BASE + 0x1000, 8), (64, 8), (0, 8), (0, 4), (64, 2), (56, 2), (1, 2))
    head = b"\x7fELF\2\1\1" + bytes(9) + b"".join(value.to_bytes(width, "little") for value, width in numbers)
    program = ((1, 4), (7, 4), (0, 8), (BASE, 8), (BASE, 8), (size, 8), (size, 8), (4096, 8))
    return head.ljust(64, b"\0") + b"".join(value.to_bytes(width, "little") for value, width in program)


def pair(count: int = 60) -> tuple[bytes, bytes]:
    """Old and new: a function was added in front, another one changed."""
    old, new = _changed(count)
    return link(old), link(new, gap=32)


def kernels(count: int, *, distances: bool = False) -> tuple[bytes, bytes]:
    """The same as images without headers."""
    old, new = _changed(count)
    return kernel(old, distances=distances), kernel(new, distances=distances)


def _changed(count: int) -> tuple[list[list[tuple[str, int]]], list[list[tuple[str, int]]]]:
    program = functions(count)
    changed = [list(body) for body in program]
    changed[count // 2][3:3] = [("plain", 0x91002000), ("plain", 0x91003000)]
    changed.insert(1, functions(1, seed=7)[0])
    shifted = [
        [(what, value + (what != "plain" and value >= 1) if what != "plain" else value) for what, value in body]
        for body in changed
    ]
    return program, shifted


def stubs(count: int) -> tuple[bytes, bytes]:
    """Functions that call stubs, and have another order in new. The stubs have not: number i is where it was, but its
    content came from elsewhere, as did those beside it. What was copied tells nothing of where references go."""
    rng = random.Random(11)
    bodies = [[("plain", rng.randrange(1 << 24) | 0x72000000) for _ in range(4)] for _ in range(count)]
    blocks = [bodies[at : at + 8] for at in range(0, count, 8)]
    rng.shuffle(blocks)
    code = [[("plain", rng.randrange(1 << 24) | 0x72000000) for _ in range(30)] for _ in range(count)]
    for body in code:
        body[4::8] = [("call", 1 + rng.randrange(count)) for _ in body[4::8]]
    front = functions(1, seed=7)[0]
    was = [front, *bodies, *code]
    rng.shuffle(code)
    return kernel(was), kernel([front * 2, *(body for block in blocks for body in block), *code])


# ---- type information ------------------------------------------------------------------------------------------


def types(count: int, *, more: int = 0) -> bytes:
    """BTF of structs that refer to each other, and pointers to them; more: so many were put in at a quarter."""
    rng = random.Random(5)
    structs = [[(f"member{rng.randrange(count)}", rng.randrange(2 * count)) for _ in range(rng.randrange(2, 9))]
               for _ in range(count)]  # fmt: skip
    at = count // 4
    listed = [(f"struct{i}", members) for i, members in enumerate(structs)]
    listed[at:at] = [(f"added{i}", [("of_what", i)]) for i in range(more)]
    names, table = {"": 0}, bytearray(b"\0")

    def name(text: str) -> int:
        if text not in names:
            names[text] = len(table)
            table.extend(text.encode() + b"\0")
        return names[text]

    words: list[int] = []
    for number, (called, members) in enumerate(listed):
        words += [name(called), 4 << 24 | len(members), 8 * len(members)]
        for i, (member, to) in enumerate(members):
            words += [name(member), to + 1 + 2 * more * (to >= 2 * at), 64 * i]
        words += [0, 2 << 24, 2 * number + 1]
    body = b"".join(word.to_bytes(4, "little") for word in words)
    header = (0x0001EB9F, 24, 0, len(body), len(body), len(table))
    return b"".join(value.to_bytes(4, "little") for value in header) + body + bytes(table)
