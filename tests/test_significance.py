"""Intervals and tests, against scipy and against values worked out by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from orchestrator.significance import (
    difference_bounds,
    holm,
    is_chance,
    mean_of,
    paired_test,
    rank_correlation,
    spread,
    welch,
    within,
)


def scores(seed: int, count: int = 15) -> list[float]:
    return [float(value) for value in np.random.default_rng(seed).normal(0.9, 0.02, count)]


def test_the_uncorrected_part_is_the_paired_t_test_of_scipy() -> None:
    """With the factor 1/n + 1/(folds - 1) in place of 1/n, t is smaller by exactly that."""
    first, second = scores(1), scores(2)
    plain = stats.ttest_rel(first, second)
    found = paired_test(first, second, folds=5)
    assert found.t == pytest.approx(plain.statistic * math.sqrt((1 / 15) / (1 / 15 + 1 / 4)))
    assert found.degrees == plain.df == 14
    assert found.p == pytest.approx(2 * stats.t.sf(abs(found.t or 0.0), 14))
    assert (found.p or 0.0) > plain.pvalue
    assert found.difference == pytest.approx(np.mean(first) - np.mean(second))


def test_values_worked_out_by_hand() -> None:
    """Differences 1, 2, 3, 4: mean 2.5, variance 5/3; with 2 folds the factor is 1/4 + 1, so t = 2.5 / sqrt(25/12)."""
    found = paired_test([1, 2, 3, 4], [0, 0, 0, 0], folds=2)
    assert found.t == pytest.approx(math.sqrt(3))
    assert found.p == pytest.approx(0.18169, abs=1e-5)  # t with 3 degrees of freedom
    assert found.interval is not None
    low, high = found.interval
    assert (low + high) / 2 == pytest.approx(2.5)
    assert high - 2.5 == pytest.approx(3.182446 * math.sqrt(25 / 12), rel=1e-6)


def test_it_does_not_matter_which_one_is_first() -> None:
    one, other = paired_test(scores(1), scores(2), 5), paired_test(scores(2), scores(1), 5)
    assert one.p is not None
    assert one.p == pytest.approx(other.p)
    assert one.difference == pytest.approx(-other.difference)


def test_the_interval_holds_zero_exactly_where_no_difference_is_found() -> None:
    for seed in range(30):
        found = paired_test(scores(seed), [value - 0.012 for value in scores(seed + 100)], 5)
        assert found.interval is not None
        low, high = found.interval
        assert (low <= 0 <= high) == is_chance(found.p)


@pytest.mark.parametrize("second", [[0.9, 0.8, 0.7, 0.9], [0.8, 0.7, 0.6, 0.8]])
def test_differences_that_are_all_the_same_are_not_tested(second: list[float]) -> None:
    found = paired_test([0.9, 0.8, 0.7, 0.9], second, 2)
    assert (found.interval, found.t, found.p) == (None, None, None)
    assert found.difference == pytest.approx(0.9 - second[0])


def test_fewer_than_four_pairs_are_not_tested() -> None:
    found = paired_test([0.9, 0.8, 0.7], [0.5, 0.6, 0.4], 3)
    assert (found.interval, found.t, found.p) == (None, None, None)
    assert paired_test([0.9, 0.8, 0.7, 0.8], [0.5, 0.6, 0.4, 0.5], 4).p is not None


def test_scores_that_are_all_the_same_have_no_interval() -> None:
    assert spread([0.7] * 5, 5, (0.0, 1.0)).interval is None
    assert mean_of([0.7] * 3).interval is None
    assert math.isnan(mean_of([0.7] * 3).margin)


def test_folds_that_overlap_are_not_mistaken_for_independent_ones() -> None:
    """Scores with the correlation that Nadeau and Bengio assume, test/(test + train): of 2,000 comparisons of equals
    the test finds a difference in about 5 %, the ordinary one in far more."""
    generator = np.random.default_rng(0)
    folds, trainings, runs = 5, 15, 2000
    share = 1 / folds
    shared = generator.normal(0, math.sqrt(share), (runs, 1))
    differences = shared + generator.normal(0, math.sqrt(1 - share), (runs, trainings))
    found = np.mean([not is_chance(paired_test(list(row), [0.0] * trainings, folds).p) for row in differences])
    plain = np.mean([stats.ttest_1samp(row, 0).pvalue < 0.05 for row in differences])
    assert 0.03 < found < 0.07
    assert plain > 0.25


def test_mean_deviation_and_interval() -> None:
    values = scores(3)
    found = spread(values, folds=5)
    assert found.mean == pytest.approx(np.mean(values))
    assert found.deviation == pytest.approx(np.std(values, ddof=1))
    low, high = stats.t.interval(
        0.95, 14, loc=np.mean(values), scale=np.std(values, ddof=1) * math.sqrt(1 / 15 + 1 / 4)
    )
    assert found.interval == pytest.approx((low, high))


@pytest.mark.parametrize("apart", [0.0, 0.02])
@pytest.mark.parametrize("seeds", [1, 3])
@pytest.mark.parametrize("candidates", [2, 4, 10])
def test_the_interval_of_the_best_holds_although_it_was_chosen(candidates: int, seeds: int, apart: float) -> None:
    """Of made-up evaluations with the correlation that Nadeau and Bengio assume, the interval of the highest mean holds
    the true mean in 95 %; one of equals fails on one side only, so in fewer than half of the other cases."""
    generator = np.random.default_rng(candidates + seeds)
    folds, runs = 5, 1000
    truth = 0.9 - apart * np.arange(candidates)
    shape = (runs, candidates, folds * seeds)
    noise = generator.normal(0, math.sqrt(1 / folds), (*shape[:2], 1))
    noise = noise + generator.normal(0, math.sqrt(1 - 1 / folds), shape)
    held = ordinary = 0
    for scores in truth[:, None] + 0.01 * noise:
        best = int(scores.mean(axis=1).argmax())
        for_all = spread(scores[best], folds, candidates=candidates).interval
        alone = spread(scores[best], folds).interval
        assert for_all is not None
        assert alone is not None
        held += for_all[0] <= truth[best] <= for_all[1]
        ordinary += alone[0] <= truth[best] <= alone[1]
    assert held / runs >= 0.95
    assert ordinary < held
    if candidates == 10 and not apart:
        assert ordinary / runs < 0.9


def test_p_is_adjusted_for_the_number_of_comparisons() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.6, 0.9]) == [1.0, 1.0]
    assert holm([]) == []
    assert holm([None, 0.01, None, 0.03]) == pytest.approx([None, 0.04, None, 0.09])
    assert is_chance(None)


def test_rank_correlations_are_those_of_scipy() -> None:
    first, second = [0.9, 0.8, 0.85, 0.7], [0.91, 0.85, 0.84, 0.6]
    found = rank_correlation(first, second)
    assert found.spearman == pytest.approx(0.8)
    assert found.kendall == pytest.approx(2 / 3)
    tied = rank_correlation([0.9, 0.9, 0.9, 0.9], [1.0, 2.0, 3.0, 4.0])
    assert (tied.spearman, tied.kendall) == (None, None)


def test_three_candidates_have_no_rank_correlation() -> None:
    found = rank_correlation([0.9, 0.8, 0.7], [0.9, 0.8, 0.7])
    assert (found.spearman, found.kendall) == (None, None)


def test_an_interval_is_cut_at_the_bounds() -> None:
    assert within((0.9, 1.2), (0.0, 1.0)) == (0.9, 1.0)
    assert within((-0.5, 1.2), None) == (-0.5, 1.2)
    assert difference_bounds((0.0, 100.0)) == (-100.0, 100.0)
    assert difference_bounds(None) is None


def test_the_mean_of_seeds_has_the_interval_of_students_t() -> None:
    values = [0.90, 0.92, 0.97, 0.91]
    found = mean_of(values)
    low, high = stats.t.interval(0.95, 3, loc=found.mean, scale=stats.sem(values))
    assert found.mean == pytest.approx(0.925)
    assert found.interval == pytest.approx((low, high))
    assert mean_of([0.9]).interval is None


def test_welchs_test_is_that_of_scipy() -> None:
    first, second = [0.90, 0.92, 0.97, 0.91], [0.80, 0.88, 0.84]
    plain = stats.ttest_ind(first, second, equal_var=False)
    found = welch(first, second)
    assert (found.t, found.p, found.degrees) == pytest.approx((plain.statistic, plain.pvalue, plain.df))
    assert found.interval == pytest.approx(tuple(plain.confidence_interval(0.95)))
    assert (welch(first, second, (0.0, 0.05)).interval or (0.0, 0.0))[1] == 0.05


@pytest.mark.parametrize("second", [0.5, 0.6])
def test_values_without_any_spread_prove_nothing(second: float) -> None:
    found = welch([0.5] * 3, [second] * 3)
    assert (found.p, found.interval) == (None, None)
    assert found.difference == pytest.approx(0.5 - second)


def test_an_interval_ends_at_the_bounds_of_the_score() -> None:
    values = [0.99, 0.9, 1.0]
    unbounded = spread(values, 3).interval
    assert unbounded is not None
    assert unbounded[1] > 1
    assert spread(values, 3, (0.0, 1.0)).interval == (unbounded[0], 1.0)
    assert (spread([0.0, 0.2, 0.01], 3, (0.0, 1.0)).interval or (1.0,))[0] == 0.0
    free, cut = mean_of(values), mean_of(values, (0.0, 1.0))
    assert free.interval is not None
    assert cut.interval == (free.interval[0], 1.0)
    assert cut.margin == free.margin == pytest.approx(free.interval[1] - free.mean)
    assert math.isnan(mean_of([0.9]).margin)
