"""Finds and loads libdivsufsort, whose suffix sort the diff code of C calls.

It is reached by address: neither pydivsufsort nor the numpy that it imports is loaded.
"""

from __future__ import annotations

import ctypes
import importlib.util
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

from otastream.errors import Code, error


@dataclass(frozen=True, slots=True)
class Library:
    """Addresses of ``divsufsort`` (32-bit indices) and ``divsufsort64``, 0 without one.

    limits: where it was built with OpenMP, what sets its number of threads.
    """

    narrow: int = 0
    wide: int = 0
    limits: tuple[Callable[[int], object], ...] = field(default=(), repr=False)

    def single_threaded(self) -> None:
        """Keep the sort on the calling thread: the packer runs its own threads, one per file."""
        for limit in self.limits:
            limit(1)


@lru_cache(maxsize=1)
def load() -> Library:
    """The first library that loads; it stays loaded. CONFIG: there is none."""
    for narrow, wide in libraries():
        first, second = _open(narrow), _open(wide)
        if first is not None:
            limits = (getattr(library, "omp_set_num_threads", None) for library in (first, second))
            return Library(
                _address(first.divsufsort),
                _address(second.divsufsort64) if second is not None else 0,
                tuple(limit for limit in limits if limit is not None),
            )
    raise error(
        Code.CONFIG,
        "libdivsufsort is not installed, and making deltas needs it",
        hint="pip install pydivsufsort, or install the system package libdivsufsort3",
    )


def libraries() -> Iterator[tuple[str, str]]:
    """Where libdivsufsort may be: (32-bit, 64-bit or empty). The wheel of pydivsufsort first, then the system."""
    spec = importlib.util.find_spec("pydivsufsort")  # located, not imported: that would load numpy
    for folder in (spec.submodule_search_locations or ()) if spec is not None else ():
        narrow, wide = (_files(Path(folder), name) for name in ("libdivsufsort", "libdivsufsort64"))
        if narrow:
            yield narrow[0], wide[0] if wide else ""
    yield "libdivsufsort.so.3", "libdivsufsort64.so.3"


def _files(folder: Path, name: str) -> list[str]:
    return [str(path) for path in (*sorted(folder.glob(f"{name}.so*")), *sorted(folder.glob(f"{name}.dylib")))]


def _open(path: str) -> ctypes.CDLL | None:
    try:
        return ctypes.CDLL(path) if path else None
    except OSError:
        return None


def _address(function: object) -> int:
    return ctypes.cast(function, ctypes.c_void_p).value or 0  # type: ignore[arg-type]
