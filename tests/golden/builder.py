"""A package builder that can break any rule of docs/SPEC.md, and chains the digests rightly all the same.

It shares no code with the package: CBOR comes from cbor2, digests from hashlib and xxhash.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import lzma
import struct
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import cbor2
import xxhash
import zstandard

MAGIC = b"\x89OTA\r\n\x1a\n"
ZEROS = bytes(32)
NONE, GZIP, ZSTD, LZMA = 0, 1, 2, 3

# field keys
ROOT, PATH, SIZE, DIGEST, MODE, UID, GID, ENGINE, SOURCE = range(1, 10)
TARGETS, OLD_VIEW, NEW_VIEW, XATTRS, WHEN, LABEL, TO, TYPE, OLD = range(10, 19)
NEW, NAME, VERSION, CREATED, RECORDS, BYTES, COMPATIBLE, LINKS, NEEDS = range(19, 28)
MASK, PARENTS, ENV_CHANGES = 28, 29, 30
UNIT, SCRATCH, PLAN, FALLBACK = 32, 33, 34, 36
# kinds
END, MANIFEST, EXPECT, SCRIPT, BLOCK, UBI, FILE, DELETE, DIR, LINK, MOVE, ENV = range(12)

ALL_NEEDS = ["block", "bsdiff", "delete", "dir", "file", "full", "link", "move", "script", "ubi", "xref"]


def xxh(data: bytes) -> int:
    return xxhash.xxh64_intdigest(data)


def string(data: bytes) -> bytes:
    """A CBOR byte string: header or chunk of the record stream."""
    encoded: bytes = cbor2.dumps(data)
    return encoded


def header(kind: int, fields: Mapping[int, Any]) -> bytes:
    """A record header with rising keys."""
    encoded: bytes = cbor2.dumps([kind, dict(sorted(fields.items()))])
    return encoded


def record(kind: int, fields: Mapping[int, Any], payload: bytes | None = None, *, cut: int = 65536) -> bytes:
    """A record of the stream, its payload cut into chunks of `cut` bytes."""
    stream = string(header(kind, fields))
    if payload is None:
        return stream
    return stream + chunks(payload, cut=cut)


def chunks(payload: bytes, *, cut: int = 65536) -> bytes:
    """A payload of the stream, cut into chunks of `cut` bytes, and its end."""
    return b"".join(string(payload[pos : pos + cut]) for pos in range(0, len(payload), cut)) + string(b"")


def manifest(needs: Sequence[str] = ALL_NEEDS) -> bytes:
    return record(MANIFEST, {RECORDS: 1, BYTES: 0, NEEDS: list(needs)})


ENDING = record(END, {})


def content(data: bytes) -> dict[int, Any]:
    """The fields size, digest and engine of content that is sent in full."""
    return {SIZE: len(data), DIGEST: xxh(data), ENGINE: 0}


def stream(*records: bytes) -> bytes:
    """Records between a manifest and an end."""
    return manifest() + b"".join(records) + ENDING


def varint(value: int) -> bytes:
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    out.append(value)
    return bytes(out)


def triple(added: Sequence[tuple[int, bytes]], literals: bytes, seek: int = 0) -> bytes:
    """A triple of engine bsdiff; added: (bytes as in old, differences) runs."""
    total = sum(z + len(d) for z, d in added)
    runs = b"".join(varint(z) + varint(len(d)) + d for z, d in added)
    zigzag = 2 * seek if seek >= 0 else -2 * seek - 1
    return varint(total) + varint(len(literals)) + varint(zigzag) + runs + literals


def segment(
    distance: int,
    content: bytes,
    payload: bytes,
    *,
    kept: Sequence[tuple[int, int]] = (),
    last: int = 0,
    reads: bytes = b"",
) -> bytes:
    """A segment of an update in place, which replaces the unit that lies `distance` behind the one that follows the
    last. kept: (gap, length) pairs; last: how many segments later they are read last; reads: what views need.
    """
    head = varint(2 * distance if distance >= 0 else -2 * distance - 1) + xxh(content).to_bytes(8, "little")
    head += varint(len(kept)) + b"".join(varint(gap) + varint(length) for gap, length in kept)
    return head + (varint(last) if kept else b"") + reads + varint(len(payload)) + payload


def noise(size: int, seed: int = 1) -> bytes:
    """Bytes that do not compress, the same everywhere."""
    blocks = (hashlib.sha256(struct.pack("<II", seed, i)).digest() for i in range(size // 32 + 1))
    return b"".join(blocks)[:size]


# ---- codecs: hand-made streams are the same whatever the version of a library -------------------------------------


def gzip_stored(data: bytes) -> bytes:
    """A gzip member with stored blocks."""
    parts = [data[pos : pos + 65535] for pos in range(0, len(data), 65535)] or [b""]
    blocks = [
        struct.pack("<BHH", number == len(parts) - 1, len(part), len(part) ^ 0xFFFF) + part
        for number, part in enumerate(parts)
    ]
    trailer = struct.pack("<II", zlib.crc32(data), len(data) & 0xFFFFFFFF)
    return b"\x1f\x8b\x08\0\0\0\0\0\2\3" + b"".join(blocks) + trailer


def gzip_deflated(data: bytes, window: int) -> bytes:
    worker = zlib.compressobj(9, zlib.DEFLATED, 16 + window)
    return worker.compress(data) + worker.flush()


def zstd_raw(data: bytes, *, window: int = 17, descriptor: int = 0, after: bytes = b"", kind: int = 0) -> bytes:
    """A zstd frame of raw blocks; `after` stands behind the window descriptor (dictionary id, content size)."""
    parts = [data[pos : pos + 65536] for pos in range(0, len(data), 65536)] or [b""]
    blocks = [
        (len(part) << 3 | kind << 1 | (number == len(parts) - 1)).to_bytes(3, "little") + part
        for number, part in enumerate(parts)
    ]
    return b"\x28\xb5\x2f\xfd" + bytes([descriptor, window - 10 << 3]) + after + b"".join(blocks)


def zstd_library(data: bytes, window: int) -> bytes:
    params = zstandard.ZstdCompressionParameters.from_level(
        19, window_log=window, write_content_size=False, write_checksum=False
    )
    worker = zstandard.ZstdCompressor(compression_params=params).compressobj()
    return worker.compress(data) + worker.flush()


def lzma_stored(data: bytes, *, first: int = 1) -> bytes:
    """An LZMA2 stream of uncompressed chunks; `first` is the control byte of the first one."""
    parts = [data[pos : pos + 65536] for pos in range(0, len(data), 65536)]
    chunks = [struct.pack(">BH", 2 if number else first, len(part) - 1) + part for number, part in enumerate(parts)]
    return b"".join(chunks) + b"\0"


def lzma_library(data: bytes, window: int, **options: int) -> bytes:
    chain = [{"id": lzma.FILTER_LZMA2, "preset": 9, "dict_size": 1 << window, "pb": 0, **options}]
    return lzma.compress(data, lzma.FORMAT_RAW, filters=chain)


# ---- the file -----------------------------------------------------------------------------------------------------


@dataclass
class Package:
    """A package file. Everything that is not given is right."""

    stream: bytes = b""  # compressed already
    codec: int = NONE
    window: int = 0
    frame_log: int = 16
    ram: int = 300_000
    cuts: Sequence[int] = ()  # payload sizes of the first frames; the others are as large as they can be
    magic: bytes = MAGIC
    version: int = 1
    reserved: bytes = bytes(1)
    workspace: int = 0  # in units of 4096 bytes
    length: int | None = None
    signatures: Sequence[tuple[bytes, bytes]] = ()
    signature_count: int | None = None
    words: Mapping[int, int] = field(default_factory=dict)  # frame number -> its first four bytes
    last_next: bytes = ZEROS
    first: bytes | None = None
    tail: bytes = b""

    def frames(self) -> list[bytes]:
        full = (1 << min(self.frame_log, 20)) - 36
        payloads, pos = [], 0
        for cut in self.cuts:
            payloads.append(self.stream[pos : pos + cut])
            pos += cut
        payloads += [self.stream[at : at + full] for at in range(pos, len(self.stream), full)]
        frames: list[bytes] = []
        following = self.last_next
        for number in reversed(range(len(payloads))):
            last = number == len(payloads) - 1
            word = self.words.get(number, len(payloads[number]) | last << 31)
            frames.insert(0, struct.pack("<I", word) + following + payloads[number])
            following = hashlib.sha256(frames[0]).digest()
        return frames

    def head(self, frames: Sequence[bytes]) -> bytes:
        small = struct.pack("<HBBB", self.version, self.codec, self.window, self.frame_log)
        small += self.reserved + struct.pack("<H", self.workspace)
        length = sum(map(len, frames)) if self.length is None else self.length
        first = hashlib.sha256(frames[0]).digest() if frames and self.first is None else self.first or ZEROS
        return self.magic + small + struct.pack("<QQ", self.ram, length) + first

    def build(self) -> bytes:
        frames = self.frames()
        count = len(self.signatures) if self.signature_count is None else self.signature_count
        body = self.head(frames) + bytes([count]) + b"".join(a + b for a, b in self.signatures)
        return body + hashlib.sha256(body).digest() + b"".join(frames) + self.tail


# ---- a reader that believes everything: it counts the records of good packages -------------------------------------


def count_records(data: bytes) -> int:
    """Records of a good package, ``end`` included."""
    if data[:2] == b"\x1f\x8b":
        data = gzip.decompress(data)
    elif data[:4] == b"\x28\xb5\x2f\xfd":
        data = zstandard.ZstdDecompressor(max_window_size=1 << 27).decompressobj().decompress(data)
    pos, joined = 65 + 72 * data[64] + 32, b""
    while pos < len(data):
        size = struct.unpack_from("<I", data, pos)[0] & 0x7FFFFFFF
        joined += data[pos + 36 : pos + 36 + size]
        pos += 36 + size
    if data[10] == GZIP:
        joined = gzip.decompress(joined)
    elif data[10] == ZSTD:
        joined = zstandard.ZstdDecompressor(max_window_size=1 << 27).decompressobj().decompress(joined)
    elif data[10] == LZMA:
        chain = [{"id": lzma.FILTER_LZMA2, "dict_size": 1 << data[11]}]
        joined = lzma.decompress(joined, lzma.FORMAT_RAW, filters=chain)
    decoder, records = cbor2.CBORDecoder(io.BytesIO(joined)), 0
    while True:
        kind, fields = cbor2.loads(decoder.decode())
        records += 1
        for _ in range((ENGINE in fields) + (FALLBACK in fields)):
            while decoder.decode():
                pass
        if kind == END:
            return records
