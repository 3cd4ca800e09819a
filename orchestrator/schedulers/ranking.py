"""Who is ahead of whom, among vectors of numbers of which each is better the higher it is.

One number: by its order. Several: by non-dominated sorting, and within a front by crowding distance (Deb et al., A Fast
and Elitist Multiobjective Genetic Algorithm: NSGA-II, IEEE TEVC 2002), as Schmucker et al. (Multi-objective
Asynchronous Successive Halving, 2021, https://arxiv.org/abs/2106.12639) rank the trials of a rung. Equal vectors are
always level.

Knows numbers and names. Does not know trials, epochs or Ray.
"""

from __future__ import annotations

import bisect
import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import final

import numpy as np
from numpy.typing import NDArray

Values = tuple[float, ...]
"""One finite number an objective, the higher the better."""


class Ranking(ABC):
    """Named vectors in order of rank. What was entered stays."""

    @abstractmethod
    def enter(self, name: str, values: Values) -> None: ...

    @abstractmethod
    def ahead_of(self, values: Values) -> int:
        """How many entries rank strictly before these values, were they entered now."""

    @abstractmethod
    def first(self, count: int) -> list[str]:
        """The names of that many best; those that are level by name, so that the order of entry does not matter."""

    @abstractmethod
    def __len__(self) -> int: ...


def make_ranking(objectives: int) -> Ranking:
    return SingleRanking() if objectives == 1 else FrontRanking(objectives)


@final
class SingleRanking(Ranking):
    """By one number."""

    def __init__(self) -> None:
        self._entries: list[tuple[float, str]] = []  # the best first: minus the value, and the name

    def enter(self, name: str, values: Values) -> None:
        (value,) = values
        bisect.insort(self._entries, (-value, name))

    def ahead_of(self, values: Values) -> int:
        (value,) = values
        return bisect.bisect_left(self._entries, (-value, ""))

    def first(self, count: int) -> list[str]:
        return [name for _, name in self._entries[:count]]

    def __len__(self) -> int:
        return len(self._entries)


@final
class FrontRanking(Ranking):
    """By several numbers.

    The fronts are kept up to date at each entry (Li et al., Efficient Nondomination Level Update Method for
    Steady-State Evolutionary Multiobjective Optimization, IEEE Trans. Cybernetics 2017), because sorting a rung anew
    takes time quadratic in its trials.
    """

    def __init__(self, objectives: int) -> None:
        self._names: list[str] = []
        self._points: NDArray[np.float64] = np.empty((64, objectives))
        self._fronts: list[_Front] = []  # the best first

    def enter(self, name: str, values: Values) -> None:
        row = len(self._names)
        self._names.append(name)
        if row == len(self._points):
            self._points = np.concatenate([self._points, np.empty_like(self._points)])
        self._points[row] = values
        level = self._level(self._points[row])
        moving = np.array([row])
        while level < len(self._fronts):
            rows = self._fronts[level].rows
            beaten = _dominated(self._points[rows], self._points[moving])
            if beaten.all():  # this front and all after it stay as they are, one level down
                break
            self._fronts[level] = _Front(np.concatenate([rows[~beaten], moving]))
            moving = rows[beaten]
            level += 1
            if not moving.size:
                return
        self._fronts.insert(level, _Front(moving))

    def ahead_of(self, values: Values) -> int:
        point = np.array(values)
        level = self._level(point)
        ahead = sum(front.rows.size for front in self._fronts[:level])
        if level == len(self._fronts):
            return ahead
        rivals = self._points[self._fronts[level].rows]
        rivals = rivals[~_dominated(rivals, point[None])]
        distances = crowding_distances(np.concatenate([rivals, point[None]]))
        return ahead + int((distances[:-1] > distances[-1]).sum())

    def first(self, count: int) -> list[str]:
        names: list[str] = []
        for front in self._fronts:
            if len(names) >= count:
                break
            if front.by_rank is None:
                distances = crowding_distances(self._points[front.rows]).tolist()
                entries = zip(distances, (self._names[row] for row in front.rows.tolist()), strict=True)
                front.by_rank = [name for _, name in sorted(entries, key=lambda entry: (-entry[0], entry[1]))]
            names += front.by_rank
        return names[:count]

    def __len__(self) -> int:
        return len(self._names)

    def _level(self, point: NDArray[np.float64]) -> int:
        """The first front of which nobody dominates the point. Whoever is dominated in a front is so in all before."""
        return bisect.bisect_left(
            self._fronts, True, key=lambda front: not _dominated(point[None], self._points[front.rows])[0]
        )


@final
@dataclass(slots=True)
class _Front:
    """Rows of points that do not dominate each other; and their names, the most alone first, once asked for."""

    rows: NDArray[np.int64]
    by_rank: list[str] | None = None


def crowding_distances(points: NDArray[np.float64]) -> NDArray[np.float64]:
    """How alone each point of a front is, the extremes infinitely so; equal points are as alone as one of them.

    The sum over the objectives of the gap between a point's two neighbours, as a part of the front's whole range.
    """
    distinct, where = _distinct(points)
    distances = np.zeros(len(distinct))
    for values in distinct.T:
        order = np.argsort(values, kind="stable")
        distances[order[[0, -1]]] = math.inf
        extent = values[order[-1]] - values[order[0]]
        if extent > 0:
            distances[order[1:-1]] += (values[order[2:]] - values[order[:-2]]) / extent
    return distances[where]


def _distinct(points: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """The different points, and for each point which of them it is. As `numpy.unique` with an axis, but faster."""
    order = np.lexsort(points.T)
    is_new = np.ones(len(points), dtype=bool)
    is_new[1:] = (np.diff(points[order], axis=0) != 0).any(axis=1)
    where = np.empty(len(points), dtype=np.int64)
    where[order] = np.cumsum(is_new) - 1
    return points[order[is_new]], where


def _dominated(points: NDArray[np.float64], rivals: NDArray[np.float64]) -> NDArray[np.bool_]:
    """For each point, whether some rival is nowhere worse and somewhere better."""
    not_worse = np.all(rivals[None] >= points[:, None], axis=2)
    better = np.any(rivals[None] > points[:, None], axis=2)
    return np.asarray(np.any(not_worse & better, axis=1))
