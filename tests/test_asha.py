from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ray.tune.schedulers import TrialScheduler

from orchestrator.schedulers.asha import AshaScheduler, Rung, rung_epochs


def asha(mode: str = "max", **settings: Any) -> AshaScheduler:
    scheduler = AshaScheduler(**{"max_epochs": 27, **settings})
    assert scheduler.set_search_properties("val_accuracy", mode)
    return scheduler


def report(scheduler: AshaScheduler, epoch: int, score: float) -> str:
    controller: Any = None
    return scheduler.on_trial_result(controller, controller, {"epoch": epoch, "val_accuracy": score})


@pytest.mark.parametrize(
    ("first", "factor", "last", "rungs"),
    [
        (1, 3, 243, (1, 3, 9, 27, 81)),
        (1, 3, 244, (1, 3, 9, 27, 81, 243)),
        (2, 4, 33, (2, 8, 32)),
        (1, 2, 9, (1, 2, 4, 8)),
        (5, 3, 5, ()),
    ],
)
def test_rungs_are_integers_below_the_whole_budget(first: int, factor: int, last: int, rungs: tuple[int, ...]) -> None:
    assert rung_epochs(first, factor, last) == rungs
    assert asha(min_epochs=first, reduction_factor=factor, max_epochs=last).milestones == rungs


def test_the_best_third_goes_on() -> None:
    scheduler = asha()
    decisions = [report(scheduler, 1, score) for score in (0.5, 0.4, 0.6, 0.55, 0.58, 0.57, 0.1)]
    kept = [decision == TrialScheduler.CONTINUE for decision in decisions]
    # 0.5 is the first; 0.4 is worse; 0.6 is the best of 3; then 1 of 4 and 5 may go on, and the best 2 of 6 and 7.
    assert kept == [True, False, True, False, False, False, False]


def test_between_rungs_nothing_is_decided_or_counted() -> None:
    scheduler = asha()
    for epoch in (2, 4, 5, 8, 10, 27):
        assert report(scheduler, epoch, 0.0) == TrialScheduler.CONTINUE
    assert not any(len(rung) for rung in scheduler.rungs.values())


def test_a_report_past_a_rung_does_not_enter_it() -> None:
    """Ray Tune's own enters the score of epoch 4 in the rung of epoch 1."""
    scheduler = asha()
    report(scheduler, 4, 0.99)
    assert len(scheduler.rungs[1]) == len(scheduler.rungs[3]) == 0
    assert report(scheduler, 1, 0.1) == TrialScheduler.CONTINUE


def test_rungs_do_not_mix() -> None:
    scheduler = asha()
    report(scheduler, 1, 0.9)
    assert report(scheduler, 3, 0.1) == TrialScheduler.CONTINUE


def test_equals_are_not_told_apart_by_their_order() -> None:
    scheduler = asha()
    assert {report(scheduler, 1, 0.5) for _ in range(9)} == {TrialScheduler.CONTINUE}


def test_a_metric_may_be_minimised() -> None:
    scheduler = asha(mode="min")
    assert report(scheduler, 1, 0.5) == TrialScheduler.CONTINUE
    assert report(scheduler, 1, 0.6) == TrialScheduler.STOP
    assert report(scheduler, 1, 0.4) == TrialScheduler.CONTINUE


@given(st.lists(st.floats(0, 1), min_size=1, max_size=60, unique=True), st.integers(2, 5))
def test_a_rung_lets_exactly_those_on_that_are_among_the_best_so_far(scores: list[float], factor: int) -> None:
    rung = Rung(factor)
    for count, score in enumerate(scores, start=1):
        better = sum(other > score for other in scores[: count - 1])
        assert rung.record(score) == (better < max(1, count // factor))
    assert len(rung) == len(scores)


def test_a_debug_string_says_how_far_trials_came() -> None:
    scheduler = asha(max_epochs=9)
    report(scheduler, 1, 0.5)
    assert scheduler.debug_string() == "ASHA: epoch 1: 1, epoch 3: 0"
