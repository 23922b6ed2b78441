"""``otastream inspect``: show what is in a package."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

import click

from otastream.cli import _describe, _output
from otastream.container import has_fallback
from otastream.inspection import Entry, inspect_package
from otastream.model import End, Expect, Manifest, Preamble


@click.command("inspect")
@click.argument("package")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line: preamble, records, totals.")
@click.option("--all", "everything", is_flag=True, help="Show what must hold before anything is written, too.")
def command(package: str, as_json: bool, everything: bool) -> None:
    """Show the records of PACKAGE (- is stdin): what, where, engine, bytes sent against full bytes.

    Bytes sent are those of the payload before the whole stream is compressed.

    \b
    Examples:
      otastream inspect update.ota
      otastream inspect update.ota --json | jq 'select(.kind == "file") | .path'
    """
    inspection = inspect_package(package)
    totals = _Totals()
    entries = (
        entry for entry in totals.count(inspection.entries) if everything or not isinstance(entry.record, Expect)
    )
    if as_json:
        click.echo(json.dumps({"kind": "preamble"} | _describe.preamble_json(inspection.preamble)))
        for entry in entries:
            sent = {"number": entry.number, "sent": entry.sent}
            if has_fallback(entry.record):
                sent["fallback_sent"] = entry.fallback
            click.echo(json.dumps(sent | _describe.as_json(entry.record)))
        click.echo(json.dumps({"kind": "totals"} | totals.as_json(inspection.preamble)))
        return
    _show(inspection.preamble, entries, totals)


@dataclass
class _Totals:
    """Counted while the records pass."""

    records: int = 0
    expects: int = 0
    sent: int = 0
    full: int = 0
    fallback: int = 0
    engines: dict[str, Counter[str]] = field(default_factory=dict)
    """By engine: records, sent, full; in the order in which they come."""

    def count(self, entries: Iterator[Entry]) -> Iterator[Entry]:
        for entry in entries:
            if isinstance(entry.record, Expect):
                self.expects += 1
            elif not isinstance(entry.record, (Manifest, End)):
                self.records += 1
                self.sent += entry.sent + entry.fallback
                self.fallback += entry.fallback
                self.full += getattr(entry.record, "size", 0)
                if name := _describe.engine(entry.record):
                    numbers = {"records": 1, "sent": entry.sent, "full": getattr(entry.record, "size", 0)}
                    self.engines.setdefault(name, Counter()).update(numbers)
            yield entry

    def as_json(self, preamble: Preamble) -> dict[str, object]:
        return {
            "records": self.records,
            "expects": self.expects,
            "sent": self.sent,
            "full": self.full,
            "fallback": self.fallback,
            "package": preamble.length,
            "engines": {name: dict(numbers) for name, numbers in self.engines.items()},
        }


_ROW: Final = "{:<13} {:<7} {:>9} {:>9}  {}"


def _show(preamble: Preamble, entries: Iterator[Entry], totals: _Totals) -> None:
    """A table that is printed as the records come, so that it may have any length."""
    window = f", window {_output.size(1 << preamble.window_log)}" if preamble.window_log else ""
    keys = _output.key_ids(preamble)
    codec = preamble.codec.name.lower()
    click.echo(f"format {preamble.version}, codec {codec}{window}, RAM {_output.size(preamble.ram)}")
    click.echo(f"signed by {keys}" if keys else "not signed")
    for entry in entries:
        if isinstance(entry.record, Manifest):
            if name := _describe.where(entry.record):
                click.echo(_output.printable(name))
            click.echo(_ROW.format("what", "engine", "sent", "full", "where"))
        elif not isinstance(entry.record, End):
            click.echo(_row(entry))
            if note := getattr(entry.record, "note", None):
                click.echo(f"  {_output.printable(note)}")
            if entry.fallback:
                click.echo(f"  fallback: {_output.size(entry.fallback)} in full, where the delta does not apply")
    for name, numbers in totals.engines.items():
        click.echo(
            f"{name}: {_output.count(numbers['records'], 'record')}, {_output.size(numbers['sent'])} sent for "
            f"{_output.size(numbers['full'])}{_output.share(numbers['sent'], numbers['full'])}"
        )
    click.echo(
        f"{_output.count(totals.records, 'record')}, {_output.count(totals.expects, 'expected state')}; "
        f"{_output.size(totals.sent)} sent for {_output.size(totals.full)}{_output.share(totals.sent, totals.full)}, "
        f"{_output.size(preamble.length)} compressed"
    )


def _row(entry: Entry) -> str:
    engine = _describe.engine(entry.record)
    full = getattr(entry.record, "size", None)
    return _ROW.format(
        _describe.what(entry.record),
        engine,
        _output.size(entry.sent) if engine else "",
        "" if full is None else _output.size(full),
        _describe.where(entry.record),
    ).rstrip()
