"""Ray Tune's `Searcher` over an in-memory Optuna study.

Differs from Ray Tune's own `OptunaSearch` in two points. The study receives results from the run's record and not from
here, so a trial that the scheduler stopped is PRUNED with its curve by true epoch, never COMPLETE with a low-epoch
score. And suggestions are computed ahead of time.

Knows Ray Tune's interface, in which `trial_id` is Ray Tune's own id; that of the record is `Trial.trial_id`. Does not
know cells or networks.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any, final

from ray.tune.search import Searcher

from orchestrator.record import Trial
from orchestrator.search.candidates import Candidates
from orchestrator.study import LiveStudy

MAX_WAITING_IN_A_ROW = 10
"""After this many proposals in a row of running candidates, the sampler is not asked until a trial has ended. It would
only repeat itself."""

MAX_SUGGEST_SECONDS = 0.05
"""Limit for one call of `suggest` while trials are open. Their reports cannot be processed during the call."""


@final
class OptunaSearcher(Searcher):
    """Gives Ray Tune the sampler's proposals that must be trained.

    Args:
        live_study: the source of suggestions.
        candidates: decides which suggestions are trained.
        assign: called with Ray Tune's id of a trial and the trial of the record; returns the worker's configuration.
        is_over: whether the search must end without waiting for anything.
        is_idle: whether all open trials are paused, so that none ends before a new one starts.
        record_pauses: called before each proposal; records the pauses that Ray Tune does not report.
    """

    def __init__(
        self,
        live_study: LiveStudy,
        candidates: Candidates,
        *,
        assign: Callable[[str, Trial], dict[str, Any]],
        is_over: Callable[[], bool] = lambda: False,
        is_idle: Callable[[], bool] = lambda: False,
        record_pauses: Callable[[], None] = lambda: None,
    ) -> None:
        super().__init__()
        self._live_study = live_study
        self._candidates = candidates
        self._assign = assign
        self._is_over = is_over
        self._is_idle = is_idle
        self._record_pauses = record_pauses
        self._open: set[str] = set()
        self.exhausted = False
        """Whether the sampler proposes nothing new any more."""

    def is_finished(self) -> bool:
        """Whether there is no trial to start. False again if a trial loses its worker afterwards.

        If the search is over, waiting trials stay unfinished: Ray Tune would wait ten minutes for one of them.
        """
        ended = self.exhausted or self._candidates.is_full
        return self._is_over() or (ended and not self._candidates.has_next)

    @property
    def waits(self) -> bool:
        """Whether the sampler is not asked until a trial has ended."""
        repeats = self._candidates.waiting_in_a_row >= MAX_WAITING_IN_A_ROW
        return repeats and bool(self._open) and not self._is_idle()

    def set_search_properties(
        self, metric: str | None, mode: str | None, config: Mapping[str, Any], **spec: Any
    ) -> bool:
        """Ignore the metric and the parameter space of Ray Tune: the study knows them already."""
        return True

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:
        """Return the worker's configuration for the next trial.

        None if there is no trial at the moment; `Searcher.FINISHED` if there will be no more.
        """
        begun = time.monotonic()
        self._record_pauses()
        while not self._is_over():
            trial = self._candidates.next()
            if trial is None:
                if self.is_finished():
                    break
                if self.waits or (self._open and time.monotonic() - begun > MAX_SUGGEST_SECONDS):
                    return None
                # Wait here if no trial is open: Ray Tune has nothing else to do, and would sleep for a second.
                suggestion = self._live_study.take(wait=not self._open)
                if suggestion is not None:
                    trial = self._candidates.admit(suggestion)
                elif self._live_study.exhausted:
                    self.exhausted = True
                elif self._open:
                    return None
            if trial is not None:
                self._open.add(trial_id)
                return self._assign(trial_id, trial)
            self.exhausted = self.exhausted or self._candidates.is_exhausted
        return Searcher.FINISHED

    def on_trial_result(self, trial_id: str, result: Mapping[str, Any]) -> None:
        """Do nothing: the study receives the result from the record."""

    def on_trial_complete(self, trial_id: str, result: Mapping[str, Any] | None = None, error: bool = False) -> None:
        """Note that the trial is not open any more. The study receives its end from the record."""
        self._open.discard(trial_id)

    def save(self, checkpoint_path: str) -> None:
        """Do nothing: the study can be rebuilt from the event log."""

    def restore(self, checkpoint_path: str) -> None:
        """Do nothing: see `save`."""
