"""PASHA's ceiling: the largest rung, which is raised only while the ranking of the trials still changes.

Source: Bohdal et al., PASHA: Efficient HPO and NAS with Progressive Resource Allocation, ICLR 2023,
https://arxiv.org/abs/2207.06940. The ranking is soft: scores that differ by at most epsilon count as equal. Epsilon is
estimated from pairs of trials whose curves cross more than once, because the differences between these are noise.

Differs from the paper in one point: the ceiling depends only on the curves, and not on the order in which they came, so
that a resume finds the same one. If later trials show that an earlier change was noise, the ceiling falls again.

Knows the names of trials and their scores by epoch. Does not run, pause or promote trials.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from itertools import pairwise
from typing import final

import numpy as np
from numpy.typing import NDArray

NOISE_PERCENTILE = 90
"""Epsilon is this percentile of the differences between trials whose curves cross more than once."""


@final
class Ceiling:
    """The epoch from which no trial is promoted.

    Args:
        rungs: epochs of the rungs; the first two are open from the start. With fewer than two, nothing is limited.
        max_epochs: the ceiling if no rung ranks its trials like the rung below it.
    """

    def __init__(self, rungs: Sequence[int], max_epochs: int) -> None:
        self._rankings = {epoch: SoftRanking(below, epoch) for below, epoch in pairwise(rungs)}
        self._max_epochs = max_epochs
        self._last_rung = max(self._rankings, default=0)
        self._curves: dict[str, dict[int, float]] = defaultdict(dict)

    @property
    def epoch(self) -> int:
        """The first rung that ranks its trials as the rung below it does; `max_epochs` if there is none."""
        return next((epoch for epoch, ranking in self._rankings.items() if ranking.is_stable), self._max_epochs)

    def enter(self, trial_id: str, epoch: int, score: float) -> None:
        """Add a trial's score, higher is better, after all scores of its earlier epochs. The first one counts."""
        if epoch > self._last_rung or epoch in self._curves[trial_id]:
            return
        curve = self._curves[trial_id]
        curve[epoch] = score
        if epoch in self._rankings:
            self._rankings[epoch].enter([curve.get(at, math.nan) for at in range(1, epoch + 1)])


@final
class SoftRanking:
    """The trials that reached the rung `epoch`, and whether it ranks them as the rung `below` does."""

    def __init__(self, below: int, epoch: int) -> None:
        self._below = below
        self._curves: NDArray[np.float64] = np.empty((0, epoch))
        self._noise: NDArray[np.float64] = np.empty(0)
        self.is_stable = True

    @property
    def epsilon(self) -> float:
        """The largest difference that counts as noise; 0 while no curves cross more than once."""
        return float(np.percentile(self._noise, NOISE_PERCENTILE)) if self._noise.size else 0.0

    def enter(self, curve: Sequence[float]) -> None:
        """Add a trial's scores at the epochs 1, 2, ... of this rung; NaN for an unknown one."""
        new = np.asarray(curve)
        self._noise = np.append(self._noise, differences_by_noise(self._curves, new))
        self._curves = np.vstack([self._curves, new])
        below, here = self._curves[:, self._below - 1], self._curves[:, -1]
        by_rank = np.lexsort((-below, -here))  # equal ones in the order below, not in that of their entry
        self.is_stable = bool(np.all(np.abs(below[by_rank] - np.sort(below)[::-1]) <= self.epsilon))


def differences_by_noise(curves: NDArray[np.float64], curve: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the last differences between the curve and those others that it crosses at least twice.

    Args:
        curves: shape (trials, epochs).
        curve: shape (epochs,).
    """
    differences = curves - curve
    last = differences[:, -1:]
    as_at_last = np.logical_or.accumulate(differences * last > 0, axis=1)  # at this epoch or before it
    cross_twice = (as_at_last & (differences * last < 0)).any(axis=1)
    return np.abs(last[cross_twice, 0])
