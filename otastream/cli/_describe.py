"""Records for people and for JSON."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields, is_dataclass
from enum import IntEnum
from typing import Any

from otastream import model
from otastream.cli import _output
from otastream.fields import kind_of
from otastream.model import Preamble, Record

_STATES = {
    model.Absent: "absent",
    model.FileState: "file",
    model.DirState: "dir",
    model.LinkState: "link",
    model.AnyState: "any",
}


def what(record: Record) -> str:
    """The kind of a record and what exactly."""
    kind = kind_of(record)
    match record:
        case model.Script(when=when):
            return f"{when.name.lower()} script"
        case model.Link(type=type_):
            return f"{type_.name.lower()} link"
        case model.Delete(type=model.DeleteType.DIR):
            return "delete dir"
        case model.File(engine=None):
            return "file mode"
    return kind


def where(record: Record) -> str:
    """The target of a record, as it is on the board."""
    match record:
        case model.Manifest(name=name, version=version):
            return " ".join(part for part in (name, version) if part)
        case model.ExpectBoard(compatible=names):
            return ", ".join(_output.printable(name) for name in names)
        case model.ExpectVersion(version=version):
            return f"{_output.printable(version or '')} or later"
        case model.Env(env=changes) | model.ExpectEnv(env=changes):
            return ", ".join(map(_variable, changes))
        case model.Script(label=label):
            return _output.printable(label or "")
        case model.End():
            return ""
        case model.ExpectInPlace(targets=targets, scratch=scratch):
            return f"{', '.join(_nodes(targets, None))} in place, scratch {_output.size(scratch)}"
        case model.Block(unit=int()):
            return f"{', '.join(_nodes(record.targets, None))} in place"
        case model.Block() | model.Ubi() | model.ExpectNode():
            return ", ".join(_nodes(record.targets, record.mask))
        case model.Move(source=source):
            return f"{_absolute(source.root, source.path or b'')} -> {_absolute(record.root, record.path)}"
        case model.Link(to=to):
            return f"{_absolute(record.root, record.path)} -> {_output.shown(to)}"
    return _absolute(record.root, record.path)


def _variable(change: tuple[bytes] | tuple[bytes, bytes]) -> str:
    """A change of the environment; a variable that is deleted has no value."""
    return "=".join(map(_output.shown, change)) if len(change) > 1 else f"{_output.shown(change[0])} deleted"


def engine(record: Record) -> str:
    """How the payload is coded; empty without one."""
    value = getattr(record, "engine", None)
    return "" if value is None else value.name.lower()


def as_json(record: Record) -> dict[str, Any]:
    """All fields of a record; what is absent stays away."""
    return {"kind": kind_of(record)} | _object(record)


def preamble_json(preamble: Preamble) -> dict[str, Any]:
    """All of the preamble; digests and keys in hexadecimal."""
    return {
        "version": preamble.version,
        "codec": preamble.codec.name.lower(),
        "window": 1 << preamble.window_log if preamble.window_log else 0,
        "frame": 1 << preamble.frame_log,
        "ram": preamble.ram,
        "length": preamble.length,
        "first": preamble.first.hex(),
        "keys": [key_id.hex() for key_id, _ in preamble.signatures],
    }


def _nodes(targets: Sequence[bytes], mask: int | None) -> Iterator[str]:
    """Targets; one that is left alone in parentheses."""
    for number, node in enumerate(targets):
        written = mask is None or mask >> number & 1
        yield _output.shown(node) if written else f"({_output.shown(node)})"


def _absolute(root: bytes, path: bytes) -> str:
    return _output.shown(root.rstrip(b"/") + b"/" + path)


def _object(part: Any) -> dict[str, Any]:
    values = {field.name: getattr(part, field.name) for field in fields(part)}
    return {name: _value(name, value) for name, value in values.items() if value is not None}


def _value(name: str, value: Any) -> Any:
    if type(value) in _STATES:
        return {"state": _STATES[type(value)]} | _object(value)
    if is_dataclass(value):
        return _object(value)
    if isinstance(value, IntEnum):
        return value.name.lower()
    if isinstance(value, bytes):
        return _output.portable(value)
    if name == "digest":
        return f"{value:016x}"
    if isinstance(value, Mapping):
        return {key: _value(key, item) for key, item in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_value("", item) for item in value]
    return value
