"""native: hashes, the error list, the decoder around C, the delta encoder around C."""

from __future__ import annotations

import errno
import os
import random
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import xxhash
from hypothesis import given
from hypothesis import strategies as st

from otastream import divsufsort, native
from otastream.errors import TEXTS, Code, OtaError, error
from otastream.model import EngineId

# ---- hashing, errors -------------------------------------------------------------------------------------------


@given(st.lists(st.binary(max_size=200), max_size=6))
def test_xxh64_is_that_of_the_xxhash_package(pieces: list[bytes]) -> None:
    state = native.Xxh64()
    for piece in pieces:
        state.update(piece)
    assert state.value() == xxhash.xxh64_intdigest(b"".join(pieces))


def test_error_list_is_that_of_the_header() -> None:
    c_side = {(code, name): (who, text) for code, name, who, text in native.error_list()}
    python_side = {(code.value, code.name): (code.who, TEXTS[code]) for code in Code}
    assert c_side == python_side


# ---- decoder ---------------------------------------------------------------------------------------------------


def decode(payload: bytes, size: int, source: native.Source | None = None, *, piece: int = 1 << 20) -> bytes:
    decoder = native.Decoder(EngineId.FULL if source is None else EngineId.BSDIFF, size, source=source, window=512)
    out = b"".join(bytes(view) for i in range(0, len(payload), piece) for view in decoder.feed(payload[i : i + piece]))
    decoder.finish()
    return out


def test_decoder_of_more_than_its_buffer() -> None:
    content = os.urandom(200_000)
    assert decode(content, len(content)) == content


@pytest.mark.parametrize(("payload", "size"), [(b"abc", 2), (b"abc", 4), (b"", 1)])
def test_decoder_refuses_a_payload_of_another_size(payload: bytes, size: int) -> None:
    with pytest.raises(OtaError) as caught:
        decode(payload, size)
    assert caught.value.code is Code.DELTA


def test_decoder_refuses_again_after_a_failure() -> None:
    decoder = native.Decoder(EngineId.FULL, 1)
    for data in (b"too much", b""):
        with pytest.raises(OtaError) as caught:
            list(decoder.feed(data))
        assert caught.value.code is Code.DELTA


@pytest.mark.parametrize("window", [0, 511, (1 << 20) + 1])
def test_decoder_refuses_a_window_out_of_range(window: int) -> None:
    with pytest.raises(OtaError) as caught:
        native.Decoder(EngineId.FULL, 1, window=window)
    assert caught.value.code is Code.USAGE


class _FailingSource:
    size = 10_000

    def __init__(self, failure: BaseException) -> None:
        self.failure = failure

    def read_into(self, offset: int, target: Any) -> None:  # noqa: ARG002
        raise self.failure


@pytest.mark.parametrize("failure", [OSError(errno.EIO, "broken"), KeyboardInterrupt(), error(Code.CHANGED)])
def test_failure_of_a_source_comes_out_as_it_is(failure: BaseException) -> None:
    copy_all = bytes([100, 0, 0, 100, 0])
    with pytest.raises(type(failure)) as caught:
        decode(copy_all, 100, _FailingSource(failure))
    assert caught.value is failure


def test_file_source_that_became_shorter(tmp_path: Path) -> None:
    (tmp_path / "old").write_bytes(bytes(100))
    with (tmp_path / "old").open("rb") as file:
        source = native.FileSource(file.fileno())
        os.truncate(tmp_path / "old", 50)
        with pytest.raises(OtaError) as caught:
            decode(bytes([100, 0, 0, 100, 0]), 100, source)
    assert caught.value.code is Code.CHANGED


# ---- encoder ---------------------------------------------------------------------------------------------------


def encode(old: native.Buffer, new: native.Buffer) -> tuple[native.DiffStats, bytes]:
    with tempfile.TemporaryFile() as file:
        stats = native.diff_bsdiff(old, new, file.fileno())
        file.seek(0)
        return stats, file.read()


def test_statistics_add_up() -> None:
    old = bytes(range(256)) * 20
    new = old[:2000] + b"something else" * 9 + old[1000:1500] + b"\0" + old[1501:5000]
    stats, payload = encode(old, new)
    assert stats.written == len(payload)
    assert stats.added + stats.literals == len(new)
    assert 0 < stats.nonzero < stats.added
    assert stats.triples > 1


def test_same_bytes_in_parallel() -> None:
    pairs = [(os.urandom(3000) * 3, os.urandom(500) * 7) for _ in range(8)]
    pairs = [(old, new + old[100:8000] + new) for old, new in pairs]
    alone = [encode(*pair) for pair in pairs]
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(lambda pair: encode(*pair), pairs * 4)) == alone * 4


def test_output_that_cannot_be_written() -> None:
    with open("/dev/full", "wb", buffering=0) as full, pytest.raises(OtaError) as caught:
        native.diff_bsdiff(b"", b"new", full.fileno())
    assert caught.value.code is Code.OUTPUT
    assert os.strerror(errno.ENOSPC) in str(caught.value)


# ---- libdivsufsort ---------------------------------------------------------------------------------------------


@pytest.fixture
def _no_sorter(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(divsufsort, "libraries", lambda: iter([("/nonexistent/libdivsufsort.so", "")]))
    divsufsort.load.cache_clear()
    yield
    divsufsort.load.cache_clear()


@pytest.mark.usefixtures("_no_sorter")
def test_missing_library_is_told_with_what_to_install() -> None:
    with pytest.raises(OtaError) as caught:
        encode(b"old", b"new")
    assert caught.value.code is Code.CONFIG
    assert "libdivsufsort" in caught.value.detail
    assert "pydivsufsort" in str(caught.value.hint)


def test_making_a_delta_does_not_load_numpy() -> None:
    code = "import os, sys; from otastream import native\n"
    code += "native.diff_bsdiff(b'old content', b'new content', os.open('/dev/null', os.O_WRONLY))\n"
    code += "sys.exit('numpy' in sys.modules or 'pydivsufsort' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_wide_suffix_array_makes_the_same_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Content from 2 GiB on takes the 64-bit path; here small content is sent through it."""
    old = b"".join(bytes([i % 7, i % 11, i % 13]) for i in range(3000))
    new = old[3000:7000] + b"between" + old[100:4000]
    expected = encode(old, new)
    real = divsufsort.load()
    assert real.wide
    monkeypatch.setattr(divsufsort, "load", lambda: divsufsort.Library(wide=real.wide))
    assert encode(old, new) == expected
    monkeypatch.setattr(divsufsort, "load", divsufsort.Library)
    with pytest.raises(OtaError) as caught:
        encode(old, new)
    assert caught.value.code is Code.USAGE


def test_a_sketch_tells_what_is_alike() -> None:
    one, two = random.Random(1).randbytes(20_000), random.Random(2).randbytes(20_000)
    sketch = native.sketch(one)
    assert sketch == sorted(set(sketch))
    assert len(sketch) == native.SKETCH
    assert native.sketch(b"") == native.sketch(b"1234567") == []
    assert native.sketch(b"12345678") == native.sketch(b"12345678" + bytes(0))
    assert len(native.sketch(bytes(1000))) == 1
    assert len(set(sketch) & set(native.sketch(one[:7000] + b"something else" + one[7000:]))) > native.SKETCH // 2
    assert not set(sketch) & set(native.sketch(two))
