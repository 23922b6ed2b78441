"""``otastream append``: add records to a package."""

from __future__ import annotations

from typing import Any

import click

from otastream.cli import _pack, _progress
from otastream.pack import append_release


@click.command("append")
@click.argument("package", type=click.Path(dir_okay=False))
@click.argument("old", required=False, type=click.Path())
@click.argument("new", required=False, type=click.Path())
@click.option("--drop-signatures", is_flag=True, help="Go on although the signatures of the package are lost.")
@_pack.options
def command(package: str, old: str | None, new: str | None, drop_signatures: bool, **values: Any) -> None:
    """Add to PACKAGE what turns the folder OLD into the folder NEW, or what a release.toml says.

    The new records are executed after those that are there; all their checks come first. No target may be in both.
    PACKAGE is replaced when all went well.

    \b
    Examples:
      otastream append update.ota web-1.0/ web-1.1/ --dest /var/www
      otastream append update.ota --spec extra.toml
    """
    arguments = _pack.Arguments(**values)
    release = arguments.release(old, new)
    with _progress.reporter(arguments.progress_mode) as progress:
        options = arguments.pack_options(progress)
        summary = append_release(package, release, options=options, drop_signatures=drop_signatures)
    arguments.show(summary, package)
