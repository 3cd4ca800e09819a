"""Compares all samplers on NAS-Bench-201, where each of 15,625 cells was trained on three data sets.

    python benchmarks/samplers.py nb201_final.parquet --cache runs/samplers

Writes `samplers.md` and `samplers.svg` beside this file. The table holds, per data set and cell, the final validation
accuracy of up to three trainings and the seconds of one training. Each evaluation reports the accuracy of one of the
trainings, drawn at random. The regret uses the mean of all trainings of the candidate that looks best. Finished runs
are kept in the cache, so an interrupted benchmark continues, and adding a sampler does not run the others again.
"""

from __future__ import annotations

import argparse
import functools
import multiprocessing
import os
import platform
import re
import sys
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib.pyplot as plt
import numpy as np
import optuna
import pyarrow.parquet
from matplotlib.axes import Axes
from matplotlib.ticker import LogLocator, NullFormatter
from numpy.typing import NDArray
from optuna.distributions import CategoricalDistribution

from orchestrator.config import SamplerSettings, make_sampler
from orchestrator.samplers import SAMPLERS
from orchestrator.significance import margin
from search_spaces import NAS_BENCH_201

DATASETS = {"cifar10": "CIFAR-10", "cifar100": "CIFAR-100", "imagenet": "ImageNet16-120"}
SEEDS_COLUMNS = ("val_acc_s0", "val_acc_s1", "val_acc_s2")

CHECKPOINTS = (100, 200, 300, 500)
"""Evaluations after which the table shows the regret."""

JUDGED_AT = 300
"""Evaluations after which samplers are compared with random search."""

SHARES_OF_TIME = (0.2, 0.5, 1.0)
"""Fractions of the shortest run's training time at which the table shows the regret at equal time."""

KNOWN_IN_A_ROW, KNOWN_IN_ALL = 1000, 5000
"""Known proposals after which a run ends: it has converged, and further asks would take hours."""

# Okabe and Ito's colours are safe for the colour-blind; black is for random. Dashes show lines that coincide.
COLOURS = ("#E69F00", "#56B4E9", "#009E73", "#D55E00", "#0072B2", "#CC79A7", "#8C8C00")
DASHES = ("-", "--", ":", "-.")

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
    regrets: Floats
    """Regret after each evaluation, in percentage points."""
    seconds: Floats
    """Training seconds up to the end of each evaluation."""
    ask_seconds: Floats
    """Seconds of each ask, including those of known proposals."""
    known: int
    """Proposals that had been evaluated before."""
    ended_early: bool
    """Whether too many known proposals ended the search."""

    def regret_at(self, seconds: Floats) -> Floats:
        """Return the regret after some training time.

        It is infinite before the first evaluation, and NaN after the last planned one.
        """
        done = np.searchsorted(self.seconds, seconds, side="right")
        over = (seconds > self.seconds[-1]) & (not self.ended_early)
        return np.where(over, np.nan, np.concatenate([[np.inf], self.regrets])[done])

    def regret_after(self, evaluations: NDArray[np.int64]) -> Floats:
        """Return the regret after some evaluations.

        A run that ended early keeps its last regret; the value is NaN beyond the planned evaluations.
        """
        regrets = self.regrets[np.minimum(evaluations, len(self.regrets)) - 1]
        return np.where(evaluations > self.asked, np.nan, regrets)


class Interval(NamedTuple):
    """A mean over runs, and half the width of its 95 % interval (Student's t).

    The interval is NaN for a single run; both are NaN beyond the planned end of the runs.
    """

    mean: Floats
    half: Floats

    def __str__(self) -> str:
        return "not run" if np.isnan(self.mean) else f"{float(self.mean):.3f} ± {float(self.half):.3f}"


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
    incumbent, regrets, seconds, ask_seconds, known, known_in_a_row = "", [], [], [], 0, 0
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
            incumbent = key if not incumbent or seen[key] > seen[incumbent] else incumbent
            regrets.append(best - trained[incumbent].mean_accuracy)
            seconds.append(cell.seconds)
        study.tell(trial, seen[key])
    return Run(
        asked=task.evaluations,
        known_in_a_row=task.known_in_a_row,
        regrets=np.array(regrets),
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
    np.savez_compressed(unfinished, **vars(run))
    unfinished.replace(path)  # an interruption leaves no partial file


def load(task: Task, cache: Path) -> Run:
    with np.load(task.cached_in(cache)) as arrays:
        return Run(
            asked=task.evaluations,
            known_in_a_row=task.known_in_a_row,
            regrets=arrays["regrets"],
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


Runs = Mapping[str, Sequence[Run]]
"""Sampler -> its runs on one data set."""


def interval(values: Floats) -> Interval:
    """Return the interval of the mean over the first axis, the runs."""
    runs = len(values)
    if runs == 1:
        return Interval(values[0], np.full_like(values[0], np.nan))
    return Interval(values.mean(axis=0), margin(1.0, runs) * values.std(axis=0, ddof=1))


def after(runs: Sequence[Run], evaluations: Any) -> Interval:
    return interval(np.stack([run.regret_after(np.asarray(evaluations)) for run in runs]))


def at(runs: Sequence[Run], seconds: Any) -> Interval:
    return interval(np.stack([run.regret_at(np.asarray(seconds)) for run in runs]))


def common_seconds(runs: Runs) -> tuple[float, float]:
    """Return the training seconds from which every run has a candidate, and up to which every whole run lasts."""
    every = [run for of_sampler in runs.values() for run in of_sampler]
    longest = max(run.asked for run in every)
    whole = [run for run in every if not run.ended_early and run.asked == longest] or every
    return max(float(run.seconds[0]) for run in every), min(float(run.seconds[-1]) for run in whole)


def better_than_random(runs: Runs, evaluations: int) -> list[str]:
    """Return the samplers whose interval lies below that of random search."""
    ends = {name: after(of_sampler, evaluations) for name, of_sampler in runs.items()}
    if "random" not in ends:
        return []
    bound = ends["random"].mean - ends["random"].half
    return [name for name, end in ends.items() if end.mean + end.half < bound]


def report(results: Mapping[str, Runs], command: str, evaluations: int) -> Iterator[str]:
    """Yield the Markdown file, line by line."""
    yield "# How good the samplers are on NAS-Bench-201\n"
    packages = ", ".join(f"{name} {version(name)}" for name in ("optuna", "numpy", "scikit-learn", "torch"))
    machine = f"{cpu()}, {os.cpu_count()} CPUs, Python {platform.python_version()}"
    yield f"{datetime.now(UTC):%Y-%m-%d}, {machine}, {packages}. Written by\n"
    yield f"```\n{command}\n```\n"
    yield (
        "Regret in percentage points of validation accuracy: the best cell's mean accuracy less that of the candidate "
        "that looks best so far. A search sees the accuracy of one training, which is noisy, so the regret of a run "
        "can grow. Mean over seeds ± half of its 95 % interval. Samplers with default options, one candidate at a "
        "time. Known proposals were evaluated before in the same run; they are answered from the record, and count "
        "neither as evaluations nor as time. Hours are the recorded training times, added up.\n"
    )
    yield "![Regret against evaluations and against training time](samplers.svg)\n"
    checkpoints = [checkpoint for checkpoint in CHECKPOINTS if checkpoint <= evaluations] or [evaluations]
    for dataset, runs in results.items():
        yield f"## {DATASETS[dataset]}\n"
        yield from dataset_table(runs, checkpoints)
        yield ""
        yield from verdict(runs, min(JUDGED_AT, evaluations))


def dataset_table(runs: Runs, checkpoints: Sequence[int]) -> Iterator[str]:
    moments = [share * common_seconds(runs)[1] for share in SHARES_OF_TIME]
    heads = ["sampler", "seeds", *(f"after {checkpoint}" for checkpoint in checkpoints)]
    heads += [*(f"at {moment / 3600:.0f} h" for moment in moments), "known proposals a run"]
    heads += ["ask, ms: median (95th percentile)", "asks of a run, s"]
    yield f"| {' | '.join(heads)} |"
    yield "|" + "---|" * len(heads)
    for name, of_sampler in runs.items():
        asks = np.concatenate([run.ask_seconds for run in of_sampler])
        median, late = np.quantile(asks, [0.5, 0.95]) * 1000
        cells = [name, str(len(of_sampler)), *(str(after(of_sampler, checkpoint)) for checkpoint in checkpoints)]
        cells += [str(at(of_sampler, moment)) for moment in moments]
        cells += [f"{np.mean([run.known for run in of_sampler]):.1f}"]
        cells += [f"{median:.1f} ({late:.1f})", f"{asks.sum() / len(of_sampler):.1f}"]
        yield f"| {' | '.join(cells)} |"


def verdict(runs: Runs, evaluations: int) -> Iterator[str]:
    names = ", ".join(better_than_random(runs, evaluations)) or "none"
    yield f"Better than random after {evaluations} evaluations, with no overlap of the intervals: {names}.\n"
    for name, of_sampler in runs.items():
        asked = of_sampler[0].asked
        if asked < evaluations:
            better = "better" if name in better_than_random(runs, asked) else "not better"
            yield f"{name} was given {asked} evaluations only; after these it is {better} by this criterion.\n"
        early = [len(run.regrets) for run in of_sampler if run.ended_early]
        if early:
            yield (
                f"{len(early)} of {len(of_sampler)} runs of {name} ended after {min(early)} to {max(early)} "
                f"evaluations, with {of_sampler[0].known_in_a_row} known proposals in a row or {KNOWN_IN_ALL} in all; "
                "they count with their last regret.\n"
            )


def cpu() -> str:
    """Return the processor's name, or the machine type if it is unknown."""
    path = Path("/proc/cpuinfo")
    lines = path.read_text().splitlines() if path.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def draw(results: Mapping[str, Runs], path: Path, evaluations: int) -> None:
    """Draw one column per data set: regret against evaluations above, against training time below."""
    plt.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": "samplers", "font.size": 9})
    figure, axes = plt.subplots(2, len(results), figsize=(4 * len(results), 6.6), squeeze=False, sharey="col")
    for (dataset, runs), above, below in zip(results.items(), *axes, strict=True):
        counts = np.unique(np.geomspace(min(10, evaluations), evaluations, 40).astype(int))
        draw_lines(above, counts, {name: after(of_sampler, counts) for name, of_sampler in runs.items()})
        above.set(title=DATASETS[dataset], xlabel="evaluations")
        first, last = common_seconds(runs)
        moments = np.geomspace(max(first, last * counts[0] / evaluations), last, 40)
        draw_lines(below, moments / 3600, {name: at(of_sampler, moments) for name, of_sampler in runs.items()})
        below.set(xlabel="training time, hours")
    for left in axes[:, 0]:
        left.set_ylabel("regret, percentage points")
    handles, names = axes[0, 0].get_legend_handles_labels()
    figure.legend(handles, names, loc="outside lower center", ncols=min(len(names), 5), frameon=False)
    figure.set_layout_engine("constrained")
    figure.savefig(path, metadata={"Date": None} if path.suffix == ".svg" else None)
    plt.close(figure)
    if path.suffix == ".svg":
        path.write_text(rounded(path.read_text(encoding="utf-8")), encoding="utf-8")


def rounded(svg: str) -> str:
    """Round paths to a tenth of a point: a third of the size, without a visible difference."""
    return re.sub(r' d="[^"]*"', lambda path: re.sub(r"(\.\d)\d+", r"\1", path.group()), svg)


def draw_lines(axes: Axes, places: NDArray[Any], intervals: Mapping[str, Interval]) -> None:
    """Draw a mean with its band for each sampler."""
    floor = 0.5 * min(float(np.nanmin(line.mean)) for line in intervals.values())
    for name, line in intervals.items():
        colour, dash = look(name)
        axes.plot(places, line.mean, dash, color=colour, linewidth=1.4, label=name)
        low = np.maximum(line.mean - line.half, floor)  # a logarithmic axis has no zero
        axes.fill_between(places, low, line.mean + line.half, color=colour, alpha=0.15, linewidth=0)
    axes.set(xscale="log", yscale="log")
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axis.set_major_formatter("{x:g}")
        axis.set_minor_formatter(NullFormatter())
    axes.grid(color="#DDDDDD", linewidth=0.4)
    axes.set_axisbelow(True)


def look(name: str) -> tuple[str, str]:
    """Return the colour and dashes of a sampler, independent of which others are drawn."""
    if name == "random":
        return "black", "-"
    place = [other for other in SAMPLERS if other != "random"].index(name)
    return COLOURS[place % len(COLOURS)], DASHES[place % len(DASHES)]


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("table", type=Path, help="NAS-Bench-201's final accuracies and training times, as Parquet")
    parser.add_argument("--cache", type=Path, required=True, help="folder of finished runs")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent, help="folder of samplers.md and .svg")
    parser.add_argument("--samplers", nargs="+", choices=SAMPLERS, default=list(SAMPLERS), metavar="NAME")
    parser.add_argument("--datasets", nargs="+", choices=DATASETS, default=list(DATASETS), metavar="NAME")
    parser.add_argument("--evaluations", type=int, default=max(CHECKPOINTS), help="evaluations of each run")
    parser.add_argument("--seeds", type=int, default=50, help="runs of each sampler on each data set")
    parser.add_argument(
        "--seeds-of",
        type=pair,
        action="append",
        default=[],
        metavar="NAME=COUNT",
        help="fewer seeds, for a slow sampler",
    )
    parser.add_argument(
        "--evaluations-of",
        type=pair,
        action="append",
        default=[],
        metavar="NAME=COUNT",
        help="fewer evaluations, for a slow sampler",
    )
    parser.add_argument(
        "--known-of",
        type=pair,
        action="append",
        default=[],
        metavar="NAME=COUNT",
        help=f"known proposals in a row that end its runs, instead of {KNOWN_IN_A_ROW}",
    )
    parser.add_argument("--processes", type=int, default=2)
    return parser.parse_args()


def pair(text: str) -> tuple[str, int]:
    name, _, count = text.partition("=")
    if name not in SAMPLERS or not count.isdecimal() or int(count) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=COUNT; names: {', '.join(SAMPLERS)}")
    return name, int(count)


def command(arguments: argparse.Namespace) -> str:
    """Return the command line, with file names instead of this machine's paths."""
    words = [f"python benchmarks/samplers.py {arguments.table.name} --cache {arguments.cache.name}"]
    words += [f"--evaluations {arguments.evaluations} --seeds {arguments.seeds}"]
    words += [f"--seeds-of {name}={count}" for name, count in arguments.seeds_of]
    words += [f"--evaluations-of {name}={count}" for name, count in arguments.evaluations_of]
    words += [f"--known-of {name}={count}" for name, count in arguments.known_of]
    for option, chosen, every in (
        ("samplers", arguments.samplers, SAMPLERS),
        ("datasets", arguments.datasets, DATASETS),
    ):
        words += [f"--{option} {' '.join(chosen)}"] if list(chosen) != list(every) else []
    return " ".join(words)


def main() -> None:
    """Run the missing searches, then write the table and the plot of all."""
    arguments = parse()
    seeds = {**dict.fromkeys(arguments.samplers, arguments.seeds), **dict(arguments.seeds_of)}
    evaluations = {**dict.fromkeys(arguments.samplers, arguments.evaluations), **dict(arguments.evaluations_of)}
    tasks = {
        (dataset, sampler): [
            Task(
                table=arguments.table,
                dataset=dataset,
                sampler=sampler,
                seed=seed,
                evaluations=evaluations[sampler],
                known_in_a_row=dict(arguments.known_of).get(sampler, KNOWN_IN_A_ROW),
            )
            for seed in range(seeds[sampler])
        ]
        for sampler in arguments.samplers
        for dataset in arguments.datasets
    }
    run_missing([task for of_cell in tasks.values() for task in of_cell], arguments.cache, arguments.processes)
    results = {
        dataset: {
            sampler: [load(task, arguments.cache) for task in tasks[dataset, sampler]] for sampler in arguments.samplers
        }
        for dataset in arguments.datasets
    }
    lines = report(results, command(arguments), arguments.evaluations)
    arguments.out.mkdir(parents=True, exist_ok=True)
    (arguments.out / "samplers.md").write_text("\n".join(lines), encoding="utf-8")
    draw(results, arguments.out / "samplers.svg", arguments.evaluations)


if __name__ == "__main__":
    main()
