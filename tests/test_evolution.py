"""Tests of regularised evolution in plain Optuna."""

from __future__ import annotations

import itertools
from typing import Literal

import optuna
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution
from optuna.trial import TrialState

from orchestrator.samplers.evolution import EvolutionSampler
from orchestrator.samplers.history import END_PLACE

SPACE: dict[str, optuna.distributions.BaseDistribution] = {
    **{f"cell.{index}.operation": CategoricalDistribution(["a", "b", "c"]) for index in range(6)},
    "cell.0.state": CategoricalDistribution([0, 1]),
}


def score(params: dict[str, object]) -> float:
    """Count the operations that are `a`; the state does not matter."""
    return sum(value == "a" for value in params.values())


def run(
    sampler: EvolutionSampler, trials: int, direction: Literal["minimize", "maximize"] = "maximize"
) -> optuna.Study:
    study = optuna.create_study(sampler=sampler, direction=direction)
    for _ in range(trials):
        trial = study.ask(SPACE)
        study.tell(trial, score(trial.params))
    return study


def test_evolution_finds_an_optimum_that_random_search_misses() -> None:
    """A random point is the optimum with a probability of 1 in 729."""
    study = run(EvolutionSampler(population=20, tournament=5, seed=0), 150)
    assert study.best_value == 6
    assert max(trial.value or 0 for trial in study.trials[:20]) < 6


def test_the_sampler_minimises_if_the_study_does() -> None:
    assert run(EvolutionSampler(population=20, tournament=5, seed=0), 100, "minimize").best_value == 0


def test_a_child_is_a_member_of_the_population_with_one_decision_changed() -> None:
    study = run(EvolutionSampler(population=10, tournament=3, seed=1), 60)
    params = [trial.params for trial in study.trials]
    for number in range(10, 60):
        changes = [
            sum(params[number][name] != params[parent][name] for name in SPACE) for parent in range(number - 10, number)
        ]
        assert 1 in changes


def test_both_kinds_of_decision_are_mutated_equally_often() -> None:
    """Only one of seven decisions is a state, but half of all mutations change it."""
    study = optuna.create_study(sampler=EvolutionSampler(population=1, tournament=1, seed=0), direction="maximize")
    # With so many choices, almost no child was tried before.
    wide: dict[str, optuna.distributions.BaseDistribution] = {
        name: CategoricalDistribution(range(200)) for name in SPACE
    }
    params = []
    for _ in range(400):
        trial = study.ask(wide)
        study.tell(trial, 0.0)
        params.append(trial.params)
    states = sum(a["cell.0.state"] != b["cell.0.state"] for a, b in itertools.pairwise(params[1:]))
    assert states / 398 == pytest.approx(0.5, abs=0.08)


def test_a_tried_point_is_not_proposed_again() -> None:
    study = optuna.create_study(sampler=EvolutionSampler(population=5, tournament=2, seed=0), direction="maximize")
    seen = set()
    for number in range(40):
        trial = study.ask(SPACE)
        if number >= 5:
            assert frozenset(trial.params.items()) not in seen
        seen.add(frozenset(trial.params.items()))
        study.tell(trial, 1.0)


def test_the_best_trial_leaves_the_population_by_age() -> None:
    study = optuna.create_study(sampler=EvolutionSampler(population=5, tournament=50, seed=0), direction="maximize")
    values = [100.0, 1.0, 2.0, 3.0, 4.0, 5.0]
    for value in values:
        study.tell(study.ask(SPACE), value)
    child, parent = study.ask(SPACE), study.trials[5]
    assert sum(child.params[name] != parent.params[name] for name in SPACE) == 1


def test_pruned_trials_count_with_their_last_score_and_failed_ones_do_not_count() -> None:
    study = optuna.create_study(sampler=EvolutionSampler(population=3, tournament=50, seed=0), direction="maximize")
    for state, value in ((TrialState.PRUNED, 9.0), (TrialState.FAIL, None), (TrialState.COMPLETE, 1.0)):
        trial = study.ask(SPACE)
        if state == TrialState.PRUNED:
            trial.report(0.0, step=1)
            trial.report(9.0, step=2)
        study.tell(trial, value if state == TrialState.COMPLETE else None, state=state)
    study.tell(study.ask(SPACE), 2.0)
    child, parent = study.ask(SPACE), study.trials[0]
    assert sum(child.params[name] != parent.params[name] for name in SPACE) == 1


def test_a_paused_trial_is_in_the_population_until_it_continues() -> None:
    study = optuna.create_study(sampler=EvolutionSampler(population=3, tournament=50, seed=0), direction="maximize")
    for place in range(3):
        trial = study.ask(SPACE)
        trial.set_user_attr(END_PLACE, place)
        study.tell(trial, place)
    paused = study.ask(SPACE)
    paused.report(9.0, step=1)
    for now, parent in ((3, paused), (None, trial)):
        paused.set_user_attr(END_PLACE, now)
        child = study.ask(SPACE)
        assert sum(child.params[name] != parent.params[name] for name in SPACE) == 1


def test_the_seed_and_the_trials_number_determine_every_draw() -> None:
    first, second = (run(EvolutionSampler(population=10, tournament=3, seed=7), 40) for _ in range(2))
    assert [trial.params for trial in first.trials] == [trial.params for trial in second.trials]
    other = run(EvolutionSampler(population=10, tournament=3, seed=8), 40)
    assert [trial.params for trial in other.trials] != [trial.params for trial in first.trials]


def test_a_rebuilt_study_continues_like_the_original() -> None:
    study = run(EvolutionSampler(population=10, tournament=3, seed=7), 30)
    rebuilt = optuna.create_study(sampler=EvolutionSampler(population=10, tournament=3, seed=7), direction="maximize")
    rebuilt.add_trials(study.trials)
    assert study.ask(SPACE).params == rebuilt.ask(SPACE).params


def test_parameters_that_are_not_categorical_are_drawn_anew() -> None:
    space = {"rate": FloatDistribution(0, 1), "cell.0.operation": CategoricalDistribution(["a"])}
    study = optuna.create_study(sampler=EvolutionSampler(population=2, tournament=2, seed=0), direction="minimize")
    for _ in range(60):
        trial = study.ask(space)
        study.tell(trial, trial.params["rate"])
    assert len({trial.params["rate"] for trial in study.trials}) == 60
    assert all(0 <= trial.params["rate"] <= 1 for trial in study.trials)


def test_sizes_below_1_are_refused() -> None:
    for name in ("population", "tournament"):
        with pytest.raises(ValueError, match=f"{name} is 0; it must be at least 1"):
            EvolutionSampler(**{name: 0})
