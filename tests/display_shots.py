"""What otadisplay shows of progress lines on a screen in a file, and the pictures of docs/how-to/display.md.

``python -m display_shots ../docs/images`` (in the folder tests) writes them anew.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from e2e_support import board_program
from otastream.errors import Code
from pictures import LAYOUTS, Paint, Screen, png, read_screen, upgrade_picture

TARGET: Final = "/dev/mtd5"
UPDATE: Final = json.dumps(
    {"phase": "update", "percent": 43, "done": 43, "total": 100, "step": 3, "steps": 7, "part": 82, "target": TARGET}
)
SUCCESS: Final = json.dumps({"phase": "success", "percent": 100, "step": 7, "steps": 7, "part": None, "target": ""})
FAILURE: Final = json.dumps(
    {"phase": "failure", "percent": 43, "step": 3, "steps": 7, "target": TARGET, "code": Code.VERIFY.value}
)
SHOTS: Final = {
    **{f"display-{rotation}": (rotation, f"{UPDATE}\n") for rotation in "0123"},
    "display-success": ("0", f"{SUCCESS}\n"),
    "display-failure": ("0", f"{UPDATE}\n{FAILURE}\n"),
}
"""Name of a picture: rotation, progress lines."""


class Bench:
    """A file that stands for a framebuffer."""

    def __init__(
        self, program: Path, folder: Path, width: int = 320, height: int = 240, layout: str = "xrgb8888"
    ) -> None:
        self.program, self.file, self.layout = program, folder / "fb", LAYOUTS[layout]
        self.width, self.height = width, height

    def run(self, lines: str, *options: str | Path) -> subprocess.CompletedProcess[str]:
        self.file.write_bytes(bytes(self.width * self.height * self.layout.bits // 8))
        return subprocess.run(self._args(options), input=lines, capture_output=True, text=True, check=False, timeout=60)

    def live(self, lines: str, *options: str | Path) -> Screen:
        """What is shown while more lines may come: the first picture with green in it that stays."""
        self.file.write_bytes(bytes(self.width * self.height * self.layout.bits // 8))
        with subprocess.Popen(self._args(options), stdin=subprocess.PIPE, text=True) as process:
            assert process.stdin is not None
            process.stdin.write(lines)
            process.stdin.flush()
            deadline, before = time.monotonic() + 60, b""
            while before != (now := self.file.read_bytes()) or not self._green():
                assert time.monotonic() < deadline
                before = now
                time.sleep(0.5)
            process.kill()
        return self.read()

    def _green(self) -> bool:
        screen = self.read()
        return any(g > 100 > max(r, b) for y in range(screen.height) for r, g, b in screen.pixels(y))

    def read(self) -> Screen:
        return read_screen(self.file, self.width, self.height, self.layout)

    def _args(self, options: Sequence[str | Path]) -> list[str | Path]:
        geometry = f"{self.width}x{self.height},{self.layout.name}"
        return [self.program, "--fb", self.file, "--geometry", geometry, *options]

    def show(self, lines: str, *options: str | Path) -> Screen:
        done = self.run(lines, *options)
        assert (done.returncode, done.stderr) == (0, "")
        return self.read()


def _turned(width: int, height: int, rotation: int) -> Paint:
    """The picture for a screen that is mounted so, as its maker prepares it."""
    upright = upgrade_picture(*((width, height) if rotation % 2 == 0 else (height, width)))
    ways: tuple[Paint, ...] = (
        upright,
        lambda x, y: upright(y, width - 1 - x),
        lambda x, y: upright(width - 1 - x, height - 1 - y),
        lambda x, y: upright(height - 1 - y, x),
    )
    return ways[rotation]


def shot(folder: Path, name: str) -> Screen:
    """A picture of the how-to."""
    rotation, lines = SHOTS[name]
    picture = folder / "picture.png"
    picture.write_bytes(png(480, 300, _turned(480, 300, int(rotation))))
    bench = Bench(board_program("amd64").with_name("otadisplay"), folder, 480, 300)
    show = bench.live if lines == f"{UPDATE}\n" else bench.show
    return show(lines, "-p", picture, "-s", rotation)


if __name__ == "__main__":
    for shot_name in SHOTS:
        with tempfile.TemporaryDirectory() as work:
            Path(sys.argv[1], f"{shot_name}.png").write_bytes(shot(Path(work), shot_name).png())
