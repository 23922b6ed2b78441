"""zstd frames (RFC 8878): where one ends, and what it expands to. Nothing is decoded to find out."""

from __future__ import annotations

from typing import Final

from otastream.views.codings import Coding, zstd

MAGIC: Final = b"\x28\xb5\x2f\xfd"
_LEAST: Final = 64  # packed bytes below which looking inside does not pay
_LONGEST: Final = range(12, 27)  # log2 of a part


def frame(image: memoryview, start: int) -> tuple[int, int, Coding]:
    """Bytes of the frame at start, those of its content, and its likely coding. ValueError: there is none, or one that
    does not say the size of its content, as when it was compressed from a pipe.
    """
    flags = bytes(image[start + 4 : start + 5])
    if not flags or flags[0] & 0b1011:
        raise ValueError("no frame of this kind, or one with a dictionary")
    single = flags[0] >> 5 & 1
    width = (single, 2, 4, 8)[flags[0] >> 6]
    at = start + 5 + 1 - single
    content = int.from_bytes(image[at : at + width], "little") + (256 if width == 2 else 0)
    longest = max(12, (content - 1).bit_length())
    if not content or longest not in _LONGEST:
        raise ValueError("a frame that does not say the size of its content")
    checked = bool(flags[0] & 4)
    end = _blocks(image, at + width) + 4 * checked
    if end > len(image) or end - start < _LEAST:
        raise ValueError("a frame that ends early")
    return end - start, content, zstd(level=3, longest=longest, checked=checked)


def _blocks(image: memoryview, at: int) -> int:
    """Where the last block ends."""
    last = 0
    while not last:
        head = int.from_bytes(image[at : at + 3], "little")
        if at + 3 > len(image) or head >> 1 & 3 == 3:
            raise ValueError("a damaged block")
        last = head & 1
        at += 3 + (1 if head >> 1 & 3 == 1 else head >> 3)
    return at
