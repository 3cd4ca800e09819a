"""Intervals of means, and tests of whether a difference is more than chance. Pure functions of numbers.

Two kinds of repeated scores occur. The seeds of a group of searches are independent draws: each decides a split, the
sampler's draws and all trainings. They get Student's interval, and Welch's test (Welch 1947) between two groups. Groups
that share seeds share splits; Welch's test does not use that, so its p is too large rather than too small.

The folds of a cross-validation overlap: two trainings share most of their images. Their scores are not independent, and
the ordinary t-test finds differences where there are none. Their variance is therefore that of Nadeau and Bengio,
"Inference for the Generalization Error" (Machine Learning 52, 2003), section 4: `1/n + test/train` in place of `1/n`.
Bouckaert and Frank, "Evaluating the Replicability of Significance Tests for Comparing Learning Algorithms" (PAKDD
2004), apply it to repeated k-fold cross-validation, as here: n is the number of all trainings (folds x seeds), and
test/train is 1 / (folds - 1).

The winner of an evaluation is chosen by the same scores that give its mean. Therefore its mean is biased upwards, and
an ordinary interval misses the truth too often. The intervals are made for all candidates at once: each has the
confidence 1 - 0.05 / candidates, so with 95 % all of them hold, also that of the candidate that is chosen
(Dunn, "Multiple Comparisons Among Means", JASA 56, 1961). Benjamini and Yekutieli, "False Discovery Rate-Adjusted
Multiple Confidence Intervals for Selected Parameters" (JASA 100, 2005; the procedure of the abstract) arrive at the
same interval for one selected parameter: the error is divided by the number of parameters, and multiplied by the
number selected.

Values that do not vary say nothing about chance: they have no interval and no p.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from statistics import fmean, mean, stdev, variance

MIN_RANKED = 4
"""Fewer candidates have no rank correlation: of three, one order in six is equal by chance."""

MIN_PAIRS = 4
"""Fewer pairs have no test: their spread says too little about chance."""

CONFIDENCE = 0.95
"""The confidence of every interval. A difference is significant if its p is below 1 - CONFIDENCE."""


@dataclass(frozen=True)
class Mean:
    """The mean of `count` independent values, with its standard deviation and its interval (Student's t).

    With a single value, `deviation` is None. `interval` is None with a single value, or if all are equal. If the values
    have bounds, the interval is cut off there.
    """

    count: int
    mean: float
    deviation: float | None
    interval: tuple[float, float] | None

    @property
    def margin(self) -> float:
        """Half the width of the interval before it was cut to the bounds; NaN if there is none."""
        return math.nan if self.deviation is None or self.interval is None else margin(self.deviation, self.count)


@dataclass(frozen=True)
class Spread:
    """Mean and standard deviation of the scores of a cross-validation, and the interval of the mean.

    `interval` is None if all scores are equal.
    """

    mean: float
    deviation: float
    interval: tuple[float, float] | None


@dataclass(frozen=True)
class PairedTest:
    """The mean difference of two candidates, its interval, and the p of a difference this large by chance alone.

    `interval`, `t` and `p` are None if it cannot be tested: all differences are equal, or fewer than `MIN_PAIRS`.
    """

    difference: float
    interval: tuple[float, float] | None
    t: float | None
    degrees: int
    p: float | None


@dataclass(frozen=True)
class WelchTest:
    """The difference of two means, its interval, and the p of a difference this large by chance alone.

    All but `difference` are None if neither group has any spread.
    """

    difference: float
    interval: tuple[float, float] | None
    t: float | None
    degrees: float | None
    p: float | None


@dataclass(frozen=True)
class RankCorrelation:
    """Spearman's rho and Kendall's tau-b (-1..1).

    None for fewer than `MIN_RANKED` candidates, or if all values of one side are equal.
    """

    spearman: float | None
    kendall: float | None


def mean_of(values: Sequence[float], bounds: tuple[float, float] | None = None) -> Mean:
    """The mean of independent values with its interval.

    Args:
        values: at least one.
        bounds: the lowest and the highest possible value; None if nothing bounds it.
    """
    centre = fmean(values)
    if len(values) < 2:
        return Mean(len(values), centre, None, None)
    deviation = stdev(values)
    reach = margin(deviation, len(values))
    return Mean(len(values), centre, deviation, _interval(centre, reach, bounds))


def margin(deviation: float, count: int) -> float:
    """Half the width of the interval of the mean of `count` independent values (at least two)."""
    return _quantile(count - 1) * deviation / math.sqrt(count)


def spread(
    scores: Sequence[float], folds: int, bounds: tuple[float, float] | None = None, *, candidates: int = 1
) -> Spread:
    """The mean of the scores of a cross-validation, with the corrected interval (see the module).

    Args:
        scores: of all trainings, at least two.
        folds: of the cross-validation, at least two.
        bounds: the lowest and the highest possible score, at which the interval ends; None if nothing bounds it.
        candidates: the number of candidates whose intervals hold at once.
    """
    centre, deviation = mean(scores), stdev(scores)
    reach = deviation * relative_reach(len(scores), folds, candidates)
    return Spread(centre, deviation, _interval(centre, reach, bounds))


def relative_reach(trainings: int, folds: int, candidates: int = 1) -> float:
    """Half the width of the corrected interval, in standard deviations of the scores."""
    return _quantile(trainings - 1, candidates) * _corrected_error(1.0, trainings, folds)


def paired_test(
    first: Sequence[float], second: Sequence[float], folds: int, bounds: tuple[float, float] | None = None
) -> PairedTest:
    """The corrected resampled t-test, two-sided (see the module).

    Args:
        first, second: scores of two candidates in the same trainings, in the same order; at least two each.
        folds: of the cross-validation, at least two.
        bounds: the lowest and the highest possible score; None if nothing bounds it.
    """
    differences = [a - b for a, b in zip(first, second, strict=True)]
    found = spread(differences, folds, difference_bounds(bounds))
    degrees = len(differences) - 1
    if found.interval is None or len(differences) < MIN_PAIRS:
        return PairedTest(found.mean, None, None, degrees, None)
    t = found.mean / _corrected_error(found.deviation, len(differences), folds)
    return PairedTest(found.mean, found.interval, t, degrees, _two_sided(t, degrees))


def welch(first: Sequence[float], second: Sequence[float], bounds: tuple[float, float] | None = None) -> WelchTest:
    """Two-sided Welch's t-test, for groups of unequal variance.

    Args:
        first, second: one value for each seed; at least two each.
        bounds: the lowest and the highest possible value; None if nothing bounds it.
    """
    difference = fmean(first) - fmean(second)
    parts = [variance(group) / len(group) for group in (first, second)]
    error = math.sqrt(sum(parts))
    if _is_rounding(error, difference):
        return WelchTest(difference, None, None, None, None)
    degrees = sum(parts) ** 2 / sum(
        part**2 / (len(group) - 1) for part, group in zip(parts, (first, second), strict=True)
    )
    reach, t = _quantile(degrees) * error, difference / error
    interval = _interval(difference, reach, difference_bounds(bounds))
    return WelchTest(difference, interval, t, degrees, _two_sided(t, degrees))


def within(interval: tuple[float, float], bounds: tuple[float, float] | None) -> tuple[float, float]:
    """The part of an interval within the bounds of what is measured; None bounds nothing."""
    low, high = (-math.inf, math.inf) if bounds is None else bounds
    return max(interval[0], low), min(interval[1], high)


def difference_bounds(bounds: tuple[float, float] | None) -> tuple[float, float] | None:
    """The lowest and the highest possible difference of two values within `bounds`."""
    return None if bounds is None else (bounds[0] - bounds[1], bounds[1] - bounds[0])


def holm(probabilities: Sequence[float | None]) -> list[float | None]:
    """Adjust the p of a family of tests for their number (Holm 1979).

    If all adjusted p below 0.05 are called significant, at most one family in twenty has a false one. None stays None,
    and counts as a test of the family.
    """
    tested = sorted((p, index) for index, p in enumerate(probabilities) if p is not None)
    adjusted: list[float | None] = [None] * len(probabilities)
    highest = 0.0
    for rank, (p, index) in enumerate(tested):
        adjusted[index] = highest = max(highest, min(1.0, (len(probabilities) - rank) * p))
    return adjusted


def is_chance(p: float | None) -> bool:
    """Whether chance alone can explain a difference with this p. True for None: nothing is known about it."""
    return p is None or p >= 1 - CONFIDENCE - 1e-12


def rank_correlation(first: Sequence[float], second: Sequence[float]) -> RankCorrelation:
    """How alike two scores rank the same candidates."""
    if len(first) < MIN_RANKED or len(set(first)) < 2 or len(set(second)) < 2:
        return RankCorrelation(None, None)
    from scipy import stats

    return RankCorrelation(
        float(stats.spearmanr(first, second).statistic), float(stats.kendalltau(first, second).statistic)
    )


def _corrected_error(deviation: float, trainings: int, folds: int) -> float:
    return deviation * math.sqrt(1 / trainings + 1 / (folds - 1))


def _interval(centre: float, reach: float, bounds: tuple[float, float] | None) -> tuple[float, float] | None:
    """The interval within the bounds; None if there is no spread."""
    return None if _is_rounding(reach, centre) else within((centre - reach, centre + reach), bounds)


def _is_rounding(error: float, centre: float) -> bool:
    """Whether a standard error is no more than what rounding leaves of equal values."""
    return error <= 1e-12 * max(1.0, abs(centre))


def _two_sided(t: float, degrees: float) -> float:
    """The p of Student's t."""
    # Imported where it is used: it takes a second, and commands that test nothing import this module too.
    from scipy import stats

    return float(2 * stats.t.sf(abs(t), degrees))


@cache
def _quantile(degrees: float, intervals: int = 1) -> float:
    """The quantile of Student's t for a two-sided interval, one of so many simultaneous ones (Bonferroni)."""
    from scipy import stats

    return float(stats.t.ppf(1 - (1 - CONFIDENCE) / (2 * intervals), degrees))
