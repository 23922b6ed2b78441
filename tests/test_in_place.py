"""Updates of a node onto itself: the plan of the packer, both programs, what they refuse, and kills in between."""

from __future__ import annotations

import gzip
import itertools
import json
import random
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import code_samples
from e2e_support import Applier, applier_named, edited, otastream, succeed, write
from otastream import model
from otastream.config import Image, Release, check_release
from otastream.engines.in_place import encode_in_place
from otastream.engines.order import least_scratch
from otastream.engines.xref import decoder_in_parts
from otastream.errors import Code, OtaError
from otastream.model import Codec, EngineId
from otastream.native import Buffer, Decoder, XrefOptions
from otastream.pack import PackOptions, pack_release
from reference import load

UNIT = 4096
BEHIND = b"\xa5" * 40_000  # what is behind the image on its node
BLOB = random.Random(1).randbytes(400_000)
NEW = BLOB[:70_000] + b"put in" * 2000 + edited(BLOB[70_000:300_000], 1) + BLOB[20_000:60_000]


# ---- the plan -------------------------------------------------------------------------------------------------------


class _Medium:
    """Old content as a board has it while it is replaced: what was overwritten and not kept is gone."""

    def __init__(self, old: bytes, size: int) -> None:
        self.bytes = bytearray(old.ljust(size, b"\0"))
        self.size = len(old)
        self.kept: dict[int, tuple[list[tuple[int, bytes]], int]] = {}

    def read_into(self, offset: int, target: Buffer) -> None:
        view = memoryview(target)
        view[:] = self.bytes[offset : offset + len(view)]
        for start, content in itertools.chain.from_iterable(ranges for ranges, _ in self.kept.values()):
            low, high = max(start, offset), min(start + len(content), offset + len(view))
            if low < high:
                view[low - offset : high - offset] = content[low - start : high - start]


def _numbers(payload: bytes) -> Iterator[int]:
    """Varints, or as many bytes as are asked for with send()."""
    at = value = shift = 0
    while at < len(payload):
        byte = payload[at]
        at += 1
        value |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            yield value
            value = shift = 0


def _replay(old: bytes, size: int, payload: bytes, unit: int, *, xref: bool = False) -> tuple[bytes, int]:
    """Apply a payload as docs/SPEC.md section 6.4 says; new, and the most that the scratch held."""
    medium, at, following, peak = _Medium(old, size), 0, 0, 0
    tables: Decoder | None = None

    def number() -> int:
        nonlocal at
        value = next(_numbers(payload[at : at + 9]))
        at += max(1, -(-value.bit_length() // 7))
        return value

    def made(decoder: Decoder, length: int) -> bytes:
        nonlocal at
        pieces = [bytes(piece) for data in (payload[at : at + length], b"") for piece in decoder.feed(data)]
        decoder.finish()
        at += length
        return b"".join(pieces)

    if xref:
        tables = decoder_in_parts(size, medium)
        assert made(tables, number()) == b""
    for seq in itertools.count():
        if at == len(payload):
            return bytes(medium.bytes[:size]), peak
        zigzag = number()
        this = following + (zigzag // 2 if zigzag % 2 == 0 else -(zigzag + 1) // 2)
        at += 8
        start, ranges = this * unit, []
        count = number()
        for _ in range(count):
            start += number()
            length = number()
            ranges.append((start, bytes(medium.bytes[start : start + length])))
            start += length
        last = seq + number() if count else seq
        length = number()
        content = min(unit, size - this * unit)
        if tables is not None:
            tables.begin_part(this * unit, content, length)
        new = made(tables or Decoder(EngineId.BSDIFF, content, source=medium), length)
        medium.kept[seq] = ranges, last
        held = [sum(len(c) for _, c in ranges) for ranges, _ in medium.kept.values()]
        peak = max(peak, least_scratch(unit) + sum(-(-n // 4096) * 4096 for n in held))
        medium.bytes[this * unit : this * unit + unit] = new.ljust(min(unit, len(medium.bytes) - this * unit), b"\xff")
        medium.kept = {key: value for key, value in medium.kept.items() if value[1] > seq}
        following = this + 1
    raise AssertionError


@given(
    st.lists(st.tuples(st.integers(0, 60_000), st.integers(0, 20_000), st.integers(0, 900)), min_size=1, max_size=8),
    st.integers(1, 60_000),
    st.sampled_from([0, 4096, 16384, 1 << 20]),
)
@settings(max_examples=60, deadline=None)
def test_any_old_becomes_any_new_within_the_scratch(parts: list[tuple[int, int, int]], size: int, more: int) -> None:
    old = BLOB[:size]
    rng = random.Random(size)
    new = b"".join(old[start : start + length] + rng.randbytes(fresh) for start, length, fresh in parts) or b"x"
    made = encode_in_place(old, new, unit=UNIT, scratch=least_scratch(UNIT) + more)
    with made.payload:
        payload = b"".join(bytes(chunk) for chunk in made.payload.chunks())
    replayed, peak = _replay(old, len(new), payload, UNIT)
    assert replayed == new
    assert peak <= made.scratch <= least_scratch(UNIT) + more


_CODE = code_samples.pair(800)
_SMALL_MODEL = XrefOptions(12, spans_max=64, regions_max=16)


@given(
    st.lists(st.tuples(st.integers(0, 60_000), st.integers(0, 30_000), st.integers(0, 900)), min_size=1, max_size=8),
    st.integers(1, len(_CODE[0])),
    st.sampled_from([0, 4096, 16384, 1 << 20]),
)
@settings(max_examples=20, deadline=None)
def test_so_does_engine_xref(parts: list[tuple[int, int, int]], size: int, more: int) -> None:
    """Programs that were linked anew and shuffled: the replay gives garbage for old that was overwritten."""
    old, rng = _CODE[0][:size], random.Random(size)
    new = b"".join(_CODE[1][start : start + length] + rng.randbytes(fresh) for start, length, fresh in parts) or b"x"
    made = encode_in_place(old, new, unit=UNIT, scratch=least_scratch(UNIT) + more, xref=_SMALL_MODEL)
    with made.payload:
        payload = b"".join(bytes(chunk) for chunk in made.payload.chunks())
    replayed, peak = _replay(old, len(new), payload, made.unit, xref=True)
    assert replayed == new
    assert peak <= made.scratch <= least_scratch(UNIT) + more


def test_larger_units_are_taken_where_the_scratch_has_room() -> None:
    """Each unit of engine xref begins with an empty model, so fewer of them are smaller."""
    made = [encode_in_place(*_CODE, unit=UNIT, scratch=scratch, xref=_SMALL_MODEL) for scratch in (16384, 1 << 20)]
    assert made[0].unit < made[1].unit
    assert made[0].payload.size > made[1].payload.size
    for item in made:
        assert item.scratch >= least_scratch(item.unit)
        item.payload.close()


def test_where_the_scratch_is_too_small_bytes_are_sent() -> None:
    old = BLOB[: UNIT * 8]
    part = UNIT // 8
    new = b"".join(old[UNIT * j + part * i : UNIT * j + part * (i + 1)] for i in range(8) for j in range(8))
    sizes = []
    for more in (0, 8192, 1 << 20):
        made = encode_in_place(old, new, unit=UNIT, scratch=least_scratch(UNIT) + more)
        sizes.append(made.payload.size)
        made.payload.close()
    assert sizes[0] > 3 * UNIT
    assert sizes[0] > sizes[1] > sizes[2]
    assert sizes[2] < 1000


@pytest.mark.parametrize(("unit", "scratch"), [(UNIT + 1, 1 << 20), (2048, 1 << 20), (UNIT, UNIT), (1 << 27, 1 << 30)])
def test_units_and_scratches_that_cannot_be(unit: int, scratch: int) -> None:
    with pytest.raises(OtaError) as caught:
        encode_in_place(b"old", b"new", unit=unit, scratch=scratch)
    assert caught.value.code is Code.USAGE


# ---- packing --------------------------------------------------------------------------------------------------------


def _package(
    folder: Path,
    old: bytes = BLOB,
    new: bytes = NEW,
    *,
    node: str = "/dev/p",
    label: str | None = None,
    **options: Any,
) -> Path:
    write(folder / "old.img", old)
    write(folder / "new.img", new)
    old_name, new_name = str(folder / "old.img"), str(folder / "new.img")
    image = Image(old=old_name, new=new_name, targets=(node,), in_place=True, label=label)
    pack_release(Release(image=(image,)), output=str(folder / "p.ota"), options=PackOptions(scratch=200_000, **options))
    return folder / "p.ota"


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return _package(tmp_path_factory.mktemp("in-place"))


def test_a_package_says_what_it_needs(package: Path) -> None:
    records = [item.record for item in load(package)]
    expect = next(r for r in records if isinstance(r, model.ExpectInPlace))
    block = next(r for r in records if isinstance(r, model.Block))
    assert (expect.unit, expect.plan) == (block.unit, block.plan)
    assert least_scratch(1 << 16) <= expect.scratch <= 200_000
    assert "in place" in succeed("inspect", package)
    assert str(expect.scratch) in succeed("inspect", package, "--json", "--all")
    succeed("verify", package)


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A package for a program of several units, by engine xref."""
    options: dict[str, Any] = {"engine": "xref", "codec": Codec.NONE, "frame_log": 10}  # can end between segments
    old, new = code_samples.pair(4000)
    parts = [new[at : at + 90_000] + random.Random(at).randbytes(2000) for at in range(0, len(new), 90_000)]
    return _package(tmp_path_factory.mktemp("xref"), old, b"".join(parts), **options)


def test_the_smaller_engine_is_taken(program: Path, tmp_path: Path) -> None:
    (block,) = (r.record for r in load(program) if isinstance(r.record, model.Block))
    assert (block.engine, block.unit) == (EngineId.XREF, 1 << 17)
    contents = ((program.parent / name).read_bytes() for name in ("old.img", "new.img"))
    other = _package(tmp_path, *contents)
    assert program.stat().st_size < other.stat().st_size
    succeed("verify", program)
    noise = load(_package(tmp_path, engine="xref"))
    assert [r.record.engine for r in noise if isinstance(r.record, model.Block)] == [EngineId.BSDIFF]


@pytest.mark.parametrize("size", [2000, 200_000])  # a delta, or all of the image: the beginning differs
def test_what_is_compressed_inside_is_said_to_be_left_alone(tmp_path: Path, size: int) -> None:
    """Of a delta and of an image that is sent as a whole; not where nothing inside is compressed."""
    head, body = BLOB[:size], BLOB[size:].hex().encode()
    write(tmp_path / "old.img", gzip.compress(head, mtime=0) + gzip.compress(body[:390_000], mtime=0))
    write(tmp_path / "new.img", gzip.compress(head[::-1], mtime=0) + gzip.compress(body[:390_000] + b"!", mtime=0))
    write(tmp_path / "a.toml", b'[[image]]\nold = "old.img"\nnew = "new.img"\ntargets = ["/dev/p"]\nin-place = true\n')
    shown = otastream("pack", "--spec", tmp_path / "a.toml", "-o", tmp_path / "p.ota").stderr.decode()
    assert "\n/dev/p: longer than a unit: gzip" in shown
    assert "longer than a unit: gzip" in succeed("inspect", tmp_path / "p.ota")
    summary = succeed("pack", "--spec", tmp_path / "a.toml", "--json", "-o", tmp_path / "p.ota")
    assert [note["target"] for note in json.loads(summary)["notes"]] == ["/dev/p"]


def test_the_command_takes_all_images_that_can_be(tmp_path: Path) -> None:
    write(tmp_path / "old.img", BLOB)
    write(tmp_path / "new.img", NEW)
    text = '[[image]]\nold = "old.img"\nnew = "new.img"\ntargets = ["/dev/p"]\n'
    write(tmp_path / "a.toml", text.encode())
    write(tmp_path / "b.toml", (text + "in-place = true\n").encode())
    write(tmp_path / "c.toml", text.replace('"/dev/p"', '"/dev/p", "/dev/q"').encode())
    made = []
    for name, *options in (("a", "--in-place"), ("b",), ("a", "--in-place", "--scratch", "1M")):
        succeed("pack", "--spec", tmp_path / f"{name}.toml", *options, "-o", tmp_path / "p.ota")
        assert "not looked into" not in succeed("inspect", tmp_path / "p.ota")
        made.append((tmp_path / "p.ota").read_bytes())
    assert made[0] == made[1]
    for arguments in (("c", "--in-place"), ("a", "--in-place", "--scratch", "64K")):
        done = otastream("pack", "--spec", tmp_path / f"{arguments[0]}.toml", *arguments[1:], "-o", tmp_path / "q.ota")
        assert done.returncode == Code.USAGE, done.stderr
    assert not (tmp_path / "q.ota").exists()


@pytest.mark.parametrize(
    "image",
    [
        Image(new="n", targets=("/dev/p",), in_place=True),
        Image(new="n", old="o", targets=("/dev/p", "/dev/q"), in_place=True),
        Image(new="n", old="o", targets=("/dev/p",), source="/dev/q", in_place=True),
        Image(new="n", old="o", targets=("/dev/p",), mask=1, in_place=True),
        Image(new="n", old="o", targets=("/dev/ubi0_0",), kind="ubi", in_place=True),
    ],
)
def test_images_that_cannot_be_in_place(image: Image) -> None:
    with pytest.raises(OtaError) as caught:
        check_release(Release(image=(image,)))
    assert caught.value.code is Code.CONFIG


def test_an_image_that_has_nothing_of_old_is_sent_whole(tmp_path: Path) -> None:
    made = load(_package(tmp_path, BLOB[:100_000], BLOB[200_000:300_000]))
    assert [r.record.unit for r in made if isinstance(r.record, model.Block)] == [None]
    assert not any(isinstance(r.record, model.ExpectInPlace) for r in made)


# ---- applying -------------------------------------------------------------------------------------------------------


@pytest.fixture(params=["otastream", "otaunpack"])
def applier(request: pytest.FixtureRequest) -> Applier:
    return applier_named(request.param)


def _board(folder: Path, content: bytes) -> Path:
    root = folder / "root"
    write(root / "dev/p", content)
    (root / "tmp").mkdir()
    return root


KEEPS = "--volatile-scratch"  # the tests may work in memory


def test_old_becomes_new_and_stays_so(applier: Applier, package: Path, tmp_path: Path) -> None:
    root = _board(tmp_path, BLOB + BEHIND)
    applier.succeed(package, root, KEEPS)
    assert (root / "dev/p").read_bytes() == NEW + (BLOB + BEHIND)[len(NEW) :]
    assert list((root / "tmp").iterdir()) == []
    applier.succeed(package, root, KEEPS)
    assert (root / "dev/p").read_bytes().startswith(NEW)


def test_a_program_becomes_new_by_xref(applier: Applier, program: Path, tmp_path: Path) -> None:
    old, new = ((program.parent / name).read_bytes() for name in ("old.img", "new.img"))
    root = _board(tmp_path, old + BEHIND)
    for _ in range(2):
        applier.succeed(program, root, KEEPS)
        assert (root / "dev/p").read_bytes() == new + (old + BEHIND)[len(new) :]
        assert list((root / "tmp").iterdir()) == []


def test_what_is_neither_is_left_alone(applier: Applier, package: Path, tmp_path: Path) -> None:
    for at in (0, 150_000, len(BLOB) - 1):
        content = bytearray(BLOB + BEHIND)
        content[at] ^= 1
        root = _board(tmp_path / str(at), bytes(content))
        assert applier.code(package, root, KEEPS) == Code.TARGET
        assert (root / "dev/p").read_bytes() == content
        assert list((root / "tmp").iterdir()) == []


def test_a_node_that_is_too_small(applier: Applier, package: Path, tmp_path: Path) -> None:
    root = _board(tmp_path, BLOB[:300_000])
    assert applier.code(package, root, KEEPS) == Code.TOO_SMALL
    assert (root / "dev/p").read_bytes() == BLOB[:300_000]


def test_a_scratch_in_memory_is_refused(applier: Applier, package: Path) -> None:
    memory = Path("/dev/shm")
    if not memory.is_dir():
        pytest.skip("no /dev/shm")
    with tempfile.TemporaryDirectory(dir=memory) as folder:
        root = _board(Path(folder), BLOB + BEHIND)
        done = applier.run(package, root)
        assert done.returncode == Code.CONFIG
        assert b"power cut" in done.stderr
        assert (root / "dev/p").read_bytes() == BLOB + BEHIND
        applier.succeed(package, root, KEEPS)


def _cut_in_the_middle(package: Path, root: Path, *shares: float) -> None:
    """Apply with a journal that is left: the stream ends after half of the payload."""
    whole = package.read_bytes()
    for share in shares or (0.9, 0.8, 0.7, 0.6, 0.5, 0.4):
        done = otastream(
            "apply", "-", "--root", root, "-t", root / "tmp", KEEPS, stdin=whole[: int(len(whole) * share)]
        )
        assert done.returncode == Code.TRUNCATED
        if list((root / "tmp").iterdir()):
            return
    raise AssertionError("no journal was left")


@pytest.fixture(scope="module")
def long(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A package of several frames, so that it can end between segments."""
    folder = tmp_path_factory.mktemp("long")
    new = b"".join(BLOB[n * 40_000 : n * 40_000 + 20_000] + random.Random(n).randbytes(20_000) for n in range(10))
    return _package(folder, BLOB, new)


def test_a_stream_that_ends_in_the_middle_goes_on(applier: Applier, long: Path, tmp_path: Path) -> None:
    root = _board(tmp_path, BLOB + BEHIND)
    _cut_in_the_middle(long, root)
    new = (long.parent / "new.img").read_bytes()
    assert not (root / "dev/p").read_bytes().startswith(new)
    applier.succeed(long, root, KEEPS)
    assert (root / "dev/p").read_bytes() == new + (BLOB + BEHIND)[len(new) :]
    assert list((root / "tmp").iterdir()) == []


def test_xref_goes_on_with_tables_of_its_own(applier: Applier, program: Path, tmp_path: Path) -> None:
    """The program that goes on has not made the segments before; the tables in front are what it needs of them."""
    old, new = ((program.parent / name).read_bytes() for name in ("old.img", "new.img"))
    root = _board(tmp_path, old + BEHIND)
    _cut_in_the_middle(program, root)
    middle = (root / "dev/p").read_bytes()
    assert middle[: len(new)] not in (new, old)
    applier.succeed(program, root, KEEPS)
    assert (root / "dev/p").read_bytes() == new + (old + BEHIND)[len(new) :]


def test_a_journal_does_not_excuse_another_content(applier: Applier, long: Path, tmp_path: Path) -> None:
    """Somebody wrote to the node since: nothing is written over it, and the old image may start anew."""
    root = _board(tmp_path, BLOB + BEHIND)
    _cut_in_the_middle(long, root)
    middle = bytearray((root / "dev/p").read_bytes())
    middle[-len(BEHIND) - 1] ^= 1
    (root / "dev/p").write_bytes(middle)
    assert applier.code(long, root, KEEPS) == Code.TARGET
    assert (root / "dev/p").read_bytes() == middle
    (root / "dev/p").write_bytes(BLOB + BEHIND)
    applier.succeed(long, root, KEEPS)
    assert (root / "dev/p").read_bytes().startswith((long.parent / "new.img").read_bytes())


def test_a_journal_of_another_package_does_not_count(
    applier: Applier, long: Path, package: Path, tmp_path: Path
) -> None:
    root = _board(tmp_path, BLOB + BEHIND)
    _cut_in_the_middle(long, root)
    middle = (root / "dev/p").read_bytes()
    assert applier.code(package, root, KEEPS) == Code.TARGET
    assert (root / "dev/p").read_bytes() == middle
    applier.succeed(long, root, KEEPS)


@pytest.mark.parametrize("damage", ["empty", "short", "bit", "gone"])
def test_a_damaged_journal_is_noticed(applier: Applier, long: Path, tmp_path: Path, damage: str) -> None:
    root = _board(tmp_path, BLOB + BEHIND)
    _cut_in_the_middle(long, root)
    middle = (root / "dev/p").read_bytes()
    for file in (root / "tmp").iterdir():
        content = bytearray(file.read_bytes())
        if damage == "gone":
            file.unlink()
            continue
        content[20] ^= 1
        file.write_bytes(content[: {"empty": 0, "short": 50, "bit": len(content)}[damage]])
    assert applier.code(long, root, KEEPS) == Code.TARGET
    assert (root / "dev/p").read_bytes() == middle
    write(root / "dev/p", BLOB + BEHIND)
    applier.succeed(long, root, KEEPS)
    assert list((root / "tmp").iterdir()) == []


@pytest.mark.parametrize("damage", ["short", "gone"])
def test_kept_content_that_is_gone(applier: Applier, tmp_path: Path, damage: str) -> None:
    """Running the same package again would say so for ever; the whole image, which has no need of it, helps."""
    half = len(BLOB) // 2
    new = b"".join((BLOB[half:] + BLOB)[n * 40_000 :][:20_000] + random.Random(n).randbytes(20_000) for n in range(9))
    package = _package(tmp_path, BLOB, new)
    root = _board(tmp_path, BLOB + BEHIND)
    _cut_in_the_middle(package, root, 0.5)
    kept = [file for file in (root / "tmp").iterdir() if not file.read_bytes().startswith(b"\x89OTAJ")]
    assert kept
    for file in kept:
        if damage == "gone":
            file.unlink()
        else:
            write(file, file.read_bytes()[:-1])
    for _ in range(2):
        done = applier.run(package, root, KEEPS)
        assert done.returncode == Code.MISSING
        hint = done.stderr.decode().splitlines()[-1]
        assert hint.endswith("hint: running it again cannot help; take a package with the whole image of this target")
    whole = tmp_path / "whole.ota"
    image = Image(new=str(tmp_path / "new.img"), targets=("/dev/p",))
    pack_release(Release(image=(image,)), output=str(whole))
    applier.succeed(whole, root, KEEPS)
    assert (root / "dev/p").read_bytes().startswith(new)


@pytest.mark.parametrize("answer", [0, 1])
def test_a_hook_that_is_asked(applier: Applier, tmp_path: Path, answer: int) -> None:
    """A target in place can be left alone like any other; the hook hears its label."""
    package = _package(tmp_path, label="kernel")
    root = _board(tmp_path, BLOB + BEHIND)
    log, hook = tmp_path / "log", tmp_path / "hook"
    write(hook, f'#!/bin/sh\necho "$1 $4" >> {log}\nexit {answer}\n'.encode(), 0o755)
    applier.succeed(package, root, KEEPS, "--hook", str(hook))
    assert log.read_text() == "/dev/p kernel\n"
    assert (root / "dev/p").read_bytes().startswith(NEW if answer == 0 else BLOB)
