"""How a payload is coded: one Protocol, one table.

An engine turns (old, new) into a payload on the packing side and gives a decoder for it. What a record does with the
decoded content is not its concern.
"""

from __future__ import annotations

import mmap
import os
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final, Protocol

from otastream.engines.bsdiff import Bsdiff
from otastream.engines.full import Full
from otastream.engines.payload import Payload
from otastream.engines.xref import Xref
from otastream.errors import Code, error
from otastream.model import EngineId
from otastream.native import NO_PARTS, WINDOW, Buffer, Decoder, LongParts, Source

__all__ = ["ENGINES", "Engine", "Payload", "load"]


class Engine(Protocol):
    @property
    def id(self) -> EngineId: ...

    @property
    def name(self) -> str:
        """As the manifest's ``needs`` has it."""

    @property
    def needs_source(self) -> bool:
        """Whether the payload can only be decoded with the old content at hand."""

    def suits(self, old: Buffer, new: Buffer, *, workspace: int, parts: LongParts = NO_PARTS) -> bool:
        """Whether ``encode`` can be expected to gain anything, with that many bytes for decoding."""

    def encode(
        self,
        old: Buffer,
        new: Buffer,
        *,
        workspace: int = 0,
        parts: LongParts = NO_PARTS,
        folder: str | None = None,
    ) -> Payload:
        """The payload that makes new from old, the same bytes for the same input. To be closed by the caller.

        workspace: bytes that decoding may use (docs/SPEC.md section 7); an engine that wants none does not look at it.
        parts: long parts of old and new that were expanded; decoding then goes seldom to and fro in those of old.
        Large payloads are spooled to an unnamed file in ``folder`` (None: the system's folder for temporary files).
        Raises RAM and OUTPUT.
        """

    def decoder(self, size: int, *, source: Source | None = None, window: int = WINDOW) -> Decoder:
        """A decoder that makes ``size`` bytes of new content; it reads old in pieces of ``window`` bytes."""


ENGINES: Final[Mapping[EngineId, Engine]] = MappingProxyType(
    {engine.id: engine for engine in (Full(), Bsdiff(), Xref())}
)


def load(fd: int, size: int) -> Buffer:
    """A private copy of the first ``size`` bytes of an open file, for ``encode``.

    A copy and not a mapping of the file: one that becomes shorter while it is mapped ends the process by SIGBUS, and
    one that changes would give a delta that fits neither version. Raises CHANGED when the file is not ``size`` bytes.
    """
    if os.fstat(fd).st_size != size:
        raise error(Code.CHANGED)
    if size == 0:  # nothing can be mapped then
        return b""
    memory = mmap.mmap(-1, size)  # unlike a bytearray, given back to the system as soon as it is dropped
    view = memoryview(memory)
    done = 0
    while done < size:
        got = os.preadv(fd, [view[done:]], done)
        if got == 0:
            raise error(Code.CHANGED)
        done += got
    return memory
