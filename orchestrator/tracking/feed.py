"""Event log -> one tracker, in a thread of its own. Knows when a trial begins, rests and ends; not what a tool does."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace
from types import TracebackType
from typing import Self, final

from orchestrator.errors import last_line
from orchestrator.events import EpochDone, Event, TrialEnded, TrialPaused, TrialSetBack, TrialStarted
from orchestrator.run_state import RunState, Trial
from orchestrator.tracking.tracked_trial import TrackedTrial, Tracker

FINISH_SECONDS = 60.0
"""How long the end of a search waits for a tool that has not been told everything yet."""
PATIENT_SECONDS = 2.0
"""After so long the user is told what is waited for."""


@final
class Feed:
    """A listener of the event log, after `state`. Use it as a context.

    Only trials that had a worker are told: duplicates and infeasible ones were never trained. Of a run that goes on,
    the trials that have ended are told first, but those of which the tracker has everything.

    Args:
        name: of the tool, for the user.
        setting: that switches it on.
        tracker: reaches the tool; entered, used and left by the thread.
        state: of the run.
        describe: a trial as the tool is to see it.
        say: tells the user a line.
    """

    def __init__(
        self,
        name: str,
        setting: str,
        tracker: Callable[[], AbstractContextManager[Tracker]],
        state: RunState,
        describe: Callable[[Trial], TrackedTrial],
        say: Callable[[str], None],
    ) -> None:
        self._name = name
        self._setting = setting
        self._tracker = tracker
        self._state = state
        self._describe = describe
        self._say = say
        self._jobs: deque[Callable[[Tracker], None]] = deque()
        self._changed = threading.Condition()
        self._closed = False
        self._given_up = False
        self._on_workers: dict[str, TrackedTrial] = {}
        self._thread = threading.Thread(target=self._run, name=f"{name} logging", daemon=True)
        for trial in state.trials.values():
            if trial.status != "running" and trial.attempt > 0:
                self._end_of(trial)

    def apply(self, event: Event) -> None:
        """Called by the event log. Takes some microseconds, whatever the tool does."""
        match event:
            case TrialStarted():
                trial = self._describe(self._state.trials[event.trial_id])
                self._tell(lambda tracker: self._begin(tracker, trial))
            case EpochDone():
                self._tell(lambda tracker: tracker.epoch(self._on_workers[event.trial_id], event))
            case TrialPaused() | TrialSetBack():
                self._tell(lambda tracker: self._rest(tracker, event.trial_id))
            case TrialEnded() if self._state.trials[event.trial_id].attempt > 0:
                self._end_of(self._state.trials[event.trial_id])

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        self._thread.join(timeout=PATIENT_SECONDS)
        if self._thread.is_alive() and not self._given_up:
            self._say(f"writing the rest to {self._name}")
            self._thread.join(timeout=FINISH_SECONDS - PATIENT_SECONDS)
        if self._thread.is_alive() and not self._given_up:
            self._give_up(f"it was not done after {FINISH_SECONDS:.0f} s")

    def _tell(self, job: Callable[[Tracker], None]) -> None:
        with self._changed:
            if not self._given_up:
                self._jobs.append(job)
                self._changed.notify_all()

    def _run(self) -> None:
        try:
            with self._tracker() as tracker:
                while (job := self._next()) is not None:
                    job(tracker)
                for trial in () if self._given_up else self._on_workers.values():
                    tracker.end(trial)
        except Exception as error:  # noqa: BLE001 (whatever it is, the search goes on)
            if not self._given_up:
                self._give_up(last_line(error))

    def _next(self) -> Callable[[Tracker], None] | None:
        with self._changed:
            self._changed.wait_for(lambda: self._jobs or self._closed or self._given_up)
            return self._jobs.popleft() if self._jobs and not self._given_up else None

    def _give_up(self, reason: str) -> None:
        with self._changed:
            self._given_up = True
            self._jobs.clear()
            self._changed.notify_all()
        self._say(f"{self._name}: {reason}; the search does without, and a resume catches up ({self._setting})")

    def _end_of(self, trial: Trial) -> None:
        ended = self._describe(trial)
        self._tell(lambda tracker: self._end(tracker, ended))

    def _begin(self, tracker: Tracker, trial: TrackedTrial) -> None:
        self._on_workers[trial.name] = trial
        tracker.begin(trial)

    def _rest(self, tracker: Tracker, name: str) -> None:
        if name in self._on_workers:  # it is not, if its worker was lost before it could begin
            tracker.end(self._on_workers.pop(name))

    def _end(self, tracker: Tracker, trial: TrackedTrial) -> None:
        if trial.name in tracker.complete:
            return
        if trial.name not in self._on_workers:  # it rested, or ended in an earlier process
            self._begin(tracker, replace(trial, status=None))
        del self._on_workers[trial.name]
        tracker.end(trial)
