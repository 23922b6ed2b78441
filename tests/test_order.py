"""The order in which units are replaced in place, and what is kept meanwhile."""

from __future__ import annotations

import itertools
import random

from hypothesis import given, settings
from hypothesis import strategies as st

from otastream.engines.order import Piece, Plan, least_scratch, plan
from otastream.model import KEPT_MAX

UNIT = 4096
LEAST = least_scratch(UNIT)


def _checked(made: Plan, units: dict[int, list[Piece]], scratch: int) -> None:
    """Every byte that a unit is made from is there still, or kept; at no time is more kept than there is room for."""
    where = {step.unit: number for number, step in enumerate(made.steps)}
    assert sorted(where) == sorted(units)
    peak = 0
    for number, step in enumerate(made.steps):
        live = [s for s in made.steps[: number + 1] if s.last_use >= number]
        assert sum(len(s.kept) for s in live) <= KEPT_MAX
        peak = max(peak, LEAST + sum(-(-sum(end - start for start, end in s.kept) // 4096) * 4096 for s in live))
        assert all(step.unit * UNIT <= start < end <= (step.unit + 1) * UNIT for start, end in step.kept)
        assert (step.last_use > number) == bool(step.kept)
        for piece in made.pieces[step.unit]:
            for at in range(piece.old, piece.old + piece.size):
                source = where.get(at // UNIT, number)
                if source < number:
                    kept = made.steps[source]
                    assert kept.last_use >= number
                    assert any(start <= at < end for start, end in kept.kept)
    assert peak == made.peak <= scratch


def _bytes(pieces: list[Piece]) -> set[tuple[int, int]]:
    return {(piece.at + i, piece.old + i) for piece in pieces for i in range(piece.size)}


@given(st.integers(1, 24), st.integers(0, 40), st.sampled_from([0, 4096, 16384, 1 << 20]), st.integers(0, 1000))
@settings(max_examples=60, deadline=None)
def test_what_is_read_is_there(count: int, pieces: int, more: int, seed: int) -> None:
    rng = random.Random(seed)
    units = {}
    for n in range(count):
        cuts = sorted(rng.sample(range(0, UNIT, 8), min(pieces + 2, 42)))
        units[n] = [
            Piece(at, rng.randrange(0, count * UNIT - UNIT + 1), rng.randrange(1, end - at + 1))
            for at, end in itertools.pairwise(cuts)
        ]
    made = plan(units, unit=UNIT, scratch=LEAST + more)
    _checked(made, units, LEAST + more)
    left = sum(len(_bytes(units[n]) - _bytes(made.pieces[n])) for n in units)
    assert (left == 0) == (made.dropped == 0)
    assert all(_bytes(made.pieces[n]) <= _bytes(units[n]) for n in units)


def test_near_ranges_are_joined_where_there_are_too_many() -> None:
    """Each unit is made from a piece of every other one, with a gap behind it."""
    count, part = 40, 96
    units = {i: [Piece(j * part, j * UNIT + i * part, 16) for j in range(count)] for i in range(count)}
    made = plan(units, unit=UNIT, scratch=1 << 20)
    _checked(made, units, 1 << 20)
    assert made.dropped == 0


def test_little_that_is_kept_for_long_gives_way() -> None:
    """The others are pairs that change places, for which there is room, unless what is kept for the first ones or of
    them takes it: a few bytes of each of the others go into each of the first, and the other way round.
    """
    count, hubs = 40, 4
    units = {n: [Piece(8 * m, m * UNIT + 8 * n, 8) for m in range(count) if m != n] for n in range(hubs)}
    for n in range(hubs, count):
        units[n] = [Piece(8 * m, m * UNIT + 8 * n, 8) for m in range(hubs)] + [Piece(400, (n ^ 1) * UNIT, UNIT - 400)]
    made = plan(units, unit=UNIT, scratch=LEAST + 2 * 4096)
    _checked(made, units, LEAST + 2 * 4096)
    assert made.dropped < UNIT
