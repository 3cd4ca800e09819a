"""The architectures that a loop of the user's own submits, on their way from the loop's thread to Ray Tune and back.

Knows the state of the run and its candidates. Knows neither Ray nor how the run starts and ends: see `pool`.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import CancelledError, Future
from types import TracebackType
from typing import Any, NamedTuple, Self, final

from ray.tune.search import Searcher

from orchestrator.record import Event, RunState, Trial, TrialEnded, TrialSuggested
from orchestrator.search.candidates import Candidates
from orchestrator.study import Suggestion
from search_spaces import Architecture

MAX_WAIT_SECONDS = 0.5
"""Without trials, the driver waits this long for a submission before it looks whether the run must end."""


class CandidateResult(NamedTuple):
    """A submitted architecture, and what became of it."""

    architecture: Architecture
    trial: Trial
    """Its ended trial: `trial_id`, `status`, `val_accuracy`, `metric(NAME)`, `costs`, `curve`, `error` and others."""


@final
class Submissions:
    """What was submitted and what has ended, for the thread of the loop and that of the driver.

    A listener of the event log, to be registered after `state`. As a context, it lasts as long as trials can start.

    Args:
        state: of the run. Trials on record that have not ended are in flight, as if they had just been submitted.
    """

    def __init__(self, state: RunState) -> None:
        self._state = state
        self._changed = threading.Condition()
        self._waiting: deque[tuple[dict[str, Any], Future[CandidateResult]]] = deque()
        self._taken: Future[CandidateResult] | None = None
        """Of the submission that is being recorded."""
        self._in_flight: dict[str, Future[CandidateResult]] = {}
        trials = state.trials.values()
        self._in_flight.update((trial.trial_id, Future()) for trial in trials if trial.status == "running")
        ended = sorted((trial.end_place, trial.trial_id) for trial in trials if trial.end_place is not None)
        self._ended = [_result(state.trials[trial_id]) for _, trial_id in ended]
        self._shown = len(self._ended)
        self.closed = False
        """Whether nothing more will be submitted."""
        self._over = False
        self._failure: BaseException | None = None

    def submit(self, params: dict[str, Any]) -> Future[CandidateResult]:
        """Add an architecture, as the parameters of the space. Once the run is over, the future is cancelled.

        Raises:
            SearchError: the run could not continue.
        """
        future: Future[CandidateResult] = Future()
        with self._changed:
            if self._failure is not None:
                raise self._failure
            if self._over:
                _cancel(future)
            else:
                self._waiting.append((params, future))
                self._changed.notify_all()
        return future

    def history(self) -> list[CandidateResult]:
        """Return everything that has ended, in this order."""
        with self._changed:
            return list(self._ended)

    def results(self) -> Iterator[CandidateResult]:
        """Yield what ends, each result once; wait while something is in flight.

        Raises:
            SearchError: the run could not continue.
        """
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._shown < len(self._ended) or not self._is_any_in_flight)
                if self._shown == len(self._ended):
                    if self._failure is not None:
                        raise self._failure
                    return
                result = self._ended[self._shown]
                self._shown += 1
            yield result

    def close(self) -> None:
        """Say that nothing more will be submitted."""
        with self._changed:
            self.closed = True
            self._changed.notify_all()

    def end(self, failure: BaseException | None = None) -> None:
        """Cancel what is in flight, because the run trains nothing more; `failure` is the reason if it has failed."""
        with self._changed:
            self._over, self._failure = True, failure
            for _, future in self._waiting:
                _cancel(future, failure)
            for future in filter(None, [self._taken, *self._in_flight.values()]):
                future.set_exception(failure or CancelledError("the run ended before this trial did"))
            self._waiting.clear()
            self._in_flight.clear()
            self._taken = None
            self._changed.notify_all()

    def wait(self) -> None:
        """Wait for a submission, for at most `MAX_WAIT_SECONDS`."""
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self.closed, timeout=MAX_WAIT_SECONDS)

    def take(self) -> Suggestion | None:
        """Return the oldest submission that is not on record yet; None if there is none."""
        with self._changed:
            while self._waiting:
                params, future = self._waiting.popleft()
                if future.set_running_or_notify_cancel():
                    self._taken = future
                    number = len(self._state.imported) + len(self._state.trials)
                    return Suggestion(number, params, trial_attributes={}, study_attributes={}, seconds=0.0)
            self._changed.notify_all()  # the loop may have cancelled the last that was in flight
            return None

    def apply(self, event: Event) -> None:
        """Update the submissions with an event."""
        with self._changed:
            match event:
                case TrialSuggested():
                    assert self._taken is not None, "only submissions are recorded"
                    self._in_flight[event.trial_id], self._taken = self._taken, None
                case TrialEnded():
                    result = _result(self._state.trials[event.trial_id])
                    self._ended.append(result)
                    self._in_flight.pop(event.trial_id).set_result(result)
                    self._changed.notify_all()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Cancel what is in flight. If the run has failed, `end` is called with the reason."""
        if error is None:
            self.end()

    @property
    def _is_any_in_flight(self) -> bool:
        return bool(self._waiting or self._taken or self._in_flight)


@final
class SubmissionSearcher(Searcher):
    """Gives Ray Tune the submissions that must be trained. Records each as soon as it can, so that a kill loses none.

    Args:
        submissions: of the loop.
        candidates: decides which of them are trained.
        assign: called with Ray Tune's id of a trial and the trial of the record; returns the worker's configuration.
        is_over: whether the run must end without waiting for anything.
        is_idle: whether all open trials are paused.
    """

    exhausted = False
    """Whether nothing new is proposed any more: a loop that ends has ended as it should."""

    def __init__(
        self,
        submissions: Submissions,
        candidates: Candidates,
        *,
        assign: Callable[[str, Trial], dict[str, Any]],
        is_over: Callable[[], bool],
        is_idle: Callable[[], bool],
    ) -> None:
        super().__init__()
        self._submissions = submissions
        self._candidates = candidates
        self._assign = assign
        self._is_over = is_over
        self._is_idle = is_idle
        self._open: set[str] = set()
        self._was_idle = False

    @property
    def waits(self) -> bool:
        """Whether trials are open, so that `suggest` does not wait for a submission."""
        return bool(self._open)

    def is_finished(self) -> bool:
        """Whether there is no trial to start. Ray Tune asks at every step, and what was submitted is recorded first.

        A scheduler decides on paused trials when nothing else will start, and the loop may be waiting for one of them.
        So this returns True when all open trials are paused, but only after the next `suggest`: Ray Tune would end an
        idle worker at once.
        """
        closed = self._submissions.closed  # before the last submissions are taken
        while not self._candidates.is_booked and (suggestion := self._submissions.take()) is not None:
            self._candidates.enlist(suggestion)
        ends = closed or self._candidates.is_full or (self._was_idle and self.waits and self._is_idle())
        return self._is_over() or (ends and not self._candidates.has_next)

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:
        """Return the worker's configuration for the next trial.

        None if there is no trial at the moment; `Searcher.FINISHED` if there will be no more.
        """
        while not self.is_finished():
            trial = self._candidates.next()
            if trial is not None:
                self._open.add(trial_id)
                return self._assign(trial_id, trial)
            if self._open:
                self._was_idle = self._is_idle()
                return None
            # Wait here if no trial is open: Ray Tune has nothing else to do, and would sleep for a second.
            self._submissions.wait()
        return Searcher.FINISHED

    def on_trial_result(self, trial_id: str, result: Mapping[str, Any]) -> None:
        """Do nothing: the event log already has it."""

    def on_trial_complete(self, trial_id: str, result: Mapping[str, Any] | None = None, error: bool = False) -> None:
        """Note that the trial is not open any more."""
        self._open.discard(trial_id)

    def save(self, checkpoint_path: str) -> None:
        """Do nothing: the run can be rebuilt from the event log."""

    def restore(self, checkpoint_path: str) -> None:
        """Do nothing: see `save`."""


def _result(trial: Trial) -> CandidateResult:
    return CandidateResult(Architecture.from_json(trial.architecture), trial)


def _cancel(future: Future[CandidateResult], failure: BaseException | None = None) -> None:
    """Cancel a future that waits, unless there is a failure to tell."""
    if failure is None:
        future.cancel()
    if future.set_running_or_notify_cancel():
        future.set_exception(failure)
