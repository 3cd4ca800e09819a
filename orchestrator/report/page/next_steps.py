"""Says what an evaluation of a search costs, and suggests the size at which its winner is retrained. Pure functions.

Does not build networks: that would import operations of the user's own. It counts on the cost of a network growing with
its cells and with the square of its filters.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import fmean

from orchestrator.progress import format_estimate
from orchestrator.record import RunInfo, RunState, Trial
from orchestrator.words import counted

SIZES = ((6, 32), (4, 32), (4, 24), (3, 24), (3, 16), (2, 16), (2, 12), (2, 8))
"""N and F, the largest first: that of the papers' networks for CIFAR-10 (Zoph et al. 2018, 4.1), and smaller ones."""

STAGES, REDUCTIONS = 3, 2

TOP, FOLDS = 2, 5
"""Of the suggested evaluation: the candidates of the search, and the trainings of each."""


@dataclass(frozen=True)
class FullSize:
    """A network for a retraining."""

    repeats: int
    """N."""
    filters: int
    """F."""
    seconds: float | None
    """The expected duration of one training; None if the search has no times."""
    epochs: int | None
    device: str | None
    """Where the search trained, which the duration is for."""

    @property
    def cost(self) -> str:
        """The training and about how long it takes, as the beginning of a sentence."""
        training = counted(1, "training") if self.epochs is None else f"1 training of {counted(self.epochs, 'epoch')}"
        if self.seconds is None:
            return training
        where = "" if self.device is None else f" on {self.device}"
        return f"{training}, about {format_estimate(self.seconds)}{where}"


def evaluation_cost(state: RunState) -> str:
    """Say how many trainings the suggested evaluation of a search has, and about how long they take."""
    best = state.to_evaluate(TOP)
    epochs = max(trial.epochs for trial in best)  # a pruned candidate is trained to the end too
    trainings, slots = (len(best) + 1) * FOLDS, max(1, state.slots)
    whole = sum(trial.train_seconds for trial in state.all_trials())
    own = sum(trial.train_seconds for trial in state.trials.values())
    seconds = state.active_seconds() * (own / whole if whole else 1.0)  # of a random search, without a confirmation
    seconds += math.ceil(trainings / slots) * fmean(epochs * trial.train_seconds / trial.epochs for trial in best)
    return f"a random search of equal cost and at most {trainings} trainings, about {format_estimate(seconds)}"


def full_size(winner: Trial, state: RunState, info: RunInfo) -> FullSize:
    """Return the largest size of which one training takes no longer than all trainings of the search together.

    So it fits the images and the device. It is at least the size of the networks in the search.
    """
    network, epochs = info.config.get("network", {}), info.config.get("training", {}).get("epochs")
    searched = (network.get("repeats", 1), network.get("filters", 1))
    larger = [size for size in SIZES if size[0] >= searched[0] and size[1] >= searched[1]]
    limit = sum(trial.train_seconds for trial in state.all_trials())
    for size in [*larger, searched]:
        seconds = _seconds(winner, searched, size, epochs or winner.epochs, info)
        if seconds is None or seconds <= limit or size == searched:
            return FullSize(*size, seconds=seconds, epochs=epochs, device=winner.device)
    raise AssertionError("the size of the search is always possible")


def _seconds(
    winner: Trial, searched: tuple[int, int], size: tuple[int, int], epochs: int, info: RunInfo
) -> float | None:
    """Return the expected duration of a training, from that of the winner in the search; None if that has no times."""
    train, validation = info.data.get("train"), info.data.get("validation")
    if not winner.epochs or not winner.train_seconds:
        return None
    images = (train + validation) / train if train and validation else 1.0
    return winner.train_seconds / winner.epochs * epochs * images * _cost(size) / _cost(searched)


def _cost(size: tuple[int, int]) -> float:
    repeats, filters = size
    return (STAGES * repeats + REDUCTIONS) * filters**2
