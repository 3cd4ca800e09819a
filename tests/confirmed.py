"""Events of made-up searches whose best candidates were trained again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from orchestrator.config.search_config import ConfirmationSettings
from orchestrator.confirmation.choice import plan_confirmation
from orchestrator.record.events import (
    ConfirmationPlanned,
    Event,
    RunStarted,
    TrialEnded,
    TrialRepeated,
    TrialStarted,
    TrialStatus,
    TrialSuggested,
)
from orchestrator.record.run_state import RunState
from tests.builders import STARTED, at, epoch, info, trial

BEGIN = at(20)
"""When a new training begins, unless a test says otherwise."""


def search_of(scores: Mapping[str, float], **objectives: Any) -> list[Event]:
    """A search in which each trial, a candidate of its own, completed one epoch of a second with this accuracy.

    Args:
        scores: by trial, in the order in which they ended.
        objectives: of the search, if there is more than the accuracy.
    """
    started: RunStarted = STARTED.model_copy(update={"objectives": objectives}) if objectives else STARTED
    return [
        started,
        *(event for name, score in scores.items() for event in _distinct(trial(name, [score], "completed"))),
    ]


def _distinct(events: Sequence[Event]) -> list[Event]:
    """The same trial, with a candidate of its own: the later the trial, the larger it is."""
    return [
        event.model_copy(update={"fingerprint": f"of {event.trial_id}", "costs": _costs(event)})
        if isinstance(event, TrialSuggested)
        else event
        for event in events
    ]


def _costs(event: TrialSuggested) -> dict[str, float]:
    return {name: cost * (1.0 + event.number) for name, cost in event.costs.items()}


def planned(events: Sequence[Event], validation: int | None = 100, **settings: Any) -> ConfirmationPlanned:
    """The plan of a confirmation after these events."""
    plan = plan_confirmation(
        RunState.replay(events), ConfirmationSettings(**settings), info(data={"validation": validation})
    )
    assert isinstance(plan, ConfirmationPlanned), plan
    return plan


def begun(of: str, number: int, begin: datetime = BEGIN) -> list[Event]:
    """A new training of a trial's candidate that has begun."""
    name = f"{of}_{number}"
    return [
        TrialRepeated(time=begin, trial_id=name, repeats=of, seed=number, split="fresh"),
        TrialStarted(time=begin, trial_id=name, attempt=1),
    ]


def repeated(
    of: str,
    number: int,
    score: float,
    status: TrialStatus = "completed",
    *,
    error: str = "bang",
    begin: datetime = BEGIN,
    seconds: float = 1.0,
) -> list[Event]:
    """A new training of a trial's candidate that has ended; `error` is why it did not complete."""
    end = begin + timedelta(seconds=seconds)
    done = epoch(f"{of}_{number}", 1, score, seconds).model_copy(update={"time": end})
    why = None if status == "completed" else error
    return [*begun(of, number, begin), done, TrialEnded(time=end, trial_id=done.trial_id, status=status, error=why)]
