"""Tests of ASHA's stopping variant."""

from __future__ import annotations

import math
from typing import Any

import pytest
from ray.tune.schedulers import TrialScheduler

from orchestrator.schedulers.asha import AshaScheduler
from orchestrator.schedulers.brackets import Brackets
from orchestrator.simulation.controller import SimulatedTrial

CONTROLLER: Any = None


def asha(mode: str = "max", **settings: Any) -> AshaScheduler:
    scheduler = AshaScheduler(**{"max_epochs": 27, **settings})
    assert scheduler.set_search_properties("val_accuracy", mode)
    return scheduler


def trial(number: int) -> Any:
    return SimulatedTrial(trial_id=f"{number:05d}", config={})


def report(scheduler: AshaScheduler, number: int, epoch: int, score: float, **others: float) -> str:
    return scheduler.on_trial_result(CONTROLLER, trial(number), {"epoch": epoch, "val_accuracy": score, **others})


def test_the_best_third_continues() -> None:
    scheduler = asha()
    scores = (0.5, 0.4, 0.6, 0.55, 0.58, 0.57, 0.1)
    kept = [
        report(scheduler, number, epoch=1, score=score) == TrialScheduler.CONTINUE
        for number, score in enumerate(scores)
    ]
    # 0.5 is the first; 0.4 is worse; 0.6 is the best of 3. Then 1 of 4 and of 5 passes, and the best 2 of 6 and of 7.
    assert kept == [True, False, True, False, False, False, False]


def test_reports_between_rungs_continue_and_do_not_count() -> None:
    scheduler = asha()
    for epoch in (2, 4, 5, 8, 10, 27):
        assert report(scheduler, 0, epoch, 0.0) == TrialScheduler.CONTINUE
    assert scheduler.rung_sizes == [{1: 0, 3: 0, 9: 0}]


def test_a_report_past_a_rung_does_not_enter_it() -> None:
    """Ray Tune's ASHA enters the score of epoch 4 in the rung of epoch 1."""
    scheduler = asha()
    report(scheduler, 0, 4, 0.99)
    assert scheduler.rung_sizes == [{1: 0, 3: 0, 9: 0}]
    assert report(scheduler, 1, 1, 0.1) == TrialScheduler.CONTINUE


def test_rungs_are_independent() -> None:
    scheduler = asha()
    report(scheduler, 0, 1, 0.9)
    assert report(scheduler, 1, 3, 0.1) == TrialScheduler.CONTINUE


def test_equal_scores_get_the_same_decision() -> None:
    scheduler = asha()
    assert {report(scheduler, number, 1, 0.5) for number in range(9)} == {TrialScheduler.CONTINUE}


def test_a_metric_can_be_minimised() -> None:
    scheduler = asha(mode="min")
    assert report(scheduler, 0, 1, 0.5) == TrialScheduler.CONTINUE
    assert report(scheduler, 1, 1, 0.6) == TrialScheduler.STOP
    assert report(scheduler, 2, 1, 0.4) == TrialScheduler.CONTINUE


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, None])
def test_a_value_that_is_missing_or_not_finite_passes_no_rung_and_counts_as_the_worst(value: Any) -> None:
    scheduler = asha()
    assert report(scheduler, 0, 2, value) == TrialScheduler.CONTINUE
    assert report(scheduler, 0, 3, value) == TrialScheduler.STOP
    assert scheduler.rung_sizes == [{1: 0, 3: 1, 9: 0}]
    assert not scheduler.would_continue(3, {"val_accuracy": value})
    assert report(scheduler, 1, 3, 0.0) == TrialScheduler.CONTINUE


def test_diverged_trials_count_in_the_third_that_passes() -> None:
    scheduler = asha()
    for number in range(6):
        scheduler.on_trial_complete(CONTROLLER, trial(number), {"epoch": 1, "val_accuracy": 0.5, "diverged": True})
    kept = [report(scheduler, number, 1, 0.9 - number / 100) for number in range(6, 12)]  # the best first
    # Of 7 and 8 trials the best 2 pass, of 9 the best 3; the fourth of 10, the fifth of 11 and the sixth of 12 do not.
    assert kept == [TrialScheduler.CONTINUE] * 3 + [TrialScheduler.STOP] * 3


def test_a_trial_that_diverges_between_rungs_counts_in_the_next_one_also_after_a_replay() -> None:
    scheduler = asha()
    scheduler.on_trial_complete(CONTROLLER, trial(0), {"epoch": 2, "val_accuracy": 0.5, "diverged": True})
    assert scheduler.rung_sizes == [{1: 0, 3: 1, 9: 0}]
    scheduler.replay("00001", [{"epoch": 1, "val_accuracy": 0.9}, {"epoch": 2, "val_accuracy": 0.9, "diverged": True}])
    assert scheduler.rung_sizes == [{1: 1, 3: 2, 9: 0}]
    assert report(scheduler, 2, 1, 0.8) == TrialScheduler.STOP  # the second had passed
    scheduler.on_trial_complete(CONTROLLER, trial(3), {"epoch": 10, "val_accuracy": None})
    scheduler.on_trial_complete(CONTROLLER, trial(4), {})
    assert scheduler.rung_sizes == [{1: 2, 3: 2, 9: 0}]


def test_several_objectives_are_ranked_by_fronts() -> None:
    scheduler = asha(objectives={"val_accuracy": "maximize", "macs": "minimize"})
    assert report(scheduler, 0, 1, 0.5, macs=10) == TrialScheduler.CONTINUE
    assert report(scheduler, 1, 1, 0.4, macs=12) == TrialScheduler.STOP  # worse in both
    assert report(scheduler, 2, 1, 0.3, macs=2) == TrialScheduler.CONTINUE  # the cheapest
    assert (
        report(scheduler, 3, 1, 0.4, macs=6) == TrialScheduler.STOP
    )  # on the front, but with a smaller crowding distance than its ends
    assert report(scheduler, 4, 1, 0.9, macs=math.nan) == TrialScheduler.STOP


def test_a_last_result_counts_although_there_is_no_decision_on_it() -> None:
    scheduler = asha()
    scheduler.on_trial_complete(CONTROLLER, trial(0), {"epoch": 3, "val_accuracy": 0.9})
    assert scheduler.rung_sizes == [{1: 0, 3: 1, 9: 0}]
    assert report(scheduler, 1, 3, 0.8) == TrialScheduler.STOP


def test_a_trials_bracket_depends_on_its_number_alone() -> None:
    """A resume adds trials in another order, and leaves some out."""
    first, again = (Brackets(max_epochs=9, min_epochs=1, reduction_factor=3, brackets=3, objectives=1) for _ in "ab")
    names = [f"{number:05d}" for number in range(20)]
    known = {name: list(first.admit(name)) for name in names}
    assert {name: list(again.admit(name)) for name in reversed(names[::2])} == {
        name: known[name] for name in names[::2]
    }


def test_brackets_start_at_successive_rungs_and_have_hyperbands_sizes() -> None:
    scheduler = asha(brackets=4)
    for number in range(98):
        scheduler.on_trial_add(CONTROLLER, trial(number))
        for epoch in (1, 3, 9):
            report(scheduler, number, epoch, 0.5)
    # Of every 49 trials, Hyperband assigns 27, 12, 6 and 4 to the brackets with 3, 2, 1 and 0 halvings.
    assert scheduler.rung_sizes == [{1: 54, 3: 54, 9: 54}, {3: 24, 9: 24}, {9: 12}, {}]
    assert scheduler.milestones == (1, 3, 9)


def test_a_trial_keeps_its_bracket_after_an_error() -> None:
    scheduler = asha(brackets=3)
    first = trial(0)
    scheduler.on_trial_add(CONTROLLER, first)
    scheduler.on_trial_error(CONTROLLER, first)
    scheduler.on_trial_add(CONTROLLER, first)
    for number in range(1, 45):
        scheduler.on_trial_add(CONTROLLER, trial(number))
    for number in range(45):
        report(scheduler, number, 9, 0.5)
    assert [sizes[9] for sizes in scheduler.rung_sizes] == [27, 12, 6]


def test_a_replay_uses_the_records_names() -> None:
    scheduler = asha()
    scheduler.replay("00000", [{"epoch": epoch, "val_accuracy": 0.2} for epoch in (1, 2)])
    scheduler.replay("00001", [{"epoch": 1, "val_accuracy": 0.9}])
    scheduler.replay("00002", [])
    assert scheduler.rung_sizes == [{1: 2, 3: 0, 9: 0}]
    scheduler.identify("tune-a", "00000")
    resumed: Any = SimulatedTrial(trial_id="tune-a", config={})
    again = {"epoch": 1, "val_accuracy": 0.1}
    assert scheduler.on_trial_result(CONTROLLER, resumed, again) == TrialScheduler.CONTINUE  # it passed before
    assert scheduler.rung_sizes == [{1: 2, 3: 0, 9: 0}]
    assert report(scheduler, 3, 1, 0.8) == TrialScheduler.STOP


def test_a_rung_that_was_passed_before_a_resume_is_not_decided_again() -> None:
    """The first trial's last row is at a rung, but its checkpoint is older: it reaches the rung a second time."""
    scheduler = asha()
    for number, score in enumerate((0.5, 0.6, 0.7)):
        scheduler.replay(f"{number:05d}", [{"epoch": 1, "val_accuracy": score}])
    scheduler.identify("tune-a", "00000")
    resumed: Any = SimulatedTrial(trial_id="tune-a", config={})
    scheduler.on_trial_add(CONTROLLER, resumed)
    again = {"epoch": 1, "val_accuracy": 0.5}
    assert scheduler.on_trial_result(CONTROLLER, resumed, again) == TrialScheduler.CONTINUE
    assert report(scheduler, 3, 1, 0.5) == TrialScheduler.STOP


def test_would_continue_changes_nothing() -> None:
    scheduler = asha()
    report(scheduler, 0, 1, 0.5)
    assert [scheduler.would_continue(1, {"val_accuracy": score}) for score in (0.4, 0.5, 0.6)] == [False, True, True]
    assert scheduler.would_continue(2, {"val_accuracy": 0.0})
    assert scheduler.rung_sizes == [{1: 1, 3: 0, 9: 0}]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"min_epochs": 0}, "min_epochs is 0"),
        ({"reduction_factor": 1}, "reduction_factor is 1"),
        ({"max_epochs": 0}, "max_epochs is 0"),
        ({"brackets": 5}, "brackets is 5; .* between 1 and 4"),
        ({"brackets": 0}, "brackets is 0"),
        ({"objectives": {}}, "objectives is empty"),
        ({"objectives": {"macs": "min"}}, "'min'; it must be 'maximize' or 'minimize'"),
    ],
)
def test_settings_out_of_bounds_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        asha(**settings)


def test_a_missing_metric_is_refused() -> None:
    assert not AshaScheduler(max_epochs=27).set_search_properties(None, None)


def test_the_debug_string_counts_the_trials_of_each_rung() -> None:
    scheduler = asha(max_epochs=9, brackets=2)
    report(scheduler, 0, 1, 0.5)
    assert scheduler.debug_string() == "AshaScheduler: epoch 1: 1, epoch 3: 0; epoch 3: 0"
