"""Proposals of the sampler: trained, or answered from the record."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from optuna.trial import FrozenTrial, TrialState

from orchestrator.errors import SearchError
from orchestrator.record.event_log import read_events
from orchestrator.record.events import TrialEnded, TrialImported, TrialStarted, TrialStatus
from orchestrator.record.run_state import UNBUILDABLE_IN_A_ROW, exhaustion
from orchestrator.record.trial import Trial
from orchestrator.search.driver import check_any_trained
from tests.builders import epoch
from tests.driving import PARAMS, SWAPPED, TINY, Hand, admitted, driven, new, plan_of
from trainables.storage import Folder

SWAPPED_BACK = {
    **PARAMS,
    "normal.0.right.operation": TINY.operations[1],
    "normal.0.right.state": 1,
}
"""The same cell as SWAPPED, with the two sides of its block exchanged."""


def in_study(hand: Hand, trial: Trial) -> FrozenTrial:
    return hand.settled().trials[trial.number]


def test_a_duplicate_gets_the_recorded_result_and_so_does_the_sampler(tmp_path: Path) -> None:
    with driven(tmp_path) as hand:
        hand.train(admitted(hand, SWAPPED), [0.1, 0.7])
        assert hand.admit(SWAPPED_BACK) is None
        again = hand.last()
        assert (again.status, again.duplicate_of, again.val_accuracy) == ("duplicate", "00000", 0.7)
        assert (again.attempt, again.train_seconds, again.started_at) == (0, 0.0, None)
        assert in_study(hand, again).state == TrialState.COMPLETE
        assert in_study(hand, again).value == 0.7
        assert in_study(hand, again).intermediate_values == {1: 0.1, 2: 0.7}
        assert hand.state.counts() == {"completed": 1, "duplicate": 1}
        assert hand.state.best is hand.state.trials["00000"]


@pytest.mark.parametrize(("status", "state"), [("pruned", TrialState.PRUNED), ("diverged", TrialState.FAIL)])
def test_a_duplicate_of_a_trial_that_did_not_complete_gets_its_state(
    status: TrialStatus, state: TrialState, tmp_path: Path
) -> None:
    with driven(tmp_path) as hand:
        hand.train(admitted(hand, PARAMS), [0.4], status)
        assert hand.admit(PARAMS) is None
        assert hand.last().status == "duplicate"
        assert in_study(hand, hand.last()).state == state


def test_a_failed_candidate_is_tried_again(tmp_path: Path) -> None:
    with driven(tmp_path) as hand:
        hand.train(admitted(hand, PARAMS), [], "failed")
        assert admitted(hand, PARAMS).trial_id == "00001"


def test_a_duplicate_of_a_running_trial_waits_for_its_result(tmp_path: Path) -> None:
    with driven(tmp_path) as hand:
        first = admitted(hand, PARAMS)
        assert hand.admit(PARAMS) is None
        assert hand.admit(PARAMS) is None
        third = hand.last()
        assert hand.state.counts() == {"waiting": 3}
        hand.train(first, [0.6])
        assert hand.state.counts() == {"completed": 1, "duplicate": 2}
        assert in_study(hand, third).value == 0.6


def test_a_trial_that_waited_for_one_that_failed_is_trained(tmp_path: Path) -> None:
    with driven(tmp_path) as hand:
        first = admitted(hand, PARAMS)
        hand.admit(PARAMS)
        hand.admit(PARAMS)
        assert hand.candidates.next() is None
        hand.train(first, [], "failed")
        second = hand.candidates.next()
        assert second is not None
        assert second.trial_id == "00001"
        assert hand.candidates.next() is None
        hand.train(second, [0.5])
        assert hand.state.trials["00002"].duplicate_of == "00001"


@pytest.mark.parametrize("continues", [True, False])
def test_a_pruned_candidate_is_trained_again_only_if_the_scheduler_would_now_continue_it(
    continues: bool, tmp_path: Path
) -> None:
    calls: list[Any] = []

    class Rungs:
        def would_continue(self, epoch: int, row: Mapping[str, Any]) -> bool:
            calls.append((epoch, row["val_accuracy"], row["parameters"]))
            return continues

    with driven(tmp_path, scheduler=Rungs()) as hand:
        first = admitted(hand, PARAMS)
        hand.train(first, [0.2, 0.3, 0.4], "pruned")
        again = hand.admit(PARAMS)
        assert calls == [(3, 0.4, first.parameters)]
        assert (again is not None) == continues
        if again is not None:
            hand.train(again, [0.2, 0.3, 0.4, 0.8])
            assert hand.admit(PARAMS) is None
            assert hand.last().duplicate_of == again.trial_id
        else:
            assert hand.last().duplicate_of == first.trial_id


def test_a_candidate_that_breaks_a_constraint_is_not_trained_and_counts_as_a_violation(tmp_path: Path) -> None:
    costs = plan_of().costs(TINY.decode(PARAMS))
    with driven(tmp_path, constraints={"parameters": costs["parameters"] - 1, "macs": costs["macs"]}) as hand:
        assert hand.admit(PARAMS) is None
        trial = hand.last()
        assert trial.status == "infeasible"
        assert trial.error is not None
        assert f"parameters is {costs['parameters']:,.0f}, above the constraint" in trial.error
        assert "macs" not in trial.error
        assert in_study(hand, trial).state == TrialState.PRUNED
        assert in_study(hand, trial).constraints == {"parameters": 1, "macs": 0}
        assert hand.state.front == []


def test_after_a_hundred_infeasible_proposals_the_user_is_told_how_close_they_came(tmp_path: Path) -> None:
    said: list[str] = []
    limits = {"parameters": 2_000.0, "macs": 1e9}
    with driven(tmp_path, constraints=limits, say=said.append) as hand:
        for _ in range(99):
            hand.admit(PARAMS)
        assert said == []
        hand.admit(SWAPPED)
        costs = min(trial.costs["parameters"] for trial in hand.state.trials.values())
        assert said == [
            f"no new candidate meets the constraints: smallest of 100: {costs:,.0f} parameters; the limit is 2,000 "
            "(objectives.constraints)"
        ]
        for _ in range(200):
            hand.admit(PARAMS)
        assert len(said) == 1


def test_the_user_is_told_how_close_the_proposals_came_that_followed_a_trained_one(tmp_path: Path) -> None:
    small, large = sorted((PARAMS, SWAPPED), key=lambda params: plan_of().costs(TINY.decode(params))["parameters"])
    near, far = (plan_of().costs(TINY.decode(params))["parameters"] for params in (small, large))
    said: list[str] = []
    with driven(tmp_path, constraints={"parameters": near}, say=said.append) as hand:
        assert hand.admit(small) is not None
        for _ in range(100):
            hand.admit(large)
    assert said == [
        f"no new candidate meets the constraints: smallest of 100: {far:,.0f} parameters; the limit is {near:,.0f} "
        "(objectives.constraints)"
    ]


def test_infeasible_proposals_count_only_if_they_come_no_closer(tmp_path: Path) -> None:
    near, far = sorted((PARAMS, SWAPPED), key=lambda params: plan_of().costs(TINY.decode(params))["parameters"])
    assert plan_of().costs(TINY.decode(near)) != plan_of().costs(TINY.decode(far))
    with driven(tmp_path, constraints={"parameters": 1.0}) as hand:
        for params, count in ((far, 0), (far, 1), (far, 2), (near, 0), (far, 1), (near, 2)):
            hand.admit(params)
            assert hand.candidates.known_in_a_row == count


@pytest.mark.parametrize(
    ("share", "begins_with", "proposals"),
    [(0.9, [], 31), (0.4, [], 21), (0.4, [SWAPPED], 31)],
    ids=["close", "far", "far after a candidate that meets them"],
)
def test_a_sampler_that_repeats_infeasible_candidates_ends_the_search(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, share: float, begins_with: list[dict[str, Any]], proposals: int
) -> None:
    monkeypatch.setattr("orchestrator.search.candidates.MAX_KNOWN_IN_A_ROW", 30)
    monkeypatch.setattr("orchestrator.search.candidates.MAX_FAR_IN_A_ROW", 20)
    with driven(tmp_path) as hand:
        for params in begins_with:
            admitted(hand, params)
        hand.state.constraints["parameters"] = share * plan_of().costs(TINY.decode(PARAMS))["parameters"]
        found = 0
        while not hand.candidates.is_exhausted:
            hand.admit(PARAMS)
            found += 1
        assert found == proposals


def test_a_candidate_within_the_constraints_is_trained_and_counts_as_feasible(tmp_path: Path) -> None:
    with driven(tmp_path, constraints={"parameters": 1e9}) as hand:
        trial = admitted(hand, PARAMS)
        assert all(excess <= 0 for excess in in_study(hand, trial).constraints.values())


def test_proposals_that_need_no_training_are_counted_until_a_new_one_comes(tmp_path: Path) -> None:
    with driven(tmp_path) as hand:
        hand.train(admitted(hand, PARAMS), [0.6])
        for number in range(1, 4):
            hand.admit(PARAMS)
            assert hand.candidates.known_in_a_row == number
        admitted(hand, SWAPPED)
        assert hand.candidates.known_in_a_row == 0


def test_another_runs_results_teach_the_sampler_and_answer_duplicates(tmp_path: Path) -> None:
    architecture = TINY.decode(PARAMS)
    old = TrialImported(
        trial_id="old/00007",
        params=PARAMS,
        architecture=architecture.to_json(),
        fingerprint=architecture.fingerprint,
        costs=plan_of().costs(architecture),
        latency_seconds=None,
        status="completed",
        curve=[epoch("00007", 1, 0.3), epoch("00007", 2, 0.8)],
    )
    with driven(tmp_path, imported=[old]) as hand:
        first = hand.settled().trials[0]
        assert (first.state, first.value, first.user_attrs["trial_id"]) == (TrialState.COMPLETE, 0.8, "old/00007")
        assert hand.admit(PARAMS) is None
        assert (hand.last().trial_id, hand.last().duplicate_of) == ("00000", "old/00007")
        assert in_study(hand, hand.last()).value == 0.8
        assert list(hand.state.trials) == ["00000"]


def test_a_known_result_is_not_lost_when_its_second_training_fails(tmp_path: Path) -> None:
    class Lenient:
        def would_continue(self, epoch: int, row: Mapping[str, Any]) -> bool:
            return epoch < 3

    with driven(tmp_path, scheduler=Lenient()) as hand:
        hand.train(admitted(hand, PARAMS), [0.2], "pruned")
        hand.train(admitted(hand, PARAMS), [], "failed")
        again = admitted(hand, PARAMS)  # the first result still counts, and the scheduler decides about it again
        hand.train(again, [0.2, 0.3, 0.4], "pruned")
        assert hand.admit(PARAMS) is None
        assert hand.last().duplicate_of == again.trial_id


def test_trials_that_still_wait_at_the_end_fail_with_the_reason(tmp_path: Path) -> None:
    with driven(tmp_path) as hand:
        first = admitted(hand, PARAMS)
        hand.admit(PARAMS)
        hand.admit(PARAMS)
        hand.train(first, [], "failed")
        hand.candidates.give_up()
        assert hand.state.counts() == {"failed": 3}
        assert "it waited for a trial of the same candidate" in (hand.last().error or "")


def test_proposals_that_a_resume_with_a_smaller_budget_leaves_stay_open(tmp_path: Path) -> None:
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
    with driven(tmp_path / "first") as hand:
        hand.train(new(hand), [0.5])
        left = new(hand)
    before = read_events(Folder.at(tmp_path / "first"))
    with driven(tmp_path / "second", before=list(before), budget=1) as hand:
        assert (hand.candidates.is_full, hand.candidates.next()) == (True, None)
        hand.candidates.give_up()
        assert hand.state.trials[left.trial_id].status == "running"


def test_waiting_proposals_do_not_count_as_known(tmp_path: Path) -> None:
    with driven(tmp_path) as hand:
        first = admitted(hand, PARAMS)
        for number in range(1, 5):
            hand.admit(PARAMS)
            assert (hand.candidates.known_in_a_row, hand.candidates.waiting_in_a_row) == (0, number)
        hand.train(first, [0.5])
        assert hand.candidates.waiting_in_a_row == 0


def test_a_space_of_which_no_network_can_be_built_is_given_up_soon_with_the_reason(tmp_path: Path) -> None:
    with driven(tmp_path, space=replace(TINY, operations=("not_there:x", "not_there:y"))) as hand:
        for _ in range(UNBUILDABLE_IN_A_ROW):
            assert not hand.candidates.is_exhausted
            assert hand.admit() is None
        assert hand.candidates.is_exhausted
        assert "module 'not_there' cannot be imported" in exhaustion(hand.state)
        assert f"from {UNBUILDABLE_IN_A_ROW} proposals in a row" in exhaustion(hand.state)
        with pytest.raises(
            SearchError, match=r"nothing could be trained: 100 trials failed; the first: operation 'not_t"
        ):
            check_any_trained(hand.state)


def test_a_search_with_one_epoch_has_trained_something(tmp_path: Path) -> None:
    with driven(tmp_path) as hand:
        hand.train(admitted(hand, PARAMS), [], "failed")
        with pytest.raises(SearchError, match="nothing could be trained: 1 trial failed"):
            check_any_trained(hand.state)
        hand.train(admitted(hand, SWAPPED), [0.5], "failed")
        check_any_trained(hand.state)


def test_a_search_in_which_every_trial_diverged_has_trained_nothing(tmp_path: Path) -> None:
    with driven(tmp_path) as hand:
        diverged = admitted(hand, PARAMS)
        hand.log.append(TrialStarted(trial_id=diverged.trial_id, attempt=1), epoch(diverged.trial_id, 1, math.nan))
        hand.log.append(TrialEnded(trial_id=diverged.trial_id, status="diverged", error="a loss is not finite"))
        hand.train(admitted(hand, SWAPPED), [], "failed")
        with pytest.raises(SearchError, match="trained: 1 trial diverged, 1 trial failed; the first: a loss is not"):
            check_any_trained(hand.state)
