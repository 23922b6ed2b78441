"""Signed packages: pack, sign, verify, inspect, append; key rotation; every flipped bit is refused by both programs."""

from __future__ import annotations

import hashlib
import json
import os
import random
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

import pytest

from e2e_support import OTASTREAM, Applier, board, overwrite, state, write
from otastream import keys
from otastream.apply import ApplyOptions, apply_package
from otastream.cli.main import run
from otastream.container import FRAME_HEAD, HEAD, SIGNATURE, parse_preamble, preamble_size
from otastream.errors import Code, OtaError
from otastream.model import Preamble


class Vendor:
    """Two folders, three keys, and what is made of them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        write(folder / "old/app", random.Random(1).randbytes(1150), 0o755)
        write(folder / "new/app", random.Random(2).randbytes(1150), 0o755)
        write(folder / "old/gone", b"x")
        write(folder / "new/added", random.Random(3).randbytes(400))
        self.ids = {name: keys.generate(str(self.private(name))).hex() for name in ("a", "b", "c")}

    def private(self, name: str) -> Path:
        return self.folder / f"{name}.pem"

    def public(self, name: str) -> Path:
        return self.folder / f"{name}.pub.pem"

    def pack(self, out: Path, *signed_by: str, codec: str = "none", code: int = 0) -> Path:
        signs = [arg for name in signed_by for arg in ("--sign", str(self.private(name)))]
        folders = (str(self.folder / "old"), str(self.folder / "new"))
        assert run(["pack", *folders, "--dest", "/config", "--codec", codec, "-o", str(out), *signs]) == code
        return out

    def sign(self, package: Path, *names: str, out: Path | None = None) -> int:
        signs = [arg for name in names for arg in ("--sign", str(self.private(name)))]
        return run(["sign", str(package), *signs, *([] if out is None else ["-o", str(out)])])


@pytest.fixture(scope="module")
def vendor(tmp_path_factory: pytest.TempPathFactory) -> Vendor:
    return Vendor(tmp_path_factory.mktemp("vendor"))


@pytest.fixture(scope="module")
def unsigned(vendor: Vendor, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return vendor.pack(tmp_path_factory.mktemp("package") / "p.ota").read_bytes()


def preamble(package: Path) -> Preamble:
    data = package.read_bytes()
    return parse_preamble(data[: preamble_size(data)])


def signers(package: Path) -> list[str]:
    return [key_id.hex() for key_id, _ in preamble(package).signatures]


def trusting(root: Path, vendor: Vendor, *names: str) -> Path:
    """The board with this root trusts these keys and no others."""
    folder = root / "etc/otastream/keys"
    folder.mkdir(parents=True, exist_ok=True)
    for path in folder.iterdir():
        path.unlink()
    for name in names:
        (folder / f"{name}.pem").write_bytes(vendor.public(name).read_bytes())
    return root


# ---- making signed packages -----------------------------------------------------------------------------------------


def test_pack_signs_and_changes_nothing_else(vendor: Vendor, unsigned: bytes, tmp_path: Path) -> None:
    package = vendor.pack(tmp_path / "p.ota", "a", "b")
    assert signers(package) == sorted(vendor.ids[name] for name in "ab")
    data = package.read_bytes()
    assert data[:HEAD] == unsigned[:HEAD]
    assert data[preamble_size(data) :] == unsigned[preamble_size(unsigned) :]
    assert vendor.pack(tmp_path / "again.ota", "b", "a").read_bytes() == data, "not reproducible"


def test_sign_gives_what_pack_gives(vendor: Vendor, unsigned: bytes, tmp_path: Path) -> None:
    package, out = tmp_path / "p.ota", tmp_path / "out.ota"
    package.write_bytes(unsigned)
    assert vendor.sign(package, "a", out=out) == 0
    assert package.read_bytes() == unsigned
    assert out.read_bytes() == vendor.pack(tmp_path / "packed.ota", "a").read_bytes()
    assert vendor.sign(out, "b") == 0  # in place, one more
    both = vendor.pack(tmp_path / "both.ota", "a", "b").read_bytes()
    assert out.read_bytes() == both
    assert vendor.sign(out, "b", "a") == 0  # both replaced by themselves
    assert out.read_bytes() == both
    assert sorted(path.name for path in tmp_path.iterdir()) == ["both.ota", "out.ota", "p.ota", "packed.ota"]


def test_sign_replaces_a_signature_that_is_wrong(vendor: Vendor, unsigned: bytes, tmp_path: Path) -> None:
    package = vendor.pack(tmp_path / "p.ota", "a")
    right = package.read_bytes()
    wrong = resealed(right, HEAD + 1 + 8, 1)
    package.write_bytes(wrong)
    assert run(["verify", str(package), "--key", str(vendor.public("a"))]) == Code.SIGNATURE
    assert vendor.sign(package, "a") == 0
    assert package.read_bytes() == right


def test_sign_in_a_pipe(vendor: Vendor, unsigned: bytes, tmp_path: Path) -> None:
    command = [*OTASTREAM, "sign", "-", "--sign", str(vendor.private("a")), "-o", "-"]
    done = subprocess.run(command, input=unsigned, capture_output=True, check=True)
    assert done.stdout == vendor.pack(tmp_path / "p.ota", "a").read_bytes()
    assert vendor.ids["a"] in done.stderr.decode()


def test_a_package_that_is_damaged_is_not_signed(vendor: Vendor, unsigned: bytes, tmp_path: Path) -> None:
    package = tmp_path / "p.ota"
    for damaged, code in (
        (unsigned[:-1] + bytes([unsigned[-1] ^ 1]), Code.CORRUPT),
        (unsigned[:-1], Code.TRUNCATED),
        (unsigned + b"!", Code.FORMAT),
        (b"hello", Code.MAGIC),
    ):
        package.write_bytes(damaged)
        assert vendor.sign(package, "a") == code
        assert vendor.sign(package, "a", out=tmp_path / "out.ota") == code
        assert package.read_bytes() == damaged
        assert os.listdir(tmp_path) == ["p.ota"]


def test_what_cannot_be_signed_with(vendor: Vendor, unsigned: bytes, tmp_path: Path) -> None:
    package = tmp_path / "p.ota"
    package.write_bytes(unsigned)
    keygens = [tmp_path / f"{number}.pem" for number in range(5)]
    for path in keygens:
        keys.generate(str(path))
    public, command = str(vendor.public("a")), "cat"
    for args, code in (
        ([], Code.USAGE),
        (["--sign", str(vendor.private("a")), "--sign", str(vendor.private("a"))], Code.USAGE),
        ([arg for path in keygens for arg in ("--sign", str(path))], Code.USAGE),
        (["--sign-command", command], Code.USAGE),
        (["--sign-public", public], Code.USAGE),
        (["--sign", public], Code.CONFIG),
        (["--sign", str(tmp_path / "none")], Code.CONFIG),
        (["--sign-command", command, "--sign-public", str(vendor.private("a"))], Code.CONFIG),
        (["--sign-command", command, "--sign-public", public], Code.INPUT),
    ):
        assert run(["sign", str(package), *args]) == code, args
        assert package.read_bytes() == unsigned
        if args:
            folders = [str(vendor.folder / "old"), str(vendor.folder / "new"), "--dest", "/config"]
            assert run(["pack", *folders, "-o", str(tmp_path / "packed.ota"), *args]) == code, args
            assert not (tmp_path / "packed.ota").exists()
    assert run(["sign", "-", "--sign", str(vendor.private("a"))]) == Code.USAGE
    for path in keygens[:4]:
        assert run(["sign", str(package), "--sign", str(path)]) == 0
    assert run(["sign", str(package), "--sign", str(keygens[4])]) == Code.USAGE  # a fifth
    assert len(signers(package)) == 4


def test_a_program_may_sign(vendor: Vendor, unsigned: bytes, tmp_path: Path) -> None:
    package = tmp_path / "p.ota"
    package.write_bytes(unsigned)
    code = (
        "import sys; from otastream.keys import load_signer as load; "
        "sys.stdout.buffer.write(load(sys.argv[1]).sign(sys.stdin.buffer.read()))"
    )
    command = f"{sys.executable} -c '{code}' {vendor.private('a')}"
    assert run(["sign", str(package), "--sign-command", command, "--sign-public", str(vendor.public("a"))]) == 0
    assert package.read_bytes() == vendor.pack(tmp_path / "packed.ota", "a").read_bytes()


def test_append_and_signatures(vendor: Vendor, tmp_path: Path) -> None:
    package = vendor.pack(tmp_path / "p.ota", "a")
    before = package.read_bytes()
    folders = [str(vendor.folder / "old"), str(vendor.folder / "new"), "--dest", "/other"]
    assert run(["append", str(package), *folders]) == Code.USAGE
    assert package.read_bytes() == before
    assert run(["append", str(package), *folders, "--drop-signatures", "--sign", str(vendor.private("b"))]) == 0
    assert signers(package) == [vendor.ids["b"]]
    assert run(["verify", str(package), "--key", str(vendor.public("b"))]) == 0


# ---- looking at them ------------------------------------------------------------------------------------------------


def test_verify_demands_a_signature(
    vendor: Vendor, unsigned: bytes, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    package, plain = vendor.pack(tmp_path / "p.ota", "a"), tmp_path / "plain.ota"
    plain.write_bytes(unsigned)
    a, b = str(vendor.public("a")), str(vendor.public("b"))
    capsys.readouterr()
    assert run(["verify", str(package), "--key", a]) == 0
    assert f"signed by {vendor.ids['a']}\n" in capsys.readouterr().out
    assert run(["verify", str(package)]) == 0
    assert f"signed by {vendor.ids['a']} (not checked)" in capsys.readouterr().out
    assert run(["verify", str(package), "--key", b]) == Code.KEY
    assert vendor.ids["a"] in capsys.readouterr().err
    assert run(["verify", str(package), "--key", b, "--key", a, "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert (shown["trusted"], shown["keys"]) == ([vendor.ids["a"]], [vendor.ids["a"]])
    assert run(["verify", str(plain), "--key", a]) == Code.UNSIGNED
    assert run(["verify", str(plain), "--key", str(vendor.private("a"))]) == Code.CONFIG


def test_inspect_shows_who_signed(vendor: Vendor, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    package = vendor.pack(tmp_path / "p.ota", "a", "b")
    capsys.readouterr()
    assert run(["inspect", str(package)]) == 0
    assert f"signed by {', '.join(sorted(vendor.ids[name] for name in 'ab'))}\n" in capsys.readouterr().out


# ---- boards that trust ----------------------------------------------------------------------------------------------


def test_rotation(applier: Applier, vendor: Vendor, tmp_path: Path) -> None:
    """Boards know a; they learn b while packages are signed by both; then a is withdrawn."""
    packages = {names: vendor.pack(tmp_path / f"{names}.ota", *names) for names in ("", "a", "ab", "b", "c")}
    cases = {
        "": {"": 0, "a": 0, "ab": 0, "b": 0, "c": 0},
        "a": {"": Code.UNSIGNED, "a": 0, "ab": 0, "b": Code.KEY, "c": Code.KEY},
        "ab": {"": Code.UNSIGNED, "a": 0, "ab": 0, "b": 0, "c": Code.KEY},
        "b": {"": Code.UNSIGNED, "a": Code.KEY, "ab": 0, "b": 0, "c": Code.KEY},
    }
    for trusted, verdicts in cases.items():
        for names, code in verdicts.items():
            folder = tmp_path / f"{trusted or 'nobody'}-{names}"
            root = trusting(board(folder, vendor.folder / "old"), vendor, *trusted)
            before = state(root)
            assert applier.code(packages[names], root) == code, (trusted, names)
            if code:
                assert state(root) == before
            else:
                assert state(root / "config") == state(vendor.folder / "new")


def test_a_good_signature_does_not_make_up_for_a_bad_one(applier: Applier, vendor: Vendor, tmp_path: Path) -> None:
    package = vendor.pack(tmp_path / "p.ota", "a", "b")
    root = board(tmp_path, vendor.folder / "old")
    second = signers(package)[1]
    package.write_bytes(resealed(package.read_bytes(), HEAD + 1 + SIGNATURE + 8, 0x10))
    for names in ("a", "b", "ab"):
        bad = any(vendor.ids[name] == second for name in names)
        assert applier.code(package, trusting(root, vendor, *names), "-n") == (Code.SIGNATURE if bad else 0)


def test_a_signature_of_another_package_is_refused(applier: Applier, vendor: Vendor, tmp_path: Path) -> None:
    """The head is signed, and through it every frame: a signature cannot be moved."""
    package, other = vendor.pack(tmp_path / "p.ota", "a"), tmp_path / "other.ota"
    folders = [str(vendor.folder / "new"), str(vendor.folder / "old"), "--dest", "/config"]
    assert run(["pack", *folders, "-o", str(other), "--sign", str(vendor.private("a"))]) == 0
    root = trusting(board(tmp_path, vendor.folder / "old"), vendor, "a")
    good, data = package.read_bytes(), bytearray(other.read_bytes())
    data[HEAD : HEAD + 1 + SIGNATURE] = good[HEAD : HEAD + 1 + SIGNATURE]
    other.write_bytes(sealed(data))
    assert applier.code(other, root) == Code.SIGNATURE
    assert state(root / "config") == state(vendor.folder / "old")


# ---- every bit ------------------------------------------------------------------------------------------------------


def resealed(data: bytes, position: int, mask: int) -> bytes:
    """Changed, with a digest of the preamble that fits again: what somebody does who knows the format."""
    changed = bytearray(data)
    changed[position] ^= mask
    return sealed(changed)


def sealed(data: bytearray) -> bytes:
    size = preamble_size(data)
    data[size - 32 : size] = hashlib.sha256(data[: size - 32]).digest()
    return bytes(data)


class Case:
    """A board that trusts key a, and a package signed by it."""

    def __init__(self, vendor: Vendor, folder: Path, *, codec: str = "none") -> None:
        self.package = vendor.pack(folder / "signed.ota", "a", codec=codec)
        self.data = self.package.read_bytes()
        self.bad = folder / "bad.ota"
        self.root = trusting(board(folder, vendor.folder / "old"), vendor, "a")
        self.before = state(self.root)

    def code(self, applier: Applier) -> int:
        """What becomes of the bad package, with as little around the program as can be: there are many of them."""
        if not applier.python:
            argv = [str(word) for word in applier.argv(self.bad, self.root)]
            silent = [(os.POSIX_SPAWN_OPEN, fd, os.devnull, os.O_RDWR, 0) for fd in range(3)]
            pid = os.posix_spawn(argv[0], argv, os.environ, file_actions=silent)
            return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        try:
            apply_package(str(self.bad), ApplyOptions(str(self.root), str(self.root / "tmp")))
        except OtaError as failure:
            return failure.code
        return 0

    def refused(self, applier: Applier, packages: Iterable[bytes], codes: frozenset[int]) -> int:
        """All are refused with one of these codes, and the board stays as it is. How many there were."""
        count = 0
        for count, data in enumerate(packages, 1):
            overwrite(self.bad, data)
            assert self.code(applier) in codes, count
            if count % 64 == 0:
                assert state(self.root) == self.before, count
        assert state(self.root) == self.before
        return count

    def flipped(self, positions: Iterable[int], bits: range = range(8)) -> Iterable[bytes]:
        for position in positions:
            for bit in bits:
                changed = bytearray(self.data)
                changed[position] ^= 1 << bit
                yield bytes(changed)


@pytest.fixture
def case(vendor: Vendor, tmp_path: Path) -> Case:
    return Case(vendor, tmp_path)


BAD_FILE = frozenset(code.value for code in Code if code.who == "package")
FORGED = BAD_FILE | {Code.UNSIGNED, Code.KEY, Code.SIGNATURE}


def test_the_board_takes_the_package_as_it_was_signed(applier: Applier, case: Case, vendor: Vendor) -> None:
    assert applier.code(case.package, case.root) == 0
    assert state(case.root / "config") == state(vendor.folder / "new")


def test_every_bit_of_the_preamble(applier: Applier, case: Case) -> None:
    size = preamble_size(case.data)
    assert case.refused(applier, case.flipped(range(size)), BAD_FILE) == 8 * (HEAD + 1 + SIGNATURE + 32)


def test_every_bit_of_the_preamble_with_the_digest_set_right(applier: Applier, case: Case) -> None:
    """Only the signature stands in the way of these."""
    positions = range(10, HEAD + 1 + SIGNATURE)
    forged = [resealed(case.data, at, 1 << bit) for at in positions for bit in range(8) if at != HEAD]
    case.refused(applier, forged, FORGED | {Code.RAM})
    stripped = bytearray(case.data)
    del stripped[HEAD + 1 : HEAD + 1 + SIGNATURE]
    stripped[HEAD] = 0
    assert case.refused(applier, [sealed(stripped)], frozenset({Code.UNSIGNED})) == 1


@pytest.mark.slow
def test_every_bit(applier: Applier, case: Case) -> None:
    assert len(case.data) >= 2000
    assert case.refused(applier, case.flipped(range(len(case.data))), BAD_FILE) == 8 * len(case.data)


# ---- nothing that nobody vouches for is decompressed ----------------------------------------------------------------


@pytest.mark.parametrize("codec", ["gzip", "zstd", "lzma"])
def test_what_is_not_authentic_is_not_decompressed(
    applier: Applier, vendor: Vendor, tmp_path: Path, codec: str
) -> None:
    """Whatever a byte of a frame becomes, the digest speaks; a decompressor that came first would often do."""
    case = Case(vendor, tmp_path, codec=codec)
    payload = range(preamble_size(case.data) + FRAME_HEAD, len(case.data))
    assert len(payload) > 1200
    assert case.refused(applier, case.flipped(payload[::5], range(7, 8)), frozenset({Code.CORRUPT})) > 240
    # nor is it when it is known from the preamble that nobody whom the board trusts has signed
    for signed_by, code in (((), Code.UNSIGNED), (("b",), Code.KEY)):
        other = bytearray(vendor.pack(tmp_path / "other.ota", *signed_by, codec=codec).read_bytes())
        other[-5] ^= 1
        assert case.refused(applier, [bytes(other)], frozenset({code})) == 1
