"""Tests of rungs and their rankings against slow reference implementations."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.schedulers.ranking import FrontRanking, SingleRanking, Values, crowding_distances
from orchestrator.schedulers.rungs import Rung, rung_epochs

SMALL = st.integers(0, 5).map(float)


def dominates(first: Values, second: Values) -> bool:
    return first != second and all(a >= b for a, b in zip(first, second, strict=True))


def reference_fronts(points: list[Values]) -> list[set[int]]:
    remaining = set(range(len(points)))
    fronts = []
    while remaining:
        front = {one for one in remaining if not any(dominates(points[other], points[one]) for other in remaining)}
        fronts.append(front)
        remaining -= front
    return fronts


@pytest.mark.parametrize(
    ("first", "factor", "last", "rungs"),
    [
        (1, 3, 243, (1, 3, 9, 27, 81)),
        (1, 3, 244, (1, 3, 9, 27, 81, 243)),
        (2, 4, 33, (2, 8, 32)),
        (1, 2, 9, (1, 2, 4, 8)),
        (5, 3, 5, ()),
    ],
)
def test_rungs_are_integers_below_the_whole_budget(
    *, first: int, factor: int, last: int, rungs: tuple[int, ...]
) -> None:
    assert rung_epochs(first, factor, last) == rungs


@settings(deadline=None)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=60, unique=True), st.integers(2, 5))
def test_exactly_the_trials_among_the_best_so_far_pass_a_rung(scores: list[float], factor: int) -> None:
    rung = Rung(factor)
    for count, score in enumerate(scores, start=1):
        better = sum(other > score for other in scores[: count - 1])
        predicted = rung.would_continue((score,))
        assert rung.record(str(count), (score,)) == predicted == (better < max(1, count // factor))
    assert len(rung) == len(scores)


@settings(deadline=None)
@given(st.lists(st.tuples(SMALL, SMALL, SMALL), min_size=1, max_size=30), st.integers(1, 3))
def test_fronts_match_the_definition(points: list[Values], objectives: int) -> None:
    points = [point[:objectives] for point in points]
    ranking = FrontRanking(objectives)
    for row, point in enumerate(points):
        ranking.enter(f"{row:02d}", point)
    first: list[str] = []
    for front in reference_fronts(points):
        first += [f"{row:02d}" for row in front]
        assert sorted(ranking.best(len(first))) == sorted(first)


@settings(deadline=None)
@given(st.lists(SMALL, min_size=1, max_size=30), SMALL, st.integers(0, 30))
def test_front_ranking_of_one_objective_equals_single_ranking(scores: list[float], score: float, count: int) -> None:
    single, fronts = SingleRanking(), FrontRanking(1)
    for row, value in enumerate(scores):
        single.enter(f"{row:02d}", (value,))
        fronts.enter(f"{row:02d}", (value,))
    assert single.count_ahead((score,)) == fronts.count_ahead((score,)) == sum(value > score for value in scores)
    assert single.best(count) == fronts.best(count)


@settings(deadline=None)
@given(st.lists(st.tuples(SMALL, SMALL), min_size=1, max_size=20))
def test_the_order_of_entry_does_not_matter(points: list[Values]) -> None:
    one, other = FrontRanking(2), FrontRanking(2)
    named = [(f"{row:02d}", point) for row, point in enumerate(points)]
    for name, point in named:
        one.enter(name, point)
    for name, point in reversed(named):
        other.enter(name, point)
    for count in range(len(points) + 1):
        assert one.best(count) == other.best(count)


def test_crowding_distances_match_the_paper() -> None:
    front = np.array([[0.0, 4.0], [1.0, 3.0], [3.0, 2.0], [4.0, 0.0], [1.0, 3.0]])
    # The sides of the cuboid between the neighbours, divided by the ranges, which are 4; equal points count as one.
    assert crowding_distances(front).tolist() == [math.inf, 1.25, 1.5, math.inf, 1.25]


def test_within_a_front_the_larger_crowding_distance_ranks_first() -> None:
    rung = Rung(2, objectives=2)
    for name, point in {"a": (0.0, 9.0), "b": (1.0, 8.0), "c": (2.0, 7.0), "d": (9.0, 0.0), "e": (0.0, 0.0)}.items():
        rung.enter(name, point)
    rung.enter("f", (4.0, 4.0))
    assert rung.promotable() == ["a", "d", "f"]
    assert rung.would_continue((5.0, 3.0))
    assert not rung.would_continue((0.5, 8.5))


def test_promotable_are_the_best_trials_rounded_down_that_have_not_passed() -> None:
    rung = Rung(3)
    rung.enter("a", (0.1,))
    rung.enter("b", (0.3,))
    assert rung.promotable() == []
    assert rung.promotable(at_least=1) == ["b"]
    rung.enter("c", (0.2,))
    assert rung.promotable() == ["b"]
    rung.mark_passed("b")
    assert rung.promotable() == rung.promotable(at_least=1) == []
    assert rung.has_passed("b")
    for name in "def":
        rung.enter(name, (0.3,))
    assert rung.promotable() == ["d"]  # the best 2 of 6; equal ones by name


def test_a_trial_counts_once_with_its_first_values() -> None:
    rung = Rung(3)
    assert rung.record("a", (0.5,))
    assert not rung.record("b", (0.4,))
    assert not rung.record("b", (0.9,))
    assert len(rung) == 2
    assert rung.record("c", (0.6,))
    assert rung.record("a", (0.0,))  # it passed before, so it passes again
    assert "a" in rung
    assert "d" not in rung
