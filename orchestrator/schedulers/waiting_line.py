"""The line of the trials that wait for a worker: the trial that has waited longest is the next to get one.

Ray Tune gives a free worker to any of the waiting trials, unless its scheduler names one. Does not know results.
"""

from __future__ import annotations

import time
from typing import Any, final

from ray.tune.experiment import Trial

PATIENCE_SECONDS = 60.0
"""How long a trial waits for the worker that is being started for it. Then it takes any: the node may be lost."""


def waits_for_a_worker(trial: Trial) -> bool:
    """Whether the trial is pending, and no existing worker is being prepared for it."""
    return bool(trial.status == Trial.PENDING) and trial.temporary_state.ray_actor is None


def has_starting_worker(tune_controller: Any, trial: Trial) -> bool:
    """Whether a worker is being started for the trial. Ray Tune would end that worker if the trial took another one.

    In a search, `orchestrator.cluster.TuneTrials` answers this. In a simulation, no worker is ever started.
    """
    is_starting = getattr(getattr(tune_controller, "search_alg", None), "is_worker_starting", None)
    return is_starting is not None and bool(is_starting(trial))


@final
class WaitingLine:
    """Trials in the order of their arrival, until they get a worker.

    A trial for which a worker is being started is passed over. If it were given another worker that became free, the
    worker that is being started for it would be ended. Then, if trials are shorter than a worker's start, a node that
    joins would never be used.
    """

    def __init__(self) -> None:
        self._trials: dict[Trial, float | None] = {}

    def join(self, trial: Trial) -> None:
        self._trials.pop(trial, None)  # it may have left the middle of the line unnoticed
        self._trials[trial] = None

    def head(self, tune_controller: Any) -> Trial | None:
        """Return the next trial; None if no trial waits. Returns the same trial until it has got a worker."""
        # Not the whole line: with 500 workers as many trials wait, and Ray Tune asks at every event.
        gone, found = [], None
        for trial in self._trials:
            if not waits_for_a_worker(trial):
                gone.append(trial)
            elif not self._is_patient(tune_controller, trial):
                found = trial
                break
        for trial in gone:
            del self._trials[trial]
        return found

    def _is_patient(self, tune_controller: Any, trial: Trial) -> bool:
        if not has_starting_worker(tune_controller, trial):
            return False
        since = self._trials[trial] = self._trials[trial] or time.monotonic()
        return time.monotonic() - since < PATIENCE_SECONDS
