"""Kill updates in place of a large image, again and again; compare. Prints what happened as JSON.

    python kill_image.py OLD NEW WORK KILLS PROGRAM        PROGRAM: otastream or otaunpack

OLD and NEW are images, such as the kernels of ``scripts.corpus``; the package is made first. kill_loop.py stops at each
system call, of which a large image takes too many. Here the applier dies by SIGKILL some milliseconds after it has
written its n-th line of progress, with n by chance: every board is killed until a run comes to its end, then the next
board is old. Whatever the moments are, each board must end in new, with nothing left behind.
"""

from __future__ import annotations

import json
import random
import shutil
import subprocess
import sys
import time
from pathlib import Path

from e2e_support import Applier, applier_named, succeed, write

BEHIND = b"\xa5" * 5000  # what is behind the image on its node
LINES = 40


def make_package(old: Path, new: Path, folder: Path) -> Path:
    """A package for /dev/p in the folder, unless it is there."""
    package = folder / "update.ota"
    if not package.exists():
        image = f'[[image]]\nold = "{old.resolve()}"\nnew = "{new.resolve()}"\ntargets = ["/dev/p"]\nin-place = true\n'
        write(folder / "release.toml", image.encode())
        succeed("pack", "--spec", folder / "release.toml", "-o", package)
    return package


def killed(argv: list[str | Path], rng: random.Random) -> int:
    """One run, killed or not; its exit code, or minus the signal."""
    left = rng.randrange(1, LINES)
    with subprocess.Popen(argv, stderr=subprocess.PIPE) as process:
        assert process.stderr is not None
        for _ in process.stderr:
            left -= 1
            if left == 0:
                time.sleep(rng.random() / 50)
                process.kill()
                break
        process.stderr.read()
        return process.wait()


def board(work: Path, size: int, old: Path) -> Path:
    shutil.rmtree(work / "root", ignore_errors=True)
    (work / "root/tmp").mkdir(parents=True)
    write(work / "root/dev/p", (old.read_bytes() + BEHIND).ljust(size, b"\xff"))
    return work / "root"


def main(old: Path, new: Path, work: Path, kills: int, applier: Applier) -> dict[str, object]:
    work.mkdir(parents=True, exist_ok=True)
    package = make_package(old, new, work)
    size = max(old.stat().st_size, new.stat().st_size) + len(BEHIND)
    before = (old.read_bytes() + BEHIND).ljust(size, b"\xff")
    after = new.read_bytes() + before[new.stat().st_size :]
    rng = random.Random(1)
    done = between = boards = 0
    wrong = []
    while done < kills:
        root = board(work, size, old)
        boards += 1
        argv = applier.argv(package, root, "--volatile-scratch", "--progress", "json")
        while (code := killed(argv, rng)) == -9 and done < kills:
            done += 1
            between += (root / "dev/p").read_bytes() not in (before, after)
            print(f"{done} kills, {boards} boards", file=sys.stderr, flush=True)
        code = applier.run(package, root, "--volatile-scratch").returncode if code == -9 else code
        if code != 0 or (root / "dev/p").read_bytes() != after or list((root / "tmp").iterdir()):
            wrong.append(f"board {boards}: exit {code}, left {[path.name for path in (root / 'tmp').iterdir()]}")
    return {"boards": boards, "killed": done, "between": between, "wrong": wrong}


if __name__ == "__main__":
    result = main(Path(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3]), int(sys.argv[4]), applier_named(sys.argv[5]))
    print(json.dumps(result))
    sys.exit(bool(result["wrong"]))
