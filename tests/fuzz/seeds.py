"""Seeds for the fuzz targets, from the golden packages: ``python -m fuzz.seeds FOLDER`` (in the folder tests).

They are made anew whenever they are needed; tests/fuzz/corpus/TARGET holds what fuzzing has found beyond them.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import sys
import tempfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import zstandard

from code_samples import types
from fuzz import programs
from golden import builder as b
from golden import views as v
from otastream.errors import OtaError
from otastream.native import XrefOptions, diff_xref
from otastream.stages.decompress import decompress
from otastream.stages.read import read
from otastream.stages.verify import verify
from pictures import jpeg, png, png_of

GOLDEN: Final = Path(__file__).resolve().parent.parent / "golden"
_SMALL: Final = 4000


def _packages() -> list[Path]:
    return [path for path in sorted(GOLDEN.glob("*/*.ota")) if path.stat().st_size <= _SMALL]


def streams() -> Iterator[bytes]:
    """Record streams of the packages whose lower layers are whole."""
    for path in _packages():
        try:
            yield b"".join(bytes(piece) for piece in decompress(verify(read(str(path)))))
        except OtaError:
            continue


def _strings(stream: bytes) -> Iterator[bytes]:
    """The byte strings that a record stream is made of: headers and chunks."""
    at = 0
    while at < len(stream) and stream[at] >> 5 == 2 and stream[at] & 31 < 28:
        extra = 0 if stream[at] & 31 < 24 else 1 << (stream[at] & 31) - 24
        size = stream[at] & 31 if extra == 0 else int.from_bytes(stream[at + 1 : at + 1 + extra], "big")
        yield stream[at + 1 + extra : at + 1 + extra + size]
        at += 1 + extra + size


def records() -> Iterator[bytes]:
    for stream in streams():
        yield from (text for text in _strings(stream) if text[:1] == b"\x82")


def executor() -> Iterator[bytes]:
    for number, stream in enumerate(streams()):
        yield bytes([number * 7 % 256, 0, 0]) + stream
        yield bytes([0, 1 + number % 9, number % 8]) + stream


def frames() -> Iterator[bytes]:
    """Packages with zeros for digests, which is what they are in the fuzz target."""
    for path in _packages():
        data = bytearray(path.read_bytes())
        if data[:2] != b"\x89O" or len(data) < 100 or data[64] > 4:
            continue
        at = 65 + 72 * data[64]
        data[32:64] = data[at : at + 32] = bytes(32)
        at += 32
        while at + 36 <= len(data):
            data[at + 4 : at + 36] = bytes(32)
            at += 36 + int.from_bytes(data[at : at + 4], "little") % (1 << 31)
        yield b"\x30" + data


def codecs() -> Iterator[bytes]:
    content = b"".join(streams())[:3000]
    for log in (9, 12, 15):
        packer = zlib.compressobj(9, zlib.DEFLATED, 16 + log)
        yield bytes([1, log - 9, 17, 1]) + packer.compress(content) + packer.flush()
    yield bytes([1, 6, 50, 3]) + gzip.compress(bytes(100_000))
    for log in (10, 14, 17):
        made = zstandard.ZstdCompressionParameters.from_level(19, window_log=log, write_content_size=log == 14)
        for text in (content, bytes(300_000)):
            yield bytes([0, log - 10, 13, 2]) + zstandard.ZstdCompressor(compression_params=made).compress(text)
    for log in (12, 16):
        for made_of in (b.lzma_library(content, log), b.lzma_library(bytes(300_000), log), b.lzma_stored(content)):
            yield bytes([2, log - 12, 11, 1]) + made_of


def lz4_blocks() -> Iterator[bytes]:
    """Literals, a match that overlaps itself, long lengths; distances and lengths that lead outside."""
    literals = b"some bytes"
    for token, rest in (
        (0xA0, literals),
        (0xA4, literals + b"\3\0\x50after"),
        (0xAF, literals + b"\1\0\xff\x10\x50after"),
    ):
        yield b"\1\0" + bytes([token]) + rest
        yield b"\0\x10" + bytes([token]) + rest
    yield b"\2\0\xf0\xff\x01" + bytes(271)
    yield b"\1\0\xa4" + literals + b"\x0b\0\x50after"
    yield b"\x40\0" + b"".join(streams())[:3000]


def patches() -> Iterator[bytes]:
    """Triples: zero runs, added bytes, literals, seeks to and fro."""
    head = bytes([0, 100, 0, 60, 3, 9])
    yield head + bytes([40, 20, 0, 40, 0]) + bytes(20)
    yield head + bytes([30, 0, 10, 10, 5, 1, 2, 3, 4, 5, 15, 0, 30, 0, 5, 30, 0])
    yield head + bytes([0, 60, 0]) + bytes(range(60))
    yield head + bytes([0xBC, 0, 0])


def views() -> Iterator[bytes]:
    """Fronts with parts that are there (old is 49 letters and an end, again and again) and parts that are not."""
    old = b.varint(20_000) + bytes([2, 16, 1, 1, 1, 3, 0, 0, 50, 98, 50, 0, 50, 0, 7, 0, 43, 13])
    listed = v.plain(5) + v.keep(30, 100) + b.varint(9 << 2 | 2) + bytes([0, 1, 2, 3, 4]) + v.keep(3, 7) + v.plain(2)
    new = bytes([1, 1, 1]) + b.varint(len(listed)) + listed
    for kind, front in ((1, old), (2, b.varint(5000) + new), (3, old + new)):
        for piece in (0, 60):
            yield bytes([10, 0, kind, 0, 50, piece]) + front + bytes(range(16))
            yield bytes([10, 0, kind, 0, 50, piece]) + front[:-4]


def gnuzips() -> Iterator[bytes]:
    """Data of every kind of block, once and again and again."""
    text = b"".join(b"%d, " % (n * n % 1000) for n in range(600))
    for level, raw in enumerate(
        (b"", b"x", bytes(3000), bytes(range(256)) * 4, text, hashlib.sha512(b"").digest() * 9)
    ):
        for times in (0, 63):
            yield bytes([level, 3 * level, 255 - level, times]) + raw


def progress_lines() -> Iterator[bytes]:
    """A screen, the size of pieces, lines."""
    line = b'{"phase": "update", "percent": 37, "done": 1, "total": 3, "step": 3, "steps": 7, "target": "%s"}\n'
    end = b'{"phase": "failure", "percent": 37, "code": 65, "error": "x", "target": "/dev/mtd5"}\n'
    yield bytes([0, 200, 100, 9]) + line % b"/dev/mtd5" + end
    yield bytes([5, 255, 255, 255]) + b"12\ncheck\n50\nsuccess\n"
    yield bytes([10, 0, 0, 0]) + line % b'\\u00e9\\n\\"' + line % (b"W" * 300)


def pictures() -> Iterator[bytes]:
    def paint(x: int, y: int) -> tuple[int, int, int]:
        return x * 9 % 256, y * 9 % 256, 128

    for made in (png(20, 17, paint), png(9, 20, paint, interlaced=True), png_of(8, 8, bytes(72), kind=0),
                 jpeg(3, 2, paint), jpeg(3, 2, paint, progressive=True)):  # fmt: skip
        yield b"\x30\x10" + made


_WORDS: Final = (
    *(0x94000010, 0x54000081, 0x90000003, 0x91010063, 0xF9400463, 0x36000082, 0xEB000010, 0xE59F3010),
    *(0xE3012234, 0xE3402001, 0xE08F3003, 0xF802F000, 0x447B4B01, 0x8002F000, 0x3004F8DF, 0x2234F241),
    *(0x2001F2C0, 0x008000EF, 0x00001517, 0x00850513, 0x0C000400, 0x000010E8, 0x00000800, 0xFFFFFC00),
)
_OLD: Final = b"".join(
    (_WORDS[(i // 4 + i // 512) % len(_WORDS)] + (i // 1024 << 5)).to_bytes(4, "little") for i in range(0, 5000, 4)
)
"""What fuzz_xref.c has as old content."""


def xrefs() -> Iterator[bytes]:
    """Deltas of it, with the smallest model, and of programs for each machine."""
    news = (_OLD, b"", _OLD[::-1], _OLD[:1000] + b"text" * 40 + _OLD[900:], _OLD[2000:] + _OLD[:2000], bytes(700))
    for number, new in enumerate(news):
        head, payload = _xref(_OLD, new, number), _xref_payload(_OLD, new)
        yield head + b"\0" + payload
        yield head + b"\0" + bytes([payload[0] | 32]) + payload[1:]  # as if it had sections
    made = {name: pair for name, *pair in programs.pairs()}
    both = [made["mips"][side] + bytes(50) + made["thumb"][side] for side in (0, 1)]  # which has sections
    for number, (old, new) in enumerate([*made.values(), both, [types(40), types(40, more=1)]]):
        yield _xref(old, new, number) + b"\1" + old + _xref_payload(old, new)
        yield _xref(new, old, number) + b"\1" + new + _xref_payload(new, old)


def _xref(old: bytes, new: bytes, number: int) -> bytes:
    """Sizes and splits."""
    return len(old).to_bytes(2, "big") + len(new).to_bytes(2, "big") + bytes([number * 30, 255 - number * 30])


def _xref_payload(old: bytes, new: bytes) -> bytes:
    with tempfile.TemporaryFile() as file:
        diff_xref(old, new, file.fileno(), XrefOptions(12, spans_max=64, regions_max=64))
        file.seek(0)
        return file.read()


def boards() -> Iterator[bytes]:
    """fw_env.config, slots, command line, two copies of an environment, changes of it."""
    config = b"# environment\n/dev/env 0x0 0x200 0x400 2\n/dev/env 0x1000 0x200 0x400 2\n"
    apart = b"/dev/env 0 512\n/dev/env2 0 512\n"
    one = b"/dev/env 0x0 0x200\n"
    plain = b'a /dev/mtd3 /dev/mtd5\nb /dev/mtd4 /dev/mtd6\nselect BOOT_ORDER "A B" "B A"\n'
    vendor = b"a /dev/a\nb /dev/b\nselect slot 0 1\ntrial none\ngood meta 80\nboot a x=1\nboot b x=2\n"
    copies = (b"\1BOOT_ORDER=A B|upgrade_available=1|bootcount=2|", b"\0BOOT_ORDER=B A|ota_incomplete=a|")
    bytes_of = (b"\1slot=0|meta=81,03|a=1|", b"\0slot=1|meta=0x80,0x0|")
    changes = b"\x82\x82\x41a\x41b\x81\x49bootcount"
    for number, (file, slots, line, values) in enumerate((
        (config, plain, b"root=/dev/mtdblock5 ro", copies), (config, vendor, b"x=2", bytes_of),
        (apart, vendor, b"", bytes_of), (one, plain, b"root=/dev/ubiblock0_1", copies),
    )):  # fmt: skip
        for medium in range(4):
            head = bytes([12 | medium, number * 5 + medium * 16, file == apart])
            yield head + b"\xfe".join((file, slots, line, *values, changes))


def keys() -> Iterator[bytes]:
    """Files of one key, of two with text around them, and of what is none."""
    spki = bytes.fromhex("302a300506032b6570032100")
    made = [base64.encodebytes(spki + bytes([number] * 32)) for number in (1, 2)]
    blocks = [b"-----BEGIN PUBLIC KEY-----\n" + text + b"-----END PUBLIC KEY-----\n" for text in made]
    yield blocks[0]
    yield b"the vendor\n" + blocks[0].replace(b"\n", b"\r\n") + b"spare\n" + blocks[1]
    yield blocks[0].replace(b"MCow", b"MCox")
    yield blocks[0][:-20]


TARGETS: Final = {
    "records": records,
    "exec": executor,
    "frames": frames,
    "codec": codecs,
    "bspatch": patches,
    "view": views,
    "gnuzip": gnuzips,
    "lz4": lz4_blocks,
    "display": progress_lines,
    "picture": pictures,
    "xref": xrefs,
    "slots": boards,
    "keys": keys,
}


def make(folder: Path) -> None:
    """One folder for each target; a seed is named by its digest."""
    for name, seeds in TARGETS.items():
        target = folder / name
        target.mkdir(parents=True, exist_ok=True)
        for seed in seeds():
            (target / hashlib.sha256(seed).hexdigest()[:16]).write_bytes(seed)


if __name__ == "__main__":
    make(Path(sys.argv[1]))
    print(sum(1 for _ in Path(sys.argv[1]).glob("*/*")), "seeds")
