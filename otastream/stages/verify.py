"""Stage: bytes of a package -> its preamble and authentic frames (docs/SPEC.md sections 2 and 3)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from otastream.container import Frame, FrameReader, signed_bytes
from otastream.errors import Code, error
from otastream.keys import Keys, signed_by
from otastream.model import Preamble


def verify(
    pieces: Iterable[bytes | memoryview], *, keys: Keys | None = None, memory: int | None = None
) -> Iterator[Preamble | Frame]:
    """The preamble first, then the frames; nothing is given before its digest was found right.

    keys: with at least one, a package must have a signature by one of them, and that signature must be right. memory:
    bytes that there are for applying, None where nobody knows.
    Errors: MAGIC, VERSION, TRUNCATED, CORRUPT, FORMAT, UNSUPPORTED, LIMIT; UNSIGNED, KEY, SIGNATURE; RAM.
    """
    return _verify(pieces, dict(keys or {}), memory)


def first(items: Iterator[Preamble | Frame]) -> Preamble:
    """The preamble, taken from the front of what ``verify`` gives; the frames are left."""
    preamble = next(items)
    if not isinstance(preamble, Preamble):
        raise error(Code.INTERNAL, "frames without a preamble")
    return preamble


def _verify(pieces: Iterable[bytes | memoryview], keys: Keys, memory: int | None) -> Iterator[Preamble | Frame]:
    reader = FrameReader()
    for piece in pieces:
        for item in reader.feed(piece):
            if isinstance(item, Preamble):
                _check_signatures(item, keys)
                _check_memory(item, memory)
            yield item
    reader.close()


def _check_signatures(preamble: Preamble, keys: Keys) -> None:
    if not keys:
        return
    if not preamble.signatures:
        raise error(Code.UNSIGNED)
    known = [(key_id, signature) for key_id, signature in preamble.signatures if key_id in keys]
    if not known:
        raise error(Code.KEY, ", ".join(key_id.hex() for key_id, _ in preamble.signatures))
    for key_id, signature in known:
        if not signed_by(keys[key_id], signature, signed_bytes(preamble)):
            raise error(Code.SIGNATURE, key_id.hex())


def _check_memory(preamble: Preamble, memory: int | None) -> None:
    if memory is not None and preamble.ram > memory:
        raise error(Code.RAM, f"applying needs {preamble.ram} bytes, {memory} are available")
