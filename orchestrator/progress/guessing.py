"""Says if no trial of a search is clearly better than a network that always guesses the largest class."""

from __future__ import annotations

import math
from statistics import NormalDist

from orchestrator.progress.words import number
from orchestrator.record import RunInfo, RunState

CHANCE = 0.05
"""The share of searches without anything to learn whose best trial exceeds `guessing_bound`."""

LOOK_AT = "look at the images and their labels, training.learning_rate, batch_size and epochs first"


def guessing_doubt(state: RunState, info: RunInfo) -> str | None:
    """Return the doubt in one sentence; None if the winner is clearly better than guessing.

    A confirmed winner is judged by the interval of its true accuracy, another by the best of all completed trials.

    Also None if the validation accuracy is not an objective or has no bounds, no trial has completed, or the share of
    the largest class is not known.
    """
    images, guess, bounds = info.counted_examples, info.guess, info.score_bounds
    completed = [trial for trial in state.trials.values() if trial.status == "completed"]
    accuracies = [trial.val_accuracy for trial in completed if trial.val_accuracy is not None]
    if not images or guess is None or bounds is None or not accuracies or "val_accuracy" not in state.objectives:
        return None
    low, high = bounds
    confirmed = None if state.confirmed is None else state.confirmed.winner.scores.get("val_accuracy")
    if confirmed is not None and confirmed.interval is not None:
        if confirmed.interval[0] > guess:
            return None
        return (
            f"the winner is not clearly better than guessing: its true accuracy is between "
            f"{number(confirmed.interval[0])} and {number(confirmed.interval[1])}, always guessing the largest class "
            f"has {number(guess)}; {LOOK_AT}"
        )
    chance = low + (high - low) * guessing_bound((guess - low) / (high - low), images, len(accuracies))
    if max(accuracies) > chance:
        return None
    return (
        f"no trial is clearly better than guessing: the best has {number(max(accuracies))}, always guessing the "
        f"largest class has {number(guess)}, and the best of {len(accuracies)} guesses up to "
        f"{number(min(high, chance))}; {LOOK_AT}"
    )


def guessing_bound(share: float, images: int, trials: int) -> float:
    """The accuracy that the best of several guessing networks exceeds in one of 20 searches.

    Args:
        share: the accuracy of always guessing the largest class.
        images: the number of images on which each accuracy was measured.
        trials: the number of networks, at least one.
    """
    # From the standard library: the driver imports this module, and scipy.stats takes two seconds.
    quantile = NormalDist().inv_cdf((1 - CHANCE) ** (1 / trials))
    return share + quantile * math.sqrt(share * (1 - share) / images)
