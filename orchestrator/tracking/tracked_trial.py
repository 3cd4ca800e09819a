"""A trial as Ray Tune's logger callbacks ask for it, and an epoch as they want it told."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from ray.tune.result import TRAINING_ITERATION

from orchestrator.events import EpochDone, TrialStatus

FAILED = ("failed", "diverged")
LATENCY = "latency_seconds"
"""Of a trial's `config` what is known only once a worker has measured it."""


@dataclass(frozen=True)
class TrackedTrial:
    """Stands in for a `ray.tune.experiment.Trial`. Two are equal if they are the same trial."""

    trial_id: str
    """Unlike that of any other trial of any run, which tools that keep several runs in one place need."""
    name: str = field(compare=False)
    """The trial's id in the record."""
    config: dict[str, Any] = field(compare=False)
    """The architecture's decisions by name, what the candidate costs, and its `LATENCY` if that was measured."""
    curve: tuple[EpochDone, ...] = field(compare=False)
    """The epochs that it had when it was begun, or when it ended."""
    folder: Path | None = field(compare=False)
    """Where a tool may keep files of this trial; None: nowhere."""
    status: TrialStatus | None = field(default=None, compare=False)
    """How it ended; None: it has not."""

    def __str__(self) -> str:
        """What the callbacks name its run."""
        return self.name

    @property
    def local_path(self) -> str | None:
        return None if self.folder is None else str(self.folder)

    def init_local_path(self) -> None:
        if self.folder is not None:
            self.folder.mkdir(parents=True, exist_ok=True)

    @property
    def evaluated_params(self) -> dict[str, Any]:
        """What TensorBoard keeps as hyperparameters: only once, when the trial has ended."""
        return {} if self.status is None else {**self.config, "status": self.status}


def result_of(row: EpochDone) -> dict[str, float]:
    """An epoch as a result of Ray Tune's; what is not finite is left out.

    Ray Tune's callbacks take its `training_iteration` for the step, which here is the epoch as the trial counts it.
    """
    values = row.model_dump(exclude={"event", "time", "trial_id", "epoch", "metrics"})
    return {TRAINING_ITERATION: row.epoch, **{name: x for name, x in (values | row.metrics).items() if x is not None}}


class Tracker(Protocol):
    """One of the tools. Called by one thread; may raise anything, after which it is told no more."""

    complete: set[str]
    """Names of trials of which it has everything."""

    def begin(self, trial: TrackedTrial) -> None:
        """A worker has the trial: it has a run from now on, that holds `trial.curve`, each epoch once."""

    def epoch(self, trial: TrackedTrial, row: EpochDone) -> None:
        """One more epoch of a trial that was begun."""

    def end(self, trial: TrackedTrial) -> None:
        """It has left its worker: for good if it has a `status`."""
