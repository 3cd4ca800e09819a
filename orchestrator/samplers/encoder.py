"""Turns the trials of a study into points, and points into features, with the help of a space if there is one.

Knows Optuna and, through the space, cells. Does not know what learns from the features.
"""

from __future__ import annotations

import random
import threading
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from optuna.distributions import CategoricalDistribution
from optuna.study import Study
from optuna.trial import FrozenTrial

from orchestrator.samplers.history import Point, to_point
from search_spaces.architecture import Architecture
from search_spaces.cell_space import CellSpace
from search_spaces.graph_features import count_features, graph_features

Floats = NDArray[np.float64]

MAX_CACHED_POINTS = 20_000
"""Number of points whose features are kept. The same neighbours of the best trials recur often."""

REFERENCE_POINTS = 256
"""Random points by which the features are scaled."""

COUNTS, SETS = 5.0, 1.0
"""The weights of counts and of features by sets of operations beside one another.

In the NASNet space recorded curves are predicted with R2 0.37 by these weights, with 0.33 by equal ones, and with 0.18
by sets alone (`benchmarks/surrogate.md`).
"""

LOCK = threading.Lock()
"""Held while features are computed, because all threads of Optuna's `n_jobs` use one sampler and its caches.

It belongs to the module: a sampler with a lock could not be pickled.
"""


class Encoder:
    """The categorical decisions of trials as features, scaled so that random points are at a distance of about 1.

    With a space, the features are those of the searched cells (`search_spaces.graph_features`) and a one-hot encoding
    of each further categorical parameter; both groups have the same weight. Without a space all are one-hot.

    Args:
        space: the space whose decisions are the study's parameters; None for any other study.
    """

    def __init__(self, space: CellSpace | None) -> None:
        self._space = space
        self._decisions = frozenset(name for name, _ in space.decisions()) if space else frozenset()
        self._choices: dict[str, Sequence[Any]] = {}
        self._raw: dict[Point, Floats] = {}
        self._scales: tuple[Floats, Floats] | None = None
        self._fingerprints: dict[Point, str] = {}
        self._study: Study | None = None
        self._points: dict[int, Point] = {}

    def point(self, study: Study, trial: FrozenTrial) -> Point:
        """Return the trial's categorical decisions; cached once it is finished, as they no longer change."""
        if study is not self._study:
            self._study, self._points = study, {}
        if trial.number in self._points:
            return self._points[trial.number]
        decided = trial.distributions
        params = trial.params.copy()  # another thread may be adding parameters to a running trial
        point = frozenset(item for item in params.items() if isinstance(decided[item[0]], CategoricalDistribution))
        if trial.state.is_finished():
            self._points[trial.number] = point
        return point

    def features(self, points: Sequence[Point], choices: Mapping[str, Sequence[Any]]) -> Floats:
        """Return one row of scaled features for each point.

        Args:
            points: each has a value for every name in `choices`.
            choices: of each categorical parameter.
        """
        with LOCK:
            if choices != self._choices:
                self._choices, self._raw, self._scales = dict(choices), {}, None
            if self._scales is None:
                self._scales = self._scales_of(choices)
            mean, divisor = self._scales
            return (self._raw_features(points) - mean) / divisor

    def first_new_graph(self, points: Sequence[Point], known: Iterable[Point]) -> Point:
        """Return the first point whose graph differs from those of all known points; if there is none, the first."""
        if self._space is None:
            return points[0]
        seen = {self._fingerprint(point) for point in known}
        return next((point for point in points if self._fingerprint(point) not in seen), points[0])

    def _fingerprint(self, point: Point) -> str | None:
        """Return the architecture's fingerprint; None if the point's trial has not made all its decisions yet."""
        if point not in self._fingerprints:
            if not self._decisions <= {name for name, _ in point}:
                return None
            self._fingerprints[point] = self._architecture(point).fingerprint
        return self._fingerprints[point]

    def _architecture(self, point: Point) -> Architecture:
        assert self._space is not None, "only a space has architectures"
        return self._space.decode({name: value for name, value in point if name in self._decisions})

    def _scales_of(self, choices: Mapping[str, Sequence[Any]]) -> tuple[Floats, Floats]:
        """Return the mean of each feature, and the number by which it is divided."""
        draws = random.Random(0)
        names = sorted(choices)
        reference = [to_point({name: draws.choice(choices[name]) for name in names}) for _ in range(REFERENCE_POINTS)]
        raw = self._raw_features(reference)
        deviation = raw.std(0)
        divisor = np.where(deviation > 0, deviation, np.inf)  # a constant feature says nothing
        ends = np.cumsum([kind.shape[1] for kind in self._kinds(reference[:1])])
        kinds = [slice(start, end) for start, end in zip([0, *ends[:-1]], ends, strict=True)]
        varying = [int((deviation[kind] > 0).sum()) for kind in kinds]
        graphs = sum(weight for weight, count in zip((COUNTS, SETS), varying, strict=False) if count)
        weights = (COUNTS, SETS, graphs or 1.0)
        # If no feature varies, the sum is 0, and infinity times 0 is not a number.
        total = sum(weight for weight, count in zip(weights, varying, strict=True) if count) or 1.0
        for kind, weight, count in zip(kinds, weights, varying, strict=True):
            divisor[kind] *= np.sqrt(2 * max(1, count) * total / weight)
        return raw.mean(0), divisor

    def _raw_features(self, points: Sequence[Point]) -> Floats:
        missing = [point for point in dict.fromkeys(points) if point not in self._raw]
        if len(self._raw) + len(missing) > MAX_CACHED_POINTS:
            self._raw.clear()
            missing = list(dict.fromkeys(points))
        if missing:
            self._raw.update(zip(missing, np.concatenate(self._kinds(missing), axis=1), strict=True))
        return np.array([self._raw[point] for point in points])

    def _kinds(self, points: Sequence[Point]) -> list[Floats]:
        """Return counts, features by sets of operations and one-hot features, without scales."""
        if self._space is None:
            none = np.zeros((len(points), 0))
            return [none, none, self._one_hot(points)]
        found, operations = [self._architecture(point) for point in points], self._space.operations
        cells = [[one.normal for one in found]]
        # Only one cell is searched if the space is shared or its reduction cell is fixed.
        if len(self._space.cells) > 1:
            cells.append([one.reduction for one in found])
        counts, sets = (
            np.concatenate([features(one, operations) for one in cells], axis=1)
            for features in (count_features, graph_features)
        )
        return [counts, sets, self._one_hot(points)]

    def _one_hot_columns(self) -> dict[tuple[str, Any], int]:
        """The column of each choice of a parameter that is not a decision of the space."""
        names = [name for name in sorted(self._choices) if name not in self._decisions]
        return {key: place for place, key in enumerate((name, one) for name in names for one in self._choices[name])}

    def _one_hot(self, points: Sequence[Point]) -> Floats:
        columns = self._one_hot_columns()
        found = np.zeros((len(points), len(columns)))
        for row, point in enumerate(points):
            for item in point:
                if item in columns:
                    found[row, columns[item]] = 1.0
        return found
