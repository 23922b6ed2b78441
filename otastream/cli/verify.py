"""``otastream verify``: check that a package is whole."""

from __future__ import annotations

import json

import click

from otastream.cli import _describe, _output
from otastream.container import encode_preamble
from otastream.inspection import Inspection, verify_package
from otastream.keys import load_public_files
from otastream.model import End, Expect, Manifest


@click.command("verify")
@click.argument("package")
@click.option(
    "--key",
    "keys",
    multiple=True,
    type=click.Path(),
    metavar="PUB",
    help="Demand a signature by this public key (PEM file, or a folder of them); repeatable: by one of them.",
)
@click.option("--json", "as_json", is_flag=True, help="The result as one JSON object.")
def command(package: str, keys: tuple[str, ...], as_json: bool) -> None:
    """Check PACKAGE (- is stdin) from its first byte to its last, without the old state.

    Every digest of the frame chain, every record and its place, the length and syntax of every payload, and the digests
    of what is sent in full. Exit code 0: the package is whole. Without --key signatures are not checked.

    \b
    Examples:
      otastream verify update.ota
      otastream verify update.ota --key vendor.pub.pem
      cat update.ota | otastream verify - --json
    """
    trusted = load_public_files(keys)
    inspection = verify_package(package, keys=trusted)
    records = sum(not isinstance(entry.record, Manifest | Expect | End) for entry in inspection.entries)
    if as_json:
        shown = {
            "ok": True,
            "records": records,
            "trusted": [key_id.hex() for key_id in _signed(inspection) if key_id in trusted],
        }
        click.echo(json.dumps(shown | _describe.preamble_json(inspection.preamble)))
    else:
        signed = [
            f"signed by {name.hex()}{'' if name in trusted else ' (not checked)'}" for name in _signed(inspection)
        ]
        preamble = inspection.preamble
        size = _output.size(len(encode_preamble(preamble)) + preamble.length)
        click.echo(f"{package}: " + ", ".join(["whole", _output.count(records, "record"), size, *signed]))


def _signed(inspection: Inspection) -> list[bytes]:
    return [key_id for key_id, _ in inspection.preamble.signatures]
