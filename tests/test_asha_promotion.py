"""Tests of ASHA's promotion variant, on a virtual clock and on Ray."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, ClassVar

import pytest
from ray import tune
from ray.tune.experiment import Trial
from ray.tune.schedulers import TrialScheduler
from ray.tune.search import Searcher

from orchestrator.cluster.machine import environment_variables
from orchestrator.cluster.tune_run import TUNE_ENVIRONMENT
from orchestrator.config.loading import parse_config
from orchestrator.record.recorded_run import RecordedRun
from orchestrator.schedulers.asha import AshaScheduler
from orchestrator.schedulers.asha_promotion import AshaPromotionScheduler
from orchestrator.search.run import run_search
from orchestrator.simulation.controller import Row, SimulatedTrial, Simulation, simulate


class Scores(Searcher):
    """A searcher that suggests the given scores."""

    def __init__(self, scores: list[float]) -> None:
        super().__init__()
        self._scores = iter(scores)

    def suggest(self, trial_id: str) -> dict[str, Any] | None:
        score = next(self._scores, None)
        return None if score is None else {"score": score}

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        pass


def curve(config: dict[str, Any]) -> list[Row]:
    return [Row(epoch=epoch, seconds=1.0, metrics={"val_accuracy": config["score"]}) for epoch in range(1, 10)]


def search(scores: list[float], workers: int = 1, **settings: Any) -> Simulation:
    scheduler = AshaPromotionScheduler(max_epochs=9, **settings)
    return simulate(Scores(scores), scheduler, curve, workers=workers, trials=len(scores))


def trial_named(name: str) -> Any:
    return SimulatedTrial(trial_id=name, config={})


def scheduler() -> AshaPromotionScheduler:
    made = AshaPromotionScheduler(max_epochs=9)
    assert made.set_search_properties("val_accuracy", "max")
    return made


def test_a_trial_in_the_best_third_is_promoted_as_soon_as_three_trials_are_in_the_rung() -> None:
    run = search([0.9, 0.1, 0.2, 0.3, 0.4, 0.5])
    starts_and_pauses = [(event.kind, event.trial_id) for event in run.events if event.kind in ("started", "paused")]
    first, second, third, fourth, fifth, sixth = ("00000", "00001", "00002", "00003", "00004", "00005")
    assert starts_and_pauses[:8] == [
        ("started", first),
        ("paused", first),
        ("started", second),
        ("paused", second),
        ("started", third),
        ("paused", third),
        ("started", first),  # the best of three, before any new trial
        ("paused", first),
    ]
    # The sixth is the second best of six: its worker continues it without a pause at epoch 1.
    assert [name for kind, name in starts_and_pauses if kind == "started"][4:] == [fourth, fifth, sixth, first]
    assert [trial.epochs for trial in run.trials] == [9, 1, 1, 1, 1, 3]


def test_diverged_trials_count_in_their_rung_in_a_simulation() -> None:
    """Half of the trials diverge in their first epoch: a third of all is promoted, not a third of the others."""
    scores = [math.nan] * 6 + [0.6, 0.5, 0.4, 0.3, 0.2, 0.1]
    promoting = search(scores)
    stopping = simulate(Scores(scores), AshaScheduler(max_epochs=9), curve, workers=1, trials=12)
    assert sum(trial.epochs >= 3 for trial in promoting.trials) == 4
    assert [trial.epochs >= 3 for trial in stopping.trials[6:]] == [True] * 3 + [False] * 3


def test_the_highest_rung_promotes_first() -> None:
    resumed = scheduler()
    controller: Any = None
    for number, epochs in enumerate((1, 1, 1, 3, 3, 3)):
        name = f"{number:05d}"
        resumed.replay(name, [{"epoch": epoch, "val_accuracy": number / 10} for epoch in range(1, epochs + 1)])
        if epochs == 1:
            resumed.replay(f"better-{name}", [{"epoch": 1, "val_accuracy": 0.9}])
    waiting: dict[str, Any] = {}
    for name in ("better-00000", "00005"):
        waiting[name] = trial_named(name)
        resumed.on_trial_add(controller, waiting[name])
    chosen: Any = resumed.choose_trial_to_run(controller)
    assert chosen is waiting["00005"]  # the best of three at epoch 3
    chosen.set_status(Trial.RUNNING)
    assert resumed.choose_trial_to_run(controller) is waiting["better-00000"]  # among the best three of nine at epoch 1


@pytest.mark.parametrize("trials", [1, 2, 5, 30])
@pytest.mark.parametrize("workers", [1, 4, 16])
def test_every_search_ends_and_trains_its_best_trial_to_the_end(trials: int, workers: int) -> None:
    run = search([(number * 37 % 101) / 101 for number in range(trials)], workers=workers)
    assert {trial.status for trial in run.trials} == {Trial.TERMINATED}
    best = max(run.trials, key=lambda trial: trial.config["score"])
    assert best.epochs == 9
    assert all(trial.epochs in (1, 3, 9) for trial in run.trials)


def test_a_trial_that_was_paused_before_a_resume_is_paused_again() -> None:
    resumed = scheduler()
    resumed.replay("00000", [{"epoch": 1, "val_accuracy": 0.9}])
    resumed.replay("00001", [{"epoch": epoch, "val_accuracy": 0.8} for epoch in (1, 2)])
    resumed.identify("paused", "00000")
    resumed.identify("runs", "00001")
    controller: Any = None
    trials = [trial_named(name) for name in ("paused", "runs", "new")]
    paused, _, new = trials
    for trial in trials:
        resumed.on_trial_add(controller, trial)
    assert [trial.status for trial in trials] == [Trial.PAUSED, Trial.PENDING, Trial.PENDING]
    result = {"epoch": 1, "val_accuracy": 0.1}
    new.status = Trial.RUNNING
    assert resumed.on_trial_result(controller, new, result) == TrialScheduler.PAUSE
    # Now the best of three is promotable, and comes before the pending one.
    assert resumed.choose_trial_to_run(controller) is paused


def test_a_trial_that_was_promoted_continues_after_an_error() -> None:
    made = scheduler()
    controller: Any = None
    trial = trial_named("a")
    trial.set_status(Trial.RUNNING)
    made.replay("b", [{"epoch": 1, "val_accuracy": 0.1}])
    made.replay("c", [{"epoch": 1, "val_accuracy": 0.1}])
    made.on_trial_add(controller, trial)
    result = {"epoch": 1, "val_accuracy": 0.9}
    assert made.on_trial_result(controller, trial, result) == TrialScheduler.CONTINUE
    made.on_trial_error(controller, trial)
    made.on_trial_add(controller, trial)
    assert trial.status == Trial.RUNNING  # as Ray Tune set it
    assert made.on_trial_result(controller, trial, result) == TrialScheduler.CONTINUE


@pytest.mark.slow
@pytest.mark.usefixtures("local_ray")
def test_on_ray_a_search_ends_and_each_epoch_is_trained_once(tmp_path: Path) -> None:
    config = parse_config(
        {
            "training": {"epochs": 9},
            "trainable": {"name": "instant"},
            "sampler": {"name": "random"},
            "budget": {"trials": 24},
        },
        "x",
    )
    result = run_search(config, run_dir=tmp_path / "run", scheduler=AshaPromotionScheduler(max_epochs=9))
    trials = list(result.state.trials.values())
    assert result.state.outcome == "completed"
    assert RecordedRun.read(tmp_path / "run").info.passed["scheduler"].name == "AshaPromotionScheduler"
    assert {trial.status for trial in trials} == {"completed", "pruned"}
    for trial in trials:
        assert [row.epoch for row in trial.curve] == list(range(1, trial.epochs + 1))
        assert trial.epochs in (1, 3, 9)
    assert 24 // 3 <= sum(trial.epochs > 1 for trial in trials) < 24 // 2
    best = max(trials, key=lambda trial: trial.curve[0].val_accuracy or 0)
    assert best.epochs == 9


class FromEpoch(tune.Trainable):
    """A trainable that starts after the epoch in its parameters, as after a resume."""

    def setup(self, config: dict[str, Any]) -> None:
        self.epoch = config["start"]
        self.score = config["score"]

    def step(self) -> dict[str, Any]:
        self.epoch += 1
        return {"epoch": self.epoch, "val_accuracy": self.score, "done": self.epoch == 9}

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        (Path(checkpoint_dir) / "epoch").write_text(str(self.epoch))

    def load_checkpoint(self, checkpoint: str) -> None:
        self.epoch = int((Path(checkpoint) / "epoch").read_text())


@pytest.mark.slow
@pytest.mark.usefixtures("local_ray")
def test_on_ray_a_trial_paused_before_a_resume_gets_no_worker_until_it_is_promoted(tmp_path: Path) -> None:
    resumed = AshaPromotionScheduler(max_epochs=9)
    resumed.set_search_properties("val_accuracy", "max")
    past = [0.1, 0.2, 0.9, 0.3]
    for number, score in enumerate(past):
        resumed.replay(f"{number:05d}", [{"epoch": 1, "val_accuracy": score}])

    class Resuming(Searcher):
        numbers: ClassVar[dict[str, int]] = {}

        def suggest(self, trial_id: str) -> dict[str, Any]:
            number = self.numbers[trial_id] = len(self.numbers)
            resumed.identify(trial_id, f"{number:05d}")
            return {"start": 1, "score": past[number]} if number < len(past) else {"start": 0, "score": 0.0}

        def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
            pass

    with environment_variables({**TUNE_ENVIRONMENT, "TUNE_MAX_PENDING_TRIALS_PG": "2"}):
        analysis = tune.run(
            FromEpoch,
            config={"start": 0, "score": 0.0},
            metric="val_accuracy",
            mode="max",
            search_alg=Resuming(),
            scheduler=resumed,
            num_samples=6,
            storage_path=str(tmp_path),
            verbose=0,
        )
    trained = {Resuming.numbers[trial.trial_id]: trial.last_result.get("epoch") for trial in analysis.trials}
    # Trial 2, the best of four, is promoted. Of six trials the best two are, so trial 3 is too; the new ones are worst.
    assert trained == {0: None, 1: None, 2: 9, 3: 3, 4: 1, 5: 1}
