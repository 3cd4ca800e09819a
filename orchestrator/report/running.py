"""Says for `status` and pages how far a running search is, and how long it still takes, as its own progress does."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from orchestrator.config import make_scheduler, parse_config
from orchestrator.confirmation import Race
from orchestrator.errors import ConfigError
from orchestrator.progress import ConfirmationView, SearchView
from orchestrator.record import RunInfo, RunState
from orchestrator.report.confirmation import is_confirming
from orchestrator.schedulers import SCHEDULERS


@dataclass(frozen=True)
class RunningProgress:
    """How far a running search is."""

    done: float | None
    """The fraction (0..1) of its trainings that have ended; None without a limit."""
    words: str
    """The trainings that have ended, the time left and the elapsed time."""


def running_progress(info: RunInfo, standing: str, state: RunState, at: datetime) -> RunningProgress | None:
    """Return how far a search is at a time; None if it does not run, or its settings are of another version."""
    if standing != "running":
        return None
    try:
        config = parse_config(info.config, "run.json")
    except ConfigError:
        return None
    view: ConfirmationView | SearchView = SearchView(config, state, milestones_of(info), info=info)
    if is_confirming(standing, state):
        view = ConfirmationView(config, state, Race(state).expected_trainings)
    first, *others = view.snapshot(at).rows
    time = next(row for row in others if row.label == "time")
    return RunningProgress(first.done, ", ".join([first.parts[0].strip(), *time.parts]))


def milestones_of(info: RunInfo) -> tuple[int, ...] | None:
    """Return the epochs at which the scheduler decides; None if that may be any.

    None too for a scheduler of the user's own, because its module is not imported here.
    """
    try:
        config = parse_config(info.config, "run.json")
        if config.scheduler.name not in SCHEDULERS:
            return None
        scheduler = make_scheduler(config.scheduler, config.training.epochs, config.objectives.directions)
    except ConfigError:  # of another version
        return None
    milestones: tuple[int, ...] | None = getattr(scheduler, "milestones", None)
    return milestones
