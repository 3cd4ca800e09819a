"""The suggestions that Ray Tune gets from the searcher, and the distributions that Optuna gets."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.samplers import BruteForceSampler, RandomSampler
from ray import tune
from ray.tune.search import Searcher

from orchestrator.record.events import TrialSetBack
from orchestrator.record.run_state import exhaustion
from orchestrator.record.trial import Trial
from orchestrator.search.searcher import MAX_WAITING_IN_A_ROW, OptunaSearcher
from orchestrator.study.distributions import to_distribution
from tests.driving import FOUR, Hand, driven


def searcher_of(hand: Hand, **settings: Any) -> tuple[OptunaSearcher, dict[str, str]]:
    assigned: dict[str, str] = {}

    def assign(tune_id: str, trial: Trial) -> dict[str, Any]:
        assigned[tune_id] = trial.trial_id
        return dict(trial.params)

    return OptunaSearcher(hand.live, hand.candidates, assign=assign, **settings), assigned


def test_a_suggestion_is_on_record_and_known_by_both_names(tmp_path: Path) -> None:
    with driven(tmp_path) as hand:
        searcher, assigned = searcher_of(hand)
        params = searcher.suggest("tune-a")
        assert params == hand.state.trials["00000"].params
        assert assigned == {"tune-a": "00000"}


def test_known_candidates_are_passed_over(tmp_path: Path) -> None:
    with driven(tmp_path, space=FOUR) as hand:
        searcher, assigned = searcher_of(hand)
        for name in "abc":
            assert isinstance(searcher.suggest(name), dict)
            hand.train(hand.state.trials[assigned[name]], [0.5])
            searcher.on_trial_complete(name)
        fingerprints = [hand.state.trials[trial_id].fingerprint for trial_id in assigned.values()]
        assert len(set(fingerprints)) == 3


def test_a_sampler_that_has_nothing_new_ends_the_search(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("orchestrator.search.candidates.MAX_KNOWN_IN_A_ROW", 30)
    with driven(tmp_path, space=FOUR) as hand:
        searcher, assigned = searcher_of(hand)
        while isinstance(searcher.suggest(name := str(len(assigned))), dict):
            hand.train(hand.state.trials[assigned[name]], [0.5])
            searcher.on_trial_complete(name)
        assert searcher.exhausted
        assert len(assigned) == 3
        assert hand.candidates.known_in_a_row == 30


def test_suggest_does_not_wait_while_trials_are_open(tmp_path: Path) -> None:
    import threading

    go = threading.Event()

    class Slow(RandomSampler):
        def infer_relative_search_space(self, study: Any, trial: Any) -> dict[str, Any]:
            if trial.number > 0:
                go.wait(20)
            return {}

    with driven(tmp_path, Slow(seed=0)) as hand:
        searcher, _ = searcher_of(hand)
        assert isinstance(searcher.suggest("a"), dict)
        assert searcher.suggest("b") is None
        go.set()


def test_a_sampler_that_repeats_what_is_being_trained_is_not_asked_in_a_loop(tmp_path: Path) -> None:
    with driven(tmp_path, Stubborn(), space=FOUR) as hand:
        searcher, assigned = searcher_of(hand)
        assert isinstance(searcher.suggest("a"), dict)
        for _ in range(200):
            assert searcher.suggest("b") is None
        assert len(hand.state.trials) <= 1 + MAX_WAITING_IN_A_ROW
        hand.train(hand.state.trials[assigned["a"]], [0.5])
        assert hand.state.counts()["duplicate"] == len(hand.state.trials) - 1


class Stubborn(RandomSampler):
    """Proposes the same candidate every time."""

    def infer_relative_search_space(self, study: Any, trial: Any) -> dict[str, Any]:
        return dict(trial.distributions) or {"cell.0.left.operation": CategoricalDistribution(FOUR.operations)}

    def sample_independent(self, study: Any, trial: Any, param_name: str, param_distribution: Any) -> Any:
        return param_distribution.choices[0]

    def sample_relative(self, study: Any, trial: Any, search_space: Any) -> dict[str, Any]:
        return {}


def test_suggest_does_not_wait_for_an_end_if_all_trials_are_paused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("orchestrator.search.candidates.MAX_KNOWN_IN_A_ROW", 30)
    with driven(tmp_path, Stubborn(), space=FOUR) as hand:
        searcher, _ = searcher_of(hand, is_idle=lambda: True)
        assert isinstance(searcher.suggest("a"), dict)
        while (suggestion := searcher.suggest("b")) is None:
            assert not searcher.waits
        assert suggestion == Searcher.FINISHED
        assert searcher.exhausted
        assert hand.candidates.waiting_in_a_row == 30
        assert exhaustion(hand.state) == "the sampler proposed nothing new any more"


def test_while_trials_report_proposals_that_break_a_constraint_do_not_hold_the_driver(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("orchestrator.search.candidates.MAX_KNOWN_IN_A_ROW", 100)
    monkeypatch.setattr("orchestrator.search.searcher.MAX_SUGGEST_SECONDS", 0.005)
    with driven(tmp_path) as hand:
        searcher, _ = searcher_of(hand)
        assert isinstance(searcher.suggest("a"), dict)
        hand.state.constraints["parameters"] = 1.0
        calls = 1
        while (suggestion := searcher.suggest("b")) is None:
            calls += 1
        assert suggestion == Searcher.FINISHED
        assert calls > 3
        infeasible = [trial for trial in hand.state.trials.values() if trial.status == "infeasible"]
        smallest = min(trial.costs["parameters"] for trial in infeasible)
        first = next(number for number, trial in enumerate(infeasible, 1) if trial.costs["parameters"] == smallest)
        assert len(infeasible) == first + 100  # which come no closer
        assert exhaustion(hand.state) == (
            f"no proposal meets the constraints any more: smallest of {len(infeasible)}: {smallest:,.0f} parameters; "
            "the limit is 1 (objectives.constraints)"
        )


def test_a_sampler_that_has_tried_everything_ends_the_search(tmp_path: Path) -> None:
    with driven(tmp_path, BruteForceSampler(seed=0), space=FOUR) as hand:
        searcher, assigned = searcher_of(hand)
        while isinstance(searcher.suggest(name := str(len(assigned))), dict):
            hand.train(hand.state.trials[assigned[name]], [0.5])
            searcher.on_trial_complete(name)
        assert searcher.exhausted
        assert len(assigned) == 3


def test_a_search_that_is_over_takes_no_suggestion(tmp_path: Path) -> None:
    with driven(tmp_path) as hand:
        searcher, assigned = searcher_of(hand, is_over=lambda: True)
        assert searcher.suggest("a") == Searcher.FINISHED
        assert assigned == {}


def test_a_search_that_is_over_is_finished_although_a_trial_waits(tmp_path: Path) -> None:
    """Ray Tune, with nothing to do, would wait ten minutes for it."""
    over = False
    with driven(tmp_path) as hand:
        searcher, _ = searcher_of(hand, is_over=lambda: over)
        searcher.suggest("a")
        searcher.on_trial_complete("a", error=True)
        hand.log.append(TrialSetBack(trial_id="00000", cause="worker_died", reason="gone"))
        assert hand.candidates.has_next
        assert not searcher.is_finished()
        over = True
        assert searcher.is_finished()


@pytest.mark.parametrize(
    ("domain", "distribution"),
    [
        (tune.choice(["a", "b"]), CategoricalDistribution(["a", "b"])),
        (tune.randint(1, 10), IntDistribution(1, 9)),
        (tune.lograndint(1, 10), IntDistribution(1, 9, log=True)),
        (tune.qrandint(2, 10, 2), IntDistribution(2, 10, step=2)),
        (tune.uniform(0.0, 1.0), FloatDistribution(0.0, 1.0)),
        (tune.loguniform(1e-3, 1.0), FloatDistribution(1e-3, 1.0, log=True)),
        (tune.quniform(0.0, 1.0, 0.25), FloatDistribution(0.0, 1.0, step=0.25)),
    ],
)
def test_domains_of_ray_tune_become_distributions_of_optuna(domain: Any, distribution: Any) -> None:
    assert to_distribution("x", domain) == distribution


@pytest.mark.parametrize(
    ("domain", "message"),
    [
        (tune.qloguniform(1e-3, 1.0, 1e-3), "logarithmic and quantised"),
        (tune.sample_from(lambda: 1), "which Optuna cannot sample"),
        (tune.randn(0, 1), "which Optuna cannot sample"),
        ({"nested": tune.choice([1])}, "the space must be a flat dict of Ray Tune domains"),
        (3, "the space must be a flat dict of Ray Tune domains"),
    ],
)
def test_what_optuna_cannot_sample_is_refused(domain: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        to_distribution("x", domain)
