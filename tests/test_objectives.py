"""Several objectives: the Pareto front, the best candidate, the order."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.config.components import make_scheduler
from orchestrator.config.search_config import ObjectivesSettings, SchedulerSettings
from orchestrator.errors import ConfigError
from orchestrator.objectives import dominates, losses_of
from orchestrator.record.events import Event, RunStarted, TrialSuggested
from orchestrator.record.recorded_run import RecordedRun
from orchestrator.record.run_directory import RunDirectory
from orchestrator.record.run_state import RunState
from orchestrator.report.terminal import leaderboard, report_json, run_summary
from orchestrator.search.setup import check_metrics
from tests.builders import at, info, trial

TWO = RunStarted(
    time=at(0),
    slots=2,
    objectives={"val_accuracy": "maximize", "macs": "minimize"},
    constraints={},
    distributions={},
)


def with_macs(events: list[Event], macs: int) -> list[Event]:
    costs = {"parameters": 10, "macs": macs, "activation_bytes": 30}
    return [
        event.model_copy(update={"costs": costs}) if isinstance(event, TrialSuggested) else event for event in events
    ]


def state_of(candidates: list[tuple[float, int]]) -> RunState:
    events: list[Event] = [TWO]
    for number, (score, macs) in enumerate(candidates):
        events += with_macs(trial(f"{number:05d}", [score], "completed"), macs)
    return RunState.replay(events)


CANDIDATES = st.lists(st.tuples(st.sampled_from([0.1, 0.2, 0.3, 0.4]), st.integers(1, 5)), max_size=12)


@given(CANDIDATES)
def test_the_incremental_front_is_the_one_found_by_comparing_all(candidates: list[tuple[float, int]]) -> None:
    def beats(first: tuple[float, int], second: tuple[float, int]) -> bool:
        return first[0] >= second[0] and first[1] <= second[1] and first != second

    expected = [
        f"{number:05d}"
        for number, candidate in enumerate(candidates)
        if not any(beats(other, candidate) for other in candidates)
    ]
    assert [member.trial_id for member in state_of(candidates).front] == expected


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3), st.integers(0, 3)), min_size=3, max_size=3))
def test_dominance_is_a_strict_partial_order(points: list[tuple[int, int, int]]) -> None:
    first, second, third = points
    assert not dominates(first, first)
    assert not (dominates(first, second) and dominates(second, first))
    if dominates(first, second) and dominates(second, third):
        assert dominates(first, third)


def test_only_completed_candidates_are_on_the_front() -> None:
    events = [*with_macs(trial("00000", [0.5], "completed"), 9), *with_macs(trial("00001", [0.9], "pruned"), 1)]
    state = RunState.replay([TWO, *events])
    assert [member.trial_id for member in state.front] == ["00000"]


def test_the_first_objective_decides_the_best_and_the_order() -> None:
    state = state_of([(0.3, 1), (0.4, 5), (0.2, 3)])
    assert state.best is state.trials["00001"]
    assert [found.trial_id for found in state.ranking()] == ["00001", "00000", "00002"]
    smallest_first = RunState.replay(
        [
            TWO.model_copy(update={"objectives": {"macs": "minimize"}}),
            *with_macs(trial("00000", [0.9], "completed"), 7),
            *with_macs(trial("00001", [0.1], "completed"), 3),
        ]
    )
    assert smallest_first.best is smallest_first.trials["00001"]


def test_the_next_objective_decides_ties_in_the_first() -> None:
    """So the best candidate is on the front, and first in the order."""
    state = state_of([(0.4, 7), (0.4, 5), (0.4, 6)])
    assert state.best is state.trials["00001"]
    assert state.front == [state.best]
    assert state.ranking()[0] is state.best


def test_a_candidate_without_a_value_has_no_losses() -> None:
    assert losses_of({"a": 1.0}.get, {"a": "maximize"}) == (-1.0,)
    assert losses_of({"a": 1.0}.get, {"a": "minimize", "b": "minimize"}) is None


def test_the_front_is_reported(tmp_path: Any) -> None:
    state = state_of([(0.3, 1), (0.4, 5_000), (0.2, 3)])
    text = run_summary(RecordedRun(RunDirectory.at(tmp_path), info()), state)
    assert "best        0.4000, macs 5,000 (trial 00001, 1 epoch)" in text
    assert "front       2 completed, not dominated by any other in val_accuracy and macs" in text
    assert "00000  val_accuracy 0.3000, macs 1" in text
    found = report_json(RecordedRun(RunDirectory.at(tmp_path), info()), state, top=None)
    assert [row["trial_id"] for row in found["front"]] == ["00000", "00001"]
    assert found["objectives"] == {"val_accuracy": "maximize", "macs": "minimize"}
    assert leaderboard(state, 10).row_count == 3


@pytest.mark.parametrize(
    ("objectives", "message"),
    [
        (
            {"maximize": ["val_acuracy"]},
            "objectives names 'val_acuracy'; this trainable has .*did you mean 'val_accuracy'",
        ),
        (
            {"minimize": ["latency"]},
            r"latency_seconds \(with trainable.measure_latency = true\); did you mean 'latency_seconds'",
        ),
        ({"minimize": ["latency_seconds"]}, "'latency_seconds' needs trainable.measure_latency = true"),
        ({"constraints": {"val_accuracy": 0.5}}, "objectives.constraints names 'val_accuracy'; what is known before"),
        ({"constraints": {"params": 5.0}}, "did you mean 'parameters'"),
    ],
)
def test_objectives_and_constraints_without_values_are_refused(objectives: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        check_metrics(ObjectivesSettings(**objectives), [], measures_latency=False)


def test_a_metric_of_the_trainable_may_be_an_objective() -> None:
    check_metrics(ObjectivesSettings(maximize=["margin"]), ["margin"], measures_latency=False)
    check_metrics(ObjectivesSettings(minimize=["latency_seconds"]), [], measures_latency=True)


@pytest.mark.parametrize(("maximize", "minimize"), [([], []), (["macs"], ["macs"]), (["val_loss", "val_loss"], [])])
def test_objectives_are_at_least_one_and_each_once(maximize: list[str], minimize: list[str]) -> None:
    with pytest.raises(ValueError, match="at least one objective is needed|is named twice"):
        ObjectivesSettings(maximize=maximize, minimize=minimize)


@pytest.mark.parametrize("name", ["median", "pasha"])
def test_a_scheduler_for_one_objective_is_refused_with_two(name: str) -> None:
    with pytest.raises(ConfigError, match=f"scheduler {name} is for one objective, and there are 2: .*asha.* handle"):
        make_scheduler(SchedulerSettings(name=name), 9, TWO.objectives)


@pytest.mark.parametrize(
    ("name", "count"), list(itertools.product(["asha", "asha_promotion", "cut", "fifo", "hyperband"], [1, 2]))
)
def test_the_other_schedulers_take_any_number_of_objectives(name: str, count: int) -> None:
    objectives = dict(list(TWO.objectives.items())[:count])
    assert make_scheduler(SchedulerSettings(name=name), 9, objectives)
