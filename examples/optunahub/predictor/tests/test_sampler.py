"""Optuna's tests of a sampler, and tests of what is particular to this one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import optuna
import optunahub
import pytest
from optuna.samplers import BaseSampler
from optuna.testing.pytest_samplers import BasicSamplerTestCase, MultiObjectiveSamplerTestCase

package = optunahub.load_local_module("samplers/predictor", registry_root=str(Path(__file__).parents[3]))
SPACE = package.NAS_BENCH_201


class TestPredictor(BasicSamplerTestCase, MultiObjectiveSamplerTestCase):
    """With one-hot features; the fit begins at the third trial."""

    @pytest.fixture
    def sampler(self) -> Callable[[], BaseSampler]:
        return lambda: package.PredictorSampler(initial=2, seed=0)


def operations(trial: optuna.Trial, space: Any = SPACE) -> list[str]:
    params = {name: trial.suggest_categorical(name, choices) for name, choices in space.decisions()}
    return [edge.operation for block in space.decode(params).normal.blocks for edge in block.edges]


@pytest.mark.parametrize("space", [None, SPACE], ids=["one-hot", "cells"])
def test_the_best_of_15625_cells_is_found(space: Any) -> None:
    study = optuna.create_study(direction="maximize", sampler=package.PredictorSampler(space=space, seed=0))
    study.optimize(lambda trial: operations(trial).count("conv_3x3"), n_trials=60)
    assert study.best_value == 6
    assert len({tuple(trial.params.items()) for trial in study.trials}) == 60


def test_a_space_of_ones_own_has_further_parameters_and_objectives() -> None:
    space = package.CellSpace(name="own", source="this test", operations=("identity", "conv_3x3"), blocks=2)
    sampler = package.PredictorSampler(space=space, initial=2, seed=0)
    study = optuna.create_study(directions=["maximize", "minimize"], sampler=sampler)

    def objective(trial: optuna.Trial) -> tuple[float, float]:
        score = operations(trial, space).count("conv_3x3") - trial.suggest_float("rate", 1e-4, 1e-1, log=True)
        return score, trial.suggest_categorical("width", [8, 16, 32])

    study.optimize(objective, n_trials=20)
    assert len({tuple(trial.params.items()) for trial in study.trials}) == 20
