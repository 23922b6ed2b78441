"""The numbers of payloads: docs/SPEC.md section 6, the twin of csrc/core/varint.h."""

from __future__ import annotations

from otastream.errors import Code, error

_BYTES_MAX = 9


def varint(value: int) -> bytes:
    """Unsigned LEB128 in its shortest form."""
    out = bytearray()
    while value > 0x7F:
        out.append(0x80 | value & 0x7F)
        value >>= 7
    out.append(value)
    return bytes(out)


def zigzag(value: int) -> bytes:
    """A signed number as a varint."""
    return varint(2 * value if value >= 0 else -2 * value - 1)


class Reader:
    """Numbers and bytes from the front of data; EOFError where it is too short."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self.at = 0

    def left(self) -> int:
        return len(self._data) - self.at

    def number(self) -> int:
        """DELTA: too long, or not in its shortest form."""
        value = 0
        for count in range(_BYTES_MAX):
            if not self.left():
                raise EOFError
            byte = self._data[self.at]
            self.at += 1
            value |= (byte & 0x7F) << 7 * count
            if byte < 0x80:
                if byte == 0 and count > 0:
                    break
                return value
        raise error(Code.DELTA, "a number is not in its shortest form")

    def signed(self) -> int:
        coded = self.number()
        return coded >> 1 if coded % 2 == 0 else -(coded >> 1) - 1

    def take(self, count: int) -> bytes:
        if count > self.left():
            raise EOFError
        self.at += count
        return self._data[self.at - count : self.at]
