"""First come, first served: the trial that waits longest for a worker.

Ray Tune gives a worker that became free to any of the trials that wait, unless its scheduler names one. Does not know
results.
"""

from __future__ import annotations

import time
from typing import Any, final

from ray.tune.experiment import Trial

PATIENCE_SECONDS = 60.0
"""So long a trial waits for a worker that is being started for it; the node may be gone. Then it takes any."""


def waits_for_a_worker(trial: Trial) -> bool:
    """Pending, and not on a worker that is just being made ready for it."""
    return bool(trial.status == Trial.PENDING) and trial.temporary_state.ray_actor is None


def gets_a_worker_of_its_own(tune_controller: Any, trial: Trial) -> bool:
    """Whether one is being started for it, which Ray Tune would end if the trial took another one."""
    controller: Any = getattr(tune_controller, "_tune_controller", None)  # a simulation starts none
    if controller is None or trial not in controller._trial_to_actor:
        return False
    return bool(controller._actor_manager.is_actor_started(controller._trial_to_actor[trial]))


@final
class WaitingLine:
    """Trials in the order of their arrival, until they have got a worker.

    One for which a worker is being started is passed over: were it given another that became free, the new one would
    be ended, and where trials are shorter than a worker's start, a node that joins would never be used.
    """

    def __init__(self) -> None:
        self._trials: dict[Trial, float | None] = {}

    def join(self, trial: Trial) -> None:
        self._trials[trial] = None

    def head(self, tune_controller: Any) -> Trial | None:
        """Who is next; None if nobody waits. Asked again, it is the same one until it has got a worker."""
        for trial in [trial for trial in self._trials if not waits_for_a_worker(trial)]:
            del self._trials[trial]
        return next((trial for trial in self._trials if not self._is_patient(tune_controller, trial)), None)

    def _is_patient(self, tune_controller: Any, trial: Trial) -> bool:
        if not gets_a_worker_of_its_own(tune_controller, trial):
            return False
        since = self._trials[trial] = self._trials[trial] or time.monotonic()
        return time.monotonic() - since < PATIENCE_SECONDS
