"""Gaussian processes that predict learning curves from features, and their cross-validation.

A curve is a sum of components, which are the first singular vectors of the known curves, and each component has a
Gaussian process of its own (Yan et al., "NAS-Bench-x11 and the Power of Learning Curves", NeurIPS 2021, section 3).

Knows numbers only.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from orchestrator.samplers import GaussianProcess, squared_distances

Floats = NDArray[np.float64]

FOLDS = 10
"""Models in the ensemble."""
COMPONENTS = 6
"""Singular vectors of a curve. On recorded curves 2, 4 and 8 predict equally well."""


@dataclass(frozen=True)
class CurveEnsemble:
    """The mean of Gaussian processes that share their points, as sums of kernels: a prediction takes few products."""

    points: Floats
    """[point, feature]."""
    offset: Floats
    """One for each output."""
    weights: dict[float, Floats]
    """[point, output] for each length scale."""

    def predict(self, features: Floats) -> Floats:
        """Return the outputs, [row, output], for rows of features."""
        squares = squared_distances(features, self.points)
        return self.offset + sum(np.exp(-0.5 * squares / length**2) @ each for length, each in self.weights.items())


def cross_validate(features: Floats, outputs: Floats) -> tuple[CurveEnsemble, Floats]:
    """Fit `FOLDS` models, each without one fold of the candidates.

    Return the mean of the models, which is the ensemble. Also return the outputs of each candidate, as the one model
    predicts them that was not fitted to it. So the models that are validated are the members of the ensemble.

    Args:
        features: [candidate, feature]; the typical squared distance of two candidates is 1.
        outputs: [candidate, output]; the last output is predicted by itself, and the others are a curve.
    """
    fold = np.random.default_rng(0).permutation(len(outputs)) % FOLDS
    offset, weights = np.zeros(outputs.shape[1]), dict[float, Floats]()
    validated = np.zeros_like(outputs)
    for held in range(FOLDS):
        seen = fold != held
        model = _fit(features[seen], outputs[seen])
        validated[~seen] = model.predict(features[~seen])
        offset += model.offset / FOLDS
        for length, each in model.weights.items():
            weights.setdefault(length, np.zeros_like(outputs))[seen] += each / FOLDS
    return CurveEnsemble(features, offset, weights), validated


def _fit(features: Floats, outputs: Floats) -> CurveEnsemble:
    """Fit a Gaussian process to each of the first components of the curves, and one to the last output.

    Each output is first scaled to a variance of 1; otherwise those with the largest spread would make the components.
    """
    mean, deviation = outputs.mean(0), outputs.std(0)
    standard = (outputs - mean) / np.where(deviation > 0, deviation, 1.0)
    left, values, right = np.linalg.svd(standard[:, :-1], full_matrices=False)
    count, unit = min(COMPONENTS, int((values > 1e-9 * values[0]).sum())), np.sqrt(len(outputs))
    targets = np.column_stack([left[:, :count] * unit, standard[:, -1]])
    parts = np.zeros((count + 1, outputs.shape[1]))
    parts[:-1, :-1] = values[:count, None] * right[:count] / unit
    parts[-1, -1] = 1.0
    weights: dict[float, Floats] = {}
    alike, no_more_noise = np.ones(len(outputs)), np.zeros(len(outputs))
    for target, part in zip(targets.T, parts * deviation, strict=True):
        process = GaussianProcess(features, target, alike, no_more_noise)
        weights[process.length] = weights.get(process.length, 0.0) + np.outer(process.weights, part)
    return CurveEnsemble(features, mean, weights)
