"""Standard errors of scores, within the bounds that the trainable states."""

from __future__ import annotations

from typing import Any

import pytest

from orchestrator.errors import ConfigError
from orchestrator.record.run_state import RunState
from orchestrator.report.score_precision import ScorePrecision, estimate_precision
from orchestrator.search.setup import check_score_bounds
from tests.builders import STARTED, info, trial
from tests.stepping import Paced


def precision(scores: list[float], **values: Any) -> ScorePrecision | None:
    state = RunState.replay(
        [
            STARTED,
            *(event for place, score in enumerate(scores) for event in trial(f"0000{place}", [score], "completed")),
        ]
    )
    assert state.best is not None
    return estimate_precision(state, state.best, info(**values))


def test_percent_has_a_hundred_times_the_error_of_a_fraction() -> None:
    fraction, percent = precision([0.9, 0.88, 0.5]), precision([90.0, 88.0, 50.0], score_bounds=(0, 100))
    assert fraction is not None
    assert percent is not None
    assert fraction.error == pytest.approx(0.0303, abs=1e-4)
    assert percent.error == pytest.approx(100 * fraction.error)
    assert percent.margin_error == pytest.approx(100 * fraction.margin_error)
    assert (percent.within_error, percent.indistinguishable) == (fraction.within_error, fraction.indistinguishable)


def test_a_score_from_minus_one_has_twice_the_error() -> None:
    fraction, correlation = precision([0.75, 0.5]), precision([0.5, 0.0], score_bounds=(-1, 1))
    assert fraction is not None
    assert correlation is not None
    assert correlation.error == pytest.approx(2 * fraction.error)


def test_without_bounds_or_validation_images_there_is_no_error() -> None:
    assert precision([1e6, 3.0], score_bounds=None) is None
    assert precision([0.5], data={"validation": 0}) is None
    assert precision([0.5], data={}) is None


@pytest.mark.parametrize("bounds", [(0.0, 100.0), (-1, 1), None])
def test_bounds_are_two_numbers_or_none(bounds: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Paced, "score_bounds", bounds)
    check_score_bounds(Paced)


@pytest.mark.parametrize("bounds", [(1.0, 0.0), (0.0,), 1.0, (0.0, float("inf")), ("0", "1"), (0.5, 0.5)])
def test_other_bounds_are_refused_before_the_search(bounds: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Paced, "score_bounds", bounds)
    with pytest.raises(ConfigError, match="^Paced.score_bounds is .*; two finite numbers, the lower first, or None"):
        check_score_bounds(Paced)
