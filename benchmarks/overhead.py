"""Measures what a search costs besides training, compared with stock Ray Tune in the same run; prints Markdown.

    python benchmarks/overhead.py --data-root data > benchmarks/overhead.md

Two questions: with a trainable that trains nothing, how many seconds does a trial take, and how many epochs a second
are reported and recorded? And with `--data-root`, how busy are the workers in a real search, that of
examples/fashion_mnist.toml?
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
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import ray
from ray import tune
from ray.tune.schedulers import ASHAScheduler
from ray.tune.search.optuna import OptunaSearch
from safetensors.numpy import save

from orchestrator.cluster import environment_variables
from orchestrator.config import load_config
from orchestrator.search import run_search
from search_spaces import NASNET, Architecture
from trainables import EpochTrainable
from trainables.epoch_result import EpochResult
from trainables.instant_trainable import InstantTrainable, made_up_limit, made_up_result

EPOCHS = 27
CPUS = 2
LEVEL = 0.9
"""Validation accuracy of every epoch of the level trainables."""


class StockTrainable(tune.Trainable):
    """The made-up curves of cellscout's `InstantTrainable`, one result an epoch, as in Ray Tune's examples."""

    def setup(self, config: dict[str, Any]) -> None:
        self.epoch = 0
        self.limit = made_up_limit(NASNET.decode(config))

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        self.setup(new_config)
        return True

    def step(self) -> dict[str, Any]:
        self.epoch += 1
        return {
            "val_accuracy": made_up_result(self.limit, self.epoch).val_accuracy,
            "done": self.epoch == EPOCHS,
        }

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        """Save something: by default Ray Tune saves every trial at its end."""
        (Path(checkpoint_dir) / "epoch").write_text(str(self.epoch))


class LevelStockTrainable(StockTrainable):
    """Gives all trials the same score, so that ASHA stops none."""

    def setup(self, config: dict[str, Any]) -> None:
        super().setup(config)
        self.limit = LEVEL


class LevelTrainable(EpochTrainable):
    """Trains nothing, like `InstantTrainable`, and gives all trials the same score, so that ASHA stops none."""

    def prepare(self, data: Any) -> None:
        pass

    def begin(self, architecture: Architecture) -> dict[str, Any]:
        self.epoch = 0
        return {"device": "none"}

    def train_epoch(self) -> EpochResult:
        self.epoch += 1
        return made_up_result(LEVEL, self.epoch)

    def weights(self) -> bytes:
        return save({"limit": np.array([LEVEL])})


@dataclass(frozen=True)
class Workload:
    """A kind of search: the trainables of cellscout and of stock Ray Tune, and the sampler of both."""

    name: str
    trainable: type[EpochTrainable]
    stock_trainable: type[StockTrainable]
    sampler: str


WORKLOADS = (
    Workload("27 epochs a trial: all score alike, ASHA stops none", LevelTrainable, LevelStockTrainable, "random"),
    Workload("ASHA stops most trials after an epoch", InstantTrainable, StockTrainable, "random"),
    Workload("the same with TPE; both include Optuna's time for a proposal", InstantTrainable, StockTrainable, "tpe"),
)


@dataclass(frozen=True)
class Measurement:
    """One search: its wall seconds, the driver's CPU seconds, its trials, and the reported epochs."""

    seconds: float
    cpu_seconds: float
    trials: int
    results: int


def cellscout(trials: int, workload: Workload) -> Measurement:
    """Measure cellscout with its default settings, including its durable record."""
    asha = ["scheduler.name=asha", "scheduler.min_epochs=1", "scheduler.reduction_factor=3"]
    work = [f"training.epochs={EPOCHS}", f"budget.trials={trials}", f"sampler.name={workload.sampler}"]
    config = load_config(None, [*work, *asha])
    cpu = time.process_time()
    with tempfile.TemporaryDirectory() as folder:
        state = run_search(config, run_dir=Path(folder) / "run", trainable=workload.trainable).state
    cpu = time.process_time() - cpu
    assert state.started_at is not None
    assert state.ended_at is not None
    seconds = (state.ended_at - state.started_at).total_seconds()
    return Measurement(seconds, cpu, len(state.trials), sum(trial.epochs for trial in state.trials.values()))


def stock(trials: int, workload: Workload, *, tuned: bool) -> Measurement:
    """Measure Ray Tune with its own Optuna bridge and ASHA, by default or tuned for this work."""
    # Workers are reused only if at least as many trials are pending as there are slots.
    environment = {"TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1", "TUNE_MAX_PENDING_TRIALS_PG": str(CPUS)}
    with tempfile.TemporaryDirectory() as folder, environment_variables(environment if tuned else {}):
        tuner = tune.Tuner(
            tune.with_resources(workload.stock_trainable, {"cpu": 1}),
            param_space=NASNET.param_space(),
            tune_config=tune.TuneConfig(
                metric="val_accuracy",
                mode="max",
                search_alg=OptunaSearch(sampler=SAMPLERS[workload.sampler]()),
                scheduler=ASHAScheduler(max_t=EPOCHS, grace_period=1, reduction_factor=3),
                num_samples=trials,
                reuse_actors=tuned,
            ),
            run_config=tune.RunConfig(
                storage_path=folder,
                name="stock",
                verbose=0,
                checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False if tuned else None),
            ),
        )
        started, cpu = time.perf_counter(), time.process_time()
        grid = tuner.fit()
        seconds, cpu = time.perf_counter() - started, time.process_time() - cpu
        assert not grid.errors, grid.errors
    results = sum(result.metrics["training_iteration"] for result in grid if result.metrics)
    return Measurement(seconds, cpu, len(grid), results)


SAMPLERS: dict[str, Callable[[], optuna.samplers.BaseSampler]] = {
    "random": lambda: optuna.samplers.RandomSampler(seed=0),
    "tpe": lambda: optuna.samplers.TPESampler(seed=0, constant_liar=True),
}
"""The sampler of stock Ray Tune, by cellscout's name: the same one."""

VARIANTS: dict[str, Callable[[int, Workload], Measurement]] = {
    "cellscout": cellscout,
    "stock Ray Tune at its best (actors reused, no loggers, no checkpoints, 2 trials pending)": partial(
        stock, tuned=True
    ),
    # A trial takes more than a second here, so a fortieth of the trials is enough.
    "stock Ray Tune (OptunaSearch, ASHAScheduler, default loggers, no actor reuse)": lambda trials, workload: stock(
        trials // 40, workload, tuned=False
    ),
}


def spread(values: list[float], digits: int) -> str:
    """Format the median, and the range over the runs."""
    middle, low, high = statistics.median(values), min(values), max(values)
    return f"{middle:.{digits}f} ({low:.{digits}f} to {high:.{digits}f})"


def instant_table(trials: int, runs: int, workload: Workload) -> str:
    """Measure every variant in turn, `runs` times; each ratio compares two searches of the same turn."""
    found: dict[str, list[Measurement]] = {name: [] for name in VARIANTS}
    for _ in range(runs):
        for name, measure in VARIANTS.items():
            with contextlib.redirect_stdout(sys.stderr):  # Ray Tune prints a table of its own
                found[name].append(measure(trials, workload))
            print(name, found[name][-1], file=sys.stderr)
    ours = found["cellscout"]
    rows = [
        "| | trials | seconds a trial | driver's CPU seconds a trial | results a second | cellscout's, times this |"
    ]
    rows.append("|---|---|---|---|---|---|")
    for name, measured in found.items():
        rates = [one.results / one.seconds for one in measured]
        ratios = [own.results / own.seconds / rate for own, rate in zip(ours, rates, strict=True)]
        per_trial = [one.seconds / one.trials for one in measured]
        cpu = [one.cpu_seconds / one.trials for one in measured]
        ratio = "" if name == "cellscout" else spread(ratios, 1)
        rows.append(
            f"| {name} | {measured[0].trials} | {spread(per_trial, 3)} | {spread(cpu, 3)} | {spread(rates, 1)} | "
            f"{ratio} |"
        )
    return "\n".join(rows)


def busy_workers(data_root: Path) -> str:
    """Run the search of examples/fashion_mnist.toml; report the fraction of its slots' time that was training."""
    example = Path(__file__).parents[1] / "examples" / "fashion_mnist.toml"
    with tempfile.TemporaryDirectory() as folder:
        state = run_search(load_config(example, [f"data.root={data_root}"]), run_dir=Path(folder) / "run").state
    utilisation, best = state.utilisation(), state.best
    assert utilisation is not None
    assert best is not None
    assert state.started_at is not None
    assert state.ended_at is not None
    minutes = (state.ended_at - state.started_at).total_seconds() / 60
    epochs = sum(trial.epochs for trial in state.trials.values())
    return (
        f"{len(state.trials)} trials, {epochs} epochs, in {minutes:.1f} minutes on {state.slots} slots; best "
        f"validation accuracy {best.val_accuracy:.4f}.\n\n**{utilisation:.1%}** of the slots' time, from the first "
        "trial's start to the last one's end, was training."
    )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=600, help="trials of one search with the instant trainable")
    parser.add_argument("--runs", type=int, default=3, help="searches of each kind")
    parser.add_argument("--data-root", type=Path, help="folder with Fashion-MNIST; without it that part is left out")
    arguments = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    ray.init(address="local", num_cpus=CPUS, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    packages = ", ".join(f"{name} {version(name)}" for name in ("ray", "optuna", "torch"))
    print("# What a search costs besides training\n")
    print(
        f"{datetime.now(UTC):%Y-%m-%d}, {platform.processor() or platform.machine()}, {os.cpu_count()} CPUs, ", end=""
    )
    print(f"Python {platform.python_version()}, {packages}. Written by\n")
    command = " ".join(["python benchmarks/overhead.py", *(word for word in sys.argv[1:])])
    print(f"```\n{command}\n```\n")
    print(
        f"## A trainable that trains nothing\n\nTrials of at most {EPOCHS} epochs, ASHA with rungs 1, 3, 9, "
        f"{CPUS} slots; median and range of {arguments.runs} searches each,\nin turn, including the start of "
        "the workers. cellscout's figures include its durable record of every epoch."
    )
    for workload in WORKLOADS:
        table = instant_table(arguments.trials, arguments.runs, workload)
        print(f"\n### {workload.name[0].upper()}{workload.name[1:]}\n\n{table}", flush=True)
    if arguments.data_root is not None:
        print(f"\n## Busy workers: Fashion-MNIST\n\n{busy_workers(arguments.data_root)}")
    ray.shutdown()


if __name__ == "__main__":
    main()
