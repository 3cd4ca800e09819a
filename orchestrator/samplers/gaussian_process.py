"""Gaussian-process regression with a separate noise variance for each observation (Rasmussen and Williams, "Gaussian
Processes for Machine Learning", 2006, sections 2.2 and 5.4.1). Knows numbers only.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import LinAlgError, cho_solve, cholesky, solve_triangular

Floats = NDArray[np.float64]

LENGTHS = (0.15, 0.25, 0.4, 0.7, 1.2, 2.0)
"""Length scales that are tried; the typical distance of two random points is 1."""
NOISES = (0.01, 0.03, 0.1, 0.25, 0.5)
"""Variances of the common noise that are tried; the targets have a variance of 1."""

MAX_FOR_SCALES = 200
"""Length and noise are chosen by at most this many observations, because each combination takes a decomposition."""

JITTER = 1e-6


class GaussianProcess:
    """A Gaussian process with a squared-exponential kernel, fitted to observations.

    Length scale and noise are those of the grid with the highest posterior density: marginal likelihood times a
    log-normal prior around 0.5 and 0.05.

    Args:
        points: one row each; the typical squared distance of two random points is 1.
        targets: one for each point; their mean is 0 and their variance about 1.
        repeats: trainings of which each target is the mean; they divide the common noise.
        extra_noise: variance that each target has in addition.
    """

    def __init__(self, points: Floats, targets: Floats, repeats: Floats, extra_noise: Floats) -> None:
        self._points, self._targets = points, targets
        few = slice(-MAX_FOR_SCALES, None)
        self.length, noise = _choose_scales(points[few], targets[few], repeats[few], extra_noise[few])
        self._noise = noise / repeats + extra_noise
        self._decompose()

    def add_expected(self, points: Floats) -> None:
        """Add points whose targets are not known yet, with what is expected of them (the kriging believer)."""
        means, _ = self.predict(points)
        self._points = np.concatenate([self._points, points])
        self._targets = np.concatenate([self._targets, means])
        self._noise = np.concatenate([self._noise, np.full(len(points), JITTER)])
        self._decompose()

    def predict(self, points: Floats) -> tuple[Floats, Floats]:
        """Return mean and standard deviation of the noiseless value at each point."""
        kernel = np.exp(-0.5 * squared_distances(points, self._points) / self.length**2)
        half = solve_triangular(self._root, kernel.T, lower=True, check_finite=False)
        variance = self._scale * (1 - (half**2).sum(0))
        return kernel @ self.weights, np.sqrt(np.maximum(variance, 1e-12))

    def _decompose(self) -> None:
        kernel = np.exp(-0.5 * squared_distances(self._points, self._points) / self.length**2)
        self._root = cholesky(kernel + np.diag(self._noise + JITTER), lower=True, check_finite=False)
        self.weights = cho_solve((self._root, True), self._targets, check_finite=False)
        """The mean at a point is the sum of these, each times the kernel of the point and a fitted one."""
        # The variance has a prior of one observation of 1.
        self._scale = float(self._targets @ self.weights + 1) / (len(self._targets) + 1)


def squared_distances(first: Floats, second: Floats) -> Floats:
    """Return the squared distance of each row of the first to each row of the second."""
    products = first @ second.T
    squares = (first**2).sum(1)[:, None] + (second**2).sum(1)[None]
    return np.maximum(squares - 2 * products, 0.0)


def _choose_scales(points: Floats, targets: Floats, repeats: Floats, extra_noise: Floats) -> tuple[float, float]:
    """Return the length scale, and the noise of a single training, which is the same for all points."""
    distances = squared_distances(points, points)
    best, found = -math.inf, (LENGTHS[2], NOISES[1])
    for length in LENGTHS:
        kernel = np.exp(-0.5 * distances / length**2)
        for noise in NOISES:
            try:
                root = cholesky(
                    kernel + np.diag(noise / repeats + extra_noise + JITTER), lower=True, check_finite=False
                )
            except LinAlgError:
                continue
            half = solve_triangular(root, targets, lower=True, check_finite=False)
            scale = float(half @ half + 1) / (len(targets) + 1)
            density = -0.5 * len(targets) * math.log(scale) - float(np.log(np.diag(root)).sum())
            density -= 0.5 * math.log(length / 0.5) ** 2 + 0.5 * (math.log(noise / 0.05) / 1.2) ** 2
            if density > best:
                best, found = density, (length, noise)
    return found
