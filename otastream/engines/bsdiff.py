"""Engine bsdiff: add/copy/seek triples, docs/SPEC.md section 6.2. Matching and coding are C, csrc/host."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from otastream.engines.payload import Payload
from otastream.errors import Code, error
from otastream.model import EngineId
from otastream.native import NO_PARTS, WINDOW, Buffer, Decoder, LongParts, Source, diff_bsdiff, diff_bsdiff_part

WINDOWED: Final = 32 << 20

Part = Callable[[int, int], Buffer]
"""Gives a stretch of a content: position, length."""


class Bsdiff:
    id = EngineId.BSDIFF
    name = "bsdiff"
    needs_source = True

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
        """Needs up to 6 bytes of memory for each byte of old, besides old and new."""
        del workspace
        return Payload.written(lambda fd: diff_bsdiff(old, new, fd, parts), folder=folder)

    def encode_parts(
        self, old: Part, new: Part, sizes: tuple[int, int], *, window: int = WINDOWED, folder: str | None = None
    ) -> Payload:
        """The same for contents of ``sizes`` bytes that do not fit into memory.

        New is read in pieces of ``window`` bytes, from the first to the last; each is made from a stretch of old of
        three times that size around the place where the piece before ended, so what moved further is sent anew. Needs
        up to 22 bytes of memory for each byte of the window.
        """

        def write(fd: int) -> None:
            at = 0
            for start in range(0, sizes[1], window):
                base = max(0, min(at - window, sizes[0] - 3 * window))
                stretch = old(base, min(3 * window, sizes[0] - base))
                _, at = diff_bsdiff_part(stretch, new(start, min(window, sizes[1] - start)), fd, base, at)

        return Payload.written(write, folder=folder, large=True)

    def decoder(self, size: int, *, source: Source | None = None, window: int = WINDOW) -> Decoder:
        if source is None:
            raise error(Code.USAGE, "engine bsdiff needs a source")
        return Decoder(self.id, size, source=source, window=window)
