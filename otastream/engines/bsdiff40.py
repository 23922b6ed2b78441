"""Classic BSDIFF40 patches: import (apply one) and export (write one), for interoperability.

A patch is a header of 32 bytes (``BSDIFF40``, then the lengths of the packed control and difference blocks and the size
of new, each 8 bytes), then three bzip2 streams: control (triples of 8-byte numbers: add, extra, seek afterwards),
differences, extra bytes. Numbers are little-endian, sign and magnitude. Format: Colin Percival's bspatch 4.3.

Both directions run through our own payload (docs/SPEC.md section 6.2) and stream: memory does not grow with the patch.
The format has no digest of its own; whoever applies such a patch cannot know whether old was the right one.
"""

from __future__ import annotations

import bz2
import os
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO, Final

from otastream.engines import ENGINES, Payload
from otastream.errors import Code, error
from otastream.model import SIZE_MAX, EngineId
from otastream.native import WINDOW, Buffer, Source
from otastream.varint import varint, zigzag

MAGIC: Final = b"BSDIFF40"
HEADER: Final = 32
_PIECE: Final = 1 << 16
_NUMBER: Final = 8
_IDLE_MAX: Final = 16  # triples in a row that make nothing: encoders write one, a hostile patch billions


def _signed(raw: bytes) -> int:
    """A number of the format: 63 bits of magnitude, then the sign."""
    value = int.from_bytes(raw, "little")
    return value if value < 1 << 63 else (1 << 63) - value


def _unsigned(value: int) -> bytes:
    return (abs(value) | (1 << 63 if value < 0 else 0)).to_bytes(_NUMBER, "little")


def _bad(detail: str) -> Exception:
    return error(Code.DELTA, f"BSDIFF40: {detail}")


# ---- import ----------------------------------------------------------------------------------------------------


class _Block:
    """One packed block, unpacked as it is read: at most ``_PIECE`` bytes are held."""

    def __init__(self, fd: int, start: int, end: int, name: str) -> None:
        self._fd, self._at, self._end, self._name = fd, start, end, name
        self._bz2 = bz2.BZ2Decompressor()
        self._ready = b""

    def read(self, limit: int) -> bytes:
        """1 to ``limit`` bytes. DELTA at the end of the block, and when it does not unpack."""
        while not self._ready:
            packed = b""
            if self._bz2.eof:
                raise _bad(f"the {self._name} block ends too early")
            if self._bz2.needs_input:
                packed = os.pread(self._fd, min(_PIECE, self._end - self._at), self._at)
                if not packed:
                    raise _bad(f"the {self._name} block ends too early")
                self._at += len(packed)
            try:
                self._ready = self._bz2.decompress(packed, _PIECE)
            except OSError as exc:
                raise _bad(f"the {self._name} block does not unpack") from exc
        piece, self._ready = self._ready[:limit], self._ready[limit:]
        return piece

    def number(self) -> int:
        raw = b""
        while len(raw) < _NUMBER:
            raw += self.read(_NUMBER - len(raw))
        return _signed(raw)


@dataclass(frozen=True, slots=True)
class Patch:
    """A patch in an open file; the caller keeps ``fd`` open. Offsets are from the start of the file."""

    fd: int
    new_size: int
    diff_start: int
    extra_start: int
    end: int


def open_patch(fd: int) -> Patch:
    """Read and check the header. MAGIC when it is not such a patch, TRUNCATED, DELTA."""
    head = os.pread(fd, HEADER, 0)
    if not head.startswith(MAGIC):
        raise error(Code.MAGIC, "not a BSDIFF40 patch")
    if len(head) < HEADER:
        raise error(Code.TRUNCATED, "BSDIFF40 header")
    end = os.fstat(fd).st_size
    control, diff, new_size = (_signed(head[i : i + _NUMBER]) for i in (8, 16, 24))
    if min(control, diff, new_size) < 0:
        raise _bad("a size is negative")
    if control + diff > end - HEADER:
        raise error(Code.TRUNCATED, "BSDIFF40 blocks")
    return Patch(fd, new_size, HEADER + control, HEADER + control + diff, end)


def _payload(patch: Patch) -> Iterator[bytes]:
    """The patch as payload of engine bsdiff, in small pieces.

    It is fed to the decoder at once, so it is made to be simple, not small: everything is sent as difference, and
    long triples are cut. The decoder checks all lengths and positions against old and new.
    """
    control = _Block(patch.fd, HEADER, patch.diff_start, "control")
    diff = _Block(patch.fd, patch.diff_start, patch.extra_start, "difference")
    extra = _Block(patch.fd, patch.extra_start, patch.end, "extra")
    made = seek = idle = 0
    while made < patch.new_size:
        add, literals, next_seek = control.number(), control.number(), control.number()
        if min(add, literals) < 0 or max(add, literals) > patch.new_size - made:
            raise _bad("a length is out of range")
        idle = 0 if add + literals else idle + 1
        if idle > _IDLE_MAX:
            raise _bad("too many triples that make nothing")
        made += add + literals
        while add > 0:
            piece = diff.read(min(add, _PIECE))
            yield varint(len(piece)) + b"\0" + zigzag(seek) + b"\0" + varint(len(piece)) + piece
            add, seek = add - len(piece), 0
        while literals > 0:
            piece = extra.read(min(literals, _PIECE))
            yield b"\0" + varint(len(piece)) + zigzag(seek) + piece
            literals, seek = literals - len(piece), 0
        seek += next_seek
        if abs(seek) > SIZE_MAX >> 1:
            raise _bad("a position is out of range")


def decode(patch: Patch, source: Source, *, window: int = WINDOW) -> Iterator[memoryview]:
    """The new content, as it comes; each view lives until the next one is pulled. DELTA when it does not fit."""
    decoder = ENGINES[EngineId.BSDIFF].decoder(patch.new_size, source=source, window=window)
    for piece in _payload(patch):
        yield from decoder.feed(piece)
    decoder.finish()


# ---- export ----------------------------------------------------------------------------------------------------


class _Reader:
    """A payload of ours, which is known to be right, number by number."""

    def __init__(self, payload: Payload) -> None:
        self._chunks = payload.chunks()
        self._chunk: bytes = b""
        self._at = 0

    def more(self) -> bool:
        while self._at == len(self._chunk):
            chunk = next(self._chunks, None)
            if chunk is None:
                return False
            self._chunk, self._at = bytes(chunk), 0
        return True

    def number(self) -> int:
        value = shift = 0
        while self.more():
            byte = self._chunk[self._at]
            self._at += 1
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value
            shift += 7
        raise error(Code.INTERNAL, "a delta of our own ends too early")

    def copy(self, count: int, out: _Packer) -> None:
        while count and self.more():
            piece = self._chunk[self._at : self._at + count]
            self._at += len(piece)
            count -= len(piece)
            out.write(piece)


class _Packer:
    """One block, packed into an unnamed file as it is written."""

    def __init__(self, folder: str | None) -> None:
        self.file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115 - close() closes it
        self._bz2 = bz2.BZ2Compressor()

    def write(self, data: bytes) -> None:
        self.file.write(self._bz2.compress(data))

    def zeros(self, count: int) -> None:
        while count:
            self.write(bytes(min(count, _PIECE)))
            count -= min(count, _PIECE)

    def finish(self) -> int:
        """Bytes of the packed block."""
        self.file.write(self._bz2.flush())
        size = self.file.tell()
        self.file.seek(0)
        return size


def _unpack(payload: Payload, control: _Packer, diff: _Packer, extra: _Packer) -> None:
    """Split a payload into the three blocks. Our seek comes before the bytes, theirs after them."""
    reader = _Reader(payload)
    add = literals = 0
    first = True
    while reader.more():
        next_add, next_literals, coded = reader.number(), reader.number(), reader.number()
        seek = coded >> 1 if coded % 2 == 0 else -(coded >> 1) - 1
        if not first or seek:
            control.write(_unsigned(add) + _unsigned(literals) + _unsigned(seek))
        first, add, literals, left = False, next_add, next_literals, next_add
        while left:
            zeros, count = reader.number(), reader.number()
            diff.zeros(zeros)
            reader.copy(count, diff)
            left -= zeros + count
        reader.copy(literals, extra)
    if not first:
        control.write(_unsigned(add) + _unsigned(literals) + _unsigned(0))


def encode(old: Buffer, new: Buffer, out: BinaryIO, *, folder: str | None = None) -> int:
    """Write the patch that makes new from old; returns its size in bytes.

    Working files are unnamed, in ``folder`` (None: the system's folder for temporary files).
    """
    blocks = [_Packer(folder) for _ in range(3)]
    try:
        with ENGINES[EngineId.BSDIFF].encode(old, new, folder=folder) as payload:
            _unpack(payload, *blocks)
        sizes = [block.finish() for block in blocks]
        out.write(MAGIC + _unsigned(sizes[0]) + _unsigned(sizes[1]) + _unsigned(memoryview(new).nbytes))
        for block in blocks:
            while piece := block.file.read(_PIECE):
                out.write(piece)
        return HEADER + sum(sizes)
    finally:
        for block in blocks:
            block.file.close()
