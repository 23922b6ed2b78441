"""Stage: bytes of a package -> its preamble and authentic frames (docs/SPEC.md sections 2 and 3)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from otastream.container import Frame, FrameReader, signed_bytes
from otastream.errors import Code, error
from otastream.model import Preamble

Keys = Mapping[bytes, bytes]
"""Trusted keys: key id -> raw Ed25519 public key of 32 bytes. Empty: unsigned packages are accepted."""


def verify(
    pieces: Iterable[bytes | memoryview], *, keys: Keys | None = None, memory: int | None = None
) -> Iterator[Preamble | Frame]:
    """The preamble first, then the frames; nothing is given before its digest was found right.

    keys: with at least one, a package must have a signature by one of them, and that signature must be right. memory:
    bytes that there are for applying, None where nobody knows.
    Errors: MAGIC, VERSION, TRUNCATED, CORRUPT, FORMAT, UNSUPPORTED, LIMIT; UNSIGNED, KEY, SIGNATURE; RAM.
    """
    return _verify(pieces, dict(keys or {}), memory)


def _verify(
    pieces: Iterable[bytes | memoryview], keys: Mapping[bytes, bytes], memory: int | None
) -> Iterator[Preamble | Frame]:
    reader = FrameReader()
    for piece in pieces:
        for item in reader.feed(piece):
            if isinstance(item, Preamble):
                _check_signatures(item, keys)
                _check_memory(item, memory)
            yield item
    reader.close()


def _check_signatures(preamble: Preamble, keys: Mapping[bytes, bytes]) -> None:
    if not keys:
        return
    if not preamble.signatures:
        raise error(Code.UNSIGNED)
    known = [(key_id, signature) for key_id, signature in preamble.signatures if key_id in keys]
    if not known:
        raise error(Code.KEY, ", ".join(key_id.hex() for key_id, _ in preamble.signatures))
    for key_id, signature in known:
        try:
            Ed25519PublicKey.from_public_bytes(keys[key_id]).verify(signature, signed_bytes(preamble))
        except InvalidSignature:
            raise error(Code.SIGNATURE, key_id.hex()) from None


def _check_memory(preamble: Preamble, memory: int | None) -> None:
    if memory is not None and preamble.ram > memory:
        raise error(Code.RAM, f"applying needs {preamble.ram} bytes, {memory} are available")
