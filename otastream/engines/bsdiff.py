"""Engine bsdiff: add/copy/seek triples, docs/SPEC.md section 6.2. Matching and coding are C, csrc/host."""

from __future__ import annotations

from otastream.engines.payload import Payload
from otastream.errors import Code, error
from otastream.model import EngineId
from otastream.native import WINDOW, Buffer, Decoder, Source, diff_bsdiff


class Bsdiff:
    id = EngineId.BSDIFF
    name = "bsdiff"
    needs_source = True

    def encode(self, old: Buffer, new: Buffer, *, folder: str | None = None) -> Payload:
        """Needs up to 6 bytes of memory for each byte of old, besides old and new."""
        return Payload.written(lambda fd: diff_bsdiff(old, new, fd), folder=folder)

    def decoder(self, size: int, *, source: Source | None = None, window: int = WINDOW) -> Decoder:
        if source is None:
            raise error(Code.USAGE, "engine bsdiff needs a source")
        return Decoder(self.id, size, source=source, window=window)
