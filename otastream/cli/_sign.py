"""What pack, append and sign share: who signs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, TypeVar

import click

from otastream.errors import Code, error
from otastream.keys import Signer, command_signer, load_signer

F = TypeVar("F", bound=Callable[..., Any])
_FILE: Final = click.Path(dir_okay=False)

_OPTIONS: Final = (
    click.option("--sign", "sign_keys", multiple=True, type=_FILE, metavar="KEY",
                 help="Sign with this private key (Ed25519, PEM); repeatable, up to 4."),
    click.option("--sign-command", metavar="COMMAND",
                 help="Sign with a program (HSM): the bytes to sign on stdin, the raw 64-byte signature on stdout."),
    click.option("--sign-public", type=_FILE, metavar="PUB", help="Public key of --sign-command (PEM)."),
)  # fmt: skip


def options(function: F) -> F:
    """Put the options on a command."""
    for option in reversed(_OPTIONS):
        function = option(function)
    return function


def signers(sign_keys: tuple[str, ...], sign_command: str | None, sign_public: str | None) -> tuple[Signer, ...]:
    """What the options ask for. Errors: USAGE, CONFIG."""
    if (sign_command is None) != (sign_public is None):
        raise error(Code.USAGE, "--sign-command and --sign-public come together")
    found = [load_signer(path) for path in sign_keys]
    if sign_command is not None and sign_public is not None:
        found.append(command_signer(sign_command, sign_public))
    return tuple(found)
