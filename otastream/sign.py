"""Sign a package that is there already. Composition only."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing

from otastream.container import Frame
from otastream.errors import Code, error
from otastream.keys import Signer, check_signers, sign
from otastream.model import Preamble
from otastream.stages.read import read
from otastream.stages.verify import first, verify
from otastream.stages.write import copy


def sign_package(package: str, signers: Sequence[Signer], *, output: str | None = None) -> Preamble:
    """Add signatures to a package; that of the same key is replaced, the others stay. The new preamble.

    package: a path, or ``-`` for stdin. output: a path, or ``-`` for stdout; None: the package itself is replaced. It
    appears only when the package was whole and all signatures are made. Compression from outside is taken off. Memory:
    one frame.
    Errors: USAGE, INPUT, OUTPUT, what the signers raise, those of the package group.
    """
    if not signers:
        raise error(Code.USAGE, "no key to sign with", hint="give --sign KEY; otastream keygen -o vendor.pem makes one")
    check_signers(signers)
    if output is None and package == "-":
        raise error(Code.USAGE, "a package from stdin needs an output")
    with closing(read(package)) as pieces:
        items = verify(pieces)
        preamble = first(items)
        signed = sign(preamble, signers)
        copy(_frames(items), output=package if output is None else output, preamble=signed)
    return signed


def _frames(items: Iterable[Preamble | Frame]) -> Iterator[Frame]:
    return (item for item in items if isinstance(item, Frame))
