"""Engine full: the payload is the new content itself."""

from __future__ import annotations

from otastream.engines.payload import Payload
from otastream.model import EngineId
from otastream.native import NO_PARTS, WINDOW, Buffer, Decoder, LongParts, Source


class Full:
    id = EngineId.FULL
    name = "full"
    needs_source = False

    def suits(self, old: Buffer, new: Buffer, *, workspace: int, parts: LongParts = NO_PARTS) -> bool:
        del old, new, workspace, parts
        return True

    def encode(
        self,
        old: Buffer,
        new: Buffer,
        *,
        workspace: int = 0,
        parts: LongParts = NO_PARTS,
        folder: str | None = None,
    ) -> Payload:
        """The payload is a view of ``new``; old is not looked at."""
        del old, workspace, parts, folder
        return Payload(new)

    def decoder(self, size: int, *, source: Source | None = None, window: int = WINDOW) -> Decoder:
        del source
        return Decoder(self.id, size, window=window)
