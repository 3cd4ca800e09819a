"""Weights & Biases: a project a search, a run a trial, by Ray Tune's `WandbLoggerCallback`.

The callback gives each run a process of its own and another one for its queue, on the driver's node, both without a
CPU of Ray's. So no more runs are open than trials have workers, and few that are only being finished.
"""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, final

import ray
from ray.tune.result import TRAINING_ITERATION

from orchestrator.record import EpochDone
from orchestrator.tracking.completed import Completed
from orchestrator.tracking.tracked_trial import FAILED, TrackedTrial, result_of

FINISHING_AT_ONCE = 4
UPLOAD_SECONDS = 60

Mode = Literal["online", "offline"]


@final
class WeightsAndBiases:
    """Runs of the trials of one search, and their files in `folder`.

    A trial that begins again gives its whole curve: offline its files are written anew; online the server, which knows
    the run by its id, passes over the steps that it has.
    """

    def __init__(self, callback: Any, folder: Path) -> None:
        self._callback = callback
        self._folder = folder
        self._completed = Completed(folder)
        self.complete = self._completed.names
        self._ended: dict[Any, str] = {}
        """Runs of ended trials that are still being written, by what Ray answers when they are."""
        self._resting: dict[str, Any] = {}
        """The same of trials that have left their worker and may go on, the other way round."""

    def begin(self, trial: TrackedTrial) -> None:
        if trial.name in self._resting:  # two processes must not write one run
            ray.wait([self._resting.pop(trial.name)], timeout=UPLOAD_SECONDS)
        for old in self._folder.glob(f"offline-run-*-{trial.trial_id}"):
            shutil.rmtree(old)
        self._callback.log_trial_start(trial)
        for row in trial.curve:
            self.epoch(trial, row)

    def epoch(self, trial: TrackedTrial, row: EpochDone) -> None:
        self._callback.log_trial_result(row.epoch, trial, result_of(row))

    def end(self, trial: TrackedTrial) -> None:
        run = self._callback._trial_logging_futures[trial]  # nothing else tells when, and whether, it has been written
        if trial.status is not None:
            last = trial.curve[-1].epoch if trial.curve else 0
            outcome = {**trial.config, "status": trial.status}
            self._callback.log_trial_result(last, trial, {TRAINING_ITERATION: last, "config": outcome})
            self._ended[run] = trial.name
        else:
            self._resting[trial.name] = run
        self._callback.log_trial_end(trial, failed=trial.status in FAILED)
        self._settle(FINISHING_AT_ONCE)

    def leave(self) -> None:
        """Wait for what is still being written."""
        if ray.is_initialized():  # or asking Ray would start it again, when the search has not waited to the end
            self._settle(0)
            self._callback.on_experiment_end([])

    def _settle(self, most: int) -> None:
        """Note the runs that have been written, and wait until no more than so many are not.

        Raises:
            Exception: one could not be written; Ray tells why.
        """
        runs = list(self._ended)
        if not runs:
            return
        done, _ = ray.wait(runs, num_returns=len(runs), timeout=0)
        if len(runs) - len(done) > most:
            done, _ = ray.wait(runs, num_returns=len(runs) - most, timeout=UPLOAD_SECONDS)
        for run in done:
            ray.get(run)
            self._completed.add(self._ended.pop(run))


@contextlib.contextmanager
def wandb(mode: Mode, project: str, group: str, folder: Path) -> Iterator[WeightsAndBiases]:
    """Writes into the project of this name, and its files into `folder`, which is called `wandb`."""
    from ray.air.integrations.wandb import WandbLoggerCallback

    folder.mkdir(parents=True, exist_ok=True)
    callback = WandbLoggerCallback(
        project,
        group,
        upload_timeout=UPLOAD_SECONDS,
        mode=mode,
        dir=str(folder.parent),
        resume="allow",
        settings={"silent": True},
    )
    callback.setup()
    tracker = WeightsAndBiases(callback, folder)
    try:
        yield tracker
    finally:
        tracker.leave()
