"""Rankings of vectors of numbers, in which higher is better.

Single numbers are ranked by their order. Vectors are ranked by non-dominated sorting, and within a front by crowding
distance (Deb et al., A Fast and Elitist Multiobjective Genetic Algorithm: NSGA-II, IEEE TEVC 2002), as Schmucker et al.
(Multi-objective Asynchronous Successive Halving, 2021, https://arxiv.org/abs/2106.12639) rank the trials of a rung.
Equal vectors always have equal ranks.

Uses only numbers and names, not trials, epochs or Ray.
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
"""One finite number per objective; higher is better."""


class Ranking(ABC):
    """Named vectors in order of rank. Entries cannot be removed."""

    @abstractmethod
    def enter(self, name: str, values: Values) -> None:
        """Add a named vector."""

    @abstractmethod
    def count_ahead(self, values: Values) -> int:
        """Return how many entries would rank strictly before these values if they were entered now."""

    @abstractmethod
    def best(self, count: int) -> list[str]:
        """Return the `count` best names; equal ranks are ordered by name, so the order of entry has no effect."""

    @abstractmethod
    def __len__(self) -> int: ...


def make_ranking(objectives: int) -> Ranking:
    """Return an empty ranking for this number of objectives."""
    return SingleRanking() if objectives == 1 else FrontRanking(objectives)


@final
class SingleRanking(Ranking):
    """A ranking by one number."""

    def __init__(self) -> None:
        self._entries: list[tuple[float, str]] = []  # (-value, name), the best first

    def enter(self, name: str, values: Values) -> None:
        (value,) = values
        bisect.insort(self._entries, (-value, name))

    def count_ahead(self, values: Values) -> int:
        (value,) = values
        return bisect.bisect_left(self._entries, (-value, ""))

    def best(self, count: int) -> list[str]:
        return [name for _, name in self._entries[:count]]

    def __len__(self) -> int:
        return len(self._entries)


@final
class FrontRanking(Ranking):
    """A ranking by several numbers.

    Each entry updates the fronts (Li et al., Efficient Nondomination Level Update Method for
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
        level = self._find_level(self._points[row])
        moving = np.array([row])
        while level < len(self._fronts):
            rows = self._fronts[level].rows
            dominated = _find_dominated(self._points[rows], self._points[moving])
            if dominated.all():  # this front and all later ones move down one level unchanged
                break
            self._fronts[level] = _Front(np.concatenate([rows[~dominated], moving]))
            moving = rows[dominated]
            level += 1
            if not moving.size:
                return
        self._fronts.insert(level, _Front(moving))

    def count_ahead(self, values: Values) -> int:
        point = np.array(values)
        level = self._find_level(point)
        ahead = sum(front.rows.size for front in self._fronts[:level])
        if level == len(self._fronts):
            return ahead
        others = self._points[self._fronts[level].rows]
        others = others[~_find_dominated(others, point[None])]
        distances = crowding_distances(np.concatenate([others, point[None]]))
        return ahead + int((distances[:-1] > distances[-1]).sum())

    def best(self, count: int) -> list[str]:
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

    def _find_level(self, point: NDArray[np.float64]) -> int:
        """Return the index of the first front in which no point dominates the given one.

        Bisection works because a point that is dominated in a front is dominated in all earlier fronts.
        """
        return bisect.bisect_left(
            self._fronts, True, key=lambda front: not _find_dominated(point[None], self._points[front.rows])[0]
        )


@final
@dataclass(slots=True)
class _Front:
    """A set of points that do not dominate each other."""

    rows: NDArray[np.int64]
    """Rows of the points in `FrontRanking`."""

    by_rank: list[str] | None = None
    """The points' names by descending crowding distance; None until they are first needed."""


def crowding_distances(points: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the crowding distance of each point of a front.

    It is the sum over the objectives of the gap between the point's two neighbours, divided by the front's range. It is
    infinite for the extremes. Equal points count as one point and share its distance.

    Args:
        points: shape (points, objectives).
    """
    unique, inverse = _unique_rows(points)
    distances = np.zeros(len(unique))
    for values in unique.T:
        order = np.argsort(values, kind="stable")
        distances[order[[0, -1]]] = math.inf
        extent = values[order[-1]] - values[order[0]]
        if extent > 0:
            distances[order[1:-1]] += (values[order[2:]] - values[order[:-2]]) / extent
    return distances[inverse]


def _unique_rows(points: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Return the unique points and each point's index among them; faster than `numpy.unique` with an axis."""
    order = np.lexsort(points.T)
    is_new = np.ones(len(points), dtype=bool)
    is_new[1:] = (np.diff(points[order], axis=0) != 0).any(axis=1)
    inverse = np.empty(len(points), dtype=np.int64)
    inverse[order] = np.cumsum(is_new) - 1
    return points[order[is_new]], inverse


def _find_dominated(points: NDArray[np.float64], others: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Return for each point whether one of the others is worse in no objective and better in at least one."""
    not_worse = np.all(others[None] >= points[:, None], axis=2)
    better = np.any(others[None] > points[:, None], axis=2)
    return np.asarray(np.any(not_worse & better, axis=1))
