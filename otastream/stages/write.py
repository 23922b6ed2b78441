"""Stage: compressed stream -> package file (docs/SPEC.md sections 2 and 3). The sink of the pack pipeline.

The digest of a frame stands in the frame before it, so it is known too late to be written in order. The frames are
spooled with gaps into a temporary file; then the chain is filled in from the last frame to the first, one frame in
memory at a time.
"""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import os
import shutil
import stat
import sys
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from typing import IO, Final

from otastream.container import (
    DIGEST,
    FRAME_HEAD,
    FRAME_LOGS,
    HEAD,
    SIGNATURE,
    Frame,
    encode_preamble,
    frame_head,
)
from otastream.errors import Code, error
from otastream.keys import Signer, check_signers, sign
from otastream.model import Codec, Preamble

_COPY: Final = 1 << 16


def write(
    pieces: Iterable[bytes],
    *,
    output: str,
    codec: Codec,
    window_log: int,
    ram: int,
    workspace: int = 0,
    frame_log: int = 16,
    signers: Sequence[Signer] = (),
) -> Preamble:
    """Write the package and give its preamble. output: a path, or ``-`` for stdout.

    A regular file appears under its name only when it is complete and synced; after a failure, whatever was there
    before is untouched. Other outputs (stdout, a pipe, a device) are spooled in TMPDIR first. ram: bytes that applying
    needs (section 7); workspace: of these, what engines and views need. frame_log: log2 of the frame size in bytes,
    10..16. signers: at most 4, all different.
    Errors: OUTPUT, USAGE, and what the pieces and the signers raise.
    """
    if frame_log not in FRAME_LOGS:
        raise error(Code.USAGE, f"frame log {frame_log}")
    check_signers(signers)
    base = HEAD + 1 + SIGNATURE * len(signers) + DIGEST
    with _destination(output) as spool:
        length = _spool_frames(pieces, spool, base, 1 << frame_log, output)
        with _output_errors(output):
            first = _chain(spool, base, length, 1 << frame_log)
        preamble = sign(Preamble(codec, window_log, frame_log, ram, length, first, workspace=workspace), signers)
        with _output_errors(output):
            spool.seek(0)
            spool.write(encode_preamble(preamble))
    return preamble


def copy(frames: Iterable[Frame], *, output: str, preamble: Preamble) -> None:
    """Write a package whose frames are those of another one: only the preamble is new. output: as for ``write``.

    Errors: OUTPUT, and what the frames raise; then nothing appears.
    """
    with _destination(output) as spool:
        with _output_errors(output):
            spool.write(encode_preamble(preamble))
        for frame in frames:
            with _output_errors(output):
                spool.write(frame_head(len(frame.payload), frame.following) + frame.payload)


def _spool_frames(pieces: Iterable[bytes], spool: IO[bytes], base: int, frame: int, output: str) -> int:
    """Write the payloads from `base` on, each behind a gap for its head, all full but the last. Bytes written."""
    spool.seek(base)
    room = length = 0
    for piece in pieces:
        data = memoryview(piece)
        with _output_errors(output):
            while data:
                if room == 0:
                    spool.write(bytes(FRAME_HEAD))
                    room, length = frame - FRAME_HEAD, length + FRAME_HEAD
                part, data = data[:room], data[room:]
                spool.write(part)
                room, length = room - len(part), length + len(part)
    return length


def _chain(spool: IO[bytes], base: int, length: int, frame: int) -> bytes:
    """Fill the gaps, last frame first. The digest of the first frame."""
    following: bytes | None = None
    for start in range((length - 1) // frame * frame, -1, -frame):
        size = min(frame, length - start)
        spool.seek(base + start + FRAME_HEAD)
        payload = spool.read(size - FRAME_HEAD)
        head = frame_head(len(payload), following)
        spool.seek(base + start)
        spool.write(head)
        following = hashlib.sha256(head + payload).digest()
    return following or b""


@contextlib.contextmanager
def _output_errors(output: str) -> Iterator[None]:
    try:
        yield
    except OSError as failure:
        raise error(Code.OUTPUT, failure.strerror or str(failure), target=output) from failure


@contextlib.contextmanager
def _destination(output: str) -> Iterator[IO[bytes]]:
    """A file to work in, whose content becomes the output when the block ends well."""
    if output == "-":
        with _copied(output, sys.stdout.buffer) as spool:
            yield spool
        return
    with _output_errors(output):
        path = os.path.realpath(output)
        special = os.path.exists(path) and not stat.S_ISREG(os.stat(path).st_mode)
        sink = open(path, "wb") if special else None  # noqa: SIM115 (closed below)
    if sink is None:
        with _renamed(output, path) as spool:
            yield spool
        return
    try:
        with _copied(output, sink) as spool:
            yield spool
    finally:
        with contextlib.suppress(OSError):  # all was flushed, or that has been reported
            sink.close()


@contextlib.contextmanager
def _copied(output: str, sink: IO[bytes]) -> Iterator[IO[bytes]]:
    with _output_errors(output):
        spool = tempfile.TemporaryFile()  # noqa: SIM115 (closed by the next line)
    with spool:
        yield spool
        with _output_errors(output):
            spool.seek(0)
            shutil.copyfileobj(spool, sink, _COPY)
            sink.flush()


@contextlib.contextmanager
def _renamed(output: str, path: str) -> Iterator[IO[bytes]]:
    folder = os.path.dirname(path)
    with _output_errors(output):
        part, descriptor = _create_beside(folder)
    try:
        with os.fdopen(descriptor, "w+b") as spool:
            yield spool
            with _output_errors(output):
                spool.flush()
                os.fsync(descriptor)
        with _output_errors(output):
            os.replace(part, path)
            _sync_folder(folder)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(part)
        raise


def _create_beside(folder: str) -> tuple[str, int]:
    """A new file with the permissions that the umask gives (which tempfile would not)."""
    for number in itertools.count():
        part = os.path.join(folder, f".otastream-{os.getpid()}-{number}.part")
        with contextlib.suppress(FileExistsError):
            return part, os.open(part, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
    raise AssertionError  # count() has no end


def _sync_folder(folder: str) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
