"""Tests of local search in plain Optuna."""

from __future__ import annotations

import optuna
import pytest
from optuna.distributions import BaseDistribution, CategoricalDistribution
from optuna.trial import TrialState

from orchestrator.samplers.history import END_PLACE
from orchestrator.samplers.local_search import LocalSearchSampler

SPACE: dict[str, BaseDistribution] = {f"cell.{index}": CategoricalDistribution(["a", "b", "c"]) for index in range(6)}
NEIGHBOURS = 6 * 2


def score(params: dict[str, object]) -> float:
    return sum(value == "a" for value in params.values())


def run(sampler: LocalSearchSampler, trials: int) -> optuna.Study:
    study = optuna.create_study(sampler=sampler, direction="maximize")
    for _ in range(trials):
        trial = study.ask(SPACE)
        study.tell(trial, score(trial.params))
    return study


def distance(first: optuna.trial.FrozenTrial, second: optuna.trial.FrozenTrial) -> int:
    return sum(first.params[name] != second.params[name] for name in SPACE)


def test_a_climb_reaches_the_optimum() -> None:
    """It takes at most six steps, each among twelve neighbours."""
    study = run(LocalSearchSampler(initial=3, seed=0), 75)
    assert study.best_value == 6


def test_every_proposal_of_a_climb_is_an_untried_neighbour_of_its_best_trial() -> None:
    study = run(LocalSearchSampler(initial=1, seed=3), 12)
    for number in range(1, 12):
        before = study.trials[:number]
        best = max(before, key=lambda trial: trial.value or 0)
        assert distance(study.trials[number], best) == 1
        assert all(distance(study.trials[number], other) > 0 for other in before)


def test_a_new_climb_begins_after_all_neighbours_are_tried() -> None:
    """With equal scores, all neighbours are tried, then a random point is drawn."""
    study = optuna.create_study(sampler=LocalSearchSampler(initial=1, seed=0), direction="maximize")
    for _ in range(1 + NEIGHBOURS + 1):
        study.tell(study.ask(SPACE), 0.0)
    start = study.trials[0]
    assert [distance(start, trial) for trial in study.trials[1 : 1 + NEIGHBOURS]] == [1] * NEIGHBOURS
    assert distance(start, study.trials[1 + NEIGHBOURS]) > 1


def test_a_trial_whose_last_score_is_nan_loses_to_any_other() -> None:
    study = optuna.create_study(sampler=LocalSearchSampler(initial=1, seed=0), direction="maximize")
    first = study.ask(SPACE)
    first.report(float("nan"), step=1)
    study.tell(first, state=TrialState.PRUNED)
    second = study.ask(SPACE)
    study.tell(second, 1.0)
    assert all(distance(study.trials[1], trial) == 1 for trial in [study.ask(SPACE)._get_latest_trial()])


def test_trials_in_flight_count_as_tried() -> None:
    study = optuna.create_study(sampler=LocalSearchSampler(initial=1, seed=0), direction="maximize")
    study.tell(study.ask(SPACE), 1.0)
    in_flight = [study.ask(SPACE) for _ in range(NEIGHBOURS)]
    assert len({tuple(sorted(trial.params.items())) for trial in in_flight}) == NEIGHBOURS
    further = study.ask(SPACE)  # no neighbour is left, so this is a random point
    assert set(further.params) == set(SPACE)


def test_pruned_trials_count_with_their_last_score_and_failed_ones_do_not_count() -> None:
    study = optuna.create_study(sampler=LocalSearchSampler(initial=2, seed=0), direction="minimize")
    first, second, third = (study.ask(SPACE) for _ in range(3))
    study.tell(first, state=TrialState.FAIL)
    second.report(5.0, step=1)
    study.tell(second, state=TrialState.PRUNED)
    study.tell(third, 7.0)
    proposal = study.ask(SPACE)
    assert sum(proposal.params[name] != second.params[name] for name in SPACE) == 1


def test_a_paused_trial_counts_with_the_score_of_its_last_pause() -> None:
    study = optuna.create_study(sampler=LocalSearchSampler(initial=1, seed=0), direction="maximize")
    complete, paused = study.ask(SPACE), study.ask(SPACE)
    complete.set_user_attr(END_PLACE, 0)
    study.tell(complete, 1.0)
    for step, (score, parent) in enumerate(((0.5, complete), (2.0, paused)), start=1):
        paused.report(score, step=step)
        paused.set_user_attr(END_PLACE, step)
        child = study.ask(SPACE)
        assert sum(child.params[name] != parent.params[name] for name in SPACE) == 1


def test_the_seed_and_the_trials_number_determine_every_draw() -> None:
    first, second = (run(LocalSearchSampler(seed=7), 60) for _ in range(2))
    assert [trial.params for trial in first.trials] == [trial.params for trial in second.trials]
    rebuilt = optuna.create_study(sampler=LocalSearchSampler(seed=7), direction="maximize")
    rebuilt.add_trials(first.trials)
    assert first.ask(SPACE).params == rebuilt.ask(SPACE).params


def test_an_initial_below_1_is_refused() -> None:
    with pytest.raises(ValueError, match="initial is 0; it must be at least 1"):
        LocalSearchSampler(initial=0)


def test_neighbours_without_a_score_count_as_tried_and_the_climb_ends() -> None:
    """Two thirds of the neighbours break a constraint or fail; then a new climb begins, with a random point."""
    study = optuna.create_study(sampler=LocalSearchSampler(initial=1, seed=0), direction="maximize")
    top = study.ask(SPACE)
    study.tell(top, 1.0)
    for number in range(NEIGHBOURS):
        trial = study.ask(SPACE)
        assert sum(trial.params[name] != top.params[name] for name in SPACE) == 1
        if number % 3 == 0:
            trial.set_constraint("parameters", 1.0)
            study.tell(trial, state=TrialState.PRUNED)
        elif number % 3 == 1:
            study.tell(trial, state=TrialState.FAIL)
        else:
            study.tell(trial, 0.0)
    second = study.ask(SPACE)
    study.tell(second, 0.5)
    third = study.ask(SPACE)
    assert sum(third.params[name] != second.params[name] for name in SPACE) == 1


def test_a_trial_that_breaks_a_constraint_is_not_the_best_of_a_climb() -> None:
    study = optuna.create_study(sampler=LocalSearchSampler(initial=2, seed=0), direction="maximize")
    allowed, forbidden = study.ask(SPACE), study.ask(SPACE)
    forbidden.set_constraint("parameters", 1.0)
    study.tell(forbidden, 9.0)
    study.tell(allowed, 1.0)
    study.tell(study.ask(SPACE), 0.0)
    neighbour = study.ask(SPACE)
    assert sum(neighbour.params[name] != allowed.params[name] for name in SPACE) == 1
