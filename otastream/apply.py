"""Apply a package: read -> verify -> decompress -> records -> execute. Composition only."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from itertools import chain
from os import fsencode

from otastream.errors import Code, error
from otastream.keys import Keys, default_folder, load_trusted
from otastream.model import Preamble
from otastream.native import ExecOptions, Executor, Report, Slot, Tick
from otastream.stages.decompress import decompress
from otastream.stages.execute import block_buffer, execute
from otastream.stages.read import Source, available_memory, read, seekable
from otastream.stages.records import records
from otastream.stages.verify import first, verify
from otastream.views.codings import Coder


@dataclass(frozen=True, slots=True)
class ApplyOptions:
    """How to apply.

    root: folder that stands for ``/`` of the board; tmp: writable folder for scripts and built images. dry_run: stop
    after preflight, nothing is written and no script is run. ignore_space: do not compare free space. volatile_tmp:
    update in place even if ``tmp`` is in memory, where a power cut would cost the target. allow_downgrade: take a
    package that is older than what the board has run; USAGE with trusted keys. keys: trusted keys; with at least one,
    only packages signed by one of them are accepted. None: those that the board itself keeps, beneath the root in
    etc/otastream/keys. outer False: refuse a package that was compressed once more from outside (MAGIC). tick: called
    while C is at work, True asks to stop where nothing is half written. progress: called with the counters after each
    piece.

    What is written can be chosen. slot: targets of this slot, which is started next when all is done; the board's
    /etc/otastream/slots says what its slots are. select: if not 0, the mask of every image that has several targets, in
    place of the package's. patterns: only targets whose path or label one of them matches (``*``, ``?``), none that one
    behind ``!`` matches. hook: absolute path of a program that is run as PROG PATH IMAGE TARGET LABEL for each target
    in preflight; 0: write it, 1: leave it alone, else HOOK. Single files can be left alone if they have a label.
    """

    root: str
    tmp: str
    dry_run: bool = False
    ignore_space: bool = False
    volatile_tmp: bool = False
    allow_downgrade: bool = False
    keys: Keys | None = None
    outer: bool = True
    tick: Tick | None = None
    progress: Callable[[Report], None] | None = None
    slot: Slot = Slot.NONE
    select: int = 0
    patterns: tuple[str, ...] = ()
    hook: str | None = None


def apply_package(source: Source, options: ApplyOptions) -> Report:
    """Execute a package beneath a root; the final counters.

    A package that can be read twice (a regular file) is checked whole before anything is executed, so that a damaged
    one changes nothing; on a pipe every frame is checked before it is used. Running the same package again after any
    failure or cut ends in the new state. Errors: any OtaError but CHANGED and OUTPUT.
    """
    memory = available_memory()
    keys = trusted_keys(options)
    if options.allow_downgrade and keys:
        raise error(Code.USAGE, "--allow-downgrade is for boards without keys")
    if seekable(source):
        check_package(source, keys=keys, memory=memory, outer=options.outer)
    with closing(read(source, outer=options.outer)) as stream:
        frames = verify(stream, keys=keys, memory=memory)
        preamble = first(frames)
        with _executor(options, preamble) as executor:
            events = records(decompress(chain([preamble], frames)))
            for report in execute(events, executor=executor):
                if options.progress is not None:
                    options.progress(report)
    return executor.report


def _executor(options: ApplyOptions, preamble: Preamble) -> Executor:
    settings = ExecOptions(
        dry_run=options.dry_run,
        ignore_space=options.ignore_space,
        volatile_tmp=options.volatile_tmp,
        allow_downgrade=options.allow_downgrade,
        block_buffer=block_buffer(),
        workspace=preamble.workspace,
        coder=Coder(),
        slot=options.slot,
        select=options.select,
        patterns=tuple(map(fsencode, options.patterns)),
        hook=None if options.hook is None else fsencode(options.hook),
    )
    return Executor(options.root, options.tmp, options=settings, tick=options.tick)


def trusted_keys(options: ApplyOptions) -> Keys:
    """The keys of the options, or those that the board itself keeps."""
    return options.keys if options.keys is not None else load_trusted(default_folder(options.root), required=False)


def check_package(source: Source, *, keys: Keys | None = None, memory: int | None = None, outer: bool = True) -> None:
    """Read a package to its end: every digest, every record, no payload."""
    with closing(read(source, outer=outer)) as stream:
        for _ in records(decompress(verify(stream, keys=keys, memory=memory))):
            pass
