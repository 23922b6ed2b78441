"""``otastream keygen``: make a key to sign packages with."""

from __future__ import annotations

import click

from otastream.keys import generate, public_path


@click.command("keygen")
@click.option("-o", "--output", required=True, type=click.Path(dir_okay=False), help="The private key to write.")
def command(output: str) -> None:
    """Make an Ed25519 key: the private one (PKCS#8, mode 0600), and the public one beside it as NAME.pub.pem.

    Both are PEM as openssl writes it. Files that are there are never replaced. The key id is printed to stdout.

    \b
    Examples:
      otastream keygen -o vendor.pem
      otastream pack old/ new/ --dest /config --sign vendor.pem -o update.ota
    """
    key_id = generate(output)
    click.echo(f"{output}: private, keep it secret; {public_path(output)}: for boards", err=True)
    click.echo(key_id.hex())
