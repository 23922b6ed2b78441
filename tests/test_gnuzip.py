"""Coding deflate-gnu-gzip: the core's encoder against the gzip program, byte for byte."""

from __future__ import annotations

import random
import subprocess
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from otastream.errors import Code, OtaError
from otastream.model import CodingId
from otastream.native import Gnuzip, gnuzip_size
from otastream.views import codings

LEVELS = range(1, 10)


def by_gzip(data: bytes, level: int) -> bytes:
    """The deflate part of what gzip makes of a pipe."""
    done = subprocess.run(["gzip", "-n", f"-{level}", "-c"], input=data, capture_output=True, check=True)
    return done.stdout[10:-8]


def stepped(data: bytes, level: int, pieces: Iterator[int], room: int) -> bytes:
    """What the encoder makes when input comes in these pieces, and output leaves in small ones."""
    encoder, out, held, at, done = Gnuzip(level), bytearray(), b"", 0, False
    while not done:
        if not held:
            size = next(pieces)
            held, at = data[at : at + size], at + size
        taken, made, done = encoder.step(held, room, last=at >= len(data))
        held = held[taken:]
        out += made
    return bytes(out)


def repeating(size: int, seed: int, reach: int = 40_000) -> bytes:
    """Strings that come back from near and far, of any length, between noise."""
    rng, out = random.Random(seed), bytearray(b"begin")
    while len(out) < size:
        if rng.random() < 0.3:
            out += rng.randbytes(rng.randrange(1, 30))
        else:
            start = rng.randrange(max(0, len(out) - reach), len(out))
            out += out[start : start + rng.randrange(3, 400)]
    return bytes(out[:size])


def program(size: int) -> bytes:
    """A real one, which this interpreter has brought with it."""
    import otastream._core

    data = Path(otastream._core.__file__).read_bytes()
    return (data * (size // len(data) + 1))[:size]


KINDS: dict[str, Callable[[], bytes]] = {
    "nothing": lambda: b"",
    "a byte": lambda: b"x",
    "zeros": lambda: bytes(300_000),
    "a run of each byte": lambda: bytes(n for byte in range(256) for n in [byte] * (byte * 3)),
    "noise, which is stored": lambda: random.Random(1).randbytes(200_000),
    "two letters": lambda: bytes(random.Random(2).choices(b"ab", k=70_000)),
    "skewed letters, long codes": lambda: b"".join(
        random.Random(3).choices([bytes([n]) for n in range(40)], [2.0**-n for n in range(40)], k=150_000)
    ),
    "numbers": lambda: b"".join(b"%d\n" % n for n in range(100_000)),
    "a program": lambda: program(500_000),
    "repeats": lambda: repeating(400_000, 4),
    "repeats just out of reach": lambda: (piece := random.Random(5).randbytes(32_507)) + piece + piece,
    "repeats just in reach": lambda: (piece := random.Random(6).randbytes(32_506)) + piece + piece,
    "noise, then text, then zeros": lambda: random.Random(7).randbytes(70_000) + b"a text. " * 9000 + bytes(70_000),
}


@pytest.mark.parametrize("kind", KINDS)
def test_as_gzip_writes_it(kind: str) -> None:
    data = KINDS[kind]()
    for level in LEVELS:
        made = codings.encode(codings.gnuzip(level), data)
        assert made == by_gzip(data, level), level
        assert zlib.decompress(made, -15) == data


@pytest.mark.parametrize("size", [65_273, 65_274, 65_275, 65_276, 65_535, 65_536, 65_537, 98_042, 98_303, 98_305])
def test_ends_at_the_edges_of_the_window(size: int) -> None:
    """What is behind the end of the input takes part in comparisons: it must be what gzip has there."""
    for seed, level in ((1, 9), (2, 6), (3, 4), (4, 1), (5, 3)):
        data = repeating(size, seed, 33_000)
        assert codings.encode(codings.gnuzip(level), data) == by_gzip(data, level), (seed, level)


@settings(max_examples=30)
@given(st.data())
def test_any_data(data: st.DataObject) -> None:
    size = data.draw(st.one_of(st.integers(0, 300), st.integers(60_000, 140_000)))
    content = repeating(size, data.draw(st.integers(0, 1 << 20)), data.draw(st.sampled_from([9, 300, 4097, 40_000])))
    level = data.draw(st.sampled_from(LEVELS))
    assert codings.encode(codings.gnuzip(level), content) == by_gzip(content, level)


@settings(max_examples=20)
@given(st.data())
def test_any_split(data: st.DataObject) -> None:
    content = repeating(data.draw(st.integers(0, 100_000)), 8) + random.Random(9).randbytes(40_000)
    level = data.draw(st.sampled_from([1, 6, 9]))
    rng = random.Random(data.draw(st.integers(0, 1 << 20)))
    most = data.draw(st.sampled_from([100, 5000, 70_000]))
    pieces = iter(lambda: rng.randrange(1, most), None)
    assert stepped(content, level, pieces, data.draw(st.integers(1, 3000))) == codings.encode(
        codings.gnuzip(level), content
    )


def test_of_a_file_and_of_a_slow_pipe(tmp_path: Path) -> None:
    """gzip takes what a pipe has; where it then moves its window changes no byte."""
    data = repeating(200_000, 10, 33_000)
    (tmp_path / "file").write_bytes(data)
    for level in (1, 5, 9):
        made = codings.encode(codings.gnuzip(level), data)
        file = subprocess.run(["gzip", "-n", f"-{level}", "-c", tmp_path / "file"], capture_output=True, check=True)
        assert file.stdout[10:-8] == made
        small = subprocess.run(
            f"dd if=file bs=1000 status=none | gzip -n -{level}",
            shell=True,
            cwd=tmp_path,
            capture_output=True,
            check=True,
        )
        assert small.stdout[10:-8] == made


@pytest.mark.parametrize("level", [0, 10, 1 << 32])
def test_levels_that_are_none(level: int) -> None:
    assert gnuzip_size(level) == 0
    assert not codings.valid(CodingId.GNUZIP, level)
    with pytest.raises(OtaError) as caught:
        Gnuzip(level)
    assert caught.value.code is Code.UNSUPPORTED
