"""The two programs that apply packages, case by case: the same exit code, and the same board afterwards.

Packages are made byte by byte here, so that both also meet what no packer makes. Folder updates, damage and kills have
their own files (test_e2e_*.py).
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from e2e_support import Applier, applier_named, state, write
from golden import builder as b
from otastream.errors import Code
from test_keys import public_pem
from waiting import until_there

TEXT = b"hello, board\n"
OLD = b"the old content\n"
LOG = b'echo "$OTA_STATUS" >> "$OTA_ROOT/log"\n'
IMAGE = b.noise(70_000)
Tree = dict[str, bytes]


def script(when: int, text: bytes = LOG) -> bytes:
    return b.record(b.SCRIPT, b.content(text) | {b.WHEN: when}, text)


def file(name: bytes, data: bytes = TEXT) -> bytes:
    return b.record(b.FILE, {b.PATH: name, b.MODE: 0o640, **b.content(data)}, data)


def state_of(data: bytes) -> list[object]:
    return [1, len(data), b.xxh(data)]


def expect(name: bytes, old: list[object], new: list[object]) -> bytes:
    return b.record(b.EXPECT, {b.TYPE: 1, b.PATH: name, b.OLD: old, b.NEW: new})


def absent(name: bytes, data: bytes = TEXT) -> bytes:
    return expect(name, [0], state_of(data))


def node(name: bytes, data: bytes = IMAGE) -> bytes:
    """An image for a device, with its expect."""
    fields = {b.TARGETS: [name], b.SIZE: len(data), b.DIGEST: b.xxh(data)}
    return b.record(b.EXPECT, {b.TYPE: 2} | fields) + b.record(b.BLOCK, fields | {b.ENGINE: 0}, data)


def delta(name: bytes, old: bytes, payload: bytes, new: bytes) -> bytes:
    """A file made from its old content."""
    source = {b.SIZE: len(old), b.DIGEST: b.xxh(old)}
    about = {b.PATH: name, b.MODE: 0o600, b.SIZE: len(new), b.DIGEST: b.xxh(new), b.ENGINE: 1, b.SOURCE: source}
    before = {b.TYPE: 1, b.PATH: name, b.OLD: state_of(old), b.NEW: state_of(new)}
    return b.record(b.EXPECT, before) + b.record(b.FILE, about, payload)


def board_is(*names: str) -> bytes:
    return b.record(b.EXPECT, {b.TYPE: 3, b.COMPATIBLE: list(names)})


def at_least(version: str) -> bytes:
    return b.record(b.EXPECT, {b.TYPE: 4, b.VERSION: version})


CONTINUED = OLD[:8] + TEXT
FIRST_EIGHT = b.triple([(8, b"")], TEXT)

IDENTITY = {"etc/otastream/board": b"acme,cam-x\nacme,cam\n", "etc/otastream/version": b"1.4\n"}


@dataclass(frozen=True)
class Case:
    """What is on the board, what is applied to it, the exit code, and what is there afterwards (None: as before)."""

    records: Sequence[bytes] | bytes
    code: int = 0
    before: Tree | None = None
    after: Tree | None = None
    prepare: Callable[[Path], None] | None = None
    options: Sequence[str] = ()


def _link_outside(root: Path) -> None:
    (root / "out").symlink_to("..")


def _link_inside(root: Path) -> None:
    (root / "d").mkdir()
    (root / "out").symlink_to("d")


def _folder_in_the_way(root: Path) -> None:
    write(root / "a/inside", b"")


def _trust(root: Path) -> None:
    write(root / "etc/otastream/keys/vendor.pem", public_pem(1))


CASES: dict[str, Case] = {
    "nothing to do": Case([]),
    "two files": Case(
        [absent(b"a"), absent(b"b"), script(2), script(1), file(b"a"), file(b"b")],
        after={"a": TEXT, "b": TEXT, "log": b"0\n0\n"},
    ),
    "what is new already": Case([absent(b"a"), file(b"a")], before={"a": TEXT}, after={"a": TEXT}),
    "a delta": Case([delta(b"a", OLD, FIRST_EIGHT, CONTINUED)], before={"a": OLD}, after={"a": CONTINUED}),
    "a delta of what is new already": Case(
        [delta(b"a", OLD, FIRST_EIGHT, CONTINUED)], before={"a": CONTINUED}, after={"a": CONTINUED}
    ),
    "a delta of something else": Case([delta(b"a", OLD, FIRST_EIGHT, CONTINUED)], Code.TARGET, before={"a": TEXT}),
    "a delta without old": Case([delta(b"a", OLD, FIRST_EIGHT, CONTINUED)], Code.MISSING),
    "a delta that reads behind old": Case(
        [delta(b"a", OLD, b.triple([(8, b"")], TEXT, seek=90), CONTINUED) + file(b"b")], Code.DELTA, before={"a": OLD}
    ),
    "a delta that gives something else": Case(
        [delta(b"a", OLD, b.triple([(8, b"")], TEXT[::-1]), CONTINUED)], Code.RESULT, before={"a": OLD}
    ),
    "content that is not what the record says": Case(
        [b.record(b.FILE, {b.PATH: b"a", b.MODE: 0, b.SIZE: 3, b.DIGEST: 1, b.ENGINE: 0}, b"abc")], Code.RESULT
    ),
    "a dry run": Case([absent(b"a"), script(1), file(b"a")], options=["--dry-run"]),
    "a dry run, briefly": Case([absent(b"a"), script(1), file(b"a")], options=["-n"]),
    "a dry run of a mismatch": Case([absent(b"a"), file(b"a")], Code.TARGET, before={"a": OLD}, options=["-n"]),
    "a file where a folder is": Case([absent(b"a"), file(b"a")], Code.TARGET, prepare=_folder_in_the_way),
    "a record late that breaks the format": Case([script(2), file(b"a"), b.record(b.DIR, {b.PATH: b"d"})], Code.FORMAT),
    "a kind that nobody knows": Case([file(b"a"), b.string(b"\x82\x18\x63\xa0")], Code.UNSUPPORTED),
    "a path that climbs": Case([file(b"../a")], Code.PATH),
    "a path through a link that leaves the root": Case([file(b"out/a")], Code.PATH, prepare=_link_outside),
    "a path through a link": Case([file(b"out/a")], Code.PATH, prepare=_link_inside),
    "the begin script fails": Case(
        [script(2), script(1, b"exit 3\n"), file(b"a")], Code.BEGIN_SCRIPT, after={"log": b"-1\n"}
    ),
    "an inline script fails": Case(
        [script(2), file(b"a"), script(0, b"exit 3\n"), file(b"b")], Code.SCRIPT, after={"a": TEXT, "log": b"-1\n"}
    ),
    "the end script fails": Case([script(2, b"exit 3\n"), file(b"a")], Code.END_SCRIPT, after={"a": TEXT}),
    "a script and its end": Case(
        [script(2), script(0, b"kill -9 $$\n"), file(b"b")], Code.SCRIPT, after={"log": b"-1\n"}
    ),
    "scripts know where they are": Case(
        [script(0, b'test -d "$OTA_TMP" && test "$(cd "$OTA_ROOT" && ls)" = "$(printf "a\\ntmp")"\n')],
        before={"a": TEXT}, after={"a": TEXT},
    ),
    "this board": Case([board_is("other", "acme,cam"), file(b"a")], before=IDENTITY, after=IDENTITY | {"a": TEXT}),
    "another board": Case([board_is("acme,nvr"), file(b"a")], Code.BOARD, before=IDENTITY),
    "a board without a name": Case([board_is("acme,cam"), file(b"a")], Code.BOARD, options=["-n"]),
    "new enough": Case([at_least("1.4"), file(b"a")], before=IDENTITY, after=IDENTITY | {"a": TEXT}),
    "too old": Case([at_least("1.4.1"), file(b"a")], Code.MIN_VERSION, before=IDENTITY),
    "no version at all": Case([at_least("0.1"), file(b"a")], Code.MIN_VERSION),
    "an image": Case(
        [node(b"/dev/mtd")], before={"dev/mtd": bytes(80_000)}, after={"dev/mtd": IMAGE + bytes(10_000)}
    ),
    "an image that is there": Case([node(b"/dev/x")], before={"dev/x": IMAGE}, after={"dev/x": IMAGE}),
    "an image that is too large": Case([node(b"/dev/mtd")], Code.TOO_SMALL, before={"dev/mtd": bytes(69_999)}),
    "no such device": Case([node(b"/dev/mtd"), file(b"a")], Code.MISSING),
    "a volume that is a file": Case(
        [b.record(b.UBI, {b.TARGETS: [b"/dev/ubi0_0"], **b.content(IMAGE)}, IMAGE)], Code.NODE,
        before={"dev/ubi0_0": bytes(80_000)},
    ),
    "no such root": Case([file(b"a")], Code.USAGE, options=["--root", "/nonexistent"]),
    "no such temporary folder": Case([file(b"a")], Code.USAGE, options=["-t", "/nonexistent"]),
    "a key that is none": Case([file(b"a")], Code.CONFIG, options=["-k", "/dev/null"]),
    "too much memory": Case(b.Package(b.stream(file(b"a")), ram=1 << 60).build(), Code.RAM),
    "an unsigned package": Case([file(b"a")], Code.UNSIGNED, prepare=_trust),
    "an outer layer": Case(b.gzip_stored(b.Package(b.stream(file(b"a"))).build()), after={"a": TEXT}),
    "an outer layer that ends early": Case(
        b.gzip_stored(b.Package(b.stream(file(b"a"))).build())[:-9], Code.TRUNCATED
    ),
    "an outer layer inside an outer layer": Case(
        b.gzip_stored(b.gzip_stored(b.Package(b.stream(file(b"a"))).build())), Code.MAGIC
    ),
    "the last byte is wrong": Case(
        b.Package(b.stream(script(2), file(b"a"), file(b"b", b.noise(5000))), frame_log=10).build()[:-1] + b"!",
        Code.CORRUPT,
    ),
    "the last byte is missing": Case(
        b.Package(b.stream(script(2), file(b"a"), file(b"b", b.noise(5000))), frame_log=10).build()[:-1],
        Code.TRUNCATED,
    ),
    "a byte too much": Case(b.Package(b.stream(file(b"a"))).build() + b"!", Code.FORMAT),
}  # fmt: skip


def make(case: Case, root: Path) -> Path:
    (root / "tmp").mkdir(parents=True)
    for name, data in (case.before or {}).items():
        write(root / name, data)
    if case.prepare is not None:
        case.prepare(root)
    package = root.parent / "p.ota"
    records = case.records
    package.write_bytes(records if isinstance(records, bytes) else b.Package(b.stream(*sorted_in(records))).build())
    return package


def sorted_in(records: Sequence[bytes]) -> list[bytes]:
    """Expects come first: those that stand before their action in one piece are moved to the front."""
    heads, rest = [], []
    for data in records:
        kind = data[data.index(b"\x82") + 1]
        size, start = _header_size(data) if kind == b.EXPECT else (0, 0)
        heads.append(data[: start + size])
        rest.append(data[start + size :])
    return [*heads, *rest]


def _header_size(data: bytes) -> tuple[int, int]:
    """Length of the first byte string, and where it starts."""
    if data[0] < 0x58:
        return data[0] - 0x40, 1
    return (data[1], 2) if data[0] == 0x58 else (int.from_bytes(data[1:3], "big"), 3)


def tree(root: Path) -> Tree:
    files = (path for path in root.rglob("*") if path.is_file() and not path.is_symlink())
    return {str(path.relative_to(root)): path.read_bytes() for path in files}


@pytest.mark.parametrize("name", CASES)
def test_both_programs_end_alike(name: str, tmp_path: Path) -> None:
    case = CASES[name]
    ends = []
    for program in ("otastream", "otaunpack"):
        root = tmp_path / program / "root"
        package = make(case, root)
        before, applier = state(root), applier_named(program)
        assert applier.code(package, root, *case.options) == case.code, program
        after = state(root)
        if case.after is None:
            assert after == before, program
        else:
            assert tree(root) == case.after, program
        assert sorted(os.listdir(root.parent)) == ["p.ota", "root"], "something was written outside the root"
        ends.append(after)
        if case.code == 0 and case.after is not None and b"log" not in after:  # again: nothing changes any more
            assert applier.code(package, root, *case.options) == 0, program
            assert state(root) == after
    assert ends[0] == ends[1]


# ---- stdin ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "root/tmp").mkdir(parents=True)
    return tmp_path / "root"


@pytest.mark.parametrize("outer", [bytes, b.gzip_stored, b.zstd_raw])
def test_stdin(applier: Applier, root: Path, outer: Callable[[bytes], bytes]) -> None:
    data = outer(b.Package(b.stream(absent(b"a"), file(b"a"))).build())
    applier.succeed("-", root, stdin=data)
    assert (root / "a").read_bytes() == TEXT
    applier.succeed("-", root, stdin=data)


def test_stdin_that_is_a_file_is_read_from_where_it_stands(applier: Applier, root: Path, tmp_path: Path) -> None:
    """It can be read twice, so a damaged end is found before the first write."""
    package = tmp_path / "with-a-header"
    good = b.Package(b.stream(script(2), file(b"a"), file(b"b", b.noise(5000))), frame_log=10).build()
    for data, code in ((good[:-1] + b"!", Code.CORRUPT), (good, 0)):
        package.write_bytes(b"something else" + data)
        with package.open("rb") as opened:
            opened.seek(14)
            os.lseek(opened.fileno(), 14, os.SEEK_SET)
            done = subprocess.run(applier.argv("-", root), stdin=opened, capture_output=True, check=False)
        assert done.returncode == code, done.stderr
        assert sorted(tree(root)) == ([] if code else ["a", "b", "log"])


def test_a_pipe_that_breaks_in_the_middle(applier: Applier, root: Path) -> None:
    """The end script hears of it, what is half made is gone, and the whole package repairs the rest."""
    stream = b.stream(absent(b"a"), absent(b"b", b.noise(5000)), script(2), file(b"a"), file(b"b", b.noise(5000)))
    whole = b.Package(stream, frame_log=10).build()
    assert applier.run("-", root, stdin=whole[:-1500]).returncode == Code.TRUNCATED
    assert tree(root) == {"a": TEXT, "log": b"-1\n"}
    applier.succeed("-", root, stdin=whole)
    assert tree(root) == {"a": TEXT, "b": b.noise(5000), "log": b"-1\n0\n"}


@pytest.mark.parametrize("what", ["/nonexistent", "/"])
def test_a_package_that_cannot_be_read(applier: Applier, root: Path, what: str) -> None:
    assert applier.code(what, root) == Code.INPUT


# ---- two at once, and signals ---------------------------------------------------------------------------------------


def _slow(root: Path, folder: Path) -> Path:
    """A package whose script waits until the file `go` is there."""
    package = folder / "slow.ota"
    text = b'touch "$OTA_ROOT/started"; while ! test -e "$OTA_ROOT/go"; do sleep 0.05; done; touch "$OTA_ROOT/waited"\n'
    package.write_bytes(b.Package(b.stream(absent(b"a"), script(2), script(0, text), file(b"a"))).build())
    return package


@pytest.mark.parametrize("second", ["otastream", "otaunpack"])
def test_two_at_once_are_refused(applier: Applier, second: str, root: Path, tmp_path: Path) -> None:
    """The lock is one for both programs."""
    package = _slow(root, tmp_path)
    with subprocess.Popen(applier.argv(package, root), stderr=subprocess.DEVNULL) as running:
        until_there(root / "started")
        code = applier_named(second).code(package, root)
        (root / "go").touch()
    assert code == Code.LOCKED
    assert running.returncode == 0
    assert (root / "a").read_bytes() == TEXT
    assert applier_named(second).code(package, root) == 0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGHUP])
def test_a_lost_terminal_does_not_stop_an_update(
    applier: Applier, root: Path, tmp_path: Path, number: signal.Signals
) -> None:
    """The signal goes to the whole process group, as a terminal sends it: to the script as well."""
    package = _slow(root, tmp_path)
    with subprocess.Popen(applier.argv(package, root), stderr=subprocess.DEVNULL, start_new_session=True) as running:
        until_there(root / "started")
        os.killpg(running.pid, number)
        (root / "go").touch()
    assert running.returncode == 0
    assert (root / "waited").exists()
    assert (root / "a").read_bytes() == TEXT


def test_sigterm_stops_where_nothing_is_half_written(applier: Applier, root: Path, tmp_path: Path) -> None:
    package = _slow(root, tmp_path)
    with subprocess.Popen(applier.argv(package, root), stderr=subprocess.DEVNULL, start_new_session=True) as running:
        until_there(root / "started")
        running.send_signal(signal.SIGTERM)
        (root / "go").touch()
    assert running.returncode == Code.CANCELLED
    assert sorted(tree(root)) == ["go", "log", "started", "waited"]  # the script was not interrupted, a was not made
    assert (root / "log").read_bytes() == b"-1\n"
    shutil.copy(package, tmp_path / "again.ota")
    assert applier.code(tmp_path / "again.ota", root) == 0
    assert (root / "a").read_bytes() == TEXT
