"""Runs of samplers on NAS-Bench-201's table: each search, and the cache of those that have finished."""

from __future__ import annotations

import functools
import heapq
import math
import multiprocessing
import os
import sys
import time
import warnings
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, NamedTuple, Protocol, get_args

import numpy as np
import optuna
import pyarrow.parquet
from made_up_searches import race
from numpy.typing import NDArray
from optuna.study import StudyDirection
from ray.tune.search.optuna import OptunaSearch

from orchestrator.config import SamplerSettings, make_sampler
from orchestrator.study import to_distributions
from search_spaces import NAS_BENCH_201

SEEDS_COLUMNS = ("val_acc_s0", "val_acc_s1", "val_acc_s2")

CANDIDATES = 5
"""Candidates of a confirmation; each is trained again as often as the table has trainings of a cell, at most."""

KNOWN_IN_A_ROW, KNOWN_IN_ALL = 1000, 5000
"""Known proposals after which a run ends: it has converged, and further asks would take hours."""

Floats = NDArray[np.float64]


Cost = Literal["latency_s", "params_m"]
"""A second objective, by its column: seconds of a forward pass, and millions of parameters."""

STOCK = "OptunaSearch"
"""Ray Tune's own bridge to Optuna, as it comes: TPE, which knows nothing of the trials that run."""


class Trained(NamedTuple):
    """A cell on one data set: accuracies in percent, by training and on average, the seconds of a training, costs."""

    accuracies: tuple[float, ...]
    mean_accuracy: float
    seconds: float
    costs: dict[Cost, float]


@dataclass(frozen=True, kw_only=True)
class Task:
    """One search: everything that determines it."""

    table: Path
    dataset: str
    sampler: str
    seed: int
    evaluations: int
    known_in_a_row: int = KNOWN_IN_A_ROW
    workers: int = 1
    cost: Cost | None = None
    """A cost that is minimised beside the accuracy."""

    def cached_in(self, cache: Path) -> Path:
        """Return the file of its run."""
        parts = [f"{self.evaluations}-evaluations"]
        parts += [f"{self.known_in_a_row}-known"] if self.known_in_a_row != KNOWN_IN_A_ROW else []
        parts += [f"{self.workers}-workers"] if self.workers > 1 else []
        parts += [self.cost] if self.cost is not None else []
        return cache / self.dataset / self.sampler / f"{'-'.join([*parts, f'seed-{self.seed}'])}.npz"


@dataclass(frozen=True, kw_only=True)
class Run:
    """The result of a search; the evaluations in the order in which they ended."""

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
    costs: Floats
    """The cost of each evaluated cell if there is a second objective; otherwise empty."""
    seconds: Floats
    """Seconds from the start of the search to the end of each evaluation, all of them of training."""
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
    columns = ["arch_key", *get_args(Cost), *SEEDS_COLUMNS, "val_acc_mean", "train_time_s"]
    rows = pyarrow.parquet.read_table(path, columns=columns, filters=[("dataset", "=", dataset)]).to_pydict()
    trained = {}
    for key, latency, parameters, *accuracies, mean, seconds in zip(*(rows[name] for name in columns), strict=True):
        known = tuple(accuracy for accuracy in accuracies if accuracy is not None and not np.isnan(accuracy))
        trained[key] = Trained(known, mean, seconds, {"latency_s": latency, "params_m": parameters})
    assert len(trained) == NAS_BENCH_201.size, f"{len(trained)} cells of {dataset}"
    return trained


class Searcher(Protocol):
    """Proposes cells, and learns their values."""

    def ask(self) -> tuple[Any, str]:
        """Return a handle of the proposal, and the cell's key in the table."""

    def tell(self, handle: Any, values: list[float]) -> None:
        """Take the values of a proposal."""


# The table's digits are places in the space's list of operations, and its edges come in the order of the decisions.
DECISIONS = {name: list(choices) for name, choices in NAS_BENCH_201.decisions()}


def key_of(params: Mapping[str, Any]) -> str:
    return "".join(str(choices.index(params[name])) for name, choices in DECISIONS.items())


class SamplersStudy:
    """A sampler of cellscout in an Optuna study."""

    def __init__(self, task: Task) -> None:
        sampler = make_sampler(SamplerSettings(name=task.sampler), task.seed, NAS_BENCH_201)
        directions = [StudyDirection.MAXIMIZE, StudyDirection.MINIMIZE][: 1 if task.cost is None else 2]
        self._study = optuna.create_study(sampler=sampler, directions=directions)
        self._space = to_distributions(NAS_BENCH_201.param_space())

    def ask(self) -> tuple[Any, str]:
        trial = self._study.ask(dict(self._space))
        return trial, key_of(trial.params)

    def tell(self, handle: Any, values: list[float]) -> None:
        self._study.tell(handle, values)


class StockSearcher:
    """`STOCK`, called as Ray Tune calls it."""

    def __init__(self, task: Task) -> None:
        self._searcher = OptunaSearch(seed=task.seed)
        self._searcher.set_search_properties("accuracy", "max", NAS_BENCH_201.param_space())
        self._asked = 0

    def ask(self) -> tuple[Any, str]:
        self._asked += 1
        params = self._searcher.suggest(str(self._asked))
        assert params is not None, "it has no limit"
        return str(self._asked), key_of(params)

    def tell(self, handle: Any, values: list[float]) -> None:
        self._searcher.on_trial_complete(handle, {"accuracy": values[0]})


class Ended(NamedTuple):
    """An evaluation that ends at some moment; the heap gives them in this order."""

    seconds: float
    number: int
    handle: Any
    key: str
    values: list[float]


def search(task: Task) -> Run:
    """Search with some workers, on the clock of the recorded training times.

    As in cellscout, a candidate that was evaluated before is answered with its recorded result, which takes no training
    time and does not count as an evaluation; one that is being evaluated waits for its result. `STOCK` trains it again.
    """
    trained = read_table(task.table, task.dataset)
    best = max(cell.mean_accuracy for cell in trained.values())
    searcher: Searcher = StockSearcher(task) if task.sampler == STOCK else SamplersStudy(task)
    generator = np.random.default_rng(task.seed)
    running: list[Ended] = []
    ended: list[Ended] = []
    values_of: dict[str, list[float]] = {}
    twins: dict[str, list[Any]] = {}
    """Proposals that equal a running one, by its key."""
    ask_seconds, known, known_in_a_row = [], 0, 0

    def start_next() -> None:
        nonlocal known, known_in_a_row
        started = time.perf_counter()
        handle, key = searcher.ask()
        ask_seconds.append(time.perf_counter() - started)
        if key in twins and task.sampler != STOCK:
            known, known_in_a_row = known + 1, known_in_a_row + 1
            if key in values_of:
                searcher.tell(handle, values_of[key])
            else:
                twins[key].append(handle)
            return
        known_in_a_row = 0
        cell = trained[key]
        values = [cell.accuracies[int(generator.integers(len(cell.accuracies)))]]
        values += [cell.costs[task.cost]] if task.cost is not None else []
        twins.setdefault(key, [])
        now = ended[-1].seconds if ended else 0.0
        heapq.heappush(running, Ended(now + cell.seconds, len(ended) + len(running), handle, key, values))

    def may_ask() -> bool:
        return known_in_a_row < task.known_in_a_row and known < KNOWN_IN_ALL

    while len(ended) < task.evaluations and (running or may_ask()):
        while len(running) < task.workers and len(ended) + len(running) < task.evaluations and may_ask():
            start_next()
        if running:
            ended.append(heapq.heappop(running))
            values_of[ended[-1].key] = ended[-1].values
            for handle in (ended[-1].handle, *twins[ended[-1].key]):
                searcher.tell(handle, ended[-1].values)
            twins[ended[-1].key].clear()
    cells = [trained[one.key] for one in ended]
    return Run(
        asked=task.evaluations,
        known_in_a_row=task.known_in_a_row,
        scores=np.array([one.values[0] for one in ended]),
        trainings=np.array([(*cell.accuracies, math.nan, math.nan)[:3] for cell in cells]),
        misses=np.array([best - cell.mean_accuracy for cell in cells]),
        costs=np.array([one.values[1] for one in ended if task.cost is not None]),
        seconds=np.array([one.seconds for one in ended]),
        ask_seconds=np.array(ask_seconds),
        known=known,
        ended_early=len(ended) < task.evaluations,
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
            costs=arrays["costs"],
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
