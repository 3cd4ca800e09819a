"""Groups the failed, diverged and infeasible trials of a run by status and reason."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from orchestrator.record import RunState, Trial


@dataclass(frozen=True)
class Problem:
    """Trials that failed for the same reason."""

    kind: str
    """Their status."""
    count: int
    message: str
    """The error of the first."""
    trials: Sequence[str]
    """The ids of the first five."""


def problems_of(state: RunState) -> list[Problem]:
    """Group the trials that failed, diverged or broke a constraint by status and reason.

    Messages that differ only in their numbers count as one reason.
    """
    groups: dict[tuple[str, str], list[Trial]] = {}
    for trial in state.trials.values():
        if trial.status in ("failed", "diverged", "infeasible"):
            pattern = re.sub(r"0x[0-9a-fA-F]+|\d[\d.,]*", "#", trial.error or "")
            groups.setdefault((trial.status, pattern), []).append(trial)
    found = [
        Problem(status, len(trials), trials[0].error or "a number was not finite", [one.trial_id for one in trials[:5]])
        for (status, _), trials in groups.items()
    ]
    return sorted(found, key=lambda one: (one.kind == "infeasible", -one.count))
