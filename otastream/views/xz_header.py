"""What the header of a block in an .xz stream says of how it was made."""

from __future__ import annotations

from otastream.errors import OtaError
from otastream.varint import Reader


def xz_filters(block: memoryview) -> tuple[int, int] | None:
    """The dictionary byte and the branch filter that the header of a block names; None: others."""
    header = bytes(block[: 4 * (1 + block[0])]) if len(block) > 20 else b""
    if len(header) < 8 or header[1] & 0x3C:
        return None
    reader = Reader(header[2:])
    try:
        for bit in (0x40, 0x80):
            if header[1] & bit:
                reader.number()
        filters = []
        for _ in range(1 + (header[1] & 3)):
            id_ = reader.number()
            filters.append((id_, reader.take(reader.number())))
    except (EOFError, OtaError):
        return None
    branches = [id_ for id_, _ in filters[:-1]]
    if filters[-1][0] != 0x21 or len(filters[-1][1]) != 1 or len(branches) > 1 or any(filters[0][1][1:]):
        return None
    return filters[-1][1][0], branches[0] if branches else 0
