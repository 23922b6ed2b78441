"""``otastream sign``: add signatures to a package."""

from __future__ import annotations

import click

from otastream.cli import _output, _sign
from otastream.sign import sign_package


@click.command("sign")
@click.argument("package", type=click.Path(dir_okay=False, allow_dash=True))
@click.option("-o", "--output", type=click.Path(), help="The signed package; - is stdout. [default: replace PACKAGE]")
@_sign.options
def command(
    package: str, output: str | None, sign_keys: tuple[str, ...], sign_command: str | None, sign_public: str | None
) -> None:
    """Add signatures to PACKAGE (- is stdin); one by the same key is replaced, the others stay.

    The package is checked from its first byte to its last on the way. Nothing is replaced unless all went well.

    \b
    Examples:
      otastream sign update.ota --sign vendor.pem
      otastream sign update.ota --sign-command 'hsm-sign --slot 2' --sign-public vendor.pub.pem -o signed.ota
    """
    preamble = sign_package(package, _sign.signers(sign_keys, sign_command, sign_public), output=output)
    click.echo(f"signed by {_output.key_ids(preamble)}", err=True)
