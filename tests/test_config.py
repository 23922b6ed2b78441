"""release.toml: the documented example, and everything that is refused."""

from __future__ import annotations

import tomllib
from pathlib import Path

import msgspec
import pytest

from otastream import model
from otastream.config import Edit, Folder, Image, Release, Scripts, load_release, parse_mode, parse_size
from otastream.errors import Code, OtaError
from otastream.pack import pack_release
from reference import load

_EXAMPLE = Path(__file__).parent.parent / "docs" / "release.example.toml"


def _load(tmp_path: Path, text: str) -> Release:
    path = tmp_path / "release.toml"
    path.write_text(text)
    return load_release(str(path))


def _refused(tmp_path: Path, text: str) -> str:
    with pytest.raises(OtaError) as caught:
        _load(tmp_path, text)
    assert caught.value.code is Code.CONFIG
    assert caught.value.target == str(tmp_path / "release.toml")
    return caught.value.detail


def test_the_example_shows_every_key() -> None:
    values = tomllib.loads(_EXAMPLE.read_text())
    tables: dict[str, type[msgspec.Struct]] = {"scripts": Scripts, "image": Image, "folder": Folder, "file": Edit}
    assert set(values) == {field.encode_name for field in msgspec.structs.fields(Release)}
    for name, table in tables.items():
        items = values[name] if isinstance(values[name], list) else [values[name]]
        shown = {key for item in items for key in item}
        assert shown == {field.encode_name for field in msgspec.structs.fields(table)}


def test_the_example_packs(tmp_path: Path) -> None:
    """With a file for every name in it, the example makes the package that its comments promise."""
    text = _EXAMPLE.read_text()
    (tmp_path / "release.toml").write_text(text)
    for number, name in enumerate(_local_files(load_release(str(_EXAMPLE)))):
        path = tmp_path / Path(name).relative_to(_EXAMPLE.parent)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(bytes(range(256)) * 20 + bytes([number]))
    for folder, content in (("config-1.4.1", "a = 1\n"), ("config-1.4.2", "a = 2\n")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "a.conf").write_text(content)
    summary = pack_release(load_release(str(tmp_path / "release.toml")), output=str(tmp_path / "p.ota"))
    records = [item.record for item in load(tmp_path / "p.ota")]
    kinds = [type(record).__name__ for record in records]
    assert kinds == (
        ["Manifest", "ExpectBoard", "ExpectVersion", "ExpectNode", "ExpectNode", "ExpectInPlace"]
        + ["ExpectTree"] * 4
        + ["ExpectEnv"]
        + [
            "Script",
            "Script",
            "Block",
            "Ubi",
            "Block",
            "File",
            "File",
            "File",
            "Delete",
            "Script",
            "Script",
            "Env",
            "End",
        ]
    )
    manifest, block = records[0], records[13]
    assert isinstance(manifest, model.Manifest)
    assert (manifest.name, manifest.version, manifest.records) == ("acme-cam", "1.4.2", 12)
    assert summary.records == 12
    assert isinstance(block, model.Block)
    assert block.source is not None
    assert block.source.node == b"/dev/mtdblock4"
    assert [record.when for record in records if isinstance(record, model.Script)] == [2, 1, 0, 0]


def _local_files(release: Release) -> list[str]:
    scripts = release.scripts
    names = [scripts.begin, scripts.end]
    names += [item if isinstance(item, str) else item.path for item in scripts.inline]
    for image in release.image:
        names += [image.new, image.old]
    for edit in release.file:
        names += [edit.new, edit.old]
    return [name for name in names if name is not None]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('nmae = "x"', "line 1: unknown key 'nmae': did you mean 'name'?"),
        ('name = "x"\nmin_version = "1"', "line 2: unknown key 'min_version': did you mean 'min-version'?"),
        ('[[imgae]]\nnew = "x"', "line 1: unknown key 'imgae': did you mean 'image'?"),
        (
            '[[image]]\nnew = "x"\ntargets = ["/a"]\n[[image]]\nnew = "y"\ntarget = ["/b"]',
            "line 6: unknown key 'target' in [image]: did you mean 'targets'?",
        ),
        ('[scripts]\nbegin = "x"\npre = "y"', "line 3: unknown key 'pre' in [scripts]: known are begin, end, inline"),
        ("name = 3", "Expected `str`, got `int` (at name)"),
        ('[[folder]]\nnew = "x"', "Object missing required field `dest` (at folder[0])"),
        ('[[folder]]\nnew = "x"\ndest = "config"', "the path on the board is not absolute: config"),
        ('[[image]]\nnew = "x"\ntargets = []', "an image needs 1 to 8 targets"),
        ('[[image]]\nnew = "x"\ntargets = ["/a", "/a"]', "an image has the same target twice"),
        ('[[image]]\nnew = "x"\ntargets = ["/a/../b"]', "the path on the board has a component . or ..: /a/../b"),
        (
            '[[image]]\nnew = "x"\ntargets = ["/a"]\nsource = "/b"',
            "an image with a source needs old, the image that the source holds",
        ),
        ('[[image]]\nnew = "x"\ntargets = ["/a"]\nsize = "8 parsecs"', "'8 parsecs' is not a size"),
        ('[[file]]\naction = "add"\ndest = "/a"', "a file to add needs new"),
        ('[[file]]\naction = "delete"\ndest = "/a"\nnew = "x"', "a file to delete has no new"),
        ('[[file]]\naction = "change"\ndest = "/a"', "Invalid enum value 'change' (at file[0].action)"),
        ('[[file]]\naction = "add"\ndest = "/a"\nnew = "x"\nmode = "rw"', "'rw' is not a mode"),
        ('name = "x', "Unterminated string"),
        (f'min-version = "{"1" * 256}"', "min-version must have 1 to 255 bytes"),
        (f"compatible = {['x'] * 65}", "more than 64 compatible boards"),
        ('[[image]]\nnew = "x"\ntargets = ["/a"]\nlabel = ""', "a label must have 1 to 512 bytes"),
        ('name = ""', "name must have 1 to 255 bytes"),
    ],
)
def test_refused(tmp_path: Path, text: str, message: str) -> None:
    assert message in _refused(tmp_path, text)


def test_a_spec_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(OtaError) as caught:
        load_release(str(tmp_path / "release.toml"))
    assert caught.value.code is Code.INPUT


def test_paths_are_relative_to_the_spec(tmp_path: Path) -> None:
    release = _load(tmp_path, '[[folder]]\nnew = "n"\nold = "/abs/o"\ndest = "/c"\n[scripts]\ninline = ["i.sh"]')
    assert release.folder[0].new == str(tmp_path / "n")
    assert release.folder[0].old == "/abs/o"
    assert release.scripts.inline == (str(tmp_path / "i.sh"),)


@pytest.mark.parametrize(
    ("text", "size"), [("0", 0), ("4096", 4096), ("512K", 524288), ("8 MiB", 8 << 20), ("1g", 1 << 30), (7, 7)]
)
def test_sizes(text: str | int, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "-1", "1T", "1.5M", "K", -1])
def test_bad_sizes(text: str | int) -> None:
    with pytest.raises(OtaError):
        parse_size(text)


def test_modes() -> None:
    assert [parse_mode(text) for text in ("644", "0755", "4755")] == [0o644, 0o755, 0o4755]
    for text in ("", "8", "99999", "rwx"):
        with pytest.raises(OtaError):
            parse_mode(text)


def test_an_image_larger_than_its_target_is_refused(tmp_path: Path) -> None:
    (tmp_path / "image").write_bytes(bytes(1025))
    release = _load(tmp_path, '[[image]]\nnew = "image"\ntargets = ["/dev/x"]\nsize = "1K"')
    with pytest.raises(OtaError) as caught:
        pack_release(release, output=str(tmp_path / "p.ota"))
    assert caught.value.code is Code.TOO_SMALL
    assert not (tmp_path / "p.ota").exists()


def test_one_target_in_two_places_is_refused(tmp_path: Path) -> None:
    for name in ("old", "new"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "a").write_text(name)
    text = '[[folder]]\nold = "old"\nnew = "new"\ndest = "/etc"\n'
    text += '[[file]]\naction = "update"\ndest = "/etc/a"\nnew = "new/a"'
    with pytest.raises(OtaError) as caught:
        pack_release(_load(tmp_path, text), output=str(tmp_path / "p.ota"))
    assert caught.value.code is Code.CONFIG
    assert caught.value.target == "/etc/a"
