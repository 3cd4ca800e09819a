"""Searches of Fashion-MNIST with two workers and a time limit, and what each would have named over time.

Knows cellscout and stock Ray Tune; does not know the true score of what they name.
"""

from __future__ import annotations

import json
import shutil
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, NamedTuple

import optuna
import ray
import torch
from ray import tune
from ray.tune.schedulers import ASHAScheduler
from ray.tune.search.optuna import OptunaSearch

from orchestrator.cluster import environment_variables
from orchestrator.config import SearchConfig, change_config, make_skeleton, make_space, parse_config
from orchestrator.record import ENDED, EpochDone, RecordedRun, RunState, Trial
from orchestrator.search import run_search
from search_spaces import Architecture
from trainables.datasets import DataSplits, load_data
from trainables.loader import DeviceData
from trainables.network_spec import NetworkSpec
from trainables.training import Training

WORKERS = 2
MOMENTS = tuple(tenth / 10 for tenth in range(1, 11))
"""Fractions of the time at which it is asked what a search would name."""

RECIPE: dict[str, dict[str, Any]] = {
    "space": {"blocks": 2},
    "network": {"repeats": 1, "filters": 4},
    "data": {"name": "fashion_mnist", "image_size": 12, "limit": 6000, "validation_fraction": 0.5},
    "training": {"epochs": 9, "batch_size": 32, "learning_rate": 0.004},
}
"""Space, images, network and training of all searches and of the fresh trainings: those of `record_fashion_curves.py`,
with half of the images and of each batch."""

CONFIRMED, LEADER = "cellscout", "cellscout's leader, unconfirmed"
RAY, RANDOM = "Ray Tune, TPE + ASHA", "random without stopping"
NAMINGS = (CONFIRMED, LEADER, RAY, RANDOM)
"""Who names a candidate; the first two name one of the same search."""


@dataclass(frozen=True)
class Task:
    """What all searches have in common."""

    data: Path
    minutes: float
    changes: tuple[str, ...]
    """`section.key=value`, changes to the recipe."""

    def config(self, seed: int, **sections: Mapping[str, Any]) -> SearchConfig:
        """The settings of a search; what is not given has cellscout's default."""
        budget = {"trials": None, "hours": self.minutes / 60}
        values = {**RECIPE, "run": {"seed": seed}, "budget": budget, **sections}
        config = parse_config({**values, "data": {**RECIPE["data"], "root": str(self.data)}}, "the recipe")
        return change_config(config.model_dump(mode="json"), self.changes, RECIPE)


class Epoch(NamedTuple):
    """An epoch of a trial, or of a new training of the confirmation."""

    at: float
    """Seconds from the start of the search to the end of the epoch."""
    trial_id: str
    number: int
    val_accuracy: float
    seconds: float


@dataclass(frozen=True)
class Search:
    """A search that has ended."""

    epochs: Sequence[Epoch]
    """Those that ended in time."""
    trials: int
    """Those with an epoch."""
    whole: int
    """Those that were trained to the end."""
    repeats: int
    """New trainings of the confirmation, whole ones."""
    named: Mapping[str, Sequence[Architecture | None]]
    """What it would have named at each moment; None before its first epoch has ended."""


@dataclass(frozen=True)
class Arm:
    """A kind of search: it runs into a folder, and its record is read from there."""

    namings: tuple[str, ...]
    run: Callable[[Task, int, Path], None]
    read: Callable[[Task, Path], Search]

    def search(self, task: Task, seed: int, cache: Path) -> Search:
        """Search unless the cache holds this search; one that was interrupted begins anew."""
        folder = cache / f"{self.namings[0].split(',')[0].replace(' ', '-')}-{seed}"
        unfinished = folder.with_name(f"{folder.name}.unfinished")
        if not folder.exists():
            shutil.rmtree(unfinished, ignore_errors=True)
            ray.init(
                address="local", num_cpus=WORKERS, include_dashboard=False, log_to_driver=False, logging_level="ERROR"
            )
            try:
                self.run(task, seed, unfinished)
            finally:
                ray.shutdown()
            unfinished.rename(folder)
        return self.read(task, folder)


def run_default(task: Task, seed: int, folder: Path) -> None:
    """Run cellscout as it comes: its default sampler, scheduler and confirmation."""
    run_to_the_end(task.config(seed), folder)


def run_random(task: Task, seed: int, folder: Path) -> None:
    """Run cellscout with random candidates, all trained to the end; none is trained again."""
    config = task.config(seed, sampler={"name": "random"}, scheduler={"name": "fifo"}, confirmation={"candidates": 0})
    run_to_the_end(config, folder)


def run_to_the_end(config: SearchConfig, folder: Path) -> None:
    """Run cellscout; a search that Ctrl-C or SIGTERM has cut short does not count."""
    if run_search(config, run_dir=folder).state.outcome not in ENDED:
        raise KeyboardInterrupt


def read_cellscout(task: Task, folder: Path, namings: Sequence[str]) -> Search:
    """Read the record of cellscout."""
    run = RecordedRun.of_search(folder)
    events, epochs_in_all = run.events(), run.config.training.epochs
    started = events[0].time
    space = make_space(run.config.space)
    named: dict[str, list[Architecture | None]] = {naming: [] for naming in namings}
    for moment in MOMENTS:
        until = started + timedelta(minutes=moment * task.minutes)
        state = RunState.replay(event for event in events if event.time <= until)
        leader = leader_of(state)
        winner = leader if state.confirmed is None else state.winner
        for naming, trial in zip(namings, (winner, leader), strict=False):
            named[naming].append(None if trial is None else space.decode(trial.params))
    done = [
        Epoch((e.time - started).total_seconds(), e.trial_id, e.epoch, e.val_accuracy or 0.0, e.seconds)
        for e in events
        if isinstance(e, EpochDone)
    ]
    epochs = [epoch for epoch in done if epoch.at <= 60 * task.minutes]
    known = run.state()
    own = [epoch for epoch in epochs if epoch.trial_id in known.trials]
    repeats = [epoch for epoch in epochs if epoch.trial_id in known.repeats]
    return Search(epochs, trials_of(own), whole(own, epochs_in_all), whole(repeats, epochs_in_all), named)


def leader_of(state: RunState) -> Trial | None:
    """The best completed trial; before the first has completed, the one with the highest score so far."""
    return state.best or next(iter(state.ranking()), None)


def trials_of(epochs: Iterable[Epoch]) -> int:
    return len({epoch.trial_id for epoch in epochs})


def whole(epochs: Iterable[Epoch], epochs_in_all: int) -> int:
    return sum(epoch.number == epochs_in_all for epoch in epochs)


class StockTrainable(tune.Trainable):
    """Trains a candidate with cellscout's training code, one epoch a result, as in Ray Tune's examples."""

    def setup(self, config: dict[str, Any], settings: SearchConfig, splits: DataSplits) -> None:
        torch.set_num_threads(1)
        self.settings = settings
        self.data = DeviceData(splits, torch.device("cpu"))
        self.reset_config(config)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        architecture = make_space(self.settings.space).decode(new_config)
        self.training = make_training(self.settings, architecture, self.data, seed=self.settings.run.seed)
        return True

    def step(self) -> dict[str, Any]:
        result = self.training.train_epoch()
        return {
            "val_accuracy": result.val_accuracy,
            "seconds": result.seconds,
            "ended_at": result.ended_at,
            "done": result.diverged or result.epoch == self.settings.training.epochs,
        }


def make_training(config: SearchConfig, architecture: Architecture, data: DeviceData, *, seed: int) -> Training:
    """Make the network as a search of cellscout makes it, with its training."""
    height, width, channels = data.train.images.shape[1:]
    spec = NetworkSpec(
        architecture=architecture,
        skeleton=make_skeleton(config, make_space(config.space)),
        repeats=config.network.repeats,
        filters=config.network.filters,
        classes=int(data.train.labels.max()) + 1,
        image_channels=channels,
        image_size=(height, width),
    )
    return Training(spec, config.training, data, seed=seed)


class Curves(tune.Callback):
    """Keeps all results of a search, because Ray Tune's loggers, which would write them, are off."""

    def __init__(self) -> None:
        self.params: dict[str, dict[str, Any]] = {}
        self.epochs: list[Epoch] = []
        self.started = time.time()

    def on_trial_result(
        self, iteration: int, trials: list[Any], trial: Any, result: dict[str, Any], **info: Any
    ) -> None:
        self.params[trial.trial_id] = trial.config
        at, number = result["ended_at"] - self.started, result["training_iteration"]
        self.epochs.append(Epoch(at, trial.trial_id, number, result["val_accuracy"], result["seconds"]))


STOCK_ASHA = {"grace_period": 1, "reduction_factor": 3}
"""The first rung and the reduction factor of Ray Tune's ASHA; its own default factor is 4."""

STOCK_AT_ITS_BEST = {
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    # Workers are reused only if at least as many trials are pending as there are slots.
    "TUNE_MAX_PENDING_TRIALS_PG": str(WORKERS),
    "RAY_AIR_NEW_OUTPUT": "0",
    # Ctrl-C raises instead of ending the search with what it has.
    "TUNE_DISABLE_SIGINT_HANDLER": "1",
}


def run_stock(task: Task, seed: int, folder: Path) -> None:
    """Run Ray Tune with its own bridge to Optuna's TPE and its ASHA, set up as `overhead.py` found it fastest."""
    config = task.config(seed)
    trainable = tune.with_parameters(StockTrainable, settings=config, splits=load_data(config.data, seed))
    with tempfile.TemporaryDirectory() as scratch, environment_variables(STOCK_AT_ITS_BEST):
        curves = Curves()
        grid = tune.Tuner(
            tune.with_resources(trainable, {"cpu": 1}),
            param_space=make_space(config.space).param_space(),
            tune_config=tune.TuneConfig(
                metric="val_accuracy",
                mode="max",
                search_alg=OptunaSearch(sampler=optuna.samplers.TPESampler(seed=seed, constant_liar=True)),
                scheduler=ASHAScheduler(max_t=config.training.epochs, **STOCK_ASHA),
                num_samples=-1,
                time_budget_s=60 * task.minutes,
                reuse_actors=True,
            ),
            run_config=tune.RunConfig(
                storage_path=scratch,
                name="stock",
                verbose=0,
                callbacks=[curves],
                checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
            ),
        ).fit()
    if grid.errors:
        raise RuntimeError(f"trials of Ray Tune failed: {grid.errors[0]}")
    folder.mkdir()
    (folder / "curves.json").write_text(json.dumps({"params": curves.params, "epochs": curves.epochs}))


def read_stock(task: Task, folder: Path) -> Search:
    """Read what `Curves` kept. Named is the trial with the highest last score, Ray Tune's `get_best_result`."""
    found = json.loads((folder / "curves.json").read_text())
    epochs = [epoch for values in found["epochs"] if (epoch := Epoch(*values)).at <= 60 * task.minutes]
    config = task.config(0)
    space = make_space(config.space)
    named: list[Architecture | None] = []
    for moment in MOMENTS:
        last = {e.trial_id: e.val_accuracy for e in epochs if e.at <= 60 * moment * task.minutes}
        named.append(space.decode(found["params"][max(last, key=lambda name: last[name])]) if last else None)
    return Search(epochs, trials_of(epochs), whole(epochs, config.training.epochs), 0, {RAY: named})


ARMS = (
    Arm((CONFIRMED, LEADER), run_default, lambda task, folder: read_cellscout(task, folder, (CONFIRMED, LEADER))),
    Arm((RAY,), run_stock, read_stock),
    Arm((RANDOM,), run_random, lambda task, folder: read_cellscout(task, folder, (RANDOM,))),
)
