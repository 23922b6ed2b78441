"""Payloads of engine xref that every decoder must accept or refuse: ``python -m golden.xref_vectors`` in the folder
tests writes ``xref.json``. Bytes are hexadecimal; workspace is what the decoder is given.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any, Final

from code_samples import pair, types
from golden import builder as b
from otastream.native import XrefOptions, diff_xref, xref_workspace

FILE: Final = Path(__file__).parent / "xref.json"
_OPTIONS: Final = XrefOptions(12, spans_max=64, regions_max=16)


def workspace(options: XrefOptions) -> int:
    return xref_workspace(options)


def payload(old: bytes, new: bytes, options: XrefOptions = _OPTIONS) -> bytes:
    with tempfile.TemporaryFile() as file:
        diff_xref(old, new, file.fileno(), options)
        file.seek(0)
        return file.read()


def _good() -> dict[str, Any]:
    old, new = pair(8)
    old, new = old[:64] + old[0x1000:], new[:64] + new[0x1000:]  # without the padding
    text = b.noise(400)
    was, now = (_short(program) for program in pair(14))
    image = text[:90] + was + text[90:140] + was[:500] + text[140:]
    pairs = {
        "programs": (image, text[:80] + now + text[80:130] + was + text[120:300]),
        "empty": (old, b""),
        "from-nothing": (b"", text[:50]),
        "same": (text, text),
        "code": (old, new),
        "raw": (text, text[:100] + b"inserted" + text[90:200] + b"\0" * 40 + text[210:]),
        "numbers": (types(40), types(40, more=1)),
        "moved": (text, text[200:] + text[:200]),
    }
    made = {}
    for name, (before, after) in pairs.items():
        coded = payload(before, after)
        made[name] = _case(before, after, coded)
    return made


def _short(program: bytes) -> bytes:
    """A sound ELF file without its padding."""
    made = bytearray(program[:120] + program[0x1000:])
    made[96:112] = len(made).to_bytes(8, "little") * 2
    return bytes(made)


def _case(old: bytes, new: bytes, coded: bytes) -> dict[str, Any]:
    return {"old": old.hex(), "new": new.hex(), "payload": coded.hex(), "workspace": xref_workspace(_OPTIONS)}


def _bad_sections() -> dict[str, tuple[bytes, str]]:
    """Payloads that have sections where there is nothing of the kind."""
    good = bytes.fromhex(_good()["programs"]["payload"])
    assert good[0] == 0x2C
    return {
        "sections-that-are-none": (b"\x2c" + payload(b.noise(400), b.noise(300))[1:], "DELTA"),
        "sections-of-another-size": (good, "DELTA"),
        "sections-and-a-small-model": (b"\x2b" + good[1:], "DELTA"),
        "model-log-64": (b"\x4c" + good[1:], "DELTA"),
    }


def _bad() -> dict[str, Any]:
    text = b.noise(400)
    new = text[:100] + b"inserted" + text[90:]
    good = payload(text, new)
    head, coded = good[:5], good[5:]
    assert head[4] < 128
    assert head[4] == len(coded)
    cases = {
        "model-too-small": (b"\x0b" + good[1:], "DELTA"),
        "model-too-large": (b"\x17" + good[1:], "DELTA"),
        "no-region": (good[:2] + b"\0" + good[3:], "DELTA"),
        "nine-segments": (good[:3] + b"\x09" + good[4:], "DELTA"),
        "memory": (b"\x16" + good[1:], "RAM"),
        "cut": (good[:-1], "DELTA"),
        "coded-bytes-missing": (head[:4] + bytes([head[4] - 8]) + coded[:-8], "DELTA"),
        "coded-bytes-left": (head[:4] + bytes([head[4] + 9]) + coded + b"\1" * 9, "DELTA"),
        "after-the-end": (good + b"\0", "DELTA"),
        "nothing": (b"", "DELTA"),
        "varint-long-form": (b"\x8c\x00" + good[1:], "DELTA"),
        "spans-that-lie": (good[:1] + b"\x20" + good[2:], "DELTA"),
        **_bad_sections(),
    }
    return {
        name: {
            "old": text.hex(),
            "size": len(new),
            "payload": bad.hex(),
            "workspace": xref_workspace(_OPTIONS),
            "error": error,
        }
        for name, (bad, error) in cases.items()
    }


def package(*, workspace: int) -> bytes:
    """A package with one xref record: /a goes from old to new of ``pair``. workspace: units in the preamble."""
    old, new = pair()
    fields = {b.PATH: b"a", b.MODE: 0o644, b.SIZE: len(new), b.DIGEST: b.xxh(new), b.ENGINE: 2}
    fields[b.SOURCE] = {b.SIZE: len(old)}
    records = b.stream(b.record(b.FILE, fields, payload(old, new)))
    return b.Package(records, workspace=workspace, ram=1 << 20).build()


def vectors() -> dict[str, Any]:
    return {"good": _good(), "bad": _bad()}


if __name__ == "__main__":
    FILE.write_text(json.dumps(vectors(), indent=1) + "\n")
