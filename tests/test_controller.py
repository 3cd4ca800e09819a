"""Tests of NASNet's controller in plain Optuna."""

from __future__ import annotations

import itertools
import math
import subprocess
import sys
from typing import Any, Literal

import optuna
import pytest
import torch
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import TrialState

from orchestrator.samplers.controller import Algorithm, ControllerSampler
from orchestrator.samplers.history import END_PLACE

SPACE: dict[str, BaseDistribution] = {
    f"cell.{index}": CategoricalDistribution(["a", "b", "c", "d"]) for index in range(6)
}


def score(params: dict[str, Any]) -> float:
    """Count the decisions that are `a`; 1.5 on average at random."""
    return sum(value == "a" for value in params.values())


def sampler(**options: Any) -> ControllerSampler:
    return ControllerSampler(**{"hidden": 16, "batch": 10, "learning_rate": 0.01, "seed": 0, **options})


def run(
    sampler: ControllerSampler, trials: int, direction: Literal["minimize", "maximize"] = "maximize"
) -> optuna.Study:
    study = optuna.create_study(sampler=sampler, direction=direction)
    for _ in range(trials):
        trial = study.ask(SPACE)
        study.tell(trial, score(trial.params))
    return study


def mean_score(study: optuna.Study, asks: int = 40) -> float:
    """Return the mean score of the next `asks` proposals."""
    return sum(score(study.ask(SPACE).params) for _ in range(asks)) / asks


@pytest.mark.parametrize("algorithm", ["ppo", "reinforce"])
def test_default_options_learn_within_a_few_hundred_trials(algorithm: Algorithm) -> None:
    study = run(ControllerSampler(algorithm=algorithm, seed=0), 240)
    assert mean_score(study) > 4


def test_a_choice_can_depend_on_the_previous_one() -> None:
    """In the training data no single value is better than another; only two values that differ score 1."""
    space: dict[str, BaseDistribution] = {name: CategoricalDistribution([0, 1]) for name in ("first", "second")}
    study = optuna.create_study(sampler=sampler(batch=20), direction="maximize")
    for first, second in [*itertools.product([0, 1], repeat=2)] * 75:
        params = {"first": first, "second": second}
        study.add_trial(optuna.create_trial(value=float(first != second), params=params, distributions=space))
    proposals = [study.ask(space).params for _ in range(40)]
    assert sum(params["first"] != params["second"] for params in proposals) >= 36


@pytest.mark.parametrize(("trials", "same"), [(9, True), (10, False), (19, True), (20, False)])
def test_the_policy_changes_once_per_batch(trials: int, same: bool) -> None:
    """Two studies that differ only in the last batch's scores propose the same until that batch is full."""
    scored = run(sampler(seed=3), trials // 10 * 10 - (trials % 10 == 0) * 10)
    proposals = []
    for sign in (1, -1):
        study = optuna.create_study(sampler=sampler(seed=3, learning_rate=0.1), direction="maximize")
        study.add_trials(scored.trials)
        while len(study.trials) < trials:
            trial = study.ask(SPACE)
            study.tell(trial, sign * score(trial.params))
        proposals.append([study.ask(SPACE).params for _ in range(10)])
    assert (proposals[0] == proposals[1]) == same


def test_the_sampler_minimises_if_the_study_does() -> None:
    assert mean_score(run(sampler(), 150, "minimize")) < 0.5


def test_the_scores_unit_does_not_matter() -> None:
    """Advantages have no unit; a power of two as factor changes no rounding."""
    proposals = []
    for unit in (1.0, 1024.0):
        study = optuna.create_study(sampler=sampler(), direction="maximize")
        for _ in range(60):
            trial = study.ask(SPACE)
            study.tell(trial, unit * score(trial.params))
        proposals.append([trial.params for trial in study.trials])
    assert proposals[0] == proposals[1]


def test_equal_scores_leave_the_policy_near_uniform() -> None:
    study = optuna.create_study(sampler=sampler(), direction="maximize")
    for _ in range(200):
        study.tell(study.ask(SPACE), 0.1)
    assert 0.5 < mean_score(study, 100) < 2.5


def test_equal_scores_at_first_do_not_stop_the_controller_from_learning() -> None:
    """Divided by a spread of 0, the first differences would make the policy certain of any candidate, for good."""
    study = optuna.create_study(sampler=sampler(), direction="maximize")
    for number in range(170):
        trial = study.ask(SPACE)
        study.tell(trial, 0.1 if number < 20 else score(trial.params))
    assert mean_score(study) > 4


def test_a_pruned_trial_has_the_gain_of_complete_ones() -> None:
    """At step 1 all scores are level; by their last scores alone, the pruned trials with `a` would look worst."""
    study = optuna.create_study(sampler=sampler(), direction="maximize")
    for number in range(150):
        trial = study.ask(SPACE)
        trial.report(score(trial.params) - 10, step=1)
        if number % 2:
            study.tell(trial, state=TrialState.PRUNED)
        else:
            study.tell(trial, score(trial.params) if number % 4 else score(trial.params) + 1e-3)
    assert mean_score(study) > 4


def test_pruned_trials_count_with_their_last_score() -> None:
    study = optuna.create_study(sampler=sampler(), direction="maximize")
    for _ in range(150):
        trial = study.ask(SPACE)
        trial.report(-score(trial.params), step=1)
        trial.report(score(trial.params), step=2)
        study.tell(trial, state=TrialState.PRUNED)
    assert mean_score(study) > 4


def test_trials_that_failed_or_have_no_finite_score_are_ignored() -> None:
    """A batch of each kind changes no proposal."""
    study = run(sampler(), 30)
    extended, plain = (optuna.create_study(sampler=sampler(), direction="maximize") for _ in range(2))
    for other in (extended, plain):
        other.add_trials(study.trials)
    for state, value in ((TrialState.FAIL, None), (TrialState.PRUNED, None), (TrialState.COMPLETE, math.inf)):
        for _ in range(10):
            params = dict.fromkeys(SPACE, "b")
            extended.add_trial(optuna.create_trial(state=state, value=value, params=params, distributions=SPACE))
            plain.ask()  # the trial's number determines the noise, so both studies need the same numbers
    assert [extended.ask(SPACE).params for _ in range(5)] == [plain.ask(SPACE).params for _ in range(5)]


def test_the_seed_and_the_trials_number_determine_every_draw() -> None:
    first, second, other = (run(sampler(seed=seed), 40) for seed in (7, 7, 8))
    assert [trial.params for trial in first.trials] == [trial.params for trial in second.trials]
    assert [trial.params for trial in first.trials] != [trial.params for trial in other.trials]


@pytest.mark.parametrize("trials", [1, 39, 40, 45])
def test_a_rebuilt_study_continues_like_the_original(trials: int) -> None:
    study = run(sampler(seed=7), trials)
    rebuilt = optuna.create_study(sampler=sampler(seed=7), direction="maximize")
    rebuilt.add_trials(study.trials)
    for _ in range(5):
        assert study.ask(SPACE).params == rebuilt.ask(SPACE).params


def test_the_controller_learns_in_the_order_in_which_trials_finish() -> None:
    """A sampler that followed several trials in flight proposes the same as one that reads the finished study."""
    study = optuna.create_study(sampler=sampler(), direction="maximize")
    in_flight = [study.ask(SPACE) for _ in range(8)]
    for _ in range(40):
        trial = in_flight.pop(-3)
        study.tell(trial, score(trial.params))
        in_flight.append(study.ask(SPACE))
    rebuilt = optuna.create_study(sampler=sampler(), direction="maximize")
    rebuilt.add_trials(study.trials)
    assert study.ask(SPACE).params == rebuilt.ask(SPACE).params


def test_what_was_learned_from_a_paused_trial_is_void_when_it_continues() -> None:
    """A sampler that followed the pauses proposes the same as one that reads the study."""
    study = run(sampler(batch=2), 3)
    paused = study.ask(SPACE)
    for step, (value, place) in enumerate(((0.0, 0), (9.0, 1), (9.0, None)), start=1):
        paused.report(value, step=step)
        paused.set_user_attr(END_PLACE, place)
        rebuilt = optuna.create_study(sampler=sampler(batch=2), direction="maximize")
        rebuilt.add_trials(study.trials)
        assert study.ask(SPACE).params == rebuilt.ask(SPACE).params


def test_a_sampler_used_in_a_second_study_starts_afresh() -> None:
    reused = sampler()
    run(reused, 40)
    assert [trial.params for trial in run(reused, 25).trials] == [trial.params for trial in run(sampler(), 25).trials]


def test_the_controller_learns_from_trials_of_another_sampler() -> None:
    study = optuna.create_study(sampler=sampler(), direction="maximize")
    source = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0), direction="maximize")
    for _ in range(150):
        trial = source.ask(SPACE)
        source.tell(trial, score(trial.params))
    study.add_trials(source.trials)
    assert mean_score(study) > 3


def test_only_existing_choices_of_a_decision_are_proposed() -> None:
    """The decisions have different numbers of choices, one of them a single choice."""
    space: dict[str, BaseDistribution] = {
        f"of {size}": CategoricalDistribution(list(range(size))) for size in (2, 7, 1, 3)
    }
    study = optuna.create_study(sampler=sampler(), direction="minimize")
    seen: dict[str, set[Any]] = {name: set() for name in space}
    for number in range(200):
        trial = study.ask(space)
        for name, value in trial.params.items():
            seen[name].add(value)
        study.tell(trial, float(number % 7))
    assert {name: len(values) for name, values in seen.items()} == {"of 2": 2, "of 7": 7, "of 1": 1, "of 3": 3}


def test_parameters_that_are_not_categorical_are_drawn_uniformly() -> None:
    space = {
        "rate": FloatDistribution(0, 1),
        "choice": CategoricalDistribution(["a", "b"]),
        "size": IntDistribution(1, 9),
    }
    study = optuna.create_study(sampler=sampler(), direction="maximize")
    for _ in range(150):
        trial = study.ask(space)
        study.tell(trial, float(trial.params["choice"] == "a"))
    late = [trial.params for trial in study.trials[-40:]]
    assert sum(params["choice"] == "a" for params in late) >= 34
    assert sum(params["rate"] for params in late) / 40 == pytest.approx(0.5, abs=0.15)
    assert {params["size"] for params in late} == set(range(1, 10))


def test_a_space_that_changes_from_trial_to_trial_is_supported() -> None:
    study = optuna.create_study(sampler=sampler(batch=2), direction="maximize")
    for number in range(40):
        trial = study.ask()
        kind = trial.suggest_categorical("kind", ["x", "y"])
        trial.suggest_categorical(f"option of {kind}", [0, 1, 2])
        study.tell(trial, float(number))
    assert {trial.params["kind"] for trial in study.trials} == {"x", "y"}


def test_a_space_without_decisions_is_drawn_uniformly() -> None:
    study = optuna.create_study(sampler=sampler(batch=1), direction="minimize")
    for _ in range(5):
        trial = study.ask({"rate": FloatDistribution(0, 1)})
        study.tell(trial, trial.params["rate"])
    assert len({trial.params["rate"] for trial in study.trials}) == 5


def test_pytorchs_global_random_state_and_threads_do_not_change() -> None:
    threads = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        state = torch.get_rng_state()
        run(sampler(), 25)
        assert torch.equal(torch.get_rng_state(), state)
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(threads)


def test_pytorch_is_not_imported_before_it_is_needed() -> None:
    code = "import sys, orchestrator.samplers.controller as c; c.ControllerSampler(); assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"algorithm": "trpo"}, "algorithm is 'trpo'; it must be one of ppo, reinforce"),
        ({"hidden": 0}, "hidden is 0; it must be at least 1"),
        ({"batch": 0}, "batch is 0; it must be at least 1"),
        ({"epochs": 0}, "epochs is 0; it must be at least 1"),
        ({"learning_rate": 0.0}, "learning_rate is 0.0; it must be between 0 and 1"),
        ({"learning_rate": math.nan}, "learning_rate is nan; it must be between 0 and 1"),
        ({"clip": 1.0}, "clip is 1.0; it must be between 0 and 1"),
        ({"entropy_weight": -0.1}, "entropy_weight is -0.1; it must be finite and at least 0"),
        ({"baseline_decay": 1.0}, "baseline_decay is 1.0; it must be at least 0 and less than 1"),
    ],
)
def test_options_out_of_bounds_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ControllerSampler(**options)
