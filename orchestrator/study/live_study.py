"""The Optuna study of a running search, owned by one thread that tells it what happened and asks it ahead of need.

A sampler may take long over a proposal, and none is safe to be asked and told at once. So one thread does both, one
thing after the other, in the order in which they were asked for: the driver does not wait, and the same order of events
gives the same proposals. What the study is told are the events of the record, so that it equals what `study_replay`
makes of the log.

Knows Optuna and the run's state. Does not know Ray.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

import optuna
from optuna.distributions import BaseDistribution
from optuna.storages import InMemoryStorage
from optuna.trial import TrialState

from orchestrator.errors import SearchError, last_line
from orchestrator.record import EpochDone, Event, RunState, TrialEnded, TrialSuggested
from orchestrator.study.optuna_internals import StudyAttributes, call_on_stop
from orchestrator.study.replay import (
    intermediate_value,
    intermediate_values,
    optuna_outcome,
    replay_study,
    user_attributes,
)

SHORT_WAIT_SECONDS = 0.02
"""A suggestion that is expected within this time is waited for: shorter than what Ray Tune's loop would lose."""


@dataclass(frozen=True)
class Suggestion:
    """A proposal of the sampler: Optuna's number of it, and what the sampler noted (see `TrialSuggested`)."""

    number: int
    params: dict[str, Any]
    trial_attributes: dict[str, Any]
    study_attributes: dict[str, Any]
    seconds: float


def known_when_asked(events: Sequence[Event]) -> int:
    """How many of a log's events the sampler had heard of when it was asked for the candidate that is next."""
    last = next((n for n in range(len(events), 0, -1) if isinstance(events[n - 1], TrialSuggested)), None)
    return len(events) if last is None else last


class LiveStudy:
    """Suggestions made ahead, and a study that hears of every event. A listener of the run's event log, after `state`.

    Use it as a context; its thread ends with it.

    Args:
        sampler: any Optuna sampler that fits the objectives.
        state: of the run, with its objectives; its trials so far become the study's. On a resume it holds what was
            `known_when_asked`, and the events after that are told with `apply`, as they would have been.
        distributions: the space.
    """

    def __init__(
        self, sampler: optuna.samplers.BaseSampler, state: RunState, distributions: Mapping[str, BaseDistribution]
    ) -> None:
        self._state = state
        self._distributions = dict(distributions)
        storage = InMemoryStorage()
        self.study = replay_study(state, sampler, storage)
        call_on_stop(self.study, self._stop)
        self._attributes = StudyAttributes(self.study, storage)
        self._handles: dict[int, optuna.Trial] = {}
        self._commands: deque[Callable[[], None]] = deque([self._ask])
        self._ready: deque[Suggestion] = deque()
        self._changed = threading.Condition()
        self._closed = False
        self._failure: BaseException | None = None
        self._stopped = False
        self.exhausted = False
        """The sampler stopped the study, as Optuna's do that have gone through all there is."""
        self._last_seconds = 0.0
        self._thread = threading.Thread(target=self._run, name="sampler", daemon=True)

    def apply(self, event: Event) -> None:
        """Called by the event log."""
        match event:
            case TrialSuggested():
                trial = self._state.trials[event.trial_id]
                # The next one is asked for with what the record holds up to here, so that a resume asks alike.
                self._tell(lambda: self._describe(event, user_attributes(trial)), self._ask)
            case EpochDone():
                trial = self._state.trials[event.trial_id]
                value = intermediate_value(event, trial, self._state)
                if value is not None:
                    self._tell(lambda: self._handle(trial.number).report(value, step=event.epoch))
            case TrialEnded():
                trial = self._state.trials[event.trial_id]
                end, values = optuna_outcome(trial, self._state)
                # A duplicate's curve is that of the trial which answered it, and was not reported before.
                curve = intermediate_values(trial, self._state) if event.duplicate_of is not None else {}
                self._tell(lambda: self._end(trial.number, end, values, curve))

    def take(self, *, wait: bool) -> Suggestion | None:
        """The next suggestion; None if there is none yet, which with `wait` takes up to half a second to say.

        Raises:
            SearchError: the sampler raised an exception.
        """
        soon = SHORT_WAIT_SECONDS if self._last_seconds < SHORT_WAIT_SECONDS else 0.0
        with self._changed:
            self._changed.wait_for(
                lambda: self._ready or self._failure or self.exhausted, timeout=0.5 if wait else soon
            )
            if self._failure is not None:
                error = self._failure
                raise SearchError(f"the sampler failed: {type(error).__name__}: {last_line(error)}") from error
            if not self._ready:
                return None
            return self._ready.popleft()

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Let the thread hear what it was still told, and end; a sampler that is asked just then is not waited for."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        self._thread.join(timeout=5)

    def _tell(self, *commands: Callable[[], None]) -> None:
        with self._changed:
            self._commands.extend(commands)
            self._changed.notify_all()

    def _run(self) -> None:
        """The thread: one command after the other, and with the context's end no more proposals."""
        try:
            while True:
                with self._changed:
                    self._changed.wait_for(lambda: self._commands or self._closed)
                    if not self._commands:
                        return
                    command = self._commands.popleft()
                    if self._closed and command == self._ask:
                        continue
                command()
        except BaseException as error:  # noqa: BLE001 (a sampler may raise anything; `take` raises it in the driver)
            with self._changed:
                self._failure = error
                self._changed.notify_all()

    def _ask(self) -> None:
        if self._stopped:
            with self._changed:
                self.exhausted = True
                self._changed.notify_all()
            return
        started = time.perf_counter()
        before = self._attributes.read()
        trial = self.study.ask(self._distributions)
        self._handles[trial.number] = trial
        after = self._attributes.read()
        self._last_seconds = time.perf_counter() - started
        suggestion = Suggestion(
            number=trial.number,
            params=dict(trial.params),
            trial_attributes=self._attributes.read_trial(trial.number),
            study_attributes={name: value for name, value in after.items() if before.get(name) != value},
            seconds=self._last_seconds,
        )
        with self._changed:
            self._ready.append(suggestion)
            self._changed.notify_all()

    def _stop(self) -> None:
        self._stopped = True

    def _describe(self, event: TrialSuggested, attributes: Mapping[str, Any]) -> None:
        trial = self._handle(event.number)
        for name, value in attributes.items():
            trial.set_user_attr(name, value)
        for name, excess in self._state.violations(self._state.trials[event.trial_id]).items():
            trial.set_constraint(name, excess)

    def _end(self, number: int, end: TrialState, values: list[float] | None, curve: Mapping[int, float]) -> None:
        trial = self._handle(number)
        for epoch, value in curve.items():
            trial.report(value, step=epoch)
        self.study.tell(trial, values, end)
        self._handles.pop(number, None)

    def _handle(self, number: int) -> optuna.Trial:
        """Optuna's handle of a running trial; of one that the record brought along, a new one."""
        if number not in self._handles:
            self._handles[number] = self._attributes.running_trial(number)
        return self._handles[number]
