"""Compares the samplers for several objectives on NAS-Bench-201: accuracy against latency, and against parameters.

    python benchmarks/objectives.py nb201_final.parquet --cache runs/samplers

Writes `objectives.md` beside this file. Finished runs are kept in the cache.
"""

from __future__ import annotations

import os
import platform
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import version

import numpy as np
from sampler_runs import Cost, Floats, Run, Task, load, read_table, run_missing
from samplers import DATASETS, Interval, cpu, interval, parse_part

SAMPLERS = ("random", "predictor", "tpe", "nsgaii", "nsgaiii")
COSTS: dict[Cost, str] = {"latency_s": "latency", "params_m": "parameters"}
CHECKPOINTS = (30, 50, 100, 200)
KNOWN_IN_A_ROW = 200
"""TPE's proposals are nearly all known once it has converged, and each costs more than the one before."""

Rows = Mapping[tuple[str, Cost], Mapping[str, Sequence[Interval]]]
"""Data set and cost -> sampler -> the part of the hypervolume that is missing after each number of evaluations."""


def hypervolume(accuracies: Floats, costs: Floats) -> float:
    """Return the area that is dominated; both scaled to 0..1, and 0 and 1 are the reference."""
    area = best = 0.0
    for place in np.lexsort((-accuracies, costs)):
        if accuracies[place] > best:
            area += float(accuracies[place] - best) * float(1 - costs[place])
            best = float(accuracies[place])
    return area


def missing(task: Task, runs: Sequence[Run]) -> list[Interval]:
    """Return the part of the table's hypervolume that a search has not reached, in percent, at each checkpoint."""
    assert task.cost is not None, "a search with two objectives"
    cells = read_table(task.table, task.dataset).values()
    means = np.array([cell.mean_accuracy for cell in cells])
    costs = np.array([cell.costs[task.cost] for cell in cells])

    def area(accuracies: Floats, costs_here: Floats) -> float:
        scaled = (accuracies - means.min()) / np.ptp(means), (costs_here - costs.min()) / np.ptp(costs)
        return hypervolume(*scaled)

    whole = area(means, costs)
    reached = [[area(means.max() - run.misses[:count], run.costs[:count]) for count in CHECKPOINTS] for run in runs]
    return [interval(100 * (1 - np.array(column) / whole)) for column in zip(*reached, strict=True)]


def report(rows: Rows, command: str, seeds: int) -> Iterator[str]:
    """Yield the Markdown file, line by line."""
    yield "# How good the samplers are with two objectives on NAS-Bench-201\n"
    machine = f"{cpu()}, {os.cpu_count()} CPUs, Python {platform.python_version()}"
    packages = ", ".join(f"{name} {version(name)}" for name in ("optuna", "numpy"))
    yield f"{datetime.now(UTC):%Y-%m-%d}, {machine}, {packages}. Written by\n"
    yield f"```\n{command}\n```\n"
    yield (
        f"{seeds} seeds, one candidate at a time. Each evaluation reports the accuracy of a single training and the "
        "exact cost. The numbers are the hypervolume that is missing: that of all cells less that of the cells that "
        "were tried, in percent of the first, with mean accuracies. Accuracy and cost are scaled between the worst and "
        "the best of the table; the worst are the reference point. Mean ± half of its 95 % interval. Known proposals "
        f"do not count as evaluations; a run ends after {KNOWN_IN_A_ROW} of them in a row and counts with what it has "
        "reached.\n"
    )
    for (dataset, cost), of_samplers in rows.items():
        yield f"## {DATASETS[dataset]}, accuracy against {COSTS[cost]}\n"
        heads = ["sampler", *(f"after {count}" for count in CHECKPOINTS)]
        yield f"| {' | '.join(heads)} |"
        yield "|" + "---|" * len(heads)
        for sampler, intervals in of_samplers.items():
            yield f"| {sampler} | {' | '.join(map(str, intervals))} |"
        yield ""


def main() -> None:
    """Run the missing searches, then write the table of all."""
    arguments, command = parse_part("objectives", __doc__)
    tasks = {
        (dataset, cost, sampler): [
            Task(
                table=arguments.table,
                dataset=dataset,
                sampler=sampler,
                seed=seed,
                evaluations=CHECKPOINTS[-1],
                known_in_a_row=KNOWN_IN_A_ROW,
                cost=cost,
            )
            for seed in range(arguments.seeds)
        ]
        for dataset in arguments.datasets
        for cost in COSTS
        for sampler in SAMPLERS
    }
    run_missing([task for of_cell in tasks.values() for task in of_cell], arguments.cache, arguments.processes)
    rows: dict[tuple[str, Cost], dict[str, list[Interval]]] = {}
    for (dataset, cost, sampler), of_cell in tasks.items():
        runs = [load(task, arguments.cache) for task in of_cell]
        rows.setdefault((dataset, cost), {})[sampler] = missing(of_cell[0], runs)
    lines = report(rows, command, arguments.seeds)
    (arguments.out / "objectives.md").write_text("\n".join(lines), encoding="utf-8")


if __name__ == "__main__":
    main()
