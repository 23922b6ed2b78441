"""``otastream verify``: check that a package is whole."""

from __future__ import annotations

import json

import click

from otastream.cli import _describe, _output
from otastream.inspection import verify_package


@click.command("verify")
@click.argument("package")
@click.option("--json", "as_json", is_flag=True, help="The result as one JSON object.")
def command(package: str, as_json: bool) -> None:
    """Check PACKAGE (- is stdin) from its first byte to its last, without the old state.

    Every digest of the frame chain, every record and its place, the length and syntax of every payload, and the digests
    of what is sent in full. Exit code 0: the package is whole.

    \b
    Examples:
      otastream verify update.ota
      cat update.ota | otastream verify - --json
    """
    inspection = verify_package(package)
    records = sum(1 for _ in inspection.entries)
    if as_json:
        click.echo(json.dumps({"ok": True, "records": records} | _describe.preamble_json(inspection.preamble)))
    else:
        click.echo(f"{package}: whole, {records} records, {_output.size(inspection.preamble.length)}")
