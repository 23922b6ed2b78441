"""A clock that jumps: boards start in 1970 and are set right in the middle of an update, or set wrong.

A library that is loaded before the C library makes the wall clock jump by decades at every question, and counts them.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path

import pytest

from e2e_support import TREE, Applier, applier_with_encoders, make_pair, pack, state

# Only what is asked through the C library; the clock that counts from the start of the machine goes on as it is.
JUMPING = r"""
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

__attribute__((constructor)) static void note(void)
{
    const char *path = getenv("CLOCK_LOG");
    int fd = path != NULL ? open(path, O_WRONLY | O_CREAT | O_APPEND, 0600) : -1;
    if (fd < 0 || write(fd, "?", 1) != 1 || close(fd) != 0) {
        abort();
    }
}

static time_t jump(void)
{
    static unsigned calls;
    note();
    return calls++ % 2 == 0 ? 2000000000 : 1; /* the year 2033, then 1970 */
}

int clock_gettime(clockid_t id, struct timespec *t)
{
    if (id == CLOCK_REALTIME || id == CLOCK_REALTIME_COARSE || id == CLOCK_TAI) {
        t->tv_sec = jump();
        t->tv_nsec = 0;
        return 0;
    }
    return (int)syscall(SYS_clock_gettime, id, t);
}

int gettimeofday(struct timeval *t, void *zone)
{
    (void)zone;
    t->tv_sec = jump();
    t->tv_usec = 0;
    return 0;
}

time_t time(time_t *t)
{
    time_t now = jump();
    if (t != NULL) {
        *t = now;
    }
    return now;
}
"""


@pytest.fixture(scope="module")
def jumping(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("clock")
    (folder / "clock.c").write_text(JUMPING)
    library = folder / "clock.so"
    subprocess.run(["gcc", "-shared", "-fPIC", "-O1", folder / "clock.c", "-o", library], check=True)
    return library


@pytest.mark.parametrize("program", ["otastream", "otaunpack"])
def test_a_clock_that_jumps_changes_nothing(jumping: Path, tmp_path: Path, program: str) -> None:
    applier = applier_with_encoders(program)  # of the board programs the one that loads libraries
    old, new = make_pair(tmp_path, count=12)
    package = pack(old, new, tmp_path / "p.ota")
    told = []
    for name, preload in (("steady", ""), ("jumping", str(jumping))):
        root = tmp_path / name
        (root / "tmp").mkdir(parents=True)
        subprocess.run(["cp", "-a", old, root / "config"], check=True)
        done = _run(applier, package, root, preload, tmp_path / f"{name}.log")
        assert done.returncode == 0, done.stderr.decode()
        assert state(root / "config") == state(new)
        told.append(_lines(done.stderr))
        if not applier.python:
            told[-1].append((root / "tmp/status").read_text())
    assert told[0] == told[1]
    asked = len((tmp_path / "jumping.log").read_bytes()) - 1  # one when it was loaded
    assert asked > 0 if applier.python else asked == 0


def _run(applier: Applier, package: Path, root: Path, preload: str, log: Path) -> subprocess.CompletedProcess[bytes]:
    options = ["--progress", "json", *([] if applier.python else ["--status", str(root / "tmp/status")])]
    # the sanitizer would rather be the first library
    more = {"LD_PRELOAD": preload, "CLOCK_LOG": str(log), "ASAN_OPTIONS": "verify_asan_link_order=0:detect_leaks=0"}
    return subprocess.run(
        applier.argv(package, root, *options), capture_output=True, check=False, env={**os.environ, **more}
    )


def _lines(stderr: bytes) -> list[str]:
    """What the progress lines say of phases and percentages: lines between those depend on how long things take."""
    lines = [json.loads(line) for line in stderr.splitlines() if line.startswith(b"{")]
    steps = [f"{line['phase']} {line['percent']} {line['total']}" for line in lines]
    return [step for i, step in enumerate(steps) if i == 0 or steps[i - 1] != step]


def test_no_module_asks_what_time_it_is() -> None:
    """What comes out depends on the inputs alone, and pauses are measured by a clock that only goes on."""
    wall = re.compile(r"\btime\.(time|time_ns|localtime|gmtime|ctime|strftime)\b|\bdatetime\b|from time import")
    found = [
        f"{path.name}: {match[0]}"
        for path in sorted((TREE / "otastream").rglob("*.py"))
        for match in wall.finditer(path.read_text())
    ]
    assert found == []
