"""Compressed images that are updated onto themselves: a delta between views for each unit, docs/SPEC.md 6.4.2."""

from __future__ import annotations

import random
import zlib
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from e2e_support import Applier, applier_named, otastream, succeed, write
from golden import builder as b
from golden import views_in_place as golden
from otastream import model
from otastream.config import Image, Release
from otastream.deltas.in_place import views_in_place
from otastream.engines import ENGINES
from otastream.engines.order import least_scratch
from otastream.engines.xref import workspace
from otastream.errors import Code, OtaError
from otastream.inspection import verify_package
from otastream.model import CodingId, EngineId, View
from otastream.native import ExecOptions, Executor
from otastream.pack import PackOptions, pack_release
from otastream.stages.decompress import decompress
from otastream.stages.read import read
from otastream.stages.verify import verify
from otastream.views import codings
from otastream.views.codings import Coder
from otastream.views.expand import expand
from reference import load
from test_view_nodes import files, jffs2_nodes, nodes
from test_views import needs_mksquashfs, squash, tree, words

UNIT = 4096
BEHIND = b"\xa5" * 80_000  # what is behind the image on its node
KEEPS = "--volatile-scratch"  # the tests may work in memory
MEMORY = 1 << 20


@cache
def text(number: int) -> bytes:
    return words(number, 700 + 90 * (number % 7))


@cache
def member(number: int, change: int = 0) -> bytes:
    """Gzip, by zlib; about 1 to 3 KB. change: another byte here and there."""
    data = bytearray(text(number))
    for at in range(37 * change, len(data) if change else 0, 400):
        data[at] = 33 + change
    worker = zlib.compressobj(9, zlib.DEFLATED, -15)
    packed = worker.compress(data) + worker.flush()
    end = zlib.crc32(data).to_bytes(4, "little") + len(data).to_bytes(4, "little")
    return b"\x1f\x8b\x08\0\0\0\0\0\2\3" + packed + end


def image(change: int, count: int = 90) -> bytes:
    """Members between other bytes. Those of another change are larger by some that are new, and lie elsewhere."""
    out = bytearray(b"image %d" % change)
    for number in range(3 * change):
        out += member(500 + 10 * change + number)
    for number in range(count):
        out += member(number, change if number % 3 == 0 else 0) + b"between"
    return bytes(out)


def package(folder: Path, old: bytes, new: bytes, **options: Any) -> Path:
    write(folder / "old.img", old)
    write(folder / "new.img", new)
    made = Image(old=str(folder / "old.img"), new=str(folder / "new.img"), targets=("/dev/p",), in_place=True)
    pack_release(Release(image=(made,)), output=str(folder / "p.ota"), options=PackOptions(**options))
    return folder / "p.ota"


def block_of(package: Path) -> model.Block:
    return next(item.record for item in load(package) if isinstance(item.record, model.Block))


def board(folder: Path, content: bytes) -> Path:
    root = folder / "root"
    write(root / "dev/p", content)
    (root / "tmp").mkdir()
    return root


@pytest.fixture(params=["otastream", "otaunpack"])
def applier(request: pytest.FixtureRequest) -> Applier:
    return applier_named(request.param)


# ---- packing and applying -------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def packages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """By engine: several units, and frames so small that a stream can end between them."""
    return {
        engine: package(tmp_path_factory.mktemp(engine), image(1), image(2), engine=engine, frame_log=10)
        for engine in ("bsdiff", "xref")
    }


@pytest.mark.parametrize("engine", ["bsdiff", "xref"])
def test_old_becomes_new_and_stays_so(applier: Applier, packages: dict[str, Path], tmp_path: Path, engine: str) -> None:
    made, old, new = packages[engine], image(1), image(2)
    block = block_of(made)
    assert (block.old_view, block.new_view) == (View.PARTS, View.PARTS)
    assert made.stat().st_size < package(tmp_path, old, new, encoders=frozenset()).stat().st_size // 2
    succeed("verify", made)
    root = board(tmp_path, old + BEHIND)
    for _ in range(2):
        applier.succeed(made, root, KEEPS)
        assert (root / "dev/p").read_bytes() == new + (old + BEHIND)[len(new) :]
        assert list((root / "tmp").iterdir()) == []


def test_a_package_says_what_it_needs(packages: dict[str, Path]) -> None:
    records = [item.record for item in load(packages["bsdiff"])]
    manifest = next(r for r in records if isinstance(r, model.Manifest))
    assert {"block", "bsdiff", "deflate-zlib", "view-parts"} <= set(manifest.needs)
    expect = next(r for r in records if isinstance(r, model.ExpectInPlace))
    assert expect.unit + 72 < expect.scratch <= PackOptions().scratch
    assert "parts recompressed" in succeed("inspect", packages["bsdiff"])


def test_a_stream_that_ends_in_the_middle_goes_on(applier: Applier, packages: dict[str, Path], tmp_path: Path) -> None:
    whole, old, new = packages["bsdiff"].read_bytes(), image(1), image(2)
    root = board(tmp_path, old + BEHIND)
    for share in (0.95, 0.9, 0.8, 0.7, 0.6):
        cut = whole[: int(len(whole) * share)]
        done = otastream("apply", "-", "--root", root, "-t", root / "tmp", KEEPS, stdin=cut)
        assert done.returncode == Code.TRUNCATED
        if list((root / "tmp").iterdir()):
            break
    assert (root / "dev/p").read_bytes()[: len(new)] not in (old, new)
    applier.succeed(packages["bsdiff"], root, KEEPS)
    assert (root / "dev/p").read_bytes() == new + (old + BEHIND)[len(new) :]
    assert list((root / "tmp").iterdir()) == []


@needs_mksquashfs
@pytest.mark.parametrize("scratch", [72 << 10, 256 << 10])
def test_squashfs(applier: Applier, tmp_path: Path, scratch: int) -> None:
    more = {"aaa": words(77, 20_000), "bin/zzz": words(78, 5000)}
    old, new = squash(tmp_path, "a", tree(1)), squash(tmp_path, "b", tree(2) | more)
    made = package(tmp_path, old, new, scratch=scratch)
    assert block_of(made).new_view is View.PARTS
    root = board(tmp_path, old + BEHIND)
    applier.succeed(made, root, KEEPS)
    assert (root / "dev/p").read_bytes()[: len(new)] == new


@pytest.mark.parametrize("kind", ["ubifs", "jffs2"])
def test_images_of_short_parts(applier: Applier, tmp_path: Path, kind: str) -> None:
    more = [words(55, 9000)]
    old, new = (
        nodes(content) if kind == "ubifs" else jffs2_nodes(content, "<") for content in (files(1), more + files(2))
    )
    made = package(tmp_path, old, new)
    assert block_of(made).new_view is View.PARTS
    root = board(tmp_path, old + BEHIND)
    applier.succeed(made, root, KEEPS)
    assert (root / "dev/p").read_bytes()[: len(new)] == new


def test_parts_longer_than_a_unit_are_left_alone(tmp_path: Path) -> None:
    """They would be made anew for each unit. With units that they fit into they are looked into, and so are others."""
    old, new = (b"".join(_long(number, change) for number in (1, 3)) for change in (1, 2))
    record = block_of(package(tmp_path, old, new, scratch=least_scratch(1 << 16)))
    assert record.new_view is None
    assert record.note is not None
    assert record.note.startswith("longer than a unit")
    made = package(tmp_path, old, new, scratch=1 << 20)
    assert block_of(made).new_view is View.PARTS
    small = made.stat().st_size
    mixed = package(tmp_path, old + image(1), old + image(2), scratch=least_scratch(1 << 16))
    record = block_of(mixed)
    assert record.new_view is View.PARTS
    assert record.note is not None
    assert ", 2 sent as they are" not in record.note  # they stand in old
    worst = package(tmp_path, old + image(1), new + image(2), scratch=least_scratch(1 << 16))
    record = block_of(worst)
    assert record.new_view is View.PARTS
    assert record.note is not None
    assert record.note.endswith(" 2 sent as they are")
    assert small < worst.stat().st_size < len(new) + mixed.stat().st_size


@cache
def _long(number: int, change: int) -> bytes:
    data = bytearray(random.Random(number).randbytes(90_000).hex().encode())
    data[change * 100 : change * 100 + 6] = b"change"
    worker = zlib.compressobj(9, zlib.DEFLATED, 31)
    return worker.compress(data) + worker.flush() if number % 2 else member(number)


def test_a_view_that_needs_too_much_memory_is_not_used(tmp_path: Path) -> None:
    record = block_of(package(tmp_path, image(1), image(2), ram=300 << 10))
    assert record.new_view is None
    assert record.note is not None
    assert "bytes of memory" in record.note


# ---- any images -----------------------------------------------------------------------------------------------------


def _stream(old: bytes, new: bytes, scratch: int, engine: EngineId = EngineId.BSDIFF) -> tuple[bytes, bytes, int]:
    """Records in front of the payload; the payload; what the scratch has to hold."""
    found = expand(old, new, allowed=codings.present(), memory=MEMORY)
    if found is None or isinstance(found, str):
        return b"", b"", 0
    planned = views_in_place(old, new, found, unit=UNIT, scratch=scratch, memory=MEMORY)
    made = planned.encode(ENGINES[engine], workspace(16))
    with made.payload:
        payload = b"".join(bytes(chunk) for chunk in made.payload.chunks())
    fields: dict[int, Any] = {b.TARGETS: [b"/p"], b.SIZE: len(new), b.DIGEST: b.xxh(new), b.UNIT: made.unit}
    fields |= {b.SOURCE: {b.SIZE: len(old), b.DIGEST: b.xxh(old)}, b.PLAN: made.plan}
    needs = b.manifest(["block", "bsdiff", "deflate-zlib", "view-parts", "xref"])
    expect = b.record(b.EXPECT, fields | {b.TYPE: 5, b.SCRATCH: made.scratch})
    views = {b.OLD_VIEW: 1, b.NEW_VIEW: 1, b.ENGINE: int(engine)}
    return needs + expect + b.record(b.BLOCK, fields | views), payload, made.scratch


def _execute(folder: Path, stream: bytes) -> Code | None:
    (folder / "tmp").mkdir(exist_ok=True)
    options = ExecOptions(workspace=MEMORY + workspace(16), coder=Coder(), volatile_tmp=True)
    try:
        with Executor(folder, folder / "tmp", options=options) as executor:
            executor.feed(stream)
            executor.finish()
    except OtaError as failure:
        return failure.code
    return None


@given(
    st.lists(st.tuples(st.integers(0, 25), st.integers(0, 2), st.integers(0, 300)), min_size=2, max_size=40),
    st.lists(st.tuples(st.integers(0, 25), st.integers(0, 2), st.integers(0, 300)), min_size=2, max_size=40),
    st.sampled_from([0, 4096, 20_000, 1 << 20]),
    st.sampled_from([EngineId.BSDIFF, EngineId.XREF]),
)
@settings(max_examples=25, deadline=None)
def test_any_image_becomes_any_other(
    tmp_path_factory: pytest.TempPathFactory,
    before: list[tuple[int, int, int]],
    after: list[tuple[int, int, int]],
    more: int,
    engine: EngineId,
) -> None:
    """What a unit reads is there still or was kept, in no more scratch than was said; else its digest is wrong."""
    folder = tmp_path_factory.mktemp("any")
    old, new = (
        b"".join(member(number, change) + random.Random(gap).randbytes(gap) for number, change, gap in items)
        for items in (before, after)
    )
    head, payload, scratch = _stream(old, new, least_scratch(UNIT) + more, engine)
    if not head:
        return
    assert scratch <= least_scratch(UNIT) + more
    (folder / "p").write_bytes(old.ljust(len(new), b"\0"))
    assert _execute(folder, head + b.chunks(payload) + b.ENDING) is None
    assert (folder / "p").read_bytes()[: len(new)] == new
    assert list((folder / "tmp").iterdir()) == []


def test_what_the_scratch_does_not_hold_is_sent() -> None:
    old = b"".join(member(number) for number in range(24))
    new = b"".join(member(number, number % 2) for number in reversed(range(24)))
    (_, small, _), (_, large, _) = (_stream(old, new, least_scratch(UNIT) + more) for more in (0, 1 << 20))
    assert len(large) < len(small) < len(new)


@pytest.mark.parametrize("grows", [True, False])
def test_parts_that_cross_into_the_next_unit_are_made_once(grows: bool) -> None:
    """Whichever way the units are gone through."""
    small, large = image(0), image(2)
    old, new = (small, large) if grows else (large, small)
    found = expand(old, new, allowed=codings.present(), memory=MEMORY)
    assert found is not None
    assert not isinstance(found, str)
    planned = views_in_place(old, new, found, unit=UNIT, scratch=24_000, memory=MEMORY)
    assert planned.handed > UNIT


# ---- what others send -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["in-place-views", "in-place-views-handed-on"])
def test_the_golden_packages_make_new(tmp_path: Path, name: str) -> None:
    """Segments that are made together with the ends of their neighbours, from ranges in any order."""
    path = Path(golden.__file__).parent / f"good/{name}.ota"
    (tmp_path / "a").write_bytes(golden.OLD)
    assert _execute(tmp_path, b"".join(decompress(verify(read(str(path)))))) is None
    assert (tmp_path / "a").read_bytes() == golden.NEW


@pytest.mark.parametrize("name", golden.handed())
def test_what_must_not_be_handed_over(tmp_path: Path, name: str) -> None:
    (tmp_path / "p.ota").write_bytes(golden.handed()[name])
    (tmp_path / "a").write_bytes(golden.OLD)
    assert _execute(tmp_path, b"".join(decompress(verify(read(str(tmp_path / "p.ota")))))) is Code.DELTA
    with pytest.raises(OtaError) as caught:
        list(verify_package(str(tmp_path / "p.ota")).entries)
    assert caught.value.code is Code.DELTA


_REFUSED = {Code.DELTA, Code.RESULT, Code.LIMIT, Code.FORMAT, Code.UNSUPPORTED, Code.VERIFY}


def test_any_damage_is_refused_or_harmless(tmp_path: Path) -> None:
    """Each unit of the node is still old or is new, whatever the package says."""
    old = b"".join(member(number) for number in range(12))
    new = b"put in" + b"".join(member(number, number % 3) for number in range(12))
    head, payload, _ = _stream(old, new, least_scratch(UNIT) + 8192)
    rng, codes = random.Random(4), set()
    for _ in range(150):
        damaged = bytearray(payload)
        damaged[rng.randrange(min(len(payload), rng.choice([40, 400, 10_000])))] ^= 1 << rng.randrange(8)
        (tmp_path / "p").write_bytes(old.ljust(len(new), b"\0"))
        code = _execute(tmp_path, head + b.chunks(bytes(damaged)) + b.ENDING)
        assert code in _REFUSED or (code is None and (tmp_path / "p").read_bytes()[: len(new)] == new)
        codes.add(code)
        left = (tmp_path / "p").read_bytes()[: len(new)]
        for at in range(0, len(new), UNIT):
            unit = slice(at, at + UNIT)
            assert left[unit] in (new[unit], old.ljust(len(new), b"\0")[unit])
    assert {Code.DELTA, Code.RESULT} <= codes


def test_boards_without_the_coding_refuse_first(tmp_path: Path) -> None:
    head, payload, _ = _stream(image(1, 12), image(2, 12), least_scratch(UNIT))
    (tmp_path / "p").write_bytes(image(1, 12))
    (tmp_path / "tmp").mkdir()
    options = ExecOptions(workspace=MEMORY, coder=None, volatile_tmp=True)
    with pytest.raises(OtaError) as caught, Executor(tmp_path, tmp_path / "tmp", options=options) as executor:
        executor.feed(head + b.chunks(payload) + b.ENDING)
        executor.finish()
    assert caught.value.code is Code.UNSUPPORTED
    assert codings.LIBRARIES[CodingId.DEFLATE].name in str(caught.value)
    assert (tmp_path / "p").read_bytes() == image(1, 12)
