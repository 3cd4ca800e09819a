"""Says if no trial of a search is clearly better than a network that always guesses the largest class."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from orchestrator.progress.words import number
from orchestrator.record import RunState
from orchestrator.significance import guessing_bound

LOOK_AT = "look at the images and their labels, training.learning_rate and training.epochs first"


def guessing_doubt(state: RunState, data: Mapping[str, Any]) -> str | None:
    """Return the doubt in one sentence; None if the best completed trial is clearly better than guessing.

    Also None if the validation accuracy is not an objective, no trial has completed, or the images are not known.

    Args:
        state: the state of a search.
        data: the facts about the images, as `DataSplits.describe` returns them.
    """
    share, images = data.get("largest_class"), data.get("validation")
    completed = [trial for trial in state.trials.values() if trial.status == "completed"]
    accuracies = [trial.val_accuracy for trial in completed if trial.val_accuracy is not None]
    if not share or not images or not accuracies or "val_accuracy" not in state.objectives:
        return None
    best, chance = max(accuracies), guessing_bound(share, images, len(accuracies))
    if best > chance:
        return None
    return (
        f"no trial is clearly better than guessing: the best has {number(best)}, always guessing the largest class has "
        f"{number(share)}, and the best of {len(accuracies)} guesses up to {number(min(1.0, chance))}; {LOOK_AT}"
    )
