"""Measures how busy the workers are with a sampler that takes a second per proposal; prints Markdown.

    python benchmarks/slow_sampler.py > benchmarks/slow_sampler.md

Trials sleep for two seconds, in four epochs, on two workers. Stock Ray Tune with its own Optuna bridge runs for
comparison. The busy fraction is the time that workers slept for epochs, over the time of all workers from the first
trial's start to the last one's end.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import optuna
import ray
from ray import tune
from ray.tune.search.optuna import OptunaSearch

from orchestrator.cluster import environment_variables
from orchestrator.config import load_config
from orchestrator.search import run_search
from search_spaces import NASNET, Architecture
from trainables.epoch_result import EpochResult
from trainables.epoch_trainable import EpochTrainable

WORKERS = 2
ASK_SECONDS = 1.0
EPOCHS = 4
EPOCH_SECONDS = 0.5


class SlowSampler(optuna.samplers.RandomSampler):
    """Proposes at random, after a second."""

    def infer_relative_search_space(self, study: Any, trial: Any) -> dict[str, Any]:
        """Sleep, and return nothing: the parameters are drawn one by one."""
        time.sleep(ASK_SECONDS)
        return {}


class SleepingTrainable(EpochTrainable):
    """Sleeps for half a second per epoch."""

    def prepare(self, data: Any) -> None:
        """Do nothing."""

    def begin(self, architecture: Architecture) -> dict[str, Any]:
        """Build nothing."""
        self.epoch = 0
        return {"device": "none"}

    def train_epoch(self) -> EpochResult:
        """Sleep."""
        time.sleep(EPOCH_SECONDS)
        self.epoch += 1
        return EpochResult(
            epoch=self.epoch,
            train_loss=0.0,
            train_accuracy=0.5,
            val_loss=0.0,
            val_accuracy=0.5,
            learning_rate=0.0,
            seconds=EPOCH_SECONDS,
            images_per_second=0.0,
            ended_at=time.time(),
        )

    def weights(self) -> bytes:
        """Return no weights."""
        return b""


class StockTrainable(tune.Trainable):
    """Sleeps in the same way, for stock Ray Tune."""

    def setup(self, config: dict[str, Any]) -> None:
        """Build nothing."""
        self.epoch = 0
        self.began = time.time()

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Allow Ray Tune to reuse the worker."""
        self.setup(new_config)
        return True

    def step(self) -> dict[str, Any]:
        """Sleep for an epoch."""
        time.sleep(EPOCH_SECONDS)
        self.epoch += 1
        return {"val_accuracy": 0.5, "began": self.began, "ended": time.time(), "done": self.epoch == EPOCHS}


def cellscout(trials: int) -> float:
    """Return the busy fraction of the workers' time with cellscout."""
    settings = [f"training.epochs={EPOCHS}", f"budget.trials={trials}", "scheduler.name=fifo", "scheduler.min_epochs=1"]
    with tempfile.TemporaryDirectory() as folder:
        run = run_search(
            load_config(None, settings),
            run_dir=Path(folder) / "run",
            sampler=SlowSampler(seed=0),
            trainable=SleepingTrainable,
        )
    utilisation = run.state.utilisation()
    assert utilisation is not None
    return utilisation


def stock(trials: int) -> float:
    """Return it with stock Ray Tune, tuned: workers reused, no loggers, no checkpoints, two trials pending."""
    environment = {"TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1", "TUNE_MAX_PENDING_TRIALS_PG": str(WORKERS)}
    with tempfile.TemporaryDirectory() as folder, environment_variables(environment):
        grid = tune.Tuner(
            tune.with_resources(StockTrainable, {"cpu": 1}),
            param_space=NASNET.param_space(),
            tune_config=tune.TuneConfig(
                metric="val_accuracy",
                mode="max",
                search_alg=OptunaSearch(sampler=SlowSampler(seed=0)),
                num_samples=trials,
                reuse_actors=True,
            ),
            run_config=tune.RunConfig(
                storage_path=folder,
                name="stock",
                verbose=0,
                checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
            ),
        ).fit()
        assert not grid.errors, grid.errors
    metrics = [result.metrics for result in grid if result.metrics]
    span = max(found["ended"] for found in metrics) - min(found["began"] for found in metrics)
    return trials * EPOCHS * EPOCH_SECONDS / (WORKERS * span)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=40, help="trials of one search")
    parser.add_argument("--runs", type=int, default=3, help="searches of each kind")
    arguments = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    ray.init(address="local", num_cpus=WORKERS, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    variants: dict[str, Callable[[int], float]] = {"cellscout": cellscout, "stock Ray Tune, OptunaSearch": stock}
    found: dict[str, list[float]] = {name: [] for name in variants}
    for _ in range(arguments.runs):
        for name, measure in variants.items():
            with contextlib.redirect_stdout(sys.stderr):  # Ray Tune prints a table of its own
                found[name].append(measure(arguments.trials))
            print(name, found[name][-1], file=sys.stderr)
    ray.shutdown()
    packages = ", ".join(f"{name} {version(name)}" for name in ("ray", "optuna"))
    print("# Busy workers with a slow sampler\n")
    print(f"{datetime.now(UTC):%Y-%m-%d}, {platform.machine()}, {os.cpu_count()} CPUs, Python ", end="")
    print(f"{platform.python_version()}, {packages}. Written by\n")
    print("```\n" + " ".join(["python benchmarks/slow_sampler.py", *sys.argv[1:]]) + "\n```\n")
    print(
        f"A sampler of {ASK_SECONDS:.0f} s a proposal, trials of {EPOCHS} epochs of {EPOCH_SECONDS} s, {WORKERS} "
        f"workers, {arguments.trials} trials, {arguments.runs} searches of each kind in turn: median "
        "(lowest to highest).\n"
    )
    print("| | busy fraction of the workers' time | cellscout's, times this |\n|---|---|---|")
    for name, values in found.items():
        ratios = [ours / theirs for ours, theirs in zip(found["cellscout"], values, strict=True)]
        ratio = f"{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"
        share = f"{statistics.median(values):.1%} ({min(values):.1%} to {max(values):.1%})"
        print(f"| {name} | {share} | {ratio if name != 'cellscout' else ''} |")


if __name__ == "__main__":
    main()
