"""How much sooner than another a kind of search reaches its target, from a few searches of each. Pure numbers.

A search that does not reach the target within its time is censored: its time is known to be longer. Means need all
times; medians and ranks do not. All searches of a kind have the same time.

The estimate is that of Hodges and Lehmann, "Estimates of Location Based on Rank Tests" (Annals of Mathematical
Statistics 34, 1963): the median, over all pairs of a search of each kind, of the ratio of their times. Its interval
has the ratios that the two-sided test of Mann and Whitney, "On a Test of Whether one of Two Random Variables is
Stochastically Larger than the Other" (ibid. 18, 1947), does not refuse; the distribution of the test is exact, for any
number of searches. A pair with a censored search only bounds its ratio. The ends of the interval take each such ratio
at its worst, so that the interval is too wide rather than too narrow.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from statistics import median_low

from orchestrator.significance import CONFIDENCE

Times = Sequence[float | None]
"""Seconds to the target of each search; None if it was not reached."""


@dataclass(frozen=True)
class SpeedUp:
    """How many times sooner one kind of search reaches the target than another."""

    at_least: float
    """The estimate; with censored searches a lower bound of it, which may be 0."""
    is_exact: bool
    """Whether `at_least` is the estimate itself."""
    interval: tuple[float, float]
    """The second number is infinite if nothing bounds it, and the first 0."""

    @property
    def is_bounded(self) -> bool:
        """Whether the searches say anything about the ratio."""
        return self.interval != (0.0, math.inf)

    @property
    def is_chance(self) -> bool:
        """Whether chance alone can explain the difference."""
        return self.interval[0] <= 1 <= self.interval[1]

    @property
    def estimate_in_words(self) -> str:
        """The estimate: `3.2` or `at least 3.2`."""
        return f"{'' if self.is_exact else 'at least '}{self.at_least:.1f}"

    @property
    def interval_in_words(self) -> str:
        """The interval: `2.1 to 4.0` or `2.1 or more`."""
        low, high = self.interval
        return f"{low:.1f} or more" if math.isinf(high) else f"{low:.1f} to {high:.1f}"


def speed_up(
    times: Times, others: Times, *, limit: float, limit_of_others: float | None = None, intervals: int = 1
) -> SpeedUp:
    """Return how many times sooner the searches with `times` reach the target than the others.

    Args:
        times, others: at least one of each; in any order, and independent of each other.
        limit: the time that each search had.
        limit_of_others: the time that each of the others had, if another.
        intervals: the number of simultaneous intervals. The error probability of each is divided by it (Bonferroni).
    """
    pairs = list(itertools.product(times, others))
    later = limit_of_others or limit
    lowest = sorted(0.0 if mine is None else (later if other is None else other) / mine for mine, other in pairs)
    highest = sorted(math.inf if other is None else other / (limit if mine is None else mine) for mine, other in pairs)
    skipped = _refused(len(times), len(others), (1 - CONFIDENCE) / intervals)
    interval = (0.0, math.inf) if skipped is None else (lowest[skipped], highest[-1 - skipped])
    return SpeedUp(median_low(lowest), median_low(lowest) == median_low(highest), interval)


def median_time(times: Times) -> float | None:
    """Return the median of the times; None if no more than half of the searches reached the target.

    Of an even number it is the later one in the middle.
    """
    ordered = sorted(math.inf if time is None else time for time in times)
    middle = ordered[len(ordered) // 2]
    return None if math.isinf(middle) else middle


def median_interval(times: Times) -> tuple[float, float] | None:
    """Return the interval of the median, between two of the times; infinite where the target was not reached.

    The binomial distribution says which two (Conover, Practical Nonparametric Statistics, 1999, section 3.2). None for
    fewer than six searches: even their whole range has less than 95 % confidence.
    """
    ordered = sorted(math.inf if time is None else time for time in times)
    count = len(ordered)
    below, skipped = 0.0, -1
    while below + math.comb(count, skipped + 1) / 2**count <= (1 - CONFIDENCE) / 2:
        skipped += 1
        below += math.comb(count, skipped) / 2**count
    return None if skipped < 0 else (ordered[skipped], ordered[-1 - skipped])


@cache
def _refused(first: int, second: int, error: float) -> int | None:
    """Return how many of the sorted ratios lie outside the interval at each end; None if there is no interval."""
    total, below = math.comb(first + second, first), 0
    for refused, ways in enumerate(_ways(first, second)):
        below += ways
        if 2 * below > error * total:
            return refused - 1 if refused > 0 else None
    raise AssertionError("all ways together exceed any error")


def _ways(first: int, second: int) -> list[int]:
    """For each u, the number of orders of two groups in which u pairs, one member from each, are inverted.

    These are the coefficients of a Gaussian binomial.
    """
    size = first * second
    ways = [1] + [0] * size
    for place in range(1, first + 1):
        for u in range(size, second + place - 1, -1):  # times (1 - x^(second + place))
            ways[u] -= ways[u - second - place]
        for u in range(place, size + 1):  # divided by (1 - x^place)
            ways[u] += ways[u - place]
    return ways
