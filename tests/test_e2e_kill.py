"""Power cuts, as near as a process comes to one: SIGKILL at random moments; running it again ends in new.

OTASTREAM_KILL_SEEDS (``make kills``) asks for more than the 120 boards of a normal run.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import time
from pathlib import Path

import pytest

from bench.measure import differences
from e2e_support import OTASTREAM, Applier, apply_args, board, edited, make_pair, succeed, write
from otastream.errors import Code

SEEDS = int(os.environ.get("OTASTREAM_KILL_SEEDS", "120"))
SHARDS = 4
RELEASE = """
name = "camera"
version = "2.0"

[scripts]
begin = "begin.sh"
end = "end.sh"
inline = ["inline.sh"]

[[folder]]
old = "old"
new = "new"
dest = "/config"
"""


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with old, new, scripts that log beside the update, and update.ota."""
    folder = tmp_path_factory.mktemp("release")
    make_pair(folder, count=40)
    log = 'echo "%s $OTA_STATUS" >> "$OTA_ROOT/etc/log"\n'
    for name in ("begin", "inline", "end"):
        write(folder / f"{name}.sh", (log % name).encode())
    write(folder / "release.toml", RELEASE.encode())
    succeed("pack", "--spec", folder / "release.toml", "-o", folder / "update.ota")
    return folder


def test_scripts_of_a_clean_run(applier: Applier, release: Path, tmp_path: Path) -> None:
    root = board(tmp_path, release / "old")
    applier.succeed(release / "update.ota", root)
    assert (root / "etc/log").read_text() == "begin 0\ninline 0\nend 0\n"
    assert differences(release / "new", root / "config") == []


def test_end_script_learns_of_a_failure(applier: Applier, release: Path, tmp_path: Path) -> None:
    """A begin script that fails stops the update before anything of it; the end script still runs, with status -1."""
    write(release / "failing.sh", b"exit 3\n")
    spec = RELEASE.replace("begin.sh", "failing.sh")
    write(release / "failing.toml", spec.encode())
    succeed("pack", "--spec", release / "failing.toml", "-o", tmp_path / "failing.ota")
    root = board(tmp_path, release / "old")
    done = applier.run(tmp_path / "failing.ota", root)
    assert done.returncode == Code.BEGIN_SCRIPT
    assert (root / "etc/log").read_text() == "end -1\n"
    assert differences(release / "old", root / "config") == []


@pytest.fixture(scope="module")
def in_place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same for a file that stands for a partition and is updated onto itself; its second half comes first."""
    folder = tmp_path_factory.mktemp("in-place")
    old = random.Random(3).randbytes(900_000)
    write(folder / "old/p", old)
    write(folder / "new/p", edited(old[400_000:] + old[:400_000], 1)[: len(old)])
    lines = ("[[image]]", 'old = "old/p"', 'new = "new/p"', 'targets = ["/config/p"]', "in-place = true")
    write(folder / "release.toml", "\n".join(lines).encode())
    succeed("pack", "--spec", folder / "release.toml", "-o", folder / "update.ota")
    return folder


@pytest.mark.parametrize(("program", "shard"), [*(("otastream", n) for n in range(SHARDS)), ("otaunpack", 0)])
def test_killed_at_any_moment_ends_in_new(release: Path, tmp_path: Path, program: str, shard: int) -> None:
    _killed(release, tmp_path, program, shard)


@pytest.mark.parametrize("program", ["otastream", "otaunpack"])
def test_an_update_in_place_that_is_killed_ends_in_new(in_place: Path, tmp_path: Path, program: str) -> None:
    _killed(in_place, tmp_path, program, 0)


def _killed(release: Path, work: Path, program: str, shard: int) -> None:
    seeds = SEEDS // SHARDS
    loop = Path(__file__).with_name("kill_loop.py")
    folders = (release / "update.ota", release / "old", release / "new", work)
    done = subprocess.run(
        [sys.executable, loop, *folders, str(shard * seeds), str(seeds), program],
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parent.parent)},
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr.decode()
    result = json.loads(done.stdout)
    print(result)
    assert result["wrong"] == []
    # the moments must have been worth it: most of them hit a running update, many of them between old and new
    assert result["killed"] > seeds * 0.6, result
    assert result["between"] > seeds * 0.2, result


def test_the_real_command_killed(release: Path, tmp_path: Path) -> None:
    """The same for a process as a user starts it, at a few moments of its life."""
    root = board(tmp_path, release / "old")
    for part in range(1, 13):
        with subprocess.Popen(
            [*OTASTREAM, *apply_args(release / "update.ota", root)], stderr=subprocess.DEVNULL
        ) as process:
            time.sleep(part / 20)
            process.kill()
    succeed(*apply_args(release / "update.ota", root))
    assert differences(release / "new", root / "config") == []
