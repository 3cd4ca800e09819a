"""Removes from a run directory the checkpoints that no trial will go on from. Keeps the weights of the best trials.

It works in a thread of its own, because a disk or an object store may be slow. Knows which trials are the best; does
not know what is in their files.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import NamedTuple, Self, final

from orchestrator.record import BackgroundQueue, Event, RunState, TrialEnded
from trainables.checkpoints import CheckpointFolder

DELAY_SECONDS = 2.0
"""A worker may still be writing the last checkpoint of a trial that the scheduler has stopped."""


class _Removal(NamedTuple):
    due: float
    remove: Callable[[str], None]
    trial_id: str


@final
class CheckpointCleanup:
    """A listener of the event log, to be registered after `state`.

    Use it as a context; all leftovers are removed at its start and its end.

    Args:
        checkpoints: the run's checkpoints.
        state: the run's state, which knows the trials that have ended and the best ones.
        keep: the number of best trials whose weights stay, in addition to those on the Pareto front.
    """

    def __init__(self, checkpoints: CheckpointFolder, state: RunState, keep: int) -> None:
        self._checkpoints = checkpoints
        self._state = state
        self._keep = keep
        self._best: list[str] = []
        self._kept: set[str] = set()
        self._removals: BackgroundQueue[_Removal] = BackgroundQueue("checkpoint cleanup", self._run)
        for trial in state.trials.values():
            if trial.status == "completed":
                self._rank(trial.trial_id)

    def apply(self, event: Event) -> None:
        """Called by the event log."""
        if not isinstance(event, TrialEnded):
            return
        trial = self._state.find(event.trial_id)
        if not trial.was_started:
            return
        if event.status != "completed" or trial.repeats is not None:
            self._remove(self._checkpoints.drop, event.trial_id)
            return
        self._remove(self._checkpoints.drop_states, event.trial_id)
        for trial_id in self._rank(event.trial_id):
            self._remove(self._checkpoints.drop, trial_id)

    def sweep(self) -> None:
        """Remove the checkpoints of all trials that have ended, and the weights of all but the best."""
        for trial_id in self._checkpoints.trial_ids():
            trial = self._state.trials.get(trial_id) or self._state.repeats.get(trial_id)
            if trial is not None and trial.status == "running":
                continue
            if trial_id in self._kept:
                self._checkpoints.drop_states(trial_id)
            else:
                self._checkpoints.drop(trial_id)

    def __enter__(self) -> Self:
        # If the record has lost its last lines, a trial that it does not know may have left checkpoints, and another
        # trial will get the same name.
        with contextlib.suppress(OSError):
            self.sweep()
        self._removals.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._removals.close(drop=True)  # the sweep removes these too
        self._removals.join()
        with contextlib.suppress(OSError):  # leftovers do no harm; the end of a resume removes them
            self.sweep()

    def _rank(self, trial_id: str) -> set[str]:
        """Add a completed trial to those whose weights are kept; return the trials whose weights no longer are."""
        trials = self._state.trials
        self._best = sorted([*self._best, trial_id], key=lambda name: self._state.losses(trials[name]))[: self._keep]
        before = self._kept | {trial_id}
        self._kept = {*self._best, *(trial.trial_id for trial in self._state.front)}
        return before - self._kept

    def _remove(self, remove: Callable[[str], None], trial_id: str) -> None:
        self._removals.put(_Removal(time.monotonic() + DELAY_SECONDS, remove, trial_id))

    def _run(self, removals: Iterator[_Removal]) -> None:
        for removal in removals:
            if self._removals.wait_closed(removal.due - time.monotonic()):
                return
            with contextlib.suppress(OSError):  # leftovers do no harm
                removal.remove(removal.trial_id)
