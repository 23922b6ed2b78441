"""``otastream diff``: make a patch from two files."""

from __future__ import annotations

import os

import click

from otastream import patch
from otastream.cli import _output
from otastream.options import ENGINES, PackOptions


@click.command("diff")
@click.argument("old", type=click.Path())
@click.argument("new", type=click.Path())
@click.option("-o", "--output", required=True, type=click.Path(), help="The patch to write.")
@click.option(
    "--format",
    "form",
    type=click.Choice(["ota", "bsdiff40"]),
    default="ota",
    show_default=True,
    help="ota: a package with digests of old and new; bsdiff40: what the program bspatch reads.",
)
@click.option(
    "--engine",
    type=click.Choice(list(ENGINES)),
    default="auto",
    show_default=True,
    help="Of an ota patch, as for pack: xref makes the smallest ones of programs.",
)
def command(old: str, new: str, output: str, form: str, engine: str) -> None:
    """Make a patch that turns the file OLD into the file NEW.

    \b
    Examples:
      otastream diff app-1.0 app-1.1 -o app.ota
      otastream diff app-1.0 app-1.1 -o app.ota --engine xref
      otastream diff app-1.0 app-1.1 -o app.bsdiff --format bsdiff40
    """
    if form == "ota":
        size = patch.diff_package(old, new, output=output, options=PackOptions(engine=engine)).package
    else:
        size = patch.diff_bsdiff40(old, new, output=output)
    click.echo(f"{output}: {_output.size(size)} instead of {_output.size(os.stat(new).st_size)}", err=output == "-")
