"""Compares cellscout's bridge to Optuna with Ray Tune's stock one on recorded curves; writes Markdown.

    python benchmarks/replay_curves.py benchmarks/curves --output benchmarks/replay_curves.md

Both bridges drive the same sampler (Optuna's TPE) and the same ASHA on a virtual clock, with 1, 4 and 16 workers. Both
propose in the whole NASNet space. A proposal is answered by the recorded architecture that differs from it in the
fewest decisions and was not used in this run, so a sampler learns less than in a real search. An epoch takes the
seconds that it took when it was recorded. Ray Tune's `OptunaSearch` reports a trial that ASHA stopped to Optuna as
complete; cellscout reports it as pruned, with its curve.
"""

from __future__ import annotations

import argparse
import os
import platform
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from datetime import UTC, datetime
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from ray.tune.search.optuna import OptunaSearch

from orchestrator.record import TRIALS as TRIALS_TABLE
from orchestrator.schedulers import AshaScheduler
from orchestrator.significance import mean_of
from orchestrator.simulation import RecordedCurves, Regret, Simulation, simulate, simulate_search
from search_spaces import NASNET

TRIALS, EPOCHS = 200, 27
WORKERS = (1, 4, 16)
BUDGET = 20
"""The workers' total time, in whole trainings."""
MOMENTS = (0.1, 0.25, 0.5, 1.0)
"""Fractions of the time at which the regret is measured."""
SPACE = NASNET.param_space()


def sampler(kind: str, seed: int) -> optuna.samplers.BaseSampler:
    """Create the sampler that both bridges drive, or random search."""
    if kind == "random":
        return optuna.samplers.RandomSampler(seed=seed)
    return optuna.samplers.TPESampler(seed=seed, constant_liar=True)


def cellscout(kind: str, seed: int, run: Callable[..., Simulation], scheduler: AshaScheduler) -> Simulation:
    """Run cellscout's study, candidates and recorder, as in a search on Ray."""
    return simulate_search(NASNET, epochs=EPOCHS, sampler=sampler(kind, seed), scheduler=scheduler, run=run)


def stock(kind: str, seed: int, run: Callable[..., Simulation], scheduler: AshaScheduler) -> Simulation:
    """Run Ray Tune's own bridge."""
    return run(OptunaSearch(sampler=sampler(kind, seed)), scheduler, param_space=SPACE)


VARIANTS: dict[str, Callable[..., Simulation]] = {
    "cellscout, TPE": partial(cellscout, "tpe"),
    "Ray Tune's OptunaSearch, TPE": partial(stock, "tpe"),
    "random (cellscout)": partial(cellscout, "random"),
}


def one(folder: Path, *, variant: str, workers: int, seed: int) -> tuple[list[float], int, int]:
    """Return the regret at each moment, the number of trials, and the number of completed ones."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    pool = RecordedCurves.of_table(folder / TRIALS_TABLE, NASNET)
    seconds = BUDGET * pool.training_seconds / workers
    run = partial(
        simulate,
        evaluate=pool.answers(seed),
        workers=workers,
        seconds=seconds,
        trials=pool.limit,
    )
    scheduler = AshaScheduler(max_epochs=EPOCHS, min_epochs=1, reduction_factor=3)
    simulation = VARIANTS[variant](seed, run, scheduler)
    completed = sum(event.kind == "ended" for event in simulation.events)
    regret = Regret.of(simulation, pool)
    return [regret.at(moment * seconds) for moment in MOMENTS], len(simulation.trials), completed


def differences(found: dict[tuple[str, int], list[tuple[list[float], int, int]]], workers: int) -> Iterator[Any]:
    """Yield our regret less the stock bridge's, paired by seed, at each moment: mean and half the interval's width."""
    ours, theirs = (found[variant, workers] for variant in list(VARIANTS)[:2])
    for place in range(len(MOMENTS)):
        difference = mean_of([a[0][place] - b[0][place] for a, b in zip(ours, theirs, strict=True)])
        yield difference.mean, difference.margin


def verdict(found: dict[tuple[str, int], list[tuple[list[float], int, int]]]) -> str:
    """Return what the differences show, and what they cannot show."""
    every = [difference for workers in WORKERS for difference in differences(found, workers)]
    better = sum(mean + half < 0 for mean, half in every)
    worse = sum(mean - half > 0 for mean, half in every)
    return (
        f"Of the {len(every)} differences between the two bridges, {better} are clearly in favour of cellscout's and "
        f"{worse} clearly against it (the interval excludes zero). In a pool of {TRIALS} architectures, where a "
        "proposal is answered by one that shares some of its decisions, a sampler can learn little, as the rows of "
        "random search show. The result says nothing about longer searches in the whole space."
    )


def table(found: dict[tuple[str, int], list[tuple[list[float], int, int]]]) -> Iterator[str]:
    """Yield a row per variant and number of workers, and the paired difference between the two bridges."""
    moments = " | ".join(f"{moment:.0%} of the time" for moment in MOMENTS)
    yield f"| workers | | {moments} | trials | whole trainings |"
    yield "|---|---|" + "---|" * (len(MOMENTS) + 2)
    for workers in WORKERS:
        for variant in VARIANTS:
            runs = found[variant, workers]
            cells = [mean_of([run[0][place] for run in runs]) for place in range(len(MOMENTS))]
            text = " | ".join(f"{100 * cell.mean:.2f} +- {100 * cell.margin:.2f}" for cell in cells)
            counts = " | ".join(f"{np.mean([run[index] for run in runs]):.0f}" for index in (1, 2))
            yield f"| {workers} | {variant} | {text} | {counts} |"
        text = " | ".join(f"{100 * mean:+.2f} +- {100 * half:.2f}" for mean, half in differences(found, workers))
        yield f"| {workers} | *difference of the two bridges, by seed* | {text} | | |"


def main() -> None:
    """Replay and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="folder with the tables of record_curves.py")
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
    pool = RecordedCurves.of_table(arguments.folder / TRIALS_TABLE, NASNET)
    packages = ", ".join(f"{name} {version(name)}" for name in ("ray", "optuna"))
    command = " ".join(["python benchmarks/replay_curves.py", *sys.argv[1:]])
    arguments.output.write_text(
        f"# The bridge between sampler and scheduler, replayed\n\n{datetime.now(UTC):%Y-%m-%d}, {platform.machine()}, "
        f"{os.cpu_count()} CPUs, Python {platform.python_version()}, {packages}. Written by\n\n```\n{command}\n```\n\n"
        f"Regret in points of validation accuracy (mean over {arguments.seeds} seeds, with the 95 % interval of the "
        f"mean): the best accuracy of {len(pool.curves)} recorded architectures less that of the leading candidate "
        f"when trained to the end. The workers' total time is that of {BUDGET} whole trainings of {EPOCHS} epochs. "
        "ASHA has its rungs at epochs 1, 3 and 9.\n\n" + "\n".join(table(found)) + f"\n\n{verdict(found)}\n"
    )


if __name__ == "__main__":
    main()
