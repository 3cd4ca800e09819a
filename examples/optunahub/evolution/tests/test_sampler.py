"""Optuna's tests of a sampler, and tests of what is particular to this one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import optuna
import optunahub
import pytest
from optuna.samplers import BaseSampler
from optuna.testing.pytest_samplers import BasicSamplerTestCase, RelativeSamplerTestCase

package = optunahub.load_local_module("samplers/evolution", registry_root=str(Path(__file__).parents[3]))


class TestEvolution(BasicSamplerTestCase, RelativeSamplerTestCase):
    """With a population that is full after one trial."""

    @pytest.fixture
    def sampler(self) -> Callable[[], BaseSampler]:
        return lambda: package.EvolutionSampler(population=1, tournament=1, seed=0)


def objective(trial: optuna.Trial) -> float:
    return sum(trial.suggest_categorical(str(place), ["a", "b", "c", "d"]) == "a" for place in range(8))


def test_the_best_of_65536_points_is_found() -> None:
    sampler = package.EvolutionSampler(population=20, tournament=5, seed=0)
    study = optuna.create_study(direction="maximize", sampler=sampler)
    study.optimize(objective, n_trials=200)
    assert study.best_value == 8


def test_a_child_differs_from_a_member_of_the_population_by_one_choice() -> None:
    study = optuna.create_study(sampler=package.EvolutionSampler(population=5, tournament=2, seed=0))
    study.optimize(objective, n_trials=6)
    *parents, child = [trial.params for trial in study.trials]
    assert 1 in [sum(parent[name] != value for name, value in child.items()) for parent in parents]


def test_several_objectives_are_refused() -> None:
    study = optuna.create_study(directions=["maximize", "minimize"], sampler=package.EvolutionSampler())
    with pytest.raises(ValueError, match="the study has 2 objectives"):
        study.optimize(lambda trial: (objective(trial), 0.0), n_trials=1)
