"""How far a score on the validation images can be trusted. Pure functions of a run's state."""

from __future__ import annotations

import math
from dataclasses import dataclass

from orchestrator.run_state import RunState, Trial


@dataclass(frozen=True)
class Precision:
    """One standard error of the best accuracy, and how many other completed trials are within it."""

    error: float
    close: int


def precision_of(state: RunState, best: Trial, images: int) -> Precision:
    """
    Args:
        state: of a search.
        best: a completed trial.
        images: that its accuracy was measured on.
    """
    score = best.val_accuracy
    assert score is not None, "it completed"
    # Wilson's centre, because the plain estimate would call a score of 1 certain.
    centre = (score * images + 0.5) / (images + 1)
    error = math.sqrt(centre * (1 - centre) / (images + 1))
    close = sum(
        trial.status == "completed" and trial is not best and (trial.val_accuracy or 0) >= score - error
        for trial in state.trials.values()
    )
    return Precision(error, close)
