"""Measures how fast `cellscout simulate` takes searches of thousands of trials on hundreds of workers; writes Markdown.

    python benchmarks/simulate_speed.py benchmarks/curves/trials.parquet --output benchmarks/simulate_speed.md

Each search runs in one process: cellscout's own study, candidates, recorder and scheduler on the virtual clock, as
`cellscout simulate` runs them, until all its trials have ended. The record has fewer architectures than the search has
trials, so each answers many times: a proposal gets the curve that a checksum of its decisions chooses.
"""

from __future__ import annotations

import argparse
import os
import platform
import sys
import time
import zlib
from collections.abc import Iterator
from datetime import UTC, datetime
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import optuna

from orchestrator.config import SamplerSettings, SchedulerSettings, make_sampler, make_scheduler
from orchestrator.simulation import Curve, RecordedCurves, simulate, simulate_search

TRIALS, WORKERS = (2_500, 10_000), 500
TARGET_SECONDS = 60


def searched(pool: RecordedCurves, trials: int) -> tuple[int, float, float]:
    """Simulate random search with ASHA; return the number of reports, and seconds by the wall and of the processor."""

    decisions = list(pool.space.param_space())

    def answer(params: dict[str, Any]) -> Curve:
        return pool.curves[zlib.crc32(repr([params[name] for name in decisions]).encode()) % len(pool.curves)]

    sampler = make_sampler(SamplerSettings(name="random"), 0, pool.space)
    made = make_scheduler(SchedulerSettings(name="asha"), pool.epochs, {"val_accuracy": "maximize"})
    run = partial(simulate, evaluate=answer, workers=WORKERS, trials=trials)
    wall, busy = time.perf_counter(), time.process_time()
    simulation = simulate_search(pool.space, epochs=pool.epochs, sampler=sampler, scheduler=made, run=run)
    reports = sum(event.kind == "reported" for event in simulation.events)
    return reports, time.perf_counter() - wall, time.process_time() - busy


def rows(pool: RecordedCurves) -> Iterator[str]:
    """Yield the lines of the table."""
    yield "| trials | workers | reports | wall clock | processor | processor per trial |"
    yield "|---|---|---|---|---|---|"
    for trials in TRIALS:
        reports, wall, busy = searched(pool, trials)
        row = f"| {trials:,} | {WORKERS} | {reports:,} | {wall:.0f} s | {busy:.0f} s | {1000 * busy / trials:.1f} ms |"
        print(row, file=sys.stderr)
        yield row


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("record", help="run directory, or trials.parquet")
    parser.add_argument("--output", type=Path, required=True)
    arguments = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    pool = RecordedCurves.read(arguments.record)
    table = "\n".join(rows(pool))
    load = os.getloadavg()[1]
    packages = ", ".join(f"{name} {version(name)}" for name in ("ray", "optuna"))
    command = " ".join(["python benchmarks/simulate_speed.py", *sys.argv[1:]])
    arguments.output.write_text(
        f"# The speed of simulated searches\n\n{datetime.now(UTC):%Y-%m-%d}, {platform.machine()}, {os.cpu_count()} "
        f"CPUs (load {load:.0f} at the end), Python {platform.python_version()}, {packages}. Written by\n\n"
        f"```\n{command}\n```\n\nRandom search with ASHA on curves of {pool.epochs} epochs, in one process. The aim is "
        f"{TARGET_SECONDS} s for 10,000 trials on 500 workers, on one core. On a busy machine the processor time is "
        f"what one core would take.\n\n{table}\n"
    )


if __name__ == "__main__":
    main()
