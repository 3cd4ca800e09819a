"""The best score so far of a run, against trials and against time, and its mean over several runs. Reads no files.

The best score of a run is a step function. The mean over runs is computed at every step, without interpolation.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from orchestrator.record import Event, RunOutcome, RunState, TrialEnded
from orchestrator.significance import Mean, mean_of

FINISHED: tuple[RunOutcome, ...] = ("completed", "exhausted", "out_of_time")
"""The outcomes of a search that ended by itself."""


@dataclass(frozen=True)
class BestSoFar:
    """The best score of a completed trial, as a step function up to `end`."""

    places: tuple[float, ...]
    """Where the best changes, in trials or seconds, increasing; empty if no trial has completed."""
    scores: tuple[float, ...]
    """The best from each place on."""
    end: float
    is_finished: bool
    """Whether the search ended by itself, so that its best stays the same after `end`; if not, it is unknown there."""

    def at(self, place: float) -> float:
        """Return the best score at `place` (in trials or seconds), which must not be less than `places[0]`."""
        return self.scores[bisect_right(self.places, place) - 1]


@dataclass(frozen=True)
class History:
    """The best so far of a run, on two scales."""

    by_trials: BestSoFar
    """Against the number of trainings that ended; duplicates and infeasible candidates are not trained."""
    by_seconds: BestSoFar
    """Against the seconds of the search, without its confirmation and the time between an end and a resume."""


@dataclass(frozen=True)
class MeanCurve:
    """The mean over runs from each place on.

    It starts where every run has a score. It ends where the first unfinished run ends, or if there is none, where the
    last run ends.
    """

    places: tuple[float, ...]
    means: tuple[Mean, ...]


def read_history(events: Iterable[Event]) -> tuple[RunState, History]:
    """Return the state after all events, and the history of the best of its search, without its confirmation."""
    state, trained, confirming = RunState(), 0, 0.0
    steps: list[tuple[int, float, float]] = []
    for event in events:
        before = state.active_seconds()
        state.apply(event)
        is_of_search = getattr(event, "trial_id", None) in state.trials
        if state.confirmation is not None and not is_of_search:
            confirming += state.active_seconds() - before
        if not isinstance(event, TrialEnded) or not is_of_search:
            continue
        trained += state.trials[event.trial_id].attempt > 0
        score = None if state.best is None else state.best.metric(next(iter(state.objectives)))
        if score is not None and (not steps or score != steps[-1][2]):
            steps.append((trained, state.active_seconds() - confirming, score))
    scores, is_finished = tuple(score for _, _, score in steps), state.outcome in FINISHED
    end = state.active_seconds() - confirming
    return state, History(
        BestSoFar(tuple(count for count, _, _ in steps), scores, trained, is_finished),
        BestSoFar(tuple(seconds for _, seconds, _ in steps), scores, end, is_finished),
    )


def mean_curve(curves: Sequence[BestSoFar], bounds: tuple[float, float] | None) -> MeanCurve:
    """Average the curves that have a score; the result is empty if they have no place in common.

    Args:
        curves: one for each run.
        bounds: of the score, at which the intervals end; None if nothing bounds it.
    """
    known = [curve for curve in curves if curve.places]
    if not known:
        return MeanCurve((), ())
    start = max(curve.places[0] for curve in known)
    end = min((curve.end for curve in known if not curve.is_finished), default=max(curve.end for curve in known))
    if start > end:
        return MeanCurve((), ())
    places = sorted({start, end, *(place for curve in known for place in curve.places if start <= place <= end)})
    return MeanCurve(tuple(places), tuple(mean_of([curve.at(place) for curve in known], bounds) for place in places))
