"""Tests of every shipped scheduler against the contract, and of the contract against broken schedulers."""

from __future__ import annotations

import inspect
import random
from pathlib import Path
from typing import Any, final

import pytest
from ray.tune.experiment import Trial
from ray.tune.schedulers import AsyncHyperBandScheduler, FIFOScheduler, HyperBandScheduler, TrialScheduler

from orchestrator.config.loading import parse_config
from orchestrator.schedulers import SCHEDULERS, SEVERAL_OBJECTIVES
from orchestrator.schedulers.protocol import AnswersDuplicates, HasMilestones, Replayable
from orchestrator.search.run import run_search
from orchestrator.simulation.controller import SimulatedTrial
from orchestrator.testing.schedulers import check_scheduler

BOTH = {"val_accuracy": "maximize", "macs": "minimize"}


@pytest.mark.parametrize(
    ("name", "settings", "contract"),
    [
        ("asha", {}, {}),
        ("asha", {"min_epochs": 2, "reduction_factor": 4}, {"min_epochs": 2}),
        ("asha", {"brackets": 4}, {}),
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
        ("hyperband", {}, {}),
        # Ray Tune's rule goes through all trials.
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
        assert isinstance(scheduler, Replayable)
        assert isinstance(scheduler, AnswersDuplicates) == (name != "median")
        with pytest.raises(TypeError, match="unexpected keyword argument 'colour'"):
            make(max_epochs=27, colour="blue")


@pytest.mark.parametrize("name", ["median", "pasha"])
def test_a_scheduler_for_one_objective_refuses_two_and_names_alternatives(name: str) -> None:
    message = f"{name} supports one objective, but there are 2: val_accuracy, macs; use asha or asha_promotion"
    with pytest.raises(ValueError, match=message):
        SCHEDULERS[name](max_epochs=27, objectives=BOTH)
    SCHEDULERS[name](max_epochs=27, objectives={"val_loss": "minimize"})


@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        ("median", {"min_epochs": 28}, "min_epochs is 28; .* between 1 and max_epochs, 27"),
        ("median", {"min_samples": 0}, "min_samples is 0"),
    ],
)
def test_settings_out_of_bounds_are_refused(name: str, settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        SCHEDULERS[name](**{"max_epochs": 27, **settings})


@pytest.mark.parametrize(
    ("max_epochs", "min_epochs", "rungs"),
    [(27, 1, [[1, 3, 9], [3, 9], [9], []]), (27, 2, [[2, 6, 18], [6, 18], [18], []]), (3, 3, [[]])],
)
def test_hyperband_has_a_bracket_from_every_rung_on_and_one_without(
    max_epochs: int, min_epochs: int, rungs: list[list[int]]
) -> None:
    scheduler: Any = SCHEDULERS["hyperband"](max_epochs=max_epochs, min_epochs=min_epochs)
    assert [list(sizes) for sizes in scheduler.rung_sizes] == rungs


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
def test_ray_tunes_median_rule_ends_a_search_on_ray(tmp_path: Path) -> None:
    config = parse_config(
        {
            "training": {"epochs": 3},
            "trainable": {"name": "instant"},
            "sampler": {"name": "random"},
            "budget": {"trials": 16},
        },
        "x",
    )
    result = run_search(config, run_dir=tmp_path / "run", scheduler=SCHEDULERS["median"](max_epochs=3))
    trials = list(result.state.trials.values())
    assert result.state.outcome == "completed"
    assert {trial.status for trial in trials} == {"completed", "pruned"}
    for trial in trials:
        assert [row.epoch for row in trial.curve] == list(range(1, trial.epochs + 1))
