"""The project holds together: one error list, layers, a core without an operating system, docs that are true."""

from __future__ import annotations

import ast
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Final

import click
import pytest

from otastream import native
from otastream.errors import Code

ROOT: Final = Path(__file__).resolve().parent.parent
CORE_MAY_USE: Final = {"memcpy", "memmove", "memset", "memcmp"}
# What compilers add by themselves: position-independent code and the stack protector, where a distribution turns it on.
TOOLCHAIN: Final = {"_GLOBAL_OFFSET_TABLE_", "__stack_chk_fail"}
C_FLAGS: Final = ["-std=c99", "-pedantic", "-Wall", "-Wextra", "-Werror", "-Wshadow", "-Wconversion", "-Wvla", "-O2"]


# ---- errors ----------------------------------------------------------------------------------------------------


def test_error_list_is_that_of_c() -> None:
    assert native.error_list() == [(c.value, c.name, c.who, c.text) for c in Code]


def test_error_codes_can_be_exit_codes() -> None:
    assert all(1 < c.value < 126 for c in Code), "0, 1 and 126 and up mean other things to a shell"


def test_error_page_is_up_to_date() -> None:
    page = subprocess.run(
        [sys.executable, "-c", "from scripts.errordocs import page; print(page(), end='')"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert (ROOT / "docs/errors.md").read_text() == page, "run `make docs`"


# ---- layers ----------------------------------------------------------------------------------------------------


def test_layers() -> None:
    program = shutil.which("lint-imports", path=os.path.dirname(sys.executable)) or shutil.which("lint-imports")
    assert program, "import-linter is part of the test extra"
    done = subprocess.run([program, "--no-cache"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def imports(path: Path) -> set[str]:
    """Full names of everything that a module imports."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found |= {f"{node.module}.{alias.name}" for alias in node.names} | {str(node.module)}
    return found


def test_only_native_touches_the_extension() -> None:
    users = {
        p.parent.name
        for p in (ROOT / "otastream").rglob("*.py")
        if any(i.startswith("otastream._core") for i in imports(p))
    }
    assert users == {"native"}


def test_apply_does_not_load_numpy() -> None:
    code = "import sys, otastream.apply; sys.exit('numpy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0


# ---- the C core ------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def core_objects(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """The core, compiled as a board would."""
    folder = tmp_path_factory.mktemp("core")
    objects = []
    for source in sorted((ROOT / "csrc/core").glob("*.c")):
        out = folder / f"{source.stem}.o"
        include = [f"-I{ROOT / 'csrc/include'}", f"-I{ROOT / 'csrc/core'}"]
        subprocess.run([os.environ.get("CC", "gcc"), *C_FLAGS, *include, "-c", source, "-o", out], check=True)
        objects.append(out)
    return objects


def symbols(objects: list[Path], *options: str) -> list[tuple[str, str]]:
    """(kind letter, name) as nm gives them."""
    out = subprocess.run(["nm", "-P", *options, *objects], capture_output=True, text=True, check=True).stdout
    return [(line.split()[1], line.split()[0]) for line in out.splitlines() if len(line.split()) >= 2]


def test_core_uses_nothing_of_the_system(core_objects: list[Path]) -> None:
    defined = {name for kind, name in symbols(core_objects) if kind not in "Uu"}
    wanted = {name for kind, name in symbols(core_objects, "-u") if kind in "Uu"}
    assert wanted - defined - TOOLCHAIN <= CORE_MAY_USE


def test_core_has_no_hidden_state(core_objects: list[Path]) -> None:
    writable = {name for kind, name in symbols(core_objects) if kind in "BbDdCcSs"}
    # .data.rel.ro holds constant tables of pointers (nm calls it d); nothing else may be writable
    out = subprocess.run(["objdump", "-t", *core_objects], capture_output=True, text=True, check=True).stdout
    constant = {line.split()[-1] for line in out.splitlines() if ".data.rel.ro" in line}
    assert writable - constant == set()


def test_core_names_are_prefixed(core_objects: list[Path]) -> None:
    public = {name for kind, name in symbols(core_objects, "-g") if kind not in "Uu"}
    assert [name for name in sorted(public) if not name.startswith("ota_")] == []


# ---- docs ------------------------------------------------------------------------------------------------------

PAGES: Final = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]


def shell_lines(page: Path) -> list[str]:
    """Lines of the page's sh and console blocks, continuation lines joined, prompts removed."""
    lines: list[str] = []
    for block in re.findall(r"```(?:sh|console)\n(.*?)```", page.read_text(), re.DOTALL):
        lines += [line.removeprefix("$ ").strip() for line in block.replace("\\\n", " ").splitlines()]
    return lines


def commands() -> dict[str, set[str]]:
    """Every command of the CLI with its option names, as click knows them."""
    from otastream.cli.main import program

    found = {}
    context = click.Context(program)
    for name in program.list_commands(context):
        command = program.get_command(context, name)
        assert command is not None
        found[name] = {o for p in command.params for o in (*p.opts, *p.secondary_opts) if o.startswith("-")} | {
            "--help"
        }
    return found


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_commands_in_docs_exist(page: Path) -> None:
    known = commands()
    for line in shell_lines(page):
        for call in re.findall(r"(?:^|[|;&] *)otastream ([^|;&<>#]*)", line):
            words = call.split()
            if words[0].startswith("-"):
                continue
            assert words[0] in known, line
            options = {w.split("=")[0] for w in words[1:] if w.startswith("-") and w != "-"}
            assert options <= known[words[0]], f"{line}: unknown {options - known[words[0]]}"


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_make_targets_in_docs_exist(page: Path) -> None:
    rules = "\n".join(p.read_text() for p in (ROOT / "Makefile", *ROOT.glob("csrc/*/*.mk"), *ROOT.glob("tests/*/*.mk")))
    targets = set(re.findall(r"^([a-z][a-z0-9-]*):", rules, re.MULTILINE))
    asked = set(re.findall(r"`make ([a-z][a-z0-9-]*)`", page.read_text()))
    asked |= {m[1] for line in shell_lines(page) if (m := re.match(r"make ([a-z][a-z0-9-]*)", line))}
    assert asked <= targets


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_links_in_docs_lead_somewhere(page: Path) -> None:
    text = re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL)
    for target in re.findall(r"\]\(([^)#\s]+)[^)]*\)", text):
        if "://" not in target:
            assert (page.parent / target).exists(), target


# ---- packaging -------------------------------------------------------------------------------------------------


def test_what_is_imported_is_declared() -> None:
    """Every third-party module that the package imports comes from a declared dependency."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    declared = {re.split(r"[<>=!~;\[ ]", d)[0].lower() for d in project["dependencies"]}
    used = {i.split(".")[0] for p in (ROOT / "otastream").rglob("*.py") for i in imports(p)}
    assert used - set(sys.stdlib_module_names) - {"otastream", "None"} <= declared


def test_version_is_in_the_changelog() -> None:
    from otastream import __version__

    text = (ROOT / "CHANGELOG.md").read_text()
    assert f"## {__version__}" in text or "## Unreleased" in text
