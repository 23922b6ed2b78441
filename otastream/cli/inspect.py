"""``otastream inspect``: show what is in a package."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from otastream.cli import _describe, _output
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
            click.echo(json.dumps({"number": entry.number, "sent": entry.sent} | _describe.as_json(entry.record)))
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

    def count(self, entries: Iterator[Entry]) -> Iterator[Entry]:
        for entry in entries:
            if isinstance(entry.record, Expect):
                self.expects += 1
            elif not isinstance(entry.record, (Manifest, End)):
                self.records += 1
                self.sent += entry.sent
                self.full += getattr(entry.record, "size", 0)
            yield entry

    def as_json(self, preamble: Preamble) -> dict[str, int]:
        return {
            "records": self.records,
            "expects": self.expects,
            "sent": self.sent,
            "full": self.full,
            "package": preamble.length,
        }


def _show(preamble: Preamble, entries: Iterator[Entry], totals: _Totals) -> None:
    console = Console(highlight=False)
    table = Table("what", "where", "engine", box=None, header_style="bold", pad_edge=False)
    table.add_column("sent", justify="right")
    table.add_column("full", justify="right")
    manifest: Manifest | None = None
    for entry in entries:
        if isinstance(entry.record, Manifest):
            manifest = entry.record
        elif not isinstance(entry.record, End):
            table.add_row(*(Text(cell, overflow="fold") for cell in _row(entry)))
    for line in _front(preamble, manifest):
        console.print(line, markup=False)
    console.print(table)
    share = f" ({totals.sent / totals.full:.1%})" if totals.full else ""
    console.print(
        f"{totals.records} records, {totals.expects} expected states; "
        f"{_output.size(totals.sent)} sent for {_output.size(totals.full)}{share}, "
        f"{_output.size(preamble.length)} compressed",
        markup=False,
    )


def _front(preamble: Preamble, manifest: Manifest | None) -> Iterator[str]:
    window = f", window {_output.size(1 << preamble.window_log)}" if preamble.window_log else ""
    yield f"format {preamble.version}, codec {preamble.codec.name.lower()}{window}, RAM {_output.size(preamble.ram)}"
    keys = ", ".join(key_id.hex() for key_id, _ in preamble.signatures)
    yield f"signed by {keys}" if keys else "not signed"
    if manifest is not None and (name := _describe.where(manifest)):
        yield _output.printable(name)


def _row(entry: Entry) -> tuple[str, str, str, str, str]:
    engine = _describe.engine(entry.record)
    full = getattr(entry.record, "size", None)
    sent = _output.size(entry.sent) if engine else ""
    return (
        _describe.what(entry.record),
        _describe.where(entry.record),
        engine,
        sent,
        "" if full is None else _output.size(full),
    )
