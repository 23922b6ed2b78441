"""Faults: every system call of an update can fail, and both programs keep their promises; fault_loop.py says which.

Normally a sample. ``make faults`` has OTASTREAM_FAULT_STEP=1: every call of the board program, and every twentieth of
otastream, which runs the same core.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import tracing
from fault_loop import FAULTS
from powercut import cases

pytestmark = pytest.mark.skipif(not tracing.X86, reason="system calls are changed on x86-64 only")

STEP = int(os.environ.get("OTASTREAM_FAULT_STEP", "0"))
ALL = {case.__name__: case for case in cases.CASES}
SAMPLE = ("contents_delta", "tree", "image_both_slots_delta", "image_onto_itself", "in_place_shuffled", "slots",
          "everything")  # fmt: skip
NAMES = [name for name in ALL if not name.startswith("volumes")] if STEP else SAMPLE
BY_PYTHON = NAMES if STEP else ("contents_delta", "in_place_shuffled", "slots")


@pytest.mark.parametrize(
    ("program", "name"), [*(("otaunpack", name) for name in NAMES), *(("otastream", name) for name in BY_PYTHON)]
)
def test_any_call_may_fail(tmp_path: Path, program: str, name: str) -> None:
    case = cases.Case(tmp_path / name)
    ALL[name](case)
    step = (STEP or 53) if program == "otaunpack" else 20 * (STEP or 20)
    done = subprocess.run(
        [sys.executable, Path(__file__).with_name("fault_loop.py"), case.folder, tmp_path, program, str(step)],
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parent.parent)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    print(program, name, result["faults"], "faults,", result["failed"], "runs failed", result["counts"])
    assert result["wrong"] == []
    # they were met, and many of them were no call that a run can do without (a fallback makes up for most)
    kinds = {kind.split()[0] for kind in result["counts"]}
    assert len(kinds) >= (len(FAULTS) - 1 if STEP else 5)
    assert result["failed"] > result["faults"] / 5
