"""container, fields, cbor: round trips, totality, splits, and every single-byte harm to a small package."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import cbor2
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from golden import builder as b
from otastream import cbor, model
from otastream.container import (
    Frame,
    FrameReader,
    Order,
    RecordReader,
    compare_versions,
    encode,
    encode_preamble,
    has_payload,
    parse_preamble,
    ram,
)
from otastream.errors import Code, OtaError
from otastream.fields import check_path, decode_record, encode_record
from otastream.model import Chunk, Codec, EngineId, Event, Head, Preamble, Record, Tail

T = TypeVar("T")


def attempt(function: Callable[..., T], *args: object) -> tuple[T | None, Code | None]:
    """What the function gives, or the code of its OtaError. Any other exception is a bug and fails the test."""
    try:
        return function(*args), None
    except OtaError as failure:
        return None, failure.code


# ---- CBOR -----------------------------------------------------------------------------------------------------------

uints = st.integers(0, 2**64 - 1)
leaves = uints | st.binary(max_size=40) | st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
maps = st.dictionaries(uints, leaves, max_size=6)
values = leaves | st.lists(leaves | maps | st.lists(leaves).map(tuple), max_size=6).map(tuple) | maps


@given(values)
def test_cbor_is_the_deterministic_encoding_of_the_oracle(value: object) -> None:
    assert cbor.encode(value) == cbor2.dumps(value, canonical=True)
    assert cbor.decode(cbor.encode(value)) == value


@given(st.binary(max_size=60))
def test_cbor_decodes_only_the_one_encoding(data: bytes) -> None:
    value, code = attempt(cbor.decode, data)
    assert code is Code.FORMAT if code else cbor.encode(value) == data


@given(values, st.data())
def test_cbor_after_one_change(value: object, data: st.DataObject) -> None:
    encoded = bytearray(cbor.encode(value))
    position = data.draw(st.integers(0, len(encoded) - 1))
    encoded[position] ^= data.draw(st.integers(1, 255))
    decoded, code = attempt(cbor.decode, bytes(encoded))
    assert code is Code.FORMAT if code else cbor.encode(decoded) == encoded


def test_cbor_refuses_what_it_cannot_write() -> None:
    with pytest.raises(ValueError, match="64"):
        cbor.encode(2**64)


# ---- records --------------------------------------------------------------------------------------------------------

names = st.binary(min_size=1, max_size=255).filter(
    lambda name: not ({0, 47} & set(name)) and name not in (b".", b"..", model.STAGING_NAME)
)
paths = st.lists(names, min_size=1, max_size=5).map(b"/".join)
nodes = paths.map(lambda path: b"/" + path)
roots = st.just(b"/") | nodes
sizes = st.integers(0, model.SIZE_MAX)
digests = uints
modes = st.integers(0, 0o7777)
ids = st.integers(0, 2**32 - 2)
owners = st.none() | st.builds(model.Owner, ids, ids)
labels = st.none() | st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=100)
texts = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=60)
xattr_names = st.binary(min_size=1, max_size=255).filter(lambda name: 0 not in name)
xattrs = st.none() | st.dictionaries(xattr_names, st.binary(max_size=50), max_size=4).map(
    lambda pairs: tuple(sorted(pairs.items()))
)
link_texts = st.binary(min_size=1, max_size=300).filter(lambda text: 0 not in text)
states = (
    st.sampled_from([model.ABSENT, model.DIRECTORY, model.ANY])
    | st.builds(model.FileState, sizes, digests)
    | st.builds(model.LinkState, link_texts)
)
targets = st.lists(nodes, min_size=1, max_size=8, unique=True).map(tuple)


def file_sources(digest: st.SearchStrategy[int | None]) -> st.SearchStrategy[model.Source]:
    return st.builds(model.Source, sizes, digest, paths, roots)


self_sources = st.builds(model.Source, sizes, digests)
node_sources = st.builds(model.Source, sizes, digests, node=nodes)
known = file_sources(digests)
any_file = file_sources(st.none() | digests) | st.builds(model.Source, sizes, st.none() | digests)


def payload(
    kind: type[model.Block | model.Ubi | model.File],
    sources: st.SearchStrategy[model.Source],
    fields: dict[str, st.SearchStrategy[Any]],
) -> st.SearchStrategy[Record]:
    full: st.SearchStrategy[Record] = st.builds(kind, engine=st.just(EngineId.FULL), **fields)
    delta: st.SearchStrategy[Record] = st.builds(kind, engine=st.just(EngineId.BSDIFF), source=sources, **fields)
    return full | delta


node_fields: dict[str, st.SearchStrategy[Any]] = {
    "targets": targets,
    "size": sizes,
    "digest": digests,
    "label": labels,
}
file_fields: dict[str, st.SearchStrategy[Any]] = {
    "path": paths,
    "size": sizes,
    "digest": digests,
    "mode": modes,
    "root": roots,
    "owner": owners,
    "xattrs": xattrs,
    "single": st.booleans(),
    "label": labels,
}
needs = st.sets(st.sampled_from(b.ALL_NEEDS)).map(lambda chosen: tuple(sorted(chosen)))
actions: st.SearchStrategy[Record] = st.one_of(
    st.builds(model.Script, st.sampled_from(model.When), st.integers(0, model.SCRIPT_MAX), digests, labels),
    payload(model.Block, any_file | node_sources, node_fields),
    payload(model.Ubi, any_file | node_sources, node_fields),
    payload(model.File, any_file, file_fields),
    st.builds(model.File, engine=st.none(), **file_fields),
    st.builds(model.Delete, paths, st.sampled_from(model.DeleteType), roots, labels),
    st.builds(model.Dir, paths, modes, roots, owners, xattrs, labels),
    st.builds(model.Link, paths, st.just(model.LinkType.SYMBOLIC), link_texts, roots, owners, labels),
    st.builds(model.Link, paths, st.just(model.LinkType.HARD), paths, roots, owners, labels),
    st.builds(model.Move, paths, known, sizes, digests, modes, roots, owners, xattrs, labels),
)
expects: st.SearchStrategy[Record] = st.one_of(
    st.builds(model.ExpectTree, paths, states, states, roots, st.none() | known | self_sources),
    st.builds(model.ExpectNode, targets, sizes, digests, st.none() | known | self_sources | node_sources),
    st.builds(model.ExpectBoard, st.lists(texts, min_size=1, max_size=5).map(tuple)),
    st.builds(model.ExpectVersion, texts),
)
manifests: st.SearchStrategy[Record] = st.builds(
    model.Manifest, st.integers(0, 2**32 - 1), sizes, needs, st.none() | texts, st.none() | texts, st.none() | uints
)
records = actions | expects | manifests | st.just(model.End())


@given(records)
def test_record_round_trip(record: Record) -> None:
    raw = encode_record(record)
    assert decode_record(raw) == record
    assert raw == cbor2.dumps(cbor2.loads(raw), canonical=True)


@given(records, st.data())
def test_record_after_one_change_is_another_record_or_an_error(record: Record, data: st.DataObject) -> None:
    raw = bytearray(encode_record(record))
    position = data.draw(st.integers(0, len(raw) - 1))
    raw[position] ^= data.draw(st.integers(1, 255))
    other, code = attempt(decode_record, bytes(raw))
    assert code in (None, Code.FORMAT, Code.UNSUPPORTED, Code.LIMIT, Code.PATH)
    assert other != record


@given(st.recursive(leaves, lambda inner: st.lists(inner, max_size=5) | st.dictionaries(uints, inner, max_size=5)))
def test_any_value_as_record_is_refused_or_read(value: object) -> None:
    for candidate in (value, [1, value], [6, {2: value, 9: value}], [2, {17: 1, 2: b"a", 18: value, 19: value}]):
        raw = cbor.encode(candidate)
        try:
            record = decode_record(raw)
        except OtaError:
            continue
        assert decode_record(encode_record(record)) == record


@given(st.binary(max_size=300) | st.lists(names | st.just(b""), max_size=70).map(b"/".join))
def test_a_path_that_is_accepted_stays_beneath_its_root(path: bytes) -> None:
    _, code = attempt(check_path, path)
    if code is not None:
        assert code is Code.PATH
        return
    parts = path.split(b"/")
    assert len(parts) <= 64
    assert all(part not in (b"", b".", b"..", model.STAGING_NAME) and len(part) <= 255 for part in parts)
    assert b"\0" not in path


def test_header_that_is_too_long_is_not_written() -> None:
    record = model.Dir(b"a", 0, xattrs=((b"user.a", bytes(16384)),))
    with pytest.raises(OtaError) as caught:
        encode_record(record)
    assert caught.value.code is Code.LIMIT


# ---- record stream --------------------------------------------------------------------------------------------------


def _events(data: bytes, size: int) -> list[tuple[object, bytes]]:
    """Events of a stream that is fed in pieces; neighbouring chunks are joined, as where they are cut means nothing."""
    reader = RecordReader()
    events: list[tuple[object, bytes]] = []
    for position in range(0, len(data), size):
        for event in reader.feed(data[position : position + size]):
            if isinstance(event, Chunk):
                if events[-1][0] is Chunk:
                    events[-1] = (Chunk, events[-1][1] + bytes(event.data))
                else:
                    events.append((Chunk, bytes(event.data)))
            else:
                events.append((event, b""))
    reader.close()
    return events


@st.composite
def streams(draw: st.DrawFn) -> list[Event]:
    """A manifest that needs all, expects, actions with payloads, an end."""
    events: list[Event] = [Head(model.Manifest(0, 0, tuple(b.ALL_NEEDS)))]
    events += [Head(record) for record in draw(st.lists(expects, max_size=3))]
    for record in draw(st.lists(actions, max_size=4)):
        assume(not isinstance(record, model.Script) or record.when is model.When.INLINE)
        events.append(Head(record))
        if has_payload(record):
            events += [Chunk(piece) for piece in draw(st.lists(st.binary(min_size=1, max_size=300), max_size=3))]
            events.append(Tail())
    return [*events, Head(model.End())]


@settings(max_examples=40)
@given(streams())
def test_stream_whole_byte_by_byte_and_with_trailing_bytes(events: list[Event]) -> None:
    data = b"".join(encode(events))
    whole = _events(data, len(data))
    assert _events(data, 1) == whole
    assert [event.record for event, _ in whole if isinstance(event, Head)] == [
        event.record for event in events if isinstance(event, Head)
    ]
    sent = b"".join(bytes(event.data) for event in events if isinstance(event, Chunk))
    assert b"".join(joined for _, joined in whole) == sent
    for size in (1, len(data) + 1):
        with pytest.raises(OtaError) as caught:
            _events(data + b"\x40", size)
        assert caught.value.code is Code.FORMAT


@settings(max_examples=40)
@given(streams(), st.data())
def test_stream_that_ends_early(events: list[Event], data: st.DataObject) -> None:
    whole = b"".join(encode(events))
    cut = data.draw(st.integers(0, len(whole) - 1))
    with pytest.raises(OtaError) as caught:
        _events(whole[:cut], 50)
    assert caught.value.code is Code.FORMAT


@settings(max_examples=40)
@given(streams())
def test_stream_is_encoded_again_to_the_same_bytes(events: list[Event]) -> None:
    data = b"".join(encode(events))
    reader = RecordReader()
    assert b"".join(encode(reader.feed(data))) == data


@given(st.binary(max_size=200), st.integers(1, 7))
def test_any_bytes_as_stream(data: bytes, size: int) -> None:
    for begin in (b"", b.manifest(), b.manifest() + b.record(b.FILE, {b.PATH: b"a", b.MODE: 0, **b.content(b"a")})):
        with pytest.raises(OtaError) as caught:
            _events(begin + data, size)
        assert caught.value.code.who == "package"


def test_long_chunks_are_cut() -> None:
    record = model.File(b"a", 200_000, 0, 0, engine=EngineId.FULL)
    manifest = Head(model.Manifest(1, 0, ("file", "full")))
    data = list(encode([manifest, Head(record), Chunk(bytes(200_000)), Chunk(b""), Tail(), Head(model.End())]))
    assert max(len(piece) for piece in data) == model.CHUNK_MAX + 5
    assert sum(len(text) for _, text in _events(b"".join(data), 1000)) == 200_000


@pytest.mark.parametrize(
    ("events", "code"),
    [
        ([Head(model.End())], Code.FORMAT),
        ([Head(model.Manifest(0, 0, ()))], Code.INTERNAL),
        ([Head(model.Manifest(0, 0, ())), Chunk(b"x"), Head(model.End())], Code.INTERNAL),
        ([Head(model.Manifest(0, 0, ())), Tail(), Head(model.End())], Code.INTERNAL),
        ([Head(model.Manifest(0, 0, ())), Head(model.Dir(b"a", 0)), Head(model.End())], Code.FORMAT),
        ([Head(model.Manifest(0, 0, ("dir",))), Head(model.Dir(b"..", 0)), Head(model.End())], Code.PATH),
        (
            [
                Head(model.Manifest(0, 0, ("file", "full"))),
                Head(model.File(b"a", 0, 0, 0, engine=EngineId.FULL)),
                Head(model.End()),
            ],
            Code.INTERNAL,
        ),
    ],
)
def test_the_writer_refuses_what_the_reader_would(events: list[Event], code: Code) -> None:
    with pytest.raises(OtaError) as caught:
        list(encode(events))
    assert caught.value.code is code


_CLASSES: dict[str, Record] = {
    "m": model.Manifest(0, 0, tuple(b.ALL_NEEDS)),
    "x": model.ExpectVersion("1"),
    "e": model.Script(model.When.END, 0, 0),
    "b": model.Script(model.When.BEGIN, 0, 0),
    "a": model.Dir(b"a", 0),
    "i": model.Script(model.When.INLINE, 0, 0),
    "z": model.End(),
}


def test_order_of_records_in_all_sequences_up_to_five() -> None:
    """The state machine against the sentence of the specification, as a regular expression."""
    allowed = re.compile("mx*(ex*)?b?[ai]*z")
    for length in range(6):
        for sequence in itertools.product(_CLASSES, repeat=length):
            order = Order()
            codes = {attempt(order.check, _CLASSES[name])[1] for name in sequence}
            assert codes <= {None, Code.FORMAT}
            accepted = order.done and codes == {None}
            assert accepted == bool(allowed.fullmatch("".join(sequence))), sequence


# ---- preamble and frames --------------------------------------------------------------------------------------------

signatures = st.dictionaries(st.binary(min_size=8, max_size=8), st.binary(min_size=64, max_size=64), max_size=4).map(
    lambda pairs: tuple(sorted(pairs.items()))
)
codecs = st.sampled_from(
    [(Codec.NONE, 0), (Codec.GZIP, 9), (Codec.GZIP, 15), (Codec.ZSTD, 10), (Codec.ZSTD, 27), (Codec.LZMA, 12)]
)
preambles = st.builds(
    lambda codec, *rest: Preamble(codec[0], codec[1], *rest),
    codecs,
    st.integers(10, 16),
    uints,
    st.integers(37, 2**64 - 1),
    st.binary(min_size=32, max_size=32),
    signatures,
)


@given(preambles)
def test_preamble_round_trip(preamble: Preamble) -> None:
    data = encode_preamble(preamble)
    assert parse_preamble(data) == preamble
    with pytest.raises(OtaError) as caught:
        parse_preamble(data + b"\0")
    assert caught.value.code is Code.FORMAT
    with pytest.raises(OtaError) as caught:
        parse_preamble(data[:-1])
    assert caught.value.code is Code.TRUNCATED


def _read(data: bytes, size: int) -> Iterator[Preamble | Frame]:
    reader = FrameReader()
    for position in range(0, len(data), size):
        yield from reader.feed(data[position : position + size])
    reader.close()


@pytest.fixture(scope="module")
def small() -> bytes:
    """Four frames of one package, about 600 bytes."""
    text = b.noise(150)
    stream = b.stream(b.record(b.FILE, {b.PATH: b"etc/a", b.MODE: 0o644, **b.content(text)}, text))
    return b.Package(stream, cuts=[1, 60, 100], signatures=[(bytes(8), bytes(64))]).build()


def test_small_package_in_any_split(small: bytes) -> None:
    whole = list(_read(small, len(small)))
    assert len(whole) == 5
    for size in range(1, 70):
        assert list(_read(small, size)) == whole


def test_every_changed_bit_is_refused(small: bytes) -> None:
    assert len(small) > 550
    good = list(_read(small, len(small)))
    for position, bit in itertools.product(range(len(small)), range(8)):
        changed = bytearray(small)
        changed[position] ^= 1 << bit
        given_out: list[Preamble | Frame] = []
        with pytest.raises(OtaError) as caught:
            given_out.extend(_read(bytes(changed), len(small)))
        assert caught.value.code.who == "package"
        assert given_out == good[: len(given_out)]  # nothing that is not authentic was given out


def test_every_truncation_is_refused(small: bytes) -> None:
    for length in range(len(small)):
        with pytest.raises(OtaError) as caught:
            list(_read(small[:length], 100))
        assert caught.value.code is Code.TRUNCATED, length


def test_bytes_that_are_put_in_are_refused(small: bytes) -> None:
    for position in range(len(small) + 1):
        with pytest.raises(OtaError):
            list(_read(small[:position] + b"\0" + small[position:], 100))


@given(st.binary(max_size=300))
def test_any_bytes_as_package(data: bytes) -> None:
    for begin in (b"", b.MAGIC, b.MAGIC + b"\1\0"):
        with pytest.raises(OtaError) as caught:
            list(_read(begin + data, 17))
        assert caught.value.code.who == "package"


# ---- versions and memory --------------------------------------------------------------------------------------------


def test_versions_in_order() -> None:
    rising = ["", "1.0a", "1.0b2", "1.0b10", "1.0rc1", "1.0", "1.0.1", "1.2", "1.10", "2", "2.0", "10", "1" * 5000]
    rising = ["a", *rising]  # going on with letters is lower than ending
    for i, j in itertools.product(range(len(rising)), repeat=2):
        assert compare_versions(rising[i], rising[j]) == (i > j) - (i < j), (rising[i], rising[j])


@pytest.mark.parametrize(("a", "b_"), [("1.0", "1-0"), ("v1.0", "v1.00"), ("1_0 ", "1.0"), ("", "..."), ("1é0", "1.0")])
def test_versions_that_are_the_same(a: str, b_: str) -> None:
    assert compare_versions(a, b_) == 0


@given(*[st.text("019.abz-", max_size=8)] * 3)
def test_versions_are_a_total_order(a: str, b_: str, c: str) -> None:
    assert compare_versions(a, b_) == -compare_versions(b_, a)
    if compare_versions(a, b_) <= 0 and compare_versions(b_, c) <= 0:
        assert compare_versions(a, c) <= 0


def test_ram_is_the_sum_of_the_specification() -> None:
    assert ram(Codec.NONE, 0, source=False) == 65536 + 16384 + 65536 + 131072
    assert ram(Codec.GZIP, 15) == 65536 + 32768 + 12288 + 16384 + 4096 + 65536 + 131072
    assert ram(Codec.ZSTD, 17, frame_log=12) == 4096 + 3 * 131072 + 163840 + 16384 + 4096 + 65536 + 131072
    assert ram(Codec.LZMA, 18) == 65536 + 262144 + 40960 + 16384 + 4096 + 65536 + 131072
    assert ram(Codec.ZSTD, 23, block_buffer=1 << 20) - ram(Codec.ZSTD, 22) == (1 << 22) + (1 << 20) - 65536
