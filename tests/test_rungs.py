"""Rungs and the rankings in them, against definitions that are slow and plain."""

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


def plain_fronts(points: list[Values]) -> list[set[int]]:
    left = set(range(len(points)))
    fronts = []
    while left:
        front = {one for one in left if not any(dominates(points[other], points[one]) for other in left)}
        fronts.append(front)
        left -= front
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
def test_rungs_are_integers_below_the_whole_budget(first: int, factor: int, last: int, rungs: tuple[int, ...]) -> None:
    assert rung_epochs(first, factor, last) == rungs


@settings(deadline=None)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=60, unique=True), st.integers(2, 5))
def test_a_rung_lets_exactly_those_on_that_are_among_the_best_so_far(scores: list[float], factor: int) -> None:
    rung = Rung(factor)
    for count, score in enumerate(scores, start=1):
        better = sum(other > score for other in scores[: count - 1])
        would = rung.would_continue((score,))
        assert rung.record(str(count), (score,)) == would == (better < max(1, count // factor))
    assert len(rung) == len(scores)


@settings(deadline=None)
@given(st.lists(st.tuples(SMALL, SMALL, SMALL), min_size=1, max_size=30), st.integers(1, 3))
def test_fronts_are_those_of_the_definition(points: list[Values], objectives: int) -> None:
    points = [point[:objectives] for point in points]
    ranking = FrontRanking(objectives)
    for row, point in enumerate(points):
        ranking.enter(f"{row:02d}", point)
    first: list[str] = []
    for front in plain_fronts(points):
        first += [f"{row:02d}" for row in front]
        assert sorted(ranking.first(len(first))) == sorted(first)


@settings(deadline=None)
@given(st.lists(SMALL, min_size=1, max_size=30), SMALL, st.integers(0, 30))
def test_one_objective_is_the_special_case_of_several(scores: list[float], score: float, count: int) -> None:
    single, fronts = SingleRanking(), FrontRanking(1)
    for row, value in enumerate(scores):
        single.enter(f"{row:02d}", (value,))
        fronts.enter(f"{row:02d}", (value,))
    assert single.ahead_of((score,)) == fronts.ahead_of((score,)) == sum(value > score for value in scores)
    assert single.first(count) == fronts.first(count)


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
        assert one.first(count) == other.first(count)


def test_crowding_is_that_of_the_paper() -> None:
    front = np.array([[0.0, 4.0], [1.0, 3.0], [3.0, 2.0], [4.0, 0.0], [1.0, 3.0]])
    # The sides of the cuboid between the neighbours, over the ranges, which are 4; equal points share theirs.
    assert crowding_distances(front).tolist() == [math.inf, 1.25, 1.5, math.inf, 1.25]


def test_within_the_front_that_the_cut_divides_the_lonelier_go_on() -> None:
    rung = Rung(2, objectives=2)
    for name, point in {"a": (0.0, 9.0), "b": (1.0, 8.0), "c": (2.0, 7.0), "d": (9.0, 0.0), "e": (0.0, 0.0)}.items():
        rung.enter(name, point)
    rung.enter("f", (4.0, 4.0))
    assert rung.promotable() == ["a", "d", "f"]
    assert rung.would_continue((5.0, 3.0))
    assert not rung.would_continue((0.5, 8.5))


def test_promotable_are_the_best_rounded_down_that_have_not_gone_on() -> None:
    rung = Rung(3)
    rung.enter("a", (0.1,))
    rung.enter("b", (0.3,))
    assert rung.promotable() == []
    assert rung.promotable(at_least=1) == ["b"]
    rung.enter("c", (0.2,))
    assert rung.promotable() == ["b"]
    rung.let_go_on("b")
    assert rung.promotable() == rung.promotable(at_least=1) == []
    assert rung.has_gone_on("b")
    for name in "def":
        rung.enter(name, (0.3,))
    assert rung.promotable() == ["d"]  # of 6 the best 2, of equals by name


def test_a_trial_counts_once_with_what_it_had_first() -> None:
    rung = Rung(3)
    assert rung.record("a", (0.5,))
    assert not rung.record("b", (0.4,))
    assert not rung.record("b", (0.9,))
    assert len(rung) == 2
    assert rung.record("c", (0.6,))
    assert rung.record("a", (0.0,))  # it went on, and does so again
    assert "a" in rung
    assert "d" not in rung
