"""``otastream apply``: execute a package beneath a root."""

from __future__ import annotations

import contextlib
import signal
import tempfile
import threading
from collections.abc import Iterator
from dataclasses import replace
from types import FrameType
from typing import Any, Final

import click

from otastream.apply import ApplyOptions, apply_package
from otastream.cli import _choice, _display, _output, _progress
from otastream.errors import Code, OtaError, error
from otastream.keys import load_trusted
from otastream.native import Phase, Report

_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_OF_A_TERMINAL: Final = (signal.SIGINT, signal.SIGHUP)


class _Stop:
    """Turns signals into a request to stop.

    Before anything is written a signal stops at once. Afterwards those that a terminal sends when somebody presses keys
    or the line drops do nothing more, here and in scripts; SIGTERM is passed on by ``tick``, and the executor stops
    where nothing is half written. The board program keeps the same rule.
    """

    def __init__(self, *, dry_run: bool) -> None:
        self._dry_run = dry_run
        self.writing = False
        self._name = ""

    def handle(self, number: int, _frame: FrameType | None) -> None:
        self._name = signal.Signals(number).name
        if not self.writing:
            raise error(Code.CANCELLED, f"by {self._name}; nothing was changed")

    def tick(self, report: Report) -> bool:
        if not self.writing and not self._dry_run and report.phase is not Phase.PREFLIGHT:
            self.writing = True
            if threading.current_thread() is threading.main_thread():  # nobody else may, and no signal comes elsewhere
                for number in _OF_A_TERMINAL:
                    signal.signal(number, signal.SIG_IGN)
        return bool(self._name)


@contextlib.contextmanager
def _signals(stop: _Stop) -> Iterator[None]:
    """Handle the signals that mean stop; one that is ignored (nohup) stays so."""
    before = {number: signal.getsignal(number) for number in _SIGNALS}
    try:
        for number, handler in before.items():
            if handler is not signal.SIG_IGN:
                signal.signal(number, stop.handle)
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@click.command("apply")
@click.argument("package")
@click.option(
    "--root", default="/", show_default=True, type=click.Path(), help="Folder that stands for / of the board."
)
@click.option("-t", "--tmp", type=click.Path(), help="Writable folder for scripts and built images. [default: TMPDIR]")
@click.option(
    "-k",
    "--keys",
    type=click.Path(),
    help="Trusted keys, a PEM file or a folder of them: with any, packages without a signature by one of them "
    "are refused. [default: etc/otastream/keys beneath the root]",
)
@click.option(
    "-n", "--dry-run", is_flag=True, help="Check everything that can be checked, write nothing, run no script."
)
@click.option("--ignore-space", is_flag=True, help="Do not compare free space before writing.")
@click.option(
    "--allow-downgrade", is_flag=True, help="Take a package older than what the board has run; only without keys."
)
@click.option("--volatile-scratch", is_flag=True, help="Update in place even if -t is in memory.")
@_choice.options
@_progress.option
def command(
    *,
    package: str,
    root: str,
    tmp: str | None,
    keys: str | None,
    dry_run: bool,
    ignore_space: bool,
    allow_downgrade: bool,
    volatile_scratch: bool,
    progress_mode: str,
    **choice: Any,
) -> None:
    """Execute PACKAGE (- is stdin) beneath a root.

    Everything that the package expects is checked before anything is written. Running the same package again after a
    failure or a power cut ends in the new state. SIGINT (Ctrl-C) and SIGHUP stop only before the first write; SIGTERM
    also later, where nothing is half written.

    \b
    Examples:
      otastream apply update.ota --root /mnt/board -t /mnt/board/tmp
      wget -O - http://host/update.ota | otastream apply - -t /tmp
      otastream apply update.ota --root /mnt/board --dry-run
      otastream apply update.ota -k vendor.pub.pem
      otastream apply update.ota --slot auto && reboot
      otastream apply update.ota --target '/dev/mtd*' --target '!/dev/mtd0'
    """
    options = ApplyOptions(
        root=root,
        tmp=tmp or tempfile.gettempdir(),
        dry_run=dry_run,
        ignore_space=ignore_space,
        volatile_tmp=volatile_scratch,
        allow_downgrade=allow_downgrade,
        keys=None if keys is None else load_trusted(keys, required=True),
    )
    execute(package, _choice.chosen(options, **choice), progress_mode=progress_mode)


def execute(
    package: str, options: ApplyOptions, *, progress_mode: str, picture: str | None = None, rotation: str | None = None
) -> None:
    """Apply a package, show the progress and what was done; signals stop it where that is safe."""
    stop = _Stop(dry_run=options.dry_run)
    with (
        _progress.reporter(progress_mode) as shown,
        _display.beside(shown, picture, rotation) as progress,
        _signals(stop),
        _verdict(progress),
    ):

        def show(report: Report) -> None:
            phase = report.phase.name.lower()
            progress.update(
                phase=phase, done=report.bytes_done, total=report.bytes_total, target=report.target,
                place=_place(report),
            )  # fmt: skip

        report = apply_package(package, replace(options, tick=stop.tick, progress=show))
    left_out = f", {_output.count(report.left_out, 'target')} left alone" if report.left_out else ""
    if options.dry_run:
        click.echo(
            f"{_output.count(report.records_total, 'record')} would be executed{left_out}; nothing was changed",
            err=True,
        )
    else:
        were = "was" if report.skipped == 1 else "were"
        skipped = f", {report.skipped} of them {were} right already" if report.skipped else ""
        if report.fell_back:
            skipped += f", {report.fell_back} of them in full: the delta did not apply"
        written = _output.size(report.bytes_written)
        click.echo(
            f"{_output.count(report.records_done, 'record')} executed{skipped}{left_out}; {written} written", err=True
        )


@contextlib.contextmanager
def _verdict(progress: _progress.Progress) -> Iterator[None]:
    """Tell the progress how the update ended."""
    try:
        yield
    except BaseException as failure:
        progress.end(failure.code if isinstance(failure, OtaError) else Code.INTERNAL)
        raise
    progress.end(None)


def _place(report: Report) -> _progress.Place:
    updating = report.phase is Phase.UPDATE
    step = report.records_done + (updating and report.records_done < report.records_total)
    part = None
    if updating and report.record_bytes:
        part = min(100, (report.bytes_done - report.record_from) * 100 // report.record_bytes)
    late = report.phase in (Phase.UPDATE, Phase.END)
    return _progress.Place((step or None) if late else None, report.records_total or None, part)
