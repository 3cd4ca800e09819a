"""The result of one epoch of one candidate. No torch."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

EPOCH_METRICS = ("val_accuracy", "val_loss", "train_accuracy", "train_loss", "seconds", "images_per_second")
"""Metrics that every trainable reports for every epoch."""


@dataclass(frozen=True, kw_only=True)
class EpochResult:
    """Scores and timing of one epoch. Losses are means per image; accuracies are 0..1.

    Raises:
        ValueError: `learning_rate`, `seconds`, `images_per_second` or `ended_at` is not finite.
    """

    epoch: int
    """Number of the epoch, from 1."""
    train_loss: float
    train_accuracy: float
    val_loss: float
    val_accuracy: float
    learning_rate: float
    """Learning rate of the epoch's last step."""
    seconds: float
    """Duration of training and validation."""
    images_per_second: float
    """Training throughput; validation images are not counted."""
    ended_at: float
    """End of the epoch in seconds since 1970, by the worker's clock."""
    metrics: Mapping[str, float] = field(default_factory=dict)
    """Further metrics, if the trainable declares their names."""

    def __post_init__(self) -> None:
        for name in ("learning_rate", "seconds", "images_per_second", "ended_at"):
            value = getattr(self, name)
            if not math.isfinite(value):
                raise ValueError(f"{name} of epoch {self.epoch} is {value}; it must be finite")

    @property
    def diverged(self) -> bool:
        """Whether a loss, an accuracy or a further metric is not finite; later epochs cannot be trusted then."""
        scores = (self.train_loss, self.train_accuracy, self.val_loss, self.val_accuracy, *self.metrics.values())
        return not all(map(math.isfinite, scores))
