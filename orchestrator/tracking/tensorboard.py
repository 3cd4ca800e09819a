"""TensorBoard's event files: a folder per trial, written by Ray Tune's `TBXLoggerCallback`.

When a trial begins, its folder is written again from the record. So a folder never holds an epoch twice, however the
process before ended.
"""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any, final

from orchestrator.record import EpochDone
from orchestrator.tracking.completed import Completed
from orchestrator.tracking.tracked_trial import FAILED, TrackedTrial, result_of


@final
class TensorBoard:
    """Writes scalars after each epoch, and a trial's decisions and status as hyperparameters when it ends.

    A paused trial has no open file, because thousands of trials may be paused.
    """

    def __init__(self, callback: Any, folder: Path) -> None:
        self._callback = callback
        self._completed = Completed(folder)
        self.complete = self._completed.names

    def begin(self, trial: TrackedTrial) -> None:
        """Replace the trial's folder with its curve so far."""
        assert trial.folder is not None, "trackers.py sets it"
        shutil.rmtree(trial.folder, ignore_errors=True)
        self._callback.log_trial_start(trial)
        for row in trial.curve:
            self.epoch(trial, row)

    def epoch(self, trial: TrackedTrial, row: EpochDone) -> None:
        """Write the scalars of one epoch."""
        self._callback.log_trial_result(row.epoch, trial, result_of(row))

    def end(self, trial: TrackedTrial) -> None:
        """Write the hyperparameters of an ended trial, and close the file."""
        self._callback.log_trial_end(trial, failed=trial.status in FAILED)
        if trial.status is not None:
            self._completed.add(trial.name)


@contextlib.contextmanager
def tensorboard(folder: Path) -> Iterator[TensorBoard]:
    """Write into `folder`, which is created if it does not exist."""
    from ray.tune.logger import TBXLoggerCallback  # its tensorboardX imports torch, which takes seconds

    folder.mkdir(parents=True, exist_ok=True)
    yield TensorBoard(TBXLoggerCallback(), folder)
