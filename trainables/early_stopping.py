"""When a training ends before its last epoch, and which epoch's weights are then kept. No torch."""

from __future__ import annotations

from collections.abc import Sequence

from trainables.epoch_result import EpochResult


def best_epoch(curve: Sequence[EpochResult]) -> int:
    """The epoch with the highest validation accuracy, the earliest if several tie; 0 for an empty curve."""
    return max(curve, key=lambda result: result.val_accuracy).epoch if curve else 0


def is_stalled(curve: Sequence[EpochResult], patience: int) -> bool:
    """Whether the best validation accuracy has not risen in the last `patience` epochs (at least 1)."""
    return bool(curve) and curve[-1].epoch - best_epoch(curve) >= patience
