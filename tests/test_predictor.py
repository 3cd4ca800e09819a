"""Tests of predictor-guided search in plain Optuna."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import optuna
import pytest
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution
from optuna.trial import TrialState

from orchestrator.samplers import predictor
from orchestrator.samplers.encoder import Encoder
from orchestrator.samplers.gaussian_process import GaussianProcess
from orchestrator.samplers.history import CURVES, END_PLACE, TRAININGS, finished_trials, to_point
from orchestrator.samplers.predictor import PredictorSampler
from search_spaces import NAS_BENCH_201, CellSpace

SPACE: dict[str, BaseDistribution] = {f"cell.{index}": CategoricalDistribution(list("abcd")) for index in range(8)}
TINY: dict[str, BaseDistribution] = {name: CategoricalDistribution([0, 1, 2]) for name in ("x", "y", "z")}
CELLS = CellSpace(name="small", source="none", operations=("a", "b", "c"), blocks=2)


def distributions(space: CellSpace) -> dict[str, BaseDistribution]:
    return {name: CategoricalDistribution(list(choices)) for name, choices in space.decisions()}


def additive(params: dict[str, Any]) -> float:
    """Count the decisions that are `a`; a `b` costs 0.01 times the decision's index."""
    return sum((value == "a") - index / 100 * (value == "b") for index, value in enumerate(params.values()))


def run(
    sampler: optuna.samplers.BaseSampler,
    trials: int,
    space: dict[str, BaseDistribution] = SPACE,
    score: Callable[[dict[str, Any]], float] = additive,
    direction: Any = "maximize",
) -> optuna.Study:
    study = optuna.create_study(sampler=sampler, direction=direction)
    for _ in range(trials):
        trial = study.ask(space)
        study.tell(trial, score(trial.params))
    return study


def points(study: optuna.Study) -> set[frozenset[tuple[str, Any]]]:
    return {frozenset(trial.params.items()) for trial in study.trials}


def test_the_predictor_finds_an_optimum_that_random_search_misses() -> None:
    """A random point is the optimum with a probability of 1 in 65,536."""
    study = run(PredictorSampler(seed=0), 80)
    assert study.best_value == 8
    assert run(optuna.samplers.RandomSampler(seed=0), 80).best_value < 6


def test_the_sampler_minimises_if_the_study_does() -> None:
    study = run(PredictorSampler(seed=0), 80, score=lambda params: -additive(params), direction="minimize")
    assert study.best_value == -8


def test_with_a_space_the_predictor_learns_from_the_cells_paths() -> None:
    """The score depends on one path: the convolutions on the way through both other nodes."""

    def score(params: dict[str, Any]) -> float:
        path = ("normal.0.from_0.operation", "normal.1.from_1.operation", "normal.2.from_2.operation")
        return sum(params[name].startswith("conv") for name in path) + (params[path[0]] == "conv_1x1")

    study = run(PredictorSampler(seed=0, space=NAS_BENCH_201), 60, distributions(NAS_BENCH_201), score)
    assert study.best_value == 4
    late = [trial.value or 0 for trial in study.trials[40:]]
    assert sum(late) / len(late) > 3


def expected_of(study: optuna.Study, params: dict[str, Any]) -> float:
    """What a Gaussian process fitted to the study's trials expects of a point, in units of the targets."""
    scored = finished_trials(study)
    results = predictor._results(study, scored, np.random.default_rng(0))
    encoder = Encoder(None)
    choices = {name: SPACE[name].choices for name in SPACE}  # type: ignore[attr-defined]
    seen = encoder.features([to_point(trial.params) for trial in scored], choices)
    process = GaussianProcess(seen, results.targets[:, 0], results.repeats, results.extra_noise[:, 0])
    return float(process.predict(encoder.features([to_point(params)], choices))[0][0])


def test_the_mean_of_several_trainings_weighs_more_than_one_score() -> None:
    """A candidate with a surprising score: the fit believes it more if it is the mean of thirty trainings."""

    def predicted(trainings: int) -> float:
        study = run(optuna.samplers.RandomSampler(seed=1), 30)
        params = {**study.trials[0].params, "cell.0": "d", "cell.1": "d", "cell.2": "d"}
        surprise = optuna.trial.create_trial(
            value=9.0, params=params, distributions=SPACE, user_attrs={TRAININGS: trainings}
        )
        study.add_trial(surprise)
        return expected_of(study, params)

    assert predicted(30) > predicted(1) + 0.05


@pytest.mark.parametrize(
    "space", [None, CellSpace(name="one", source="none", operations=("identity",), inputs=1, blocks=1)]
)
def test_parameters_without_a_choice_are_features_at_no_distance(space: CellSpace | None) -> None:
    choices: dict[str, Any] = dict(space.decisions()) if space else {"x": ("only",)}
    point = to_point({name: options[0] for name, options in choices.items()})
    features = Encoder(space).features([point], choices)
    assert features.size
    assert (features == 0).all()


def pareto(sampler: optuna.samplers.BaseSampler, trials: int, stopped: bool = False) -> optuna.Study:
    """Search for many `a` and, against it, for many `b` or `c`; `stopped`: most trials end early, as cellscout's do."""
    study = optuna.create_study(sampler=sampler, directions=["maximize", "minimize"])
    for number in range(trials):
        trial = study.ask(SPACE)
        letters = list(trial.params.values())
        values = [float(letters.count("a")), -float(letters.count("b") + letters.count("c") / 2)]
        if stopped and number % 4:
            trial.set_user_attr(CURVES, [[1, values[0] - 5, values[1]]])
            study.tell(trial, state=TrialState.PRUNED)
        else:
            trial.set_user_attr(CURVES, [[1, values[0] - 5, values[1]], [2, *values]])
            study.tell(trial, values)
    return study


@pytest.mark.parametrize("stopped", [False, True])
def test_several_objectives_are_searched_by_their_hypervolume(stopped: bool) -> None:
    """The front has 9 points; the end points have a probability of 1 in 65,536."""

    def reached(sampler: optuna.samplers.BaseSampler) -> set[tuple[int, int]]:
        counts = [list(trial.params.values()) for trial in pareto(sampler, 80, stopped).trials]
        return {(one.count("a"), one.count("b")) for one in counts if one.count("a") + one.count("b") == 8}

    assert len(reached(PredictorSampler(seed=0))) >= 6
    assert len(reached(optuna.samplers.RandomSampler(seed=0))) <= 4


@pytest.mark.parametrize("space", [None, CELLS])
def test_a_rebuilt_study_continues_like_the_original(space: CellSpace | None) -> None:
    """Checked at every distance from the last fit, with a trial in flight."""
    study = optuna.create_study(sampler=PredictorSampler(seed=7, initial=5, space=space), direction="maximize")
    for number in range(28):
        rebuilt = optuna.create_study(sampler=PredictorSampler(seed=7, initial=5, space=space), direction="maximize")
        rebuilt.add_trials(study.get_trials())
        trial = study.ask(distributions(CELLS))
        assert rebuilt.ask(distributions(CELLS)).params == trial.params
        if number != 3:
            study.tell(trial, sum(value == "a" for value in trial.params.values()))


def test_one_sampler_can_serve_two_studies() -> None:
    shared = PredictorSampler(seed=3, initial=5)
    run(shared, 20)
    assert points(run(shared, 20, score=lambda params: -additive(params))) == points(
        run(PredictorSampler(seed=3, initial=5), 20, score=lambda params: -additive(params))
    )


@pytest.mark.parametrize("finished", [0, 30])
def test_64_trials_in_flight_differ(finished: int) -> None:
    study = run(PredictorSampler(seed=0, space=CELLS), finished, distributions(CELLS), lambda params: len(str(params)))
    for _ in range(64):
        study.ask(distributions(CELLS))
    assert len(points(study)) == finished + 64
    fingerprints = {CELLS.decode(trial.params).fingerprint for trial in study.trials}
    assert len(fingerprints) == finished + 64


def test_every_point_is_tried_before_any_is_repeated() -> None:
    """This holds also if all mutants of the best trial are known."""
    study = run(PredictorSampler(seed=0, initial=4, candidates=3, parents=1), 27, TINY, lambda params: params["x"])
    assert len(points(study)) == 27
    assert set(study.ask(TINY).params) == set(TINY)


def test_a_failed_trial_is_neither_learned_from_nor_proposed_again() -> None:
    study = optuna.create_study(sampler=PredictorSampler(seed=0, initial=3), direction="maximize")
    for number in range(27):
        trial = study.ask(TINY)
        if number % 3 == 0:
            study.tell(trial, state=TrialState.FAIL if number % 2 else TrialState.PRUNED)
        else:
            study.tell(trial, trial.params["y"])
    assert len(points(study)) == 27


@pytest.mark.parametrize(("last", "is_parent"), [(0.5, True), (0.1, False)])
def test_a_pruned_trial_counts_with_the_median_gain_of_complete_trials(last: float, is_parent: bool) -> None:
    """Complete trials gained 0.4 since step 1, and the best has 0.8; so 0.5 counts as 0.9, and 0.1 as 0.5."""
    study = optuna.create_study(
        sampler=PredictorSampler(seed=0, initial=4, candidates=1, parents=1), direction="maximize"
    )
    for early in (0.2, 0.3, 0.4):
        complete = study.ask(SPACE)
        complete.report(early, step=1)
        study.tell(complete, early + 0.4)
    pruned = study.ask(SPACE)
    pruned.report(last, step=1)
    study.tell(pruned, state=TrialState.PRUNED)
    child = study.ask(SPACE)
    parent = pruned if is_parent else complete
    assert 1 <= sum(child.params[name] != parent.params[name] for name in SPACE) <= 2


def test_a_paused_trial_counts_with_its_score_until_it_continues(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its score is used, and not what the process expects of a trial that runs."""
    expected: list[int] = []
    monkeypatch.setattr(GaussianProcess, "add_expected", lambda process, features: expected.append(len(features)))
    study = run(PredictorSampler(seed=0, initial=3, candidates=1, parents=1), 3)
    paused = study.ask(SPACE)
    paused.report(9.0, step=1)
    paused.set_user_attr(END_PLACE, 3)
    child = study.ask(SPACE)
    assert 1 <= sum(child.params[name] != paused.params[name] for name in SPACE) <= 2
    study.tell(child, 0.0)
    assert expected == []
    paused.set_user_attr(END_PLACE, None)
    study.ask(SPACE)
    assert expected == [1]


def test_a_nan_score_ranks_last() -> None:
    study = optuna.create_study(
        sampler=PredictorSampler(seed=0, initial=4, candidates=1, parents=1), direction="maximize"
    )
    for value in (1.0, float("inf"), float("-inf")):
        study.tell(study.ask(SPACE), value)
    diverged = study.ask(SPACE)
    diverged.report(float("nan"), step=1)
    study.tell(diverged, state=TrialState.PRUNED)
    child = study.ask(SPACE)
    assert 1 <= sum(child.params[name] != study.trials[1].params[name] for name in SPACE) <= 2


def test_other_distributions_are_drawn_anew_and_other_categoricals_are_learned() -> None:
    space = {**distributions(CELLS), "rate": FloatDistribution(0, 1), "width": CategoricalDistribution([1, 2, 3])}
    sampler = PredictorSampler(seed=0, initial=10, space=CELLS)
    study = run(sampler, 60, space, lambda params: params["width"])
    assert len({trial.params["rate"] for trial in study.trials}) == 60
    assert sum(trial.params["width"] == 3 for trial in study.trials[30:]) > 20


def test_a_study_without_categorical_parameters_is_drawn_at_random() -> None:
    study = run(PredictorSampler(seed=0, initial=2), 10, {"rate": FloatDistribution(0, 1)}, lambda params: 0.0)
    assert len({trial.params["rate"] for trial in study.trials}) == 10


def test_a_space_of_one_point_is_proposed_repeatedly() -> None:
    study = run(PredictorSampler(seed=0, initial=2), 5, {"only": CategoricalDistribution(["a"])}, lambda params: 0.0)
    assert len(study.trials) == 5


@pytest.mark.parametrize(("name", "minimum"), [("initial", 2), ("candidates", 1), ("parents", 1)])
def test_sizes_below_their_minimum_are_refused(name: str, minimum: int) -> None:
    options: dict[str, Any] = {name: minimum - 1}
    with pytest.raises(ValueError, match=f"{name} is {minimum - 1}; it must be at least {minimum}"):
        PredictorSampler(**options)


@pytest.fixture
def _eager_threads() -> Iterator[None]:
    """Threads that take turns so often that a race shows itself."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    yield
    sys.setswitchinterval(before)


@pytest.mark.usefixtures("_eager_threads")
def test_threads_share_a_sampler() -> None:
    """Also if their trials have different parameters, which need features of their own."""
    study = optuna.create_study(sampler=pickle.loads(pickle.dumps(PredictorSampler(seed=0, initial=2))))

    def objective(trial: optuna.Trial) -> float:
        kind = trial.suggest_categorical("kind", list("xyz"))
        return float(sum(trial.suggest_categorical(f"{kind}.{place}", [0, 1, 2, 3]) for place in range(4)))

    study.optimize(objective, n_trials=80, n_jobs=8)
    assert len(study.get_trials(states=[TrialState.COMPLETE])) == 80


def test_every_process_makes_the_same_proposals_and_does_not_import_ray() -> None:
    """Python's string hashes differ between processes, and so do the orders of sets."""
    code = """
import sys, optuna
from optuna.distributions import CategoricalDistribution
from orchestrator.samplers.predictor import PredictorSampler
study = optuna.create_study(sampler=PredictorSampler(seed=1, initial=5), direction="maximize")
for _ in range(25):
    trial = study.ask({f"cell.{index}": CategoricalDistribution(list("abcd")) for index in range(8)})
    study.tell(trial, sum(value == "a" for value in trial.params.values()))
print(sys.modules.keys() & {"ray", "torch"}, [trial.params for trial in study.trials])
"""
    found = {
        subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(found) == 1
    assert found.pop().startswith("set()")
