"""Does a correct bridge find better cells than Ray Tune's stock one? Replayed on recorded curves; writes Markdown.

    python benchmarks/replay_curves.py benchmarks/curves --output benchmarks/replay_curves.md

Both bridges drive the same sampler (Optuna's TPE) and the same ASHA on a virtual clock, with 1, 4 and 16 workers. Both
propose in the whole NASNet space; a proposal is answered by the recorded architecture that differs from it in the
fewest decisions and was not tried in this run, so what a sampler can learn is coarser than it would really be. An epoch
takes the seconds that it took when it was recorded. Ray Tune's `OptunaSearch` tells Optuna that a trial which ASHA
stopped is complete; cellscout's tells it as pruned, with its curve.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pyarrow.parquet as pq
from ray.tune.search.optuna import OptunaSearch
from scipy.stats import t as student

from orchestrator.driver import Driver
from orchestrator.event_log import EventLog
from orchestrator.events import RunStarted
from orchestrator.live_study import LiveStudy
from orchestrator.optuna_searcher import to_distributions
from orchestrator.patient_searcher import PatientSearcher
from orchestrator.run_directory import RunDirectory
from orchestrator.run_state import RunState
from orchestrator.schedulers.asha import AshaScheduler
from orchestrator.simulation import Row, Simulation, simulate
from orchestrator.study_replay import write_distributions
from search_spaces import NASNET, Architecture
from trainables import TrialPlan
from trainables.settings import NetworkSettings, TrainingSettings
from trainables.skeleton import SKELETONS

TRIALS, EPOCHS = 200, 27
WORKERS = (1, 4, 16)
BUDGET = 20
"""Whole trainings that the workers' time is enough for, together."""
MOMENTS = (0.1, 0.25, 0.5, 1.0)
"""Parts of the time at which the regret is read."""
SPACE = NASNET.param_space()


@dataclass(frozen=True)
class Pool:
    """The recorded architectures: their decisions as codes [architecture, decision], and their curves."""

    codes: np.ndarray
    curves: list[list[Row]]

    @classmethod
    def read(cls, folder: Path) -> Pool:
        """From the tables of `record_curves.py`; only what was trained to the end."""
        rows: dict[str, list[Row]] = {}
        for row in pq.read_table(folder / "epochs.parquet").sort_by("epoch").to_pylist():
            rows.setdefault(row["trial_id"], []).append(_row(row))
        codes, curves = [], []
        for trial in pq.read_table(folder / "trials.parquet").to_pylist():
            if trial["status"] == "completed":
                params = NASNET.encode(Architecture.from_json(json.loads(trial["architecture"])))
                codes.append(_code(params))
                curves.append(rows[trial["trial_id"]])
        return cls(np.array(codes), curves)

    def answers(self) -> Callable[[dict[str, Any]], list[Row]]:
        """For one run: the curve of the recorded architecture that differs from the proposal in the fewest decisions,
        each architecture once."""
        used = np.zeros(len(self.curves), bool)

        def answer(params: dict[str, Any]) -> list[Row]:
            distance = (self.codes != _code(params)).sum(axis=1)
            nearest = int(np.argmin(np.where(used, len(SPACE) + 1, distance)))
            used[nearest] = True
            return self.curves[nearest]

        return answer

    @property
    def final(self) -> np.ndarray:
        """Accuracy after the whole budget, by architecture."""
        return np.array([curve[-1].metrics["val_accuracy"] for curve in self.curves])

    @property
    def training_seconds(self) -> float:
        """Mean time of a whole training."""
        return float(np.mean([sum(row.seconds for row in curve) for curve in self.curves]))


def _code(params: dict[str, Any]) -> np.ndarray:
    return np.array([SPACE[name].categories.index(params[name]) for name in SPACE])


def _row(recorded: dict[str, Any]) -> Row:
    """An epoch as cellscout's recorder wants it reported."""
    names = ("epoch", "train_loss", "train_accuracy", "val_loss", "val_accuracy", "learning_rate", "images_per_second")
    result = {
        **{name: recorded[name] for name in names},
        "seconds": recorded["seconds"],
        "metrics": {},
        "ended_at": 0.0,
    }
    report: dict[str, Any] = {"facts": {"device": "recorded"}, "hostname": "recorded", "curve": [result]}
    report["diverged"] = False
    return Row(epoch=recorded["epoch"], seconds=recorded["seconds"], metrics={**result, **report})


def sampler(kind: str, seed: int) -> optuna.samplers.BaseSampler:
    """The sampler that both bridges drive, or random search."""
    if kind == "random":
        return optuna.samplers.RandomSampler(seed=seed)
    return optuna.samplers.TPESampler(seed=seed, constant_liar=True)


@contextmanager
def temporary_folder() -> Iterator[Path]:
    """In memory where that is possible: how long a record takes to write is not the question."""
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as folder:
        yield Path(folder)


def cellscout(kind: str, seed: int, run: Callable[..., Simulation], scheduler: AshaScheduler) -> Simulation:
    """Our study, candidates and recorder, as in a search on Ray."""
    distributions = to_distributions(SPACE)
    state = RunState()
    plan = TrialPlan(
        space=NASNET,
        skeleton=SKELETONS[NASNET.skeleton],
        network=NetworkSettings(repeats=1, filters=8),
        training=TrainingSettings(epochs=EPOCHS),
        image_shape=(8, 8, 1),
        classes=10,
        milestones=None,
        seed=seed,
        threads=1,
    )
    with temporary_folder() as folder, EventLog.create(RunDirectory.at(folder), [state.apply]) as log:
        log.append(
            RunStarted(
                slots=1,
                objectives={"val_accuracy": "maximize"},
                constraints={},
                distributions=write_distributions(distributions),
            )
        )
        with LiveStudy(sampler(kind, seed), state, distributions) as live_study:
            driver = Driver(log, state, plan, RunDirectory.at(folder), live_study, scheduler)
            return run(PatientSearcher(driver.searcher), scheduler, callbacks=[driver.recorder])


def stock(kind: str, seed: int, run: Callable[..., Simulation], scheduler: AshaScheduler) -> Simulation:
    """Ray Tune's own bridge."""
    return run(OptunaSearch(sampler=sampler(kind, seed)), scheduler, param_space=SPACE)


VARIANTS: dict[str, Callable[..., Simulation]] = {
    "cellscout, TPE": partial(cellscout, "tpe"),
    "Ray Tune's OptunaSearch, TPE": partial(stock, "tpe"),
    "random (cellscout)": partial(cellscout, "random"),
}


def regrets(pool: Pool, simulation: Simulation, seconds: float) -> list[float]:
    """At each moment, what the leading candidate lacks to the pool's best, both trained to the end.

    The longest trained leads, of equally long trained ones the one with the highest score.
    """
    final = pool.final
    best = final.max()
    places = {id(curve): place for place, curve in enumerate(pool.curves)}
    known = {trial.trial_id: places[id(trial.rows)] for trial in simulation.trials if trial.rows is not None}
    reports = [event for event in simulation.events if event.kind == "reported"]
    found = []
    for moment in MOMENTS:
        leader, standing = None, (0, 0.0)
        for event in reports:
            if event.seconds > moment * seconds:
                break
            seen = pool.curves[known[event.trial_id]][event.epoch - 1].metrics["val_accuracy"]
            if (event.epoch, seen) > standing:
                leader, standing = known[event.trial_id], (event.epoch, seen)
        found.append(float(best - (final.min() if leader is None else final[leader])))
    return found


def one(folder: Path, variant: str, workers: int, seed: int) -> tuple[list[float], int, int]:
    """Regret at each moment, trials, and those that completed."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    pool = Pool.read(folder)
    seconds = BUDGET * pool.training_seconds / workers
    run = partial(
        simulate,
        evaluate=pool.answers(),
        workers=workers,
        seconds=seconds,
        trials=len(pool.curves),
    )
    scheduler = AshaScheduler(max_epochs=EPOCHS, min_epochs=1, reduction_factor=3)
    simulation = VARIANTS[variant](seed, run, scheduler)
    completed = sum(event.kind == "ended" for event in simulation.events)
    return regrets(pool, simulation, seconds), len(simulation.trials), completed


def interval(values: list[float]) -> tuple[float, float]:
    """Mean, and half the width of its 95 % interval."""
    half = student.ppf(0.975, len(values) - 1) * np.std(values, ddof=1) / np.sqrt(len(values))
    return float(np.mean(values)), float(half)


def differences(found: dict[tuple[str, int], list[tuple[list[float], int, int]]], workers: int) -> Iterator[Any]:
    """Our regret less the stock bridge's, seed by seed, at each moment: mean and half the interval's width."""
    ours, theirs = (found[variant, workers] for variant in list(VARIANTS)[:2])
    for place in range(len(MOMENTS)):
        yield interval([a[0][place] - b[0][place] for a, b in zip(ours, theirs, strict=True)])


def verdict(found: dict[tuple[str, int], list[tuple[list[float], int, int]]]) -> str:
    """What the differences say, and what they cannot."""
    every = [difference for workers in WORKERS for difference in differences(found, workers)]
    better = sum(mean + half < 0 for mean, half in every)
    worse = sum(mean - half > 0 for mean, half in every)
    return (
        f"Of the {len(every)} differences between the two bridges, {better} are clearly in favour of cellscout's and "
        f"{worse} clearly against it (the interval leaves out zero). A pool of {TRIALS} architectures, in which a "
        "proposal is answered by one that shares some of its decisions, leaves a sampler little to learn, as the rows "
        "of random search show; it says nothing about longer searches in the whole space."
    )


def table(found: dict[tuple[str, int], list[tuple[list[float], int, int]]]) -> Iterator[str]:
    """A row a variant and number of workers, and the paired difference between the two bridges."""
    moments = " | ".join(f"{moment:.0%} of the time" for moment in MOMENTS)
    yield f"| workers | | {moments} | trials | whole trainings |"
    yield "|---|---|" + "---|" * (len(MOMENTS) + 2)
    for workers in WORKERS:
        for variant in VARIANTS:
            runs = found[variant, workers]
            cells = [interval([run[0][place] for run in runs]) for place in range(len(MOMENTS))]
            text = " | ".join(f"{100 * mean:.2f} +- {100 * half:.2f}" for mean, half in cells)
            counts = " | ".join(f"{np.mean([run[index] for run in runs]):.0f}" for index in (1, 2))
            yield f"| {workers} | {variant} | {text} | {counts} |"
        text = " | ".join(f"{100 * mean:+.2f} +- {100 * half:.2f}" for mean, half in differences(found, workers))
        yield f"| {workers} | *difference of the two bridges, by seed* | {text} | | |"


def main() -> None:
    """Replay and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="the tables of record_curves.py")
    parser.add_argument("--seeds", type=int, default=30)
    parser.add_argument("--output", type=Path, required=True)
    arguments = parser.parse_args()
    jobs = [(variant, workers, seed) for seed in range(arguments.seeds) for workers in WORKERS for variant in VARIANTS]
    found: dict[tuple[str, int], list[tuple[list[float], int, int]]] = {}
    with ProcessPoolExecutor(os.cpu_count()) as processes:
        runs = processes.map(one, *zip(*((arguments.folder, *job) for job in jobs), strict=True))
        for (variant, workers, seed), run in zip(jobs, runs, strict=True):
            found.setdefault((variant, workers), []).append(run)
            print(seed, workers, variant, run, file=sys.stderr)
    pool = Pool.read(arguments.folder)
    packages = ", ".join(f"{name} {version(name)}" for name in ("ray", "optuna"))
    command = " ".join(["python benchmarks/replay_curves.py", *sys.argv[1:]])
    arguments.output.write_text(
        f"# The bridge between sampler and scheduler, replayed\n\n{datetime.now(UTC):%Y-%m-%d}, {platform.machine()}, "
        f"{os.cpu_count()} CPUs, Python {platform.python_version()}, {packages}. Written by\n\n```\n{command}\n```\n\n"
        f"Regret in points of validation accuracy (mean over {arguments.seeds} seeds, with the 95 % interval of the "
        f"mean): what the leading candidate lacks, when trained to the end, to the best of {len(pool.curves)} recorded "
        f"architectures. The workers' time together is that of {BUDGET} whole trainings of {EPOCHS} epochs. ASHA has "
        "its rungs at epochs 1, 3 and 9.\n\n" + "\n".join(table(found)) + f"\n\n{verdict(found)}\n"
    )


if __name__ == "__main__":
    main()
