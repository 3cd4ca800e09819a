"""Standard errors of scores, within the bounds that the trainable states."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from orchestrator.errors import ConfigError
from orchestrator.record.run_info import RunInfo, describe_run
from orchestrator.record.run_state import RunState
from orchestrator.report.score_precision import ScorePrecision, estimate_precision
from orchestrator.search.setup import check_score_bounds, check_unchanged
from tests.builders import STARTED, config, info, trial
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


def test_a_search_does_not_go_on_with_other_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    recorded: Any = SimpleNamespace(info=info(), check_images=lambda facts: None)
    components: Any = SimpleNamespace(trainable=Paced)
    check_unchanged(recorded, facts={}, events=[], components=components)
    monkeypatch.setattr(Paced, "score_bounds", (0.0, 100.0))
    with pytest.raises(ConfigError, match=r"score_bounds are \(0.0, 100.0\); they were \(0.0, 1.0\) when the search"):
        check_unchanged(recorded, facts={}, events=[], components=components)


@pytest.mark.parametrize("bounds", [(0.0, 100.0), None])
def test_bounds_are_recorded(bounds: tuple[float, float] | None) -> None:
    described = describe_run(config(), resources={}, data={}, score_bounds=bounds)
    read = RunInfo.model_validate_json(described.model_dump_json())
    assert read.bounds_of("val_accuracy") == bounds
    assert read.bounds_of("val_loss") is None
