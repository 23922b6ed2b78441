"""Bytes <-> preamble, frames, records: the readable twin of docs/SPEC.md, sections 2 to 5. Sans I/O, pure Python.

Readers are fed bytes in any split and give events; ``close`` says that the bytes are over. Every reader is total: any
bytes give events or an OtaError, after which it must not be fed again. Memory is bounded by one frame or one header
plus the piece that is being fed.
"""

from __future__ import annotations

import hashlib
import itertools
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from otastream import cbor, model
from otastream.errors import Code, OtaError, error
from otastream.fields import ENGINES, FALLBACK, VIEWS, decode_record, encode_record, kind_of
from otastream.model import Chunk, Codec, EngineId, Event, Head, Preamble, Record, Tail

MAGIC: Final = b"\x89OTA\r\n\x1a\n"
VERSION: Final = 1
OUTER_GZIP: Final = b"\x1f\x8b"  # first bytes of a file that was compressed once more from outside
OUTER_ZSTD: Final = b"\x28\xb5\x2f\xfd"
OUTER_WINDOW_LOG: Final = 23

HEAD: Final = 64  # bytes of the preamble that a signature covers
SIGNATURE: Final = 72  # key id and Ed25519 signature
SIGNATURES_MAX: Final = 4
DIGEST: Final = 32
FRAME_HEAD: Final = 4 + DIGEST
FRAME_LOGS: Final = range(10, 17)
WINDOW_LOGS: Final = {
    Codec.NONE: range(1),
    Codec.GZIP: range(9, 16),
    Codec.ZSTD: range(10, 28),
    Codec.LZMA: range(12, 28),
}
_LAST: Final = 1 << 31
_ZEROS: Final = bytes(DIGEST)
_SIGNED_PREFIX: Final = b"otastream-v1\0\0\0\0"

# ---- preamble (section 2) -----------------------------------------------------------------------------------------


def encode_head(preamble: Preamble) -> bytes:
    """The first 64 bytes."""
    small = bytes([preamble.codec, preamble.window_log, preamble.frame_log, 0])
    small += (preamble.workspace // model.WORKSPACE_UNIT).to_bytes(2, "little")
    sizes = preamble.ram.to_bytes(8, "little") + preamble.length.to_bytes(8, "little")
    return MAGIC + preamble.version.to_bytes(2, "little") + small + sizes + preamble.first


def signed_bytes(preamble: Preamble) -> bytes:
    """What a signature is over."""
    return _SIGNED_PREFIX + encode_head(preamble)


def framed(length: int, frame_log: int) -> int:
    """Bytes of the frames of a compressed stream of so many."""
    return length + -(-length // ((1 << frame_log) - FRAME_HEAD)) * FRAME_HEAD


def encode_preamble(preamble: Preamble) -> bytes:
    """All bytes of the preamble; what ``parse_preamble`` would refuse is refused here."""
    body = encode_head(preamble) + bytes([len(preamble.signatures)])
    body += b"".join(key_id + signature for key_id, signature in preamble.signatures)
    data = body + hashlib.sha256(body).digest()
    parse_preamble(data)
    return data


def preamble_size(begin: bytes | bytearray) -> int:
    """How many bytes must be there to go on: first up to the number of signatures, then the whole preamble.

    Checks magic, version and number of signatures as soon as their bytes are there.
    """
    if begin[:8] != MAGIC[: len(begin)]:
        raise error(Code.MAGIC, offset=0)
    if len(begin) >= 10 and (version := int.from_bytes(begin[8:10], "little")) != VERSION:
        raise error(Code.VERSION, f"version {version}", offset=8)
    if len(begin) <= HEAD:
        return HEAD + 1
    if begin[HEAD] > SIGNATURES_MAX:
        raise error(Code.LIMIT, f"{begin[HEAD]} signatures", offset=HEAD)
    return HEAD + 1 + SIGNATURE * begin[HEAD] + DIGEST


def parse_preamble(data: bytes | bytearray) -> Preamble:
    """The preamble that exactly these bytes are; checks in the order of section 2. Signatures are not verified here."""
    size = preamble_size(data)
    if len(data) < size:
        raise error(Code.TRUNCATED, "in the preamble", offset=len(data))
    if len(data) > size:
        raise error(Code.FORMAT, "bytes after the preamble", offset=size)
    if hashlib.sha256(data[:-DIGEST]).digest() != data[-DIGEST:]:
        raise error(Code.CORRUPT, "the preamble", offset=0)
    codec, window_log, frame_log = data[10:13]
    if codec not in WINDOW_LOGS:
        raise error(Code.UNSUPPORTED, f"codec {codec}", offset=10)
    if window_log not in WINDOW_LOGS[Codec(codec)]:
        raise error(Code.LIMIT, f"window log {window_log} of codec {Codec(codec).name.lower()}", offset=11)
    if frame_log not in FRAME_LOGS:
        raise error(Code.LIMIT, f"frame log {frame_log}", offset=12)
    length = int.from_bytes(data[24:32], "little")
    signatures = tuple(
        (bytes(data[pos : pos + 8]), bytes(data[pos + 8 : pos + SIGNATURE]))
        for pos in range(HEAD + 1, size - DIGEST, SIGNATURE)
    )
    if data[13]:
        raise error(Code.FORMAT, "a reserved byte of the preamble is not zero", offset=13)
    memory = int.from_bytes(data[16:24], "little")
    workspace = int.from_bytes(data[14:16], "little") * model.WORKSPACE_UNIT
    if workspace > memory:
        raise error(Code.FORMAT, "the workspace is larger than the memory that applying needs", offset=14)
    if length <= FRAME_HEAD:
        raise error(Code.FORMAT, f"frames of {length} bytes in all", offset=24)
    if any(a[0] >= b[0] for a, b in itertools.pairwise(signatures)):
        raise error(Code.FORMAT, "key ids do not rise", offset=HEAD + 1)
    first = bytes(data[32:64])
    return Preamble(Codec(codec), window_log, frame_log, memory, length, first, signatures, VERSION, workspace)


# ---- frames (section 3) -------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Frame:
    """The payload of one frame whose digest was right. following: digest of the next frame, None: this is the last."""

    payload: bytes
    following: bytes | None = None


def frame_head(size: int, following: bytes | None) -> bytes:
    """First 36 bytes of a frame with `size` bytes of payload. following: digest of the next frame, None: the last."""
    return (size | (_LAST if following is None else 0)).to_bytes(4, "little") + (following or _ZEROS)


class FrameReader:
    """Bytes of a file, in any split -> Preamble, then authentic Frames."""

    def __init__(self) -> None:
        self.preamble: Preamble | None = None
        self._buffer = bytearray()
        self._offset = 0  # in the file, of the first byte of the buffer
        self._digest = b""  # of the next frame; empty after the last
        self._left = 0  # bytes of frames that the preamble still promises

    def feed(self, data: bytes | memoryview) -> Iterator[Preamble | Frame]:
        """Take bytes; give what they complete. The iterator must be used up before the next call."""
        self._buffer += data
        while True:
            item = self._preamble() if self.preamble is None else self._frame(self.preamble)
            if item is None:
                return
            yield item

    def close(self) -> None:
        """The file is over."""
        if self.preamble is None or self._digest:
            where = "in the preamble" if self.preamble is None else "in the frames"
            raise error(Code.TRUNCATED, where, offset=self._offset + len(self._buffer))

    def _take(self, size: int) -> bytes:
        data = bytes(memoryview(self._buffer)[:size])
        del self._buffer[:size]
        self._offset += size
        return data

    def _preamble(self) -> Preamble | None:
        size = preamble_size(self._buffer)
        if len(self._buffer) < size:
            return None
        self.preamble = parse_preamble(self._take(size))
        self._digest, self._left = self.preamble.first, self.preamble.length
        return self.preamble

    def _frame(self, preamble: Preamble) -> Frame | None:
        if not self._digest:
            if self._buffer:
                raise error(Code.FORMAT, "bytes after the last frame", offset=self._offset)
            return None
        if len(self._buffer) < 4:
            return None
        word = int.from_bytes(self._buffer[:4], "little")
        size = FRAME_HEAD + (word & ~_LAST)
        if not FRAME_HEAD < size <= 1 << preamble.frame_log:
            raise error(Code.CORRUPT, "length of a frame", offset=self._offset)
        if len(self._buffer) < size:
            return None
        start, data = self._offset, self._take(size)
        if hashlib.sha256(data).digest() != self._digest:
            raise error(Code.CORRUPT, "a frame", offset=start)
        self._left -= size
        last, following = bool(word & _LAST), data[4:FRAME_HEAD]
        if last and following != _ZEROS:
            raise error(Code.FORMAT, "the last frame names a next one", offset=start)
        if (self._left != 0) if last else (self._left <= 0):
            raise error(Code.FORMAT, "the frames are not as long as the preamble says", offset=start)
        self._digest = b"" if last else following
        return Frame(data[FRAME_HEAD:], None if last else following)


# ---- order of records (section 5.2) and needs (section 9) ---------------------------------------------------------

# state -> class of the next record -> state. "armed": the end script is on the board.
_ORDER: Final[dict[str, dict[str, str]]] = {
    "start": {"manifest": "checks"},
    "checks": {"expect": "checks", "end script": "armed", "begin script": "update", "action": "update", "end": "done"},
    "armed": {"expect": "armed", "begin script": "update", "action": "update", "end": "done"},
    "update": {"action": "update", "end": "done"},
    "done": {},
}


def _order_class(record: Record) -> str:
    if isinstance(record, model.Script):
        return {model.When.BEGIN: "begin script", model.When.END: "end script"}.get(record.when, "action")
    kind = kind_of(record)
    return kind if kind in ("manifest", "expect", "end") else "action"


def needs_of(record: Record) -> tuple[str, ...]:
    """Names that the manifest's ``needs`` must list for this record: its kind, its engines and its views.

    The codings of a view's parts stand in the payload; whoever makes it knows them.
    """
    if isinstance(record, (model.Manifest, model.Expect, model.End)):
        return ()
    engine = getattr(record, "engine", None)
    views = {getattr(record, name, None) for name in ("old_view", "new_view")} - {None}
    names = [VIEWS[view] for view in views if view is not None]
    if has_fallback(record):
        names += [FALLBACK, ENGINES[EngineId.FULL]]
    return (kind_of(record), *([] if engine is None else [ENGINES[engine]]), *names)


class Order:
    """Checks each record against those before it: the order of a stream and the promise of the manifest."""

    def __init__(self) -> None:
        self._state = "start"
        self._needs: frozenset[str] = frozenset()

    @property
    def done(self) -> bool:
        """Whether the record ``end`` has come."""
        return self._state == "done"

    def check(self, record: Record) -> None:
        """FORMAT if the record must not come now."""
        name = _order_class(record)
        state = _ORDER[self._state].get(name)
        if state is None:
            raise error(Code.FORMAT, f"{name} is out of order")
        if isinstance(record, model.Manifest):
            self._needs = frozenset(record.needs)
        for need in needs_of(record):
            if need not in self._needs:
                raise error(Code.FORMAT, f"{need} is not among the needs of the manifest")
        self._state = state


# ---- record stream (section 4) ------------------------------------------------------------------------------------


def has_payload(record: Record) -> bool:
    """Whether chunks follow the header."""
    return getattr(record, "engine", None) is not None


def has_fallback(record: Record) -> bool:
    """Whether a second payload follows the first: the content in full."""
    return bool(getattr(record, "fallback", False))


def payloads_of(record: Record) -> int:
    """How many payloads follow the header."""
    return has_payload(record) + has_fallback(record)


class RecordReader:
    """Bytes of the record stream, in any split -> Head, Chunk, Tail. A chunk may come in several pieces.

    Of a record with a fallback the chunks of that, and one more Tail, follow the first Tail.
    """

    def __init__(self) -> None:
        self.record = 0  # number of the record at work
        self._order = Order()
        self._buffer = bytearray()  # a length head or a header that is not complete
        self._payloads = 0  # of the record at work, that have not ended
        self._left = 0  # bytes of the present chunk that are to come
        self._header = 0  # length of the header that is being collected

    def feed(self, data: bytes | memoryview) -> Iterator[Event]:
        """Take bytes; give what they complete. The iterator must be used up before the next call."""
        try:
            yield from self._feed(memoryview(data))
        except OtaError as failure:
            if failure.record is None:
                failure.record = self.record
            raise

    def close(self) -> None:
        """The stream is over."""
        if not self._order.done:
            raise error(Code.FORMAT, "the record stream ends without the record end", record=self.record)

    def _feed(self, data: memoryview) -> Iterator[Event]:
        while data:
            if self._left:
                piece, data = data[: self._left], data[self._left :]
                self._left -= len(piece)
                yield Chunk(piece)
            elif self._header:
                wanted = self._header - len(self._buffer)
                self._buffer += data[:wanted]
                data = data[wanted:]
                if len(self._buffer) == self._header:
                    yield self._head()
            else:
                self._buffer += data[:1]
                data = data[1:]
                if self._length_head():
                    yield Tail()

    def _length_head(self) -> bool:
        """Take the head of a byte string once it is complete; True if it ends a payload."""
        if self._order.done:
            raise error(Code.FORMAT, "bytes after the record end")
        found = cbor.take_head(self._buffer, 0)
        if found is None:
            return False
        self._buffer.clear()
        major, size, _ = found
        if major != cbor.BYTES:
            raise error(Code.FORMAT, f"CBOR major type {major} where a byte string belongs")
        if size > (model.CHUNK_MAX if self._payloads else model.HEADER_MAX):
            raise error(Code.LIMIT, f"a {'chunk' if self._payloads else 'header'} of {size} bytes")
        if self._payloads:
            self._left = size
            self._payloads -= size == 0
            self.record += not self._payloads
            return size == 0
        if size == 0:
            raise error(Code.FORMAT, "an empty header")
        self._header = size
        return False

    def _head(self) -> Head:
        raw = bytes(self._buffer)
        self._buffer.clear()
        self._header = 0
        record = decode_record(raw)
        self._order.check(record)
        self._payloads = payloads_of(record)
        self.record += not self._payloads
        return Head(record, raw)


def encode(events: Iterable[Event]) -> Iterator[bytes]:
    """Events -> bytes of the record stream. Heads with ``raw`` are written as they are.

    Refuses what breaks the order of records with the error of the reader, and chunks out of place with INTERNAL.
    """
    order = Order()
    payloads = 0
    for event in events:
        if isinstance(event, Head):
            order.check(event.record)
            if payloads:
                raise error(Code.INTERNAL, "a record begins inside a payload")
            payloads = payloads_of(event.record)
            raw = event.raw if event.raw is not None else encode_record(event.record)
            yield cbor.head(cbor.BYTES, len(raw)) + raw
        elif not payloads:
            raise error(Code.INTERNAL, "payload without a record that has one")
        elif isinstance(event, Chunk):
            data = memoryview(event.data)
            for pos in range(0, len(data), model.CHUNK_MAX):
                piece = data[pos : pos + model.CHUNK_MAX]
                yield cbor.head(cbor.BYTES, len(piece)) + piece
        else:
            payloads -= 1
            yield cbor.head(cbor.BYTES, 0)
    if payloads or not order.done:
        raise error(Code.INTERNAL, "the record stream has no end")


# ---- versions (section 5.4) and memory (section 7) ----------------------------------------------------------------

_RUNS: Final = re.compile(r"[0-9]+|[A-Za-z]+")


def _rank(run: str | None) -> tuple[int, int, str]:
    """Sort key of one run. A version that ended stands between one that goes on with letters and one with digits."""
    if run is None:
        return (1, 0, "")
    if run[0].isdigit():
        digits = run.lstrip("0")  # compared by length, then by digits: numbers of any size
        return (2, len(digits), digits)
    return (0, 0, run)


def compare_versions(a: str, b: str) -> int:
    """-1, 0 or 1 as version a is lower than, equal to or higher than b."""
    for x, y in itertools.zip_longest(_RUNS.findall(a), _RUNS.findall(b)):
        if _rank(x) != _rank(y):
            return 1 if _rank(x) > _rank(y) else -1
    return 0


def ram(
    codec: Codec,
    window_log: int,
    *,
    frame_log: int = 16,
    source: bool = True,
    block_buffer: int = 65536,
    workspace: int = 0,
) -> int:
    """Bytes that an applier needs. source: whether any record has one; block_buffer: largest erase block, in bytes;
    workspace: what the preamble states for engines and views.
    """
    window = 1 << window_log
    codecs = {
        Codec.NONE: 0,
        Codec.GZIP: window + 12288,
        Codec.ZSTD: 2 * min(window, 131072) + window + 163840,
        Codec.LZMA: window + 40960,
    }
    engine = max(4096 if source else 0, workspace)
    return (1 << frame_log) + codecs[codec] + model.HEADER_MAX + engine + block_buffer + 131072
