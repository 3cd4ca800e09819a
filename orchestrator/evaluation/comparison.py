"""Which of two candidates is better, from scores that belong together in pairs. Pure functions of numbers.

Folds overlap: two trainings share most of their images, so their scores are not independent, and the ordinary t-test
finds differences where there are none. The variance is therefore that of Nadeau and Bengio, "Inference for the
Generalization Error" (Machine Learning 52, 2003), section 4: `1/n + test/train` in place of `1/n`. Bouckaert and Frank,
"Evaluating the Replicability of Significance Tests for Comparing Learning Algorithms" (PAKDD 2004), apply it to
repeated k-fold cross-validation, as here: n trainings are all folds of all seeds, and test/train is 1 / (folds - 1).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import mean, stdev

from scipy import stats

CONFIDENCE = 0.95
"""Of every interval; a difference whose p is below the rest of it is called one."""


@dataclass(frozen=True)
class Spread:
    """Mean and standard deviation of a candidate's scores, and the interval of the mean."""

    mean: float
    deviation: float
    interval: tuple[float, float]


@dataclass(frozen=True)
class PairedTest:
    """The mean difference of two candidates, its interval, and how probable one so far from 0 is by chance alone.

    `t` is None where the differences are all the same, and `p` then 0, or 1 if they are 0.
    """

    difference: float
    interval: tuple[float, float]
    t: float | None
    degrees: int
    p: float


@dataclass(frozen=True)
class RankCorrelation:
    """Spearman's rho and Kendall's tau-b (-1..1); None where one side is all ties."""

    spearman: float | None
    kendall: float | None


def spread(scores: Sequence[float], folds: int) -> Spread:
    """
    Args:
        scores: of the trainings, at least two.
        folds: of the cross-validation, at least two.
    """
    centre, deviation = mean(scores), stdev(scores)
    reach = _quantile(len(scores)) * _standard_error(deviation, len(scores), folds)
    return Spread(centre, deviation, (centre - reach, centre + reach))


def paired_test(first: Sequence[float], second: Sequence[float], folds: int) -> PairedTest:
    """The corrected resampled t-test, two-sided: see the module.

    Args:
        first, second: scores of two candidates in the same trainings, in the same order; at least two each.
        folds: of the cross-validation, at least two.
    """
    differences = [a - b for a, b in zip(first, second, strict=True)]
    found = spread(differences, folds)
    degrees = len(differences) - 1
    error = _standard_error(found.deviation, len(differences), folds)
    if error <= 1e-12 * max(1.0, abs(found.mean)):  # no more than what rounding leaves of equal differences
        return PairedTest(found.mean, found.interval, None, degrees, 1.0 if abs(found.mean) < 1e-12 else 0.0)
    t = found.mean / error
    return PairedTest(found.mean, found.interval, t, degrees, float(2 * stats.t.sf(abs(t), degrees)))


def holm(probabilities: Sequence[float]) -> list[float]:
    """Each p adjusted for there being so many (Holm 1979): below 0.05, and no more than one in twenty such families
    has a false one."""
    order = sorted(range(len(probabilities)), key=lambda index: probabilities[index])
    adjusted = [0.0] * len(probabilities)
    highest = 0.0
    for rank, index in enumerate(order):
        highest = max(highest, min(1.0, (len(order) - rank) * probabilities[index]))
        adjusted[index] = highest
    return adjusted


def rank_correlation(first: Sequence[float], second: Sequence[float]) -> RankCorrelation:
    """How alike two scores rank the same candidates."""
    if len(set(first)) < 2 or len(set(second)) < 2:
        return RankCorrelation(None, None)
    return RankCorrelation(
        float(stats.spearmanr(first, second).statistic), float(stats.kendalltau(first, second).statistic)
    )


def _standard_error(deviation: float, trainings: int, folds: int) -> float:
    return deviation * math.sqrt(1 / trainings + 1 / (folds - 1))


def _quantile(trainings: int) -> float:
    return float(stats.t.ppf(0.5 + CONFIDENCE / 2, trainings - 1))
