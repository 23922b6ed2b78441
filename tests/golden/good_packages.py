"""Packages that every reader must accept: (name, file) pairs."""

from __future__ import annotations

import gzip
import hashlib
from collections.abc import Iterator, Mapping

import zstandard
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from code_samples import pair
from golden import builder as b
from otastream.engines.in_place import encode_in_place
from otastream.engines.order import least_scratch
from otastream.native import XrefOptions

_TEXT = b"hello, board\n"
_OLD = b"hello, bored\n"
_SCRIPT = b"#!/bin/sh\nexit 0\n"
_DELTA = b.triple([(8, bytes((n - o) % 256 for n, o in zip(_TEXT[8:11], _OLD[8:11], strict=True)))], _TEXT[11:])
_SELF = {b.SIZE: len(_OLD)}
_SELF_KNOWN = {b.SIZE: len(_OLD), b.DIGEST: b.xxh(_OLD)}
_FILE_SOURCE = {b.ROOT: b"/config", b.PATH: b"old", b.SIZE: len(_OLD), b.DIGEST: b.xxh(_OLD)}
_NODE_SOURCE = {b.SIZE: len(_OLD), b.DIGEST: b.xxh(_OLD), b.TARGETS: [b"/dev/mtd4"]}
_FULL = b.content(_TEXT)
_META = {b.SIZE: len(_TEXT), b.DIGEST: b.xxh(_TEXT)}
_SEGMENT = b.segment(0, _TEXT, _DELTA)
_DELTA_FIELDS = _META | {b.ENGINE: 1}


def _expects() -> Mapping[str, bytes]:
    """One record for each kind, and for each type of expect."""
    tree = {b.TYPE: 1, b.PATH: b"etc/a"}
    node = {b.TYPE: 2, b.TARGETS: [b"/dev/mtd4"], **_META}
    return {
        "expect-tree-file": b.record(b.EXPECT, tree | {b.OLD: [1, 13, b.xxh(_OLD)], b.NEW: [1, 13, b.xxh(_TEXT)]}),
        "expect-tree-states": b"".join(
            b.record(b.EXPECT, tree | {b.OLD: old, b.NEW: new})
            for old, new in (([0], [2]), ([2], [0]), ([3, b"../x"], [4]), ([4], [3, b"\xff"]))
        ),
        "expect-tree-source": b.record(
            b.EXPECT, tree | {b.ROOT: b"/config", b.OLD: [4], b.NEW: [0], b.SOURCE: _FILE_SOURCE}
        ),
        "expect-node": b.record(b.EXPECT, node),
        "expect-node-source": b.record(b.EXPECT, node | {b.SOURCE: _NODE_SOURCE}),
        "expect-node-self": b.record(b.EXPECT, node | {b.SOURCE: _SELF_KNOWN}),
        "expect-node-mask": b.record(
            b.EXPECT, node | {b.TARGETS: [b"/dev/mtd4", b"/dev/mtd5"], b.MASK: 2, b.SOURCE: _NODE_SOURCE}
        ),
        "expect-in-place": b.record(
            b.EXPECT,
            node | {b.TYPE: 5, b.SOURCE: _SELF_KNOWN, b.UNIT: 1 << 16, b.SCRATCH: 77824, b.PLAN: b.xxh(_SEGMENT)},
        ),
        "expect-tree-label": b.record(b.EXPECT, tree | {b.OLD: [4], b.NEW: [0], b.LABEL: "x" * 512}),
        "expect-node-label": b.record(b.EXPECT, node | {b.LABEL: "root file system"}),
        "expect-env": b.record(b.EXPECT, {b.TYPE: 6, b.ENV_CHANGES: [[b"a"], [b"b", b'\xff "$;=']]}),
        "expect-board": b.record(b.EXPECT, {b.TYPE: 3, b.COMPATIBLE: ["acme,ipc-4", "größe"]}),
        "expect-version": b.record(b.EXPECT, {b.TYPE: 4, b.VERSION: "1.0rc1"}),
    }


def _in_place_kept() -> bytes:
    """Two units change places: the first keeps what the second is made of."""
    old = b.noise(8192)
    new = old[4096:] + old[:4096]
    first = b.triple([(4096, b"")], b"", 4096)
    second = b.triple([(4096, b"")], b"")
    payload = b.segment(0, new[:4096], first, kept=[(0, 4096)], last=1) + b.segment(0, new[4096:], second)
    return b.record(
        b.BLOCK,
        {
            b.TARGETS: [b"/dev/mtd4"],
            b.SIZE: len(new),
            b.DIGEST: b.xxh(new),
            b.ENGINE: 1,
            b.SOURCE: {b.SIZE: len(old), b.DIGEST: b.xxh(old)},
            b.UNIT: 4096,
            b.PLAN: b.xxh(payload),
        },
        payload,
    )


def _in_place_xref(old: bytes, new: bytes) -> bytes:
    """By engine xref: the tables, then the segments."""
    options = XrefOptions(12, spans_max=64, regions_max=16)
    made = encode_in_place(old, new, unit=4096, scratch=least_scratch(4096), xref=options)
    with made.payload:
        payload = b"".join(bytes(chunk) for chunk in made.payload.chunks())
    fields = {b.TARGETS: [b"/dev/mtd4"], b.SIZE: len(new), b.DIGEST: b.xxh(new), b.ENGINE: 2, b.UNIT: made.unit}
    source = {b.SIZE: len(old), b.DIGEST: b.xxh(old)}
    return b.record(b.BLOCK, fields | {b.SOURCE: source, b.PLAN: made.plan}, payload)


def _kinds() -> Mapping[str, bytes]:
    path = {b.PATH: b"etc/a"}
    meta = {b.MODE: 0o4755, b.UID: 0, b.GID: 2**32 - 2, b.XATTRS: [[b"user.a", b""], [b"user.b", b"\0\xff"]]}
    delta = _DELTA_FIELDS | {b.SOURCE: _SELF}
    nodes = {b.TARGETS: [b"/dev/mtd4", b"/dev/mtd5"]}
    move = path | {b.SOURCE: _FILE_SOURCE, b.SIZE: len(_OLD), b.DIGEST: b.xxh(_OLD)}
    return {
        "empty": b"",
        "script-begin": b.record(b.SCRIPT, b.content(_SCRIPT) | {b.WHEN: 1}, _SCRIPT),
        "script-end": b.record(b.SCRIPT, b.content(_SCRIPT) | {b.WHEN: 2, b.LABEL: "reboot"}, _SCRIPT),
        "script-inline": b.record(b.SCRIPT, b.content(_SCRIPT) | {b.WHEN: 0}, _SCRIPT),
        "block": b.record(b.BLOCK, nodes | _FULL | {b.LABEL: "root file system"}, _TEXT),
        "block-delta": b.record(b.BLOCK, nodes | _DELTA_FIELDS | {b.SOURCE: _NODE_SOURCE}, _DELTA),
        "block-delta-self": b.record(b.BLOCK, nodes | delta, _DELTA),
        "block-in-place": b.record(
            b.BLOCK,
            _DELTA_FIELDS | {b.TARGETS: [b"/dev/mtd4"], b.SOURCE: _SELF_KNOWN, b.UNIT: 4096, b.PLAN: b.xxh(_SEGMENT)},
            _SEGMENT,
        ),
        "block-in-place-kept": _in_place_kept(),
        "block-in-place-xref": _in_place_xref(_OLD, _TEXT),
        "block-in-place-xref-units": _in_place_xref(*pair(16)),
        "block-mask": b.record(b.BLOCK, nodes | _FULL | {b.MASK: 3}, _TEXT)
        + b.record(b.BLOCK, nodes | _DELTA_FIELDS | {b.SOURCE: _SELF, b.MASK: 2}, _DELTA)
        + b.record(b.BLOCK, nodes | _FULL | {b.MASK: 0}, _TEXT),
        "ubi-mask": b.record(b.UBI, {b.TARGETS: [b"/dev/ubi0_0", b"/dev/ubi0_1"], b.MASK: 1} | _FULL, _TEXT),
        "ubi": b.record(b.UBI, {b.TARGETS: [b"/dev/ubi0_1"]} | _FULL, _TEXT),
        "ubi-delta": b.record(b.UBI, {b.TARGETS: [b"/dev/ubi0_1"]} | _DELTA_FIELDS | {b.SOURCE: _FILE_SOURCE}, _DELTA),
        "file": b.record(b.FILE, path | _FULL | {b.MODE: 0o644}, _TEXT),
        "file-fields": b.record(
            b.FILE, path | _FULL | meta | {b.ROOT: b"/config", b.LINKS: 1, b.LABEL: "x" * 512}, _TEXT
        ),
        "file-parents": b.record(b.FILE, path | _FULL | {b.MODE: 0o644, b.PARENTS: 1}, _TEXT),
        "file-empty": b.record(b.FILE, path | b.content(b"") | {b.MODE: 0}, b""),
        "file-meta": b.record(b.FILE, path | _META | meta),
        "file-delta": b.record(b.FILE, path | delta | {b.MODE: 0o644}, _DELTA),
        "delete": b.record(b.DELETE, path | {b.TYPE: 1}) + b.record(b.DELETE, {b.PATH: b"etc", b.TYPE: 2}),
        "dir": b.record(b.DIR, path | {b.MODE: 0o755}) + b.record(b.DIR, path | meta | {b.ROOT: b"/config"}),
        "link-symbolic": b.record(b.LINK, path | {b.TYPE: 0, b.TO: b"../\xff//b/", b.UID: 1, b.GID: 2}),
        "link-hard": b.record(b.LINK, path | {b.TYPE: 1, b.TO: b"etc/b"}),
        "move": b.record(b.MOVE, move | meta) + b.record(b.MOVE, move | {b.MODE: 0o600, b.ROOT: b"/config"}),
    }


def _limits() -> Iterator[tuple[str, bytes]]:
    """Records at the edge of what is allowed."""
    name, deep = b"n" * 255, b"/".join([b"d"] * 64)
    long = b"/".join([b"p" * 255] * 15 + [b"p" * 127, b"p" * 128])  # 4096 bytes
    assert len(long) == 4096
    raw = b"/".join([b"a b", b"line\nbreak", b"\xff\xfe", b"-rf", b"...", b" ", b"caf\xc3\xa9"])
    for what, path in (("name", name), ("depth", deep), ("path", long), ("odd-names", raw)):
        yield f"limit-{what}", b.stream(b.record(b.DIR, {b.PATH: path, b.MODE: 0o755}))
    rest = len(b.header(b.DIR, {b.PATH: b"a", b.MODE: 0, b.XATTRS: [[b"user.a", bytes(16000)]]})) - 16000
    fat = {b.PATH: b"a", b.MODE: 0, b.XATTRS: [[b"user.a", bytes(16384 - rest)]]}
    assert len(b.header(b.DIR, fat)) == 16384
    yield "limit-header", b.stream(b.record(b.DIR, fat))
    zeros = bytes(70000)
    file = {b.PATH: b"a", b.MODE: 0, **b.content(zeros)}
    yield "limit-chunk", b.stream(b.record(b.FILE, file, zeros))
    yield "chunks-of-one", b.stream(b.record(b.FILE, {b.PATH: b"a", b.MODE: 0, **_FULL}, _TEXT, cut=1))
    nodes = [b"/dev/mtd%d" % number for number in range(8)]
    yield "limit-targets", b.stream(b.record(b.BLOCK, {b.TARGETS: nodes, **_FULL}, _TEXT))
    names = ["n" * 250] * 63 + ["n" * 255]
    board = b.record(b.EXPECT, {b.TYPE: 3, b.COMPATIBLE: names})
    yield "limit-compatible", b.stream(board)
    huge = b.record(b.EXPECT, {b.TYPE: 1, b.PATH: b"a", b.OLD: [1, 2**63 - 1, 2**64 - 1], b.NEW: [0]})
    yield "limit-size", b.stream(huge)
    full = {b.RECORDS: 2**32 - 1, b.BYTES: 2**63 - 1, b.NEEDS: [], b.CREATED: 2**64 - 1, b.NAME: "n" * 255}
    yield "limit-manifest", b.record(b.MANIFEST, full) + b.ENDING
    tail = b.record(b.SCRIPT, b.content(_SCRIPT) | {b.WHEN: 2}, _SCRIPT)
    begin = b.record(b.SCRIPT, b.content(_SCRIPT) | {b.WHEN: 1}, _SCRIPT)
    inline = b.record(b.SCRIPT, b.content(_SCRIPT) | {b.WHEN: 0}, _SCRIPT)
    expect = b.record(b.EXPECT, {b.TYPE: 4, b.VERSION: "1"})
    yield "order", b.stream(expect, tail, expect, begin, inline, inline)


def _environments() -> Iterator[tuple[str, bytes]]:
    """Records env, at the edge of what is allowed too."""
    many = [[b"%03d" % number] for number in range(256)]
    long = [[b"!" * 255, b"v" * 4096], [b"~"]]
    records = [b.record(b.ENV, {b.ENV_CHANGES: changes}) for changes in ([[b"a", b"1"]], many, long)]
    records.append(b.record(b.ENV, {b.ENV_CHANGES: [[b"a"]], b.LABEL: "boot"}))
    yield "env", b.manifest(["env"]) + b"".join(records) + b.ENDING


def _fallbacks() -> Iterator[tuple[str, bytes]]:
    """Deltas with their content in full behind them."""
    flagged = _DELTA_FIELDS | {b.FALLBACK: 1}
    nodes = {b.TARGETS: [b"/dev/mtd4", b"/dev/mtd5"], b.MASK: 2}
    kinds = {
        "block": b.record(b.BLOCK, nodes | flagged | {b.SOURCE: _NODE_SOURCE}, _DELTA) + b.chunks(_TEXT),
        "ubi": b.record(b.UBI, {b.TARGETS: [b"/dev/ubi0_1"]} | flagged | {b.SOURCE: _FILE_SOURCE}, _DELTA)
        + b.chunks(_TEXT, cut=1),
        "file": b.record(b.FILE, {b.PATH: b"a", b.MODE: 0o644, b.SOURCE: _SELF_KNOWN} | flagged, _DELTA)
        + b.chunks(_TEXT)
        + b.record(b.FILE, {b.PATH: b"b", b.MODE: 0o644} | _FULL, _TEXT),
    }
    for name, records in kinds.items():
        yield f"fallback-{name}", b.manifest(sorted({name, "bsdiff", "fallback", "file", "full"})) + records + b.ENDING


def _deltas() -> Iterator[tuple[str, bytes]]:
    """Payloads of engine bsdiff that use each part of the coding."""
    cases = {
        "literals": (b.triple([], b"new"), 3),
        "seeks": (b.triple([(2, b"")], b"x", 9) + b.triple([(1, b"ab"), (1, b"")], b"", -5), 7),
        "runs": (b.triple([(0, b"\1\2"), (3, b"\3"), (1, b"")], b"yz"), 9),
        "long": (b.triple([(13, b"")], b.noise(300)), 313),
        "nothing": (b"", 0),
    }
    for name, (payload, size) in cases.items():
        fields = {b.PATH: b"a", b.MODE: 0, b.SIZE: size, b.DIGEST: 1, b.ENGINE: 1, b.SOURCE: _SELF}
        yield f"bsdiff-{name}", b.stream(b.record(b.FILE, fields, payload))


def _containers() -> Iterator[tuple[str, bytes]]:
    """Frames, codecs, windows, signatures, outer layers."""
    data = b.noise(3000)
    records = b.stream(b.record(b.FILE, {b.PATH: b"a", b.MODE: 0, **b.content(data)}, data))
    zeros = bytes(200_000)
    large = b.stream(b.record(b.FILE, {b.PATH: b"a", b.MODE: 0, **b.content(zeros)}, zeros))
    yield "frames-several", b.Package(records, frame_log=10).build()
    yield "frames-of-one-byte", b.Package(b.stream(), cuts=[1] * (len(b.stream()) - 1)).build()
    yield "frames-uneven", b.Package(records, frame_log=10, cuts=[7, 300]).build()
    pad = 988 * 2 - len(b.stream(b.record(b.DIR, {b.PATH: b"a", b.MODE: 0, b.XATTRS: [[b"u", bytes(1800)]]})))
    full = b.stream(b.record(b.DIR, {b.PATH: b"a", b.MODE: 0, b.XATTRS: [[b"u", bytes(1800 + pad)]]}))
    assert len(full) == 2 * 988
    yield "frames-full", b.Package(full, frame_log=10).build()
    for window in (9, 15):
        yield f"gzip-window-{window}", b.Package(b.gzip_deflated(large, window), b.GZIP, window).build()
    for window in (10, 17, 27):
        yield f"zstd-window-{window}", b.Package(b.zstd_library(large, window), b.ZSTD, window).build()
    for window in (12, 18, 27):
        yield f"lzma-window-{window}", b.Package(b.lzma_library(large, window), b.LZMA, window).build()
    yield "lzma-properties", b.Package(b.lzma_library(records, 16, lc=1, lp=3, pb=4), b.LZMA, 16).build()
    yield "lzma-frames", b.Package(b.lzma_stored(records), b.LZMA, 17, frame_log=10).build()
    yield "zstd-frames", b.Package(b.zstd_raw(records), b.ZSTD, 17, frame_log=10).build()
    yield "gzip-frames", b.Package(b.gzip_stored(records), b.GZIP, 15, frame_log=10).build()
    yield "ram-none", b.Package(b.stream(), ram=0).build()
    yield "workspace", b.Package(b.stream(), ram=300_000, workspace=73).build()
    for count in (1, 4):
        yield f"signatures-{count}", signed(b.Package(b.stream()), count)
    plain = b.Package(records).build()
    yield "outer-gzip", gzip.compress(plain, 9, mtime=0)
    yield "outer-gzip-name", b"\x1f\x8b\x08\x08\0\0\0\0\2\3a.ota\0" + b.gzip_stored(plain)[10:]
    yield "outer-zstd", zstandard.ZstdCompressor(level=3, write_checksum=True).compress(plain)
    yield "outer-zstd-window", b.zstd_raw(plain, window=23)


def signed(package: b.Package, count: int) -> bytes:
    """Signed with test keys whose seed is their number."""
    keys = [Ed25519PrivateKey.from_private_bytes(bytes([number + 1] * 32)) for number in range(count)]
    message = b"otastream-v1\0\0\0\0" + package.head(package.frames())
    pairs = []
    for key in keys:
        public = key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
        pairs.append((hashlib.sha256(public).digest()[:8], key.sign(message)))
    package.signatures = sorted(pairs)
    return package.build()


def packages() -> Iterator[tuple[str, bytes]]:
    for name, part in {**_kinds(), **_expects()}.items():
        records = b.stream(part)
        yield f"{name}-none", b.Package(records).build()
        yield f"{name}-gzip", b.Package(b.gzip_stored(records), b.GZIP, 15).build()
        yield f"{name}-zstd", b.Package(b.zstd_raw(records), b.ZSTD, 17).build()
    for name, records in (*_limits(), *_environments(), *_fallbacks(), *_deltas()):
        yield name, b.Package(records).build()
    yield from _containers()
