"""A person at a terminal: types the answers to what a command asks."""

from __future__ import annotations

import os
import pty
import select
import subprocess
import time
from pathlib import Path

from waiting import PATIENCE


def talk(command: list[str], answers: list[tuple[str, str]]) -> tuple[int, str]:
    """Run a command on a terminal of its own; type each answer when its question stands there."""
    parent, child = pty.openpty()
    process = subprocess.Popen(command, stdin=child, stdout=child, stderr=child, env=environment(), close_fds=True)
    os.close(child)
    seen, left, end = "", list(answers), time.monotonic() + PATIENCE
    asked = 0
    try:
        while time.monotonic() < end:
            if not select.select([parent], [], [], 1)[0]:
                continue
            try:
                data = os.read(parent, 4096)
            except OSError:  # EIO: the other side is closed
                break
            seen += data.decode()
            while left and (at := seen.find(left[0][0], asked)) >= 0:
                asked = at + len(left[0][0])
                os.write(parent, left.pop(0)[1].encode() + b"\n")
        return process.wait(timeout=PATIENCE), seen
    finally:
        os.close(parent)
        if process.poll() is None:
            process.kill()
            process.wait()


def environment() -> dict[str, str]:
    root = str(Path(__file__).resolve().parent.parent)
    return {**os.environ, "PYTHONPATH": root, "TERM": "dumb"}
