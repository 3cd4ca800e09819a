"""Event log -> one tracker, in a thread of its own. Knows when a trial begins, rests and ends; not what a tool does."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import replace
from types import TracebackType
from typing import Self, final

from orchestrator.errors import last_line
from orchestrator.record import (
    BackgroundQueue,
    EpochDone,
    Event,
    RunState,
    Trial,
    TrialEnded,
    TrialPaused,
    TrialSetBack,
    TrialStarted,
)
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
        self._jobs: BackgroundQueue[Callable[[Tracker], None]] = BackgroundQueue(
            f"{name} logging", self._run, self._fail
        )
        self._given_up = False
        self._on_workers: dict[str, TrackedTrial] = {}
        self._stints: Counter[str] = Counter()
        for trial in state.trials.values():
            if trial.status != "running" and trial.attempt > 0:
                self._end_of(trial)

    def apply(self, event: Event) -> None:
        """Called by the event log. Takes some microseconds, whatever the tool does."""
        match event:
            case TrialStarted():
                trial = self._describe(self._state.trials[event.trial_id])
                self._jobs.put(lambda tracker: self._begin(tracker, trial))
            case EpochDone():
                self._jobs.put(lambda tracker: tracker.epoch(self._on_workers[event.trial_id], event))
            case TrialPaused() | TrialSetBack():
                self._jobs.put(lambda tracker: self._rest(tracker, event.trial_id))
            case TrialEnded() if self._state.trials[event.trial_id].attempt > 0:
                self._end_of(self._state.trials[event.trial_id])

    def __enter__(self) -> Self:
        self._jobs.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._jobs.close()
        if not self._jobs.join(PATIENT_SECONDS) and not self._given_up:
            self._say(f"writing the rest to {self._name}")
            if not self._jobs.join(FINISH_SECONDS - PATIENT_SECONDS) and not self._given_up:
                self._give_up(f"it was not done after {FINISH_SECONDS:.0f} s")

    def _run(self, jobs: Iterator[Callable[[Tracker], None]]) -> None:
        with self._tracker() as tracker:
            for job in jobs:
                job(tracker)
            for trial in () if self._given_up else self._on_workers.values():
                tracker.end(trial)

    def _fail(self, error: BaseException) -> None:
        if not self._given_up:
            self._give_up(last_line(error))

    def _give_up(self, reason: str) -> None:
        """Report it once; whatever it is, the search goes on."""
        self._given_up = True
        self._jobs.close(drop=True)
        self._say(f"{self._name}: {reason}; the search does without, and a resume catches up ({self._setting})")

    def _end_of(self, trial: Trial) -> None:
        ended = self._describe(trial)
        self._jobs.put(lambda tracker: self._end(tracker, ended))

    def _begin(self, tracker: Tracker, trial: TrackedTrial) -> None:
        self._stints[trial.name] += 1
        begun = replace(trial, stint=self._stints[trial.name])
        self._on_workers[trial.name] = begun
        tracker.begin(begun)

    def _rest(self, tracker: Tracker, name: str) -> None:
        if name in self._on_workers:  # it is not, if its worker was lost before it could begin
            tracker.end(self._on_workers.pop(name))

    def _end(self, tracker: Tracker, trial: TrackedTrial) -> None:
        if trial.name in tracker.complete:
            return
        if trial.name not in self._on_workers:  # it rested, or ended in an earlier process
            self._begin(tracker, replace(trial, status=None))
        begun = self._on_workers.pop(trial.name)
        tracker.end(replace(trial, stint=begun.stint))
        self._stints.pop(trial.name)
