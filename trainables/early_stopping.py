"""When a training ends before its last epoch, and of which epoch the weights are then kept. No torch."""

from __future__ import annotations

from collections.abc import Sequence

from trainables.epoch_result import EpochResult


def best_epoch(curve: Sequence[EpochResult]) -> int:
    """The epoch with the highest validation accuracy, the first of several; 0 of an empty curve."""
    return max(curve, key=lambda result: result.val_accuracy).epoch if curve else 0


def is_stalled(curve: Sequence[EpochResult], patience: int) -> bool:
    """Whether the validation accuracy has not risen in the last `patience` epochs, which is at least 1."""
    return bool(curve) and curve[-1].epoch - best_epoch(curve) >= patience
