"""The events of a made-up confirmation, and records that have one. Without Ray and without the posterior."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime, timedelta
from statistics import fmean
from typing import Any

from orchestrator.objectives import COSTS, dominates
from orchestrator.record.event_log import EventLog
from orchestrator.record.events import (
    CandidatesCompared,
    ConfirmationPlanned,
    ConfirmedCandidate,
    ConfirmedScore,
    Event,
    RunEnded,
    TrialStatus,
)
from orchestrator.record.recorded_run import RecordedRun
from orchestrator.record.run_directory import RunDirectory
from orchestrator.record.run_state import RunState
from tests.confirmed import repeated

MARGIN = 0.02
"""Half the width of each interval."""


def confirmation(
    state: RunState,
    scores: Mapping[str, Sequence[float]],
    *,
    begin: datetime,
    in_doubt: Collection[str] = (),
    problems: Mapping[str, str] | None = None,
    compared: bool = True,
    **values: Any,
) -> list[Event]:
    """New trainings of candidates with these validation accuracies, one after another, each of one epoch of 10 s.

    Args:
        state: of the search; changed by the events.
        scores: by candidate, as the plan has them.
        begin: when the confirmation begins.
        in_doubt: candidates that cannot be distinguished from the winner or from the front.
        problems: candidates whose last new training diverged, and what it says.
        compared: whether the comparison is on record.
        values: of the plan.
    """
    plan = {"limit": None, "trainings": 5, "train_seconds": 100.0, "noise": 0.0123, "noise_from": "validation_images"}
    events: list[Event] = [
        ConfirmationPlanned(time=begin, candidates=list(scores), trained=state.trained, **{**plan, **values})
    ]
    time = begin
    for number in range(1, max(map(len, scores.values())) + 1):
        for name, found in scores.items():
            if len(found) < number:
                continue
            error = (problems or {}).get(name, "") if number == len(found) else ""
            status: TrialStatus = "diverged" if error else "completed"
            events += repeated(name, number, found[number - 1], status, error=error, begin=time, seconds=10.0)
            time += timedelta(seconds=10)
    for event in events:
        state.apply(event)
    if compared:
        events.append(_compared(state, list(scores), time, in_doubt, problems or {}))
        state.apply(events[-1])
    return events


def _compared(
    state: RunState, names: Sequence[str], time: datetime, in_doubt: Collection[str], problems: Mapping[str, str]
) -> CandidatesCompared:
    signs = {name: -1 if to == "maximize" else 1 for name, to in state.objectives.items()}
    means: dict[str, dict[str, float]] = {}
    for name in names:
        repeats = state.repeats_of(state.trials[name])
        means[name] = {one: fmean(repeat.metric(one) or 0.0 for repeat in repeats) for one in state.objectives}
    losses = {name: tuple(signs[one] * means[name][one] for one in state.objectives) for name in names}
    sound = [name for name in names if name not in problems]
    front = [name for name in sound if not any(dominates(losses[other], losses[name]) for other in sound)]
    candidates = [
        ConfirmedCandidate(
            trial_id=name,
            trainings=len(state.repeats_of(state.trials[name])),
            scores={one: _score(one, mean) for one, mean in means[name].items()},
            chance=0.75 if name in front else 0.25,
            in_doubt=name in in_doubt or name in front,
            on_front=name in front,
        )
        for name in sorted(sound, key=lambda name: (name not in front, losses[name]))
    ]
    out = [ConfirmedCandidate(trial_id=name, trainings=0, problem=problem) for name, problem in problems.items()]
    return CandidatesCompared(time=time, candidates=[*candidates, *out], trained=state.trained)


def _score(metric: str, mean: float) -> ConfirmedScore:
    interval = None if metric in COSTS else (mean - MARGIN, min(1.0, mean + MARGIN))
    return ConfirmedScore(mean=mean, estimate=mean, interval=interval)


def confirm(
    directory: RunDirectory, scores: Mapping[str, Sequence[float]], *, running: bool = False, **values: Any
) -> RunState:
    """Add a confirmation to the record of a search, a second after its last event; return the state.

    Args:
        running: whether the record ends within the confirmation; that of the search must then have no end.
        values: of `confirmation`.
    """
    before = RecordedRun.read(directory).events()
    state = RunState.replay(before)
    events = confirmation(state, scores, begin=max(event.time for event in before) + timedelta(seconds=1), **values)
    if not running:
        events.append(RunEnded(time=events[-1].time, outcome="completed"))
        state.apply(events[-1])
    with EventLog.reopen(directory) as log:
        log.append(*events)
    return state
