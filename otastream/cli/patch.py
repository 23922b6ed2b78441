"""``otastream patch``: make the new file from the old one and a patch."""

from __future__ import annotations

import click

from otastream import patch
from otastream.cli import _output


@click.command("patch")
@click.argument("old", type=click.Path())
@click.argument("patch_file", metavar="PATCH", type=click.Path())
@click.option("-o", "--output", required=True, type=click.Path(), help="The new file; it may be OLD itself.")
def command(old: str, patch_file: str, output: str) -> None:
    """Make the new file from the file OLD and PATCH (- is stdin), which is of either format of ``otastream diff``.

    Nothing appears under the name of the new file unless all went well.

    \b
    Examples:
      otastream patch app-1.0 app.ota -o app-1.1
      otastream patch app-1.0 app.bsdiff -o app-1.1
      wget -q -O - http://host/app.ota | otastream patch app-1.0 - -o app-1.1
    """
    size = patch.patch_file(old, patch_file, output=output)
    click.echo(f"{output}: {_output.size(size)}")
