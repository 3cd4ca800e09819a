"""Runs of samplers on NAS-Bench-201's table: each search, and the cache of those that have finished."""

from __future__ import annotations

import functools
import math
import multiprocessing
import os
import sys
import time
import warnings
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import optuna
import pyarrow.parquet
from made_up_searches import race
from numpy.typing import NDArray
from optuna.distributions import CategoricalDistribution

from orchestrator.config import SamplerSettings, make_sampler
from search_spaces import NAS_BENCH_201

SEEDS_COLUMNS = ("val_acc_s0", "val_acc_s1", "val_acc_s2")

CANDIDATES = 5
"""Candidates of a confirmation; each is trained again as often as the table has trainings of a cell, at most."""

KNOWN_IN_A_ROW, KNOWN_IN_ALL = 1000, 5000
"""Known proposals after which a run ends: it has converged, and further asks would take hours."""

Floats = NDArray[np.float64]


class Trained(NamedTuple):
    """A cell on one data set: accuracies in percent, by training and on average, and the seconds of a training."""

    accuracies: tuple[float, ...]
    mean_accuracy: float
    seconds: float


@dataclass(frozen=True, kw_only=True)
class Task:
    """One search: everything that determines it."""

    table: Path
    dataset: str
    sampler: str
    seed: int
    evaluations: int
    known_in_a_row: int = KNOWN_IN_A_ROW

    def cached_in(self, cache: Path) -> Path:
        """Return the file of its run."""
        known = "" if self.known_in_a_row == KNOWN_IN_A_ROW else f"-{self.known_in_a_row}-known"
        return cache / self.dataset / self.sampler / f"{self.evaluations}-evaluations{known}-seed-{self.seed}.npz"


@dataclass(frozen=True, kw_only=True)
class Run:
    """The result of a search."""

    asked: int
    """Evaluations that were planned."""
    known_in_a_row: int
    """Known proposals in a row after which the search would end."""
    scores: Floats
    """The accuracy that each evaluation reported, in percent."""
    trainings: Floats
    """All recorded accuracies of each evaluated cell, one row a cell; NaN where there are fewer than three."""
    misses: Floats
    """The best cell's mean accuracy less that of each evaluated cell, in percentage points."""
    seconds: Floats
    """Training seconds up to the end of each evaluation."""
    ask_seconds: Floats
    """Seconds of each ask, including those of known proposals."""
    known: int
    """Proposals that had been evaluated before."""
    ended_early: bool
    """Whether too many known proposals ended the search."""

    @cached_property
    def regrets(self) -> Floats:
        """Regret of the candidate that looks best after each evaluation: the unconfirmed winner."""
        return self.misses[_place_of_best(self.scores)]

    @cached_property
    def tried(self) -> Floats:
        """Regret of the best candidate that was tried so far, whether or not it looks best."""
        return np.minimum.accumulate(self.misses)

    def confirmed_after(self, evaluations: int) -> float:
        """Return the regret of the confirmed winner, whose new trainings are among these evaluations."""
        searched = min(evaluations - CANDIDATES * len(SEEDS_COLUMNS), len(self.misses))
        chosen = np.argsort(-self.scores[:searched], kind="stable")[:CANDIDATES]
        return float(self.misses[chosen[race(self.trainings[chosen], None).winner]])

    def regret_at(self, seconds: Floats) -> Floats:
        """Return the regret after some training time.

        It is infinite before the first evaluation, and NaN after the last planned one.
        """
        done = np.searchsorted(self.seconds, seconds, side="right")
        over = (seconds > self.seconds[-1]) & (not self.ended_early)
        return np.where(over, np.nan, np.concatenate([[np.inf], self.regrets])[done])

    def regret_after(self, evaluations: NDArray[np.int64], kind: Literal["regrets", "tried"] = "regrets") -> Floats:
        """Return a kind of regret after some evaluations.

        A run that ended early keeps its last regret; the value is NaN beyond the planned evaluations.
        """
        regrets: Floats = getattr(self, kind)
        regrets = regrets[np.minimum(evaluations, len(regrets)) - 1]
        return np.where(evaluations > self.asked, np.nan, regrets)


def _place_of_best(scores: Floats) -> NDArray[np.int64]:
    """Return for each place the place of the highest score so far, the first of equal ones."""
    highest = np.maximum.accumulate(scores)
    rises = np.concatenate([[True], highest[1:] > highest[:-1]])
    places: NDArray[np.int64] = np.maximum.accumulate(np.where(rises, np.arange(len(scores)), 0))
    return places


@functools.cache
def read_table(path: Path, dataset: str) -> dict[str, Trained]:
    """Read every cell's trainings, by its six digits."""
    columns = ["arch_key", *SEEDS_COLUMNS, "val_acc_mean", "train_time_s"]
    rows = pyarrow.parquet.read_table(path, columns=columns, filters=[("dataset", "=", dataset)]).to_pydict()
    trained = {}
    for key, *accuracies, mean, seconds in zip(*(rows[column] for column in columns), strict=True):
        known = tuple(accuracy for accuracy in accuracies if accuracy is not None and not np.isnan(accuracy))
        trained[key] = Trained(known, mean, seconds)
    assert len(trained) == NAS_BENCH_201.size, f"{len(trained)} cells of {dataset}"
    return trained


def search(task: Task) -> Run:
    """Ask, look up and tell in turn.

    As in cellscout, a candidate that was evaluated before is answered with its recorded result, which takes no training
    time and does not count as an evaluation.
    """
    trained = read_table(task.table, task.dataset)
    best = max(cell.mean_accuracy for cell in trained.values())
    # The table's digits are places in the space's list of operations, and its edges come in the order of the decisions.
    space = {name: CategoricalDistribution(list(choices)) for name, choices in NAS_BENCH_201.decisions()}
    sampler = make_sampler(SamplerSettings(name=task.sampler), task.seed, NAS_BENCH_201)
    study = optuna.create_study(sampler=sampler, direction="maximize")
    generator = np.random.default_rng(task.seed)
    seen: dict[str, float] = {}
    seconds, ask_seconds, known, known_in_a_row = [], [], 0, 0
    while len(seen) < task.evaluations and known_in_a_row < task.known_in_a_row and known < KNOWN_IN_ALL:
        started = time.perf_counter()
        trial = study.ask(dict(space))
        ask_seconds.append(time.perf_counter() - started)
        key = "".join(str(space[name].choices.index(trial.params[name])) for name in space)
        if key in seen:
            known, known_in_a_row = known + 1, known_in_a_row + 1
        else:
            known_in_a_row = 0
            cell = trained[key]
            seen[key] = cell.accuracies[int(generator.integers(len(cell.accuracies)))]
            seconds.append(cell.seconds)
        study.tell(trial, seen[key])
    return Run(
        asked=task.evaluations,
        known_in_a_row=task.known_in_a_row,
        scores=np.array(list(seen.values())),
        trainings=np.array([(*trained[key].accuracies, math.nan, math.nan)[:3] for key in seen]),
        misses=np.array([best - trained[key].mean_accuracy for key in seen]),
        seconds=np.cumsum(seconds),
        ask_seconds=np.array(ask_seconds),
        known=known,
        ended_early=len(seen) < task.evaluations,
    )


def search_and_keep(task: Task, cache: Path) -> None:
    """Run a search and write it into the cache; called in a process of its own."""
    warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    run, path = search(task), task.cached_in(cache)
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_suffix(".unfinished.npz")
    np.savez_compressed(unfinished, **{field.name: getattr(run, field.name) for field in fields(run)})
    unfinished.replace(path)  # an interruption leaves no partial file


def load(task: Task, cache: Path) -> Run:
    with np.load(task.cached_in(cache)) as arrays:
        return Run(
            asked=task.evaluations,
            known_in_a_row=task.known_in_a_row,
            scores=arrays["scores"],
            trainings=arrays["trainings"],
            misses=arrays["misses"],
            seconds=arrays["seconds"],
            ask_seconds=arrays["ask_seconds"],
            known=int(arrays["known"]),
            ended_early=bool(arrays["ended_early"]),
        )


def run_missing(tasks: Sequence[Task], cache: Path, processes: int) -> None:
    """Run the searches that are not in the cache."""
    missing = [task for task in tasks if not task.cached_in(cache).exists()]
    os.environ["OMP_NUM_THREADS"] = "1"  # the processes are the parallelism
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(processes, mp_context=context) as pool:
        futures = {pool.submit(search_and_keep, task, cache): task for task in missing}
        for done, future in enumerate(as_completed(futures), start=1):
            future.result()
            task = futures[future]
            print(f"{done}/{len(missing)}: {task.sampler} on {task.dataset}, seed {task.seed}", file=sys.stderr)
