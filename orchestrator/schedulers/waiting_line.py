"""First come, first served: the trial that waits longest for a worker.

Ray Tune gives a worker that became free to any of the trials that wait, unless its scheduler names one. Does not know
results.
"""

from __future__ import annotations

from collections import deque
from typing import final

from ray.tune.experiment import Trial


def waits_for_a_worker(trial: Trial) -> bool:
    """Pending, and not on a worker that is just being made ready for it."""
    return bool(trial.status == Trial.PENDING) and trial.temporary_state.ray_actor is None


@final
class WaitingLine:
    """Trials in the order of their arrival; each is looked at until it has got a worker, then never again."""

    def __init__(self) -> None:
        self._trials: deque[Trial] = deque()

    def join(self, trial: Trial) -> None:
        self._trials.append(trial)

    def head(self) -> Trial | None:
        """Who is next; None if nobody waits. Asked again, it is the same one until it has got a worker."""
        while self._trials and not waits_for_a_worker(self._trials[0]):
            self._trials.popleft()
        return self._trials[0] if self._trials else None
