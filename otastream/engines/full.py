"""Engine full: the payload is the new content itself."""

from __future__ import annotations

from otastream.engines.payload import Payload
from otastream.model import EngineId
from otastream.native import WINDOW, Buffer, Decoder, Source


class Full:
    id = EngineId.FULL
    name = "full"
    needs_source = False

    def suits(self, old: Buffer, new: Buffer, *, workspace: int) -> bool:
        del old, new, workspace
        return True

    def encode(self, old: Buffer, new: Buffer, *, workspace: int = 0, folder: str | None = None) -> Payload:
        """The payload is a view of ``new``; old is not looked at."""
        del old, workspace, folder
        return Payload(new)

    def decoder(self, size: int, *, source: Source | None = None, window: int = WINDOW) -> Decoder:
        del source
        return Decoder(self.id, size, window=window)
