"""Tests of `check_fits`: a sampler that cannot handle a search is refused before the search starts."""

from __future__ import annotations

from typing import Any

import optuna
import pytest
from optuna.trial import FrozenTrial, TrialState

from orchestrator.config.components import make_sampler
from orchestrator.config.loading import parse_config
from orchestrator.config.sampler_fit import check_fits
from orchestrator.config.search_config import SamplerSettings
from orchestrator.errors import ConfigError
from orchestrator.objectives import Direction
from orchestrator.samplers import SAMPLERS
from orchestrator.samplers.seeded import SeededSampler
from orchestrator.search.passed import PassedParts
from orchestrator.search.setup import SearchComponents
from orchestrator.study.distributions import to_distributions
from tests.driving import TINY

SPACE = to_distributions(TINY.param_space())
ONE: dict[str, Direction] = {"val_accuracy": "maximize"}
TWO: dict[str, Direction] = {"val_accuracy": "maximize", "macs": "minimize"}


def made(name: str, **options: Any) -> optuna.samplers.BaseSampler:
    return make_sampler(SamplerSettings(name=name, options=options), 0, TINY)


@pytest.mark.parametrize("name", SAMPLERS)
def test_every_built_in_sampler_fits_a_space_of_cells(name: str) -> None:
    check_fits(made(name), SPACE, ONE)


@pytest.mark.parametrize("name", ["predictor", "tpe", "gp", "nsgaii", "nsgaiii", "random"])
def test_some_samplers_support_several_objectives(name: str) -> None:
    check_fits(made(name), SPACE, TWO)


@pytest.mark.parametrize(
    ("sampler", "scheduler", "warns"),
    [("nsgaii", "asha", True), ("gp", "median", True), ("nsgaii", "fifo", False), ("predictor", "asha", False)],
)
def test_a_sampler_that_ignores_stopped_candidates_gets_a_warning(sampler: str, scheduler: str, warns: bool) -> None:
    parts = SearchComponents.of(
        parse_config({"sampler": {"name": sampler}, "scheduler": {"name": scheduler}}, "x"), PassedParts()
    )
    assert (parts.warning is not None) == warns
    if parts.warning is not None:
        assert "Sampler learns nothing from candidates that are stopped early" in parts.warning
        assert "scheduler.name = 'fifo' stops none" in parts.warning


@pytest.mark.parametrize("name", ["evolution", "local_search", "controller"])
def test_a_sampler_for_one_objective_is_refused_with_two(name: str) -> None:
    with pytest.raises(ConfigError, match="one objective, and there are 2: val_accuracy, macs; predictor, tpe, gp"):
        check_fits(made(name), SPACE, TWO)
    study = optuna.create_study(sampler=made(name), directions=["maximize", "minimize"])
    with pytest.raises(ValueError, match="the study has 2 objectives; [A-Za-z]+Sampler takes 1: use a sampler for"):
        study.ask(SPACE)


@pytest.mark.parametrize("kind", [optuna.samplers.CmaEsSampler, optuna.samplers.QMCSampler])
@pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")
def test_a_sampler_that_would_draw_categories_at_random_is_refused(kind: Any) -> None:
    pytest.importorskip("cmaes") if kind is optuna.samplers.CmaEsSampler else None
    with pytest.raises(ConfigError, match="cannot handle categorical parameters such as 'normal.0.*tpe, gp, evolution"):
        check_fits(kind(), SPACE, ONE)


def test_a_sampler_that_fails_in_its_first_ask_is_refused_with_the_reason() -> None:
    with pytest.raises(ConfigError, match="sampler GridSampler cannot handle this search: .*grid"):
        check_fits(optuna.samplers.GridSampler({"x": [1, 2]}), SPACE, ONE)


def test_a_sampler_that_fails_after_a_completed_trial_is_refused_with_the_reason() -> None:
    class ForOne(optuna.samplers.RandomSampler):
        def before_trial(self, study: optuna.Study, trial: FrozenTrial) -> None:
            sum(other.value or 0.0 for other in study.get_trials(states=[TrialState.COMPLETE]))

    check_fits(ForOne(), SPACE, ONE)
    with pytest.raises(ConfigError, match="ForOne cannot handle this search: RuntimeError: .*multi-objective"):
        check_fits(ForOne(), SPACE, TWO)


def test_a_mistake_in_a_sampler_of_the_users_own_is_located() -> None:
    class Failing(optuna.samplers.RandomSampler):
        def sample_independent(self, *_: Any) -> Any:
            raise ZeroDivisionError("no way")

    reason = (
        r"Failing cannot handle this search: ZeroDivisionError: no way \(test_sampler_fit.py, line \d+; sampler.name"
    )
    with pytest.raises(ConfigError, match=reason):
        check_fits(Failing(), SPACE, ONE)


def test_the_check_does_not_change_the_samplers_state() -> None:
    def proposal(checked: bool) -> dict[str, Any]:
        sampler = optuna.samplers.RandomSampler(seed=3)
        if checked:
            check_fits(sampler, SPACE, ONE)
        return optuna.create_study(sampler=sampler).ask(dict(SPACE)).params

    assert proposal(True) == proposal(False)


def test_every_optuna_sampler_class_can_be_named() -> None:
    sampler = made("optuna:NSGAIISampler", population_size=7)
    assert isinstance(sampler, SeededSampler)
    assert sampler.kind is optuna.samplers.NSGAIISampler
    assert isinstance(made("optuna:BruteForceSampler"), optuna.samplers.BruteForceSampler)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("optuna:NSGAISampler", {}, "optuna.samplers has .*did you mean 'NSGAIISampler'"),
        ("optuna:NSGAIISampler", {"population_size": 1}, "sampler.options = {'population_size': 1}"),
        ("optuna:GridSampler", {}, "sampler.options = {}: .*search_space"),
        ("tpe", {"no": 1}, "sampler.options = {'no': 1}: .*unexpected keyword argument 'no'"),
    ],
)
def test_a_sampler_that_cannot_be_built_is_refused_in_one_line(
    name: str, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        made(name, **options)
    assert "\n" not in str(caught.value)


def test_a_search_file_can_name_an_optuna_sampler() -> None:
    assert parse_config({"sampler": {"name": "optuna:GPSampler"}}, "x").sampler.name == "optuna:GPSampler"
