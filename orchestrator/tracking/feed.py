"""Sends the event log to one tracker, in a thread of its own.

Knows when a trial begins, pauses and ends. Does not know what a tool does with it.
"""

from __future__ import annotations

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
"""How long the end of a search waits for a tool that does not have everything yet."""
NOTICE_SECONDS = 2.0
"""After this time the user is told what the search waits for."""


@final
class Feed:
    """A listener of the event log, to be registered after `state`. Use it as a context manager.

    Sends only trials that had a worker: duplicates and infeasible candidates were never trained. In a resumed run it
    starts with the trials that have ended already, except those that the tracker has completely.

    Args:
        name: the tool's name, shown to the user.
        setting: the setting that switches the tool on.
        tracker: opens the tracker; the thread enters, uses and leaves the context.
        state: the state of the run.
        describe: converts a trial to what the tool shows.
        say: shows the user one line.
    """

    def __init__(
        self,
        name: str,
        *,
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
        for trial in state.all_trials():
            if trial.status != "running" and trial.attempt > 0:
                self._enqueue_end(trial)

    def apply(self, event: Event) -> None:
        """Queue an event; the event log calls this. Takes some microseconds, however slow the tool is."""
        match event:
            case TrialStarted():
                trial = self._describe(self._state.find(event.trial_id))
                self._jobs.put(lambda tracker: self._begin(tracker, trial))
            case EpochDone():
                self._jobs.put(lambda tracker: tracker.epoch(self._on_workers[event.trial_id], event))
            case TrialPaused() | TrialSetBack():
                self._jobs.put(lambda tracker: self._pause(tracker, event.trial_id))
            case TrialEnded() if self._state.find(event.trial_id).attempt > 0:
                self._enqueue_end(self._state.find(event.trial_id))

    def __enter__(self) -> Self:
        self._jobs.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._jobs.close()
        if not self._jobs.join(NOTICE_SECONDS) and not self._given_up:
            self._say(f"writing the rest to {self._name}")
            if not self._jobs.join(FINISH_SECONDS - NOTICE_SECONDS) and not self._given_up:
                self._give_up(f"not done after {FINISH_SECONDS:.0f} s")

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
        """Report it once. No error of a tool may end the search."""
        self._given_up = True
        self._jobs.close(drop=True)
        self._say(f"{self._name}: {reason}; the search continues without it, and a resume catches up ({self._setting})")

    def _enqueue_end(self, trial: Trial) -> None:
        ended = self._describe(trial)
        self._jobs.put(lambda tracker: self._end(tracker, ended))

    def _begin(self, tracker: Tracker, trial: TrackedTrial) -> None:
        self._on_workers[trial.name] = trial
        tracker.begin(trial)

    def _pause(self, tracker: Tracker, name: str) -> None:
        if name in self._on_workers:  # not if its worker was lost before the trial began
            tracker.end(self._on_workers.pop(name))

    def _end(self, tracker: Tracker, trial: TrackedTrial) -> None:
        if trial.name in tracker.complete:
            return
        if trial.name not in self._on_workers:  # it was paused, or ended in an earlier process
            self._begin(tracker, replace(trial, status=None))
        del self._on_workers[trial.name]
        tracker.end(trial)
