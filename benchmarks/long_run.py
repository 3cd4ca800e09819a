"""Measures the driver's time and memory in a search of ten thousand trials; prints Markdown.

    python benchmarks/long_run.py > benchmarks/long_run.md

Two questions: do the driver's memory and its time per event grow with the number of trials? And how long does it take
to rebuild such a run from its log? The trainable trains nothing. The sampler is random by default, because TPE's own
time grows with the number of trials; it is spent in the sampler's thread and is not the driver's.
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import os
import platform
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Self

import psutil
import ray
from rich.console import Console

from orchestrator.config import SearchConfig, load_config, make_sampler, make_scheduler, make_space, parse_config
from orchestrator.progress import Progress, View
from orchestrator.progress.search_view import SearchView
from orchestrator.record import EVENTS, RecordedRun, RunDirectory
from orchestrator.schedulers import Replayable
from orchestrator.search import run_search
from orchestrator.study import rebuild_study

EPOCHS = 27
CPUS = 2
MEGABYTE = 2**20


@dataclass(frozen=True)
class Block:
    """Measurements of consecutive trials."""

    trials: int
    """Trials of the run up to the end of this block."""
    seconds: float
    """Wall seconds per trial."""
    event_seconds: float
    """Median CPU seconds of the driver's main thread per step of its loop; each step is an event."""
    cpu_seconds: float
    """Mean CPU seconds of all threads of the driver per trial."""
    memory: int
    """Resident bytes of the driver at the end of the block."""


class Meter(Progress):
    """Displays nothing; measures the driver after each step, when it is called to refresh."""

    def __init__(self, block: int) -> None:
        super().__init__(Console(quiet=True))
        self._block = block
        self._process = psutil.Process()
        self.blocks: list[Block] = []
        self.memory_before = 0
        self._events: list[float] = []
        self._last_event = 0.0

    @contextlib.contextmanager
    def display(self, view: View, *, ticking: bool = False) -> Iterator[Self]:
        """Begin the first block: the search is about to begin."""
        assert isinstance(view, SearchView)
        self._state = view.state
        self.memory_before = self._memory()
        self._begin_block()
        yield self

    def __call__(self) -> None:
        """Measure one step; called after each event."""
        now = time.thread_time()
        self._events.append(now - self._last_event)
        self._last_event = now
        # Counts suggested trials: counting the ended ones would take longer with each trial.
        if len(self._state.trials) >= (len(self.blocks) + 1) * self._block:
            cpu = self._cpu() - self._cpu_before
            self.blocks.append(
                Block(
                    trials=len(self._state.trials),
                    seconds=(time.monotonic() - self._begun) / self._block,
                    event_seconds=median(self._events),
                    cpu_seconds=cpu / self._block,
                    memory=self._memory(),
                )
            )
            print(self.blocks[-1], file=sys.stderr)
            self._begin_block()

    def _begin_block(self) -> None:
        self._begun, self._cpu_before = time.monotonic(), self._cpu()
        self._events = []
        self._last_event = time.thread_time()

    def _cpu(self) -> float:
        times = self._process.cpu_times()
        return float(times.user + times.system)

    def _memory(self) -> int:
        gc.collect()
        return int(self._process.memory_info().rss)


def search_config(trials: int, sampler: str) -> SearchConfig:
    asha = ["scheduler.name=asha", "scheduler.min_epochs=1", "scheduler.reduction_factor=3"]
    work = ["trainable.name=instant", f"training.epochs={EPOCHS}", f"budget.trials={trials}", f"sampler.name={sampler}"]
    return load_config(None, [*work, *asha])


def measure_resume(run_dir: Path) -> dict[str, float]:
    """Return the seconds to rebuild each part of the run from its log."""
    directory = RunDirectory.at(run_dir)
    config = parse_config(directory.read_info().config, str(directory))
    seconds: dict[str, float] = {}
    started = time.perf_counter()
    state = RecordedRun.read(directory).state()
    seconds["the trials, from the log"] = time.perf_counter() - started

    started = time.perf_counter()
    rebuild_study(state, make_sampler(config.sampler, config.run.seed, make_space(config.space)))
    seconds["the study"] = time.perf_counter() - started

    started = time.perf_counter()
    scheduler = make_scheduler(config.scheduler, config.training.epochs, config.objectives.directions)
    if isinstance(scheduler, Replayable):
        for trial in state.trials.values():
            scheduler.replay(trial.trial_id, trial.rows())
    seconds["the scheduler's rungs"] = time.perf_counter() - started
    return seconds


def events_table(meter: Meter, rows: int = 10) -> str:
    """Format the measurements of the search in about `rows` rows."""
    lines = ["| trials | seconds a trial | driver's CPU seconds a trial | median CPU ms an event | memory, MB |"]
    lines.append("|---|---|---|---|---|")
    step = max(1, len(meter.blocks) // rows)
    lines += [
        f"| {block.trials} | {block.seconds:.4f} | {block.cpu_seconds:.4f} | {block.event_seconds * 1e3:.2f} | "
        f"{block.memory / MEGABYTE:.0f} |"
        for block in meter.blocks[step - 1 :: step]
    ]
    return "\n".join(lines)


def growth(meter: Meter) -> str:
    """Compare the last tenth of the search with its first."""
    tenth = max(1, len(meter.blocks) // 10)
    first, last = meter.blocks[:tenth], meter.blocks[-tenth:]
    by_event = median(b.event_seconds for b in last) / median(b.event_seconds for b in first)
    by_cpu = median(b.cpu_seconds for b in last) / median(b.cpu_seconds for b in first)
    by_time = median(b.seconds for b in last) / median(b.seconds for b in first)
    return (
        f"Memory grew by **{(meter.blocks[-1].memory - meter.memory_before) / MEGABYTE:.0f} MB** from before the first "
        f"trial to the last.\nThe last tenth against the first: an event takes **{by_event:.2f}** times as long, a "
        f"trial {by_cpu:.2f} times the driver's CPU time and {by_time:.2f} times the time by the clock."
    )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=10_000)
    parser.add_argument("--sampler", default="random")
    parser.add_argument("--block", type=int, default=250, help="trials per measurement")
    arguments = parser.parse_args()
    ray.init(address="local", num_cpus=CPUS, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    packages = ", ".join(f"{name} {version(name)}" for name in ("ray", "optuna"))
    print("# A search of ten thousand trials\n")
    print(
        f"{datetime.now(UTC):%Y-%m-%d}, {platform.processor() or platform.machine()}, {os.cpu_count()} CPUs, "
        f"Python {platform.python_version()}, {packages}. Written by\n"
    )
    command = " ".join(["python benchmarks/long_run.py", *sys.argv[1:]])
    print(f"```\n{command}\n```\n")
    meter = Meter(arguments.block)
    with tempfile.TemporaryDirectory() as folder:
        run_dir = Path(folder) / "run"
        started = time.perf_counter()
        state = run_search(search_config(arguments.trials, arguments.sampler), run_dir=run_dir, progress=meter).state
        minutes = (time.perf_counter() - started) / 60
        ray.shutdown()
        log_size = (run_dir / EVENTS).stat().st_size / MEGABYTE
        resume = measure_resume(run_dir)
    epochs = sum(trial.epochs for trial in state.trials.values())
    print(
        f"Trials of at most {EPOCHS} epochs with a trainable that trains nothing, ASHA with rungs 1, 3, 9, the sampler "
        f"{arguments.sampler}, {CPUS} slots: {len(state.trials)} trials and {epochs} epochs in {minutes:.1f} minutes; "
        f"a log of {log_size:.0f} MB.\n"
    )
    print(f"## The driver\n\n{growth(meter)}\n\n{events_table(meter)}\n")
    print("## Rebuilding the run from its log\n\n| | seconds |\n|---|---|")
    for part, seconds in resume.items():
        print(f"| {part} | {seconds:.1f} |")
    print(f"| together | {sum(resume.values()):.1f} |")


if __name__ == "__main__":
    main()
