"""engines: what is encoded decodes to new, in any split; the payload type."""

from __future__ import annotations

import os
import random
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from otastream.engines import ENGINES, Engine, Payload, load
from otastream.engines.bsdiff import Bsdiff
from otastream.engines.payload import SMALL
from otastream.engines.xref import Xref
from otastream.errors import Code, OtaError
from otastream.model import EngineId
from otastream.native import Buffer, BytesSource, LongParts


def encode(engine: EngineId, old: bytes, new: bytes) -> bytes:
    with ENGINES[engine].encode(old, new) as payload:
        made = b"".join(payload.chunks())
        assert len(made) == payload.size
        return made


def decode(engine: EngineId, old: bytes, payload: bytes, size: int, piece: int) -> bytes:
    decoder = ENGINES[engine].decoder(size, source=BytesSource(old), window=512)
    out = bytearray()
    for start in range(0, len(payload), piece):
        for view in decoder.feed(payload[start : start + piece]):
            out += view
    decoder.finish()
    return bytes(out)


# New content as real files have it: pieces of old, some of them with a few bytes changed, and bytes of its own.
_alphabet = st.sampled_from(b"\0\1ab")
_content = st.one_of(st.binary(max_size=300), st.lists(_alphabet, max_size=300).map(bytes))


@st.composite
def pairs(draw: st.DrawFn) -> tuple[bytes, bytes]:
    old = draw(_content) * draw(st.integers(1, 4))
    new = bytearray()
    for _ in range(draw(st.integers(0, 5))):
        start = draw(st.integers(0, len(old)))
        piece = bytearray(old[start : draw(st.integers(start, len(old)))])
        for place in draw(st.lists(st.integers(0, 400), max_size=4)):
            if place < len(piece):
                piece[place] ^= draw(st.integers(1, 255))
        new += piece + draw(_content)
    return old, bytes(new)


@pytest.mark.parametrize("engine", ENGINES)
@given(pair=pairs(), piece=st.sampled_from([1, 3, 64, 10_000]))
@example(pair=(b"", b""), piece=1)
@example(pair=(b"", b"new"), piece=1)
@example(pair=(b"old", b""), piece=1)
@example(pair=(b"a", b"a"), piece=1)
@example(pair=(b"a", b"b"), piece=1)
@example(pair=(b"\xff" * 600, b"\xff" * 599 + b"\xfe"), piece=1)
def test_round_trip(engine: EngineId, pair: tuple[bytes, bytes], piece: int) -> None:
    old, new = pair
    payload = encode(engine, old, new)
    assert decode(engine, old, payload, len(new), piece) == new
    assert encode(engine, old, new) == payload


def test_round_trip_of_large_content() -> None:
    """Runs longer than every buffer; a move; a tail that ends with old."""
    old = os.urandom(700_000)
    new = old[300_000:600_000] + os.urandom(200_000) + old[:300_000] + b"!" + old[300_001:]
    payload = encode(EngineId.BSDIFF, old, new)
    assert 200_000 < len(payload) < 200_100
    assert decode(EngineId.BSDIFF, old, payload, len(new), 1 << 16) == new


def test_what_is_the_same_costs_next_to_nothing() -> None:
    old = os.urandom(100_000)
    assert len(encode(EngineId.BSDIFF, old, old)) < 16
    assert len(encode(EngineId.BSDIFF, old, old[:50_000] + b"inserted" + old[50_000:])) < 40
    assert len(encode(EngineId.BSDIFF, old, old[:50_000] + old[50_100:])) < 40


@pytest.mark.parametrize("engine", [EngineId.BSDIFF, EngineId.XREF])
@given(junk=st.binary(min_size=1, max_size=60), size=st.integers(0, 200))
@example(junk=b"\x10\0\1\0\0", size=200)
def test_junk_never_does_worse_than_an_error(engine: EngineId, junk: bytes, size: int) -> None:
    made = b""
    code = None
    try:
        made = decode(engine, bytes(100), junk, size, 7)
    except OtaError as exc:
        code = exc.code
    assert code is Code.DELTA or (code is None and len(made) == size)


@pytest.mark.parametrize("engine", [EngineId.BSDIFF, EngineId.XREF])
def test_deltas_need_a_source(engine: EngineId) -> None:
    with pytest.raises(OtaError) as caught:
        ENGINES[engine].decoder(1)
    assert caught.value.code is Code.USAGE


def test_table_is_complete() -> None:
    assert set(ENGINES) == set(EngineId)
    assert all(ENGINES[key].id == key for key in ENGINES)
    assert [engine.needs_source for engine in ENGINES.values()] == [False, True, True]


# ---- payloads --------------------------------------------------------------------------------------------------


def _open_files() -> int:
    return len(os.listdir("/proc/self/fd"))


@pytest.mark.parametrize("size", [0, 1, SMALL, SMALL + 1, 3 * SMALL])
def test_payload_in_memory_or_in_a_file(size: int, tmp_path: Path) -> None:
    content = os.urandom(size)
    before = _open_files()
    with Payload.written(lambda fd: os.write(fd, content), folder=str(tmp_path)) as payload:
        assert not list(tmp_path.iterdir())
        assert _open_files() == before + (size > SMALL)
        assert payload.size == size
        for limit in (1000, SMALL, 10 * SMALL):
            pieces = list(payload.chunks(limit))
            assert all(0 < len(piece) <= limit for piece in pieces)
            assert b"".join(pieces) == content
    assert _open_files() == before


def test_payload_is_one_or_the_other(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="either"):
        Payload()
    with (tmp_path / "x").open("w+b") as file, pytest.raises(ValueError, match="either"):
        Payload(b"", file=file)


@pytest.mark.parametrize("size", [0, 1, 100_000])
def test_load_is_a_copy(size: int, tmp_path: Path) -> None:
    content = os.urandom(size)
    (tmp_path / "file").write_bytes(content)
    with (tmp_path / "file").open("rb") as file:
        loaded = load(file.fileno(), size)
        os.truncate(tmp_path / "file", 0)  # a mapping of the file would end the process here
        assert bytes(memoryview(loaded)) == content


@pytest.mark.parametrize("size", [2, 4])
def test_load_refuses_another_size(size: int, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"abc")
    with (tmp_path / "file").open("rb") as file, pytest.raises(OtaError) as caught:
        load(file.fileno(), size)
    assert caught.value.code is Code.CHANGED


class Reads(BytesSource):
    """Old content that notes where it is read."""

    def __init__(self, data: Buffer) -> None:
        super().__init__(data)
        self.offsets: list[int] = []

    def read_into(self, offset: int, target: Buffer) -> None:
        self.offsets.append(offset)
        super().read_into(offset, target)


def _backwards(engine: Engine, old: bytes, new: bytes, parts: LongParts) -> tuple[int, int]:
    """How often decoding goes back in old by more than it has at hand, and bytes of the payload."""
    with engine.encode(old, new, parts=parts) as made:
        source = Reads(old)
        decoder = engine.decoder(len(new), source=source)
        assert b"".join(bytes(piece) for chunk in made.chunks() for piece in decoder.feed(chunk)) == new
        return sum(was > at + 16384 for was, at in pairwise(source.offsets)), made.size


@pytest.mark.parametrize("engine", [Bsdiff(), Xref()], ids=lambda engine: engine.name)
def test_in_long_parts_copies_stay_near(engine: Engine) -> None:
    """Short copies from far away are sent as literals, wherever they are; runs of them, long ones, and those nearby,
    are kept.
    """
    rng = random.Random(1)
    old = rng.randbytes(3 << 20)
    part = LongParts(((1000, len(old) - 1000),))
    far = [rng.randrange(2 << 20, 3 << 20) & ~3 for _ in range(20)]
    pieces = [old[at : at + 65536] for at in range(0, 2 << 20, 65536)]
    for number, at in enumerate(far):
        pieces[number + 3] += old[at : at + 100]
    scattered = b"".join(pieces)
    assert _backwards(engine, old, scattered, LongParts())[0] >= 20
    times, size = _backwards(engine, old, scattered, part)
    assert times == 0
    assert 2000 < size < 3000

    run = b"".join(old[at : at + 100] + b"between" for at in range(5 << 19, (5 << 19) + 20000, 1000))
    near = b"".join(old[at : at + 100] + b"between" for at in range((1 << 20) + 52000, (1 << 20) + 64000, 1000))
    kept = old[: 1 << 20] + run + old[1 << 20 : (1 << 20) + 65536] + near + old[(1 << 20) + 65536 : 2 << 20]
    times, size = _backwards(engine, old, kept, part)
    assert times == 1
    assert size < 2000


def test_long_parts_that_are_nowhere() -> None:
    old = bytes(1000)
    for parts in (
        LongParts(((900, 101),)),
        LongParts(new=((0, 10), (9, 5))),
        LongParts(((5, 5), (1, 2))),
        LongParts(((1001, 0),)),
    ):
        for engine in (Bsdiff(), Xref()):
            with pytest.raises(OtaError) as caught:
                engine.encode(old, old, parts=parts)
            assert caught.value.code is Code.USAGE
