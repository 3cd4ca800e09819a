"""Tests of every shipped scheduler against the contract, and of the contract against broken schedulers."""

from __future__ import annotations

import inspect
import random
from dataclasses import replace
from pathlib import Path
from typing import Any, final

import pytest
from ray.tune.experiment import Trial
from ray.tune.schedulers import AsyncHyperBandScheduler, FIFOScheduler, HyperBandScheduler, TrialScheduler
from ray.tune.search import Searcher

from orchestrator.config.search_config import parse_config
from orchestrator.schedulers import SCHEDULERS, SEVERAL_OBJECTIVES
from orchestrator.schedulers.hyperband import HyperbandScheduler
from orchestrator.schedulers.protocol import AnswersDuplicates, HasMilestones, Replayable, TakesUp
from orchestrator.search.run import run_search
from orchestrator.simulation.controller import Row, SimulatedTrial, Simulation, simulate
from orchestrator.testing.schedulers import check_scheduler

BOTH = {"val_accuracy": "maximize", "macs": "minimize"}


@pytest.mark.parametrize(
    ("name", "settings", "contract"),
    [
        ("asha", {}, {}),
        ("asha", {"min_epochs": 2, "reduction_factor": 4}, {"min_epochs": 2}),
        ("asha", {"brackets": 3}, {}),
        # A rung's decision takes longer as its fronts grow: about 1 ms at 2,000 trials.
        ("asha", {"objectives": BOTH, "max_epochs": 9}, {"max_epochs": 9, "growth": 12.0}),
        ("asha_promotion", {}, {}),
        ("asha_promotion", {"brackets": 2}, {}),
        ("asha_promotion", {"objectives": BOTH, "max_epochs": 9}, {"max_epochs": 9, "growth": 12.0}),
        # The curves of all trials of a rung are compared: about 1 ms at 2,000 trials.
        ("pasha", {}, {"growth": 12.0}),
        ("pasha", {"min_epochs": 2, "reduction_factor": 2}, {"min_epochs": 2, "growth": 12.0}),
        ("cut", {"min_epochs": 3, "reduction_factor": 5}, {"min_epochs": 3}),
        ("cut", {"objectives": BOTH, "max_epochs": 9}, {"max_epochs": 9, "growth": 12.0}),
        # Ray Tune's schedulers go through all brackets or all trials.
        ("hyperband", {"max_epochs": 9}, {"max_epochs": 9, "many_trials": 500, "growth": 20.0}),
        ("median", {"max_epochs": 4}, {"max_epochs": 4, "many_trials": 200, "growth": 20.0}),
        ("fifo", {"max_epochs": 9}, {"max_epochs": 9}),
    ],
)
def test_every_scheduler_keeps_the_contract(name: str, settings: dict[str, Any], contract: dict[str, Any]) -> None:
    check_scheduler(lambda: SCHEDULERS[name](**{"max_epochs": 27, **settings}), **contract)


@final
class NeverResuming(FIFOScheduler):
    """Pauses every trial at epoch 3 and never resumes one."""

    def on_trial_result(self, tune_controller: Any, trial: Trial, result: dict[str, Any]) -> str:
        return TrialScheduler.PAUSE if result["epoch"] == 3 else TrialScheduler.CONTINUE

    def choose_trial_to_run(self, tune_controller: Any) -> Trial | None:
        return None


@final
class StoppingAtOnce(FIFOScheduler):
    """Stops every trial at its first result."""

    def on_trial_result(self, tune_controller: Any, trial: Trial, result: dict[str, Any]) -> str:
        return TrialScheduler.STOP


@final
class Nondeterministic(FIFOScheduler):
    """Stops a trial at random."""

    def on_trial_result(self, tune_controller: Any, trial: Trial, result: dict[str, Any]) -> str:
        return TrialScheduler.STOP if random.random() < 0.1 else TrialScheduler.CONTINUE


@final
class Slow(FIFOScheduler):
    """Sorts all results so far at every result."""

    def __init__(self) -> None:
        super().__init__()
        self._results: list[float] = []

    def on_trial_result(self, tune_controller: Any, trial: Trial, result: dict[str, Any]) -> str:
        self._results.append(result["val_accuracy"])
        sorted(self._results, key=lambda value: -value)
        return TrialScheduler.CONTINUE


@pytest.mark.parametrize(
    ("make", "contract", "message"),
    [
        (NeverResuming, {}, "does not end: .*PAUSED, 3 epochs"),
        (StoppingAtOnce, {"min_epochs": 2}, "stopped at epoch 1, before 2"),
        (Nondeterministic, {}, "given the same results"),
        (Slow, {"max_epochs": 3, "many_trials": 1000}, "in a search of 1000 trials, a call takes .* growth = 4 times"),
        (lambda: HyperBandScheduler(time_attr="epoch", max_t=27), {}, "does not end"),
        (lambda: AsyncHyperBandScheduler(time_attr="epoch", max_t=27, brackets=2), {}, "given the same results"),
    ],
)
def test_the_contract_catches_broken_schedulers(make: Any, contract: dict[str, Any], message: str) -> None:
    with pytest.raises(AssertionError, match=message):
        check_scheduler(make, **contract)


def test_every_scheduler_has_a_description_and_its_protocols() -> None:
    assert set(SCHEDULERS) == {"asha", "asha_promotion", "cut", "fifo", "hyperband", "median", "pasha"}
    for name, make in SCHEDULERS.items():
        assert inspect.getdoc(make)
        scheduler: Any = make(max_epochs=27, min_epochs=1, reduction_factor=3, objectives=None)
        assert scheduler.several_objectives == (name in SEVERAL_OBJECTIVES)
        assert isinstance(scheduler, HasMilestones) == (name != "median")
        assert isinstance(scheduler, Replayable) == (name != "hyperband")
        assert isinstance(scheduler, TakesUp) == (name == "hyperband")
        assert isinstance(scheduler, AnswersDuplicates) == (name not in {"hyperband", "median"})
        with pytest.raises(TypeError, match="unexpected keyword argument 'colour'"):
            make(max_epochs=27, colour="blue")


@pytest.mark.parametrize("name", ["hyperband", "median", "pasha"])
def test_a_scheduler_for_one_objective_refuses_two_and_names_alternatives(name: str) -> None:
    message = f"{name} supports one objective, but there are 2: val_accuracy, macs; use asha or asha_promotion"
    with pytest.raises(ValueError, match=message):
        SCHEDULERS[name](max_epochs=27, objectives=BOTH)
    SCHEDULERS[name](max_epochs=27, objectives={"val_loss": "minimize"})


@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        ("hyperband", {"min_epochs": 2}, "min_epochs is 2; .* from epoch 1 on; use asha"),
        ("hyperband", {"reduction_factor": 1}, "reduction_factor is 1"),
        ("hyperband", {"max_epochs": 0}, "max_epochs is 0"),
        ("median", {"min_epochs": 28}, "min_epochs is 28; .* between 1 and max_epochs, 27"),
        ("median", {"min_samples": 0}, "min_samples is 0"),
    ],
)
def test_settings_out_of_bounds_are_refused(name: str, settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        SCHEDULERS[name](**{"max_epochs": 27, **settings})


@pytest.mark.parametrize(
    ("max_epochs", "factor", "milestones"), [(27, 3, (1, 3, 9)), (9, 3, (1, 3)), (16, 3, (1, 3, 5, 9, 15)), (1, 3, ())]
)
def test_hyperbands_milestones_are_the_rungs_of_its_brackets(
    max_epochs: int, factor: int, milestones: tuple[int, ...]
) -> None:
    scheduler: Any = SCHEDULERS["hyperband"](max_epochs=max_epochs, reduction_factor=factor)
    assert scheduler.milestones == milestones


def test_hyperband_compares_a_resumed_trial_at_the_same_epoch() -> None:
    """The fourth trial had 0.2 at epoch 3; at epoch 4 it has the best value of all, which must not count."""
    run = hyperband_run([0.1, 0.1, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6], {3: 3})
    assert [trial.curve[-1].epoch for trial in run.trials] == [9, 9, 9, 4, 3, 3, 9, 9]


def test_hyperband_continues_after_a_trial_of_a_bracket_fails() -> None:
    """The brackets have 3, 5 and 9 trials. Three of the last bracket continue to epoch 3, and one of them fails."""
    scores = [0.1] * 8 + [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9]
    run = hyperband_run(scores, {}, failing=14)
    epochs = [trial.curve[-1].epoch for trial in run.trials]
    assert epochs[8:] == [1, 1, 1, 1, 1, 1, 1, 3, 9]


def hyperband_run(scores: list[float], resumed: dict[int, int], failing: int | None = None) -> Simulation:
    """Run Hyperband with one trial per score.

    A trial reports its score up to epoch 3, and 0.9 more after it.

    Args:
        scores: the score of each trial, by number.
        resumed: resumed trials, number -> epochs that were trained before.
        failing: number of a trial that fails in epoch 2, after a time in which the others have to wait for it.
    """
    scheduler = HyperbandScheduler(max_epochs=9, objectives={"val_accuracy": "maximize"})

    def row(number: int, epoch: int) -> dict[str, Any]:
        return {"epoch": epoch, "val_accuracy": scores[number] + 0.9 * (epoch > 3)}

    class Resuming(Searcher):
        def suggest(self, trial_id: str) -> dict[str, Any] | str:
            number = int(trial_id)
            if number == len(scores):
                return str(Searcher.FINISHED)
            if number in resumed:
                scheduler.take_up(trial_id, [row(number, epoch) for epoch in range(1, resumed[number] + 1)])
            return {"number": number}

        def on_trial_complete(self, trial_id: str, result: Any = None, error: bool = False) -> None:
            pass

    def evaluate(config: dict[str, Any]) -> list[Row]:
        number = config["number"]
        rows = [Row(epoch=epoch, seconds=1.0, metrics=row(number, epoch)) for epoch in range(1, 10)]
        if number == failing:
            rows[1] = replace(rows[1], seconds=30.0, error="it fails")
        return rows[resumed.get(number, 0) :]

    return simulate(Resuming(), scheduler, evaluate, workers=len(scores), seconds=1e9)


def test_the_median_rule_counts_each_epoch_once() -> None:
    scheduler: Any = SCHEDULERS["median"](max_epochs=9)
    assert scheduler.set_search_properties("val_accuracy", "max")
    for number in range(3):
        scheduler.replay(f"{number:05d}", [{"epoch": epoch, "val_accuracy": 0.5} for epoch in (1, 2, 3)])
    trial = SimulatedTrial(trial_id="tune", config={})
    scheduler.identify("tune", "00003")
    good, bad = ({"epoch": epoch, "val_accuracy": value} for epoch, value in ((1, 0.6), (1, 0.1)))
    assert scheduler.on_trial_result(None, trial, good) == TrialScheduler.CONTINUE
    assert scheduler.on_trial_result(None, trial, bad) == TrialScheduler.CONTINUE  # a retry: it had 0.6 before
    other = SimulatedTrial(trial_id="other", config={})
    assert scheduler.on_trial_result(None, other, bad) == TrialScheduler.STOP


@pytest.mark.slow
@pytest.mark.usefixtures("local_ray")
@pytest.mark.parametrize("name", ["hyperband", "median"])
def test_ray_tunes_schedulers_end_a_search_on_ray(name: str, tmp_path: Path) -> None:
    config = parse_config(
        {
            "training": {"epochs": 3},  # with more, Ray Tune's Hyperband stops no trial on two workers
            "trainable": {"name": "instant"},
            "sampler": {"name": "random"},
            "budget": {"trials": 16},
        },
        "x",
    )
    result = run_search(config, run_dir=tmp_path / "run", scheduler=SCHEDULERS[name](max_epochs=3))
    trials = list(result.state.trials.values())
    assert result.state.outcome == "completed"
    assert {trial.status for trial in trials} == {"completed", "pruned"}
    for trial in trials:
        assert [row.epoch for row in trial.curve] == list(range(1, trial.epochs + 1))
