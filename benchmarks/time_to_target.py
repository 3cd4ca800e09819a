"""Compares what real searches would name over time, by its true score: cellscout, stock Ray Tune and random search.

    python benchmarks/time_to_target.py DATA --cache runs/time_to_target

Writes `time_to_target.md` and `time_to_target.svg` after each seed. Every search has two workers and the same minutes.
The searches of a seed run in turn, in an order that changes from seed to seed, so that the machine's load spreads over
all. The true score of a candidate is the mean of fresh trainings, on images, splits and with seeds that no search has
used. Finished searches and trainings are kept in the cache: an interrupted benchmark continues, and with `--seeds` of
no more than are finished it only writes the result.
"""

from __future__ import annotations

import argparse
import json
import math
import multiprocessing
import os
import platform
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from statistics import fmean, median, stdev

import matplotlib.pyplot as plt
import optuna
import torch
from samplers import COLOURS, cpu, rounded
from target_searches import (
    ARMS,
    CONFIRMED,
    LEADER,
    MOMENTS,
    NAMINGS,
    RANDOM,
    RAY,
    RECIPE,
    STOCK_ASHA,
    WORKERS,
    Search,
    Task,
    make_training,
)

from orchestrator.cluster import raising_on_interrupt
from orchestrator.significance import Mean, mean_of
from search_spaces import Architecture
from trainables.datasets import load_data
from trainables.loader import DeviceData

FIRST_FRESH_SEED = 1000
TARGET_MISS = 0.005
"""The target is the best true score of all named candidates less this."""
COMPARED = ((CONFIRMED, RANDOM), (CONFIRMED, RAY), (LEADER, RANDOM), (LEADER, RAY), (RAY, RANDOM))


def train(task: Task, architecture: Architecture, fresh_seed: int) -> float:
    """Train a candidate in full on images and a split of this seed; return its validation accuracy."""
    torch.set_num_threads(1)
    config = task.config(fresh_seed)
    data = DeviceData(load_data(config.data, fresh_seed), torch.device("cpu"))
    training = make_training(config, architecture, data, seed=fresh_seed)
    return [training.train_epoch().val_accuracy for _ in range(config.training.epochs)][-1]


@dataclass
class FreshTrainings:
    """Scores of fresh trainings, by the candidate's fingerprint and the seed; each is written when it has ended."""

    path: Path
    scores: dict[str, dict[str, float]] = field(init=False)

    def __post_init__(self) -> None:
        self.scores = json.loads(self.path.read_text()) if self.path.exists() else {}

    def train_missing(self, task: Task, architectures: Iterable[Architecture], trainings: int) -> None:
        """Train each candidate with the first `trainings` seeds, two at a time; those on record are left out."""
        wanted = {one.fingerprint: one for one in architectures}
        context = multiprocessing.get_context("spawn")
        with raising_on_interrupt(), ProcessPoolExecutor(WORKERS, mp_context=context) as pool:
            jobs = {
                pool.submit(train, task, architecture, seed): (fingerprint, str(seed))
                for fingerprint, architecture in wanted.items()
                for seed in range(FIRST_FRESH_SEED, FIRST_FRESH_SEED + trainings)
                if str(seed) not in self.scores.get(fingerprint, {})
            }
            try:
                for job in as_completed(jobs):
                    fingerprint, seed = jobs[job]
                    self.scores.setdefault(fingerprint, {})[seed] = job.result()
                    write(self.path, json.dumps(self.scores))
            finally:
                pool.shutdown(cancel_futures=True)

    def of(self, architecture: Architecture, trainings: int) -> list[float]:
        known = self.scores[architecture.fingerprint]
        return [known[str(seed)] for seed in range(FIRST_FRESH_SEED, FIRST_FRESH_SEED + trainings)]


def write(path: Path, text: str) -> None:
    """Write a file as a whole or not at all."""
    part = path.with_name(f"{path.name}.part")
    part.write_text(text, encoding="utf-8")
    part.replace(path)


def over_seeds(values: Sequence[float]) -> Mean:
    """The mean with its interval; NaN if one of the searches had named nothing yet."""
    return Mean(len(values), math.nan, None, None) if any(map(math.isnan, values)) else mean_of(values)


@dataclass(frozen=True)
class Results:
    """The searches of all finished seeds, and the true score of what each named."""

    task: Task
    trainings: int
    searches: Sequence[Sequence[Search]]
    """By seed, then by arm."""
    fresh: FreshTrainings

    def true_scores(self, naming: str) -> list[list[float]]:
        """By seed, the true score at each moment; NaN if nothing was named."""
        return [
            [math.nan if one is None else fmean(self.fresh.of(one, self.trainings)) for one in search.named[naming]]
            for of_seed in self.searches
            for search in of_seed
            if naming in search.named
        ]

    def means(self, naming: str) -> list[Mean]:
        """The mean over the seeds at each moment."""
        return [over_seeds(column) for column in zip(*self.true_scores(naming), strict=True)]

    def differences(self, first: str, second: str) -> list[Mean]:
        """The mean difference at each moment, paired by seed."""
        pairs = zip(self.true_scores(first), self.true_scores(second), strict=True)
        rows = [[a - b for a, b in zip(*pair, strict=True)] for pair in pairs]
        return [over_seeds(column) for column in zip(*rows, strict=True)]

    @property
    def minutes(self) -> list[float]:
        return [moment * self.task.minutes for moment in MOMENTS]

    @property
    def target(self) -> float:
        scores = (score for naming in NAMINGS for row in self.true_scores(naming) for score in row)
        return max((score for score in scores if not math.isnan(score)), default=math.nan) - TARGET_MISS


def report(results: Results, command: str, plot: str) -> Iterator[str]:
    """Yield the Markdown file, line by line."""
    yield "# What a search would name over time, on Fashion-MNIST\n"
    packages = ", ".join(f"{name} {version(name)}" for name in ("torch", "ray", "optuna", "numpy"))
    machine = f"{cpu()}, {os.cpu_count()} CPUs, Python {platform.python_version()}"
    yield f"{datetime.now(UTC):%Y-%m-%d}, {machine}, {packages}. Written by\n"
    yield f"```\n{command}\n```\n"
    config, seeds = results.task.config(0), len(results.searches)
    recipe = ", ".join(
        f"{section}.{key} = {value}"
        for section, known in RECIPE.items()
        for key, value in getattr(config, section).model_dump(include=set(known)).items()
    )
    yield (
        f"{seeds} searches of each kind with {WORKERS} workers and {results.task.minutes:g} minutes each, in turn "
        f"({recipe}). **{CONFIRMED}** has its default settings (sampler {config.sampler.name}; scheduler "
        f"{config.scheduler.name}, first rung {config.scheduler.min_epochs}, reduction factor "
        f"{config.scheduler.reduction_factor}). Its confirmation takes the last part of the time, and may name another "
        "candidate than the **leader**, the one with the best score of a single training. **Ray Tune** has its own "
        "bridge to Optuna's TPE and its `ASHAScheduler` "
        f"({', '.join(f'{name} {value}' for name, value in STOCK_ASHA.items())}), as it is fastest in overhead.md: its "
        "workers are reused, its loggers and checkpoints are off. It names the trial with the highest last score, as "
        "`get_best_result` does; a trial that is not trained to the end can win only with a score above those of all "
        "that are. **Random** is cellscout with the sampler random and the scheduler fifo, without a confirmation. "
        "cellscout's searches name the best completed trial, and until there is one the highest score. All train with "
        "the same code.\n"
    )
    yield (
        f"The true score of a candidate is the mean of {results.trainings} fresh trainings to the end, on images, "
        "splits and with seeds that no search has used, the same for all candidates. Validation accuracy in percent, "
        f"mean over the searches ± half of its 95 % interval.\n\n![True score over time]({plot})\n"
    )
    yield from table("true score", {naming: results.means(naming) for naming in NAMINGS}, results.minutes, "{:.2f}")
    yield "\nDifferences in percentage points, paired by seed:\n"
    compared = {f"{first} - {second}": results.differences(first, second) for first, second in COMPARED}
    yield from table("difference", compared, results.minutes, "{:+.2f}")
    yield "\n" + verdict(results) + "\n"
    yield from target_table(results)
    yield ""
    yield from effort_table(results)
    scores = [stdev(known.values()) for known in results.fresh.scores.values() if len(known) > 1]
    if scores:
        yield f"\nThe standard deviation of a single fresh training's score is {100 * fmean(scores):.2f} on average."


def table(head: str, rows: Mapping[str, Sequence[Mean]], minutes: Sequence[float], form: str) -> Iterator[str]:
    yield f"| {head} | " + " | ".join(f"{at:g} min" for at in minutes) + " |"
    yield "|---|" + "---|" * len(minutes)
    for name, means in rows.items():
        yield f"| {name} | " + " | ".join(shown(mean, form) for mean in means) + " |"


def shown(mean: Mean, form: str) -> str:
    """The mean with its margin in percent; `-` if one of the searches had named nothing yet."""
    if math.isnan(mean.mean):
        return "-"
    text = form.format(100 * mean.mean)
    return text if math.isnan(mean.margin) else f"{text} ± {100 * mean.margin:.2f}"


def verdict(results: Results) -> str:
    """Say who is clearly ahead of whom and when: the interval of the difference excludes zero."""
    sentences, intervals = [], 0
    for first, second in COMPARED:
        moments = list(zip(results.minutes, results.differences(first, second), strict=True))
        known = [(at, mean) for at, mean in moments if mean.interval is not None]
        intervals += len(known)
        ahead = [f"{at:g}" for at, mean in known if mean.mean - mean.margin > 0]
        behind = [f"{at:g}" for at, mean in known if mean.mean + mean.margin < 0]
        parts = [
            f"{word} at {', '.join(found)} minutes" for word, found in (("ahead", ahead), ("behind", behind)) if found
        ]
        stands = f"is clearly {' and '.join(parts)}" if parts else "cannot be told apart at any moment"
        sentences.append(f"{first} against {second}: {stands}.")
    if not intervals:
        return "One search of each kind cannot tell."
    return (
        f"{' '.join(sentences)} Clearly: the interval excludes zero. Of the {intervals} intervals, one in twenty does "
        "so by chance alone, and those of neighbouring moments are not independent."
    )


def target_table(results: Results) -> Iterator[str]:
    """Yield how many searches named a candidate near the best, and after how long."""
    yield (
        f"The target is within {100 * TARGET_MISS:g} points of the best true score of all named candidates, "
        f"{100 * (results.target + TARGET_MISS):.2f}. It is rather high, as the best of several means is lucky.\n"
    )
    yield "| | searches that name such a candidate at the end | minutes to the first one, median |"
    yield "|---|---|---|"
    for naming in NAMINGS:
        rows = results.true_scores(naming)
        first = [
            next((at for at, score in zip(results.minutes, row, strict=True) if score >= results.target), math.inf)
            for row in rows
        ]
        middle = median(first)
        at_end = sum(row[-1] >= results.target for row in rows)
        time = f"more than {results.task.minutes:g}" if math.isinf(middle) else f"{middle:g}"
        yield f"| {naming} | {at_end} of {len(rows)} | {time} |"


def effort_table(results: Results) -> Iterator[str]:
    """Yield what each kind of search has trained in its time."""
    yield "| a search | trials | trained to the end | new trainings | epochs | seconds an epoch | busy |"
    yield "|---|---|---|---|---|---|---|"
    seconds = WORKERS * 60 * results.task.minutes
    for arm, searches in zip(ARMS, zip(*results.searches, strict=True), strict=True):
        counts: list[Callable[[Search], float]] = [
            lambda one: one.trials,
            lambda one: one.whole,
            lambda one: one.repeats,
            lambda one: len(one.epochs),
        ]
        cells = [f"{fmean(map(count, searches)):.1f}" for count in counts]
        trained = [sum(epoch.seconds for epoch in one.epochs) for one in searches]
        cells.append(f"{sum(trained) / max(1, sum(len(one.epochs) for one in searches)):.1f}")
        yield f"| {arm.namings[0]} | {' | '.join(cells)} | {fmean(trained) / seconds:.0%} |"
    yield (
        "\nBusy is the part of both workers' time that was training, without epochs that the end cut off. Different "
        "seconds an epoch come from different candidates, or from other work on the machine."
    )


def draw(results: Results, path: Path) -> None:
    """Draw the mean true score of each naming over time, with its interval."""
    plt.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": "time_to_target", "font.size": 9})
    figure, axes = plt.subplots(figsize=(6, 3.8))
    for naming, colour in zip(NAMINGS, (COLOURS[0], COLOURS[0], COLOURS[1], "black"), strict=True):
        means = results.means(naming)
        middle = [100 * mean.mean for mean in means]
        half = [0.0 if math.isnan(mean.margin) else 100 * mean.margin for mean in means]
        axes.plot(results.minutes, middle, "--" if naming == LEADER else "-", color=colour, linewidth=1.4, label=naming)
        low, high = ([m + sign * h for m, h in zip(middle, half, strict=True)] for sign in (-1, 1))
        axes.fill_between(results.minutes, low, high, color=colour, alpha=0.1, linewidth=0)
    axes.set(xlabel="minutes", ylabel="true score of what is named, %")
    axes.grid(color="#DDDDDD", linewidth=0.4)
    axes.legend(frameon=False, loc="lower right")
    figure.set_layout_engine("constrained")
    figure.savefig(path, metadata={"Date": None})
    plt.close(figure)
    path.write_text(rounded(path.read_text(encoding="utf-8")), encoding="utf-8")


def check_cache(task: Task, cache: Path) -> None:
    """Refuse a cache whose searches had other settings; defaults count, because one search has nothing else."""
    settings = task.config(0).model_dump(mode="json", exclude={"data": {"root"}})
    path = cache / "settings.json"
    if path.exists() and json.loads(path.read_text()) != settings:
        raise SystemExit(f"{cache} holds searches with other settings ({path.name}); name another folder by --cache")
    write(path, json.dumps(settings, indent=1))


def main() -> None:
    """Run what is missing, and write the result after each seed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="folder with Fashion-MNIST in torchvision's layout")
    parser.add_argument("--cache", type=Path, required=True, help="folder of finished searches and trainings")
    parser.add_argument("--seeds", type=int, default=6, help="searches of each kind")
    parser.add_argument("--minutes", type=float, default=20.0, help="of each search")
    parser.add_argument("--trainings", type=int, default=3, help="fresh trainings of each named candidate")
    parser.add_argument(
        "--set", action="append", default=[], metavar="SECTION.KEY=VALUE", help=f"change {', '.join(RECIPE)}"
    )
    parser.add_argument("--out", type=Path, default=Path(__file__).parent, help="folder of time_to_target.md and .svg")
    arguments = parser.parse_args()
    cache = arguments.cache.resolve()
    cache.mkdir(parents=True, exist_ok=True)
    task = Task(arguments.data.resolve(), arguments.minutes, tuple(arguments.set))
    check_cache(task, cache)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    fresh = FreshTrainings(cache / "fresh.json")
    searches: list[list[Search]] = []
    for seed in range(arguments.seeds):
        turn = seed % len(ARMS)
        for arm in (*ARMS[turn:], *ARMS[:turn]):
            arm.search(task, seed, cache)
            print(f"{datetime.now(UTC):%H:%M:%S} seed {seed}: {arm.namings[0]} has searched", flush=True)
        searches.append([arm.search(task, seed, cache) for arm in ARMS])
        named = [one for search in searches[-1] for row in search.named.values() for one in row if one is not None]
        fresh.train_missing(task, named, arguments.trainings)
        results = Results(task, arguments.trainings, searches, fresh)
        command = f"python benchmarks/time_to_target.py DATA --cache {cache.name} --seeds {len(searches)}"
        command += f" --minutes {arguments.minutes:g} --trainings {arguments.trainings}"
        command += "".join(f" --set {change}" for change in arguments.set)
        draw(results, arguments.out / "time_to_target.svg")
        write(arguments.out / "time_to_target.md", "\n".join(report(results, command, "time_to_target.svg")) + "\n")
        print(f"{datetime.now(UTC):%H:%M:%S} seed {seed}: written", flush=True)


if __name__ == "__main__":
    main()
