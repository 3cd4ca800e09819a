"""The best so far of a run, against trials and against time, and its mean over several runs. No files.

A run's best changes in steps, and the mean of several is exact at each of them: nothing is interpolated.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from orchestrator.record import Event, RunOutcome, RunState, TrialEnded
from orchestrator.significance import Mean, mean_of

WHOLE: tuple[RunOutcome, ...] = ("completed", "exhausted", "out_of_time")
"""How a search ends that was let to its end."""


@dataclass(frozen=True)
class BestSoFar:
    """The best completed score from each place on, up to `end`; places are trials or seconds, and increase.

    Empty where no trial has completed. `is_whole`: the search was let to its end, so that its best is what one has from
    then on; of another one nobody knows what it would have found.
    """

    places: tuple[float, ...]
    scores: tuple[float, ...]
    end: float
    is_whole: bool

    def at(self, place: float) -> float:
        """The best at a place not before the first one."""
        return self.scores[bisect_right(self.places, place) - 1]


@dataclass(frozen=True)
class History:
    """`by_trials`: after how many trainings that ended; duplicates and infeasible candidates, which cost nothing, are
    not counted. `by_seconds`: of the search itself, without the times in which it did not run."""

    by_trials: BestSoFar
    by_seconds: BestSoFar


@dataclass(frozen=True)
class MeanCurve:
    """The mean over runs from each place on, from where all of them have a best to where the last one ends, or the
    first one that was not let to its end."""

    places: tuple[float, ...]
    means: tuple[Mean, ...]


def replay(events: Iterable[Event]) -> tuple[RunState, History]:
    """The state that the events add up to, and how its best came to be."""
    state, trained = RunState(), 0
    steps: list[tuple[int, float, float]] = []
    for event in events:
        state.apply(event)
        if not isinstance(event, TrialEnded):
            continue
        trained += state.trials[event.trial_id].attempt > 0
        score = None if state.best is None else state.best.metric(next(iter(state.objectives)))
        if score is not None and (not steps or score != steps[-1][2]):
            steps.append((trained, state.active_seconds(), score))
    scores, is_whole = tuple(score for _, _, score in steps), state.outcome in WHOLE
    return state, History(
        BestSoFar(tuple(count for count, _, _ in steps), scores, trained, is_whole),
        BestSoFar(tuple(seconds for _, seconds, _ in steps), scores, state.active_seconds(), is_whole),
    )


def mean_curve(curves: Sequence[BestSoFar]) -> MeanCurve:
    """Of the curves that have a score at all; empty where there is no place that they share."""
    known = [curve for curve in curves if curve.places]
    if not known:
        return MeanCurve((), ())
    start = max(curve.places[0] for curve in known)
    end = min((curve.end for curve in known if not curve.is_whole), default=max(curve.end for curve in known))
    if start > end:
        return MeanCurve((), ())
    places = sorted({start, end, *(place for curve in known for place in curve.places if start <= place <= end)})
    return MeanCurve(tuple(places), tuple(mean_of([curve.at(place) for curve in known]) for place in places))
