"""Says what resumes changed in the settings of a run."""

from __future__ import annotations

from typing import Any

from orchestrator.record import RunInfo, RunState
from orchestrator.words import counted


def changes_of(info: RunInfo, state: RunState) -> list[str]:
    """One line for each resume that changed settings: the number of trials before it, and the changed settings."""
    lines = []
    for change in info.changes:
        trials = sum(trial.suggested_at < change.time for trial in state.trials.values())
        settings = (f"{name} from {_text(old)} to {_text(new)}" for name, (old, new) in change.settings.items())
        lines.append(f"after {counted(trials, 'trial')}: {', '.join(settings)}")
    return lines


def _text(value: Any) -> str:
    return "unset" if value is None else repr(value)
