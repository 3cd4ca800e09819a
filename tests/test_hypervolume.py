"""Tests of the hypervolume by random directions."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from numpy.typing import NDArray

from orchestrator.samplers import hypervolume
from orchestrator.samplers.hypervolume import MARGIN, directions, expected_gain, heights, ranking


def volume(points: NDArray[np.float64], reference: NDArray[np.float64]) -> float:
    """The exact hypervolume, by inclusion and exclusion of the boxes below the points."""
    found = 0.0
    for count in range(1, len(points) + 1):
        for some in itertools.combinations(points, count):
            found -= (-1) ** count * float(np.prod(np.maximum(np.min(some, axis=0) - reference, 0.0)))
    return found


@pytest.mark.parametrize("objectives", [2, 3])
def test_mean_heights_are_in_proportion_to_the_hypervolume(objectives: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hypervolume, "DIRECTIONS", 20_000)
    generator = np.random.default_rng(0)
    towards, reference = directions(objectives, generator), np.zeros(objectives)
    ratios = []
    for _ in range(5):
        points = generator.random((6, objectives))
        ratios.append(float(heights(points, reference, towards).max(0).mean()) / volume(points, reference))
    assert max(ratios) / min(ratios) < 1.05


def test_the_expected_gain_is_that_of_the_hypervolume(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hypervolume, "DIRECTIONS", 20_000)
    generator = np.random.default_rng(1)
    known, points = generator.random((5, 2)), generator.random((4, 2)) + 0.3
    reference = known.min(0) - MARGIN
    gains = [volume(np.vstack([known, point]), reference) - volume(known, reference) for point in points]
    found = expected_gain(points, np.full(points.shape, 1e-9), known, generator)
    assert found / found.sum() == pytest.approx(np.array(gains) / sum(gains), abs=0.03)


def test_a_point_that_may_be_better_is_worth_more_than_one_that_cannot() -> None:
    known = np.array([[0.0, 1.0], [1.0, 0.0]])
    means = np.array([[0.0, 0.0], [0.0, 0.0]])
    sure, unsure = expected_gain(means, np.array([[1e-9] * 2, [1.0] * 2]), known, np.random.default_rng(0))
    assert unsure > sure == 0


def test_the_points_of_the_front_rank_first() -> None:
    values = np.array([[0.1, 0.1], [0.9, 0.2], [0.5, 0.5], [0.2, 0.9], [0.4, 0.4]])
    order = ranking(values, np.random.default_rng(0)).tolist()
    assert set(order[:3]) == {1, 2, 3}
    assert order[3:] == [4, 0]
    assert ranking(values[:, :1], np.random.default_rng(0)).tolist() == [1, 2, 4, 3, 0]
