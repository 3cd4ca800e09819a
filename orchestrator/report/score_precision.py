"""Estimates how precise a score on the validation images is. Pure functions of a run's state."""

from __future__ import annotations

import math
from dataclasses import dataclass

from orchestrator.objectives import accuracy_error
from orchestrator.record import RunInfo, RunState, Trial


@dataclass(frozen=True)
class ScorePrecision:
    """How the best accuracy compares with those of the other completed trials."""

    error: float
    """One standard error of the best accuracy."""
    within_error: int
    """The number of other trials that are at most `error` behind."""
    second: Trial | None
    """The next best trial; None if no other trial has completed."""
    margin: float
    """The difference between the best and `second`; 0 without one."""
    margin_error: float
    """One standard error of `margin`, if the errors of the two are independent."""
    indistinguishable: int
    """The number of other trials that are less than twice `margin_error` behind."""


def estimate_precision(state: RunState, best: Trial, info: RunInfo) -> ScorePrecision | None:
    """Compare the accuracy of `best` with those of the other completed trials.

    Returns None if the trainable states no bounds of its accuracy, because these determine the error, if the score is
    not a share of the images, and if no image was put aside for validation.

    Args:
        state: the state of a search.
        best: a completed trial.
        info: of the same search.
    """
    images, bounds, score = info.counted_examples, info.score_bounds, best.val_accuracy
    assert score is not None, "it completed"
    if not images or bounds is None:
        return None
    error = accuracy_error(score, images, bounds)
    others = [trial for trial in state.trials.values() if trial.status == "completed" and trial is not best]
    gaps = [score - (trial.val_accuracy or 0.0) for trial in others]
    margin = min(gaps, default=0.0)
    margin_error = math.hypot(error, accuracy_error(score - margin, images, bounds))
    return ScorePrecision(
        error=error,
        within_error=sum(gap <= error for gap in gaps),
        second=others[gaps.index(margin)] if others else None,
        margin=margin,
        margin_error=margin_error,
        indistinguishable=sum(gap < 2 * margin_error for gap in gaps),
    )
