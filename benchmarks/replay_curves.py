"""Replays searches on recorded curves: the default setting, random search without stopping, stock Ray Tune.

    python benchmarks/replay_curves.py benchmarks/curves/fashion_mnist --output benchmarks/replay_curves.md

All search the space of the record on a virtual clock, where an epoch takes the seconds that it took when it was
recorded. A surrogate of the recorded curves answers each proposal (`surrogate.md`). The nearest recorded architecture
would answer it less well, and a search of these lengths would use up all recorded ones.
"""

from __future__ import annotations

import argparse
import itertools
import os
import platform
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from datetime import UTC, datetime
from functools import cache, partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import optuna
from ray.tune.schedulers import ASHAScheduler
from ray.tune.search.optuna import OptunaSearch

from orchestrator.config import make_sampler, make_scheduler, parse_config
from orchestrator.significance import Mean, mean_of
from orchestrator.simulation import Answers, RecordedCurves, Regret, Simulation, Surrogate, simulate, simulate_search
from orchestrator.simulation.speed_up import SpeedUp, speed_up

WORKERS = (4, 16)
BUDGET = 100
"""The workers' total time, in whole trainings. Rivals have more, so that they come to the targets too (`LENGTHS`)."""
TARGETS = (0.005, 0.01, 0.02)
"""Regrets at which a search has reached a target, in validation accuracy."""

Run = Callable[..., Simulation]


def cellscout(answers: Answers, seed: int, run: Run, **sections: Mapping[str, Any]) -> Simulation:
    """Search with cellscout; what the sections leave open has its default."""
    config = parse_config({**sections, "training": {"epochs": answers.epochs}}, "the replay")
    return simulate_search(
        answers.space,
        epochs=answers.epochs,
        sampler=make_sampler(config.sampler, seed, answers.space),
        scheduler=make_scheduler(config.scheduler, answers.epochs, {"val_accuracy": "maximize"}),
        run=run,
    )


def stock(answers: Answers, seed: int, run: Run) -> Simulation:
    """Search with Ray Tune's OptunaSearch and ASHAScheduler as they come."""
    return run(
        OptunaSearch(seed=seed),
        ASHAScheduler(time_attr="epoch", max_t=answers.epochs),
        param_space=answers.space.param_space(),
    )


DEFAULT, RANDOM, STOCK = "cellscout as it comes", "random without stopping", "Ray Tune, TPE + ASHA"
ARMS: dict[str, Callable[[Answers, int, Run], Simulation]] = {
    RANDOM: partial(cellscout, sampler={"name": "random"}, scheduler={"name": "fifo"}),
    STOCK: stock,
    DEFAULT: cellscout,
    "cellscout without stopping": partial(cellscout, scheduler={"name": "fifo"}),
}


LENGTHS = {RANDOM: 10, STOCK: 3}
"""How many times `BUDGET` a rival has."""


def limit_of(arm: str, workers: int, answers: Answers) -> float:
    """Return the seconds of a search."""
    return LENGTHS.get(arm, 1) * BUDGET * answers.training_seconds / workers


@cache
def surrogate_of(record: str) -> Surrogate:
    """Fit the surrogate once in each process."""
    return Surrogate(RecordedCurves.read(record))


def one(record: str, arm: str, workers: int, seed: int) -> tuple[Regret, int]:
    """Return the regret of one search over time, and its number of trials."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    answers = surrogate_of(record)
    run = partial(
        simulate,
        evaluate=answers.answers(seed),
        workers=workers,
        seconds=limit_of(arm, workers, answers),
        trials=answers.limit,
    )
    simulation = ARMS[arm](answers, seed, run)
    return Regret.of(simulation, answers), len(simulation.trials)


Found = Mapping[tuple[str, int], Sequence[tuple[Regret, int]]]


def sooner(found: Found, workers: int, *, arm: str, target: float, limits: Mapping[str, float]) -> Iterator[str]:
    """Yield how many searches reach the target, and how many times sooner than random search and Ray Tune."""
    times = {one: [regret.reached(target) for regret, _ in found[one, workers]] for one in ARMS}
    yield f"{sum(time is not None for time in times[arm])} of {len(times[arm])}"
    for other in (RANDOM, STOCK):
        ratio = speed_up(times[arm], times[other], limit=limits[arm], limit_of_others=limits[other])
        yield "" if arm == other else in_words(ratio)


def points(regret: Mean) -> str:
    margin = f" ± {100 * regret.margin:.2f}" if regret.margin > 0 else ""  # NaN if all searches end alike
    return f"{100 * regret.mean:.2f}{margin}"


def in_words(ratio: SpeedUp) -> str:
    if not ratio.is_bounded:
        return "not known"
    return f"{ratio.estimate_in_words} ({ratio.interval_in_words})"


def table(found: Found, answers: Answers) -> Iterator[str]:
    """Yield a row for each number of workers and arm."""
    targets = [f"within {100 * target:g}: reached | times sooner than random | than Ray Tune" for target in TARGETS]
    at_end = f"after {BUDGET} trainings"
    yield f"| workers | | regret after {BUDGET // 4} trainings | {at_end} | {' | '.join(targets)} | trials |"
    yield "|---|---|---|---|" + "---|---|---|" * len(TARGETS) + "---|"
    for workers, arm in itertools.product(WORKERS, ARMS):
        limits = {each: limit_of(each, workers, answers) for each in ARMS}
        runs = found[arm, workers]
        moments = [part * limits[DEFAULT] for part in (0.25, 1.0)]
        regrets = [mean_of([regret.at(moment) for regret, _ in runs]) for moment in moments]
        cells = [
            *map(points, regrets),
            *(cell for target in TARGETS for cell in sooner(found, workers, arm=arm, target=target, limits=limits)),
            f"{mean_of([count for _, count in runs]).mean:.0f}",
        ]
        yield f"| {workers} | {arm} | {' | '.join(cells)} |"


def main() -> None:
    """Replay and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("record", help="run directory, or trials.parquet")
    parser.add_argument("--seeds", type=int, default=30)
    parser.add_argument("--output", type=Path, required=True)
    arguments = parser.parse_args()
    jobs = list(itertools.product(ARMS, WORKERS, range(arguments.seeds)))
    found: dict[tuple[str, int], list[tuple[Regret, int]]] = {}
    with ProcessPoolExecutor(os.cpu_count()) as processes:
        runs = processes.map(one, *zip(*((arguments.record, *job) for job in jobs), strict=True))
        for (arm, workers, seed), run in zip(jobs, runs, strict=True):
            found.setdefault((arm, workers), []).append(run)
            print(arm, workers, seed, run[0].values[-1], run[1], file=sys.stderr, flush=True)
    packages = ", ".join(f"{name} {version(name)}" for name in ("ray", "optuna"))
    command = " ".join(["python benchmarks/replay_curves.py", *sys.argv[1:]])
    parts = [
        f"# Searches on recorded curves\n\n{datetime.now(UTC):%Y-%m-%d}, {platform.machine()}, "
        f"{os.cpu_count()} CPUs, Python {platform.python_version()}, {packages}. Written by\n\n```\n{command}\n```",
        f"Searches on a virtual clock, {arguments.seeds} seeds each. The workers' total time is that of {BUDGET} whole "
        f"trainings, of random search without stopping {LENGTHS[RANDOM]} times and of Ray Tune {LENGTHS[STOCK]} times "
        "as much, so that they come to the targets too. The regret is the best score that is known less that of the "
        "leading candidate when trained to the end, in points of validation accuracy, with the 95 % interval of its "
        "mean. *within 0.5*: how many searches came within 0.5 points of the best score that is known and stayed "
        "there, and how many times sooner than those of random search without stopping and of Ray Tune (the ratio over "
        "all pairs of searches, with its 95 % interval; searches that did not reach the target only bound it). *Ray "
        "Tune* is its OptunaSearch with Optuna's default sampler (TPE) and its ASHAScheduler, with default settings.",
    ]
    answers = surrogate_of(arguments.record)
    parts += [f"{answers.note[0].upper()}{answers.note[1:]}.", "\n".join(table(found, answers))]
    arguments.output.write_text("\n\n".join(parts) + "\n")


if __name__ == "__main__":
    main()
