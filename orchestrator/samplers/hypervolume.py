"""Hypervolume by random directions, for any number of objectives (Zhang and Golovin, "Random Hypervolume Scalarizations
for Provable Multi-Objective Black Box Optimization", ICML 2020, lemma 5).

The hypervolume of a set of points is, up to a constant factor, a mean over random directions: for each direction, the
largest of the points' `heights`. Knows numbers only. All values are maximised.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

DIRECTIONS = 128
"""Random directions over which a mean is taken."""
DRAWS = 32
"""Draws from the predictions, for an expectation."""

MARGIN = 0.1
"""By how much the reference point lies below the lowest value of each objective."""


def directions(objectives: int, generator: np.random.Generator) -> Floats:
    """Return unit vectors with positive components, uniformly distributed: (DIRECTIONS, objectives)."""
    found = np.abs(generator.normal(size=(DIRECTIONS, objectives))) + 1e-9
    return found / np.linalg.norm(found, axis=1, keepdims=True)


def heights(values: Floats, reference: Floats, towards: Floats) -> Floats:
    """Return how far the volume below each point reaches in each direction, to the power of the number of objectives.

    Args:
        values: one row a point: (..., objectives).
        reference: corner of all volumes: (objectives).
        towards: (directions, objectives).

    Returns:
        Shape (..., directions); 0 for a point that is not above the reference in every objective.
    """
    above = np.maximum(values - reference, 0.0)
    reach = np.full((*values.shape[:-1], len(towards)), np.inf)
    for place in range(values.shape[-1]):
        np.minimum(reach, above[..., place, None] / towards[:, place], out=reach)
    return reach ** values.shape[-1]


def ranking(values: Floats, generator: np.random.Generator) -> NDArray[np.int64]:
    """Return the indices of the points, best first. A point counts by its best rank in any direction."""
    if values.shape[1] == 1:
        return np.argsort(-values[:, 0], kind="stable")
    reach = heights(values, values.min(0) - MARGIN, directions(values.shape[1], generator))
    ranks = np.argsort(np.argsort(-reach, axis=0, kind="stable"), axis=0, kind="stable")
    return np.lexsort((ranks.mean(1), ranks.min(1)))


def expected_gain(means: Floats, deviations: Floats, known: Floats, generator: np.random.Generator) -> Floats:
    """Return by how much each point is expected to enlarge the hypervolume of the known points, in an arbitrary unit.

    Args:
        means: of the independent normal predictions: (points, objectives).
        deviations: (points, objectives).
        known: (known points, objectives).
        generator: of the directions and the draws.
    """
    reference, towards = known.min(0) - MARGIN, directions(means.shape[1], generator)
    draws = generator.normal(size=(DRAWS, 1, means.shape[1]))
    so_far = heights(known, reference, towards).max(0)
    gains = heights(means + deviations * draws, reference, towards) - so_far
    return np.maximum(gains, 0.0).mean((0, 2))
