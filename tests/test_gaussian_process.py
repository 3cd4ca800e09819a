"""The Gaussian process of the predictor: its interpolation, its noise and its expectations."""

from __future__ import annotations

import numpy as np
import pytest

from orchestrator.samplers.gaussian_process import GaussianProcess, squared_distances

POINTS = np.linspace(0, 2, 9)[:, None]
WAVE = np.sin(2 * POINTS[:, 0])
ONES, ZEROS = np.ones(9), np.zeros(9)


def test_squared_distances_are_those_of_all_pairs() -> None:
    found = squared_distances(np.array([[0.0, 0.0], [1.0, 1.0]]), np.array([[3.0, 4.0]]))
    assert found == pytest.approx(np.array([[25.0], [13.0]]))


def test_a_smooth_function_is_interpolated_and_doubt_grows_with_the_distance() -> None:
    process = GaussianProcess(POINTS, WAVE, ONES, ZEROS)
    mean, deviation = process.predict(np.array([[0.625], [1.1], [4.0]]))
    assert mean[:2] == pytest.approx(np.sin([1.25, 2.2]), abs=0.1)
    assert deviation[2] > 5 * deviation[0]


def test_a_target_with_more_noise_pulls_less() -> None:
    """One target is off by 2; with its noise known, the prediction stays near the others."""
    off = WAVE + 2.0 * (np.arange(9) == 4)
    trusted, _ = GaussianProcess(POINTS, off, ONES, ZEROS).predict(POINTS[4:5])
    doubted, _ = GaussianProcess(POINTS, off, ONES, 10.0 * (np.arange(9) == 4)).predict(POINTS[4:5])
    assert abs(doubted[0] - WAVE[4]) < 0.3 < abs(trusted[0] - WAVE[4])


def test_expected_points_change_no_mean_but_remove_the_doubt_there() -> None:
    process = GaussianProcess(POINTS, WAVE, ONES, ZEROS)
    place = np.array([[3.0]])
    mean, deviation = process.predict(place)
    process.add_expected(place)
    again, after = process.predict(place)
    assert again == pytest.approx(mean, abs=1e-3)
    assert after[0] < 0.1 * deviation[0]
