"""What a tool receives of a trial and of an epoch, and what a tracker must do with it."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from ray.tune.result import TRAINING_ITERATION

from orchestrator.record import EpochDone, TrialStatus

FAILED = ("failed", "diverged")
LATENCY = "latency_seconds"
"""The entry of a trial's `config` that is missing until a worker has measured it."""


@dataclass(frozen=True)
class TrackedTrial:
    """A trial as a tool shows it. Ray Tune's TensorBoard callback takes it as a `ray.tune.experiment.Trial`.

    Two are equal if they have the same `trial_id`.
    """

    trial_id: str
    """Unique among the trials of all runs, because some tools keep several runs in one place."""
    name: str = field(compare=False)
    """The trial's id in the record."""
    config: dict[str, Any] = field(compare=False)
    """The architecture's decisions by name, the candidate's costs, and its `LATENCY` if that was measured."""
    curve: tuple[EpochDone, ...] = field(compare=False)
    """Its epochs up to when it began on a worker, or up to its end."""
    folder: Path | None = field(compare=False)
    """Local folder for the tool's files of this trial; None if the tool keeps none."""
    status: TrialStatus | None = field(default=None, compare=False)
    """How it ended; None if it has not ended."""

    def __str__(self) -> str:
        """Return the name of its run."""
        return self.name

    @property
    def local_path(self) -> str | None:
        """`folder` as a string, because Ray Tune's callback reads it from this attribute."""
        return None if self.folder is None else str(self.folder)

    def init_local_path(self) -> None:
        """Create the folder, as Ray Tune's callback requests it."""
        if self.folder is not None:
            self.folder.mkdir(parents=True, exist_ok=True)

    @property
    def evaluated_params(self) -> dict[str, Any]:
        """The hyperparameters in TensorBoard: empty until the trial has ended, because they are written once."""
        return {} if self.status is None else {**self.config, "status": self.status}


def result_of(row: EpochDone) -> dict[str, float]:
    """Convert an epoch to a result of Ray Tune; values that are not finite are left out.

    Its `training_iteration` is the epoch as the trial counts it. Ray Tune's callback takes it as the step.
    """
    values = row.model_dump(exclude={"event", "time", "trial_id", "epoch", "metrics"})
    return {TRAINING_ITERATION: row.epoch, **{name: x for name, x in (values | row.metrics).items() if x is not None}}


class Tracker(Protocol):
    """Writes to one tool. Called by one thread; may raise any exception, and is not called again after one."""

    complete: set[str]
    """Names of the trials that the tool has completely."""

    def begin(self, trial: TrackedTrial) -> None:
        """Open the trial's run and make it hold `trial.curve`, each epoch once: a worker has the trial."""

    def epoch(self, trial: TrackedTrial, row: EpochDone) -> None:
        """Add an epoch of a trial that was begun."""

    def end(self, trial: TrackedTrial) -> None:
        """Close the trial's run: it has left its worker, and has ended if it has a `status`."""
