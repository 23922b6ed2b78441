"""Fixtures of the board tests: the kit to start boards from, and a bench for each test."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from board import provide
from board.releases import Workshop
from board.rig import FULL, Bench

LOGS = provide.TREE / "build/board-tests"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    for item in items:
        if item.path.is_relative_to(here):
            item.add_marker(pytest.mark.board)
    if not FULL:
        items[:] = [item for item in items if not item.get_closest_marker("full")]


@pytest.fixture(scope="session")
def kit() -> provide.Kit:
    try:
        return provide.provide()
    except provide.NotHereError as exc:
        pytest.skip(f"no emulated board: {exc}")


@pytest.fixture
def bench(kit: provide.Kit, request: pytest.FixtureRequest) -> Iterator[Bench]:
    LOGS.mkdir(parents=True, exist_ok=True)
    log = LOGS / (re.sub(r"[^\w.-]+", "-", request.node.name) + ".log")
    log.unlink(missing_ok=True)
    bench = Bench(kit, log)
    yield bench
    print(f"{bench.boards} boots, {bench.seconds:.0f} s")


@pytest.fixture
def shop(tmp_path: Path) -> Workshop:
    return Workshop(tmp_path)


@pytest.fixture
def pnand(kit: provide.Kit) -> None:
    """For tests whose flash must outlive the machine."""
    if kit.pnand is None:
        pytest.skip(kit.no_pnand)
