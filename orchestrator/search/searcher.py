"""The bridge: Ray Tune's `Searcher` over an in-memory Optuna study.

Differs from Ray Tune's own `OptunaSearch` where that is wrong: the study hears of a trial from the run's record and not
from here, so a trial that the scheduler stopped is PRUNED with its curve by true epoch, never COMPLETE with a low-epoch
score; and a suggestion is ready before it is asked for.

Knows Ray Tune's interface. Does not know cells or networks.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any, final

from ray.tune.search import Searcher

from orchestrator.record import Trial
from orchestrator.search.candidates import Candidates
from orchestrator.study import LiveStudy

WAITING_IN_A_ROW = 10
"""After so many proposals in a row of what is being trained, nothing is asked before a trial has ended: until then the
sampler would go on repeating itself."""


HOLD_SECONDS = 0.05
"""No longer are proposals answered in one go while trials report, which nobody would hear meanwhile."""


@final
class OptunaSearcher(Searcher):
    """Hands out what the study's sampler proposes, unless its answer is known.

    Args:
        live_study: where suggestions come from.
        candidates: decides which of them are trained.
        assign: called with Ray Tune's id of a trial and the trial of the record; returns the worker's configuration.
        is_over: whether the search is to end, and nothing need be waited for.
        is_at_rest: whether all open trials are paused, and none will end before there is a new one.
    """

    def __init__(
        self,
        live_study: LiveStudy,
        candidates: Candidates,
        *,
        assign: Callable[[str, Trial], dict[str, Any]],
        is_over: Callable[[], bool] = lambda: False,
        is_at_rest: Callable[[], bool] = lambda: False,
    ) -> None:
        super().__init__()
        self._live_study = live_study
        self._candidates = candidates
        self._assign = assign
        self._is_over = is_over
        self._is_at_rest = is_at_rest
        self._open: set[str] = set()
        self.exhausted = False
        """The sampler has nothing new."""

    def is_finished(self) -> bool:
        """Whether there is nothing to hand out. A trial that loses its worker afterwards makes it false again."""
        return (self.exhausted or self._candidates.is_full or self._is_over()) and not self._candidates.has_next

    @property
    def waits(self) -> bool:
        """Whether nothing is asked before a trial has ended."""
        repeats = self._candidates.waiting_in_a_row >= WAITING_IN_A_ROW
        return repeats and bool(self._open) and not self._is_at_rest()

    def set_search_properties(
        self, metric: str | None, mode: str | None, config: Mapping[str, Any], **spec: Any
    ) -> bool:
        """Called by Ray Tune with the metric and the parameter space, which the study knows already."""
        return True

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:
        """The parameters of the next candidate; None while there is none, `Searcher.FINISHED` where there is
        nothing more to hand out."""
        begun = time.monotonic()
        while not self._is_over():
            trial = self._candidates.next()
            if trial is None:
                if self.is_finished():
                    break
                if self.waits or (self._open and time.monotonic() - begun > HOLD_SECONDS):
                    return None
                # Without an open trial Ray Tune has nothing else to do than to wait, and would wait for a second.
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
            self.exhausted = self.exhausted or self._candidates.has_nothing_new
        return Searcher.FINISHED

    def on_trial_result(self, trial_id: str, result: Mapping[str, Any]) -> None:
        """Nothing: the study hears it from the record."""

    def on_trial_complete(self, trial_id: str, result: Mapping[str, Any] | None = None, error: bool = False) -> None:
        """The study hears it from the record."""
        self._open.discard(trial_id)

    def save(self, checkpoint_path: str) -> None:
        """Nothing: the study can be rebuilt from the event log."""

    def restore(self, checkpoint_path: str) -> None:
        """Nothing, as `save`."""
