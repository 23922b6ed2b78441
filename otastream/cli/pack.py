"""``otastream pack``: make a package from an old and a new state."""

from __future__ import annotations

from typing import Any

import click

from otastream.cli import _pack, _progress
from otastream.pack import pack_release


@click.command("pack")
@click.argument("old", required=False, type=click.Path())
@click.argument("new", required=False, type=click.Path())
@click.option("-o", "--output", required=True, type=click.Path(), help="The package to write; - is stdout.")
@_pack.options
def command(old: str | None, new: str | None, output: str, **values: Any) -> None:
    """Make the package that turns the folder OLD into the folder NEW, or what a release.toml says.

    The same inputs give the same package, whatever the number of jobs; SOURCE_DATE_EPOCH is written into it if set.
    Nothing appears under the name of the package unless all went well.

    \b
    Examples:
      otastream pack release-1.0/ release-1.1/ --dest /config -o update.ota
      otastream pack old/ new/ --dest / --ram 512K --compatible acme,cam-x -o update.ota
      otastream pack old/ new/ --dest /config --sign vendor.pem -o update.ota
      otastream pack old/ new/ --dest / --cache ~/.cache/otastream -o update.ota
      otastream pack --spec release.toml -o - | ssh board otastream apply -
    """
    arguments = _pack.Arguments(**values)
    release = arguments.release(old, new)
    with _progress.reporter(arguments.progress_mode) as progress:
        summary = pack_release(release, output=output, options=arguments.pack_options(progress))
    arguments.show(summary, output)
