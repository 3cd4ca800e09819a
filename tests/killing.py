"""Runs a search or an evaluation in its own processes, whose driver is killed repeatedly and started again."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from orchestrator.errors import RunDirectoryError
from orchestrator.record.events import Event
from orchestrator.record.recorded_run import RecordedRun
from orchestrator.record.run_directory import INFO, RunDirectory
from tests.paced_trainable import EVALUATED, PACE, trained
from tests.records import on_record

ROOT = Path(__file__).parents[1]

TWO_CPUS = {"RAY_OVERRIDE_RESOURCES": '{"CPU": 2}'}
"""The size of a Ray that a command starts, equal to the other Rays of these tests."""

EPOCH_SECONDS = 0.2
EPOCHS_A_REPORT = 4
"""The number of epochs of `EPOCH_SECONDS` in one report; fewer on a slow machine."""

START_SECONDS = 4.0
"""About how long a driver takes until its worker trains."""


def pace(folder: Path, seconds: float = EPOCH_SECONDS) -> None:
    """Set how long each epoch of the searches in the folder takes from now on."""
    (folder / PACE).write_text(str(seconds))


def started(folder: Path, *command: str, environment: Mapping[str, str]) -> subprocess.Popen[bytes]:
    """Start a command of cellscout. Its output is appended to a file in the folder."""
    with (folder / "output").open("ab") as output:
        return subprocess.Popen(
            [sys.executable, "-m", "orchestrator.cli", *command],
            cwd=ROOT,  # so that workers can import `tests`
            env={**os.environ, "OMP_NUM_THREADS": "1", **TWO_CPUS, **environment},
            stdout=output,
            stderr=output,
        )


def search_file(folder: Path, **sections: str) -> Path:
    """Write a search file with images that take no time to read. `sections` add to it or replace its sections."""
    np.savez(folder / "data.npz", images=np.zeros((40, 8, 8), np.uint8), labels=np.arange(40) % 2)
    values = {
        "data": f'{{ name = "npz", root = "{folder / "data.npz"}" }}',
        "space": "{ blocks = 2 }",
        "training": "{ epochs = 9 }",
        "trainable": '{ name = "tests.paced_trainable:PacedTrainable" }',
        "sampler": '{ name = "tpe", options = { n_startup_trials = 4 } }',
        "confirmation": "{ candidates = 0 }",
        **sections,
    }
    path = folder / "search.toml"
    path.write_text("".join(f"{name} = {value}\n" for name, value in values.items()))
    return path


class Disturbed(Protocol):
    """A run that is started, killed and continued."""

    @property
    def directory(self) -> RunDirectory: ...

    def command(self) -> list[str]:
        """Return the command that starts or continues it."""

    def on_record(self) -> list[tuple[str, int]]:
        """Return its recorded epochs, as `trained` returns them."""


@dataclass(frozen=True)
class Searching:
    """A search with a search file; `run_dir` is a path or a URI."""

    search: Path
    run_dir: str

    @property
    def directory(self) -> RunDirectory:
        return RunDirectory.at(self.run_dir)

    def command(self) -> list[str]:
        if self.directory.folder.has(INFO):
            return ["resume", self.run_dir]
        return ["search", str(self.search), "--run-dir", self.run_dir]

    def on_record(self) -> list[tuple[str, int]]:
        return on_record(events_of(self.directory))


@dataclass(frozen=True)
class Evaluating:
    """An evaluation of the search in `run_dir`, with the random search that belongs to it."""

    run_dir: str
    options: tuple[str, ...]

    @property
    def directory(self) -> RunDirectory:
        return RunDirectory.at(self.run_dir) / "evaluation"

    def command(self) -> list[str]:
        return ["evaluate", self.run_dir, *self.options]

    def on_record(self) -> list[tuple[str, int]]:
        trainings = [(f"{EVALUATED}{name}", epoch) for name, epoch in on_record(events_of(self.directory))]
        return on_record(events_of(self.directory / "random")) + trainings


def events_of(directory: RunDirectory) -> list[Event]:
    try:
        return RecordedRun.read(directory).events()
    except RunDirectoryError:  # it has not started
        return []


class Drivers:
    """The drivers of one search or evaluation, one after the other.

    Args:
        folder: where the workers note their epochs.
        disturbed: the search or evaluation.
        environment: environment variables of the drivers.
        seed: for the moments at which the drivers are killed.
    """

    def __init__(self, folder: Path, disturbed: Disturbed, environment: Mapping[str, str], *, seed: int = 0) -> None:
        self._folder = folder
        self._disturbed = disturbed
        self._environment = environment
        self._moments = random.Random(seed)
        self._trained_at_kills = [0]
        self._on_record_at_kills: list[set[tuple[str, int]]] = [set()]

    def kill(self, *options: str) -> None:
        """Start a driver and kill it at a random moment: while it starts, or after some epochs."""
        known = len(trained(self._folder))
        wanted, max_seconds = known + self._moments.randint(1, 4), float("inf")
        if self._moments.random() < 0.4:
            wanted, max_seconds = known + 1, self._moments.uniform(0.0, START_SECONDS)
        pause = self._moments.uniform(0.0, 1.5 * EPOCH_SECONDS)
        driver, begun = self._start(*options), time.monotonic()
        while time.monotonic() - begun < max_seconds and len(trained(self._folder)) < wanted:
            assert driver.poll() is None, self._output()
            time.sleep(0.01)
        time.sleep(pause)
        assert driver.poll() is None, self._output()
        driver.kill()
        driver.wait()
        self._trained_at_kills.append(len(trained(self._folder)))
        self._on_record_at_kills.append(set(self._disturbed.on_record()))

    def finish(self, *options: str) -> list[Event]:
        """Let a driver run to the end; return the whole record."""
        assert self._start(*options).wait() == 0, self._output()
        return RecordedRun.read(self._disturbed.directory).events()

    def check_repeats(self, reports: int = 1) -> None:
        """Check that only epochs under way at a kill were trained again: at most those of `reports` reports each.

        Recorded epochs were trained again only if a kill came between a report and the end of its checkpoint's writing.
        """
        epochs = trained(self._folder)
        ends = [*self._trained_at_kills[1:], len(epochs)]
        of_record = []
        for begin, end, on_record_before in zip(self._trained_at_kills, ends, self._on_record_at_kills, strict=True):
            again = [epochs[number] for number in range(begin, end) if epochs[number] in epochs[:number]]
            assert len(again) <= reports * EPOCHS_A_REPORT
            of_record += [epoch for epoch in again if epoch in on_record_before]
        assert len(of_record) <= EPOCHS_A_REPORT

    def _start(self, *options: str) -> subprocess.Popen[bytes]:
        return started(self._folder, *self._disturbed.command(), *options, environment=self._environment)

    def _output(self) -> str:
        return (self._folder / "output").read_text()[-5000:]
