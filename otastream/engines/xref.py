"""Engine xref: references followed, entropy-coded, docs/SPEC.md section 6.3. The work is C, csrc/host and csrc/core."""

from __future__ import annotations

from typing import Final

from otastream.engines.payload import Payload
from otastream.errors import Code, error
from otastream.model import EngineId
from otastream.native import (
    NO_PARTS,
    WINDOW,
    Buffer,
    Decoder,
    LongParts,
    Source,
    XrefOptions,
    diff_xref,
    xref_suits,
    xref_workspace,
)

MODEL_LOGS: Final = range(16, 23)
"""Sizes of the decoder's model that are made: 64 KiB to 4 MiB."""

DEFAULT_LOG: Final = 18

CONTENT_MAX: Final = 0xFFFFFF00
"""Larger old or new content cannot be coded: positions have 32 bits."""


def limits(model_log: int) -> XrefOptions:
    """What a model of this size goes with: an offset map and a list of regions of up to about a fifth of it."""
    return XrefOptions(model_log, spans_max=3 << (model_log - 8), regions_max=1 << min(model_log - 8, 12))


def workspace(model_log: int) -> int:
    """The most that decoding needs with a model of 2^model_log bytes."""
    return xref_workspace(limits(model_log))


def largest(budget: int) -> XrefOptions | None:
    """The largest model whose decoder is content with ``budget`` bytes; None: not even the smallest is."""
    logs = [log for log in MODEL_LOGS if workspace(log) <= budget]
    return limits(logs[-1]) if logs else None


def _suits(data: Buffer, parts: tuple[tuple[int, int], ...]) -> bool:
    whole = memoryview(data).cast("B")
    return xref_suits(whole) or any(xref_suits(whole[start : start + size]) for start, size in parts)


class Xref:
    id = EngineId.XREF
    name = "xref"
    needs_source = True

    def suits(self, old: Buffer, new: Buffer, *, workspace: int, parts: LongParts = NO_PARTS) -> bool:
        """Whether both are programs, as ELF files or images of instructions, or have such among their long parts."""
        if max(memoryview(old).nbytes, memoryview(new).nbytes) > CONTENT_MAX or largest(workspace) is None:
            return False
        return _suits(old, parts.old) and _suits(new, parts.new)

    def encode(
        self,
        old: Buffer,
        new: Buffer,
        *,
        workspace: int = 0,
        parts: LongParts = NO_PARTS,
        folder: str | None = None,
    ) -> Payload:
        """Needs up to 12 bytes of memory for each byte of old and new. workspace 0: that of the default model.

        The payload was decoded and compared before it is returned. LIMIT: more content than the engine can code.
        """
        options = largest(workspace) if workspace else limits(DEFAULT_LOG)
        if options is None:
            raise error(Code.USAGE, f"engine xref cannot be decoded in {workspace} bytes")
        return Payload.written(lambda fd: diff_xref(old, new, fd, options, parts), folder=folder)

    def decoder(self, size: int, *, source: Source | None = None, window: int = WINDOW) -> Decoder:
        """Takes payloads of every model that ``MODEL_LOGS`` has."""
        if source is None:
            raise error(Code.USAGE, "engine xref needs a source")
        return Decoder(self.id, size, source=source, window=window, workspace=workspace(MODEL_LOGS[-1]))


def decoder_in_parts(size: int, source: Source) -> Decoder:
    """The same for the tables and parts of a payload in place."""
    return Decoder(EngineId.XREF, size, source=source, workspace=workspace(MODEL_LOGS[-1]), in_parts=True)
