"""Means over seeds, and whether two groups of seeds differ by more than chance. Pure functions of numbers.

The seeds of a group are taken as independent draws: each decides a split, the sampler's draws and all trainings. Groups
that share seeds share splits; Welch's test (Welch 1947) does not use that, so its p is rather too large than too small.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from statistics import fmean, stdev, variance

from scipy import stats

from orchestrator.evaluation.comparison import CONFIDENCE

SEEDS_NEEDED = 3
"""A group with fewer is not tested."""


@dataclass(frozen=True)
class Mean:
    """Of so many values; with one value there is no deviation, and no interval (95 %, Student's t)."""

    count: int
    mean: float
    deviation: float | None
    interval: tuple[float, float] | None


@dataclass(frozen=True)
class WelchTest:
    """The difference of two means, its 95 % interval, and how probable one so far from 0 is by chance alone.

    `t` and `degrees` are None where neither group has any spread: `p` is then 1 if they are equal, and None if not,
    because values that are all the same tell nothing of chance.
    """

    difference: float
    interval: tuple[float, float]
    t: float | None
    degrees: float | None
    p: float | None


def mean_of(values: Sequence[float]) -> Mean:
    """
    Args:
        values: at least one.
    """
    centre = fmean(values)
    if len(values) < 2:
        return Mean(len(values), centre, None, None)
    deviation = stdev(values)
    reach = _quantile(len(values) - 1) * deviation / math.sqrt(len(values))
    return Mean(len(values), centre, deviation, (centre - reach, centre + reach))


def welch(first: Sequence[float], second: Sequence[float]) -> WelchTest:
    """Two-sided, for groups of unlike spread.

    Args:
        first, second: a value for each seed; at least two each.
    """
    difference = fmean(first) - fmean(second)
    parts = [variance(group) / len(group) for group in (first, second)]
    error = math.sqrt(sum(parts))
    if error <= 1e-12 * max(1.0, abs(difference)):  # no more than what rounding leaves of equal values
        same = abs(difference) < 1e-12
        return WelchTest(difference, (difference, difference), None, None, 1.0 if same else None)
    degrees = sum(parts) ** 2 / sum(
        part**2 / (len(group) - 1) for part, group in zip(parts, (first, second), strict=True)
    )
    reach, t = _quantile(degrees) * error, difference / error
    p = float(2 * stats.t.sf(abs(t), degrees))
    return WelchTest(difference, (difference - reach, difference + reach), t, degrees, p)


@cache
def _quantile(degrees: float) -> float:
    return float(stats.t.ppf(0.5 + CONFIDENCE / 2, degrees))
