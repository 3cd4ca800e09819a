"""Says if no trial of a search is clearly better than a network that always guesses the largest class."""

from __future__ import annotations

from orchestrator.progress.words import number
from orchestrator.record import RunInfo, RunState
from orchestrator.significance import guessing_bound

LOOK_AT = "look at the images and their labels, training.learning_rate and training.epochs first"


def guessing_doubt(state: RunState, info: RunInfo) -> str | None:
    """Return the doubt in one sentence; None if the best completed trial is clearly better than guessing.

    Also None if the validation accuracy is not an objective or has no bounds, no trial has completed, or the share of
    the largest class is not known.
    """
    images, guess, bounds = info.data.get("validation"), info.guess, info.score_bounds
    completed = [trial for trial in state.trials.values() if trial.status == "completed"]
    accuracies = [trial.val_accuracy for trial in completed if trial.val_accuracy is not None]
    if not images or guess is None or bounds is None or not accuracies or "val_accuracy" not in state.objectives:
        return None
    low, high = bounds
    chance = low + (high - low) * guessing_bound((guess - low) / (high - low), images, len(accuracies))
    if max(accuracies) > chance:
        return None
    return (
        f"no trial is clearly better than guessing: the best has {number(max(accuracies))}, always guessing the "
        f"largest class has {number(guess)}, and the best of {len(accuracies)} guesses up to "
        f"{number(min(high, chance))}; {LOOK_AT}"
    )
