"""Records <-> header bytes: every rule of docs/SPEC.md section 5 that concerns one record. Sans I/O.

One table (``_KINDS``) says which fields a kind has and which of them it needs; one table (``_FIELDS``) says how the
value of a field is checked. ``decode_record`` gives a record or raises OtaError for any bytes whatever.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from typing import Any, Final

from otastream import cbor, model
from otastream.errors import Code, error
from otastream.model import CodingId, EngineId, Record, Source, State, View

# ---- names of kinds and fields ------------------------------------------------------------------------------------

KINDS: Final = ("end", "manifest", "expect", "script", "block", "ubi", "file", "delete", "dir", "link", "move", "env")
ENGINES: Final = {EngineId.FULL: "full", EngineId.BSDIFF: "bsdiff", EngineId.XREF: "xref"}
NEEDS_MAX: Final = 256
XATTRS_MAX: Final = 1024
ENV_MAX: Final = 256
VIEWS: Final = {View.PARTS: "view-parts"}
CODINGS: Final = {
    CodingId.DEFLATE: "deflate-zlib", CodingId.XZ: "xz-liblzma", CodingId.ZSTD: "zstd-1.5.4",
    CodingId.GNUZIP: "deflate-gnu-gzip", CodingId.LZ4: "lz4-1.9.4", CodingId.LZO: "lzo1x-2.10",
    CodingId.JFFS2: "deflate-jffs2",
}  # fmt: skip
FALLBACK: Final = "fallback"
NEEDS: Final = frozenset([*KINDS[3:], *ENGINES.values(), *VIEWS.values(), *CODINGS.values(), FALLBACK])

_NAMES: Final = [
    *("root", "path", "size", "digest", "mode", "uid", "gid", "engine", "source"),
    *("targets", "old_view", "new_view", "xattrs", "when", "label", "to", "type", "old"),
    *("new", "name", "version", "created", "records", "bytes", "compatible", "links", "needs"),
    *("mask", "parents", "env"),
]
_KEYS: Final = {name: number for number, name in enumerate(_NAMES, 1)} | {
    "unit": 32, "scratch": 33, "plan": 34, "note": 35, "fallback": 36,
}  # fmt: skip
_KNOWN: Final = {number: name for name, number in _KEYS.items()}
_EXPECT: Final = KINDS.index("expect")

# kind, or "expect" with its type -> (fields it needs, fields that may be absent)
_KINDS: Final[dict[str, tuple[str, str]]] = {
    "end": ("", ""),
    "manifest": ("records bytes needs", "name version created"),
    "expect 1": ("type path old new", "root source label"),
    "expect 2": ("type targets size digest", "source mask label"),
    "expect 3": ("type compatible", ""),
    "expect 4": ("type version", ""),
    "expect 5": ("type targets size digest source unit scratch plan", "label"),
    "expect 6": ("type env", ""),
    "script": ("when engine size digest", "label"),
    "block": ("targets size digest engine", "source old_view new_view label mask note unit plan fallback"),
    "ubi": ("targets size digest engine", "source old_view new_view label mask note fallback"),
    "file": (
        "path size digest mode",
        "root uid gid xattrs engine source old_view new_view links label parents note fallback",
    ),
    "delete": ("path type", "root label"),
    "dir": ("path mode", "root uid gid xattrs label"),
    "link": ("path type to", "root uid gid label"),
    "move": ("path source size digest mode", "root uid gid xattrs label"),
    "env": ("env", "label"),
    "source": ("size", "root path digest targets"),  # not a kind, but checked in the same way
}
Fields = dict[str, Any]
_Check = Callable[[str, Any], Any]

# ---- paths --------------------------------------------------------------------------------------------------------


def check_path(path: bytes) -> bytes:
    """A relative path as section 5.1 has it, or PATH."""
    problem = ""
    parts = path.split(b"/", model.DEPTH_MAX)
    if not 1 <= len(path) <= model.PATH_MAX:
        problem = f"{len(path)} bytes long"
    elif len(parts) > model.DEPTH_MAX:
        problem = "too many components"
    elif b"\0" in path:
        problem = "has a NUL"
    elif b"" in parts or max(map(len, parts)) > model.NAME_MAX:
        problem = "has a component that is empty or too long"
    elif b"." in parts or b".." in parts:
        problem = "has a component . or .."
    elif model.STAGING_NAME in parts:
        problem = "has a reserved name"
    if problem:
        raise error(Code.PATH, problem, target=repr(path)[1:])
    return path


def check_root(path: bytes) -> bytes:
    """``/`` or an absolute path, or PATH."""
    return path if path == b"/" else check_node(path)


def check_node(path: bytes) -> bytes:
    """An absolute path that is not ``/``, or PATH."""
    if not path.startswith(b"/"):
        raise error(Code.PATH, "is not absolute", target=repr(path)[1:])
    check_path(path[1:])
    return path


# ---- checks of one value: (name of the field, decoded CBOR) -> value of the model ---------------------------------


def _typed(kind: type) -> _Check:
    def check(name: str, value: Any) -> Any:
        if not isinstance(value, kind):
            raise error(Code.FORMAT, f"field {name} has the wrong type")
        return value

    return check


_int, _bytes, _text, _items, _table = (_typed(kind) for kind in (int, bytes, str, tuple, dict))


def _uint(top: int) -> _Check:
    def check(name: str, value: Any) -> int:
        number: int = _int(name, value)
        if not 0 <= number <= top:
            raise error(Code.FORMAT, f"field {name} is {number}")
        return number

    return check


def _label(top: int) -> _Check:
    def check(name: str, value: Any) -> str:
        text: str = _text(name, value)
        if not 1 <= len(text.encode()) <= top:
            raise error(Code.FORMAT, f"field {name} is empty or too long")
        return text

    return check


def _checked(path_check: Callable[[bytes], bytes]) -> _Check:
    return lambda name, value: path_check(_bytes(name, value))


def _one_of(kind: Callable[[int], Any], *allowed: int) -> _Check:
    def check(name: str, value: Any) -> Any:
        number = _int(name, value)
        if number not in allowed:
            raise error(Code.UNSUPPORTED, f"{name} {number}")
        return kind(number)

    return check


def _list(item: _Check, least: int, most: int, *, rising: bool = False) -> _Check:
    def check(name: str, value: Any) -> tuple[Any, ...]:
        if not least <= len(_items(name, value)) <= most:
            raise error(Code.FORMAT, f"field {name} has {len(value)} entries")
        values = tuple(item(name, entry) for entry in value)
        if rising and any(a >= b for a, b in itertools.pairwise(values)):
            raise error(Code.FORMAT, f"the entries of field {name} do not rise")
        return values

    return check


def _targets(name: str, value: Any) -> tuple[bytes, ...]:
    nodes = _list(_checked(check_node), 1, model.TARGETS_MAX)(name, value)
    if len(set(nodes)) != len(nodes):
        raise error(Code.FORMAT, "a target stands twice")
    return nodes  # type: ignore[no-any-return]


def _flag(name: str, value: Any) -> bool:
    if _int(name, value) != 1:
        raise error(Code.FORMAT, f"field {name} is {value}")
    return True


def _need(name: str, value: Any) -> bytes:
    need: str = _label(32)(name, value)
    if need not in NEEDS:
        raise error(Code.UNSUPPORTED, f"the package needs {need!r}")
    return need.encode()  # bytes, so that "rising" is bytewise


def _needs(name: str, value: Any) -> tuple[str, ...]:
    return tuple(need.decode() for need in _list(_need, 0, NEEDS_MAX, rising=True)(name, value))


def _view(name: str, value: Any) -> View:
    if _int(name, value) == 0:
        raise error(Code.FORMAT, f"field {name} says identity, which is never written")
    if value not in VIEWS:
        raise error(Code.UNSUPPORTED, f"{name.replace('_', ' ')} {value}")
    return View(value)


def _xattrs(name: str, value: Any) -> model.Xattrs:
    pairs = []
    if len(_items(name, value)) > XATTRS_MAX:
        raise error(Code.FORMAT, f"{len(value)} extended attributes")
    for pair in value:
        if len(_items(name, pair)) != 2 or not 1 <= len(_bytes(name, pair[0])) <= model.NAME_MAX or b"\0" in pair[0]:
            raise error(Code.FORMAT, "an extended attribute is not a pair of name and value")
        pairs.append((pair[0], _bytes(name, pair[1])))
    if any(a[0] >= b[0] for a, b in itertools.pairwise(pairs)):
        raise error(Code.FORMAT, "names of extended attributes do not rise")
    return tuple(pairs)


def check_env_name(name: bytes) -> bool:
    """Whether this can be the name of a variable: 1 to 255 printable characters of ASCII but ``=``."""
    return 1 <= len(name) <= model.NAME_MAX and all(0x20 < char < 0x7F and char != 0x3D for char in name)


def check_env_value(value: bytes) -> bool:
    """Whether this can be a value: 1 to 4096 bytes without control characters."""
    return 1 <= len(value) <= model.ENV_VALUE_MAX and all(char >= 0x20 and char != 0x7F for char in value)


def _env(name: str, value: Any) -> model.EnvChanges:
    changes = []
    if not 1 <= len(_items(name, value)) <= ENV_MAX:
        raise error(Code.FORMAT, f"{len(value)} changes of the environment")
    for change in value:
        if not 1 <= len(_items(name, change)) <= 2 or not check_env_name(_bytes(name, change[0])):
            raise error(Code.FORMAT, "a change of the environment is not a name, or a name and a value")
        if len(change) == 2 and not check_env_value(_bytes(name, change[1])):
            raise error(Code.FORMAT, "a value of the environment is empty, too long, or has control characters")
        changes.append(change)
    if any(a[0] >= b[0] for a, b in itertools.pairwise(changes)):
        raise error(Code.FORMAT, "names of the environment do not rise")
    return tuple(changes)


def check_link_text(name: str, value: Any) -> bytes:
    """Text of a symbolic link: 1..4096 bytes without NUL, or FORMAT."""
    text: bytes = _bytes(name, value)
    if not 1 <= len(text) <= model.PATH_MAX or b"\0" in text:
        raise error(Code.FORMAT, f"field {name} is no text of a symbolic link")
    return text


_size: Final = _uint(model.SIZE_MAX)
_digest: Final = _uint((1 << 64) - 1)


def _unit(name: str, value: Any) -> int:
    unit: int = _uint(model.UNIT_MAX)(name, value)
    if unit < model.UNIT_MIN or unit & (unit - 1):
        raise error(Code.FORMAT, f"field {name} is {unit}")
    return unit


_PLAIN_STATES: Final[dict[int, State]] = {0: model.ABSENT, 2: model.DIRECTORY, 4: model.ANY}


def _state(name: str, value: Any) -> State:
    kind: Any
    kind, *rest = _items(name, value) or ("",)
    if _int(name, kind) > 4:
        raise error(Code.UNSUPPORTED, f"state {kind} in field {name}")
    if len(rest) != (0, 2, 0, 1, 0)[kind]:
        raise error(Code.FORMAT, f"field {name} has {len(rest)} values after the state")
    if kind == 1:
        return model.FileState(_size(name, rest[0]), _digest(name, rest[1]))
    if kind == 3:
        return model.LinkState(check_link_text(name, rest[0]))
    return _PLAIN_STATES[kind]


def _source(name: str, value: Any) -> Source:
    fields = _fields("source", _table(name, value))
    nodes = fields.pop("targets", (None,))
    if len(nodes) != 1 or (nodes[0] is not None and "path" in fields) or ("root" in fields and "path" not in fields):
        raise error(Code.FORMAT, "a source is a file, one node, or neither")
    return Source(node=nodes[0], **fields)


_FIELDS: Final[dict[str, _Check]] = {
    "root": _checked(check_root),
    "path": _checked(check_path),
    "size": _size,
    "digest": _digest,
    "mode": _uint(0o7777),
    "uid": _uint((1 << 32) - 2),
    "gid": _uint((1 << 32) - 2),
    "engine": _one_of(EngineId, *EngineId),
    "source": _source,
    "targets": _targets,
    "old_view": _view,
    "new_view": _view,
    "xattrs": _xattrs,
    "when": _one_of(model.When, *model.When),
    "label": _label(512),
    "to": _bytes,
    "type": _int,
    "old": _state,
    "new": _state,
    "name": _label(255),
    "version": _label(255),
    "created": _int,
    "records": _uint((1 << 32) - 1),
    "bytes": _size,
    "compatible": _list(_label(255), 1, 64),
    "links": _flag,
    "needs": _needs,
    "mask": _uint((1 << model.TARGETS_MAX) - 1),
    "parents": _flag,
    "env": _env,
    "note": _label(255),
    "fallback": _flag,
    "unit": _unit,
    "scratch": _size,
    "plan": _digest,
}


# kind -> (fields it needs, key -> name and check of every field it may have)
_RULES: Final[dict[str, tuple[list[str], dict[int, tuple[str, _Check]]]]] = {
    kind: (required.split(), {_KEYS[name]: (name, _FIELDS[name]) for name in (required + " " + optional).split()})
    for kind, (required, optional) in _KINDS.items()
}


def _fields(what: str, values: Mapping[int, Any]) -> Fields:
    """Name and check the fields of a record or source; first what is not known, then what is wrong, then what lacks."""
    required, rules = _RULES[what]
    if not values.keys() <= rules.keys():
        key = next(key for key in values if key not in rules)
        known = f" ({_KNOWN[key]})" if key in _KNOWN else ""
        raise error(Code.UNSUPPORTED, f"field {key}{known} in {what}")
    fields = {}
    for key, value in values.items():
        name, check = rules[key]
        fields[name] = check(name, value)
    for name in required:
        if name not in fields:
            raise error(Code.FORMAT, f"{what} has no field {name}")
    return fields


# ---- whole records ------------------------------------------------------------------------------------------------


def decode_record(raw: bytes) -> Record:
    """The record that a header encodes. Any bytes give a record or one of FORMAT, UNSUPPORTED, LIMIT, PATH."""
    item = cbor.decode(raw)
    if not isinstance(item, tuple) or len(item) != 2 or not isinstance(item[0], int) or not isinstance(item[1], dict):
        raise error(Code.FORMAT, "a record is an array of a kind and its fields")
    number, values = item
    if number >= len(KINDS):
        raise error(Code.UNSUPPORTED, f"record kind {number}")
    kind = KINDS[number]
    if kind == "expect":
        type_ = _int("type", values.get(_KEYS["type"], b""))
        kind = f"expect {type_}"
        if kind not in _KINDS:
            raise error(Code.UNSUPPORTED, f"expect type {type_}")
    return _DECODERS[kind](_fields(kind, values))


def _owner(fields: Fields) -> Fields:
    uid, gid = fields.pop("uid", None), fields.pop("gid", None)
    if (uid is None) != (gid is None):
        raise error(Code.FORMAT, "uid and gid come together")
    return fields if uid is None else fields | {"owner": model.Owner(uid, gid)}


def _payload(fields: Fields, *, nodes: bool) -> Fields:
    """Rules that tie engine and source together; nodes: the source may be a node."""
    engine, source = fields.get("engine"), fields.get("source")
    if (source is not None) != (engine not in (None, EngineId.FULL)):
        raise error(Code.FORMAT, "a source comes with every engine but full, and with no other")
    if source is None and ("old_view" in fields or "new_view" in fields):
        raise error(Code.FORMAT, "a view without a source")
    if source is not None and source.node is not None and not nodes:
        raise error(Code.FORMAT, "the source of a file is a file")
    if "fallback" in fields and (source is None or source.digest is None):
        raise error(Code.FORMAT, "a fallback is for a delta whose source has its digest")
    return _masked(fields)


def _masked(fields: Fields) -> Fields:
    """The mask names targets that there are."""
    if fields.get("mask", 0) >> len(fields.get("targets", ())):
        raise error(Code.FORMAT, "the mask has more bits than there are targets")
    return fields


def _expect(fields: Fields) -> Fields:
    source = fields.get("source")
    if source is not None and source.digest is None:
        raise error(Code.FORMAT, "the source of an expect needs its digest")
    del fields["type"]
    return _masked(fields)


_NOT_IN_PLACE: Final = ("mask", "fallback")


def _in_place(fields: Fields) -> Fields:
    """In place: one target, which is the source too, with its digest; neither old nor new is empty."""
    if ("unit" in fields) != ("plan" in fields):
        raise error(Code.FORMAT, "unit and plan come together")
    if "unit" not in fields:
        return fields
    source = fields.get("source")
    if (
        len(fields["targets"]) != 1
        or source is None
        or source.digest is None
        or not fields.keys().isdisjoint(_NOT_IN_PLACE)
    ):
        raise error(Code.FORMAT, "in place has one target, which is its source")
    if source.path is not None or source.node is not None or source.size == 0 or fields["size"] == 0:
        raise error(Code.FORMAT, "in place has one target, which is its source, and neither is empty")
    if max(fields["size"], source.size) // fields["unit"] >= model.UNITS_MAX:
        raise error(Code.LIMIT, f"more than {model.UNITS_MAX} units")
    return fields


def _expect_tree(fields: Fields) -> Record:
    if "source" in fields and fields["source"].node is not None:
        raise error(Code.FORMAT, "the source of a file is a file")
    return model.ExpectTree(**_expect(fields))


def _script(fields: Fields) -> Record:
    if fields["engine"] is not EngineId.FULL:
        raise error(Code.UNSUPPORTED, f"engine {fields['engine']} in script")
    if fields["size"] > model.SCRIPT_MAX:
        raise error(Code.LIMIT, f"a script of {fields['size']} bytes")
    return model.Script(**fields)


def _file(fields: Fields) -> Record:
    fields = _owner(_payload(fields, nodes=False))
    return model.File(single=fields.pop("links", False), **fields)


def _delete(fields: Fields) -> Record:
    return model.Delete(**fields | {"type": _one_of(model.DeleteType, *model.DeleteType)("type", fields["type"])})


def _link(fields: Fields) -> Record:
    type_ = _one_of(model.LinkType, *model.LinkType)("type", fields["type"])
    if type_ is model.LinkType.HARD:
        check_path(fields["to"])
    else:
        check_link_text("to", fields["to"])
    return model.Link(**_owner(fields) | {"type": type_})


def _move(fields: Fields) -> Record:
    source: Source = fields["source"]
    if source.path is None or source.digest is None:
        raise error(Code.FORMAT, "a move needs a file with a digest as source")
    return model.Move(**_owner(fields))


_DECODERS: Final[dict[str, Callable[[Fields], Record]]] = {
    "end": lambda fields: model.End(**fields),
    "manifest": lambda fields: model.Manifest(**fields),
    "expect 1": _expect_tree,
    "expect 2": lambda fields: model.ExpectNode(**_expect(fields)),
    "expect 3": lambda fields: model.ExpectBoard(**_expect(fields)),
    "expect 4": lambda fields: model.ExpectVersion(**_expect(fields)),
    "expect 5": lambda fields: model.ExpectInPlace(**_in_place(_expect(fields))),
    "expect 6": lambda fields: model.ExpectEnv(**_expect(fields)),
    "script": _script,
    "block": lambda fields: model.Block(**_in_place(_payload(fields, nodes=True))),
    "ubi": lambda fields: model.Ubi(**_payload(fields, nodes=True)),
    "file": _file,
    "delete": _delete,
    "dir": lambda fields: model.Dir(**_owner(fields)),
    "link": _link,
    "move": _move,
    "env": lambda fields: model.Env(**fields),
}

# class -> (number of its kind, key of _KINDS and _DECODERS)
_CLASSES: Final[dict[type, tuple[int, str]]] = {
    model.End: (0, "end"),
    model.Manifest: (1, "manifest"),
    model.ExpectTree: (2, "expect 1"),
    model.ExpectNode: (2, "expect 2"),
    model.ExpectBoard: (2, "expect 3"),
    model.ExpectVersion: (2, "expect 4"),
    model.ExpectInPlace: (2, "expect 5"),
    model.ExpectEnv: (2, "expect 6"),
    model.Script: (3, "script"),
    model.Block: (4, "block"),
    model.Ubi: (5, "ubi"),
    model.File: (6, "file"),
    model.Delete: (7, "delete"),
    model.Dir: (8, "dir"),
    model.Link: (9, "link"),
    model.Move: (10, "move"),
    model.Env: (11, "env"),
}
_RENAMED: Final = {"single": "links", "node": "targets", "owner": "uid"}  # attributes whose field has another name
_ATTRIBUTES: Final[dict[type, list[tuple[str, int]]]] = {
    part: [(name, _KEYS[_RENAMED.get(name, name)]) for name in part.__dataclass_fields__]  # type: ignore[attr-defined]
    for part in (*_CLASSES, Source)
}


def encode_record(record: Record) -> bytes:
    """The header of a record. What a reader would refuse is refused here with the same error."""
    number, kind = _CLASSES[type(record)]
    values = _values(record)
    if number == _EXPECT:
        values[_KEYS["type"]] = int(kind.removeprefix("expect "))
    _DECODERS[kind](_fields(kind, values))
    raw = cbor.encode((number, values))
    if len(raw) > model.HEADER_MAX:
        raise error(Code.LIMIT, f"a record header of {len(raw)} bytes")
    return raw


def _values(part: Record | Source) -> dict[int, Any]:
    """A dataclass as fields: what is None, False or the root ``/`` stays away."""
    values: dict[int, Any] = {}
    for name, key in _ATTRIBUTES[type(part)]:
        value = getattr(part, name)
        if value is None or value is False or (name == "root" and value == b"/"):
            continue
        if name == "owner":
            values[key], values[key + 1] = value.uid, value.gid
        elif name == "node":
            values[key] = (value,)
        else:
            shape = _SHAPES.get(type(value))
            values[key] = value if shape is None else shape(value)
    return values


_SHAPES: Final[dict[type, Callable[[Any], Any]]] = {  # values that are not CBOR items yet
    Source: _values,
    model.Absent: lambda _: (0,),
    model.FileState: lambda state: (1, state.size, state.digest),
    model.DirState: lambda _: (2,),
    model.LinkState: lambda state: (3, state.text),
    model.AnyState: lambda _: (4,),
}


def kind_of(record: Record) -> str:
    """Name of the kind of a record, as the manifest's ``needs`` and messages have it."""
    return KINDS[_CLASSES[type(record)][0]]
