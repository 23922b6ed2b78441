"""Data for the known answers of libraries."""

from __future__ import annotations


def sample(size: int) -> bytes:
    """Data that looks a little like a program: words that come back, near and far, and noise."""
    out, state = bytearray(), 1
    while len(out) < size:
        state = (state * 1103515245 + 12345) & 0x7FFFFFFF
        kind, value = state >> 28, state >> 8
        if kind < 4 or len(out) < 64:
            out += value.to_bytes(4, "little")[: 1 + kind % 4]
        else:
            start = value % (len(out) - 32)
            out += out[start : start + 3 + (value >> 16) % 24]
    return bytes(out[:size])
