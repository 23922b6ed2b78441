"""A board's U-Boot environment in a file, read and written by U-Boot's own tools (libubootenv)."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

needs_tools = pytest.mark.skipif(
    shutil.which("fw_printenv") is None or shutil.which("fw_setenv") is None,
    reason="no fw_printenv and fw_setenv: scripts/apt.sh board",
)

SIZE = 0x1000
OFFSETS = (0, 0x10000)


class Environment:
    """``/dev/env`` of the board beneath ``root``, with one or two copies."""

    def __init__(self, root: Path, variables: dict[str, str], *, copies: int = 2) -> None:
        self.node = root / "dev/env"
        self.node.parent.mkdir(parents=True, exist_ok=True)
        self.node.write_bytes(b"\xff" * 0x20000)
        (root / "etc").mkdir(exist_ok=True)
        self._config = root / "tools.config"  # the same, as the tools on this machine see it
        self._default = root / "tools.default"
        for path, node in ((root / "etc/fw_env.config", "/dev/env"), (self._config, str(self.node))):
            path.write_text("# environment\n" + "".join(f"{node} {at:#x} {SIZE:#x}\n" for at in OFFSETS[:copies]))
        self._default.write_text("".join(f"{name}={value}\n" for name, value in variables.items()))
        for _ in range(copies):  # so that each copy is whole
            self.set("touched", "1")
        self.set("touched", "")

    def _run(self, tool: str, *args: str) -> str:
        argv: list[str | Path] = [tool, "-c", self._config, "-f", self._default, *args]
        done = subprocess.run(argv, capture_output=True, text=True, check=True)
        return done.stdout

    def set(self, name: str, value: str) -> None:
        self._run("fw_setenv", name, *([value] if value else []))

    def read(self) -> dict[str, str]:
        """All variables, as U-Boot's tools see them."""
        pairs = (line.partition("=") for line in self._run("fw_printenv").splitlines())
        return {name: value for name, _, value in pairs}
