"""How a payload is coded: one Protocol, one table.

An engine turns (old, new) into a payload on the packing side and gives a decoder for it. What a record does with the
decoded content is not its concern.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final, Protocol

from otastream.engines.bsdiff import Bsdiff
from otastream.engines.full import Full
from otastream.model import EngineId
from otastream.native import WINDOW, Buffer, Decoder, Source

__all__ = ["ENGINES", "Engine"]


class Engine(Protocol):
    @property
    def id(self) -> EngineId: ...

    @property
    def name(self) -> str:
        """As the manifest's ``needs`` has it."""

    @property
    def needs_source(self) -> bool:
        """Whether the payload can only be decoded with the old content at hand."""

    def diff(self, old: Buffer, new: Buffer, fd: int) -> None:
        """Write the payload that makes ``new`` from ``old`` to ``fd``: the same bytes for the same input.

        The buffers must not change meanwhile: hand over copies, not mappings of files that somebody may cut short.
        Raises RAM, OUTPUT, and CONFIG when a library that the engine needs is not installed.
        """

    def decoder(self, size: int, *, source: Source | None = None, window: int = WINDOW) -> Decoder:
        """A decoder that makes ``size`` bytes of new content; it reads old in pieces of ``window`` bytes."""


ENGINES: Final[Mapping[EngineId, Engine]] = MappingProxyType({engine.id: engine for engine in (Full(), Bsdiff())})
