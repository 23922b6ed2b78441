"""The board program as a user runs it, with sanitizers: golden vectors, whole updates, its options.

What needs real flash or a real ARM kernel is in tests/board.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import re
import resource
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import xxhash
import zstandard
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from e2e_support import board, edited, make_pair, pack, state, succeed, write
from golden import builder as b
from otastream import __version__
from otastream.errors import Code
from otastream.fields import CODINGS
from otastream.model import CodingId
from otastream.views import codings
from otastream.views.sample import sample
from waiting import PATIENCE, stop, until

TREE = Path(__file__).parent.parent
GOLDEN = Path(__file__).parent / "golden"
INDEX: dict[str, dict[str, Any]] = json.loads((GOLDEN / "index.json").read_text())
Done = subprocess.CompletedProcess[str]
BUDGET: dict[str, dict[str, int]] = json.loads((TREE / "csrc/board/budget.json").read_text())


def _build(*args: str) -> Path:
    """Where the program is, built when it is not up to date; several test processes may ask at once."""
    build = [sys.executable, str(TREE / "scripts/boardbuild.py"), *args]
    made = subprocess.run(build, capture_output=True, text=True, check=False, timeout=PATIENCE)
    assert made.returncode == 0, made.stdout + made.stderr
    return TREE / "build/board" / (args[0] if args[0] in BUDGET["program_bytes"] else "san") / "otaunpack"


@pytest.fixture(scope="session", params=["static", "sanitized"])
def program(request: pytest.FixtureRequest) -> Path:
    """The static program as boards get it, without a heap; and the same sources with a heap and sanitizers."""
    return _build("amd64" if request.param == "static" else "--sanitize")


class Board:
    """A root with the old content, and the program that updates it."""

    def __init__(self, program: Path, folder: Path) -> None:
        self.program = program
        self.root = folder / "root"
        self.tmp = folder / "tmp"
        self.root.mkdir(exist_ok=True)
        self.tmp.mkdir(exist_ok=True)

    def args(self, package: Path | str, *options: str | Path) -> list[str | Path]:
        return [self.program, "-x", package, "--root", self.root, "-t", self.tmp, *options]

    def run(self, package: Path | str, *options: str | Path, stdin: bytes | None = None) -> Done:
        """Only text that is no package goes through stdin here, so the output is text."""
        done = subprocess.run(self.args(package, *options), input=stdin or b"", capture_output=True, check=False)
        return Done(done.args, done.returncode, done.stdout.decode(), done.stderr.decode(errors="replace"))


@pytest.fixture
def plain(program: Path, tmp_path: Path) -> Board:
    return Board(program, tmp_path)


@pytest.fixture
def updated(program: Path, tmp_path: Path) -> Iterator[tuple[Board, Path, Path]]:
    """A board with the old folder, a package for it, and the folder as it shall be."""
    old, new = make_pair(tmp_path, count=3)
    root = board(tmp_path, old)
    package = pack(old, new, tmp_path / "p.ota", "--name", "cam", "--package-version", "1.2")
    yield Board(program, tmp_path), package, new
    shutil.rmtree(root)


def code(done: Done) -> str:
    return "" if done.returncode == 0 else Code(done.returncode).name


# ---- golden vectors -----------------------------------------------------------------------------------------------


def test_every_golden_vector_as_file_and_as_pipe(plain: Board) -> None:
    for name, about in INDEX.items():
        if "payload" in about:  # found only when it is decoded
            continue
        for package, stdin in ((GOLDEN / name, None), ("-", (GOLDEN / name).read_bytes())):
            done = plain.run(package, "--verify", stdin=stdin)
            assert code(done) == (about["error"] or ""), (name, package, done.stderr)


def test_a_frame_that_fits_the_output_needs_its_window_all_the_same(plain: Board) -> None:
    """libzstd decodes such a frame in one go, without a look at the window."""
    data = b.noise(3000)
    records = b.stream(b.record(b.FILE, {b.PATH: b"a", b.MODE: 0, **b.content(data)}, data))
    frame = zstandard.ZstdCompressor(write_checksum=False).compress(records)
    assert frame[4] & 0x20, "a single segment is what this is about"
    for window, verdict in ((10, "CODEC"), (12, "")):
        package = b.Package(frame, b.ZSTD, window).build()
        assert code(plain.run("-", "--verify", stdin=package)) == verdict


def test_damaged_deltas_change_nothing(plain: Board) -> None:
    found = {name: about["error"] for name, about in INDEX.items() if "payload" in about}
    assert len(found) > 50
    for name, wrong in found.items():
        (plain.root / "a").write_bytes(b"hello, bored\n")
        assert code(plain.run(GOLDEN / name)) == wrong, name
        assert state(plain.root).keys() == {b"a"}
        assert (plain.root / "a").read_bytes() == b"hello, bored\n"


# ---- whole updates ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("codec", ["none", "gzip", "zstd", "lzma"])
@pytest.mark.parametrize("how", ["file", "pipe", "outer gzip"])
def test_a_folder_update_and_its_repetition(program: Path, tmp_path: Path, codec: str, how: str) -> None:
    old, new = make_pair(tmp_path, count=3)
    root = board(tmp_path, old)
    package = pack(old, new, tmp_path / "p.ota", "--codec", codec)
    run = Board(program, tmp_path)
    data = package.read_bytes() if how == "pipe" else gzip.compress(package.read_bytes())
    for _ in range(2):
        done = run.run(package) if how == "file" else run.run("-", stdin=data)
        assert done.returncode == 0, done.stderr
        assert state(root / "config") == state(new)
        assert (root / "etc/keep").read_bytes() == b"not part of the update"


def test_every_change_of_a_byte_and_every_cut_is_refused(plain: Board) -> None:
    package = (GOLDEN / "good/block-delta-zstd.ota").read_bytes()
    for at in range(0, len(package), 3):
        changed = bytearray(package)
        changed[at] ^= 1 << at % 8
        assert plain.run("-", "--verify", stdin=bytes(changed)).returncode in range(20, 30), at
        assert plain.run("-", "--verify", stdin=package[:at]).returncode == Code.TRUNCATED, at


def test_a_damaged_file_is_refused_before_anything_changes(updated: tuple[Board, Path, Path]) -> None:
    run, package, _ = updated
    before = state(run.root)
    data = bytearray(package.read_bytes())
    data[-10] ^= 1
    package.write_bytes(data)
    assert code(run.run(package)) == "CORRUPT"
    assert state(run.root) == before


def test_a_dry_run_writes_nothing(updated: tuple[Board, Path, Path]) -> None:
    run, package, _ = updated
    before = state(run.root)
    done = run.run(package, "-n", "--status", run.tmp / "status")
    assert done.returncode == 0
    assert "would be executed" in done.stderr
    assert state(run.root) == before
    assert not (run.tmp / "status").exists()


def test_a_mismatch_is_found_in_preflight(updated: tuple[Board, Path, Path]) -> None:
    run, package, _ = updated
    target = run.root / "config/lib/lib1.so"
    target.write_bytes(edited(target.read_bytes(), 9))
    before = state(run.root)
    done = run.run(package)
    assert code(done) == "TARGET"
    assert "lib1.so" in done.stderr
    assert "nothing was changed" in done.stderr
    assert state(run.root) == before


def test_two_at_once_are_refused(updated: tuple[Board, Path, Path]) -> None:
    run, package, _ = updated
    waiting = subprocess.Popen(run.args("-"), stdin=subprocess.PIPE, stderr=subprocess.PIPE)
    assert waiting.stdin is not None
    waiting.stdin.write(package.read_bytes()[:-1])
    waiting.stdin.flush()
    held = f":{run.root.stat().st_ino} "
    until(lambda: held in Path("/proc/locks").read_text())
    assert code(run.run(package, "-n")) == "LOCKED"
    waiting.stdin.write(package.read_bytes()[-1:])
    waiting.stdin.close()
    assert waiting.wait(timeout=PATIENCE) == 0
    assert waiting.stderr is not None
    waiting.stderr.close()


# ---- trust --------------------------------------------------------------------------------------------------------


def _pem(seed: int) -> bytes:
    key = Ed25519PrivateKey.from_private_bytes(bytes([seed] * 32)).public_key()
    return key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def test_trusted_keys_decide(plain: Board) -> None:
    keys = plain.tmp / "keys"
    keys.mkdir()
    signed, four = GOLDEN / "good/signatures-1.ota", GOLDEN / "good/signatures-4.ota"
    unsigned = GOLDEN / "good/empty-none.ota"

    def verdict(package: Path) -> str:
        return code(plain.run(package, "--verify", "-k", keys))

    assert verdict(signed) == "CONFIG"  # named, but there is none
    (keys / "other.pem").write_bytes(_pem(99))
    assert [verdict(package) for package in (signed, four, unsigned)] == ["KEY", "KEY", "UNSIGNED"]
    (keys / "vendor.pem").write_bytes(_pem(1))
    assert [verdict(package) for package in (signed, four, unsigned)] == ["", "", "UNSIGNED"]
    assert code(plain.run(four, "--verify", "-k", keys / "vendor.pem")) == ""
    forged = bytearray(four.read_bytes())
    package = plain.tmp / "forged.ota"
    for at in range(65, 65 + 4 * 72, 72):
        forged[at + 8] ^= 1
    end = 65 + 4 * 72
    forged[end : end + 32] = hashlib.sha256(forged[:end]).digest()
    package.write_bytes(forged)
    assert verdict(package) == "SIGNATURE"


def test_the_board_keeps_its_own_keys(plain: Board) -> None:
    keys = plain.root / "etc/otastream/keys"
    keys.mkdir(parents=True)
    unsigned = GOLDEN / "good/empty-none.ota"
    assert code(plain.run(unsigned)) == ""
    (keys / "vendor.pem").write_bytes(_pem(1))
    assert code(plain.run(unsigned)) == "UNSIGNED"
    assert code(plain.run(GOLDEN / "good/signatures-4.ota")) == ""
    shutil.rmtree(keys)
    keys.symlink_to("nowhere")
    assert code(plain.run(unsigned)) == "CONFIG"


@pytest.mark.parametrize(
    "text", [b"", b"junk", b"-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n", b"\0" * 9]
)
def test_a_key_file_that_is_none_is_an_error(plain: Board, text: bytes) -> None:
    keys = plain.tmp / "keys"
    keys.mkdir()
    (keys / "good.pem").write_bytes(_pem(1))
    (keys / "broken.pem").write_bytes(text)
    done = plain.run(GOLDEN / "good/signatures-1.ota", "--verify", "-k", keys)
    assert code(done) == "CONFIG"
    assert "broken.pem" in done.stderr


# ---- status, progress, memory -------------------------------------------------------------------------------------


def _status(path: Path) -> dict[str, str]:
    return dict(line.split("=", 1) for line in path.read_text().splitlines())


def test_the_status_file_tells_how_it_ended(updated: tuple[Board, Path, Path]) -> None:
    run, package, _ = updated
    status = run.tmp / "status"
    target = run.root / "config/lib/lib1.so"
    right = target.read_bytes()
    target.write_bytes(b"else")
    run.run(package, "--status", status)
    named = {"package": "cam", "version": "1.2"}
    wrong = {"code": "50", "error": "TARGET", "target": "/config/lib/lib1.so"}
    assert _status(status) == {"state": "failed-before-write", **named, **wrong}
    target.write_bytes(right)
    assert run.run(package, "--status", status).returncode == 0
    assert _status(status) == {"state": "done", **named, "code": "0", "error": "", "target": ""}
    assert [path.name for path in run.tmp.iterdir() if path.name.startswith("status")] == ["status"]


def test_the_status_file_is_written_ahead(updated: tuple[Board, Path, Path], tmp_path: Path) -> None:
    run, _, new = updated
    old = tmp_path / "old"
    for text, seen, state_after in (
        ('cp "$OTA_TMP/status" "$OTA_TMP/seen"', "writing", "done"),
        ('cp "$OTA_TMP/status" "$OTA_TMP/seen"; exit 3', "writing", "failed-after-write"),
    ):
        script = tmp_path / "begin.sh"
        script.write_text(text + "\n")
        package = pack(old, new, tmp_path / "s.ota", "--begin-script", str(script))
        done = run.run(package, "--status", run.tmp / "status")
        assert _status(run.tmp / "seen")["state"] == seen, done.stderr
        assert _status(run.tmp / "status")["state"] == state_after


def test_a_status_file_that_cannot_be_written_stops_before_anything(updated: tuple[Board, Path, Path]) -> None:
    run, package, _ = updated
    before = state(run.root)
    assert code(run.run(package, "--status", run.tmp / "no/folder")) == "OUTPUT"
    assert state(run.root) == before


def test_progress_lines(updated: tuple[Board, Path, Path]) -> None:
    run, package, _ = updated
    lines = [json.loads(line) for line in run.run(package, "--progress", "json").stderr.splitlines() if line[0] == "{"]
    assert {line["phase"] for line in lines} >= {"check", "preflight", "update"}
    assert lines[-1]["percent"] == 100
    names = ["phase", "percent", "done", "total", "step", "steps", "part", "target"]
    assert all(list(line) == names for line in lines[:-1])
    assert list(lines[-1]) == [*names, "code"]
    assert (lines[-1]["phase"], lines[-1]["code"]) == ("success", 0)
    checked = [line for line in lines if line["phase"] == "check"][-1]
    assert checked["done"] == checked["total"] == package.stat().st_size
    numeric = run.run(package, "--progress", "numeric").stderr
    assert re.search(r"^100\nsuccess$", numeric, re.M)
    assert "\r" in run.run(package, "--progress", "bar").stderr
    assert len(run.run(package, "--progress", "none").stderr.splitlines()) == 1


def test_too_little_memory_is_refused_before_anything(plain: Board) -> None:
    # the vector says more than any machine has
    data = bytearray((GOLDEN / "good/empty-none.ota").read_bytes())
    data[16:24] = (1 << 60).to_bytes(8, "little")
    data[65:97] = hashlib.sha256(data[:65]).digest()
    done = plain.run("-", stdin=bytes(data))
    assert code(done) == "RAM"
    assert str(1 << 60) in done.stderr


def test_a_signal_before_the_first_write_stops(plain: Board) -> None:
    for number in (signal.SIGINT, signal.SIGHUP, signal.SIGTERM):
        waiting = subprocess.Popen(plain.args("-"), stdin=subprocess.PIPE, stderr=subprocess.PIPE)
        assert stop(waiting, number) == Code.CANCELLED
        waiting.communicate()


@pytest.mark.parametrize(("number", "name"), [("INT", ""), ("HUP", ""), ("TERM", "CANCELLED")])
def test_a_signal_while_writing(updated: tuple[Board, Path, Path], tmp_path: Path, number: str, name: str) -> None:
    run, _, new = updated
    script = tmp_path / "begin.sh"
    script.write_text(f"kill -{number} $PPID\nsleep 0.2\n")
    package = pack(tmp_path / "old", new, tmp_path / "s.ota", "--begin-script", str(script))
    done = run.run(package)
    assert code(done) == name, done.stderr
    assert run.run(pack(tmp_path / "old", new, tmp_path / "again.ota")).returncode == 0
    assert state(run.root / "config") == state(new)


def test_the_watchdog_is_fed_and_stopped(updated: tuple[Board, Path, Path]) -> None:
    run, package, _ = updated
    device = run.tmp / "watchdog"
    device.touch()
    assert run.run(package, "--watchdog", device).returncode == 0
    fed = device.read_bytes()
    assert fed.startswith(b"\n")
    assert fed.endswith(b"V")
    assert code(run.run(package, "--watchdog", run.tmp / "none")) == "CONFIG"


def _least_address_space(run: Board, package: Path, high: int) -> int:
    """The smallest bound of address space, to a page, under which a dry run passes."""

    def passes(kib: int) -> bool:
        limit = (kib * 1024, kib * 1024)
        done = subprocess.run(
            run.args(package, "-n"),
            capture_output=True,
            check=False,
            preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, limit),
        )
        return done.returncode == 0

    low = 0
    assert passes(high)
    while high - low > 4:
        middle = (low + high) // 2
        low, high = (low, middle) if passes(middle) else (middle, high)
    return high


def test_memory_follows_the_budget_of_the_package(tmp_path: Path) -> None:
    old, new = make_pair(tmp_path, count=3)
    board(tmp_path, old)
    run = Board(_build("amd64"), tmp_path)
    small, usual = (pack(old, new, tmp_path / f"{ram}.ota", "--ram", ram) for ram in ("256K", "1M"))
    # this machine's code is larger than ARM code; the bounds themselves are proven on the emulated board
    code_size = BUDGET["program_bytes"]["amd64"] - BUDGET["program_bytes"]["armhf"]
    for package, name in ((small, "256K"), (usual, "default")):
        bound = BUDGET["address_space_kib"][name] + code_size // 1024
        assert _least_address_space(run, package, 4096) <= bound


@pytest.mark.parametrize("arch", sorted(BUDGET["program_bytes"]))
def test_the_program_keeps_its_size(arch: str) -> None:
    compiler = {"armhf": "arm-linux-gnueabihf-gcc", "arm64": "aarch64-linux-gnu-gcc"}.get(arch, "gcc")
    if shutil.which(compiler) is None:
        pytest.skip(f"no cross compiler for {arch} (scripts/apt.sh board)")
    assert _build(arch).stat().st_size <= BUDGET["program_bytes"][arch]
    assert BUDGET["program_bytes"]["armhf"] <= 400_000


# ---- the command line ---------------------------------------------------------------------------------------------


def test_the_command_line(program: Path, plain: Board) -> None:
    def run(*args: str) -> Done:
        return subprocess.run([program, *args], capture_output=True, text=True, check=False)

    assert run("--version").stdout.splitlines()[0] == f"otaunpack {__version__}"
    text = run("--help").stdout
    for item in Code:
        assert f"{item.value:3} {item.text}\n" in text
    for args in (
        [],
        ["-x"],
        ["--nonsense"],
        ["-x", "a", "-r", "b"],
        ["-x", "a", "b"],
        ["-x", "a", "--progress", "loud"],
        ["-x", str(GOLDEN / "good/empty-none.ota"), "--root", "/nonexistent"],
    ):
        done = run(*args)
        assert done.returncode == Code.USAGE, args
        assert done.stderr.startswith("otaunpack: error: caller: ")
    assert run("-x", "/nonexistent").returncode == Code.INPUT
    assert run("-r", str(GOLDEN / "good/outer-gzip.ota"), "--verify").returncode == Code.MAGIC
    assert run("-r", str(GOLDEN / "good/empty-zstd.ota"), "--verify").returncode == 0


def test_the_folder_that_is_missing_is_named(plain: Board, tmp_path: Path) -> None:
    there, gone = str(tmp_path), str(tmp_path / "none")
    for root, tmp, named in ((gone, there, "--root"), (there, gone, "--tmp"), (gone, gone, "--root")):
        for mode in (("-x", str(GOLDEN / "good/empty-none.ota")), ("--slot-status",)):
            words = [plain.program, *mode, "--root", root, "-t", tmp]
            done = subprocess.run(words, capture_output=True, text=True, check=False)
            assert code(done) == "USAGE"
            assert f"{named} {gone}: No such file or directory" in done.stderr


@pytest.mark.parametrize("closed", ["0<&-", "1>&-", "2>&-", "0<&- 1>&- 2>&-"])
def test_closed_standard_files_are_occupied(updated: tuple[Board, Path, Path], tmp_path: Path, closed: str) -> None:
    """Else the next file that is opened, a target maybe, would get what is meant for people."""
    run, _, new = updated
    script = tmp_path / "begin.sh"
    script.write_text('readlink /proc/$PPID/fd/0 /proc/$PPID/fd/1 /proc/$PPID/fd/2 >"$OTA_TMP/files"\n')
    package = pack(tmp_path / "old", new, tmp_path / "s.ota", "--begin-script", str(script))
    args = [str(word) for word in run.args(package)]
    with open(os.devnull, "r+b") as null:
        done = subprocess.run(
            ["sh", "-c", f'exec "$@" {closed}', "sh", *args], stdin=null, stdout=null, stderr=null, check=False
        )
    assert done.returncode == 0
    assert (run.tmp / "files").read_text().split() == ["/dev/null"] * 3


def test_the_self_test(program: Path, tmp_path: Path) -> None:
    done = subprocess.run([program, "--self-test", "-t", tmp_path], capture_output=True, text=True, check=False)
    version = subprocess.run([program, "--version"], capture_output=True, text=True, check=True).stdout
    names = [CODINGS[coding] for coding, _, _ in known_answers()]
    encoders = sum(f"{name} (" in version for name in names)
    assert len(names) == 14
    assert encoders == (14 if "zstd-1.5.4" in version else 6)
    # each has an answer, and is decoded again
    assert (done.returncode, done.stdout) == (0, f"self-test: {32 + 2 * encoders} checks, 0 failed\n")
    assert list(tmp_path.iterdir()) == []


def known_answers() -> list[tuple[CodingId, int, int]]:
    """Coding, parameters and digest of what --self-test has its encoders make of the sample."""
    rows = re.findall(r"\{OTA_CODING_(\w+), (\d+)u, 0x(\w+)u\}", (TREE / "csrc/board/selftest_data.h").read_text())
    return [(CodingId[name], int(params), int(answer, 16)) for name, params, answer in rows]


def test_the_encoders_of_the_board_make_what_the_packer_makes() -> None:
    """The packer takes a library only if it gives its own known answers; these are more of them."""
    size = int(re.findall(r"SELFTEST_SAMPLE (\d+)u", (TREE / "csrc/board/selftest_data.h").read_text())[0])
    checked = 0
    for id_, params, answer in known_answers():
        if id_ in codings.present():
            made = codings.encode(codings.Coding(id_, params), sample(size))
            assert xxhash.xxh64_intdigest(made) == answer, id_
            checked += 1
    assert checked >= 6


def test_the_packages_of_the_self_test_are_those_that_the_script_makes(tmp_path: Path) -> None:
    out = tmp_path / "data.h"
    subprocess.run([sys.executable, TREE / "scripts/selftestdata.py", out], check=True)
    made, kept = out.read_text(), (TREE / "csrc/board/selftest_data.h").read_text()
    cut = kept.index("static const uint8_t")  # what follows depends on the versions of zlib and libzstd
    assert made[:cut] == kept[:cut]


def test_an_old_file_that_stands_for_a_device(plain: Board, tmp_path: Path) -> None:
    device = plain.root / "dev/mtdblock3"
    write(device, os.urandom(200_000))
    tail = device.read_bytes()[150_000:]
    image = os.urandom(150_000)
    write(tmp_path / "image.bin", image)
    write(tmp_path / "r.toml", b'[[image]]\nnew = "image.bin"\ntargets = ["/dev/mtdblock3"]\n')
    succeed("pack", "--spec", tmp_path / "r.toml", "-o", tmp_path / "i.ota")
    done = plain.run(tmp_path / "i.ota")
    assert done.returncode == 0, done.stderr
    assert device.read_bytes() == image + tail
