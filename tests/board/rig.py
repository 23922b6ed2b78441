"""Where one test runs its boards."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from board import machine, provide
from board.machine import Cut, Job, Machine, Result, progress_from

FULL = os.environ.get("OTA_BOARD_FULL") == "1"
"""Every point of every cut, everything at full size."""

CUTS = tuple(range(5, 95, 9)) if FULL else (8, 50, 88)
"""Per cent of an update at which the power goes."""


@dataclass
class Bench:
    """Boards for one test. log: their consoles, one behind the other. seconds: what the boards took together."""

    kit: provide.Kit
    log: Path
    seconds: float = 0.0
    boards: int = 0

    def run(self, board: Machine, job: Job, *, cut: Cut | None = None, timeout: float = machine.TIMEOUT) -> Result:
        """Run a job to its end or to the cut, whatever its exit status."""
        result = machine.run(self.kit, board, job, log=self.log, cut=cut, timeout=timeout)
        self.seconds += result.seconds
        self.boards += 1
        return result

    def watched(self, board: Machine, job: Job, watch: machine.Watch, *, timeout: float = machine.TIMEOUT) -> Result:
        """A job of a board with a screen, to its end; `watch` looks at it."""
        result = machine.run(self.kit, board, job, log=self.log, watch=watch, timeout=timeout)
        self.seconds += result.seconds
        self.boards += 1
        assert result.code == 0, self._console(result)
        return result

    def succeed(self, board: Machine, job: Job, *, timeout: float = machine.TIMEOUT) -> Result:
        result = self.run(board, job, timeout=timeout)
        assert result.code == 0, self._console(result)
        return result

    def cut(self, board: Machine, job: Job, when: Cut) -> Result:
        """The power goes where `when` says; a job that ends before that proves nothing."""
        result = self.run(board, job, cut=when)
        assert result.code is None, self._console(result)
        return result

    def survive(self, board: Machine, job: Job, *, at: Iterable[int] = CUTS) -> list[Result]:
        """Cut the update of this job, boot, run it again, cut it later, and so on; in the end let it finish."""
        return [*[self.cut(board, job, progress_from(percent)) for percent in at], self.succeed(board, job)]

    def _console(self, result: Result) -> str:
        how = "power cut" if result.code is None else f"exit {result.code}"
        return f"{how}; console in {self.log}\n" + "\n".join(result.lines[-40:])
