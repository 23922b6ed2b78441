"""Packages that every reader must refuse: (name, file) pairs. A name begins with the error that it must raise."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Any

from golden import builder as b
from otastream.engines.in_place import encode_in_place
from otastream.engines.order import least_scratch
from otastream.native import XrefOptions, xref_workspace

_TEXT = b"hello, board\n"
_FULL = b.content(_TEXT)
_PATH = {b.PATH: b"a"}
_FILE = _PATH | _FULL | {b.MODE: 0o644}
_META = _PATH | {b.SIZE: 13, b.DIGEST: 1, b.MODE: 0}
_DELTA = _PATH | {b.SIZE: 13, b.DIGEST: 1, b.MODE: 0, b.ENGINE: 1, b.SOURCE: {b.SIZE: 13}}
_MOVE = _PATH | {b.SIZE: 13, b.DIGEST: 1, b.MODE: 0}
_NODE = {b.TARGETS: [b"/dev/mtd4"]}
_SCRIPT = _FULL | {b.WHEN: 0}
_FILES = b.record(b.FILE, _FILE, _TEXT)
_DIR = b.record(b.DIR, _PATH | {b.MODE: 0o755})
_ITSELF = {b.SIZE: 13, b.DIGEST: b.xxh(b"hello, bored\n")}
_ONTO_ITSELF = {b.TARGETS: [b"/a"], b.SIZE: 13, b.DIGEST: 1, b.SOURCE: _ITSELF, b.UNIT: 4096, b.PLAN: 1}
_NOT_IN_PLACE: dict[str, dict[int, Any]] = {
    "two-targets": {b.TARGETS: [b"/a", b"/b"]},
    "from-a-file": {b.SOURCE: _ITSELF | {b.PATH: b"b"}},
    "from-a-node": {b.SOURCE: _ITSELF | {b.TARGETS: [b"/a"]}},
    "from-nothing": {b.SOURCE: _ITSELF | {b.SIZE: 0}},
    "to-nothing": {b.SIZE: 0},
    "unit-small": {b.UNIT: 2048},
    "unit-large": {b.UNIT: 1 << 27},
    "unit-uneven": {b.UNIT: 12288},
    "unit-bytes": {b.UNIT: b"\0"},
}
_KEYS = [(bytes([number] * 8), bytes([number] * 64)) for number in range(5)]


def _preambles() -> Iterator[tuple[str, bytes]]:
    stream = b.stream(_DIR)
    whole = b.Package(stream).build()
    yield "magic-empty-tar", bytes(1024)
    yield "magic-short", b"\x89OTB"
    yield "magic-text-mode", whole.replace(b"\r\n", b"\n", 1)
    yield "magic-seven-bit", b"\x09" + whole[1:]
    yield "truncated-empty", b""
    yield "truncated-in-magic", whole[:5]
    yield "truncated-in-version", whole[:9]
    yield "truncated-in-head", whole[:40]
    yield "truncated-in-preamble-digest", whole[:96]
    yield "truncated-in-signatures", b.Package(stream, signatures=_KEYS[:2]).build()[:150]
    yield "truncated-no-frames", whole[:97]
    for version in (0, 2, 256):
        yield f"version-{version}", b.Package(stream, version=version).build()
    yield "limit-signatures-5", b.Package(stream, signatures=_KEYS).build()
    yield "limit-signatures-255", b.Package(stream, signature_count=255).build()
    yield "corrupt-preamble", whole[:16] + b"\x01" + whole[17:]
    yield "corrupt-preamble-digest", whole[:96] + bytes([whole[96] ^ 1]) + whole[97:]
    for codec in (4, 255):
        yield f"unsupported-codec-{codec}", b.Package(stream, codec).build()
    for name, codec, windows in (("none", 0, (1,)), ("gzip", 1, (8, 16)), ("zstd", 2, (9, 28)), ("lzma", 3, (11, 28))):
        for window in windows:
            yield f"limit-window-{name}-{window}", b.Package(stream, codec, window).build()
    for log in (0, 9, 17):
        yield f"limit-frame-log-{log}", b.Package(stream, frame_log=log, cuts=[len(stream)]).build()
    yield "format-reserved", b.Package(stream, reserved=b"\1").build()
    yield "format-workspace", b.Package(stream, workspace=74, ram=300_000).build()
    yield "format-length-36", b.Package(stream, length=36).build()
    yield "format-key-ids-fall", b.Package(stream, signatures=[_KEYS[2], _KEYS[1]]).build()
    yield "format-key-ids-same", b.Package(stream, signatures=[_KEYS[2], _KEYS[2]]).build()


def _frames() -> Iterator[tuple[str, bytes]]:
    stream = b.stream(_DIR)
    whole = b.Package(stream).build()
    cut = [10, 20]
    three = b.Package(stream, cuts=cut).build()
    first, second = 97, 97 + 36 + 10
    third = second + 36 + 20
    yield "corrupt-frame-length-0", b.Package(stream, cuts=cut, words={1: 0}).build()
    yield "corrupt-frame-length-last-0", b.Package(stream, words={0: 1 << 31}).build()
    yield "corrupt-frame-length-above", b.Package(stream, words={0: (65536 - 35) | 1 << 31}).build()
    small = b.Package(b.noise(2000), frame_log=10, cuts=[989])
    yield "corrupt-frame-length-above-log", small.build()
    for name, pos in (
        ("payload", first + 40),
        ("next-digest", first + 9),
        ("second", second + 40),
        ("last", third + 4),
    ):
        yield f"corrupt-frame-{name}", three[:pos] + bytes([three[pos] ^ 0x40]) + three[pos + 1 :]
    yield "corrupt-frames-swapped", three[:first] + three[second:third] + three[first:second] + three[third:]
    yield "corrupt-first-digest", b.Package(stream, first=b.ZEROS).build()
    yield "corrupt-last-bit", three[: third + 3] + bytes([three[third + 3] ^ 0x80]) + three[third + 4 :]
    yield "truncated-in-frame-length", three[: second + 2]
    yield "truncated-in-frame-head", three[: second + 20]
    yield "truncated-in-frame", three[: second + 40]
    yield "truncated-between-frames", three[:third]
    yield "truncated-last-byte", whole[:-1]
    yield "format-last-frame-names-next", b.Package(stream, last_next=b"\1" * 32).build()
    yield "format-bytes-after-last-frame", b.Package(stream, tail=b"\0").build()
    yield "format-package-twice", whole + whole
    length = len(whole) - 97
    yield "format-length-above", b.Package(stream, length=length + 1).build()
    yield "format-length-below", b.Package(stream, length=length - 1).build()
    last = {2: len(stream) - 30}
    yield "format-no-last-frame", b.Package(stream, cuts=cut, words=last).build()
    early = {1: 20 | 1 << 31}
    broken = b.Package(stream, cuts=cut, words=early)
    broken.last_next = b.ZEROS
    yield "format-last-frame-early", _early_last(stream)


def _early_last(stream: bytes) -> bytes:
    """Two packages' worth of frames where the first frame says that it is the last."""
    part = b.Package(stream)
    part.length = len(b.Package(stream).frames()[0]) * 2
    return part.build() + part.frames()[0]


def _codecs() -> Iterator[tuple[str, bytes]]:
    stream = b.stream(_FILES)
    stored = b.gzip_stored(stream)
    for name, data in (
        ("damaged", stored[:10] + b"\xff" + stored[11:]),
        ("not-gzip", stream),
        ("crc", stored[:-8] + bytes([stored[-8] ^ 1]) + stored[-7:]),
        ("size", stored[:-1] + b"\1"),
        ("early", stored[:-1]),
        ("early-in-data", stored[:30]),
        ("bytes-after-end", stored + b"\0"),
        ("two-members", stored + b.gzip_stored(b"")),
    ):
        yield f"codec-gzip-{name}", b.Package(data, b.GZIP, 15).build()
    yield "codec-gzip-zlib-header", b.Package(b"\x78\xda" + stored[10:], b.GZIP, 15).build()
    far = b.noise(32000) * 3
    records = b.stream(b.record(b.FILE, _PATH | b.content(far) | {b.MODE: 0}, far))
    yield "codec-gzip-window", b.Package(b.gzip_deflated(records, 15), b.GZIP, 9).build()
    raw = b.zstd_raw(stream)
    for name, data in (
        ("damaged", b.zstd_raw(stream, kind=2)),
        ("reserved-block", b.zstd_raw(stream, kind=3)),
        ("not-zstd", stream),
        ("early", raw[:-1]),
        ("early-in-header", raw[:5]),
        ("early-in-block-header", raw[:8]),
        ("bytes-after-end", raw + b"\0"),
        ("two-frames", raw + raw),
        ("skippable-first", b"\x50\x2a\x4d\x18" + struct.pack("<I", 1) + b"x" + raw),
        ("window", b.zstd_raw(stream, window=18)),
        ("checksum", b.zstd_raw(stream, descriptor=4) + bytes(4)),
        ("dictionary", b.zstd_raw(stream, descriptor=1, after=b"\1")),
        ("reserved-bit", b.zstd_raw(stream, descriptor=8)),
        ("block-above-128k", raw[:6] + ((1 << 17) + 1 << 3 | 3).to_bytes(3, "little") + b"\0"),
    ):
        yield f"codec-zstd-{name}", b.Package(data, b.ZSTD, 17).build()
    chunks = b.lzma_stored(stream)
    coded = b.lzma_library(stream, 17)
    for name, data in (
        ("not-lzma2", stream),
        ("dictionary-not-new", b.lzma_stored(stream, first=2)),
        ("reserved-control", b.lzma_stored(stream, first=3)),
        ("no-properties", bytes([coded[0] & 0x9F]) + coded[1:]),
        ("properties", coded[:5] + bytes([225]) + coded[6:]),
        ("early", chunks[:-1]),
        ("early-in-chunk", chunks[:20]),
        ("early-in-chunk-header", chunks[:2]),
        ("bytes-after-end", chunks + b"\0"),
        ("two-streams", chunks + chunks),
    ):
        yield f"codec-lzma-{name}", b.Package(data, b.LZMA, 17).build()
    yield "codec-lzma-window", b.Package(b.lzma_library(records, 15), b.LZMA, 14).build()


def _outer() -> Iterator[tuple[str, bytes]]:
    whole = b.Package(b.stream(_DIR)).build()
    stored, raw = b.gzip_stored(whole), b.zstd_raw(whole)
    yield "corrupt-outer-gzip", stored[:10] + b"\xff" + stored[11:]
    yield "corrupt-outer-gzip-crc", stored[:-8] + bytes([stored[-8] ^ 1]) + stored[-7:]
    yield "truncated-outer-gzip", stored[:-9]
    yield "corrupt-outer-zstd", b.zstd_raw(whole, kind=3)
    yield "truncated-outer-zstd", raw[:-1]
    yield "format-outer-gzip-bytes-after", stored + b"\0"
    yield "format-outer-zstd-bytes-after", raw + b"\0"
    yield "limit-outer-zstd-window", b.zstd_raw(whole, window=24)
    yield "magic-in-outer-gzip", b.gzip_stored(b"hello, this is no package")
    yield "truncated-in-outer-gzip", b.gzip_stored(whole[:-1])


def _streams() -> Iterator[tuple[str, bytes]]:
    m, end = b.manifest(), b.ENDING
    expect = b.record(b.EXPECT, {b.TYPE: 4, b.VERSION: "1"})

    def script(when: int) -> bytes:
        return b.record(b.SCRIPT, _FULL | {b.WHEN: when}, _TEXT)

    yield "format-no-manifest", _DIR + end
    yield "format-only-end", end
    yield "format-two-manifests", m + m + end
    yield "format-manifest-late", m + _DIR + m + end
    yield "format-no-end", m + _DIR
    yield "format-no-end-after-manifest", m
    yield "format-ends-in-header", m + _DIR[:-2]
    yield "format-ends-in-length", m + b"\x59\x01"
    yield "format-ends-in-payload", m + _FILES[:-1]
    yield "format-ends-in-chunk", m + _FILES[:-4]
    yield "format-record-after-end", m + end + _DIR
    yield "format-byte-after-end", m + end + b"\0"
    yield "format-length-cut-after-end", m + end + b"\x58"
    yield "format-end-as-text", m + b"\x63\x82\x00\xa0"
    yield "format-chunk-as-text", m + _FILES[:-15] + b"\x6d" + _TEXT + b"\x40" + end
    yield "format-expect-after-action", m + _DIR + expect + end
    yield "format-expect-after-begin-script", m + script(1) + expect + end
    yield "format-end-script-after-action", m + _DIR + script(2) + end
    yield "format-two-end-scripts", m + script(2) + script(2) + end
    yield "format-two-begin-scripts", m + script(1) + script(1) + end
    yield "format-begin-script-after-action", m + _DIR + script(1) + end
    yield "format-begin-script-after-inline", m + script(0) + script(1) + end
    yield "format-header-empty", m + b"\x40" + end
    yield "format-text-for-header", m + b"\x61a" + end
    yield "format-number-for-header", m + b"\x01" + end
    yield "format-text-for-chunk", m + _FILES[:-15] + b"\x61a" + end
    yield "format-header-indefinite", m + b"\x5f\x41\x80\xff" + end
    yield "format-header-length-long", m + b"\x58\x03\x82\x00\xa0"
    yield "format-chunk-length-long", m + _FILES[:-15] + b"\x58\x01a\x40" + end
    yield "format-reserved-length", m + b"\x5c" + end
    yield "limit-header", m + b.string(bytes(16385))
    yield "limit-header-huge", m + b"\x5b" + b"\xff" * 8
    yield "limit-chunk", m + _FILES[:-15] + b"\x5a\x00\x01\x00\x01" + bytes(65537)
    yield "limit-chunk-huge", m + _FILES[:-15] + b"\x5b\x7f" + b"\xff" * 7
    yield "format-needs-lacks-kind", b.manifest(["full"]) + _FILES + end
    yield "format-needs-lacks-engine", b.manifest(["file"]) + _FILES + end
    yield "format-needs-lacks-script", b.manifest(["full"]) + script(2) + end


def _encodings() -> Iterator[tuple[str, bytes]]:
    good = b.header(b.DIR, _PATH | {b.MODE: 0})  # 82 08 a2 02 41 61 05 00
    owned = b.header(b.DIR, _PATH | {b.MODE: 0, b.UID: 0, b.GID: 0})[:-1]  # the gid is to come
    for name, header in (
        ("trailing", good + b"\0"),
        ("short", good[:-1]),
        ("array-of-3", b"\x83" + good[1:] + b"\0"),
        ("array-of-1", b"\x81\x00"),
        ("not-an-array", b"\xa1\x00\xa0"),
        ("number", b"\x08"),
        ("kind-text", b"\x82\x61a\xa0"),
        ("fields-array", b"\x82\x08\x80"),
        ("number-long", b"\x82\x18\x08" + good[2:]),
        ("number-long-16", good[:-1] + b"\x19\x00\xff"),
        ("number-long-32", owned + b"\x1a\x00\x00\xff\xff"),
        ("number-long-48", owned + b"\x1b" + bytes(4) + b"\xff\xff\xff\xfe"),
        ("number-long-64", good[:-1] + b"\x1b" + bytes(7) + b"\1"),
        ("string-long", b"\x82\x08\xa2\x02\x58\x01a\x05\x00"),
        ("array-long", b"\x98\x02" + good[1:]),
        ("map-long", b"\x82\x08\xb8\x02" + good[3:]),
        ("keys-fall", b"\x82\x08\xa2\x05\x00\x02\x41a"),
        ("key-twice", b"\x82\x08\xa3\x02\x41a\x05\x00\x05\x00"),
        ("key-text", b"\x82\x08\xa2\x02\x41a\x61b\x00"),
        ("key-negative", b"\x82\x08\xa2\x02\x41a\x20\x00"),
        ("tag", b"\x82\x08\xa2\x02\x41a\x05\xc1\x00"),
        ("tagged-record", b"\xd9\xd9\xf7" + good),
        ("negative", good[:-1] + b"\x20"),
        ("bool", good[:-1] + b"\xf4"),
        ("null", good[:-1] + b"\xf6"),
        ("float", good[:-1] + b"\xf9\x00\x00"),
        ("indefinite-array", b"\x9f" + good[1:] + b"\xff"),
        ("indefinite-map", b"\x82\x08\xbf" + good[3:] + b"\xff"),
        ("indefinite-string", b"\x82\x08\xa2\x02\x5f\x41a\xff\x05\x00"),
        ("break", good[:-1] + b"\xff"),
        ("nested-deep", b"\x82\x08\xa3\x02\x41a\x05\x00\x0d\x81\x82\x81\x40\x40"),
        ("string-past-end", b"\x82\x08\xa2\x05\x00\x02\x5b\x7f" + b"\xff" * 7),
        ("array-past-end", b"\x9b\x7f" + b"\xff" * 7),
    ):
        yield f"format-cbor-{name}", b.string(header)
    label = b.header(b.DIR, _PATH | {b.MODE: 0, b.LABEL: "ab"})
    for name, text in (("bad", b"\xff\xfe"), ("cut", b"a\xc3"), ("over-long", b"\xc0\xaf")):
        yield f"format-utf8-{name}", b.string(label.replace(b"ab", text))
    surrogate = b.header(b.DIR, _PATH | {b.MODE: 0, b.LABEL: "abc"})
    yield "format-utf8-surrogate", b.string(surrogate.replace(b"abc", b"\xed\xa0\x80"))


def _without(fields: dict[int, Any], key: int) -> dict[int, Any]:
    return {other: value for other, value in fields.items() if other != key}


def _unsupported() -> Iterator[tuple[str, bytes]]:
    payload = _TEXT
    yield "kind-12", b.record(12, {})
    yield "kind-huge", b.record(2**64 - 1, {})
    yield "field-60", b.record(b.DIR, _PATH | {b.MODE: 0, 60: 0})
    yield "field-env-in-dir", b.record(b.DIR, _PATH | {b.MODE: 0, b.ENV_CHANGES: [[b"a"]]})
    yield "field-mask-in-env", b.record(b.ENV, {b.ENV_CHANGES: [[b"a"]], b.MASK: 0})
    yield "field-label-in-expect-env", b.record(b.EXPECT, {b.TYPE: 6, b.ENV_CHANGES: [[b"a"]], b.LABEL: "x"})
    yield "field-mask-in-file", b.record(b.FILE, _FILE | {b.MASK: 0}, payload)
    yield "field-mask-in-tree", b.record(b.EXPECT, {b.TYPE: 1, b.PATH: b"a", b.OLD: [0], b.NEW: [4], b.MASK: 0})
    yield "field-parents-in-dir", b.record(b.DIR, _PATH | {b.MODE: 0, b.PARENTS: 1})
    yield "field-0", b.record(b.DIR, _PATH | {b.MODE: 0, 0: 0})
    yield "field-huge", b.record(b.DIR, _PATH | {b.MODE: 0, 2**64 - 1: 0})
    yield "field-of-other-kind", b.record(b.DIR, _PATH | {b.MODE: 0, b.SIZE: 0})
    yield "field-of-other-expect", b.record(b.EXPECT, {b.TYPE: 3, b.COMPATIBLE: ["a"], b.SIZE: 1})
    yield "field-in-end", b.record(b.END, {b.LABEL: "x"})
    yield "field-in-source", b.record(b.FILE, _DELTA | {b.SOURCE: {b.SIZE: 1, b.MODE: 1}})
    yield "engine-3", b.record(b.FILE, _FILE | {b.ENGINE: 3}, payload)
    yield "engine-of-script", b.record(b.SCRIPT, _SCRIPT | {b.ENGINE: 1}, payload)
    yield "old-view-2", b.record(b.FILE, _DELTA | {b.OLD_VIEW: 2}, b"")
    yield "new-view-7", b.record(b.FILE, _DELTA | {b.NEW_VIEW: 7}, b"")
    yield "state-5", b.record(b.EXPECT, {b.TYPE: 1, b.PATH: b"a", b.OLD: [5], b.NEW: [0]})
    for number in (0, 99):
        yield f"expect-type-{number}", b.record(b.EXPECT, {b.TYPE: number})
    yield "when-3", b.record(b.SCRIPT, _SCRIPT | {b.WHEN: 3}, payload)
    for number in (0, 3):
        yield f"delete-type-{number}", b.record(b.DELETE, _PATH | {b.TYPE: number})
    yield "link-type-2", b.record(b.LINK, _PATH | {b.TYPE: 2, b.TO: b"b"})


def _fallbacks() -> Iterator[tuple[str, bytes]]:
    """Records with a fallback. The source of the delta is another one than readers are tried with."""
    needs = b.manifest(["block", "bsdiff", "dir", "fallback", "file", "full"])
    known = _PATH | b.content(_TEXT) | {b.MODE: 0, b.ENGINE: 1, b.SOURCE: {b.SIZE: 13, b.DIGEST: 1}}
    delta = b.triple([(13, b"")], b"")
    flagged = known | {b.FALLBACK: 1}
    right = b.record(b.FILE, flagged, delta) + b.chunks(_TEXT)
    for name, number in (("0", 0), ("2", 2), ("bytes", b"")):
        yield f"format-fallback-{name}", needs + b.record(b.FILE, known | {b.FALLBACK: number}, delta) + b.ENDING
    full = b.record(b.FILE, _FILE | {b.FALLBACK: 1}, _TEXT) + b.chunks(_TEXT)
    yield "format-fallback-of-full", needs + full + b.ENDING
    loose = b.record(b.FILE, flagged | {b.SOURCE: {b.SIZE: 13}}, delta) + b.chunks(_TEXT)
    yield "format-fallback-source-without-digest", needs + loose + b.ENDING
    in_place = b.record(b.BLOCK, _ONTO_ITSELF | {b.ENGINE: 1, b.FALLBACK: 1}, b"") + b.chunks(_TEXT)
    yield "format-fallback-in-place", needs + in_place + b.ENDING
    meta = b.record(b.FILE, _META | {b.FALLBACK: 1}) + b.chunks(_TEXT)
    yield "format-fallback-without-payload", needs + meta + b.ENDING
    for lacking in ("fallback", "full"):
        names = [name for name in ("bsdiff", "fallback", "file", "full") if name != lacking]
        yield f"format-fallback-needs-lacks-{lacking}", b.manifest(names) + right + b.ENDING
    alone = b.record(b.FILE, flagged, delta)
    yield "format-fallback-missing", needs + alone
    yield "format-fallback-is-a-record", needs + alone + b.ENDING  # its header is taken for a chunk
    yield "unsupported-fallback-of-dir", needs + b.record(b.DIR, _PATH | {b.MODE: 0, b.FALLBACK: 1}) + b.ENDING
    yield "delta-fallback-short", needs + alone + b.chunks(_TEXT[:-1]) + b.ENDING
    yield "delta-fallback-long", needs + alone + b.chunks(_TEXT + b"\0") + b.ENDING


def _missing() -> Iterator[tuple[str, bytes]]:
    """Each required field left out once."""
    kinds = {
        "script": (b.SCRIPT, _SCRIPT),
        "block": (b.BLOCK, _NODE | _FULL),
        "ubi": (b.UBI, _NODE | _FULL),
        "file": (b.FILE, _META),
        "delete": (b.DELETE, _PATH | {b.TYPE: 1}),
        "dir": (b.DIR, _PATH | {b.MODE: 0}),
        "link": (b.LINK, _PATH | {b.TYPE: 0, b.TO: b"b"}),
        "move": (b.MOVE, _MOVE | {b.SOURCE: {b.PATH: b"b", b.SIZE: 13, b.DIGEST: 1}}),
        "tree": (b.EXPECT, {b.TYPE: 1, b.PATH: b"a", b.OLD: [0], b.NEW: [4]}),
        "node": (b.EXPECT, {b.TYPE: 2, b.TARGETS: [b"/dev/a"], b.SIZE: 1, b.DIGEST: 1}),
        "board": (b.EXPECT, {b.TYPE: 3, b.COMPATIBLE: ["a"]}),
        "version": (b.EXPECT, {b.TYPE: 4, b.VERSION: "1"}),
        "in-place": (b.EXPECT, _ONTO_ITSELF | {b.TYPE: 5, b.SCRATCH: 1}),
        "block-in-place": (b.BLOCK, _ONTO_ITSELF | {b.ENGINE: 1}),
        "expect-env": (b.EXPECT, {b.TYPE: 6, b.ENV_CHANGES: [[b"a"]]}),
        "env": (b.ENV, {b.ENV_CHANGES: [[b"a"]]}),
    }
    for name, (kind, fields) in kinds.items():
        for key in fields:
            yield f"{name}-without-{key}", b.record(kind, _without(fields, key))


def _types() -> Iterator[tuple[str, bytes]]:
    """Values of the wrong type or out of range."""
    tree = {b.TYPE: 1, b.PATH: b"a", b.OLD: [0], b.NEW: [4]}
    changes: dict[str, dict[int, Any]] = {
        "path-text": {b.PATH: "a"},
        "size-bytes": {b.SIZE: b"1"},
        "size-above": {b.SIZE: 2**63},
        "digest-text": {b.DIGEST: "1"},
        "mode-above": {b.MODE: 0o10000},
        "uid-above": {b.UID: 2**32 - 1, b.GID: 0},
        "gid-above": {b.UID: 0, b.GID: 2**32 - 1},
        "uid-alone": {b.UID: 0},
        "gid-alone": {b.GID: 0},
        "xattrs-map": {b.XATTRS: {}},
        "xattrs-triple": {b.XATTRS: [[b"a", b"b", b"c"]]},
        "xattrs-text": {b.XATTRS: [["a", b"b"]]},
        "xattrs-name-empty": {b.XATTRS: [[b"", b"b"]]},
        "xattrs-name-256": {b.XATTRS: [[b"a" * 256, b"b"]]},
        "xattrs-name-nul": {b.XATTRS: [[b"a\0b", b""]]},
        "xattrs-fall": {b.XATTRS: [[b"b", b""], [b"a", b""]]},
        "xattrs-twice": {b.XATTRS: [[b"a", b""], [b"a", b""]]},
        "label-empty": {b.LABEL: ""},
        "label-513": {b.LABEL: "x" * 513},
        "label-bytes": {b.LABEL: b"x"},
        "links-0": {b.LINKS: 0},
        "links-2": {b.LINKS: 2},
        "parents-0": {b.PARENTS: 0},
        "parents-2": {b.PARENTS: 2},
        "source-without-engine": {b.SOURCE: {b.SIZE: 1}},
        "root-text": {b.ROOT: "/"},
    }
    for name, change in changes.items():
        yield f"file-{name}", b.record(b.FILE, _META | change)
    deltas: dict[str, dict[int, Any]] = {
        "source-with-full": {b.ENGINE: 0},
        "source-not-a-map": {b.SOURCE: 1},
        "source-node": {b.SOURCE: {b.SIZE: 1, b.TARGETS: [b"/dev/a"]}},
        "source-root-alone": {b.SOURCE: {b.ROOT: b"/a", b.SIZE: 1}},
        "source-path-and-node": {b.SOURCE: {b.PATH: b"a", b.SIZE: 1, b.TARGETS: [b"/dev/a"]}},
        "source-without-size": {b.SOURCE: {b.PATH: b"a"}},
        "source-empty": {b.SOURCE: {}},
        "source-size-above": {b.SOURCE: {b.SIZE: 2**63}},
        "old-view-0": {b.OLD_VIEW: 0},
        "new-view-0": {b.NEW_VIEW: 0},
        "view-not-needed": {b.OLD_VIEW: 1},
        "note-empty": {35: ""},
        "note-long": {35: "n" * 256},
        "engine-text": {b.ENGINE: "bsdiff"},
    }
    for name, change in deltas.items():
        yield f"file-{name}", b.record(b.FILE, _DELTA | change, b"")
    yield "view-without-source", b.record(b.FILE, _PATH | {b.MODE: 0, b.NEW_VIEW: 1} | b.content(b"abc"), b"abc")
    yield "file-delta-without-source", b.record(b.FILE, _without(_DELTA, b.SOURCE), b"")
    for name, nodes in {
        "none": [],
        "9": [b"/dev/%d" % number for number in range(9)],
        "twice": [b"/dev/a", b"/dev/b", b"/dev/a"],
        "text": ["/dev/a"],
        "bytes": b"/dev/a",
    }.items():
        yield f"targets-{name}", b.record(b.BLOCK, _FULL | {b.TARGETS: nodes}, _TEXT)
    masks: dict[str, Any] = {"beyond-targets": 2, "above": 256, "huge": 2**64 - 1, "bytes": b"\1"}
    for name, mask in masks.items():
        yield f"mask-{name}", b.record(b.BLOCK, _NODE | _FULL | {b.MASK: mask}, _TEXT)
    for name, change in _NOT_IN_PLACE.items():
        yield f"block-in-place-{name}", b.record(b.BLOCK, _ONTO_ITSELF | {b.ENGINE: 1} | change, b"")
        yield f"expect-in-place-{name}", b.record(b.EXPECT, _ONTO_ITSELF | {b.TYPE: 5, b.SCRATCH: 1} | change)
    node = {b.TYPE: 2, b.SIZE: 1, b.DIGEST: 1, b.MASK: 2}
    yield "mask-of-expect-beyond-targets", b.record(b.EXPECT, _NODE | node)
    two = {b.SIZE: 1, b.TARGETS: [b"/dev/a", b"/dev/b"]}
    yield "block-source-two-nodes", b.record(b.BLOCK, _NODE | _FULL | {b.ENGINE: 1, b.SOURCE: two}, b"")
    for name, state in {
        "empty": [],
        "number": 0,
        "text": ["0"],
        "absent-with-size": [0, 1],
        "file-without-digest": [1, 1],
        "file-size-above": [1, 2**63, 0],
        "dir-with-mode": [2, 0o755],
        "link-without-text": [3],
        "link-empty": [3, b""],
        "link-nul": [3, b"a\0b"],
        "link-4097": [3, b"a" * 4097],
        "link-utf8": [3, "a"],
    }.items():
        yield f"state-{name}", b.record(b.EXPECT, tree | {b.OLD: state})
    known = {b.SIZE: 1, b.DIGEST: 1}
    yield "expect-source-without-digest", b.record(b.EXPECT, tree | {b.SOURCE: {b.SIZE: 1}})
    yield "expect-tree-source-node", b.record(b.EXPECT, tree | {b.SOURCE: known | {b.TARGETS: [b"/dev/a"]}})
    yield "expect-type-text", b.record(b.EXPECT, tree | {b.TYPE: "tree"})
    for name, names in {"none": [], "65": ["a"] * 65, "empty": [""], "256": ["a" * 256], "bytes": [b"a"]}.items():
        yield f"compatible-{name}", b.record(b.EXPECT, {b.TYPE: 3, b.COMPATIBLE: names})
    yield "version-empty", b.record(b.EXPECT, {b.TYPE: 4, b.VERSION: ""})
    yield "move-source-self", b.record(b.MOVE, _MOVE | {b.SOURCE: known})
    yield "move-source-node", b.record(b.MOVE, _MOVE | {b.SOURCE: known | {b.TARGETS: [b"/dev/a"]}})
    yield "move-source-without-digest", b.record(b.MOVE, _MOVE | {b.SOURCE: {b.PATH: b"b", b.SIZE: 1}})
    for name, to in {"empty": b"", "nul": b"a\0", "4097": b"a" * 4097, "text": "a"}.items():
        yield f"link-to-{name}", b.record(b.LINK, _PATH | {b.TYPE: 0, b.TO: to})


def _paths() -> Iterator[tuple[str, bytes]]:
    bad = {
        "empty": b"",
        "absolute": b"/a",
        "trailing-slash": b"a/",
        "double-slash": b"a//b",
        "dot": b"a/./b",
        "dot-dot": b"a/../../b",
        "dot-dot-alone": b"..",
        "nul": b"a\0b",
        "name-256": b"a" * 256,
        "4097": b"/".join([b"p" * 255] * 15 + [b"p" * 128, b"p" * 128]),
        "depth-65": b"/".join([b"d"] * 65),
        "staging": b"etc/.otastream-new",
        "staging-parent": b".otastream-new/a",
    }
    for name, path in bad.items():
        yield name, b.record(b.DIR, {b.PATH: path, b.MODE: 0})
    for name, root in {
        "empty": b"",
        "relative": b"a",
        "dot-dot": b"/a/..",
        "slash-slash": b"//",
        "slash": b"/a/",
    }.items():
        yield f"root-{name}", b.record(b.DIR, _PATH | {b.ROOT: root, b.MODE: 0})
    for name, node in {"slash": b"/", "relative": b"dev/a", "dot-dot": b"/dev/../a", "empty": b""}.items():
        yield f"node-{name}", b.record(b.BLOCK, _FULL | {b.TARGETS: [node]}, _TEXT)
    yield "source", b.record(b.FILE, _DELTA | {b.SOURCE: {b.PATH: b"../a", b.SIZE: 1}}, b"")
    yield "source-root", b.record(b.FILE, _DELTA | {b.SOURCE: {b.ROOT: b"a", b.PATH: b"a", b.SIZE: 1}}, b"")
    source = {b.SIZE: 1, b.TARGETS: [b"/dev/../mem"]}
    yield "source-node", b.record(b.BLOCK, _NODE | _FULL | {b.ENGINE: 1, b.SOURCE: source}, b"")
    for name, to in {"dot-dot": b"../a", "absolute": b"/etc/a", "empty-name": b"a//b"}.items():
        yield f"hard-link-{name}", b.record(b.LINK, _PATH | {b.TYPE: 1, b.TO: to})
    expect = {b.TYPE: 1, b.OLD: [0], b.NEW: [0]}
    yield "expect", b.record(b.EXPECT, expect | {b.PATH: b"a/.."})


def _environments() -> Iterator[tuple[str, bytes]]:
    """Changes of the environment that no record may have."""
    cases: dict[str, Any] = {
        "map": {},
        "nothing": [],
        "many": [[b"%03d" % number] for number in range(257)],
        "name-alone": [b"a"],
        "of-none": [[]],
        "of-three": [[b"a", b"b", b"c"]],
        "name-empty": [[b"", b"1"]],
        "name-256": [[b"a" * 256, b"1"]],
        "name-equals": [[b"a=b", b"1"]],
        "name-blank": [[b"a b", b"1"]],
        "name-newline": [[b"a\n", b"1"]],
        "name-nul": [[b"a\0", b"1"]],
        "name-utf8": [["\xe4".encode(), b"1"]],
        "name-text": [["a", b"1"]],
        "value-empty": [[b"a", b""]],
        "value-4097": [[b"a", b"v" * 4097]],
        "value-nul": [[b"a", b"1\0b=2"]],
        "value-newline": [[b"a", b"1\nb=2"]],
        "value-del": [[b"a", b"\x7f"]],
        "value-number": [[b"a", 1]],
        "fall": [[b"b", b"1"], [b"a", b"1"]],
        "twice": [[b"a", b"1"], [b"a"]],
    }
    for name, changes in cases.items():
        yield f"env-{name}", b.record(b.ENV, {b.ENV_CHANGES: changes})
    yield "expect-env-nothing", b.record(b.EXPECT, {b.TYPE: 6, b.ENV_CHANGES: []})


def _manifests() -> Iterator[tuple[str, bytes]]:
    good: dict[int, Any] = {b.RECORDS: 0, b.BYTES: 0, b.NEEDS: []}
    for key in good:
        yield f"format-manifest-without-{key}", b.record(b.MANIFEST, _without(good, key))
    changes: dict[str, dict[int, Any]] = {
        "format-manifest-name-empty": {b.NAME: ""},
        "format-manifest-name-256": {b.NAME: "x" * 256},
        "format-manifest-version-bytes": {b.VERSION: b"1"},
        "format-manifest-created-text": {b.CREATED: "now"},
        "format-manifest-records-above": {b.RECORDS: 2**32},
        "format-manifest-bytes-above": {b.BYTES: 2**63},
        "format-needs-fall": {b.NEEDS: ["full", "file"]},
        "format-needs-twice": {b.NEEDS: ["file", "file"]},
        "format-needs-empty-name": {b.NEEDS: [""]},
        "format-needs-33": {b.NEEDS: ["x" * 33]},
        "format-needs-bytes": {b.NEEDS: [b"file"]},
        "format-needs-text": {b.NEEDS: "file"},
        "unsupported-needs-engine": {b.NEEDS: ["file", "xyz"]},
        "unsupported-needs-kind": {b.NEEDS: ["manifest"]},
        "unsupported-manifest-field": {b.LABEL: "x"},
    }
    for name, change in changes.items():
        yield name, b.record(b.MANIFEST, good | change)


def _payloads() -> Iterator[tuple[str, bytes]]:
    """Payloads that do not make what their record says; old has 13 bytes, new has 13."""
    for name, data in {"short": _TEXT[:-1], "long": _TEXT + b"x", "none": b""}.items():
        yield f"full-{name}", b.record(b.FILE, _FILE, data)
    nothing = b.content(b"") | _PATH | {b.MODE: 0}
    yield "full-for-nothing", b.record(b.FILE, nothing, b"x")
    t = b.triple
    for name, delta in {
        "short": t([(12, b"")], b""),
        "empty": b"",
        "trailing": t([(13, b"")], b"") + b"\0",
        "triple-after-end": t([(13, b"")], b"") + t([], b"x"),
        "triple-of-nothing": t([], b"") + t([(13, b"")], b""),
        "cut-in-varint": b"\x8d",
        "cut-in-run": b.varint(13) + b.varint(0) + b.varint(0) + b.varint(10),
        "cut-in-literals": t([(5, b"")], b"12345678")[:-1],
        "add-beyond-old": t([], b"xy", 3) + t([(11, b"")], b""),
        "add-beyond-new": t([(5, b"")], b"12345") + t([(4, b"")], b""),
        "literals-beyond-new": t([(5, b"")], b"123456789"),
        "sum-beyond-new": t([(13, b"")], b"x"),
        "seek-before-old": t([(13, b"")], b"", -1),
        "seek-beyond-old": t([(1, b"")], b"123456789012", 14),
        "seek-huge": t([(1, b"")], b"123456789012", 2**62),
        "run-above-add": b.varint(12) + b.varint(1) + b.varint(0) + b.varint(13) + b.varint(0) + b"x",
        "differences-above-add": b.varint(2)
        + b.varint(11)
        + b.varint(0)
        + b.varint(1)
        + b.varint(2)
        + b"ab"
        + b"l" * 11,
        "same-0-later": t([(6, b"a"), (0, b"b"), (5, b"")], b""),
        "differences-0-early": t([(6, b""), (7, b"")], b""),
        "run-of-nothing": t([(0, b""), (13, b"")], b""),
        "varint-long-form": b"\x8d\x00" + t([(13, b"")], b"")[1:],
        "varint-65-bits": b"\xff" * 9 + b"\x7f" + bytes(4),
        "varint-2-63": b.varint(2**63) + bytes(4),
        "lengths-overflow": b.varint(2**63 - 1) + b.varint(2**63 - 1) + bytes(4),
    }.items():
        yield f"bsdiff-{name}", b.record(b.FILE, _DELTA, delta)


def _segments() -> Iterator[tuple[str, bytes]]:
    """Segments that do not make what their record says; old has 13 bytes, new has 13, so there is one unit."""
    good = b.triple([(13, b"")], b"")
    s, old = b.segment, b"hello, bored\n"
    for name, payload in {
        "unit-beyond": s(1, old, good),
        "unit-before": s(-1, old, good),
        "unit-huge": s(2**61, old, good),
        "twice": s(0, old, good) + s(-1, old, good),
        "short": s(0, old, b.triple([(12, b"")], b"")),
        "long": s(0, old, good + b"\0"),
        "beyond-unit": s(0, old, b.triple([(13, b"")], b"x")),
        "nothing": s(0, old, b""),
        "cut": s(0, old, good)[:-1],
        "cut-in-head": s(0, old, good)[:5],
        "cut-in-number": b"\x80",
        "range-beyond-old": s(0, old, good, kept=[(5, 9)], last=1),
        "range-beyond-unit": s(0, old, good, kept=[(14, 1)], last=1),
        "range-of-nothing": s(0, old, good, kept=[(5, 0)], last=1),
        "range-huge": s(0, old, good, kept=[(2**62, 2**62)], last=1),
        "kept-for-no-segment": s(0, old, good, kept=[(5, 1)], last=0),
        "kept-too-long": s(0, old, good, kept=[(5, 1)], last=2),
        "kept-129": s(0, old, b"", kept=[(0, 1)] * 129, last=1),
        "number-long-form": b"\x80\0" + s(0, old, good)[1:],
    }.items():
        yield f"in-place-{name}", b.record(b.BLOCK, _ONTO_ITSELF | {b.ENGINE: 1}, payload)


_XREF = XrefOptions(12, spans_max=64, regions_max=16)


def _xref_segments() -> Iterator[tuple[str, bytes]]:
    """The same for engine xref, whose tables stand in front."""
    made = encode_in_place(b"hello, bored\n", b"hello, board\n", unit=4096, scratch=least_scratch(4096), xref=_XREF)
    with made.payload:
        good = b"".join(bytes(chunk) for chunk in made.payload.chunks())
    tables, segments = good[1 : 1 + good[0]], good[1 + good[0] :]
    v = b.varint
    for name, payload in {
        "without-tables": b"",
        "tables-cut": good[:8],
        "tables-of-nothing": v(0) + segments,
        "tables-short": v(len(tables) - 1) + tables[:-1] + segments,
        "tables-long": v(len(tables) + 1) + tables + b"\0" + segments,
        "tables-huge": v(2**62) + tables + segments,
        "model-too-small": v(len(tables)) + b"\x0b" + tables[1:] + segments,
        "no-region": v(len(tables)) + tables[:2] + b"\0" + tables[3:] + segments,
        "unit-beyond": good[: 1 + len(tables)] + v(2) + segments[1:],
        "cut": good[:-1],
    }.items():
        yield f"in-place-xref-{name}", b.record(b.BLOCK, _ONTO_ITSELF | {b.ENGINE: 2, b.PLAN: 2}, payload)


def packages() -> Iterator[tuple[str, bytes]]:
    for part in (_preambles, _frames, _codecs, _outer):
        yield from part()
    for name, records in (*_streams(), *_fallbacks()):
        yield name, b.Package(records).build()
    for name, record in _encodings():
        yield name, b.Package(b.stream(record)).build()
    groups = (
        ("unsupported", _unsupported),
        ("format", _missing),
        ("format", _types),
        ("format", _environments),
        ("path", _paths),
        ("delta", _payloads),
        ("delta", _segments),
    )
    for code, group in groups:
        for name, record in group():
            yield f"{code}-{name}", b.Package(b.stream(record)).build()
    units = -(-xref_workspace(_XREF) // 4096)
    for name, record in _xref_segments():
        yield f"delta-{name}", b.Package(b.stream(record), workspace=units, ram=1 << 20).build()
    for name, record in _manifests():
        yield name, b.Package(record + b.ENDING).build()
    many = _ONTO_ITSELF | {b.ENGINE: 1, b.SIZE: 4096 << 16}
    yield "limit-units", b.Package(b.stream(b.record(b.BLOCK, many, b""))).build()
    big = _FULL | {b.WHEN: 0, b.SIZE: (1 << 20) + 1}
    yield "limit-script", b.Package(b.stream(b.record(b.SCRIPT, big, _TEXT))).build()
