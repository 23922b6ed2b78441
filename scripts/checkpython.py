"""Say whether this Python can make a virtual environment and compile an extension; exit 1 with the reason if not."""

from __future__ import annotations

import importlib.util
import shutil
import sys
import sysconfig
from pathlib import Path


def missing() -> list[str]:
    """What is not here, in words; empty when all is well."""
    lacks = []
    if sys.version_info < (3, 11):  # noqa: UP036 (it is what an older one must be told)
        lacks.append(f"Python 3.11 or later (this is {sys.version.split()[0]}: set PYTHON=...)")
    if importlib.util.find_spec("venv") is None or importlib.util.find_spec("ensurepip") is None:
        lacks.append("the venv and ensurepip modules (Debian: python3-venv)")
    if not (Path(sysconfig.get_path("include")) / "Python.h").exists():
        lacks.append("Python headers (Debian: python3-dev)")
    if shutil.which("gcc") is None and shutil.which("cc") is None:
        lacks.append("a C compiler (Debian: gcc, libc6-dev)")
    return lacks


if __name__ == "__main__":
    for lack in missing():
        print(f"missing: {lack}", file=sys.stderr)
    sys.exit(1 if missing() else 0)
