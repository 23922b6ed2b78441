"""--effort: what auto tries, and that more of it is never larger."""

from __future__ import annotations

from pathlib import Path

import pytest

from otastream.errors import Code, OtaError
from otastream.model import EngineId
from otastream.options import PackOptions, engines, fit
from otastream.pack import pack_folders
from reference import load


def test_what_auto_tries() -> None:
    assert all(engines(PackOptions(effort=effort)) == (EngineId.BSDIFF,) for effort in range(1, 6))
    assert all(engines(PackOptions(effort=effort)) == (EngineId.BSDIFF, EngineId.XREF) for effort in range(6, 10))
    assert engines(PackOptions(engine="bsdiff", effort=9)) == (EngineId.BSDIFF,)
    assert engines(PackOptions(engine="full", effort=9)) == ()
    assert engines(PackOptions(engine="xref", effort=1)) == (EngineId.BSDIFF, EngineId.XREF)


def test_small_efforts_compress_less_unless_a_level_was_asked_for() -> None:
    levels = [fit(PackOptions(effort=effort), source=False).level for effort in range(1, 6)]
    assert levels == [6, 9, 12, 16, None]
    assert fit(PackOptions(effort=1, level=22), source=False).level == 22


@pytest.mark.parametrize("effort", [0, 10])
def test_other_efforts_are_refused(tmp_path: Path, effort: int) -> None:
    (tmp_path / "old").mkdir()
    with pytest.raises(OtaError) as caught:
        pack_folders(
            str(tmp_path / "old"), str(tmp_path / "old"), dest="/c", output="-", options=PackOptions(effort=effort)
        )
    assert caught.value.code is Code.USAGE


def test_each_file_gets_the_engine_that_is_smallest(tmp_path: Path) -> None:
    """A program whose calls all moved, and a text."""
    program = Path("/bin/ls").read_bytes()
    text = b"".join(b"line %d of a text\n" % number for number in range(2000))
    for side, contents in (("old", (program, text)), ("new", (program + b"more", text[:9000] + b"!" + text[9000:]))):
        (tmp_path / side).mkdir()
        for name, content in zip(("program", "text"), contents, strict=True):
            (tmp_path / side / name).write_bytes(content)
    sizes = {}
    for effort in (1, 5, 6, 9):
        output = tmp_path / f"{effort}.ota"
        options = PackOptions(effort=effort)
        pack_folders(str(tmp_path / "old"), str(tmp_path / "new"), dest="/c", output=str(output), options=options)
        chosen = [getattr(item.record, "engine", None) for item in load(output)]
        assert EngineId.BSDIFF in chosen
        sizes[effort] = output.stat().st_size
    assert sizes[9] == sizes[6]
    assert sizes[1] >= sizes[5]
