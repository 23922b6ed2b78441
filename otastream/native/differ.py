"""Making deltas: the matcher and the encoders of the engines."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from otastream import divsufsort
from otastream._core import ffi, lib
from otastream.errors import Code, error
from otastream.native.common import Buffer, code_of


@dataclass(frozen=True, slots=True)
class DiffStats:
    """What a bsdiff delta consists of, in bytes (triples: a count)."""

    triples: int
    added: int
    nonzero: int
    literals: int
    written: int


@dataclass(frozen=True, slots=True)
class LongParts:
    """What is known of old and new beside their bytes: which stretches are long compressed parts, expanded.

    Start and length of each, in order. Each is content of its own, which may be a program, and one of old is slow to go
    to and fro in: there are no short copies from far away in it.
    """

    old: tuple[tuple[int, int], ...] = ()
    new: tuple[tuple[int, int], ...] = ()


NO_PARTS: Final = LongParts()


def _long_parts(parts: LongParts) -> tuple[Any, tuple[Any, Any]]:
    """For C, and what has to live as long."""
    if not parts.old and not parts.new:
        return ffi.NULL, (None, None)
    old, new = (ffi.new("uint64_t[]", [n for pair in side for n in pair]) for side in (parts.old, parts.new))
    return ffi.new("struct ota_long_parts *", (old, len(parts.old), new, len(parts.new))), (old, new)


def diff_bsdiff(old: Buffer, new: Buffer, fd: int, parts: LongParts = NO_PARTS) -> DiffStats:
    """Write the payload of engine bsdiff that makes ``new`` from ``old`` to ``fd``, from its position on.

    Needs up to 6 bytes of memory for each byte of old. Same bytes for the same input, in whatever thread. Raises RAM,
    OUTPUT, LIMIT, USAGE (parts overlap, or leave old or new), and CONFIG when libdivsufsort is missing.
    """
    stats = ffi.new("struct ota_diff_stats *")
    one, two = ffi.from_buffer("uint8_t[]", old), ffi.from_buffer("uint8_t[]", new)
    known, kept = _long_parts(parts)
    status = int(lib.ota_diff_bsdiff(_sorter(), one, len(one), two, len(two), known, fd, stats))
    del kept
    return _diff_stats(status, stats)


def diff_pieces(old: Buffer, new: Buffer, fd: int) -> DiffStats:
    """The same, but write the pieces that the payload would be made of: for each three native 64-bit numbers, where it
    is in new, where in old, its length. They rise in new and do not overlap; ``encode_pieces`` takes a choice of them.
    """
    stats = ffi.new("struct ota_diff_stats *")
    one, two = ffi.from_buffer("uint8_t[]", old), ffi.from_buffer("uint8_t[]", new)
    return _diff_stats(int(lib.ota_diff_pieces(_sorter(), one, len(one), two, len(two), fd, stats)), stats)


def encode_pieces(old: Buffer, new: Buffer, pieces: Buffer, fd: int) -> DiffStats:
    """Write the payload that makes ``new`` of these pieces and of literals to ``fd``. OUTPUT; USAGE: bad pieces."""
    stats = ffi.new("struct ota_diff_stats *")
    one, two = ffi.from_buffer("uint8_t[]", old), ffi.from_buffer("uint8_t[]", new)
    raw = ffi.from_buffer("uint8_t[]", pieces)
    numbers = ffi.cast("uint64_t *", raw)
    status = int(lib.ota_encode_pieces(one, len(one), two, len(two), numbers, len(raw) // 24, fd, stats))
    return _diff_stats(status, stats)


def diff_bsdiff_part(old: Buffer, new: Buffer, fd: int, base: int, at: int) -> tuple[DiffStats, int]:
    """The same for the next piece ``new`` of what is larger than memory, made from the piece of old at ``base``.

    at: where the decoder stands in old, 0 at first; the second result is that for the next piece.
    """
    stats, old_pos = ffi.new("struct ota_diff_stats *"), ffi.new("uint64_t *", at)
    one, two = ffi.from_buffer("uint8_t[]", old), ffi.from_buffer("uint8_t[]", new)
    status = int(lib.ota_diff_bsdiff_part(_sorter(), one, len(one), two, len(two), fd, base, old_pos, stats))
    return _diff_stats(status, stats), int(old_pos[0])


def _sorter() -> Any:
    library = divsufsort.load()
    library.single_threaded()
    sorter = ffi.new("struct ota_sorter *")
    sorter.sort32 = ffi.cast("int32_t(*)(const uint8_t *, int32_t *, int32_t)", library.narrow)
    sorter.sort64 = ffi.cast("int32_t(*)(const uint8_t *, int64_t *, int64_t)", library.wide)
    return sorter


def _diff_stats(status: int, stats: Any) -> DiffStats:
    if status < 0:
        reason = os.strerror(stats.os_error) if stats.os_error else ""
        raise error(code_of(status), reason or "while making a delta")
    return DiffStats(stats.triples, stats.added, stats.nonzero, stats.literals, stats.written)


SKETCH: Final = 64
"""Numbers of a sketch."""


def sketch(data: Buffer) -> list[int]:
    """At most ``SKETCH`` different 32-bit numbers, rising; contents that are alike have many of them in common."""
    out = ffi.new("uint32_t[]", SKETCH)
    view = ffi.from_buffer("uint8_t[]", data)
    return list(out[0 : lib.ota_sketch(view, len(view), out, SKETCH)])


def holds_any(data: Buffer, strings: Sequence[bytes]) -> bool:
    """Whether one of a few byte strings, of three bytes or more, is anywhere in data."""
    lengths = bytes(map(len, strings))
    view = ffi.from_buffer("uint8_t[]", data)
    return bool(lib.ota_holds_any(view, len(view), b"".join(strings), lengths, len(strings)))


@dataclass(frozen=True, slots=True)
class XrefOptions:
    """The decoder's memory: 2^model_log bytes of model, entries of its offset map and of its list of regions."""

    model_log: int
    spans_max: int
    regions_max: int


PARTS: Final = ("tables", "spans", "triples", "runs", "flags", "wrong", "literals")
"""What a payload of engine xref consists of."""


@dataclass(frozen=True, slots=True)
class XrefStats:
    """What an xref delta consists of: counts, then bytes. parts: by the names of ``PARTS``."""

    triples: int
    spans: int
    regions: int
    literals: int
    written: int
    workspace: int
    parts: tuple[int, ...]


def xref_workspace(options: XrefOptions) -> int:
    """Bytes that decoding needs with these numbers at most; USAGE when they are out of range."""
    need = int(lib.ota_xref_workspace(options.model_log, options.spans_max, options.regions_max))
    if need == 0:
        raise error(Code.USAGE, f"{options}")
    return need


def xref_suits(data: Buffer) -> bool:
    """Whether data is a program, as an ELF file or an image that holds instructions, or holds such files."""
    view = ffi.from_buffer("uint8_t[]", data)
    return bool(lib.ota_xref_suits(view, len(view)))


def programs(data: Buffer) -> Iterator[tuple[int, int]]:
    """Offset and length of each ELF file in data, at any offset; what is inside of one is not looked at."""
    whole, at = memoryview(data).cast("B"), 0
    pointer = ffi.from_buffer("uint8_t[]", data)
    searched = data if isinstance(data, bytes | bytearray) else bytes(whole)
    while (at := searched.find(b"\x7fELF", at)) >= 0:
        size = int(lib.ota_program_size(pointer + at, len(whole) - at))
        if size:
            yield at, size
        at += size or 1


def diff_xref(old: Buffer, new: Buffer, fd: int, options: XrefOptions, parts: LongParts = NO_PARTS) -> XrefStats:
    """Write the payload of engine xref that makes ``new`` from ``old`` to ``fd``, from its position on.

    Same bytes for the same input, in whatever thread. Raises RAM, OUTPUT, LIMIT (4 GiB and more), USAGE (options or
    parts out of range), and CONFIG when libdivsufsort is missing.
    """
    sorter = _sorter()
    stats = ffi.new("struct ota_xref_stats *")
    chosen = ffi.new("struct ota_xref_options *", (options.model_log, options.spans_max, options.regions_max))
    old_view, new_view = ffi.from_buffer("uint8_t[]", old), ffi.from_buffer("uint8_t[]", new)
    known, kept = _long_parts(parts)
    status = int(lib.ota_diff_xref(sorter, chosen, old_view, len(old_view), new_view, len(new_view), known, fd, stats))
    del kept
    return _xref_stats(status, stats)


def diff_xref_pieces(old: Buffer, new: Buffer, fd: int) -> None:
    """Write the pieces that engine xref would make ``new`` of, as ``diff_pieces`` does."""
    stats = ffi.new("struct ota_xref_stats *")
    one, two = ffi.from_buffer("uint8_t[]", old), ffi.from_buffer("uint8_t[]", new)
    _xref_stats(int(lib.ota_diff_xref_pieces(_sorter(), one, len(one), two, len(two), fd, stats)), stats)


def encode_xref_units(
    old: Buffer, new: Buffer, pieces: Buffer, fd: int, options: XrefOptions, unit: int, order: Sequence[int]
) -> list[int]:
    """Write the payload of the tables and that of each unit to ``fd``, one after the other; their lengths.

    pieces: a choice of those that ``diff_xref_pieces`` wrote, cut where units of ``unit`` bytes end. order: numbers of
    the units that are replaced, one after the other. Raises as ``diff_xref`` does.
    """
    stats = ffi.new("struct ota_xref_stats *")
    chosen = ffi.new("struct ota_xref_options *", (options.model_log, options.spans_max, options.regions_max))
    one, two = ffi.from_buffer("uint8_t[]", old), ffi.from_buffer("uint8_t[]", new)
    raw = ffi.from_buffer("uint8_t[]", pieces)
    numbers, count = ffi.cast("uint64_t *", raw), len(raw) // 24
    written = ffi.new("uint64_t[]", len(order) + 1)
    units = ffi.new("uint32_t[]", order)
    status = int(
        lib.ota_encode_xref_units(
            chosen, one, len(one), two, len(two), numbers, count, unit, units, len(order), written, fd, stats
        )
    )
    _xref_stats(status, stats)
    return [int(length) for length in written]


def _xref_stats(status: int, stats: Any) -> XrefStats:
    if status < 0:
        reason = os.strerror(stats.os_error) if stats.os_error else ""
        raise error(code_of(status), reason or "while making a delta")
    return XrefStats(
        stats.triples,
        stats.spans,
        stats.regions,
        stats.literals,
        stats.written,
        stats.workspace,
        tuple(int(part) for part in stats.parts),
    )
