"""otastream: over-the-air updates for small boards.

``otastream.pack`` makes a package from an old and a new folder or image, ``otastream.apply`` executes it on a board,
``otastream.inspection`` looks into it; ``docs/SPEC.md`` describes every byte between them. What can go wrong is in
``otastream.errors``.
"""

from __future__ import annotations

from typing import Final

__version__: Final = "0.1.0"
