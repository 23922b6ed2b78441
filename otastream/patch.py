"""Single files: apply a delta package or a classic BSDIFF40 patch to one file, and make the latter. Composition only.

A delta package is an ordinary package with one file record; whoever has ``otastream diff`` output can also
``inspect`` and ``verify`` it.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
import tempfile
from collections.abc import Callable, Iterator
from itertools import chain
from typing import BinaryIO, Final

from otastream.config import Edit, Release
from otastream.engines import bsdiff40, load
from otastream.errors import Code, OtaError, error
from otastream.fields import CODINGS
from otastream.model import Chunk, Event, ExpectTree, File, FileState, Head, Manifest, Record, Tail
from otastream.native import Buffer, Decoder, FileSource, PayloadViews, Xxh64
from otastream.options import PackOptions
from otastream.pack import Summary, pack_release
from otastream.stages.decompress import decompress
from otastream.stages.hash import hash_file
from otastream.stages.read import read
from otastream.stages.records import records
from otastream.stages.verify import first, verify
from otastream.views.codings import Coder

NAME: Final = b"delta"
"""Path of the one record of a delta package."""

# ---- making ----------------------------------------------------------------------------------------------------


def diff_package(old: str, new: str, *, output: str, options: PackOptions | None = None) -> Summary:
    """Write the package that makes the file new from the file old. Errors: those of packing."""
    edit = Edit(dest="/" + NAME.decode(), action="update", old=old, new=new)
    return pack_release(Release(file=(edit,)), output=output, options=options)


def diff_bsdiff40(old: str, new: str, *, output: str) -> int:
    """Write a classic BSDIFF40 patch; its size in bytes. INPUT, CHANGED, OUTPUT, RAM."""
    contents = _load(old), _load(new)
    with _replaced(output) as out:
        return bsdiff40.encode(*contents, out)


def _load(path: str) -> Buffer:
    with _opened(path, regular=True) as fd:
        try:
            return load(fd, os.fstat(fd).st_size)
        except OSError as exc:
            raise error(Code.INPUT, exc.strerror or "", target=path) from exc


# ---- applying --------------------------------------------------------------------------------------------------


def patch_file(old: str, patch: str, *, output: str) -> int:
    """Make ``output`` from the file old and a patch of either kind, ``-`` for stdin; the size of new in bytes.

    The output appears under its name only when it is complete and synced; it may be the old file itself. With a package
    old and new are checked against their digests (TARGET, RESULT); a BSDIFF40 patch has none. Other errors: INPUT,
    OUTPUT, DELTA, and those of reading a package; USAGE when the package is not one of ``diff_package``.
    """
    with _opened_patch(patch) as patch_fd, _opened(old, regular=True) as fd, _replaced(output) as out:
        apply = _apply_bsdiff40 if _is_bsdiff40(patch_fd) else _apply_package
        return apply(patch_fd, old, fd, out)


@contextlib.contextmanager
def _opened_patch(path: str) -> Iterator[int]:
    """A patch to read from the front. What comes through stdin is kept in a file: BSDIFF40 is read in three places."""
    if path != "-":
        with _opened(path) as fd:
            yield fd
        return
    with tempfile.TemporaryFile() as spool:
        try:
            with open(0, "rb", closefd=False) as stdin:
                shutil.copyfileobj(stdin, spool)
            spool.seek(0)
        except OSError as exc:
            raise error(Code.INPUT, exc.strerror or "", target=path) from exc
        yield spool.fileno()


def _is_bsdiff40(patch: int) -> bool:
    try:
        return os.pread(patch, len(bsdiff40.MAGIC), 0) == bsdiff40.MAGIC
    except OSError:  # a pipe: only packages can be read from one
        return False


def _apply_bsdiff40(patch: int, old: str, old_fd: int, out: BinaryIO) -> int:
    del old
    opened = bsdiff40.open_patch(patch)
    out.writelines(bsdiff40.decode(opened, FileSource(old_fd)))
    return opened.new_size


def _apply_package(patch: int, old: str, old_fd: int, out: BinaryIO) -> int:
    with contextlib.closing(read(patch)) as pieces:
        frames = verify(pieces)
        preamble = first(frames)
        events = records(decompress(chain([preamble], frames)))
        record, needs = _only_file(events, check=lambda expect: _check_old(expect, old))
        digest = _decode(_decoder(record, needs, old_fd, preamble.workspace), events, out)
        for event in events:
            if isinstance(event, Head) and isinstance(event.record, File):
                raise _not_a_delta()
    if digest != record.digest:
        raise error(Code.RESULT, "the new content does not have the digest that the package promises")
    os.fchmod(out.fileno(), record.mode)
    return record.size


def _only_file(events: Iterator[Event], *, check: Callable[[ExpectTree], None]) -> tuple[File, tuple[str, ...]]:
    """The one record of a delta package, and what the package needs; check sees what it expects."""
    needs: tuple[str, ...] = ()
    for event in events:
        record: Record | None = event.record if isinstance(event, Head) else None
        if isinstance(record, ExpectTree):
            check(record)
        elif isinstance(record, File) and record.path == NAME and record.engine is not None:
            return record, needs
        elif isinstance(record, Manifest) and record.records == 1:
            needs = record.needs
        else:
            raise _not_a_delta()
    raise _not_a_delta()


def _not_a_delta() -> OtaError:
    return error(Code.USAGE, "this package is not the delta of one file", hint="use otastream apply")


def _check_old(expect: ExpectTree, old: str) -> None:
    if isinstance(expect.old, FileState) and hash_file(os.fsencode(old)) != (expect.old.size, expect.old.digest):
        hint = "find the old file that the patch was made from"
        raise error(Code.TARGET, "the patch was not made for this old file", target=old, hint=hint)


def _decoder(record: File, needs: tuple[str, ...], old: int, workspace: int) -> Decoder:
    """Of the payload of a record. old: the open old file. UNSUPPORTED: a coding of its views is not here."""
    if record.engine is None:
        raise error(Code.INTERNAL, "a payload without an engine")
    source = None if record.source is None else FileSource(old, record.source.size)
    if record.old_view is None and record.new_view is None:
        return Decoder(record.engine, record.size, source=source, workspace=workspace)
    coder = Coder()
    codings = [coding for coding, name in CODINGS.items() if name in needs]
    for coding in codings:
        if not coder.codings >> coding & 1:
            raise error(Code.UNSUPPORTED, CODINGS[coding])
    views = PayloadViews(record.old_view or 0, record.new_view or 0, coder, codings)
    return Decoder(record.engine, record.size, source=source, workspace=workspace, views=views)


def _decode(decoder: Decoder, events: Iterator[Event], out: BinaryIO) -> int:
    """Write the new content; its digest."""
    digest = Xxh64()
    for event in events:
        if isinstance(event, Tail):
            break
        if isinstance(event, Chunk):
            for data in decoder.feed(event.data):
                digest.update(data)
                out.write(data)
    decoder.finish()
    return digest.value()


# ---- files -----------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def _opened(path: str, *, regular: bool = False) -> Iterator[int]:
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as exc:
        raise error(Code.INPUT, exc.strerror or "", target=path) from exc
    try:
        if regular and not stat.S_ISREG(os.fstat(fd).st_mode):
            raise error(Code.INPUT, "is not a regular file", target=path)
        yield fd
    finally:
        os.close(fd)


@contextlib.contextmanager
def _replaced(path: str) -> Iterator[BinaryIO]:
    """A file to write to, which takes the name ``path`` when the block ends well. OUTPUT."""
    if path == "-":
        raise error(Code.USAGE, "this output must be a file", target=path)
    folder = os.path.dirname(os.path.abspath(path))
    part = os.path.join(folder, f".otastream-{os.getpid()}.part")
    try:
        with open(part, "xb") as file:
            try:
                yield file
                file.flush()
                os.fsync(file.fileno())
                os.replace(part, path)
            except BaseException:
                os.unlink(part)
                raise
        fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)
    except OSError as exc:
        raise error(Code.OUTPUT, exc.strerror or "", target=path) from exc
