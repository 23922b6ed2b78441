"""The display as a user runs it: pictures, screens, and an update that does not care what becomes of it.

Real framebuffers are in tests/board/test_display.py, drawing itself in tests/c/test_display.c.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import pytest

import display_shots
from display_shots import FAILURE, SUCCESS, UPDATE, Bench
from e2e_support import board, board_program, make_pair, pack, state, write
from otastream.errors import Code
from pictures import LAYOUTS, PNG_MARK, Paint, Pixel, chunk, jpeg, png, png_of, read_png, read_screen

DOCS: Final = Path(__file__).resolve().parent.parent / "docs"


@pytest.fixture(scope="session", params=["amd64", "san"])
def program(request: pytest.FixtureRequest) -> Path:
    """As boards get it, and with sanitizers."""
    return board_program(request.param).with_name("otadisplay")


def near(one: Pixel, other: Pixel, by: int = 9) -> bool:
    return all(abs(a - b) <= by for a, b in zip(one, other, strict=True))


def quarters(x: int, y: int, width: int, height: int) -> Pixel:
    """Red, green, blue and grey quarters of a picture."""
    return ((220, 30, 30), (30, 200, 40), (40, 40, 210), (130, 130, 130))[(2 * x >= width) + 2 * (2 * y >= height)]


# ---- pictures ----------------------------------------------------------------------------------------------------


def quartered(width: int, height: int) -> Paint:
    return lambda x, y: quarters(x, y, width, height)


PICTURES: Final[dict[str, Callable[[], bytes]]] = {
    "png": lambda: png(320, 240, quartered(320, 240)),
    "png, small": lambda: png(40, 30, quartered(40, 30)),
    "png, large": lambda: png(641, 479, quartered(641, 479)),
    "png, interlaced": lambda: png(161, 120, quartered(161, 120), interlaced=True),
    "jpeg": lambda: jpeg(40, 30, quartered(40, 30)),
    "jpeg, small": lambda: jpeg(8, 6, quartered(8, 6)),
    "jpeg, large": lambda: jpeg(90, 68, quartered(90, 68)),
    "jpeg, progressive": lambda: jpeg(40, 30, quartered(40, 30), progressive=True),
}


@pytest.mark.parametrize(
    ("picture", "layout"), [*((name, "rgb565") for name in PICTURES), *(("png", name) for name in LAYOUTS)]
)
def test_pictures_cover_the_screen(program: Path, tmp_path: Path, picture: str, layout: str) -> None:
    path = tmp_path / "picture"
    path.write_bytes(PICTURES[picture]())
    screen = Bench(program, tmp_path, layout=layout).show("", "-p", path)
    for x, y in ((2, 2), (317, 2), (2, 170), (317, 170), (100, 60), (200, 60)):
        assert near(screen.at(x, y), quarters(x, y, 320, 240), 12), (x, y)


def test_a_picture_of_another_shape_hangs_over_on_both_sides(program: Path, tmp_path: Path) -> None:
    picture = tmp_path / "wide.png"
    picture.write_bytes(png(640, 240, lambda x, _: (250, 0, 0) if 160 <= x < 480 else (0, 250, 0)))
    screen = Bench(program, tmp_path).show("", "-p", picture)
    assert {screen.at(x, 5) for x in range(320)} == {(250, 0, 0)}


def bomb(width: int, height: int) -> bytes:
    """A PNG of that size in a few kilobytes."""
    packer = zlib.compressobj(9)
    lines = b"".join(packer.compress(bytes(1 + min(width, 9000) * 3)) for _ in range(min(height, 99))) + packer.flush()
    head = width.to_bytes(4, "big") + height.to_bytes(4, "big") + bytes((8, 2, 0, 0, 0))
    return PNG_MARK + chunk(b"IHDR", head) + chunk(b"IDAT", lines) + chunk(b"IEND", b"")


GOOD_PNG: Final = png(32, 24, lambda x, y: (x, y, 0))
GOOD_JPEG: Final = jpeg(8, 6, lambda x, y: (x * 9, y * 9, 0))
HOSTILE: Final = {
    "empty": b"",
    "text": b"GIF89a and so on",
    "png-head": PNG_MARK,
    "png-cut": GOOD_PNG[: len(GOOD_PNG) // 2],
    "png-damaged": GOOD_PNG[:60] + b"\xff" + GOOD_PNG[61:],
    "png-zero": png_of(0, 5, b""),
    "png-too-wide": bomb(8193, 1),
    "png-too-high": bomb(10, 1 << 30),
    "png-huge": bomb((1 << 31) - 1, (1 << 31) - 1),
    "png-short-lines": png_of(200, 200, bytes(601)),
    "png-bomb-text": PNG_MARK
    + GOOD_PNG[8:33]
    + chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(1 << 25)))
    + GOOD_PNG[33:60],
    "png-interlaced-large": png_of(4000, 4000, b"", interlaced=True),
    "jpeg-head": b"\xff\xd8\xff",
    "jpeg-cut": GOOD_JPEG[: len(GOOD_JPEG) - 12],
    "jpeg-too-wide": jpeg(1, 1, lambda *_: (0, 0, 0), size=(8193, 8)),
    "jpeg-huge": jpeg(1, 1, lambda *_: (0, 0, 0), size=(65535, 65535)),
    "jpeg-progressive-large": jpeg(1, 1, lambda *_: (0, 0, 0), size=(8000, 8000), progressive=True),
    "jpeg-empty-blocks": jpeg(1, 1, lambda *_: (0, 0, 0), size=(4000, 4000)),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_picture_that_cannot_be_shown_leaves_a_plain_background(program: Path, tmp_path: Path, name: str) -> None:
    picture = tmp_path / "picture"
    picture.write_bytes(HOSTILE[name])
    bench = Bench(program, tmp_path)
    plain = bench.show(SUCCESS + "\n")
    done = bench.run(SUCCESS + "\n", "-p", picture)
    assert done.returncode == 0
    assert done.stderr.startswith(f"otadisplay: warning: {picture}: ")
    assert done.stderr.endswith("; a plain background instead\n")
    assert read_screen(bench.file, 320, 240, bench.layout) == plain


def test_pictures_that_are_no_files(program: Path, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    for name, why in (("absent", "No such file"), ("fifo", "not a file"), (".", "not a file")):
        done = Bench(program, tmp_path).run("", "-p", tmp_path / name)
        assert done.returncode == 0
        assert why in done.stderr


# ---- screens -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("layout", ["rgb565", "bgr888", "xrgb8888"])
def test_rotations_show_the_viewer_the_same_bars(program: Path, tmp_path: Path, layout: str) -> None:
    views = []
    for rotation in range(4):
        size = (240, 320) if rotation % 2 else (320, 240)
        screen = Bench(program, tmp_path, *size, layout).show(f"{UPDATE}\n{SUCCESS}\n", "-s", str(rotation))
        views.append(screen.seen(rotation))
    assert views[1:] == [views[0]] * 3


@pytest.mark.parametrize(
    ("options", "why"),
    [
        (("--geometry", "320x240,rgb565"), "lines that do not fit its memory"),
        (("--geometry", "10x10,rgb565"), "a size that is not between"),
        (("--geometry", "99999x99999,rgb565"), "a size that is not between"),
        (("--geometry", "100x100,rgb565,10"), "lines that do not fit"),
        (("--geometry", "100x100"), "not WIDTHxHEIGHT"),
        (("--geometry", "100x100,cmyk"), "no such pixel format"),
        (("--geometry", "100x100,rgb565,200x"), "not WIDTHxHEIGHT"),
        ((), "not a framebuffer"),
    ],
)
def test_what_is_no_screen(program: Path, tmp_path: Path, options: tuple[str, ...], why: str) -> None:
    (tmp_path / "fb").write_bytes(bytes(30_000))
    args: list[str | Path] = [program, "--fb", tmp_path / "fb", *options]
    done = subprocess.run(args, input=SUCCESS, capture_output=True, text=True, check=False)
    assert done.returncode == Code.IO
    assert done.stderr.startswith("otadisplay: warning: ")
    assert why in done.stderr
    assert done.stderr.count("\n") == 1
    assert (tmp_path / "fb").read_bytes() == bytes(30_000)


@pytest.mark.parametrize("args", [["-s", "4"], ["-s", "1x"], ["-x"], ["more"], ["-p"], ["--fb"]])
def test_wrong_arguments(program: Path, args: list[str]) -> None:
    done = subprocess.run([program, *args], capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
    assert done.returncode == Code.USAGE
    assert done.stderr.startswith("otadisplay: error: caller: wrong arguments: ")


def test_help_and_version(program: Path) -> None:
    from otastream import __version__

    shown = subprocess.run([program, "--help"], capture_output=True, text=True, check=True).stdout
    assert "Examples:" in shown
    options = re.findall(r"^ +(?:-\w, )?(--\w[\w-]*)", shown, re.M)
    assert len(options) == len(set(options))
    assert max(map(len, shown.splitlines())) <= 110
    assert (
        subprocess.run([program, "--version"], capture_output=True, text=True, check=True).stdout
        == f"otadisplay {__version__}\n"
    )


def test_lines_that_are_no_progress_go_on_to_stderr(program: Path, tmp_path: Path) -> None:
    bench = Bench(program, tmp_path)
    text = "otaunpack: error: device: reading or writing failed\x1b[2J\n"
    done = bench.run(f"{UPDATE}\n{text}{FAILURE}\n")
    assert done.stderr == text.replace("\x1b", "?")
    shown = read_screen(bench.file, 320, 240, bench.layout)
    assert bench.run(f"{UPDATE}\n{text}{FAILURE}\n", "--detach").stderr == ""
    assert shown == read_screen(bench.file, 320, 240, bench.layout)


def test_a_stream_that_breaks_off_is_shown_as_a_failure(program: Path, tmp_path: Path) -> None:
    bench = Bench(program, tmp_path)
    streams = (f"{UPDATE}\n", f"{UPDATE}\n{FAILURE}\n", f"{UPDATE}\n{SUCCESS}\n", "")
    assert len({bench.show(stream).png() for stream in streams}) == 4


# ---- otaunpack -p ------------------------------------------------------------------------------------------------

READER: Final = '#!/bin/sh\nprintf \'%s\\n\' "$@" >"$0.args"\nexec cat >"$0.lines"\n'
TROUBLE: Final = {
    "ends at once": "#!/bin/sh\nexit 3\n",
    "crashes": "#!/bin/sh\nread -r line\nkill -SEGV $$\n",
    "hangs": '#!/bin/sh\necho $$ >"$0.pid"\nexec sleep 600 >/dev/null 2>&1\n',
    "cannot be started": "no program\n",
    "is not there": "",
}


class Updater:
    """otaunpack of a board, or of Python, with something beside it that is called otadisplay."""

    def __init__(self, kind: str, folder: Path) -> None:
        self.folder, self.old = folder, folder / "old"
        self.bin = folder / "bin"
        self.bin.mkdir()
        self.kind = kind
        if kind != "python":
            shutil.copy(board_program(kind), self.bin / "otaunpack")
        old, self.new = make_pair(folder, count=3)
        self.root = board(folder, old)
        self.package = pack(old, self.new, folder / "p.ota")

    def display(self, script: str) -> Path:
        path = self.bin / "otadisplay"
        path.unlink(missing_ok=True)
        if script:
            write(path, script.encode(), 0o755)
        return path

    def run(self, *options: str) -> subprocess.CompletedProcess[str]:
        start = [sys.executable, "-m", "otastream.cli.otaunpack"] if self.kind == "python" else [self.bin / "otaunpack"]
        args = [*start, "-x", self.package, "--root", self.root, "-t", self.root / "tmp", *options]
        path = f"{self.bin}:/usr/bin:/bin"
        return subprocess.run(
            args, env={**os.environ, "PATH": path}, capture_output=True, text=True, check=False, timeout=120
        )


@pytest.fixture(params=["python", "amd64", "san"])
def updater(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Updater]:
    made = Updater(request.param, tmp_path)
    yield made
    with contextlib.suppress(FileNotFoundError):
        os.kill(int((made.bin / "otadisplay.pid").read_text()), signal.SIGKILL)
    shutil.rmtree(made.root)


def eventually(path: Path) -> str:
    """What the display has written when it is over: nobody waits for it, so the test has to."""
    deadline = time.monotonic() + 60
    while True:
        text = path.read_text() if path.exists() else ""
        if '"code"' in text and text.endswith("\n"):
            return text
        assert time.monotonic() < deadline, text
        time.sleep(0.02)


def test_otaunpack_tells_the_display(updater: Updater) -> None:
    display = updater.display(READER)
    done = updater.run("-p", "some picture.jpg", "-s", "3")
    assert done.returncode == 0, done.stderr
    lines = [json.loads(line) for line in eventually(display.with_name("otadisplay.lines")).splitlines()]
    assert display.with_name("otadisplay.args").read_text().split("\n")[:-1] == [
        "--detach", "-s", "3", "-p", "some picture.jpg",
    ]  # fmt: skip
    assert {line["phase"] for line in lines} >= {"preflight", "update", "success"}
    assert lines[-1]["percent"] == 100
    assert lines[-1]["step"] == lines[-1]["steps"]
    assert lines[-1]["code"] == 0
    assert all(0 < line["step"] <= line["steps"] for line in lines if line["phase"] == "update")
    assert state(updater.root / "config") == state(updater.new)


def test_the_display_hears_of_a_failure(updater: Updater) -> None:
    display = updater.display(READER)
    (updater.root / "config/lib/lib1.so").write_bytes(b"another one")
    done = updater.run("-p", "a.jpg", "--progress", "json")
    assert done.returncode == Code.TARGET
    last = json.loads(eventually(display.with_name("otadisplay.lines")).splitlines()[-1])
    assert (last["phase"], last["code"], last["error"]) == ("failure", Code.TARGET.value, Code.TARGET.text)
    assert json.loads([line for line in done.stderr.splitlines() if line.startswith("{")][-1]) == last


@pytest.mark.parametrize("trouble", TROUBLE)
def test_whatever_becomes_of_the_display_the_update_goes_on(updater: Updater, trouble: str) -> None:
    updater.display(TROUBLE[trouble])
    done = updater.run("-p", "a.jpg", "--progress", "json")
    assert done.returncode == 0, done.stderr
    assert state(updater.root / "config") == state(updater.new)
    assert json.loads([line for line in done.stderr.splitlines() if line.startswith("{")][-1])["phase"] == "success"
    said = trouble in ("cannot be started", "is not there")
    assert done.stderr.count("warning: no display") == said, done.stderr


def test_without_a_framebuffer_there_is_one_warning(updater: Updater) -> None:
    updater.display(f'#!/bin/sh\nexec {board_program("amd64").with_name("otadisplay")} --fb /nowhere/fb0 "$@"\n')
    done = updater.run("-p", "a.jpg")
    assert done.returncode == 0
    assert state(updater.root / "config") == state(updater.new)
    assert "\nwarning" not in done.stderr.replace("otadisplay: warning: /nowhere/fb0: No such file or directory", "", 1)


@pytest.mark.parametrize("args", [["-s", "1"], ["-p", "a.jpg", "-s", "5"]])
def test_rotation_needs_a_picture_and_a_number(updater: Updater, args: list[str]) -> None:
    assert updater.run(*args).returncode == Code.USAGE


# ---- docs --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", display_shots.SHOTS)
def test_pictures_in_the_docs_are_what_it_shows(tmp_path: Path, name: str) -> None:
    want = display_shots.shot(tmp_path, name)
    found = read_png((DOCS / f"images/{name}.png").read_bytes())
    assert all(
        near(a, b, 2) for y in range(want.height) for a, b in zip(found.pixels(y), want.pixels(y), strict=True)
    ), "run `make docs`"
