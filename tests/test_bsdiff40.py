"""engines.bsdiff40: both ways against bsdiff4, and patches that want to do harm."""

from __future__ import annotations

import bz2
import io
import os
import tempfile

import bsdiff4
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from otastream.engines import bsdiff40
from otastream.errors import Code, OtaError
from otastream.native import BytesSource
from test_engines import pairs


def apply(old: bytes, patch: bytes) -> bytes:
    with tempfile.TemporaryFile() as file:
        file.write(patch)
        file.flush()
        opened = bsdiff40.open_patch(file.fileno())
        return b"".join(bytes(view) for view in bsdiff40.decode(opened, BytesSource(old), window=512))


def make(old: bytes, new: bytes) -> bytes:
    out = io.BytesIO()
    assert bsdiff40.encode(old, new, out) == len(out.getvalue())
    return out.getvalue()


@given(pairs())
@settings(deadline=None)
def test_both_ways(pair: tuple[bytes, bytes]) -> None:
    old, new = pair
    assert bsdiff4.patch(old, make(old, new)) == new
    assert apply(old, bsdiff4.diff(old, new)) == new
    assert apply(old, make(old, new)) == new


def test_both_ways_with_large_content() -> None:
    old = os.urandom(300_000)
    new = old[100_000:] + os.urandom(150_000) + b"".join(old[i : i + 100] + b"x" for i in range(0, 100_000, 101))
    assert bsdiff4.patch(old, make(old, new)) == new
    assert apply(old, bsdiff4.diff(old, new)) == new


# ---- harmful ones ----------------------------------------------------------------------------------------------

OLD = bytes(range(100))


def number(value: int) -> bytes:
    return (abs(value) | (value < 0) << 63).to_bytes(8, "little")


def patch(
    *triples: tuple[int, int, int],
    size: int = 50,
    diff: bytes = bytes(200),
    extra: bytes = bytes(200),
    cut: int | None = None,
) -> bytes:
    control = b"".join(number(value) for triple in triples for value in triple)
    blocks = [bz2.compress(block) for block in (control, diff, extra)]
    head = b"BSDIFF40" + number(len(blocks[0])) + number(len(blocks[1])) + number(size)
    return (head + b"".join(blocks))[:cut]


def test_patch_that_is_right() -> None:
    assert apply(OLD, patch((20, 10, 30), (20, 0, 0))) == OLD[:20] + bytes(10) + OLD[50:70]


BAD = {
    "add past new": patch((51, 0, 0)),
    "extra past new": patch((20, 31, 0)),
    "add of 2^63-1": patch(((1 << 63) - 1, 0, 0)),
    "negative add": patch((-1, 51, 0)),
    "negative extra": patch((51, -1, 0)),
    "add past old": patch((1, 0, 70), (49, 0, 0)),
    "seek before old": patch((1, 0, -2), (49, 0, 0)),
    "seek of 2^63-1": patch((1, 0, (1 << 63) - 1), (49, 0, 0)),
    "seeks that add up": patch((0, 0, (1 << 61)), (0, 0, (1 << 61)), (0, 0, (1 << 61)), (50, 0, 0)),
    "nothing for ever": patch(*[(0, 0, 0)] * 10_000, (50, 0, 0)),
    "control ends early": patch((20, 0, 0)),
    "differences end early": patch((50, 0, 0), diff=bytes(49)),
    "extra ends early": patch((0, 50, 0), extra=bytes(49)),
    "negative size": patch((50, 0, 0), size=-1),
    "not packed": b"BSDIFF40" + number(30) + number(30) + number(50) + bytes(100),
    "negative block": b"BSDIFF40" + number(-30) + number(30) + number(50) + bytes(100),
    "extra block cut": patch((0, 50, 0), extra=os.urandom(200), cut=-40),
}


@pytest.mark.parametrize("name", BAD)
def test_harmful_patch_is_refused(name: str) -> None:
    with pytest.raises(OtaError) as caught:
        apply(OLD, BAD[name])
    assert caught.value.code is Code.DELTA


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"", Code.MAGIC),
        (b"BSDIFF4", Code.MAGIC),
        (b"BSDIFN40" + bytes(24), Code.MAGIC),
        (b"BSDIFF40", Code.TRUNCATED),
        (patch((50, 0, 0), cut=31), Code.TRUNCATED),
        (b"BSDIFF40" + number(1000) + number(10) + number(50) + bytes(100), Code.TRUNCATED),
        (b"BSDIFF40" + number((1 << 63) - 1) + number((1 << 63) - 1) + number(50) + bytes(100), Code.TRUNCATED),
    ],
)
def test_header(data: bytes, code: Code) -> None:
    with pytest.raises(OtaError) as caught:
        apply(OLD, data)
    assert caught.value.code is code


@given(st.integers(0, 10_000), st.integers(1, 255))
def test_any_changed_byte_gives_content_or_an_error(place: int, flip: int) -> None:
    data = bytearray(patch((20, 10, 30), (20, 0, 0)))
    data[place % len(data)] ^= flip
    code = None
    try:
        apply(OLD, bytes(data))
    except OtaError as exc:
        code = exc.code
    assert code in (None, Code.DELTA, Code.MAGIC, Code.TRUNCATED)
