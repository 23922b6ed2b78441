"""The program that shows an update on the framebuffer, started beside it.

otadisplay reads the lines of ``--progress json`` from a pipe. Nothing here waits for it: a line that does not fit is
dropped, a reader that has gone is forgotten, and nobody asks how it ended.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
from collections.abc import Iterator

from otastream.cli import _progress

PROGRAM = "otadisplay"


@contextlib.contextmanager
def beside(progress: _progress.Progress, picture: str | None, rotation: str | None) -> Iterator[_progress.Progress]:
    """Show a progress on the display as well; without a picture or a display it is the progress alone."""
    pipe = None if picture is None else _start(picture, rotation or "0")
    if pipe is None:
        yield progress
        return
    try:
        yield _progress.Both(progress, _progress.Lines(_progress.json_line, _Pipe(pipe).send, patient=True))
    finally:
        os.close(pipe)


class _Pipe:
    def __init__(self, pipe: int) -> None:
        self._pipe = pipe

    def send(self, line: str) -> None:
        with contextlib.suppress(BlockingIOError, BrokenPipeError):
            os.write(self._pipe, line.encode("utf-8", "surrogateescape") + b"\n")


def _start(picture: str, rotation: str) -> int | None:
    """The end of the pipe to write to, or None with a warning."""
    program = shutil.which(PROGRAM)
    if program is None:
        _warn(f"{PROGRAM} is not installed")
        return None
    argv = [PROGRAM, "--detach", "-s", rotation, "-p", picture]
    theirs, ours = os.pipe()
    try:
        # not subprocess: it would want to know how the program ended
        os.posix_spawn(program, argv, os.environ, file_actions=[(os.POSIX_SPAWN_DUP2, theirs, 0)])
    except OSError as failure:
        os.close(ours)
        _warn(f"{program}: {failure.strerror}")
        return None
    finally:
        os.close(theirs)
    os.set_blocking(ours, False)
    return ours


def _warn(why: str) -> None:
    print(f"otaunpack: warning: no display: {why}; progress is shown as without -p", file=sys.stderr)
