"""The trainings of a confirmation, as Ray Tune asks for them: the best candidates of a search, trained again.

Does not know which candidates these are, nor how they are compared: see `orchestrator.confirmation`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from typing import Any, final

from orchestrator.confirmation import Race, compare, repeat_id
from orchestrator.record import (
    Event,
    EventLog,
    RunInfo,
    RunState,
    Trial,
    TrialEnded,
    TrialRepeated,
    TrialSetBack,
)
from orchestrator.search.driver import assignment_of
from orchestrator.search.recorder import Recorder


@final
class RepeatedTrials:
    """Gives Ray Tune the trainings of the race. A listener of the event log, to be registered after `state`.

    Args:
        log, state: the record and its state, in which the confirmation is planned.
        info: the content of `run.json`.
        recorder: records the trainings.
        fresh_splits: whether each training has a split of its own.
        is_over: says whether no training may start any more, although the race is not over: after Ctrl-C, a failure, or
            the hours of the budget.
    """

    def __init__(
        self,
        log: EventLog,
        *,
        state: RunState,
        info: RunInfo,
        recorder: Recorder,
        fresh_splits: bool,
        is_over: Callable[[], bool],
    ) -> None:
        self._log = log
        self._state = state
        self._info = info
        self._recorder = recorder
        self._fresh_splits = fresh_splits
        self._is_over = is_over
        self._race = Race(state)
        self._waiting = deque(repeat for repeat in state.repeats.values() if repeat.status == "running")

    def apply(self, event: Event) -> None:
        """Compare the candidates when a training has ended; put a trial that lost its worker first in the queue."""
        if isinstance(event, TrialSetBack):
            self._waiting.appendleft(self._state.repeats[event.trial_id])
        elif isinstance(event, TrialEnded):
            self.compare()

    def compare(self) -> None:
        """Compare the candidates by the trainings on record, and record it if it says anything new."""
        compared, known = compare(self._state, self._info), self._state.confirmed
        if compared is not None and (known is None or compared.candidates != known.candidates):
            self._log.append(compared)

    def is_finished(self) -> bool:
        """Whether there is no training to start, now or later."""
        return self._is_over() or self.has_ended()

    def has_ended(self) -> bool:
        """Whether the race has ended by itself."""
        running = any(repeat.status == "running" for repeat in self._state.repeats.values())
        return not running and self._race.next_training() is None

    def suggest(self, trial_id: str) -> dict[str, Any] | None:
        """Return the worker's configuration for the next training; None if there is none at the moment."""
        if self._is_over():
            return None
        if self._waiting:
            return self._assign(trial_id, self._waiting.popleft())
        found = self._race.next_training()
        if found is None:
            return None
        candidate, number = found
        event = TrialRepeated(
            trial_id=repeat_id(candidate, number),
            repeats=candidate.trial_id,
            seed=self._info.seed + number,
            split="fresh" if self._fresh_splits else "search",
        )
        self._log.append(event)
        return self._assign(trial_id, self._state.repeats[event.trial_id])

    def on_trial_complete(self, trial_id: str, result: Mapping[str, Any] | None = None, error: bool = False) -> None:
        """Do nothing: the event log already has it."""

    def _assign(self, tune_id: str, trial: Trial) -> dict[str, Any]:
        self._recorder.identify(tune_id, trial.trial_id)
        return assignment_of(trial, self._state).to_config(trial.params)
