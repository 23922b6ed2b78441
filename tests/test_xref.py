"""engine xref: golden payloads, what it gains, how packages make room for it."""

from __future__ import annotations

import dataclasses
import json
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from code_samples import kernels, pair, stubs, types
from golden import xref_vectors
from otastream.apply import ApplyOptions, apply_package
from otastream.config import Edit, Folder, Release
from otastream.engines import ENGINES, xref
from otastream.errors import Code, OtaError
from otastream.inspection import verify_package
from otastream.model import Codec, EngineId
from otastream.native import PARTS, BytesSource, Decoder, XrefOptions, diff_xref, programs, xref_suits
from otastream.options import XREF_RAM, PackOptions, engine_memory, fit
from otastream.pack import pack_release
from otastream.patch import diff_package, patch_file

VECTORS = json.loads(xref_vectors.FILE.read_text())


def decode(old: bytes, payload: bytes, size: int, memory: int, piece: int = 1 << 16) -> bytes:
    decoder = Decoder(EngineId.XREF, size, source=BytesSource(old), workspace=memory)
    out = bytearray()
    for start in range(0, len(payload), piece):
        for view in decoder.feed(payload[start : start + piece]):
            out += view
    decoder.finish()
    return bytes(out)


def encode(old: bytes, new: bytes, options: XrefOptions) -> bytes:
    with tempfile.TemporaryFile() as file:
        stats = diff_xref(old, new, file.fileno(), options)
        file.seek(0)
        made = file.read()
    assert stats.written == len(made)
    return made


# ---- golden payloads -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", VECTORS["good"])
def test_good_payloads(name: str) -> None:
    """Whoever changes what a payload means must see it here."""
    case = VECTORS["good"][name]
    old, new, payload = (bytes.fromhex(case[key]) for key in ("old", "new", "payload"))
    assert decode(old, payload, len(new), case["workspace"]) == new
    assert decode(old, payload, len(new), case["workspace"], piece=1) == new


@pytest.mark.parametrize("name", VECTORS["bad"])
def test_bad_payloads(name: str) -> None:
    case = VECTORS["bad"][name]
    with pytest.raises(OtaError) as caught:
        decode(bytes.fromhex(case["old"]), bytes.fromhex(case["payload"]), case["size"], case["workspace"])
    assert caught.value.code is Code[case["error"]]


def test_the_vectors_are_what_is_made_today() -> None:
    assert json.loads(json.dumps(xref_vectors.vectors())) == VECTORS


# ---- what it gains ---------------------------------------------------------------------------------------------


def test_references_are_followed() -> None:
    old, new = pair()
    with ENGINES[EngineId.BSDIFF].encode(old, new) as plain, ENGINES[EngineId.XREF].encode(old, new) as followed:
        assert followed.size * 3 < plain.size


def test_offsets_of_symbols_are_references() -> None:
    """All of them change when the first function grows, and cost little beside the functions themselves."""
    count = 2400
    old, new = kernels(count)
    options = xref.limits(18)
    code = encode(old[: -4 * count], new[: -4 * (count + 1)], options)
    assert len(encode(old, new, options)) < len(code) * 4 // 3


def test_distances_are_references() -> None:
    count = 2400
    old, new = kernels(count, distances=True)
    options = xref.limits(18)
    code = encode(old[: -8 * count], new[: -8 * (count + 1)], options)
    assert len(encode(old, new, options)) < len(code) * 4 // 3


def test_copies_that_mislead_are_left_out_of_the_map() -> None:
    """With all copies in the map more than half a byte for each call is spent on references that were misled."""
    old, new = stubs(512)
    with tempfile.TemporaryFile() as file:
        stats = diff_xref(old, new, file.fileno(), xref.limits(18))
    assert stats.spans < stats.triples * 9 // 10
    assert stats.parts[PARTS.index("wrong")] < 100


def test_numbers_move_together() -> None:
    """Three types are put in; 900 others have new numbers, and their names other offsets."""
    old, new = types(1200), types(1200, more=3)
    changed = sum(a != b for a, b in zip(old[24:], new[24 + 3 * 36 :], strict=False))
    assert changed > 5000
    assert len(encode(old, new, xref.limits(18))) < 1500


def test_what_is_the_same_costs_next_to_nothing() -> None:
    old, _ = pair(600)
    with ENGINES[EngineId.XREF].encode(old, old) as payload:
        assert payload.size < 100


def test_programs_inside_of_an_image() -> None:
    """Each with addresses of its own, wherever they stand; what is between them moves, too."""
    old, new = pair()
    other_old, other_new = pair(40)
    text = bytes(range(256)) * 12
    images = (text + old + text[7:] + other_old, text[3:] + other_new + b"a line" + text + new + text[:90])
    engine = ENGINES[EngineId.XREF]
    assert engine.suits(*images, workspace=xref.workspace(16))
    with engine.encode(old, new) as one, engine.encode(other_old, other_new) as two, engine.encode(*images) as all_:
        assert all_.size < (one.size + two.size) * 11 // 10 + 60
        payload = b"".join(all_.chunks())
    assert decode(images[0], payload, len(images[1]), xref.workspace(18), piece=5) == images[1]


def test_programs_are_found_at_any_offset() -> None:
    old, _ = pair()
    image = b"\x7fELF" + bytes(60) + b"\x7f" + old + b"\x7fEL" + old[:-1]
    assert list(programs(image)) == [(65, len(old))]
    assert list(programs(b"")) == []


@settings(max_examples=50, deadline=None)
@given(data=st.data())
def test_damaged_programs_inside_of_an_image(data: st.DataObject) -> None:
    """Headers that lie cost bytes, and nothing else."""
    old, new = pair(6)
    images = [bytearray(part * 2 + b"between" + part) for part in (old, new)]
    for image in images:
        for _ in range(data.draw(st.integers(0, 5))):
            start = data.draw(st.sampled_from([0, len(image) // 3, len(image) // 3 * 2]))
            image[start + data.draw(st.integers(0, 130))] = data.draw(st.sampled_from([0, 1, 0x7F, 0x80, 0xFF]))
    options = XrefOptions(12, 20, 9)
    payload = encode(bytes(images[0]), bytes(images[1]), options)
    assert decode(bytes(images[0]), payload, len(images[1]), xref_vectors.workspace(options)) == images[1]


def test_what_suits() -> None:
    old, new = pair()
    assert xref_suits(old)
    assert xref_suits(old[0x1000:] * 4)  # no header, but instructions
    assert not xref_suits(b"")
    assert not xref_suits(b"text " * 10_000)
    engine = ENGINES[EngineId.XREF]
    assert engine.suits(old, new, workspace=xref.workspace(16))
    assert not engine.suits(old, new, workspace=xref.workspace(16) - 1)
    assert not engine.suits(old, b"text", workspace=1 << 20)


@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_any_change_of_a_program(data: st.DataObject) -> None:
    old, new = pair(12)
    made = bytearray(new)
    for _ in range(data.draw(st.integers(0, 4))):
        at = data.draw(st.integers(0, len(made)))
        made[at : at + data.draw(st.integers(0, 90))] = data.draw(st.binary(max_size=60))
    cut = data.draw(st.integers(0, len(old)))
    options = XrefOptions(data.draw(st.integers(12, 15)), data.draw(st.integers(0, 40)), data.draw(st.integers(1, 20)))
    payload = encode(old[:cut], bytes(made), options)
    memory = xref_vectors.workspace(options)
    assert decode(old[:cut], payload, len(made), memory, data.draw(st.sampled_from([1, 7, 4096]))) == made


# ---- room in packages ------------------------------------------------------------------------------------------


def test_the_default_keeps_a_board_within_its_bound() -> None:
    options = PackOptions(engine="xref")
    memory = engine_memory(options)
    assert memory >= xref.workspace(xref.DEFAULT_LOG)
    made = fit(options, source=True, workspace=memory)
    assert made.ram <= XREF_RAM
    assert made.workspace == memory
    assert engine_memory(PackOptions(engine="bsdiff")) == 0


@pytest.mark.parametrize(("ram", "log"), [(256, None), (500, 17), (1024, 19), (2048, 20), (1 << 20, 20)])
def test_a_budget_is_spent_on_the_model(ram: int, log: int | None) -> None:
    options = PackOptions(engine="xref", ram=ram << 10)
    memory = engine_memory(options)
    made = fit(options, source=True, workspace=memory)
    assert made.ram <= ram << 10
    found = xref.largest(memory) if memory else None
    assert (None if found is None else found.model_log) == log


def test_a_codec_that_was_asked_for_stays() -> None:
    options = PackOptions(engine="xref", codec=Codec.ZSTD)
    memory = engine_memory(options)
    assert memory > 0
    made = fit(options, source=True, workspace=memory)
    assert made.codec is Codec.ZSTD


@pytest.fixture
def release(tmp_path: Path) -> Release:
    old, new = pair()
    for name, data in (("old", old), ("new", new)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "program").write_bytes(data)
        (tmp_path / name / "text").write_bytes(b"old text" * 50 if name == "old" else b"new text" * 50)
    return Release(folder=(Folder(old=str(tmp_path / "old"), new=str(tmp_path / "new"), dest="/app"),))


def test_packages_take_the_smallest(release: Release, tmp_path: Path) -> None:
    made = {}
    for engine in ("full", "bsdiff", "xref"):
        options = PackOptions(engine=engine)
        pack_release(release, output=str(tmp_path / engine), options=options)
        pack_release(release, output=str(tmp_path / "again"), options=dataclasses.replace(options, jobs=3))
        made[engine] = (tmp_path / engine).read_bytes()
        assert (tmp_path / "again").read_bytes() == made[engine]
    assert len(made["xref"]) < len(made["bsdiff"]) < len(made["full"])
    (tmp_path / "root").mkdir()
    (tmp_path / "tmp").mkdir()
    (tmp_path / "old").rename(tmp_path / "root/app")
    apply_package(str(tmp_path / "xref"), ApplyOptions(root=str(tmp_path / "root"), tmp=str(tmp_path / "tmp")))
    for name in ("program", "text"):
        assert (tmp_path / "root/app" / name).read_bytes() == (tmp_path / "new" / name).read_bytes()


def test_patches_of_one_file(tmp_path: Path) -> None:
    old, new = pair()
    (tmp_path / "old").write_bytes(old)
    (tmp_path / "new").write_bytes(new)
    paths = (str(tmp_path / "old"), str(tmp_path / "new"))
    diff_package(*paths, output=str(tmp_path / "p"), options=PackOptions(engine="xref"))
    assert patch_file(paths[0], str(tmp_path / "p"), output=str(tmp_path / "made")) == len(new)
    assert (tmp_path / "made").read_bytes() == new


def test_too_little_room_is_refused_by_name(tmp_path: Path) -> None:
    """A package that lies about its workspace: RAM, and the old file stays."""
    package = xref_vectors.package(workspace=1)
    (tmp_path / "p").write_bytes(package)
    old, _ = pair()
    (tmp_path / "a").write_bytes(old)
    (tmp_path / "tmp").mkdir()
    with pytest.raises(OtaError) as caught:
        apply_package(str(tmp_path / "p"), ApplyOptions(root=str(tmp_path), tmp=str(tmp_path / "tmp")))
    assert caught.value.code is Code.RAM
    assert (tmp_path / "a").read_bytes() == old


def test_edits_take_it_too(tmp_path: Path) -> None:
    old, new = pair()
    (tmp_path / "old").write_bytes(old)
    (tmp_path / "new").write_bytes(new)
    edit = Edit(dest="/bin/program", action="update", old=str(tmp_path / "old"), new=str(tmp_path / "new"))
    made = pack_release(Release(file=(edit,)), output=str(tmp_path / "p"), options=PackOptions(engine="xref"))
    assert made.deltas == 1


def test_a_package_is_verified_without_old(tmp_path: Path) -> None:
    """What an xref payload becomes of other old content says nothing, and no memory is needed for it."""
    old, new = pair()
    for folder, content in (("old", old), ("new", new)):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "a").write_bytes(content)
    folders = (Folder(old=str(tmp_path / "old"), new=str(tmp_path / "new"), dest="/"),)
    pack_release(Release(folder=folders), output=str(tmp_path / "p.ota"), options=PackOptions(engine="xref"))
    records = [entry.record for entry in verify_package(str(tmp_path / "p.ota")).entries]
    assert EngineId.XREF in {getattr(record, "engine", None) for record in records}
