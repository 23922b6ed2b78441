"""The stages around the container: read, verify, decompress, compress, write."""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import stat
import subprocess
import sys
import threading
import tracemalloc
import zlib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
import zstandard
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given, settings
from hypothesis import strategies as st

from golden import builder as b
from otastream import model as m
from otastream.container import Frame, encode
from otastream.errors import Code, OtaError, error
from otastream.inflate import Fault, InflateError, gunzip, unlzma, unzstd
from otastream.keys import Signer
from otastream.model import Codec, Preamble
from otastream.stages.compress import compress
from otastream.stages.decompress import decompress
from otastream.stages.execute import block_buffer
from otastream.stages.read import available_memory, read, seekable
from otastream.stages.verify import verify
from otastream.stages.write import write

CODECS = [
    *((Codec.NONE, 0), (Codec.GZIP, 9), (Codec.GZIP, 15)),
    *((Codec.ZSTD, 10), (Codec.ZSTD, 17), (Codec.LZMA, 12), (Codec.LZMA, 18)),
]


def code_of(function: Callable[..., object], *args: Any, **options: Any) -> Code:
    """The code of the OtaError that the call, or using up what it gives, raises."""

    def run() -> None:
        result = function(*args, **options)
        if isinstance(result, Iterator):
            list(result)

    with pytest.raises(OtaError) as caught:
        run()
    return caught.value.code


def packed(tmp_path: Path, data: bytes, codec: Codec = Codec.NONE, window: int = 0, frame_log: int = 16) -> str:
    """A package whose record stream is data, whatever that is."""
    path = str(tmp_path / "p.ota")
    stream = compress([data], codec=codec, window_log=window)
    write(stream, output=path, codec=codec, window_log=window, ram=1, frame_log=frame_log)
    return path


# ---- compress, write, read, verify, decompress: there and back ------------------------------------------------------


@pytest.mark.parametrize(("codec", "window"), CODECS)
@pytest.mark.parametrize("frame_log", [10, 16])
def test_there_and_back(tmp_path: Path, codec: Codec, window: int, frame_log: int) -> None:
    for data in (b"x", b.noise(70_000), bytes(300_000), b.noise(988)):
        path = packed(tmp_path, data, codec, window, frame_log)
        for piece in (997, 1 << 16):
            assert b"".join(decompress(verify(read(path, piece=piece)))) == data


@pytest.mark.parametrize(("codec", "window"), CODECS)
def test_the_same_input_gives_the_same_bytes(tmp_path: Path, codec: Codec, window: int) -> None:
    data = b.noise(5000) * 3
    first, again = (Path(packed(tmp_path, data, codec, window)).read_bytes() for _ in range(2))
    assert first == again


@settings(max_examples=30)
@given(st.lists(st.integers(1, 4000), max_size=20), st.integers(10, 16))
def test_frames_are_full_and_chained(sizes: list[int], frame_log: int) -> None:
    pieces = [b.noise(size, seed) for seed, size in enumerate(sizes, 1)] or [b"x"]
    sink = io.BytesIO()
    stdout = io.TextIOWrapper(sink)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "stdout", stdout)
        preamble = write(pieces, output="-", codec=Codec.NONE, window_log=0, ram=5, frame_log=frame_log)
        items = list(verify([sink.getvalue()]))
        stdout.detach()
    frames = [item.payload for item in items[1:] if isinstance(item, Frame)]
    assert items[0] == preamble
    assert b"".join(frames) == b"".join(pieces)
    assert all(len(payload) == (1 << frame_log) - 36 for payload in frames[:-1])


# ---- write ----------------------------------------------------------------------------------------------------------


def test_write_obeys_the_umask_and_leaves_nothing_behind(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        path = packed(tmp_path, b"x")
    finally:
        os.umask(before)
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o640
    assert os.listdir(tmp_path) == ["p.ota"]


def _failing() -> Iterator[bytes]:
    yield bytes(100_000)
    raise error(Code.CHANGED, "on purpose")


def test_a_failure_leaves_the_output_as_it_was(tmp_path: Path) -> None:
    output = tmp_path / "p.ota"
    output.write_bytes(b"before")
    options: dict[str, Any] = {"output": str(output), "codec": Codec.NONE, "window_log": 0, "ram": 1}
    assert code_of(write, _failing(), **options) is Code.CHANGED
    assert os.listdir(tmp_path) == ["p.ota"]
    assert output.read_bytes() == b"before"


def test_write_follows_a_symbolic_link(tmp_path: Path) -> None:
    (tmp_path / "p.ota").symlink_to("real.ota")
    packed(tmp_path, b"x")
    assert (tmp_path / "p.ota").is_symlink()
    assert (tmp_path / "real.ota").stat().st_size == 97 + 37


def test_write_to_a_pipe(tmp_path: Path) -> None:
    fifo = tmp_path / "p.ota"
    os.mkfifo(fifo)
    got: list[bytes] = []
    reader = threading.Thread(target=lambda: got.append(fifo.read_bytes()))
    reader.start()
    packed(tmp_path, b"x" * 1000)
    reader.join()
    assert stat.S_ISFIFO(fifo.stat().st_mode)
    assert b"".join(decompress(verify(got))) == b"x" * 1000


def test_write_errors(tmp_path: Path) -> None:
    options: dict[str, Any] = {"codec": Codec.NONE, "window_log": 0, "ram": 1}
    assert code_of(write, [b"x"], output=str(tmp_path / "no" / "p.ota"), **options) is Code.OUTPUT
    assert code_of(write, [b"x"], output=str(tmp_path), **options) is Code.OUTPUT
    assert code_of(write, [b"x"], output="/dev/full", **options) is Code.OUTPUT
    assert code_of(write, [b"x"], output=str(tmp_path / "p"), frame_log=17, **options) is Code.USAGE


@pytest.mark.parametrize(
    ("codec", "window", "level"),
    [
        *((Codec.NONE, 1, None), (Codec.GZIP, 8, None), (Codec.GZIP, 15, 0), (Codec.ZSTD, 9, None)),
        *((Codec.ZSTD, 17, 23), (Codec.LZMA, 11, None), (Codec.LZMA, 18, 10)),
    ],
)
def test_compress_checks_its_arguments_at_once(codec: Codec, window: int, level: int | None) -> None:
    with pytest.raises(OtaError) as caught:
        compress([], codec=codec, window_log=window, level=level)
    assert caught.value.code is Code.USAGE


def test_compress_keeps_to_the_window() -> None:
    """A repeat that is farther away than the window costs its bytes again."""
    block = b.noise(1 << 16)
    for codec in (Codec.ZSTD, Codec.LZMA):
        near, far = (sum(map(len, compress([block, block], codec=codec, window_log=log))) for log in (17, 15))
        assert near < 1.1 * len(block)
        assert far > 1.9 * len(block)


# ---- read -----------------------------------------------------------------------------------------------------------


def _outer(data: bytes) -> Iterable[bytes]:
    yield data
    yield gzip.compress(data)
    yield zstandard.ZstdCompressor(level=1).compress(data)
    yield zstandard.ZstdCompressor(level=19, write_checksum=True).compress(data)
    yield zstandard.ZstdCompressor(write_content_size=False).compress(data)


def test_read_path_descriptor_and_outer_compression(tmp_path: Path) -> None:
    data = Path(packed(tmp_path, b.noise(200_000))).read_bytes()
    for number, wrapped in enumerate(_outer(data)):
        path = tmp_path / f"{number}"
        path.write_bytes(wrapped)
        with open(path, "rb") as opened:
            descriptor = opened.fileno()
            for source in (str(path), descriptor, descriptor):  # a file can be read twice through one descriptor
                assert b"".join(read(source, piece=1000)) == data
                assert seekable(source)


def test_read_from_where_a_descriptor_stands(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"junk" + b"payload")
    with open(path, "rb") as opened:
        opened.seek(4)
        assert b"".join(read(opened.fileno())) == b"payload"


def test_read_a_pipe_that_drips() -> None:
    data = gzip.compress(b.Package(b.stream()).build())
    out, into = os.pipe()

    def drip() -> None:
        for position in range(len(data)):
            os.write(into, data[position : position + 1])
        os.close(into)

    writer = threading.Thread(target=drip)
    writer.start()
    assert not seekable(out)
    assert b"".join(decompress(verify(read(out)))) == b.stream()
    writer.join()
    os.close(out)


def test_read_errors(tmp_path: Path) -> None:
    assert code_of(read, str(tmp_path / "no")) is Code.INPUT
    assert code_of(read, str(tmp_path)) is Code.INPUT
    assert code_of(seekable, str(tmp_path / "no")) is Code.INPUT
    assert code_of(read, 9999) is Code.INPUT
    with pytest.raises(ValueError, match="piece"):
        read("x", piece=0)


def test_available_memory(tmp_path: Path) -> None:
    meminfo = tmp_path / "meminfo"
    meminfo.write_text("MemTotal:  99 kB\nMemAvailable:    12345 kB\n")
    assert available_memory(str(meminfo)) == 12345 * 1024
    for text in ("", "MemAvailable:\n", "MemAvailable: many kB\n"):
        meminfo.write_text(text)
        assert available_memory(str(meminfo)) is None
    assert available_memory(str(tmp_path / "no")) is None
    assert (available_memory() or 0) > 1 << 20


# ---- verify ---------------------------------------------------------------------------------------------------------


def _signer(seed: int) -> tuple[bytes, bytes, Ed25519PrivateKey]:
    key = Ed25519PrivateKey.from_private_bytes(bytes([seed] * 32))
    public = key.public_key().public_bytes_raw()
    return hashlib.sha256(public).digest()[:8], public, key


@pytest.fixture
def signed(tmp_path: Path) -> bytes:
    """Signed by the keys 1 and 2."""
    path = tmp_path / "signed.ota"
    signers = [Signer(key_id, key.sign) for key_id, _, key in map(_signer, (1, 2))]
    write([b.stream()], output=str(path), codec=Codec.NONE, window_log=0, ram=1, signers=signers)
    return path.read_bytes()


def _keys(*seeds: int) -> dict[bytes, bytes]:
    return {key_id: public for key_id, public, _ in map(_signer, seeds)}


def test_signatures(signed: bytes) -> None:
    unsigned = b.Package(b.stream()).build()
    for keys in ({}, _keys(1), _keys(2, 7), _keys(1, 2)):
        items = list(verify([signed], keys=keys))
        assert isinstance(items[0], Preamble)
        assert len(items[0].signatures) == 2
    assert code_of(verify, [signed], keys=_keys(7)) is Code.KEY
    assert code_of(verify, [unsigned], keys=_keys(1)) is Code.UNSIGNED


def test_a_wrong_signature_is_refused_although_all_digests_are_right(signed: bytes) -> None:
    package = b.Package(b.stream(), ram=1)
    key_id, _, key = _signer(1)
    head = package.head(package.frames())
    for message, code in ((head, Code.SIGNATURE), (b"otastream-v1\0\0\0\0" + head, None)):
        package.signatures = [(key_id, key.sign(message))]
        if code is None:
            list(verify([package.build()], keys=_keys(1)))
        else:
            assert code_of(verify, [package.build()], keys=_keys(1)) is code
    # one good signature does not make up for a bad one by a key that is trusted, too
    both = bytearray(signed)
    second = 65 + 72 + 8
    both[second] ^= 1
    both[65 + 144 : 65 + 176] = hashlib.sha256(both[: 65 + 144]).digest()
    assert code_of(verify, [bytes(both)], keys=_keys(1, 2)) is Code.SIGNATURE


def test_memory_is_compared_before_anything_is_given() -> None:
    package = b.Package(b.stream(), ram=1000).build()
    assert len(list(verify([package], memory=1000))) == 2
    items = verify([package], memory=999)
    assert code_of(next, items) is Code.RAM


# ---- decompression in bounded memory --------------------------------------------------------------------------------


def _splits(data: bytes, size: int) -> Iterator[bytes]:
    return (data[position : position + size] for position in range(0, len(data), size))


@settings(max_examples=60)
@given(
    st.binary(max_size=3000)
    | st.builds(lambda size, seed: b.noise(size, seed) * 3, st.integers(0, 90_000), st.just(3)),
    st.integers(1, 22),
    st.integers(1, 5000),
    st.booleans(),
    st.booleans(),
)
def test_unzstd_reads_what_the_library_writes(data: bytes, level: int, size: int, checksum: bool, length: bool) -> None:
    compressor = zstandard.ZstdCompressor(level=level, write_checksum=checksum, write_content_size=length)
    encoded = compressor.compress(data)
    assert b"".join(unzstd(_splits(encoded, size), window_log=27)) == data
    for harmed, fault in ((encoded[:-1], Fault.EARLY), (encoded + b"\0", Fault.TRAILING)):
        with pytest.raises(InflateError) as caught:
            list(unzstd(_splits(harmed, size), window_log=27))
        assert caught.value.fault is fault


@settings(max_examples=60)
@given(st.binary(max_size=3000), st.integers(0, 9), st.integers(1, 999))
def test_gunzip_reads_what_the_library_writes(data: bytes, level: int, size: int) -> None:
    encoded = gzip.compress(data * 40, level)
    assert b"".join(gunzip(_splits(encoded, size), window_log=15)) == data * 40
    for harmed, fault in ((encoded[:-1], Fault.EARLY), (encoded + b"\0", Fault.TRAILING)):
        with pytest.raises(InflateError) as caught:
            list(gunzip(_splits(harmed, size), window_log=15))
        assert caught.value.fault is fault


@given(st.binary(max_size=3000), st.integers(1, 9), st.integers(1, 4000))
def test_unlzma_reads_what_the_library_writes(data: bytes, level: int, size: int) -> None:
    encoded = b"".join(compress([data * 40], codec=Codec.LZMA, window_log=15, level=level))
    assert b"".join(unlzma(_splits(encoded, size), window_log=15)) == data * 40
    for harmed, fault in ((encoded[:-1], Fault.EARLY), (encoded + b"\0", Fault.TRAILING)):
        with pytest.raises(InflateError) as caught:
            list(unlzma(_splits(harmed, size), window_log=15))
        assert caught.value.fault is fault


def _bomb(codec: Codec, window: int) -> bytes:
    """64 MiB of zeros."""
    zeros = [bytes(1 << 20)] * 64
    return b"".join(compress(zeros, codec=codec, window_log=window))


@pytest.mark.parametrize(("codec", "window"), [(Codec.GZIP, 15), (Codec.ZSTD, 17), (Codec.LZMA, 18)])
def test_a_bomb_never_sits_in_memory(codec: Codec, window: int) -> None:
    package = b.Package(_bomb(codec, window), int(codec), window).build()
    assert len(package) < 100_000
    tracemalloc.start()
    try:
        sizes = [len(piece) for piece in decompress(verify([package]))]
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert sum(sizes) == 64 << 20
    assert max(sizes) <= 128 << 10
    assert peak < 1 << 20


def test_an_outer_bomb_never_sits_in_memory(tmp_path: Path) -> None:
    path = tmp_path / "bomb"
    for codec, window in ((Codec.GZIP, 15), (Codec.ZSTD, 17)):
        path.write_bytes(_bomb(codec, window))
        assert max(map(len, read(str(path)))) <= 128 << 10


def test_a_zstd_frame_of_one_segment_states_its_window(tmp_path: Path) -> None:
    data = bytes(1 << 20)
    encoded = zstandard.ZstdCompressor().compress(data)  # knows the size, so it needs no window descriptor
    assert encoded[4] & 0x20
    assert b"".join(unzstd([encoded], window_log=20)) == data
    with pytest.raises(InflateError) as caught:
        list(unzstd([encoded], window_log=19))
    assert caught.value.fault is Fault.WINDOW


def test_gzip_flavours_other_than_gzip_are_refused() -> None:
    for wbits in (15, -15):
        worker = zlib.compressobj(9, zlib.DEFLATED, wbits)
        with pytest.raises(InflateError):
            list(gunzip([worker.compress(b"abc") + worker.flush()], window_log=15))


# ---- constant memory of the whole pipeline --------------------------------------------------------------------------

_PIPELINE = """
import resource, sys
from otastream.inspection import verify_package
records = sum(1 for _ in verify_package(sys.argv[1]).entries)
print(records, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


def _synthetic(path: Path, records: int, size: int) -> None:
    """A package of `records` files of `size` bytes that do not compress."""
    data = b.noise(size)
    digest = b.xxh(data)

    def events() -> Iterator[m.Event]:
        yield m.Head(m.Manifest(records, records * size, ("file", "full")))
        for number in range(records):
            yield m.Head(m.File(b"dir/%d" % number, size, digest, 0o644, engine=m.EngineId.FULL))
            yield m.Chunk(data)
            yield m.Tail()
        yield m.Head(m.End())

    stream = compress(encode(events()), codec=Codec.GZIP, window_log=15, level=1)
    write(stream, output=str(path), codec=Codec.GZIP, window_log=15, ram=1)


def test_verify_needs_the_same_memory_for_any_size(tmp_path: Path) -> None:
    peaks = []
    for records, size in ((1, 100), (3000, 10), (20, 1 << 20)):
        path = tmp_path / f"{records}.ota"
        _synthetic(path, records, size)
        command = [sys.executable, "-c", _PIPELINE, str(path)]
        output = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
        assert int(output[0]) == records + 2
        peaks.append(int(output[1]))
    assert max(peaks) - peaks[0] < 3 << 10  # KiB


def test_write_needs_the_same_memory_for_any_size(tmp_path: Path) -> None:
    piece = b.noise(1 << 16)
    peaks = []
    for count in (1, 500):
        tracemalloc.start()
        write([piece] * count, output=str(tmp_path / "p"), codec=Codec.NONE, window_log=0, ram=1)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] - peaks[0] < 300_000


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ('dev:    size   erasesize  name\nmtd0: 08000000 00020000 "nand"\nmtd1: 00100000 00001000 "nor"\n', 0x20000),
        ('dev:    size   erasesize  name\nmtd0: 00100000 00001000 "nor"\n', 0x10000),
        ("dev:    size   erasesize  name\nmtd0: nonsense\nmtd1: 1 xyz\n", 0x10000),
        (None, 0x10000),
    ],
)
def test_the_block_buffer_holds_the_largest_erase_block(tmp_path: Path, text: str | None, size: int) -> None:
    table = tmp_path / "mtd"
    if text is not None:
        table.write_text(text)
    assert block_buffer(str(table)) == size
