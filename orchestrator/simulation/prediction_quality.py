"""How well predicted learning curves agree with recorded ones. Knows numbers only."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import kendalltau

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Quality:
    """The agreement of two sets of curves, one value for each epoch."""

    r2: Floats
    """Fraction of the variance between the candidates that is predicted; below 0, the mean would be better."""
    tau: Floats
    """Kendall's rank correlation, tau-b, -1..1; 0 if all scores of an epoch are equal."""


def quality_of(predicted: Floats, recorded: Floats) -> Quality:
    """Compare curves [candidate, epoch]; each prediction must come from a model that has not seen its candidate."""
    squares = ((recorded - predicted) ** 2).sum(0)
    variation = ((recorded - recorded.mean(0)) ** 2).sum(0)
    return Quality(1 - squares / np.where(variation > 0, variation, np.inf), _taus(predicted, recorded))


def quality_of_retraining(trainings: Iterable[Floats], recorded: Floats) -> Quality:
    """Return what the noise of training allows.

    R2 is that of a model that knows the mean score of each candidate. Kendall's tau is that between two trainings of
    the same candidates, averaged over all pairs of trainings. A perfect model would reach a somewhat higher one,
    because it has no noise of its own.

    Args:
        trainings: the curves [training, epoch] of each candidate that was trained several times.
        recorded: one curve of every candidate, [candidate, epoch].
    """
    repeated = list(trainings)
    noise = np.mean([curves.var(0, ddof=1) for curves in repeated], axis=0)
    variance = recorded.var(0, ddof=1)
    both = min(len(curves) for curves in repeated)
    pairs = [
        _taus(*(np.array([curves[place] for curves in repeated]) for place in pair))
        for pair in itertools.combinations(range(both), 2)
    ]
    return Quality(1 - noise / np.where(variance > 0, variance, np.inf), np.mean(pairs, axis=0))


def _taus(first: Floats, second: Floats) -> Floats:
    return np.nan_to_num([kendalltau(one, other)[0] for one, other in zip(first.T, second.T, strict=True)])
