"""Tests of every sampler in `SAMPLERS` against the contract, and of the contract against broken samplers."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import optuna
import pytest
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler, BruteForceSampler, RandomSampler
from optuna.study import Study
from optuna.trial import FrozenTrial

from orchestrator.config.components import make_sampler
from orchestrator.config.search_config import SamplerSettings
from orchestrator.samplers import SAMPLERS
from orchestrator.samplers.evolution import EvolutionSampler
from orchestrator.testing import samplers as contract

pytestmark = pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")

OPTIONS: dict[str, dict[str, Any]] = {
    "controller": {"batch": 10},
    "evolution": {"population": 20, "tournament": 5},
    "gp": {"n_startup_trials": 4},
    "nsgaii": {"population_size": 10},
    "nsgaiii": {"population_size": 10},
}
"""Options that make the initial random phase shorter than the studies of the checks."""

HISTORY = {"gp": 8, "controller": 20}
"""Trials in the studies of samplers with slow asks; 30 for the others."""

GROWTH = {"gp": 60, "predictor": 400, "nsgaii": 500, "nsgaiii": 500, "tpe": 1000}
"""Trials in the check of ask times of samplers with slow asks; 2,000 for the others."""

SLOW = {"gp", "predictor"}
NAMES = [pytest.param(name, marks=pytest.mark.slow) if name in SLOW else name for name in SAMPLERS]


def sampler_maker(name: str) -> contract.Make:
    settings = SamplerSettings(name=name, options=OPTIONS.get(name, {}))
    return lambda seed, space: make_sampler(settings, seed, space)


@pytest.mark.parametrize("name", NAMES)
def test_every_sampler_keeps_the_contract(name: str) -> None:
    contract.check_sampler(sampler_maker(name), history=HISTORY.get(name, 30), trials=min(100, GROWTH.get(name, 100)))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["predictor", "tpe"])
def test_the_contract_holds_with_several_objectives(name: str) -> None:
    # The early asks that are timed begin at the twelfth, after the ten random ones with which Optuna's TPE starts.
    contract.check_sampler(sampler_maker(name), history=20, trials=120, directions=("maximize", "minimize"))


@pytest.mark.slow
@pytest.mark.parametrize("name", SAMPLERS)
def test_asks_do_not_slow_down(name: str) -> None:
    contract.check_growth(sampler_maker(name), trials=GROWTH.get(name, 2000))


class Broken(BaseSampler):
    """Draws at random, and breaks the contract by calling `breach` for its relative proposals."""

    def __init__(self, seed: int, breach: Callable[[Study, FrozenTrial], dict[str, Any]]) -> None:
        self._random = RandomSampler(seed=seed)
        self._breach = breach

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        done = study.get_trials(deepcopy=False, states=(optuna.trial.TrialState.COMPLETE,))
        return dict(done[-1].distributions) if done else {}

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        return self._breach(study, trial) if search_space else {}

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        return self._random.sample_independent(study, trial, param_name, param_distribution)


class NeedsSuccess(Broken):
    """Assumes that a trial succeeds."""

    def before_trial(self, study: Study, trial: FrozenTrial) -> None:
        if trial.number > 50:
            assert study.best_trial.params


def nothing(study: Study, trial: FrozenTrial) -> dict[str, Any]:
    return {}


def out_of_the_space(study: Study, trial: FrozenTrial) -> dict[str, Any]:
    return {"normal.0.left.operation": "conv_9x9", "normal.0.from_0.operation": "conv_9x9"}


def numpy_values(study: Study, trial: FrozenTrial) -> dict[str, Any]:
    return {"normal.0.left.state": np.int64(0)}


def unknown_name(study: Study, trial: FrozenTrial) -> dict[str, Any]:
    return {"learning_rate": 0.1}


def global_random(study: Study, trial: FrozenTrial) -> dict[str, Any]:
    random.random()
    return {}


def global_numpy(study: Study, trial: FrozenTrial) -> dict[str, Any]:
    np.random.random()
    return {}


def copies(study: Study, trial: FrozenTrial) -> dict[str, Any]:
    assert study.trials
    return {}


def late_slowness(study: Study, trial: FrozenTrial) -> dict[str, Any]:
    """Sleep in the last asks, which then take hundreds of times as long as the early ones."""
    time.sleep(0.2 if trial.number >= 95 else 0)
    return {}


@pytest.mark.parametrize(
    ("breach", "check", "message"),
    [
        (out_of_the_space, contract.check_trials_in_flight, "is 'conv_9x9' \\(str\\); choices: "),
        (numpy_values, contract.check_trials_in_flight, "state is np.int64\\(0\\) \\(int64\\); choices: \\(0, 1\\)"),
        (unknown_name, contract.check_trials_in_flight, "'learning_rate', which is not in the relative search space"),
        (global_random, contract.check_global_random_state, "Python's global random generator"),
        (global_numpy, contract.check_global_random_state, "NumPy's global random generator"),
    ],
)
def test_invalid_proposals_are_caught(
    breach: Callable[[Study, FrozenTrial], dict[str, Any]], check: Callable[..., None], message: str
) -> None:
    with pytest.raises(AssertionError, match=message):
        check(lambda seed: Broken(seed, breach))


def test_a_sampler_that_ends_the_search_is_caught() -> None:
    with pytest.raises(AssertionError, match="50 asks in a space of 4 points .*stop"):
        contract.check_exhausted_space(lambda seed: BruteForceSampler(seed=seed))


def test_a_sampler_that_needs_a_success_is_caught() -> None:
    with pytest.raises(AssertionError, match="if all endings are 'failed' in .*: ValueError: No trials are completed"):
        contract.check_endings(lambda seed: NeedsSuccess(seed, nothing))


def test_random_state_inside_the_sampler_is_caught() -> None:
    with pytest.raises(AssertionError, match="a study rebuilt with 7 trials continues differently"):
        contract.check_replay(lambda seed: RandomSampler(seed=seed))


def test_a_sampler_that_ignores_its_seed_is_caught() -> None:
    with pytest.raises(AssertionError, match="from trial 0 on"):
        contract.check_determinism(lambda seed: RandomSampler())
    with pytest.raises(AssertionError, match="seeds 0 and 1 led to the same 100 proposals"):
        contract.check_determinism(lambda seed: EvolutionSampler(seed=7))


def test_asks_that_slow_down_are_caught() -> None:
    with pytest.raises(AssertionError, match="times as long as an early one .* at most slowdown = 20"):
        contract.check_growth(lambda seed: Broken(seed, late_slowness), trials=100)


def test_wrong_arguments_are_refused_before_any_check() -> None:
    with pytest.raises(ValueError, match="make is <.*; a function is needed that builds a sampler from a seed"):
        contract.check_sampler(RandomSampler())  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"directions is \['max'\]; each must be one of maximize, minimize"):
        contract.check_sampler(sampler_maker("random"), directions=["max"])


def test_a_sampler_that_copies_hundreds_of_trials_is_told_what_to_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(contract, "MAX_COPIED", 50)
    with pytest.raises(
        AssertionError, match=r"copies 5. trials for a proposal.*use study.get_trials\(deepcopy=False\)"
    ):
        contract.check_growth(lambda seed: Broken(seed, copies), trials=60)
    contract.check_growth(lambda seed: Broken(seed, copies), trials=40)


def test_too_few_trials_are_refused() -> None:
    with pytest.raises(ValueError, match="trials is 39; it must be at least 40"):
        contract.check_growth(sampler_maker("random"), trials=39)
    with pytest.raises(ValueError, match="history is 1; it must be at least 2"):
        contract.check_determinism(sampler_maker("random"), history=1)
