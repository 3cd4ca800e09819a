"""The Optuna study of a running search. One thread owns it: it reports events to it and asks for proposals in advance.

A sampler may take long for a proposal, and `ask` and `tell` must not run at the same time. So one thread calls both, in
the order of the events: the driver does not wait, and the same order of events gives the same proposals. The study
receives only the events of the record, so it equals the study that `rebuild_study` makes of the log's state. The
candidates that the record has queued are proposed before the sampler's own, as Optuna's `enqueue_trial` does it.

Knows Optuna and the run's state. Does not know Ray.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

import optuna
from optuna.distributions import BaseDistribution
from optuna.storages import InMemoryStorage
from optuna.trial import TrialState

from orchestrator.errors import SearchError, last_line, place_of
from orchestrator.record import (
    BackgroundQueue,
    ConfirmationPlanned,
    EpochDone,
    Event,
    RunState,
    TrialEnded,
    TrialPaused,
    TrialStarted,
    TrialSuggested,
)
from orchestrator.study.optuna_internals import StudyAttributes, call_on_stop
from orchestrator.study.replay import (
    intermediate_value,
    intermediate_values,
    learned,
    rebuild_study,
    user_attributes,
)

SHORT_WAIT_SECONDS = 0.02
"""`take` waits for a suggestion that is expected within this time; Ray Tune's loop would lose more time without it."""


@dataclass(frozen=True)
class Suggestion:
    """A proposal of the sampler with Optuna's number and attributes (see `TrialSuggested`)."""

    number: int
    params: dict[str, Any]
    trial_attributes: dict[str, Any]
    study_attributes: dict[str, Any]
    seconds: float


def count_known_when_asked(events: Sequence[Event]) -> int:
    """Number of a log's events that the sampler knew when it was asked for the next candidate.

    It is asked as soon as a candidate is on record (`LiveStudy.apply`), so it knew nothing later than that. If the
    confirmation had begun, the search was over; one that is extended learns from all events.
    """
    for known in range(len(events), 0, -1):
        match events[known - 1]:
            case TrialSuggested():
                return known
            case ConfirmationPlanned():
                break
    return len(events)


class LiveStudy:
    """Suggestions made in advance, by a study that listens to the run's event log. Register `apply` after `state`.

    Use it as a context; its thread ends with it. Without a context, `take` asks the sampler in the thread of its
    caller: a simulation does so, in which a proposal takes no time.

    Args:
        sampler: any Optuna sampler that fits the objectives.
        state: the run's state, with its objectives; its trials so far become the study's. On a resume it holds the
            events that were `count_known_when_asked`; the later ones follow by `apply`, as in the search before.
        distributions: the parameters of the space.
    """

    def __init__(
        self, sampler: optuna.samplers.BaseSampler, state: RunState, distributions: Mapping[str, BaseDistribution]
    ) -> None:
        self._state = state
        self._distributions = dict(distributions)
        storage = InMemoryStorage()
        self.study = rebuild_study(state, sampler, storage)
        call_on_stop(self.study, self._stop)
        self._attributes = StudyAttributes(self.study, storage)
        self._handles: dict[int, optuna.Trial] = {}
        self._commands: BackgroundQueue[Callable[[], None]] = BackgroundQueue("sampler", self._run, self._fail)
        # Before any later event. The thread starts with the context, and asks while Ray Tune is being set up.
        self._commands.put(self._ask)
        self._ready: deque[Suggestion] = deque()
        self._answered = threading.Condition()
        """Notified when a suggestion is ready, or there will be none."""
        self._failure: BaseException | None = None
        self._stopped = False
        self.exhausted = False
        """Whether the sampler stopped the study; Optuna's samplers do so once they have proposed everything."""
        self._last_seconds = 0.0

    def apply(self, event: Event) -> None:
        """Called by the event log."""
        # A resume also replays trainings of a confirmation. A study learns these when it is built.
        if (
            isinstance(event, EpochDone | TrialStarted | TrialPaused | TrialEnded)
            and event.trial_id not in self._state.trials
        ):
            return
        match event:
            case TrialSuggested():
                trial = self._state.trials[event.trial_id]
                # The sampler is asked next with the record up to here, so that a resume asks it with the same. The
                # attributes are those of now: the trial may have ended before the sampler's thread is so far.
                described = user_attributes(trial, self._state)
                self._commands.put(lambda: self._describe(event, described), self._ask)
            case TrialStarted() | TrialPaused():
                trial = self._state.trials[event.trial_id]
                if trial.pause_place is not None:  # else it starts for the first time, which changes nothing
                    attributes = user_attributes(trial, self._state)
                    self._commands.put(lambda: self._set_attributes(trial.number, attributes))
            case EpochDone():
                trial = self._state.trials[event.trial_id]
                value = intermediate_value(event, trial, self._state)
                if value is not None:
                    self._commands.put(lambda: self._handle(trial.number).report(value, step=event.epoch))
            case TrialEnded():
                trial = self._state.trials[event.trial_id]
                end, values, trainings = learned(trial, self._state)
                # A duplicate has the curve of the trial that answered it, which was not reported for the duplicate.
                curve = intermediate_values(trial, self._state) if event.duplicate_of is not None else {}
                attributes = user_attributes(trial, self._state) | trainings
                self._commands.put(
                    lambda: self._end(trial.number, end=end, values=values, curve=curve, attributes=attributes)
                )

    def take(self, *, wait: bool) -> Suggestion | None:
        """Return the next suggestion; None if there is none yet. With `wait`, wait up to half a second for it.

        Raises:
            SearchError: the sampler raised an exception.
        """
        if not self._commands.is_started:
            self._commands.work_off()
        soon = SHORT_WAIT_SECONDS if self._last_seconds < SHORT_WAIT_SECONDS else 0.0
        with self._answered:
            self._answered.wait_for(
                lambda: self._ready or self._failure or self.exhausted, timeout=0.5 if wait else soon
            )
            if self._failure is not None:
                error = self._failure
                raise SearchError(
                    f"the sampler failed: {type(error).__name__}: {last_line(error)} "
                    f"({place_of(error, __file__)}; sampler.name)"
                ) from error
            if not self._ready:
                return None
            return self._ready.popleft()

    def __enter__(self) -> Self:
        self._commands.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End the thread after the events that wait; wait at most 5 s for it, because the sampler may be slow."""
        self._commands.close()
        self._commands.join(timeout=5)

    def _run(self, commands: Iterator[Callable[[], None]]) -> None:
        """Run one command after the other; once the context has ended, ask for no more proposals."""
        for command in commands:
            if command != self._ask or not self._commands.wait_closed():
                command()

    def _fail(self, error: BaseException) -> None:
        """Keep the sampler's exception of any type; `take` raises it in the driver."""
        with self._answered:
            self._failure = error
            self._answered.notify_all()

    def _ask(self) -> None:
        if self._stopped:
            with self._answered:
                self.exhausted = True
                self._answered.notify_all()
            return
        started = time.perf_counter()
        before = self._attributes.read()
        queued = self._state.queued  # it changes only when the proposal is on record, and is then asked for the next
        if queued:
            self.study.enqueue_trial(queued[0])
        trial = self.study.ask(self._distributions)
        if queued:
            # Ask the sampler although all parameters may be given: NSGA-II and NSGA-III count only trials for which
            # they were asked as members of a generation.
            _ = trial.relative_params
        self._handles[trial.number] = trial
        after = self._attributes.read()
        self._last_seconds = time.perf_counter() - started
        suggestion = Suggestion(
            number=trial.number,
            # The choice itself: a sampler may return what equals it, such as a number of numpy.
            params={
                name: distribution.to_external_repr(distribution.to_internal_repr(trial.params[name]))
                for name, distribution in self._distributions.items()
            },
            trial_attributes=self._attributes.read_trial(trial.number),
            study_attributes={name: value for name, value in after.items() if before.get(name) != value},
            seconds=self._last_seconds,
        )
        with self._answered:
            self._ready.append(suggestion)
            self._answered.notify_all()

    def _stop(self) -> None:
        self._stopped = True

    def _describe(self, event: TrialSuggested, attributes: Mapping[str, Any]) -> None:
        self._set_attributes(event.number, attributes)
        trial = self._handle(event.number)
        for name, excess in self._state.violations(self._state.trials[event.trial_id]).items():
            trial.set_constraint(name, excess)

    def _end(
        self,
        number: int,
        *,
        end: TrialState,
        values: list[float] | None,
        curve: Mapping[int, float],
        attributes: Mapping[str, Any],
    ) -> None:
        self._set_attributes(number, attributes)
        trial = self._handle(number)
        for epoch, value in curve.items():
            trial.report(value, step=epoch)
        self.study.tell(trial, values, end)
        self._handles.pop(number, None)

    def _set_attributes(self, number: int, attributes: Mapping[str, Any]) -> None:
        trial = self._handle(number)
        for name, value in attributes.items():
            trial.set_user_attr(name, value)

    def _handle(self, number: int) -> optuna.Trial:
        """Optuna's handle of a running trial; a new one if the trial was on record before."""
        if number not in self._handles:
            self._handles[number] = self._attributes.running_trial(number)
        return self._handles[number]
