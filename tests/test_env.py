"""Records env: both appliers change U-Boot's environment, and U-Boot's own tools read what they made."""

from __future__ import annotations

from pathlib import Path

import pytest

from e2e_support import Applier, otastream, succeed, write
from env_support import OFFSETS, Environment, needs_tools
from otastream.cli import main, otapack
from otastream.config import Release
from otastream.errors import Code
from otastream.pack import pack_release

pytestmark = needs_tools
BEFORE = {"bootdelay": "3", "bootargs": "console=ttyS0 root=/dev/mtdblock4", "ethaddr": "00:11:22:33:44:55", "zz": "1"}
ODD = "a b  c;$(rm -rf /) ${mtdparts} `x` \"q\" 'q' \\ = \xe4"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "root"
    (folder / "tmp").mkdir(parents=True)
    return folder


def package(folder: Path, changes: dict[str, str | bool], name: str = "p.ota") -> Path:
    path = folder / name
    pack_release(Release(env=changes), output=str(path))
    return path


@pytest.mark.parametrize("copies", [1, 2])
def test_set_and_delete(applier: Applier, tmp_path: Path, root: Path, copies: int) -> None:
    environment = Environment(root, BEFORE, copies=copies)
    made = package(tmp_path, {"bootdelay": "0", "zz": False, "never": False, "odd": ODD, "long": "v" * 1500})
    applier.succeed(made, root)
    want = {**BEFORE, "bootdelay": "0", "odd": ODD, "long": "v" * 1500}
    del want["zz"]
    assert environment.read() == want
    content = environment.node.read_bytes()
    applier.succeed(made, root)
    assert environment.node.read_bytes() == content, "what is right is not written again"


def test_one_after_the_other(applier: Applier, tmp_path: Path, root: Path) -> None:
    """The copies take turns, whoever writes."""
    environment = Environment(root, BEFORE)
    packages = [package(tmp_path, {"turn": str(number)}, f"{number}.ota") for number in range(3)]
    for number in range(9):
        assert applier.code(packages[number % 3], root) == 0
        assert environment.read()["turn"] == str(number % 3)
    environment.set("turn", "tools")
    assert environment.read() == BEFORE | {"turn": "tools"}
    assert applier.code(packages[0], root) == 0
    assert environment.read() == BEFORE | {"turn": "0"}


def test_a_damaged_copy_is_replaced(applier: Applier, tmp_path: Path, root: Path) -> None:
    for damaged in OFFSETS:
        environment = Environment(root, BEFORE)
        content = bytearray(environment.node.read_bytes())
        content[damaged + 9] ^= 1
        environment.node.write_bytes(content)
        before = environment.read()
        applier.succeed(package(tmp_path, {"a": "1"}), root)
        assert environment.read() == before | {"a": "1"}


def test_refused_before_anything_is_written(applier: Applier, tmp_path: Path, root: Path) -> None:
    """The environment comes last in a package; that it cannot be changed is known first."""
    write(root / "config/app", b"old")
    write(tmp_path / "new/app", b"new")
    spec = tmp_path / "release.toml"
    spec.write_text('[[folder]]\nnew = "new"\ndest = "/config"\n[env]\nbig = "%s"\n' % ("v" * 4000))
    succeed("pack", "--spec", spec, "-o", tmp_path / "p.ota")

    def refused(code: Code, text: str) -> None:
        done = applier.run(tmp_path / "p.ota", root)
        assert (done.returncode, (root / "config/app").read_bytes()) == (code, b"old"), done.stderr.decode()
        assert text in done.stderr.decode()

    refused(Code.ENV, "this board has no /etc/fw_env.config")
    environment = Environment(root, {**BEFORE, "a": "v" * 200})
    refused(Code.ENV, "no room for the changes")
    environment.node.write_bytes(b"\xff" * 0x20000)
    refused(Code.ENV, "no copy of the environment is whole")
    environment.node.unlink()
    refused(Code.MISSING, "U-Boot environment")


def test_in_a_release_file_and_in_inspect(tmp_path: Path) -> None:
    spec = tmp_path / "release.toml"
    spec.write_text('[env]\nkernel_size = "0x300000"\nold = false\n')
    assert "1 environment" in otastream_error("pack", "--spec", str(spec), "-o", str(tmp_path / "p.ota"))
    assert "kernel_size=0x300000, old deleted" in succeed("inspect", tmp_path / "p.ota", "--all")
    for text, problem in (
        ("a = true", "env: a must be a text"),
        ('a = ""', "env: a must be a text"),
        ('a = "x\\ny"', "env: a must be a text"),
        ('"a=b" = "1"', "env: 'a=b' cannot be the name of a variable"),
        ("a = 1", "got `int`"),
    ):
        spec.write_text(f"[env]\n{text}\n")
        assert problem in otastream_error("pack", "--spec", str(spec), "-o", str(tmp_path / "q.ota"), code=Code.CONFIG)


def otastream_error(*args: str, code: int = 0) -> str:

    done = otastream(*args)
    assert done.returncode == code, done.stderr.decode()
    return done.stderr.decode()


def test_otapack(applier: Applier, tmp_path: Path, root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    environment = Environment(root, BEFORE)
    made = str(tmp_path / "p.bin")

    def pack(*args: str) -> int:
        return main.run(args, command=otapack.command, name="otapack")

    assert pack("-c", made) == 0
    assert pack("-a", made, "--env", "bootdelay=0", "--env", "zz=", "--env", "x=a=b") == 0
    applier.succeed(Path(made), root)
    want = {**BEFORE, "bootdelay": "0", "x": "a=b"}
    del want["zz"]
    assert environment.read() == want
    assert pack("-a", made, "--env", "x") == Code.USAGE
    assert pack("-a", made, "--env", "x=1", "-s", "a", "--block-update") == Code.USAGE
    assert pack("-c", made, "--env", "x=1") == Code.USAGE
    assert "--env is an append of its own" in capsys.readouterr().err
