#!/usr/bin/env python3
"""Write csrc/board/selftest_data.h: two small signed packages that `otaunpack --self-test` applies, and what encoders
of image parts make of a sample (those that the packer has not are left out).

    selftestdata.py [OUT]

The first (gzip) makes a folder and a file; the second (zstd) changes the file by a delta, adds a link and runs a
script.
They are built record by record with the builder of the golden vectors, so they do not depend on the packer.
"""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

HERE = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(HERE), str(HERE / "tests")]

from golden import builder as b  # noqa: E402
from otastream.model import CodingId  # noqa: E402
from otastream.views import codings  # noqa: E402
from otastream.views.sample import sample  # noqa: E402

OLD = b"otastream self-test: the old content\n"
NEW = b"otastream self-test: the new content, and more\n"
KEY = Ed25519PrivateKey.from_private_bytes(b"otastream self-test, no secret!!")


SAMPLE = 20_000
LOG = 15  # of the longest part that encoders have to be ready for
ENCODERS = (
    codings.deflate(9, wrapped=True),
    codings.deflate(6, wrapped=False, memory=9, window=12),
    *(codings.gnuzip(level) for level in (1, 6, 9)),
    codings.jffs2(3, longest=LOG),
    codings.xz(dictionary=7, longest=LOG),
    codings.xz(dictionary=7, longest=LOG, branch=7),
    codings.zstd(level=15, longest=LOG),
    codings.zstd(level=3, longest=LOG, checked=True),
    codings.lz4(0, longest=LOG),
    codings.lz4(12, longest=LOG),
    codings.lzo(8, longest=LOG, optimized=True),
    codings.lzo(0, longest=LOG),
)


def first() -> bytes:
    return b.stream(
        b.record(b.EXPECT, {b.TYPE: 1, b.PATH: b"etc/file", b.OLD: [4], b.NEW: [1, len(OLD), b.xxh(OLD)]}),
        b.record(b.DIR, {b.PATH: b"etc", b.MODE: 0o755}),
        b.record(b.FILE, {b.PATH: b"etc/file", b.MODE: 0o640, **b.content(OLD)}, OLD),
    )


def second() -> bytes:
    same = next(i for i, (old, new) in enumerate(zip(OLD, NEW, strict=False)) if old != new)
    delta = b.triple([(same, bytes((NEW[i] - OLD[i]) % 256 for i in range(same, same + 3)))], NEW[same + 3 :])
    script = b'echo "$OTA_STATUS" >"$OTA_ROOT/etc/status"\n'
    source = {b.SIZE: len(OLD), b.DIGEST: b.xxh(OLD)}
    new = {b.SIZE: len(NEW), b.DIGEST: b.xxh(NEW)}
    states = {b.OLD: [1, len(OLD), b.xxh(OLD)], b.NEW: [1, len(NEW), b.xxh(NEW)]}
    return b.stream(
        b.record(b.EXPECT, {b.TYPE: 1, b.PATH: b"etc/file", b.SOURCE: source, **states}),
        b.record(b.SCRIPT, {b.WHEN: 2, **b.content(script)}, script),
        b.record(b.FILE, {b.PATH: b"etc/file", b.MODE: 0o600, b.ENGINE: 1, b.SOURCE: source, **new}, delta),
        b.record(b.LINK, {b.PATH: b"etc/link", b.TYPE: 0, b.TO: b"file"}),
    )


def signed(package: b.Package) -> bytes:
    public = KEY.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
    message = b"otastream-v1\0\0\0\0" + package.head(package.frames())
    package.signatures = [(hashlib.sha256(public).digest()[:8], KEY.sign(message))]
    return package.build()


def array(name: str, data: bytes) -> str:
    lines = [", ".join(f"0x{byte:02x}" for byte in data[at : at + 18]) for at in range(0, len(data), 18)]
    return f"static const uint8_t {name}[] = {{\n    " + ",\n    ".join(lines) + ",\n};\n"


def text(name: str, data: str) -> str:
    lines = [f'    "{line}\\n"' for line in data.splitlines()]
    return f"static const char {name}[] =\n" + "\n".join(lines) + ";\n"


def encoders() -> str:
    """Rows of coding, parameters, and XXH64 of what the sample becomes."""
    names = {CodingId.DEFLATE: "DEFLATE", CodingId.GNUZIP: "GNUZIP", CodingId.JFFS2: "JFFS2", CodingId.XZ: "XZ",
             CodingId.ZSTD: "ZSTD", CodingId.LZ4: "LZ4", CodingId.LZO: "LZO"}  # fmt: skip
    rows = []
    for coding in ENCODERS:
        if coding.id in codings.present():
            answer = b.xxh(codings.encode(coding, sample(SAMPLE)))
            rows.append(f"    {{OTA_CODING_{names[coding.id]}, {coding.params}u, 0x{answer:016x}u}},\n")
        else:
            print(f"left out, since it is not here: {names[coding.id]}", file=sys.stderr)
    fields = "    uint8_t coding;\n    uint32_t params;\n    uint64_t answer;\n"
    head = f"#define SELFTEST_SAMPLE {SAMPLE}u\n\nstatic const struct {{\n{fields}}} selftest_encoders[] = {{\n"
    return head + "".join(rows) + "};\n"


def header() -> str:
    gzip = signed(b.Package(b.gzip_deflated(first(), 9), b.GZIP, 9, frame_log=10))
    zstd = signed(b.Package(b.zstd_library(second(), 10), b.ZSTD, 10, frame_log=10))
    pem = KEY.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
    parts = [
        "/* selftest_data.h - written by scripts/selftestdata.py: packages, key and known answers of --self-test. */",
        "/* clang-format off */\n#include <stdint.h>\n",
        text("selftest_key", pem),
        text("selftest_old", OLD.decode()),
        text("selftest_new", NEW.decode()),
        array("selftest_first", gzip),
        array("selftest_second", zstd),
        encoders(),
    ]
    return "\n".join(parts) + "/* clang-format on */\n"


def main() -> int:
    out = Path(sys.argv[1]) if len(sys.argv) > 1 else HERE / "csrc/board/selftest_data.h"
    out.write_text(header())
    return 0


if __name__ == "__main__":
    sys.exit(main())
