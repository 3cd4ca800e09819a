"""How much sooner a target is reached: intervals of ratios and medians, with searches that never reach it."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from orchestrator.simulation.speed_up import median_interval, median_time, speed_up


@pytest.mark.parametrize(("first", "second"), [(5, 5), (4, 9), (30, 30)])
def test_the_interval_has_the_ratios_that_the_test_of_mann_and_whitney_does_not_refuse(first: int, second: int) -> None:
    generator = np.random.default_rng(first)
    times, others = generator.uniform(1, 4, first), generator.uniform(2, 6, second)
    found = speed_up(times.tolist(), others.tolist(), limit=10.0)
    assert found.is_exact
    low, high = found.interval
    assert low < found.at_least < high
    for ratio, is_refused in ((low * 0.999, True), (low * 1.001, False), (high * 0.999, False), (high * 1.001, True)):
        assert (stats.mannwhitneyu(times * ratio, others, method="exact").pvalue < 0.05) == is_refused


def test_an_interval_needs_enough_searches_and_more_for_several_at_once() -> None:
    assert speed_up([1.0, 1.1, 1.2], [5.0, 6.0, 7.0], limit=9.0).interval == (0.0, math.inf)
    times, others = [1.0, 1.1, 1.2, 1.3], [5.0, 6.0, 7.0, 8.0]
    assert not speed_up(times, others, limit=9.0).is_chance
    assert speed_up(times, others, limit=9.0, intervals=2).interval == (0.0, math.inf)


def test_a_search_that_never_gets_there_only_bounds_its_ratios() -> None:
    times, never = [1.0] * 6, [None] * 6
    sooner = speed_up(times, never, limit=10.0)
    assert (sooner.at_least, sooner.is_exact, sooner.interval) == (10.0, False, (10.0, math.inf))
    later = speed_up(never, times, limit=10.0)
    assert (later.at_least, later.interval) == (0.0, (0.0, 0.1))
    assert speed_up(never, never, limit=10.0).is_chance
    assert speed_up(times, never, limit=10.0, limit_of_others=40.0).interval == (40.0, math.inf)
    few = speed_up([1.0, 2.0, 2.0, 2.0, 2.0, None], [8.0] * 6, limit=10.0)
    assert (few.at_least, few.is_exact) == (4.0, True)


def test_the_median_time_is_known_if_more_than_half_get_there() -> None:
    assert median_time([3.0, None, 1.0, 2.0]) == 3.0
    assert median_time([None, None, 1.0, 2.0]) is None
    assert median_interval([5.0, 4.0, 3.0, 2.0, 1.0]) is None
    assert median_interval([5.0, None, 4.0, 3.0, 2.0, 1.0]) == (1.0, math.inf)
    assert median_interval([float(time) for time in range(1, 13)]) == (3.0, 10.0)
