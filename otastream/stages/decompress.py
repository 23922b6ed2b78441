"""Stage: authentic frames -> record stream (docs/SPEC.md section 3.1)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

from otastream.container import Frame
from otastream.errors import Code, error
from otastream.inflate import Fault, InflateError, gunzip, unlzma, unzstd
from otastream.model import Codec, Preamble

_DETAILS: Final = {fault: f"the stream {fault.value}" for fault in Fault}


def decompress(items: Iterable[Preamble | Frame]) -> Iterator[bytes]:
    """The preamble, then frames -> bytes of the record stream, in pieces of at most 128 KiB.

    The codec and its window are those of the preamble. Errors: CODEC, also if the stream does not end exactly with the
    last frame; and what the items raise.
    """
    return _decompress(iter(items))


def _decompress(items: Iterator[Preamble | Frame]) -> Iterator[bytes]:
    preamble = next(items)
    if not isinstance(preamble, Preamble):
        raise error(Code.INTERNAL, "frames without a preamble")
    payloads = (item.payload for item in items if isinstance(item, Frame))
    try:
        if preamble.codec is Codec.NONE:
            yield from payloads
        elif preamble.codec is Codec.GZIP:
            yield from gunzip(payloads, window_log=preamble.window_log)
        elif preamble.codec is Codec.LZMA:
            yield from unlzma(payloads, window_log=preamble.window_log)
        else:
            yield from unzstd(payloads, window_log=preamble.window_log, plain=True)
    except InflateError as failure:
        raise error(Code.CODEC, _DETAILS[failure.fault]) from None
