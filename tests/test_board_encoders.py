"""Which encoders boards have, in which version: --board-encoders, needs of a package, --version of a program."""

from __future__ import annotations

import re
import subprocess
import zlib
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import zstandard

from e2e_support import applier_named, board_program, otastream, succeed, write
from golden import builder as b
from otastream.cli._pack import encoders
from otastream.errors import Code, OtaError
from otastream.fields import CODINGS
from otastream.model import CodingId
from otastream.options import ENCODERS, VERSIONS
from otastream.views import codings, shared

GZIP, XZ, ZSTD, LZ4 = (ENCODERS[name] for name in ("gzip", "xz", "zstd", "lz4"))


@pytest.mark.parametrize(
    ("boards", "common", "warning"),
    [
        (("gzip",), GZIP, ""),
        (("none",), frozenset(), ""),
        (("gzip,xz", "gzip"), GZIP, ""),
        (("gzip,xz", "none"), frozenset(), ""),
        (("gzip=1.2.13,zstd=1.5.4,xz=5.4.1",), GZIP | ZSTD | XZ, ""),
        (("gzip,zstd=1.5.7",), GZIP, "zstd 1.5.7 writes other bytes than 1.5.4"),
        (("gzip,zstd=1.5.4", "gzip,zstd=1.5.7"), GZIP, "zstd 1.5.7 writes other bytes than 1.5.4"),
        (("gzip,lz4=1.10.0,zstd",), GZIP | ZSTD, "lz4 1.10.0 writes other bytes"),
    ],
)
def test_what_all_boards_have(
    capsys: pytest.CaptureFixture[str], boards: tuple[str, ...], common: frozenset[CodingId], warning: str
) -> None:
    assert encoders(boards) == common
    said = capsys.readouterr().err
    assert warning in said
    if not warning and common <= codings.present():
        assert said == ""


@pytest.mark.parametrize("text", ["", "gzip,", "zlib", "gzip,none", "zstd-1.5.4", "=1.5.4"])
def test_what_is_no_name(text: str) -> None:
    with pytest.raises(OtaError) as caught:
        encoders((text,))
    assert caught.value.code is Code.USAGE


def test_a_version_is_what_its_coding_promises() -> None:
    names = {"zstd": CodingId.ZSTD, "lz4": CodingId.LZ4, "lzo": CodingId.LZO}
    assert {name: CODINGS[id_].rpartition("-")[2] for name, id_ in names.items()} == VERSIONS


def test_several_boards_on_the_command_line(tmp_path: Path) -> None:
    for name in ("old", "new"):
        write(tmp_path / name / "file", name.encode())
    options = ("--board-encoders", "gzip,zstd=1.5.7", "--board-encoders", "gzip,xz", "--dest", "/config")
    done = otastream("pack", tmp_path / "old", tmp_path / "new", *options, "-o", tmp_path / "p.ota")
    assert (done.returncode, b"warning: --board-encoders: zstd 1.5.7 writes" in done.stderr) == (0, True)
    shown = succeed("pack", "--help")
    assert "zstd=1.5.4" in shown


# ---- the packer has exactly what a board has, or not at all --------------------------------------------------------


@pytest.mark.skipif(zstandard.ZSTD_VERSION == (1, 5, 4), reason="the module zstandard is that very version")
def test_another_libzstd_does_not_pass(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """A real one, of another version: its frames are as good, and other bytes."""

    def encode(data: bytes, *, level: int, checked: bool) -> bytes:
        return zstandard.ZstdCompressor(level=level, write_checksum=checked).compress(data)

    monkeypatch.setattr(shared, "zstd", lambda: SimpleNamespace(encode=encode))
    assert not codings.LIBRARIES[CodingId.ZSTD].known()
    assert encoders(("gzip,zstd",)) == GZIP | ZSTD
    assert "no library here writes what zstd-1.5.4 promises" in capsys.readouterr().err


def test_a_zlib_that_writes_other_bytes_does_not_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    """As zlib-ng, which is a zlib for whoever asks for its version."""
    assert codings.LIBRARIES[CodingId.DEFLATE].known()
    real = zlib.compressobj

    def other(level: int, *args: Any) -> Any:
        return real(max(1, level - 1), *args)

    monkeypatch.setattr(zlib, "compressobj", other)
    assert not codings.LIBRARIES[CodingId.DEFLATE].known()
    assert not codings.LIBRARIES[CodingId.JFFS2].known()


# ---- a package states what it needs, and preflight checks it -------------------------------------------------------


def test_a_board_without_the_encoder_refuses_before_it_writes(tmp_path: Path) -> None:
    for name in ("zstd-1.5.4", "zstd-1.5.7"):  # one that this board has not, and one that nobody has
        root = tmp_path / name
        write(root / "a", b"old")
        (root / "tmp").mkdir()
        new = b.record(b.FILE, {b.PATH: b"a", b.MODE: 0o600, **b.content(b"new")}, b"new")
        (tmp_path / "p.ota").write_bytes(b.Package(b.manifest(["file", "full", name]) + new + b.ENDING).build())
        done = applier_named("otaunpack").run(tmp_path / "p.ota", root)
        assert (done.returncode, name.encode() in done.stderr) == (Code.UNSUPPORTED, True), done.stderr
        assert (root / "a").read_bytes() == b"old"


def test_a_program_says_which_it_has() -> None:
    def lines(arch: str) -> dict[str, str]:
        shown = subprocess.run([board_program(arch), "--version"], capture_output=True, text=True, check=True).stdout
        return dict(re.findall(r"^(\S+) \((\S+)\)$", shown, re.MULTILINE))

    assert set(lines("amd64")) == {CODINGS[coding] for coding in GZIP}
    everything = lines("san")
    assert set(everything) == set(CODINGS.values())
    for name in ("zstd", "lz4"):
        assert everything[f"{name}-{VERSIONS[name]}"] == VERSIONS[name]
    assert everything["deflate-gnu-gzip"] == "own"
