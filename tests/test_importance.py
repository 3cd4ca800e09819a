"""Which decisions mattered: on searches whose truth is known."""

from __future__ import annotations

import io
import json
import math
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest
from rich.console import Console
from scipy.stats import rankdata

from orchestrator.record.events import EvaluationPlanned
from orchestrator.record.run_directory import RunDirectory
from orchestrator.record.run_state import RunState
from orchestrator.record.trial import Trial
from orchestrator.report.importance import MIN_TRIALS, Importances, _standings, importances
from orchestrator.report.importance_table import importance_json, importance_tables
from orchestrator.samplers import SAMPLERS
from orchestrator.study.distributions import to_distributions, write_distributions
from search_spaces import NASNET
from tests.builders import at, epoch, info
from tests.driving import busy, driven

DISTRIBUTIONS = to_distributions(NASNET.param_space())
THE_ONE = "normal.2.left.operation"
GOOD = NASNET.operations[:6]

Score = Callable[[Mapping[str, Any], np.random.Generator], float]


def noise(params: Mapping[str, Any], generator: np.random.Generator) -> float:
    return float(generator.uniform(0.3, 0.9))


def one_matters(params: Mapping[str, Any], generator: np.random.Generator) -> float:
    return (0.7 if params[THE_ONE] in GOOD else 0.5) + float(generator.normal(0, 0.08))


def identity_is_bad(params: Mapping[str, Any], generator: np.random.Generator) -> float:
    used = sum(value == "identity" for value in params.values())
    return 0.8 - 0.1 * min(used, 1) + float(generator.normal(0, 0.05))


def searched(
    count: int, score: Score, *, seed: int = 0, sampler: str | None = None, objectives: Mapping[str, Any] | None = None
) -> RunState:
    """A search whose trials all were trained for nine epochs."""
    generator = np.random.default_rng(seed)
    state = RunState(
        objectives=dict(objectives or {"val_accuracy": "maximize"}), distributions=write_distributions(DISTRIBUTIONS)
    )
    study = None if sampler is None else optuna.create_study(sampler=SAMPLERS[sampler](seed=seed), direction="maximize")
    for number in range(count):
        asked = None if study is None else study.ask(DISTRIBUTIONS)
        params = at_random(generator) if asked is None else asked.params
        value = score(params, generator)
        if study is not None and asked is not None:
            study.tell(asked, value)
        add(state, number, params, [value / 2] * 8 + [value])
    return state


def at_random(generator: np.random.Generator) -> dict[str, Any]:
    return NASNET.encode(NASNET.sample(generator))


def add(state: RunState, number: int, params: Mapping[str, Any], scores: list[float], **more: Any) -> Trial:
    trial_id = f"{number:05d}"
    macs = 100.0 + 10 * sum(str(value).startswith("sep_conv_7x7") for value in params.values())
    trial = Trial(
        trial_id=trial_id,
        number=number,
        params=dict(params),
        architecture={},
        fingerprint=trial_id,
        costs={"parameters": 10.0, "macs": macs, "activation_bytes": 1.0},
        suggested_at=at(number),
        curve=[epoch(trial_id, one, score) for one, score in enumerate(scores, start=1)],
        status="completed" if len(scores) == 9 else "pruned",
        **more,
    )
    state.trials[trial_id] = trial
    return trial


def found(state: RunState) -> Importances:
    result = importances(state)
    assert result is not None
    return result


def told(state: RunState) -> str:
    """As the command prints it, in 80 columns."""
    written = io.StringIO()
    console = Console(width=80, file=written)
    console.print(importance_tables(found(state)))
    text = written.getvalue()
    assert max(len(line) for line in text.splitlines()) <= 80
    return text


def test_the_decision_that_matters_comes_first_and_alone() -> None:
    (one,) = found(searched(150, one_matters)).objectives
    first, *others = one.decisions
    assert first.name == THE_ONE
    assert first.p <= 0.01
    assert 0.35 < first.share < 0.8  # 0.25 of the differences are between 6 and 7 of 13 operations, the rest is noise
    assert all(effect.is_noise for effect in others)
    groups = {effect.name: effect for effect in one.groups}
    assert list(groups) == ["inputs", "operations", "combinations", "normal cell", "reduction cell"]
    assert not groups["operations"].is_noise
    assert groups["inputs"].is_noise
    assert groups["combinations"].is_noise


def test_shares_of_groups_are_the_sums_of_their_decisions() -> None:
    (one,) = found(searched(100, one_matters)).objectives
    groups = {effect.name: effect.share for effect in one.groups}
    normal = sum(effect.share for effect in one.decisions if effect.name.startswith("normal."))
    assert groups["normal cell"] == pytest.approx(normal)
    assert groups["normal cell"] + groups["reduction cell"] == pytest.approx(
        groups["operations"] + groups["inputs"] + groups["combinations"]
    )


def test_noise_is_said_to_be_noise() -> None:
    """Of 30 searches without a truth, one or two would be expected to find something among 50 decisions."""
    wrong = [
        not all(effect.is_noise for effect in found(searched(MIN_TRIALS, noise, seed=seed)).objectives[0].decisions)
        for seed in range(30)
    ]
    assert sum(wrong) <= 5
    quiet = next(seed for seed, one in enumerate(wrong) if not one)
    assert "no single decision is more than noise" in told(searched(MIN_TRIALS, noise, seed=quiet))


def test_decisions_that_came_along_with_the_good_one_are_not_taken_for_it() -> None:
    """Evolution copies whole candidates; over all of the search, dozens of decisions go with the score."""
    (one,) = found(searched(200, one_matters, sampler="evolution")).objectives
    assert one.decisions[0].name == THE_ONE
    assert [effect.name for effect in one.decisions if not effect.is_noise] in ([THE_ONE], [])


def test_too_few_trials_give_no_numbers() -> None:
    state = searched(MIN_TRIALS - 1, one_matters)
    assert found(state) == Importances(MIN_TRIALS - 1, 9, 9, ())
    assert (importance_json(found(state)) or {})["objectives"] is None
    text = told(state)
    assert "too few" in text
    assert f"{MIN_TRIALS - 1} trials" in text


def test_a_search_without_a_score_gives_no_numbers() -> None:
    state = searched(0, noise)
    assert found(state) == Importances(0, 0, None, ())
    assert "no trial has a score" in told(state)


def test_two_trials_are_compared_after_the_last_epoch_that_both_reached() -> None:
    unreached = math.nan
    curves = np.array(
        [
            [0.5, 0.6, 0.9],
            [0.6, unreached, unreached],
            [0.4, 0.7, unreached],
            [-math.inf, unreached, unreached],  # it diverged
        ]
    )
    # The second beats all three; the third the first and the fourth; the first only the fourth.
    assert _standings(curves).tolist() == [-0.5, 1.5, 0.5, -1.5]


def test_the_standings_of_whole_trainings_are_ranks() -> None:
    scores = np.random.default_rng(0).integers(0, 5, 20).astype(float)
    curves = np.stack([scores[::-1], scores], axis=1)
    assert _standings(curves) == pytest.approx(rankdata(scores) - 21 / 2)


def test_what_a_scheduler_has_weeded_out_mattered() -> None:
    """Of the 66 trials that reach epoch 3, nearly all have the good choice: among them it would not seem to matter."""
    generator = np.random.default_rng(0)
    state = searched(0, noise)
    candidates = [at_random(generator) for _ in range(200)]
    qualities = [one_matters(params, generator) for params in candidates]
    order = sorted(range(200), key=lambda number: -qualities[number])
    reached = {number: 9 if rank < 22 else 3 if rank < 66 else 1 for rank, number in enumerate(order)}
    for number, params in enumerate(candidates):
        add(state, number, params, [qualities[number] - 0.2 + 0.02 * one for one in range(reached[number])])
    survivors = [params for number, params in enumerate(candidates) if reached[number] > 1]
    assert np.mean([params[THE_ONE] in GOOD for params in survivors]) > 0.85
    result = found(state)
    assert (result.trials, result.epoch, result.epochs) == (200, 1, 9)
    first = result.objectives[0].decisions[0]
    assert (first.name, first.is_noise) == (THE_ONE, False)
    assert first.share > 0.3
    assert "after epoch 1 of 9" in told(state)


def test_each_trial_counts_as_far_as_it_was_trained() -> None:
    """After the first epoch all are equal; what the third shows counts for those that reached it."""
    generator = np.random.default_rng(0)
    state = searched(0, noise)
    for number in range(150):
        params = at_random(generator)
        add(state, number, params, [0.5, 0.5, one_matters(params, generator)] if number % 5 else [0.5])
    first = found(state).objectives[0].decisions[0]
    assert (first.name, first.is_noise) == (THE_ONE, False)


def test_duplicates_failures_and_trials_in_training_are_left_out_and_diverged_ones_are_the_worst() -> None:
    state = searched(MIN_TRIALS, noise)
    params = state.trials["00000"].params
    add(state, 900, params, [0.1] * 9, duplicate_of="00000")
    add(state, 901, params, [0.1]).status = "failed"
    add(state, 902, params, [0.1]).status = "running"
    assert (found(state).trials, found(state).epoch) == (MIN_TRIALS, 9)
    add(state, 903, params, [0.1]).paused = True
    before = found(state)
    assert (before.trials, before.epoch) == (MIN_TRIALS + 1, 1)
    diverged = add(state, 904, {**params, THE_ONE: "identity"}, [math.nan])
    diverged.status = "diverged"
    result = found(state)
    assert (result.trials, result.epoch) == (MIN_TRIALS + 2, 1)
    uses = {use.name: use.trials for use in result.objectives[0].operations}
    assert uses["identity"] == {use.name: use.trials for use in before.objectives[0].operations}["identity"]


def test_every_objective_has_its_own() -> None:
    state = searched(120, one_matters, objectives={"val_accuracy": "maximize", "macs": "minimize"})
    accuracy, macs = found(state).objectives
    assert (accuracy.objective, macs.objective) == ("val_accuracy", "macs")
    assert accuracy.decisions[0].name == THE_ONE
    uses = {use.name: use for use in macs.operations}
    assert not uses["sep_conv_7x7"].is_noise
    assert macs.operations[-1].name == "sep_conv_7x7"  # fewer are better, and it makes more of them
    assert not {effect.name: effect for effect in macs.groups}["operations"].is_noise
    assert "macs" in told(state)


def test_operations_have_the_mean_of_those_that_use_them() -> None:
    state = searched(300, identity_is_bad)
    (one,) = found(state).objectives
    scores = [trial.val_accuracy or 0 for trial in state.trials.values() if "identity" in trial.params.values()]
    use = {use.name: use for use in one.operations}["identity"]
    assert use.trials == len(scores)
    assert use.mean == pytest.approx(np.mean(scores))
    assert use.margin == pytest.approx(1.968 * np.std(scores, ddof=1) / len(scores) ** 0.5, rel=0.01)
    assert use.others is not None
    assert use.others - (use.mean or 0) == pytest.approx(0.1, abs=0.03)
    assert not use.is_noise
    assert one.operations[-1].name == "identity"
    assert sum(not other.is_noise for other in one.operations) <= 2


def test_what_all_have_in_common_explains_nothing() -> None:
    state = searched(MIN_TRIALS, noise)
    for trial in state.trials.values():
        trial.params = dict(next(iter(state.trials.values())).params)
    (one,) = found(state).objectives
    assert all(effect.share == 0 and effect.is_noise for effect in one.decisions)
    assert {use.p for use in one.operations} == {None}
    told(state)


def test_level_scores_explain_nothing() -> None:
    (one,) = found(searched(MIN_TRIALS, lambda params, generator: 0.5)).objectives
    assert all(effect.is_noise for effect in [*one.decisions, *one.groups])
    assert all(use.is_noise for use in one.operations)


def test_it_is_the_same_each_time_and_quick() -> None:
    state = searched(1000, one_matters)
    started = time.perf_counter()
    first = found(state)
    assert time.perf_counter() - started < 20  # 0.5 s where nothing else runs
    assert found(state) == first
    assert json.loads(json.dumps(importance_json(first)))["objectives"][0]["decisions"][0]["decision"] == THE_ONE


def test_an_evaluation_has_none() -> None:
    state = searched(MIN_TRIALS, noise)
    state.evaluation = EvaluationPlanned(candidates=[], folds=2, seeds=[0])
    assert importances(state) is None
    assert importance_json(None) is None


def test_the_command_tells_it(tmp_path: Path, cellscout: Any) -> None:
    (tmp_path / "run").mkdir()
    with driven(tmp_path / "run") as hand:
        busy(hand, 30)
    RunDirectory.at(tmp_path / "run").write_info(info(state="completed"))
    assert "too few" in cellscout("report", "run").out
    told_json = json.loads(cellscout("report", "run", "--json").out)["importance"]
    assert told_json["objectives"] is None
    assert "importance" not in json.loads(cellscout("status", "run", "--json").out)
