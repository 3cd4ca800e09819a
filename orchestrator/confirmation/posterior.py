"""What repeated trainings say about the true scores of candidates. A pure function of numbers.

The score of candidate i in the training with seed j is `true score i + effect of seed j + noise`. All three vary
normally, with unknown variances; the effect of a seed (its split, its order of images) is shared by the candidates that
were trained with it, so their scores are paired. This is the two-way random-effects model of Searle, Casella and
McCulloch, "Variance Components" (1992), chapter 4, with the prior of Gelman, "Prior distributions for variance
parameters in hierarchical models" (Bayesian Analysis 1, 2006) for the spread of the candidates.

The posterior has two properties that a t-test lacks. It already counts that the winner is the luckiest of several,
because it draws close scores together (Efron, "Tweedie's formula and selection bias", JASA 106, 2011). And it does not
depend on when the race ended, so it may be looked at after every training.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

DRAWS = 8000
"""Joint draws of all true scores. A probability of 0.05 is then known to 0.0025."""

SCALES = np.geomspace(0.2, 12.0, 22)
"""Standard deviation of one training's score, in units of the scale that is expected before or estimated roughly."""
SHARES = np.array([0.02, 0.15, 0.35, 0.55, 0.75, 0.92])
"""The seed's share of the variance of one training's score."""
SPREADS = np.geomspace(0.03, 40.0, 26)
"""Standard deviation of the candidates' true scores, in units of that of one training's score."""


def true_scores(scores: Mapping[str, Mapping[int, float]], expected_noise: float | None) -> Floats:
    """Draw the true scores of the candidates, given their trainings.

    Args:
        scores: by candidate and seed; at least one training of each candidate.
        expected_noise: the standard deviation of one training's score that is expected without these trainings. It
            weighs as much as a few trainings. None if nothing is known.

    Returns:
        `DRAWS` joint draws: one row a draw, one column a candidate.
    """
    seeds = sorted({seed for found in scores.values() for seed in found})
    table = np.array([[found.get(seed, math.nan) for seed in seeds] for found in scores.values()])
    return _Model(table, expected_noise).draw(np.random.default_rng(0))


class _Model:
    """The posterior on a grid of the three variances; given these it is normal.

    Args:
        table: one row a candidate, one column a seed; NaN where there is no training.
        expected_noise: see `true_scores`.
    """

    def __init__(self, table: Floats, expected_noise: float | None) -> None:
        self._centre = float(np.nanmean(table))
        self._unit = expected_noise or _rough_scale(table)
        self._has = ~np.isnan(table)
        self._values = np.where(self._has, (table - self._centre) / self._unit, 0.0)
        scale, share, spread = (axis.ravel() for axis in np.meshgrid(SCALES, SHARES, SPREADS, indexing="ij"))
        self._noise = scale**2 * (1 - share)
        self._seed = scale**2 * share
        self._true = (scale * spread) ** 2
        # SCALES and SPREADS are logarithmic. A half-Cauchy prior of the spread; of the scale a logarithmic normal one
        # around what is expected, else a flat one.
        prior = np.log(spread) - np.log1p(spread**2)
        if expected_noise is not None:
            prior = prior - 0.5 * (np.log(scale / 1.15) / 0.6) ** 2
        self._log_prior = prior

    def draw(self, generator: np.random.Generator) -> Floats:
        """Draw true scores: first a point of the grid by its probability, then the scores given it."""
        candidates, seeds = self._has.shape
        has = self._has.astype(float)
        noise, seed, true = self._noise[:, None], self._seed[:, None], self._true[:, None, None]
        # The effects of the seeds are integrated out: their precision given the true scores is diagonal.
        of_seed = has.sum(0) / noise + 1 / seed
        by_seed = self._values.sum(0) / noise
        precision = -np.einsum("gs,is,js->gij", 1 / (noise**2 * of_seed), has, has)
        precision[:, range(candidates), range(candidates)] += has.sum(1) / noise
        # The mean of the true scores has a flat prior.
        precision += (np.eye(candidates) - 1 / candidates) / true
        sums = (self._values.sum(1) - (by_seed / of_seed) @ has.T) / noise
        means = np.linalg.solve(precision, sums[:, :, None])[:, :, 0]
        left = (self._values**2).sum() / self._noise - (by_seed**2 / of_seed).sum(1) - (sums * means).sum(1)
        log_weight = self._log_prior - 0.5 * (
            left
            + has.sum() * np.log(self._noise)
            + seeds * np.log(self._seed)
            + np.log(of_seed).sum(1)
            + (candidates - 1) * np.log(self._true)
            + np.linalg.slogdet(precision)[1]
        )
        weight = np.exp(log_weight - log_weight.max())
        chosen = generator.multinomial(DRAWS, weight / weight.sum())
        drawn = []
        for place in np.flatnonzero(chosen):
            root = np.linalg.cholesky(np.linalg.inv(precision[place]))
            normal = generator.standard_normal((chosen[place], candidates))
            drawn.append(means[place] + normal @ root.T)
        return self._centre + self._unit * np.concatenate(drawn)


def _rough_scale(table: Floats) -> float:
    """The standard deviation of the scores around the mean of their candidate; of all scores if that is 0."""
    centred = table - np.nanmean(table, axis=1, keepdims=True)
    degrees = int((~np.isnan(table)).sum()) - len(table)
    inner = math.sqrt(float(np.nansum(centred**2)) / degrees) if degrees else 0.0
    return inner or float(np.nanstd(table)) or 1e-9
