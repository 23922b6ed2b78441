"""Waiting for what another process does: by what can be seen of it, never by how long it might take."""

from __future__ import annotations

import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

PATIENCE = 600  # seconds; only a process that hangs gets there, however busy the machine is


def until(holds: Callable[[], object]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not holds():
        assert time.monotonic() < deadline, "it does not happen"
        time.sleep(0.01)


def until_there(path: Path) -> None:
    until(path.exists)


def until_handled(pid: int, number: signal.Signals) -> None:
    """Until the process has a handler for the signal: before that it would just die of it."""

    def handled() -> bool:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
        mask = next((line.split()[1] for line in lines if line.startswith("SigCgt:")), "0")
        return bool(int(mask, 16) >> (number - 1) & 1)

    until(handled)


def stop(process: subprocess.Popen[bytes], number: signal.Signals) -> int:
    """Send the signal once it is handled, and again until the process ends; its exit code.

    Again, since a signal that comes just before a read that blocks is noticed when the read returns.
    """
    until_handled(process.pid, number)

    def ended() -> bool:
        process.send_signal(number)
        return process.poll() is not None

    until(ended)
    return process.wait()
