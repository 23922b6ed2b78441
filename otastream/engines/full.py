"""Engine full: the payload is the new content itself."""

from __future__ import annotations

import os

from otastream.errors import Code, error
from otastream.model import EngineId
from otastream.native import WINDOW, Buffer, Decoder, Source


class Full:
    id = EngineId.FULL
    name = "full"
    needs_source = False

    def diff(self, old: Buffer, new: Buffer, fd: int) -> None:
        del old
        view = memoryview(new).cast("B")
        while view:
            try:
                view = view[os.write(fd, view) :]
            except OSError as exc:
                raise error(Code.OUTPUT, exc.strerror or "") from exc

    def decoder(self, size: int, *, source: Source | None = None, window: int = WINDOW) -> Decoder:
        del source
        return Decoder(self.id, size, window=window)
