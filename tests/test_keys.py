"""Keys: what keygen and openssl write, what both programs take for a key, who may sign."""

from __future__ import annotations

import hashlib
import os
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, x25519
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
    load_pem_public_key,
)

from e2e_support import Applier
from otastream import keys
from otastream.cli.main import run
from otastream.container import SIGNATURES_MAX
from otastream.errors import Code, OtaError
from otastream.model import Codec, Preamble

SIGNED = Path(__file__).parent / "golden/good/signatures-1.ota"
UNSIGNED = SIGNED.with_name("empty-none.ota")
PREAMBLE = Preamble(Codec.NONE, 0, 16, 1 << 20, 100, bytes(32))


def public_pem(seed: int) -> bytes:
    """The public key that golden packages are signed with (seeds 1 to 4), and others."""
    key = Ed25519PrivateKey.from_private_bytes(bytes([seed] * 32)).public_key()
    return key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def private_pem(seed: int) -> bytes:
    key = Ed25519PrivateKey.from_private_bytes(bytes([seed] * 32))
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def fails(code: Code, function: object, *args: object, **options: object) -> OtaError:
    assert callable(function)
    with pytest.raises(OtaError) as caught:
        function(*args, **options)
    assert caught.value.code is code, str(caught.value)
    return caught.value


# ---- keygen ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("umask", [0, 0o022, 0o077])
def test_keygen(tmp_path: Path, umask: int, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "vendor.pem"
    before = os.umask(umask)
    try:
        assert run(["keygen", "-o", str(path)]) == 0
    finally:
        os.umask(before)
    public = tmp_path / "vendor.pub.pem"
    assert sorted(tmp_path.iterdir()) == [path, public]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(public.stat().st_mode) == 0o644 & ~umask
    private = load_pem_private_key(path.read_bytes(), None)
    assert isinstance(private, Ed25519PrivateKey)
    assert load_pem_public_key(public.read_bytes()) == private.public_key()
    raw = private.public_key().public_bytes_raw()
    key_id = hashlib.sha256(raw).digest()[:8]
    assert capsys.readouterr().out == key_id.hex() + "\n"
    assert keys.load_public(str(public)) == {key_id: raw}
    assert keys.load_signer(str(path)).key_id == key_id


@pytest.mark.parametrize("there", ["vendor.pem", "vendor.pub.pem"])
def test_keygen_replaces_nothing(tmp_path: Path, there: str) -> None:
    (tmp_path / there).write_bytes(b"precious")
    assert run(["keygen", "-o", str(tmp_path / "vendor.pem")]) == Code.OUTPUT
    assert [path.name for path in tmp_path.iterdir()] == [there]
    assert (tmp_path / there).read_bytes() == b"precious"


def test_keygen_where_nothing_can_be_written(tmp_path: Path) -> None:
    assert run(["keygen", "-o", str(tmp_path / "no/vendor.pem")]) == Code.OUTPUT


def test_every_key_is_another_one(tmp_path: Path) -> None:
    assert len({keys.generate(str(tmp_path / f"{number}.pem")) for number in range(5)}) == 5


# ---- public keys: both programs take the same files -----------------------------------------------------------------

_OTHER = x25519.X25519PrivateKey.generate().public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
_CURVE = ec.generate_private_key(ec.SECP256R1()).public_key()
_EC = _CURVE.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
_PEM = public_pem(1)
_BODY = _PEM.splitlines()[1]


def _pem(body: bytes) -> bytes:
    return b"-----BEGIN PUBLIC KEY-----\n" + body + b"\n-----END PUBLIC KEY-----\n"


KEY_FILES: dict[str, tuple[bytes, bool]] = {
    "as openssl writes it": (_PEM, True),
    "with CRLF": (_PEM.replace(b"\n", b"\r\n"), True),
    "without the last newline": (_PEM.rstrip(), True),
    "in one line": (_PEM.replace(b"\n", b""), True),
    "indented": (b"  " + _PEM.replace(b"\n", b"\n\t "), True),
    "broken into short lines": (_pem(_BODY[:20] + b"\n" + _BODY[20:]), True),
    "behind a comment": (b"the vendor's key of 2026\n" + _PEM, True),
    "two keys": (public_pem(9) + _PEM, True),
    "the same key twice": (_PEM + _PEM, True),
    "nearly too long": (_PEM + bytes(b"\n" * (4095 - len(_PEM))), True),
    "too long": (_PEM + bytes(b"\n" * (4096 - len(_PEM))), False),
    "one that is none beside it": (_PEM + _OTHER, False),
    "empty": (b"", False),
    "junk": (b"junk", False),
    "an empty key": (_pem(b""), False),
    "a short key": (_pem(_BODY[:56]), False),
    "not base64": (_pem(_BODY[:30] + b"*" + _BODY[31:]), False),
    "without padding": (_pem(_BODY.rstrip(b"=")), False),
    "with bits behind the end": (_pem(_BODY[:-2] + bytes([_BODY[-2] + 1]) + b"="), False),
    "with a vertical tab": (_pem(_BODY[:20] + b"\v" + _BODY[20:]), False),
    "without an end": (_PEM[: _PEM.index(b"-----END")], False),
    "with a NUL": (_PEM + b"\0", False),
    "another curve": (_OTHER, False),
    "an EC key": (_EC, False),
    "a private key": (private_pem(1), False),
    "the raw key": (Ed25519PrivateKey.from_private_bytes(b"\1" * 32).public_key().public_bytes_raw(), False),
}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "root/tmp").mkdir(parents=True)
    return tmp_path / "root"


def verdict(applier: Applier, package: Path, root: Path, *options: str) -> str:
    code = applier.code(package, root, "--dry-run", *options)
    return Code(code).name if code else ""


def test_what_is_a_key(applier: Applier, root: Path, tmp_path: Path) -> None:
    assert len(_PEM) + 2 < 4096 < len(KEY_FILES["too long"][0]) + 1
    for name, (text, good) in KEY_FILES.items():
        path = tmp_path / "key"
        path.write_bytes(text)
        assert verdict(applier, SIGNED, root, "-k", str(path)) == ("" if good else "CONFIG"), name


def test_a_folder_of_keys(applier: Applier, root: Path, tmp_path: Path) -> None:
    folder = tmp_path / "keys"
    folder.mkdir()

    def keys_are(**files: bytes) -> str:
        shutil.rmtree(folder)
        folder.mkdir()
        for name, text in files.items():
            (folder / name).write_bytes(text)
        return verdict(applier, SIGNED, root, "-k", str(folder))

    assert keys_are() == "CONFIG"  # named, but no key in it
    assert keys_are(a=public_pem(1)) == ""
    assert keys_are(a=public_pem(7), b=public_pem(8)) == "KEY"
    assert keys_are(a=public_pem(7), b=public_pem(8), c=public_pem(1)) == ""
    assert keys_are(a=public_pem(1), README=b"keys of the vendor") == "CONFIG"
    assert keys_are(**{".hidden": public_pem(1)}) == "CONFIG"
    assert keys_are(**{".hidden": b"junk", "a": public_pem(1)}) == ""
    assert keys_are(**{f"k{seed}": public_pem(seed) for seed in range(1, 33)}) == ""
    assert keys_are(**{f"k{seed}": public_pem(seed) for seed in range(1, 34)}) == "CONFIG"
    keys_are(a=public_pem(1))
    (folder / "inside").mkdir()
    assert verdict(applier, SIGNED, root, "-k", str(folder)) == "CONFIG"
    assert verdict(applier, SIGNED, root, "-k", str(tmp_path / "none")) == "CONFIG"


def test_the_board_keeps_its_keys_beneath_its_root(applier: Applier, root: Path) -> None:
    assert verdict(applier, UNSIGNED, root) == ""
    folder = root / "etc/otastream/keys"
    folder.mkdir(parents=True)
    assert verdict(applier, UNSIGNED, root) == ""  # an empty folder is no key
    (folder / "vendor.pem").write_bytes(public_pem(1))
    assert verdict(applier, UNSIGNED, root) == "UNSIGNED"
    assert verdict(applier, SIGNED, root) == ""
    (folder / "vendor.pem").write_bytes(public_pem(7))
    assert verdict(applier, SIGNED, root) == "KEY"
    (folder / "vendor.pem").write_bytes(b"")  # what a cut may leave: no reason to trust everybody
    assert verdict(applier, UNSIGNED, root) == "CONFIG"
    shutil.rmtree(folder)
    folder.symlink_to("/nowhere")  # the keys are somewhere else, so it is not known whom to trust
    assert verdict(applier, UNSIGNED, root) == "CONFIG"
    folder.unlink()
    (root / "file").touch()
    folder.symlink_to(root / "file/keys")
    assert verdict(applier, UNSIGNED, root) == "CONFIG"
    folder.unlink()
    folder.symlink_to("elsewhere")
    (root / "etc/otastream/elsewhere").mkdir()
    (root / "etc/otastream/elsewhere/k").write_bytes(public_pem(1))
    assert verdict(applier, UNSIGNED, root) == "UNSIGNED"


@pytest.mark.skipif(os.geteuid() == 0, reason="runs as root, which may read anything")
def test_keys_that_cannot_be_read_are_not_no_keys(applier: Applier, root: Path) -> None:
    folder = root / "etc/otastream/keys"
    folder.mkdir(parents=True)
    folder.chmod(0)
    try:
        assert verdict(applier, UNSIGNED, root) == "CONFIG"
    finally:
        folder.chmod(0o755)


def test_a_private_key_where_a_public_one_belongs_gets_a_hint(tmp_path: Path) -> None:
    (tmp_path / "k.pem").write_bytes(private_pem(1))
    failure = fails(Code.CONFIG, keys.load_public, str(tmp_path / "k.pem"))
    assert failure.hint is not None
    assert "private" in failure.hint


# ---- signing keys ---------------------------------------------------------------------------------------------------


def test_what_signs(tmp_path: Path) -> None:
    path = tmp_path / "k.pem"
    secret = Ed25519PrivateKey.generate()
    locked = secret.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"password"))
    curve = ec.generate_private_key(ec.SECP256R1())
    other = curve.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    for text in (locked, other, public_pem(1), b"", b"junk", b"\0" * 100, private_pem(1)[:-30]):
        path.write_bytes(text)
        fails(Code.CONFIG, keys.load_signer, str(path))
    fails(Code.CONFIG, keys.load_signer, str(tmp_path / "none"))
    path.write_bytes(private_pem(1))
    data = b"what is signed"
    assert keys.signed_by(load_raw(public_pem(1)), keys.load_signer(str(path)).sign(data), data)
    assert not keys.signed_by(load_raw(public_pem(1)), keys.load_signer(str(path)).sign(data), data + b"!")
    assert not keys.signed_by(b"short", bytes(64), data)


def load_raw(pem: bytes) -> bytes:
    key = load_pem_public_key(pem)
    return key.public_bytes(Encoding.Raw, PublicFormat.Raw)


def test_signatures_are_sorted_kept_and_replaced(tmp_path: Path) -> None:
    signers = []
    for seed in range(1, 6):
        path = tmp_path / f"{seed}.pem"
        path.write_bytes(private_pem(seed))
        signers.append(keys.load_signer(str(path)))
    first = keys.sign(PREAMBLE, signers[:2])
    wrong = Preamble(
        Codec.NONE, 0, 16, 1 << 20, 100, bytes(32), tuple((name, bytes(64)) for name, _ in first.signatures)
    )
    again = keys.sign(wrong, signers[1:4])
    names = [name for name, _ in again.signatures]
    assert names == sorted({signer.key_id for signer in signers[:4]})
    made = dict(again.signatures)
    assert made[signers[0].key_id] == bytes(64)  # not ours to judge
    assert made[signers[1].key_id] == dict(first.signatures)[signers[1].key_id]
    assert len(again.signatures) == SIGNATURES_MAX
    fails(Code.USAGE, keys.sign, again, signers[4:])
    fails(Code.USAGE, keys.check_signers, signers)
    fails(Code.USAGE, keys.check_signers, [signers[0], signers[0]])


# ---- a program that signs -------------------------------------------------------------------------------------------

HSM = """
import sys
from cryptography.hazmat.primitives.serialization import load_pem_private_key
key = load_pem_private_key(open(sys.argv[1], "rb").read(), None)
sys.stdout.buffer.write(key.sign(sys.stdin.buffer.read()))
"""


def test_a_program_that_signs(tmp_path: Path) -> None:
    for seed in (1, 2):
        (tmp_path / f"{seed} key.pem").write_bytes(private_pem(seed))
        (tmp_path / f"{seed}.pub.pem").write_bytes(public_pem(seed))
    (tmp_path / "hsm.py").write_text(HSM)
    hsm = f"{sys.executable} {tmp_path}/hsm.py '{tmp_path}/1 key.pem'"
    public = str(tmp_path / "1.pub.pem")
    plain = keys.sign(PREAMBLE, [keys.load_signer(str(tmp_path / "1 key.pem"))])
    assert keys.sign(PREAMBLE, [keys.command_signer(hsm, public)]) == plain

    def refused(command: str, public: str) -> str:
        return str(fails(Code.INPUT, keys.command_signer(command, public).sign, b"data"))

    assert "signature by key" in refused(hsm, str(tmp_path / "2.pub.pem"))
    assert "ended with 3" in refused("sh -c 'exit 3'", public)
    assert "0 bytes" in refused("true", public)
    assert "No such file" in refused(str(tmp_path / "none"), public)
    for command in ("", "  ", "sh -c 'unfinished"):
        fails(Code.USAGE, keys.command_signer, command, public)
    (tmp_path / "both.pem").write_bytes(public_pem(1) + public_pem(2))
    fails(Code.CONFIG, keys.command_signer, hsm, str(tmp_path / "both.pem"))


# ---- openssl --------------------------------------------------------------------------------------------------------


@pytest.mark.skipif(shutil.which("openssl") is None, reason="no openssl command")
def test_keys_of_openssl(applier: Applier, root: Path, tmp_path: Path) -> None:
    """A key that openssl made signs, and both programs trust what openssl exports; the other way round, too."""

    def openssl(*args: str | Path) -> None:
        subprocess.run(["openssl", *args], check=True, capture_output=True)

    private, public, package = tmp_path / "k.pem", tmp_path / "k.pub.pem", tmp_path / "p.ota"
    openssl("genpkey", "-algorithm", "ed25519", "-out", private)
    openssl("pkey", "-in", private, "-pubout", "-out", public)
    assert run(["sign", str(UNSIGNED), "--sign", str(private), "-o", str(package)]) == 0
    assert verdict(applier, package, root, "-k", str(public)) == ""
    assert run(["verify", str(package), "--key", str(public)]) == 0
    assert run(["keygen", "-o", str(tmp_path / "own.pem")]) == 0
    signer = keys.load_signer(str(tmp_path / "own.pem"))
    (tmp_path / "message").write_bytes(b"message")
    (tmp_path / "signature").write_bytes(signer.sign(b"message"))
    openssl(
        "pkeyutl", "-verify", "-pubin", "-inkey", tmp_path / "own.pub.pem", "-rawin", "-in", tmp_path / "message",
        "-sigfile", tmp_path / "signature",
    )  # fmt: skip
    openssl("pkey", "-in", tmp_path / "own.pem", "-pubout", "-out", tmp_path / "exported.pem")
    assert (tmp_path / "exported.pem").read_bytes() == (tmp_path / "own.pub.pem").read_bytes()
    openssl("pkey", "-in", tmp_path / "own.pem", "-out", tmp_path / "rewritten.pem")
    assert (tmp_path / "rewritten.pem").read_bytes() == (tmp_path / "own.pem").read_bytes()
