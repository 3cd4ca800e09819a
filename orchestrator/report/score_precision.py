"""How far a score on the validation images can be trusted. Pure functions of a run's state."""

from __future__ import annotations

import math
from dataclasses import dataclass

from orchestrator.record import RunState, Trial


@dataclass(frozen=True)
class Precision:
    """What the best accuracy says against those of the other completed trials.

    Args:
        error: one standard error of it.
        close: how many others are within that.
        second: the next best; None if no other completed.
        margin: by how much the best is ahead of it; 0 without one.
        margin_error: one standard error of such a difference, if the two err independently.
        level: how many others are behind by less than twice that, so that these images cannot tell them apart.
    """

    error: float
    close: int
    second: Trial | None
    margin: float
    margin_error: float
    level: int


def precision_of(state: RunState, best: Trial, images: int) -> Precision:
    """
    Args:
        state: of a search.
        best: a completed trial.
        images: that its accuracy was measured on.
    """
    score = best.val_accuracy
    assert score is not None, "it completed"
    error = _error(score, images)
    others = [trial for trial in state.trials.values() if trial.status == "completed" and trial is not best]
    gaps = [score - (trial.val_accuracy or 0.0) for trial in others]
    margin = min(gaps, default=0.0)
    margin_error = math.hypot(error, _error(score - margin, images))
    return Precision(
        error=error,
        close=sum(gap <= error for gap in gaps),
        second=others[gaps.index(margin)] if others else None,
        margin=margin,
        margin_error=margin_error,
        level=sum(gap < 2 * margin_error for gap in gaps),
    )


def _error(score: float, images: int) -> float:
    # Wilson's centre, because the plain estimate would call a score of 1 certain.
    centre = (score * images + 0.5) / (images + 1)
    return math.sqrt(centre * (1 - centre) / (images + 1))
