"""The part of CBOR that record headers use (docs/SPEC.md section 5): strict, deterministic, nothing else.

Unsigned integers, byte strings, text strings, arrays and maps with unsigned keys, in the deterministic encoding of
RFC 8949 section 4.2.1. A full CBOR library would also decode tags, floats, indefinite lengths and repeated keys, which
a package must not have; so this is its own reader, and the tests hold it against such a library.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from typing import Any, Final

from otastream.errors import Code, OtaError, error

UINT, BYTES, TEXT, ARRAY, MAP = 0, 2, 3, 4, 5  # major types
DEPTH_MAX: Final = 4
_EXTRA: Final = {24: 1, 25: 2, 26: 4, 27: 8}  # additional information -> bytes of the argument that follow
_BYTE: Final = [bytes([byte]) for byte in range(256)]
_FORMS: Final = ((1 << 8, 24, ">BB"), (1 << 16, 25, ">BH"), (1 << 32, 26, ">BI"), (1 << 64, 27, ">BQ"))
_HEADS: Final = tuple((top, info, struct.Struct(form).pack) for top, info, form in _FORMS)


def head(major: int, value: int) -> bytes:
    """The shortest head of an item: major type 0..7 with argument 0 .. 2^64-1."""
    if 0 <= value < 24:
        return _BYTE[major << 5 | value]
    for top, info, pack in _HEADS:
        if 0 <= value < top:
            return pack(major << 5 | info, value)
    raise ValueError("integer below 0 or above 2^64-1")


def encode(value: Any) -> bytes:
    """The one encoding of a value: int, bytes, str, a sequence of values, or a mapping from int to value."""
    if isinstance(value, int):
        return head(UINT, value)
    if isinstance(value, bytes):
        return head(BYTES, len(value)) + value
    if isinstance(value, str):
        data = value.encode()
        return head(TEXT, len(data)) + data
    if isinstance(value, Mapping):
        parts = [head(UINT, key) + encode(item) for key, item in sorted(value.items())]
        return head(MAP, len(parts)) + b"".join(parts)
    return head(ARRAY, len(value)) + b"".join(encode(item) for item in value)


def decode(data: bytes) -> Any:
    """The value that exactly these bytes encode; arrays come as tuples. Anything else is FORMAT."""
    value, end = _item(data, 0, DEPTH_MAX)
    if end != len(data):
        raise _bad(f"{len(data) - end} bytes after the record")
    return value


def take_head(data: bytes | bytearray, pos: int) -> tuple[int, int, int] | None:
    """(major type, argument, position after) of the head at pos; None when more bytes are needed.

    Refuses (FORMAT) what is not the shortest form and everything of indefinite length.
    """
    if pos >= len(data):
        return None
    major, info = data[pos] >> 5, data[pos] & 31
    if info < 24:
        return major, info, pos + 1
    size = _EXTRA.get(info)
    if size is None:
        raise _bad("indefinite or reserved length")
    end = pos + 1 + size
    if end > len(data):
        return None
    value = int.from_bytes(data[pos + 1 : end], "big")
    if value < (24 if size == 1 else 1 << 4 * size):
        raise _bad("a length or number is not in its shortest form")
    return major, value, end


def _item(data: bytes, pos: int, depth: int) -> tuple[Any, int]:
    if pos < len(data) and (value := data[pos] & 31) < 24:  # nearly all heads are so short
        major, pos = data[pos] >> 5, pos + 1
    else:
        found = take_head(data, pos)
        if found is None:
            raise _bad("the record ends early")
        major, value, pos = found
    if major == UINT:
        return value, pos
    if major in (BYTES, TEXT):
        return _string(data, pos, value, major)
    if major not in (ARRAY, MAP):
        raise _bad(f"CBOR major type {major} is not used")
    if depth == 0:
        raise _bad("nested too deeply")
    return _array(data, pos, value, depth) if major == ARRAY else _map(data, pos, value, depth)


def _string(data: bytes, pos: int, length: int, major: int) -> tuple[Any, int]:
    if length > len(data) - pos:
        raise _bad("the record ends early")
    raw = data[pos : pos + length]
    if major == BYTES:
        return raw, pos + length
    try:
        return raw.decode(), pos + length
    except UnicodeDecodeError:
        raise _bad("text is not UTF-8") from None


def _array(data: bytes, pos: int, count: int, depth: int) -> tuple[Any, int]:
    items = []
    for _ in range(count):  # ends early by _item: every item takes at least one byte
        item, pos = _item(data, pos, depth - 1)
        items.append(item)
    return tuple(items), pos


def _map(data: bytes, pos: int, count: int, depth: int) -> tuple[Any, int]:
    items: dict[int, Any] = {}
    last = -1
    for _ in range(count):
        key, pos = _item(data, pos, 0)
        if not isinstance(key, int):
            raise _bad("a key is not an unsigned integer")
        if key <= last:
            raise _bad("keys do not rise")
        last = key
        items[key], pos = _item(data, pos, depth - 1)
    return items, pos


def _bad(detail: str) -> OtaError:
    return error(Code.FORMAT, detail)
