from __future__ import annotations

import math
from typing import Any

import optuna
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.samplers import BaseSampler, RandomSampler, TPESampler
from optuna.trial import TrialState
from ray import tune

from orchestrator.optuna_searcher import OptunaSearcher, to_distribution

SPACE = {"width": tune.choice([8, 16, 32]), "operation": tune.choice(["a", "b"])}


def searcher(sampler: BaseSampler | None = None, **settings: Any) -> OptunaSearcher:
    made = OptunaSearcher(sampler or RandomSampler(seed=0), **{"max_epochs": 9, **settings})
    assert made.set_search_properties("val_accuracy", "max", SPACE)
    return made


def result(*epochs: int, score: float = 0.5, **more: Any) -> dict[str, Any]:
    curve = [{"epoch": epoch, "val_accuracy": score + epoch / 100} for epoch in epochs]
    return {**curve[-1], "curve": curve, "diverged": False, **more}


def ended(made: OptunaSearcher) -> optuna.trial.FrozenTrial:
    (trial,) = made.study.trials
    return trial


def test_a_trial_that_had_its_whole_budget_is_complete() -> None:
    made = searcher()
    made.suggest("a")
    made.on_trial_result("a", result(1, 2, 3))
    made.on_trial_complete("a", result(4, 5, 6, 7, 8, 9))
    assert ended(made).state == TrialState.COMPLETE
    assert ended(made).value == pytest.approx(0.59)
    assert ended(made).intermediate_values == pytest.approx({epoch: 0.5 + epoch / 100 for epoch in range(1, 10)})


def test_a_stopped_trial_is_pruned_with_its_curve_and_never_complete() -> None:
    made = searcher()
    made.suggest("a")
    made.on_trial_result("a", result(1))
    made.on_trial_complete("a", result(2, 3, done=True))
    assert ended(made).state == TrialState.PRUNED
    assert ended(made).intermediate_values == pytest.approx({1: 0.51, 2: 0.52, 3: 0.53})
    assert not made.study.get_trials(states=[TrialState.COMPLETE])


def test_epochs_are_the_trials_own_and_not_ray_tunes_iterations() -> None:
    made = searcher()
    made.suggest("a")
    made.on_trial_complete("a", result(7, 8, training_iteration=1))
    assert set(ended(made).intermediate_values) == {7, 8}


def test_reports_without_a_curve_are_understood() -> None:
    made = searcher()
    made.suggest("a")
    made.on_trial_result("a", {"epoch": 1, "val_accuracy": 0.3})
    made.on_trial_complete("a", {"epoch": 9, "val_accuracy": 0.4})
    assert ended(made).value == 0.4


@pytest.mark.parametrize(
    "ending",
    [
        {"error": True},
        {"result": None},
        {"result": result(3, diverged=True)},
        {"result": {"done": True}},
    ],
)
def test_errors_and_divergence_are_failures(ending: dict[str, Any]) -> None:
    made = searcher()
    made.suggest("a")
    made.on_trial_complete("a", **ending)
    assert ended(made).state == TrialState.FAIL


def test_a_score_that_is_not_finite_reaches_no_sampler() -> None:
    made = searcher()
    made.suggest("a")
    made.on_trial_result("a", {"epoch": 1, "val_accuracy": math.nan})
    assert ended(made).intermediate_values == {}


def test_open_trials_are_known_to_the_sampler() -> None:
    made = searcher()
    for name in "abc":
        made.suggest(name)
    assert [trial.state for trial in made.study.trials] == [TrialState.RUNNING] * 3


def test_suggestions_are_told_with_what_they_cost() -> None:
    told: list[Any] = []
    made = searcher(on_suggestion=lambda *values: told.append(values))
    params = made.suggest("a")
    ((name, number, told_params, seconds),) = told
    assert (name, number, told_params) == ("a", 0, params)
    assert 0 <= seconds < 60
    assert set(params) == set(SPACE)


def test_the_sampler_learns_from_what_it_is_told() -> None:
    """TPE comes to prefer the better half of the space; with wrong values it would not."""
    made = searcher(TPESampler(seed=0, n_startup_trials=10))
    chosen = []
    for number in range(60):
        params = made.suggest(str(number))
        chosen.append(params["operation"])
        made.on_trial_complete(str(number), result(9, score=0.8 if params["operation"] == "a" else 0.2))
    assert chosen[30:].count("a") > 24


def test_a_minimised_metric_makes_a_minimising_study() -> None:
    made = OptunaSearcher(RandomSampler(), max_epochs=1)
    made.set_search_properties("loss", "min", SPACE)
    assert made.study.direction == optuna.study.StudyDirection.MINIMIZE


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
def test_ray_tunes_domains_become_optunas(domain: Any, distribution: Any) -> None:
    assert to_distribution("x", domain) == distribution


@pytest.mark.parametrize(
    ("domain", "message"),
    [
        (tune.qloguniform(1e-3, 1.0, 1e-3), "logarithmic and quantised"),
        (tune.sample_from(lambda: 1), "which Optuna cannot sample"),
        (tune.randn(0, 1), "which Optuna cannot sample"),
        ({"nested": tune.choice([1])}, "the space must be flat"),
        (3, "the space must be flat"),
    ],
)
def test_what_optuna_cannot_sample_is_refused(domain: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        to_distribution("x", domain)
