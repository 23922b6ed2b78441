"""Ed25519 keys: PEM files as openssl writes them, key ids, trusted keys of a board, signers (docs/SPEC.md section 2.1).

A public key is a SubjectPublicKeyInfo (RFC 8410): 12 fixed bytes and the 32 bytes of the key. It is read here exactly
as the board program reads it, so that a file means the same to both.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import os
import re
import shlex
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)

from otastream.container import SIGNATURES_MAX, signed_bytes
from otastream.errors import Code, OtaError, error
from otastream.model import Preamble

Keys = Mapping[bytes, bytes]
"""Trusted keys: key id -> raw Ed25519 public key of 32 bytes. Empty: unsigned packages are accepted."""

FOLDER: Final = "etc/otastream/keys"
"""Where a board keeps the keys that it trusts, beneath its root."""

FILE_LIMIT: Final = 4096  # a key file is shorter
KEYS_MAX: Final = 32
_SPKI: Final = bytes.fromhex("302a300506032b6570032100")
_BLOCK: Final = re.compile(rb"-----BEGIN PUBLIC KEY-----(.*?)(-----END PUBLIC KEY-----|\Z)", re.S)


def key_id(public: bytes) -> bytes:
    """The name of a raw public key in a package: 8 bytes."""
    return hashlib.sha256(public).digest()[:8]


# ---- public keys ----------------------------------------------------------------------------------------------------


def load_public(path: str) -> Keys:
    """All keys of a PEM file: at least one, nothing that is not a public Ed25519 key. CONFIG otherwise."""
    return _collect([path])


def load_trusted(path: str, *, required: bool) -> Keys:
    """The keys of a PEM file, or of all files of a folder whose names do not begin with a dot.

    Nothing there, or an empty folder, is no key at all unless `required`. CONFIG for anything that is not a public
    key, whatever its name: a key that is dropped silently could leave the board without any, and then unsigned packages
    would pass.
    """
    try:
        if not os.path.isdir(path):
            os.lstat(path)  # a link that leads nowhere is not "no keys": the keys are somewhere else
            return _collect([path])
        names = sorted(os.listdir(path))
    except (FileNotFoundError, NotADirectoryError) as failure:
        if not required:
            return {}
        raise _failed(path, failure) from failure
    except OSError as failure:
        raise _failed(path, failure) from failure
    keys = _collect([os.path.join(path, name) for name in names if not name.startswith(".")])
    if required and not keys:
        raise error(Code.CONFIG, "no key in it", target=path)
    return keys


def load_public_files(paths: Sequence[str]) -> Keys:
    """The keys of several files or folders, each of which must hold one."""
    return {name: key for path in paths for name, key in load_trusted(path, required=True).items()}


def default_folder(root: str) -> str:
    """Where the trusted keys of the board with this root are: trust belongs to the board that is updated."""
    return os.path.join(root, FOLDER)


def _collect(paths: Sequence[str]) -> dict[bytes, bytes]:
    keys: dict[bytes, bytes] = {}
    count = 0
    for path in paths:
        for public in _parse_public(_read(path), path):
            keys[key_id(public)] = public
            count += 1
            if count > KEYS_MAX:
                raise error(Code.CONFIG, f"more than {KEYS_MAX} keys", target=path)
    return keys


def _read(path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            data = file.read(FILE_LIMIT)
    except OSError as failure:
        raise _failed(path, failure) from failure
    if len(data) == FILE_LIMIT:
        raise error(Code.CONFIG, "too long to be a key file", target=path)
    return data


def _parse_public(text: bytes, path: str) -> Iterator[bytes]:
    bodies = _BLOCK.findall(text)
    if not bodies or b"\0" in text:
        private = b"PRIVATE KEY-----" in text
        hint = "this is a private key: nobody but the signer may have it" if private else None
        raise error(Code.CONFIG, "no public key in it", target=path, hint=hint)
    for body, end in bodies:
        joined = body.translate(None, b" \r\n\t")
        der = b""
        with contextlib.suppress(ValueError):
            der = base64.b64decode(joined, validate=True)
        if not end or len(der) != 44 or der[:12] != _SPKI or base64.b64encode(der) != joined:
            raise error(Code.CONFIG, "not a public Ed25519 key", target=path)
        yield der[12:]


def _failed(path: str, failure: OSError) -> OtaError:
    return error(Code.CONFIG, failure.strerror or str(failure), target=path)


# ---- signing --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Signer:
    """Somebody who can sign. sign: bytes -> Ed25519 signature of 64 bytes."""

    key_id: bytes
    sign: Callable[[bytes], bytes]


def load_signer(path: str) -> Signer:
    """A private key: Ed25519, PKCS#8 PEM, not encrypted. CONFIG otherwise."""
    data = _read(path)
    try:
        key = load_pem_private_key(data, password=None)
    except TypeError:
        hint = "decrypt it, or let another program sign: --sign-command"
        raise error(Code.CONFIG, "the key is encrypted", target=path, hint=hint) from None
    except (ValueError, UnsupportedAlgorithm):
        raise error(Code.CONFIG, "not a private key in PEM", target=path) from None
    if not isinstance(key, Ed25519PrivateKey):
        raise error(Code.CONFIG, "not an Ed25519 key", target=path)
    return Signer(key_id(_raw(key.public_key())), key.sign)


def command_signer(command: str, public: str) -> Signer:
    """A program that signs, for keys that never leave their device (HSM, smart card, signing service).

    command: split as a shell would, but run without one. It gets the bytes to sign on stdin and must write the raw
    signature to stdout. public: PEM file with the one public key that the signature belongs to; it is checked.
    Errors: CONFIG, USAGE; on signing INPUT.
    """
    keys = load_public(public)
    if len(keys) != 1:
        raise error(Code.CONFIG, "more than one key: which one signs?", target=public)
    try:
        args = shlex.split(command)
    except ValueError as failure:
        raise error(Code.USAGE, f"--sign-command: {failure}") from None
    if not args:
        raise error(Code.USAGE, "--sign-command is empty")
    (raw,) = keys.values()
    return Signer(key_id(raw), lambda data: _run(args, data, raw))


def _run(args: Sequence[str], data: bytes, public: bytes) -> bytes:
    try:
        done = subprocess.run(args, input=data, stdout=subprocess.PIPE, check=False)  # noqa: S603 (the caller's own)
    except OSError as failure:
        raise error(Code.INPUT, failure.strerror or str(failure), target=args[0]) from failure
    if done.returncode != 0:
        raise error(Code.INPUT, f"the command that signs ended with {done.returncode}", target=args[0])
    if len(done.stdout) != 64:
        detail = f"the command that signs wrote {len(done.stdout)} bytes, a signature has 64"
        raise error(Code.INPUT, detail, target=args[0])
    if not signed_by(public, done.stdout, data):
        detail = f"what the command that signs wrote is no signature by key {key_id(public).hex()}"
        raise error(Code.INPUT, detail, target=args[0])
    return done.stdout


def check_signers(signers: Sequence[Signer]) -> None:
    """USAGE for more signers than a package holds, or one twice."""
    if len(signers) > SIGNATURES_MAX:
        raise error(Code.USAGE, f"{len(signers)} keys: a package has at most {SIGNATURES_MAX} signatures")
    if len({signer.key_id for signer in signers}) < len(signers):
        raise error(Code.USAGE, "the same key twice")


def sign(preamble: Preamble, signers: Sequence[Signer]) -> Preamble:
    """The preamble with a signature by each signer, added to those it has; that of the same key is replaced.

    USAGE: these would be more than a package holds; and what the signers raise.
    """
    data = signed_bytes(preamble)
    kept = dict(preamble.signatures)
    if (count := len(kept.keys() | {signer.key_id for signer in signers})) > SIGNATURES_MAX:
        raise error(Code.USAGE, f"{count} signatures: a package has at most {SIGNATURES_MAX}")
    made = {signer.key_id: signer.sign(data) for signer in signers}
    return replace(preamble, signatures=tuple(sorted((kept | made).items())))


def signed_by(public: bytes, signature: bytes, data: bytes) -> bool:
    """Whether this is the signature of this key over these bytes."""
    try:
        Ed25519PublicKey.from_public_bytes(public).verify(signature, data)
    except (InvalidSignature, ValueError):
        return False
    return True


# ---- new keys -------------------------------------------------------------------------------------------------------


def public_path(path: str) -> str:
    """Where the public key of a private key file goes: key.pem -> key.pub.pem."""
    return f"{path.removesuffix('.pem')}.pub.pem"


def generate(path: str) -> bytes:
    """Make a key: the private one at `path` (mode 0600), the public one beside it. The key id.

    Files that are there are never replaced. OUTPUT: cannot be written; then neither file is left.
    """
    private = Ed25519PrivateKey.generate()
    public = private.public_key()
    files = (
        (path, 0o600, private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())),
        (public_path(path), 0o644, public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)),
    )
    with contextlib.ExitStack() as made:
        for name, mode, data in files:
            _create(name, mode, data, made)
        made.pop_all()
    return key_id(_raw(public))


def _create(name: str, mode: int, data: bytes, made: contextlib.ExitStack) -> None:
    try:
        descriptor = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
        made.callback(os.unlink, name)
        with open(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(descriptor)
    except OSError as failure:
        hint = "a key is never replaced: choose another name" if isinstance(failure, FileExistsError) else None
        raise error(Code.OUTPUT, failure.strerror or str(failure), target=name, hint=hint) from failure


def _raw(public: Ed25519PublicKey) -> bytes:
    return public.public_bytes(Encoding.Raw, PublicFormat.Raw)
