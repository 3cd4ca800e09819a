"""The study hears the truth, live and on replay alike."""

from __future__ import annotations

import threading
import time
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest
from optuna.samplers import NSGAIISampler, RandomSampler, TPESampler
from optuna.trial import TrialState

from orchestrator.errors import SearchError
from orchestrator.objectives import Direction
from orchestrator.record.event_log import read_events
from orchestrator.record.events import TrialBuilt
from orchestrator.record.run_state import RunState
from orchestrator.samplers import SAMPLERS
from orchestrator.samplers.history import CURVES, END_PLACE, ended_trials, finished_trials, has_ended
from orchestrator.study.replay import rebuild_study
from tests.builders import at
from tests.driving import Hand, busy, driven, new, promoting, trial_facts
from trainables.storage import Folder

MOST_MACS = 150_000
"""Four in five random candidates are below it."""

OBJECTIVES: list[dict[str, Direction]] = [
    {"val_accuracy": "maximize"},
    {"val_loss": "minimize"},
    {"macs": "minimize"},
    {"val_accuracy": "maximize", "macs": "minimize"},
]


@pytest.mark.parametrize("objectives", OBJECTIVES, ids=lambda objectives: "+".join(objectives))
@pytest.mark.parametrize("make", [RandomSampler, partial(NSGAIISampler, population_size=10)], ids=["random", "nsgaii"])
def test_the_study_that_replay_gives_is_the_one_that_the_sampler_saw(
    objectives: dict[str, Direction], make: Any, tmp_path: Path
) -> None:
    with driven(tmp_path, make(seed=1), objectives=objectives, constraints={"macs": MOST_MACS}) as hand:
        busy(hand, 30)
        live = hand.settled()
        state = RunState.replay(read_events(Folder.at(tmp_path)))
        replayed = rebuild_study(state)
        *seen, ahead = live.trials
        assert ahead.state == TrialState.RUNNING  # asked ahead, and not on record yet
        assert [trial_facts(trial) for trial in replayed.trials] == [trial_facts(trial) for trial in seen]
        assert replayed.directions == live.directions
        assert state.study_attributes == live._storage.get_study_system_attrs(live._study_id)
        assert {trial.state for trial in replayed.trials} == {
            TrialState.COMPLETE,
            TrialState.PRUNED,
            TrialState.FAIL,
            TrialState.RUNNING,
        }
        assert state.counts()["infeasible"] > 0


def test_a_pruned_trial_has_its_curve_with_a_latency_as_an_objective(tmp_path: Path) -> None:
    with driven(tmp_path, objectives={"val_accuracy": "maximize", "latency_seconds": "minimize"}) as hand:
        trial = new(hand)
        hand.log.append(TrialBuilt(trial_id=trial.trial_id, node="here", device="cpu", latency_seconds=0.25))
        hand.train(trial, [0.3, 0.4], "pruned")
        pruned, *_ = hand.settled().trials
        assert pruned.user_attrs[CURVES] == [[1, 0.3, 0.25], [2, 0.4, 0.25]]


def test_only_a_whole_budget_is_complete_and_curves_count_the_trials_own_epochs(tmp_path: Path) -> None:
    with driven(tmp_path) as hand:
        whole, stopped = new(hand), new(hand)
        hand.train(whole, [0.1, 0.2, 0.9])
        hand.train(stopped, [0.3, 0.4], "pruned")
        first, second, *_ = hand.settled().trials
        assert (first.state, first.value) == (TrialState.COMPLETE, 0.9)
        assert second.state == TrialState.PRUNED
        assert second.intermediate_values == {1: 0.3, 2: 0.4}


def test_trials_end_in_the_order_of_the_log_whatever_the_clocks_say(tmp_path: Path) -> None:
    """In the hour that occurs twice in autumn, a later end has an earlier local time."""
    with driven(tmp_path) as hand:
        first, second, third = new(hand), new(hand), new(hand)
        for trial in (second, third, first):
            hand.train(trial, [0.5])
        live = hand.settled()
        state = RunState.replay(read_events(Folder.at(tmp_path)))
    state.trials[second.trial_id].ended_at = at(7200)
    state.trials[third.trial_id].ended_at = at(3600)
    for study in (live, rebuild_study(state)):
        assert [trial.number for trial in ended_trials(study)] == [1, 2, 0]
    ended = sorted(state.trials.values(), key=lambda trial: trial.end_place or 0)
    assert [trial.trial_id for trial in ended] == [second.trial_id, third.trial_id, first.trial_id]


@pytest.mark.parametrize("objectives", OBJECTIVES, ids=lambda objectives: "+".join(objectives))
def test_a_paused_trial_counts_as_ended_until_it_continues(objectives: dict[str, Direction], tmp_path: Path) -> None:
    """Its state is the true one all the time; only an attribute says that it is paused."""
    with driven(tmp_path, objectives=objectives) as hand:
        first, second = new(hand), new(hand)
        for trial in (second, first):
            hand.pause(trial, [0.5])
        paused = hand.settled().trials
        assert [trial.number for trial in finished_trials(hand.live.study)] == [1, 0]
        hand.go_on(second, [0.6])
        continued = hand.settled().trials
        assert [trial.number for trial in finished_trials(hand.live.study)] == [0]
        hand.end(second, "pruned")
        hand.settled()
        assert [trial.number for trial in finished_trials(hand.live.study)] == [0, 1]
    assert [trial.state for trial in paused] == [trial.state for trial in continued] == [TrialState.RUNNING] * 3
    places = [[trial.user_attrs.get(END_PLACE) for trial in trials] for trials in (paused, continued)]
    assert places == [[1, 0, None], [1, None, None]]


@pytest.mark.parametrize("objectives", OBJECTIVES, ids=lambda objectives: "+".join(objectives))
def test_a_study_with_paused_trials_is_rebuilt_as_it_was(objectives: dict[str, Direction], tmp_path: Path) -> None:
    with driven(tmp_path, objectives=objectives) as hand:
        promoting(hand, 24)
        *live, ahead = hand.settled().trials
        assert END_PLACE not in ahead.user_attrs
    replayed = rebuild_study(RunState.replay(read_events(Folder.at(tmp_path)))).trials
    assert [trial_facts(trial) for trial in replayed] == [trial_facts(trial) for trial in live]
    open_trials = [trial.user_attrs for trial in live if trial.state == TrialState.RUNNING]
    places = {attributes[END_PLACE] for attributes in open_trials if END_PLACE in attributes}
    assert None in places  # it has continued
    assert len(places) > 1
    assert {trial.state for trial in live} == {TrialState.RUNNING, TrialState.PRUNED, TrialState.COMPLETE}


@pytest.mark.parametrize(
    ("name", "options"),
    [("predictor", {"initial": 4}), ("evolution", {"population": 4}), ("local_search", {"initial": 2})],
)
def test_a_search_with_paused_trials_goes_on_alike_when_it_is_rebuilt(
    name: str, options: dict[str, Any], tmp_path: Path
) -> None:
    """What a sampler has learned from a paused trial is void after the trial has continued."""
    folders = [tmp_path / word for word in ("old", "new")]
    for folder in folders:
        folder.mkdir()
    with driven(folders[0], SAMPLERS[name](seed=5, **options)) as hand:
        promoting(hand, 11)
        trial = new(hand)
        for score in (0.1, 0.9):
            hand.pause(trial, [score])
            proposed(hand, 2)
        before = list(read_events(Folder.at(folders[0])))
        expected = proposed(hand, 4)
    with driven(folders[1], SAMPLERS[name](seed=5, **options), before=before) as hand:
        assert proposed(hand, 4) == expected


def test_open_trials_are_known_to_the_sampler(tmp_path: Path) -> None:
    with driven(tmp_path) as hand:
        for _ in range(3):
            new(hand)
        assert [trial.state for trial in hand.settled().trials] == [TrialState.RUNNING] * 4


@pytest.mark.parametrize("name", ["tpe", "random", "evolution", "local_search", "nsgaii"])
def test_a_search_that_is_rebuilt_from_its_log_goes_on_as_it_would_have(name: str, tmp_path: Path) -> None:
    """Nothing is pickled: the log and the seed decide all that follows."""
    options = {"population_size": 6} if name == "nsgaii" else {"population": 8} if name == "evolution" else {}
    folders = [tmp_path / word for word in ("old", "one", "two")]
    for folder in folders:
        folder.mkdir()
    found = []
    with driven(folders[0], SAMPLERS[name](seed=5, **options)) as hand:
        busy(hand, 20)
        before = list(read_events(Folder.at(folders[0])))
        found.append(proposed(hand, 4))
    for folder in folders[1:]:
        with driven(folder, SAMPLERS[name](seed=5, **options), before=before) as hand:
            assert len(hand.settled().trials) == len(hand.state.trials) + 1
            found.append(proposed(hand, 4))
    assert found[0] == found[1] == found[2]


def proposed(hand: Hand, count: int) -> list[dict[str, Any]]:
    """What the sampler proposes next, while nothing ends."""
    for _ in range(count):
        hand.admit()
    return [trial.params for trial in list(hand.state.trials.values())[-count:]]


def test_the_sampler_learns_from_what_it_is_told(tmp_path: Path) -> None:
    """TPE comes to prefer the better half of the space; with wrong values it would not."""
    chosen = []
    with driven(tmp_path, TPESampler(seed=0, n_startup_trials=10)) as hand:
        for _ in range(60):
            trial = new(hand)
            good = trial.params["normal.0.left.state"] == 0
            chosen.append(good)
            hand.train(trial, [0.1, 0.8 if good else 0.2])
    assert chosen[30:].count(True) > 24


class Slow(RandomSampler):
    """Takes its time, and tells when it is asked."""

    def __init__(self) -> None:
        super().__init__(seed=0)
        self.go = threading.Event()

    def infer_relative_search_space(self, study: Any, trial: Any) -> dict[str, Any]:
        self.go.wait(10)
        return {}


def test_a_slow_sampler_keeps_nobody_waiting(tmp_path: Path) -> None:
    sampler = Slow()
    with driven(tmp_path, sampler) as hand:
        started = time.monotonic()
        assert hand.live.take(wait=False) is None
        assert time.monotonic() - started < 5
        sampler.go.set()
        assert hand.take().params


def test_one_suggestion_is_ready_before_it_is_asked_for(tmp_path: Path) -> None:
    with driven(tmp_path) as hand:
        assert len(hand.settled().trials) == 1
        hand.admit()
        assert len(hand.settled().trials) == 2


def test_what_the_sampler_raises_ends_the_search_with_its_reason(tmp_path: Path) -> None:
    class Broken(RandomSampler):
        def infer_relative_search_space(self, study: Any, trial: Any) -> dict[str, Any]:
            raise ZeroDivisionError("no way")

    reason = r"the sampler failed: ZeroDivisionError: no way \(test_live_study.py, line \d+; sampler.name\)"
    with driven(tmp_path, Broken()) as hand, pytest.raises(SearchError, match=reason):
        hand.take()


def test_a_value_that_equals_a_choice_is_taken_as_the_choice(tmp_path: Path) -> None:
    """Such as a number of numpy, which the record could not hold."""

    class OfNumpy(RandomSampler):
        def sample_independent(self, study: Any, trial: Any, param_name: str, param_distribution: Any) -> Any:
            return np.array(param_distribution.choices)[-1]

    with driven(tmp_path, OfNumpy()) as hand:
        assert {type(value) for value in hand.take().params.values()} <= {int, str}


def test_the_seconds_that_asking_took_are_told(tmp_path: Path) -> None:
    class Sleepy(RandomSampler):
        def infer_relative_search_space(self, study: Any, trial: Any) -> dict[str, Any]:
            time.sleep(0.05)
            return {}

    with driven(tmp_path, Sleepy()) as hand:
        assert hand.take().seconds >= 0.05


def test_a_study_without_trials_can_be_replayed() -> None:
    state = RunState(objectives={"val_accuracy": "maximize"})
    study = rebuild_study(state)
    assert study.trials == []
    assert study.direction == optuna.study.StudyDirection.MAXIMIZE


def test_a_proposal_that_ends_at_once_is_a_running_one_for_the_next(tmp_path: Path) -> None:
    """As for a resume, which asks with the record up to the proposal. The sampler's thread may be late."""
    seen: list[bool] = []

    class Looks(RandomSampler):
        def infer_relative_search_space(self, study: Any, trial: Any) -> dict[str, Any]:
            trials = study.get_trials(deepcopy=False)
            seen.extend(has_ended(one) for one in trials if one.number == trial.number - 1)
            time.sleep(0.01)
            return {}

    with driven(tmp_path, Looks(), constraints={"parameters": 1}) as hand:
        for _ in range(10):
            assert hand.admit() is None
    assert seen
    assert not any(seen)
