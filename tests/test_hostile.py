"""Packages that are chained rightly and mean harm, and boards that somebody works against, for both programs.

Whoever can make such a package holds a trusted key, or the board asks for none. Still: the right error, bounded time
and memory, and not a byte outside the root.
"""

from __future__ import annotations

import os
import resource
import subprocess
import threading
import zlib
from collections.abc import Callable, Iterable, Iterator
from itertools import chain
from pathlib import Path

import pytest

from e2e_support import Applier, applier_with_encoders, state, write
from golden import builder as b
from golden import views as v
from otastream.errors import Code
from otastream.model import CodingId
from otastream.views import codings
from test_views import zstd_zeros

TEXT = b"hello, board\n"
OLD = b"the old content\n"
HUGE = 2**63 - 1
SECONDS = 20


@pytest.fixture
def root(tmp_path: Path) -> Path:
    write(tmp_path / "root/a", OLD)
    write(tmp_path / "outside/keep", b"not ours")
    (tmp_path / "root/tmp").mkdir()
    return tmp_path / "root"


@pytest.fixture
def outside(root: Path) -> Iterator[Path]:
    """What lies beside the root must stay as it is, whatever the test does."""
    folder = root.parent / "outside"
    before = state(folder)
    yield folder
    assert state(folder) == before


def put(root: Path, *records: bytes) -> Path:
    return wrap(root, b.stream(*records))


def wrap(root: Path, stream: bytes) -> Path:
    package = root.parent / "p.ota"
    package.write_bytes(b.Package(stream).build())
    return package


def file(name: bytes, data: bytes = TEXT, **more: object) -> bytes:
    return b.record(b.FILE, {b.PATH: name, b.MODE: 0o640, **b.content(data)}, data)


def delta(payload: bytes, size: int) -> bytes:
    """Content of that size, made from the file a."""
    source = {b.SIZE: len(OLD), b.DIGEST: b.xxh(OLD)}
    fields = {b.PATH: b"a", b.MODE: 0o600, b.SIZE: size, b.DIGEST: 1, b.ENGINE: 1, b.SOURCE: source}
    return b.record(b.FILE, fields, payload)


def script(when: int, text: str) -> bytes:
    return b.record(b.SCRIPT, b.content(text.encode()) | {b.WHEN: when}, text.encode())


def cost(applier: Applier, package: Path, root: Path, *options: str) -> tuple[int, float, int]:
    """Exit code, seconds of CPU, KiB of memory at most."""
    with subprocess.Popen(applier.argv(package, root, *options), stderr=subprocess.DEVNULL) as process:
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    return process.returncode, usage.ru_utime + usage.ru_stime, usage.ru_maxrss


# ---- sizes and counts ---------------------------------------------------------------------------------------------


def _compressed(root: Path, stream: Iterable[bytes]) -> Path:
    """Piece by piece: what the test itself needs in memory would count for its children."""
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    packed = b"".join(packer.compress(piece) for piece in stream) + packer.flush()
    package = root.parent / "p.ota"
    package.write_bytes(b.Package(packed, codec=b.GZIP, window=15).build())
    return package


def _zeros(header: bytes) -> Iterator[bytes]:
    """A record with 64 MiB of zeros as payload, in a package of 64 KiB."""
    yield b.manifest() + header
    for _ in range(1024):
        yield b.string(bytes(65536))
    yield b.string(b"") + b.ENDING


def _bomb(root: Path) -> Path:
    """For content of ten bytes."""
    fields = {b.PATH: b"x", b.MODE: 0o600, b.SIZE: 10, b.DIGEST: 1, b.ENGINE: 0}
    return _compressed(root, _zeros(b.record(b.FILE, fields)))


def _bomb_of_skipped_content(root: Path) -> Path:
    """The payload of what is right already is not looked at, but it has to be read."""
    return _compressed(root, _zeros(b.record(b.FILE, {b.PATH: b"b", b.MODE: 0o640, **b.content(TEXT)})))


def _no_end(root: Path) -> Path:
    """Zeros where the next record should be."""
    return _compressed(root, chain([b.manifest()], (bytes(65536) for _ in range(1024))))


WASTE: dict[str, tuple[Callable[[Path], Path], frozenset[int]]] = {
    "a bomb": (_bomb, frozenset({Code.DELTA})),
    "a bomb that is skipped": (_bomb_of_skipped_content, frozenset({0, Code.DELTA})),
    "no end of zeros": (_no_end, frozenset({Code.FORMAT})),
}


@pytest.mark.parametrize("name", WASTE)
def test_bombs_cost_no_memory(applier: Applier, name: str, root: Path, outside: Path) -> None:
    make, codes = WASTE[name]
    code, _, usual = cost(applier, put(root, file(b"b")), root)
    assert code == 0
    code, seconds, memory = cost(applier, make(root), root)
    assert code in codes
    assert seconds < SECONDS
    assert memory < usual + 8192


def _head(major: int, value: int) -> bytes:
    return bytes([major << 5 | 27]) + value.to_bytes(8, "big")


def _raw(kind: int, fields: bytes, count: int) -> bytes:
    """A header whose map is given byte by byte."""
    return b.string(b"\x82" + bytes([kind]) + bytes([0xA0 | count]) + fields)


COUNTS: dict[str, tuple[bytes, int]] = {
    "a header of 2^63 bytes": (b.manifest() + _head(2, HUGE), Code.LIMIT),
    "a chunk of 2^63 bytes": (
        b.manifest() + b.string(b.header(b.FILE, {b.PATH: b"x", b.MODE: 0, **b.content(TEXT)})) + _head(2, HUGE),
        Code.LIMIT,
    ),
    "2^60 targets": (b.manifest() + _raw(b.BLOCK, b"\x0a" + _head(4, 1 << 60), 1), Code.FORMAT),
    "2^60 attributes": (b.manifest() + _raw(b.FILE, b"\x0d" + _head(4, 1 << 60), 1), Code.FORMAT),
    "a map of 2^63 fields": (b.manifest() + b.string(b"\x82\x06" + _head(5, HUGE)), Code.FORMAT),
    "arrays in arrays": (b.manifest() + b.string(b"\x81" * 16000), Code.FORMAT),
}


@pytest.mark.parametrize("name", COUNTS)
def test_huge_counts(applier: Applier, name: str, root: Path, outside: Path) -> None:
    stream, expected = COUNTS[name]
    before = state(root)
    code, seconds, _ = cost(applier, wrap(root, stream), root)
    assert code == expected
    assert seconds < SECONDS
    assert state(root) == before


DELTAS: dict[str, tuple[bytes, int]] = {
    "a copy that is longer than old": (b.varint(HUGE) + b.varint(0) + b.varint(0) + b.varint(HUGE), HUGE),
    "lengths whose sum is too large": (b.varint(HUGE) + b.varint(HUGE) + b.varint(0), HUGE),
    "a copy of more than is left": (b.varint(17) + b.varint(0) + b.varint(0) + b.varint(17), 16),
    "before the beginning": (b.varint(4) + b.varint(0) + b.varint(1) + b.varint(4) + b.varint(0), 4),
    "far before the beginning": (b.varint(4) + b.varint(0) + b.varint(HUGE) + b.varint(4) + b.varint(0), 4),
    "far behind the end": (b.varint(4) + b.varint(0) + b.varint(HUGE - 1) + b.varint(4) + b.varint(0), 4),
    "nothing at all, for ever": (bytes(60_000), 4),
    "a number without an end": (b"\xff" * 60_000, 4),
    "a longer form than is needed": (b"\x84\x00" + b.varint(0) * 2 + b.varint(4) + b.varint(0), 4),
}


@pytest.mark.parametrize("name", DELTAS)
def test_deltas_that_leave_their_bounds(applier: Applier, name: str, root: Path, outside: Path) -> None:
    payload, size = DELTAS[name]
    before = state(root)
    code, seconds, _ = cost(applier, put(root, delta(payload, size)), root)
    assert code == Code.DELTA
    assert seconds < SECONDS
    assert state(root) == before


@pytest.mark.parametrize(("count", "expected"), [(1, Code.SPACE), (4, Code.LIMIT)])
def test_more_than_any_disk_holds(applier: Applier, root: Path, outside: Path, count: int, expected: int) -> None:
    """Found in preflight, whether the sum can be counted or not."""
    states = {b.OLD: [0], b.NEW: [1, HUGE, 1]}
    expects = [b.record(b.EXPECT, {b.TYPE: 1, b.PATH: b"x%d" % number, **states}) for number in range(count)]
    before = state(root)
    assert applier.code(put(root, *expects, script(1, 'touch "$OTA_ROOT/ran"\n'), file(b"b")), root) == expected
    assert state(root) == before


# ---- ways out of the root ------------------------------------------------------------------------------------------


def link(name: bytes, to: bytes, kind: int = 0) -> bytes:
    return b.record(b.LINK, {b.PATH: name, b.TYPE: kind, b.TO: to})


def move(source: bytes, name: bytes, *, root: bytes | None = None) -> bytes:
    fields = {b.SIZE: len(OLD), b.DIGEST: b.xxh(OLD)}
    where = ({} if root is None else {b.ROOT: root}) | {b.PATH: source, **fields}
    return b.record(b.MOVE, {b.PATH: name, b.MODE: 0o600, b.SOURCE: where, **fields})


def image(node: bytes) -> bytes:
    return b.record(b.BLOCK, {b.TARGETS: [node], **b.content(TEXT)}, TEXT)


REFUSED: dict[str, bytes] = {
    "up": file(b"../outside/x"),
    "down and up": file(b"d/../../outside/x"),
    "absolute": file(b"/etc/x"),
    "a NUL": file(b"x\0y"),
    "an empty name": file(b"d//x"),
    "a dot": file(b"./x"),
    "our own name": file(b"d/.otastream-new"),
    "a root that climbs": b.record(b.FILE, {b.ROOT: b"/../outside", b.PATH: b"x", b.MODE: 0, **b.content(TEXT)}, TEXT),
    "a hard link to what is outside": link(b"x", b"../outside/keep", 1),
    "a move from outside": move(b"../outside/keep", b"x"),
    "a move from a root outside": move(b"keep", b"x", root=b"/../outside"),
    "a node outside": image(b"/../outside/keep"),
    "deleting what is outside": b.record(b.DELETE, {b.PATH: b"../outside/keep", b.TYPE: 1}),
}


@pytest.mark.parametrize("name", REFUSED)
def test_paths_that_leave_the_root(applier: Applier, name: str, root: Path, outside: Path) -> None:
    before = state(root)
    assert applier.code(put(root, REFUSED[name]), root) == Code.PATH
    assert state(root) == before


THROUGH: dict[str, bytes] = {
    "a new file": file(b"way/new"),
    "a file that is there": file(b"way/keep"),
    "a folder": b.record(b.DIR, {b.PATH: b"way/new", b.MODE: 0o700}),
    "a link": link(b"way/new", b"x"),
    "a hard link": link(b"new", b"way/keep", 1),
    "a move to it": move(b"a", b"way/new"),
    "a mode": b.record(b.DIR, {b.PATH: b"way", b.MODE: 0}),
}


@pytest.mark.parametrize("name", THROUGH)
def test_nothing_goes_through_a_link_of_the_package(applier: Applier, name: str, root: Path, outside: Path) -> None:
    """A package may make a link that leads out, and nothing after it may follow."""
    before = state(root)[b"a"]
    code = applier.code(put(root, link(b"way", os.fsencode(outside)), THROUGH[name]), root)
    assert code in {Code.PATH, Code.MISSING, Code.TARGET}
    assert state(root)[b"a"] == before


def test_deleting_through_a_link_is_nothing_to_do(applier: Applier, root: Path, outside: Path) -> None:
    record = b.record(b.DELETE, {b.PATH: b"way/keep", b.TYPE: 1})
    assert applier.code(put(root, link(b"way", os.fsencode(outside)), record), root) == 0


def test_a_root_or_node_through_a_link_stays_beneath_the_root(applier: Applier, root: Path, outside: Path) -> None:
    """There links are followed as the board itself would follow them: / is the root."""
    (root / "out").symlink_to("../../../outside")
    (root / "abs").symlink_to(outside)
    for name in (b"/out", b"/abs"):
        record = b.record(b.FILE, {b.ROOT: name, b.PATH: b"x", b.MODE: 0, **b.content(TEXT)}, TEXT)
        assert applier.code(put(root, record), root) == Code.MISSING
        assert applier.code(put(root, image(name + b"/keep")), root) == Code.MISSING


def test_a_folder_that_becomes_a_link_after_preflight(applier: Applier, root: Path, outside: Path) -> None:
    write(root / "d/x", OLD)
    swap = f'rm -r "$OTA_ROOT/d" && ln -s "{outside}" "$OTA_ROOT/d"\n'
    expect = b.record(
        b.EXPECT, {b.TYPE: 1, b.PATH: b"d/x", b.OLD: [1, len(OLD), b.xxh(OLD)], b.NEW: [1, len(TEXT), b.xxh(TEXT)]}
    )
    assert applier.code(put(root, expect, script(1, swap), file(b"d/x")), root) == Code.PATH


def test_a_package_that_changes_after_it_was_checked(applier: Applier, root: Path, outside: Path) -> None:
    """A file is read twice; what is applied is the second reading, so that one is checked as well."""
    new = b.noise(500_000)
    swap = 'printf XXXX | dd of="$OTA_ROOT/../p.ota" bs=1 seek=400000 conv=notrunc 2>/dev/null\n'
    write(root / "d", OLD)
    states = {b.OLD: [1, len(OLD), b.xxh(OLD)], b.NEW: [1, len(new), b.xxh(new)]}
    package = put(root, b.record(b.EXPECT, {b.TYPE: 1, b.PATH: b"d", **states}), script(1, swap), file(b"d", new))
    good, before = package.read_bytes(), state(root)
    assert applier.code(package, root) == Code.CORRUPT
    assert package.read_bytes() != good, "the script did not run"
    assert state(root) == before


def test_a_source_that_vanishes_after_preflight(applier: Applier, root: Path, outside: Path) -> None:
    """The end script learns of it, and of the target nothing is lost that was not taken away."""
    gone = 'rm "$OTA_ROOT/a"\n'
    told = script(2, 'echo "$OTA_STATUS" > "$OTA_ROOT/status"\n')
    source = {b.PATH: b"a", b.SIZE: len(OLD), b.DIGEST: b.xxh(OLD)}
    fields = {b.PATH: b"x", b.MODE: 0, b.SIZE: 4, b.DIGEST: 1, b.ENGINE: 1, b.SOURCE: source}
    made = b.record(b.FILE, fields, b.triple([(4, b"")], b""))
    assert applier.code(put(root, told, script(1, gone), made), root) in {Code.MISSING, Code.TARGET}
    assert (root / "status").read_text() == "-1\n"
    assert not (root / "x").exists()


def test_a_race_of_folder_and_link(applier: Applier, root: Path, outside: Path) -> None:
    """Somebody exchanges a folder and a link that leads out while files are written into it, again and again."""
    (root / "d").mkdir()
    (root / "spare").symlink_to(outside)
    package = put(root, *(file(b"d/f%d" % number, b.noise(3000)) for number in range(40)))
    over = threading.Event()

    def swap() -> None:
        while not over.is_set():
            for source, target in (("d", "third"), ("spare", "d"), ("third", "spare")):
                os.rename(root / source, root / target)

    rival = threading.Thread(target=swap)
    rival.start()
    try:
        codes = {
            applier.code(package, root) for _ in range(4 if "otastream" in str(applier.argv(package, root)) else 20)
        }
    finally:
        over.set()
        rival.join()
    assert codes <= {0, Code.PATH, Code.MISSING, Code.CHANGED, Code.TARGET}


# ---- the temporary folder ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["otastream-begin.sh", "otastream-image.part"])
@pytest.mark.parametrize("what", ["link", "dangling link", "pipe", "folder"])
def test_names_of_ours_that_somebody_took(applier: Applier, root: Path, outside: Path, name: str, what: str) -> None:
    """Never written through; a name that cannot be taken back is an error."""
    path = root / "tmp" / name
    if what == "folder":
        write(path / "inside", b"")
    elif what == "pipe":
        os.mkfifo(path)
    else:
        path.symlink_to(outside / ("keep" if what == "link" else "new"))
    write(root / "dev/p", OLD + bytes(1000))
    source = {b.SIZE: len(OLD), b.DIGEST: b.xxh(OLD)}
    fields = {b.TARGETS: [b"/dev/p"], b.SIZE: len(OLD), b.DIGEST: b.xxh(OLD[::-1]), b.ENGINE: 1, b.SOURCE: source}
    built = b.record(b.BLOCK, fields, b.triple([], OLD[::-1]))
    code, seconds, _ = cost(applier, put(root, script(1, "exit 0\n"), built), root)
    assert code == (Code.TARGET if what == "folder" else 0)
    assert seconds < SECONDS
    assert (root / "dev/p").read_bytes() == (OLD if code else OLD[::-1]) + bytes(1000)


@pytest.mark.parametrize("what", ["link", "pipe", "folder", "other content"])
def test_an_image_that_is_none_of_ours(applier: Applier, root: Path, outside: Path, what: str) -> None:
    """A file with the name of a complete image is believed for its digest and nothing else."""
    new = OLD[::-1]
    path = root / "tmp" / f"otastream-{b.xxh(new):016x}.img"
    if what == "folder":
        write(path / "inside", b"")
    elif what == "pipe":
        os.mkfifo(path)
    elif what == "link":
        write(outside.parent / "image", new)
        path.symlink_to(outside.parent / "image")
    else:
        write(path, OLD)
    write(root / "dev/p", OLD + bytes(1000))
    source = {b.SIZE: len(OLD), b.DIGEST: b.xxh(OLD)}
    fields = {b.TARGETS: [b"/dev/p"], b.SIZE: len(OLD), b.DIGEST: b.xxh(new), b.ENGINE: 1, b.SOURCE: source}
    code, seconds, _ = cost(applier, put(root, b.record(b.BLOCK, fields, b.triple([], new))), root)
    assert code == (Code.TARGET if what == "folder" else 0)
    assert seconds < SECONDS
    assert (root / "dev/p").read_bytes() == (OLD if code else new) + bytes(1000)


# ---- the scratch of an update in place -----------------------------------------------------------------------------

UNIT = 4096
SWAPPED = b.noise(3 * UNIT)


def swap(*, scratch: int, kept: int = UNIT) -> tuple[bytes, bytes]:
    """The expect and the record that exchange the first two of three units of /dev/p, and keep bytes of the first."""
    new = SWAPPED[UNIT : 2 * UNIT] + SWAPPED[:UNIT] + SWAPPED[2 * UNIT :]
    payload = b.segment(0, new[:UNIT], b.triple([(UNIT, b"")], b"", UNIT), kept=[(0, kept)], last=1)
    payload += b.segment(0, new[UNIT : 2 * UNIT], b.triple([(UNIT, b"")], b""))
    known = {b.SIZE: len(SWAPPED), b.DIGEST: b.xxh(SWAPPED)}
    fields = {b.TARGETS: [b"/dev/p"], b.SIZE: len(new), b.DIGEST: b.xxh(new), b.SOURCE: known, b.UNIT: UNIT,
              b.PLAN: b.xxh(payload)}  # fmt: skip
    expect = b.record(b.EXPECT, fields | {b.TYPE: 5, b.SCRATCH: scratch})
    return expect, b.record(b.BLOCK, fields | {b.ENGINE: 1}, payload)


ENOUGH = 72 + UNIT + UNIT


@pytest.mark.parametrize(("scratch", "code"), [(ENOUGH, 0), (ENOUGH - 1, Code.LIMIT), (1 << 62, Code.SPACE)])
def test_a_scratch_that_is_not_what_the_package_said(
    applier: Applier, root: Path, outside: Path, scratch: int, code: int
) -> None:
    """More than was asked for is not taken, and more than there is is not begun with."""
    write(root / "dev/p", SWAPPED)
    expect, record = swap(scratch=scratch)
    before = state(root)
    package = put(root, expect, script(1, "exit 0\n"), record)
    assert applier.code(package, root, "--volatile-scratch") == code
    assert (state(root) == before) == (code != 0)
    assert list((root / "tmp").iterdir()) == []


def cut_short(applier: Applier, root: Path, expect: bytes, record: bytes) -> bytes:
    """Half of the update, from a pipe whose package ends in the second segment; the whole stream."""
    whole = b.stream(expect, record)
    data = b.Package(whole[: whole.index(record) + len(record) - 16]).build()
    assert applier.run("-", root, "--volatile-scratch", stdin=data).returncode == Code.FORMAT
    return whole


def test_kept_bytes_that_somebody_exchanged(applier: Applier, root: Path, outside: Path) -> None:
    """Between a cut and the next run: what is made of them is none of the package, and does not reach the node."""
    write(root / "dev/p", SWAPPED)
    expect, record = swap(scratch=ENOUGH)
    whole = cut_short(applier, root, expect, record)
    half = (root / "dev/p").read_bytes()
    assert half[:UNIT] == SWAPPED[UNIT : 2 * UNIT]
    kept = [path for path in (root / "tmp").iterdir() if path.read_bytes() == SWAPPED[:UNIT]]
    assert len(kept) == 1
    kept[0].write_bytes(bytes(UNIT))
    assert applier.code(wrap(root, whole), root, "--volatile-scratch") == Code.RESULT
    assert (root / "dev/p").read_bytes() == half
    kept[0].write_bytes(SWAPPED[:UNIT])
    assert applier.code(wrap(root, whole), root, "--volatile-scratch") == 0


@pytest.mark.parametrize("what", ["link", "pipe", "folder", "endless"])
def test_a_journal_that_is_none_of_ours(applier: Applier, root: Path, outside: Path, what: str) -> None:
    """A name of the scratch that somebody has taken is not believed, and never written through."""
    write(root / "dev/p", SWAPPED)
    expect, record = swap(scratch=ENOUGH)
    cut_short(applier, root, expect, record)
    names = [path.name for path in (root / "tmp").iterdir()]
    for name in names:
        path = root / "tmp" / name
        content = path.read_bytes()
        path.unlink()
        if what == "folder":
            write(path / "inside", b"")
        elif what == "pipe":
            os.mkfifo(path)
        elif what == "link":
            write(root.parent / "copies" / name, content)
            path.symlink_to(root.parent / "copies" / name)
        else:
            path.touch()
            os.truncate(path, 1 << 40)
    write(root / "dev/p", SWAPPED)
    package = put(root, expect, record)
    code, seconds, _ = cost(applier, package, root, "--volatile-scratch")
    assert code == (Code.TARGET if what == "folder" else 0)
    assert seconds < SECONDS
    if code == 0:
        assert (root / "dev/p").read_bytes()[:UNIT] == SWAPPED[UNIT : 2 * UNIT]
        assert list((root / "tmp").iterdir()) == []
    else:
        assert (root / "dev/p").read_bytes() == SWAPPED
    if what == "link":
        assert all(path.stat().st_size > 0 for path in (root.parent / "copies").iterdir())


# ---- devices that fail ---------------------------------------------------------------------------------------------


def test_a_write_that_fails_half_way(applier: Applier, root: Path, outside: Path) -> None:
    """The kernel refuses to let a file grow: old stays, nothing is left behind, and the next run ends in new."""
    new = b.noise(200_000)
    package = put(root, file(b"a", new))

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))

    before = state(root)
    done = subprocess.run(applier.argv(package, root), preexec_fn=limit, capture_output=True, check=False)
    assert done.returncode == Code.IO, done.stderr
    assert b"File too large" in done.stderr
    assert state(root) == before
    assert applier.code(package, root) == 0
    assert (root / "a").read_bytes() == new


def _mounted(root: Path, options: str, applier: Applier, package: Path, *, at: str) -> int:
    """Apply with a small tmpfs mounted at ROOT/at, in a mount name space of its own."""
    words = " ".join(f"'{word}'" for word in applier.argv(package, root))
    setup = f"mount -t tmpfs -o size=64k none '{root}/{at}' && cp -a '{root}/.saved/.' '{root}/{at}/'"
    if options:
        setup += f" && mount -o remount,{options} '{root}/{at}'"
    after = f"ls -A '{root}/{at}' > '{root.parent}/left'; cp -a '{root}/{at}/.' '{root.parent}/seen/'"
    command = f"{setup} || exit 99; {words}; code=$?; {after}; exit $code"
    done = subprocess.run(["unshare", "-m", "sh", "-c", command], capture_output=True, text=True, check=False)
    if done.returncode in (1, 99):
        pytest.skip(f"needs root: {done.stderr}")
    return done.returncode


@pytest.mark.parametrize("space", ["checked", "ignored"])
def test_a_file_system_that_is_full(applier: Applier, root: Path, outside: Path, space: str) -> None:
    write(root / ".saved/f", OLD)
    (root / "small").mkdir()
    (root.parent / "seen").mkdir()
    new = b.noise(100_000)
    states = {b.OLD: [1, len(OLD), b.xxh(OLD)], b.NEW: [1, len(new), b.xxh(new)]}
    expect = b.record(b.EXPECT, {b.TYPE: 1, b.PATH: b"small/f", **states})
    package = put(root, *([expect] if space == "checked" else []), script(1, "exit 0\n"), file(b"small/f", new))
    assert _mounted(root, "", applier, package, at="small") == Code.SPACE
    assert (root.parent / "left").read_text() == "f\n"
    assert (root.parent / "seen/f").read_bytes() == OLD


def test_a_file_system_that_is_read_only(applier: Applier, root: Path, outside: Path) -> None:
    write(root / ".saved/f", OLD)
    (root / "small").mkdir()
    (root.parent / "seen").mkdir()
    assert _mounted(root, "ro", applier, put(root, file(b"small/f")), at="small") == Code.READONLY
    assert (root.parent / "seen/f").read_bytes() == OLD


@pytest.mark.parametrize(("options", "code"), [("", Code.SPACE), ("ro", Code.READONLY)])
def test_a_temporary_folder_that_is_full_or_read_only(
    applier: Applier, root: Path, outside: Path, options: str, code: int
) -> None:
    """An image that must be built there first: the device keeps its old content."""
    (root / ".saved").mkdir()
    (root.parent / "seen").mkdir()
    old, new = b.noise(100_000), b.noise(100_000)[::-1]
    write(root / "dev/p", old)
    source = {b.SIZE: len(old), b.DIGEST: b.xxh(old)}
    fields = {b.TARGETS: [b"/dev/p"], b.SIZE: len(new), b.DIGEST: b.xxh(new), b.ENGINE: 1, b.SOURCE: source}
    package = put(root, b.record(b.BLOCK, fields, b.triple([], new)))
    assert _mounted(root, options, applier, package, at="tmp") == code
    assert (root / "dev/p").read_bytes() == old
    assert (root.parent / "left").read_text() == ""


def test_a_temporary_folder_that_nothing_needs(applier: Applier, root: Path, outside: Path) -> None:
    """Files, and an image made from another slot, keep no journal: it may as well be read-only."""
    (root / ".saved").mkdir()
    (root.parent / "seen").mkdir()
    old, new = b.noise(100_000), b.noise(100_000)[::-1]
    write(root / "dev/p", bytes(100_000))
    write(root / "dev/q", old)
    source = {b.SIZE: len(old), b.DIGEST: b.xxh(old), b.TARGETS: [b"/dev/q"]}
    fields = {b.TARGETS: [b"/dev/p"], b.SIZE: len(new), b.DIGEST: b.xxh(new), b.ENGINE: 1, b.SOURCE: source}
    package = put(root, file(b"a"), b.record(b.BLOCK, fields, b.triple([], new)))
    assert _mounted(root, "ro", applier, package, at="tmp") == 0
    assert (root / "dev/p").read_bytes() == new
    assert (root / "dev/q").read_bytes() == old


# ---- views of files ------------------------------------------------------------------------------------------------

PACKED = zlib.compress(b"what is inside of a file " * 40, 9)
BOMB = zlib.compress(bytes(50_000_000), 9)


def viewed(root: Path, front: bytes, payload: bytes, *, size: int = 100, old: bytes = PACKED) -> Path:
    """A package that makes the file a, which holds old, by a delta between views."""
    write(root / "a", old)
    source = {b.SIZE: len(old), b.DIGEST: b.xxh(old)}
    fields = {b.PATH: b"a", b.MODE: 0o600, b.SIZE: size, b.DIGEST: 1, b.ENGINE: 1, b.SOURCE: source}
    needs = b.record(b.MANIFEST, {b.RECORDS: 1, b.BYTES: 0, b.NEEDS: v.NEEDS})
    views = {b.OLD_VIEW: 1, b.NEW_VIEW: 1}
    records = needs + b.record(b.FILE, fields | views, b.varint(400_000) + front + payload) + b.ENDING
    package = root.parent / "p.ota"
    package.write_bytes(v.package(records))
    return package


def _whole(raw: int, packed: int = len(PACKED)) -> bytes:
    """Old is one part that expands to so much."""
    return v.old([(0, 0, packed, 2 * raw)], slots=2, slot=4096)


LIES: dict[str, tuple[bytes, bytes, Code]] = {
    "old expands to less": (_whole(2000) + v.new(v.plain(100)), b.triple([(100, b"")], b"", 1900), Code.DELTA),
    "old expands to more": (_whole(100) + v.new(v.plain(101)), b.triple([(101, b"")], b""), Code.DELTA),
    "old is no part": (v.old([(3, 0, 20, 200)]) + v.new(v.plain(100)), b.triple([(100, b"")], b""), Code.DELTA),
    "more slots than memory": (v.old([], slots=64, slot=1 << 20) + v.new(v.plain(100)), b"", Code.LIMIT),
    "more parts than memory": (b.varint(1) + b.varint(64) + b"\0" + b.varint(1 << 60), b"", Code.LIMIT),
    "a list of new beyond memory": (v.old([]) + b"\0" + b.varint(1 << 40), b"", Code.LIMIT),
    "keeps more than new": (v.old([]) + v.new(v.keep(40, 0) * 3), b"", Code.DELTA),
    "keeps beyond old": (v.old([]) + v.new(v.keep(100, 2 * len(PACKED) - 20)), b"", Code.DELTA),
    "a part of 4 GB": (v.old([]) + v.new(v.part((1 << 32) - 1)), b.triple([(10, b"")], b""), Code.DELTA),
    "another part than promised": (v.old([]) + v.new(v.part(900)), b.triple([], bytes(900)), Code.RESULT),
    "a part longer than new": (v.old([]) + v.new(v.part(900)), b.triple([], os.urandom(900)), Code.DELTA),
}


@pytest.mark.parametrize("lie", LIES)
def test_a_view_that_lies(root: Path, outside: Path, applier: Applier, lie: str) -> None:
    del outside
    front, payload, code = LIES[lie]
    usual = cost(applier, put(root, file(b"b")), root)[2]
    package = viewed(root, front, payload)
    status, seconds, memory = cost(applier, package, root)
    assert status == code
    assert (root / "a").read_bytes() == PACKED
    assert seconds < SECONDS
    assert memory < usual + 8192


def test_a_bomb_in_old(root: Path, applier: Applier) -> None:
    """A file on the board whose part becomes 50 MB: no more of it than a slot is held."""
    usual = cost(applier, put(root, file(b"b")), root)[2]
    front = _whole(50_000_000, len(BOMB)) + v.new(v.plain(100))
    package = viewed(root, front, b.triple([(1, b"")], b"", 49_999_900) + b.triple([(99, b"")], b""), old=BOMB)
    status, seconds, memory = cost(applier, package, root)
    assert status == Code.RESULT  # the digest of new is none
    assert seconds < SECONDS
    assert memory < usual + 8192


def _zstd_views(front: bytes, payload: bytes, size: int, root: Path, old: bytes) -> Path:
    """The same with the coding of zstd, for blocks of 128 KiB, and the memory that it takes."""
    write(root / "a", old)
    source = {b.SIZE: len(old), b.DIGEST: b.xxh(old)}
    fields = {b.PATH: b"a", b.MODE: 0o600, b.SIZE: size, b.DIGEST: 1, b.ENGINE: 1, b.SOURCE: source}
    needs = b.record(b.MANIFEST, {b.RECORDS: 1, b.BYTES: 0, b.NEEDS: sorted([*v.NEEDS, "zstd-1.5.4"])})
    views = {b.OLD_VIEW: 1, b.NEW_VIEW: 1}
    records = needs + b.record(b.FILE, fields | views, b.varint(4_000_000) + front + payload) + b.ENDING
    package = root.parent / "p.ota"
    package.write_bytes(b.Package(records, workspace=1000, ram=5 << 20).build())
    return package


_ZSTD = codings.squashfs_coding(CodingId.ZSTD, 131072)
_ZSTD_CODINGS = b.varint(1) + b.varint(_ZSTD.id) + b.varint(_ZSTD.params)


def _zstd_old(*part: int) -> bytes:
    return b"".join(map(b.varint, (2, 4096))) + _ZSTD_CODINGS + b"\1" + b"".join(map(b.varint, part))


def _zstd_end(raw: int) -> bytes:
    """All that is to be made is what the part ends with."""
    return b.triple([(1, b"")], b"", raw - 100) + b.triple([(99, b"")], b"")


_Lie = tuple[bytes, bytes, bytes, set[Code]]


def _zstd_lie(packed: bytes, raw: int, codes: set[Code]) -> _Lie:
    """Who decodes no more than was said finds the end of it wrong: RESULT."""
    return packed, _zstd_old(0, 0, len(packed), 2 * raw) + v.new(v.plain(100)), _zstd_end(raw), codes


ZSTD_LIES: dict[str, _Lie] = {
    "old expands to 256 MiB": _zstd_lie(zstd_zeros(2048), 131072, {Code.DELTA, Code.RESULT}),
    "old is cut": _zstd_lie(zstd_zeros(2)[:-2], 2 * 131072, {Code.DELTA}),
    "new is one part of 4 GB": (
        PACKED, v.old([]) + v.new(v.part((1 << 32) - 1), _ZSTD_CODINGS), b.triple([], bytes(10)), {Code.DELTA},
    ),
}  # fmt: skip


@pytest.mark.parametrize("program", ["otastream", "otaunpack"])
@pytest.mark.parametrize("lie", ZSTD_LIES)
def test_a_view_by_zstd_that_lies(root: Path, program: str, lie: str) -> None:
    """The board program that has every encoder is the one with sanitizers, whose memory says nothing."""
    if CodingId.ZSTD not in codings.present():
        pytest.skip("no libzstd of the right version")
    applier = applier_with_encoders(program)
    usual = cost(applier, put(root, file(b"b")), root)[2]
    old, front, payload, codes = ZSTD_LIES[lie]
    status, seconds, memory = cost(applier, _zstd_views(front, payload, 100, root, old), root)
    assert status in codes
    assert (root / "a").read_bytes() == old
    assert seconds < SECONDS
    if program == "otastream":
        assert memory < usual + (16 << 10)
