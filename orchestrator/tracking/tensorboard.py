"""TensorBoard's event files: a folder a trial, by Ray Tune's `TBXLoggerCallback`.

A trial that begins is written anew from the record, so a folder never holds an epoch twice, whatever ended the process
that wrote it before.
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
    """Scalars by epoch while a trial is trained, its decisions and its status as hyperparameters when it has ended.

    A trial that is paused has no file open, for thousands may be.
    """

    def __init__(self, callback: Any, folder: Path) -> None:
        self._callback = callback
        self._completed = Completed(folder)
        self.complete = self._completed.names

    def begin(self, trial: TrackedTrial) -> None:
        assert trial.folder is not None, "it was given one"
        shutil.rmtree(trial.folder, ignore_errors=True)
        self._callback.log_trial_start(trial)
        for row in trial.curve:
            self.epoch(trial, row)

    def epoch(self, trial: TrackedTrial, row: EpochDone) -> None:
        self._callback.log_trial_result(row.epoch, trial, result_of(row))

    def end(self, trial: TrackedTrial) -> None:
        self._callback.log_trial_end(trial, failed=trial.status in FAILED)
        if trial.status is not None:
            self._completed.add(trial.name)


@contextlib.contextmanager
def tensorboard(folder: Path) -> Iterator[TensorBoard]:
    """Writes into `folder`."""
    from ray.tune.logger import TBXLoggerCallback  # its tensorboardX imports torch, which takes seconds

    folder.mkdir(parents=True, exist_ok=True)
    yield TensorBoard(TBXLoggerCallback(), folder)
