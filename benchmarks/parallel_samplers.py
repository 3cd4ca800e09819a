"""How much a search loses if its sampler must propose before it knows the results of trials that run.

    python benchmarks/parallel_samplers.py nb201_final.parquet --cache runs/samplers

Writes `parallel_samplers.md` beside this file. Each sampler searches NAS-Bench-201 with 1, 4, 16 and 64 workers, on the
clock of the recorded training times. `OptunaSearch` is Ray Tune's own bridge, with the sampler that it takes itself:
Optuna's TPE. Finished runs are kept in the cache.
"""

from __future__ import annotations

import os
import platform
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from importlib.metadata import version

from sampler_runs import STOCK, Task, load, run_missing
from samplers import DATASETS, Interval, confirmed_after, cpu, parse_part, tried_after

SAMPLERS = ("random", "predictor", "tpe", "evolution", "local_search", STOCK)
WORKERS = (1, 4, 16, 64)
EVALUATIONS = 200

Intervals = Mapping[tuple[str, int], Interval]
"""Sampler and number of workers -> regret of the best candidate that was tried."""


def lost(intervals: Intervals, sampler: str, workers: int) -> str:
    """Return the loss against one worker, as a part of the way from random to one worker."""
    alone = float(intervals[sampler, 1].mean)
    way = float(intervals["random", 1].mean) - alone
    return f"{(float(intervals[sampler, workers].mean) - alone) / way:.1%}"


def report(regrets: Mapping[str, Mapping[str, Intervals]], command: str, seeds: int) -> Iterator[str]:
    """Yield the Markdown file, line by line."""
    yield "# What samplers lose with many workers\n"
    machine = f"{cpu()}, {os.cpu_count()} CPUs, Python {platform.python_version()}"
    packages = ", ".join(f"{name} {version(name)}" for name in ("optuna", "ray", "numpy"))
    yield f"{datetime.now(UTC):%Y-%m-%d}, {machine}, {packages}. Written by\n"
    yield f"```\n{command}\n```\n"
    yield (
        f"NAS-Bench-201, {seeds} seeds, {EVALUATIONS} evaluations of a single training each. Regret in percentage "
        "points of validation accuracy: the best cell's mean accuracy less that of the best candidate that was tried, "
        "or of the confirmed one (see [samplers.md](samplers.md)). Mean ± half of its 95 % interval. Workers take the "
        f"recorded training times. {STOCK} is Ray Tune's own bridge with Optuna's TPE as it comes; it trains known "
        "candidates again. Lost: the regret with so many workers less that with one, as a part of the way from the "
        "random search to one worker.\n"
    )
    for dataset, kinds in regrets.items():
        yield f"## {DATASETS[dataset]}\n"
        heads = ["sampler", "regret", *(f"{workers} at a time" for workers in WORKERS), f"lost with {WORKERS[-1]}"]
        yield f"| {' | '.join(heads)} |"
        yield "|" + "---|" * len(heads)
        for sampler in SAMPLERS:
            for kind, intervals in kinds.items():
                cells = [sampler, kind, *(str(intervals[sampler, workers]) for workers in WORKERS)]
                cells += ["" if sampler == "random" else lost(intervals, sampler, WORKERS[-1])]
                yield f"| {' | '.join(cells)} |"
        yield ""


def main() -> None:
    """Run the missing searches, then write the table of all."""
    arguments, command = parse_part("parallel_samplers", __doc__)
    tasks = {
        (dataset, sampler, workers): [
            Task(
                table=arguments.table,
                dataset=dataset,
                sampler=sampler,
                seed=seed,
                evaluations=EVALUATIONS,
                workers=workers,
            )
            for seed in range(arguments.seeds)
        ]
        for dataset in arguments.datasets
        for sampler in SAMPLERS
        for workers in WORKERS
    }
    run_missing([task for of_cell in tasks.values() for task in of_cell], arguments.cache, arguments.processes)
    regrets: dict[str, dict[str, dict[tuple[str, int], Interval]]] = {}
    for (dataset, sampler, workers), of_cell in tasks.items():
        runs = [load(task, arguments.cache) for task in of_cell]
        for kind, measure in (("tried", tried_after), ("confirmed", confirmed_after)):
            regrets.setdefault(dataset, {}).setdefault(kind, {})[sampler, workers] = measure(runs, EVALUATIONS)
    lines = report(regrets, command, arguments.seeds)
    (arguments.out / "parallel_samplers.md").write_text("\n".join(lines), encoding="utf-8")


if __name__ == "__main__":
    main()
