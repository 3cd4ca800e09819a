"""What one epoch of one candidate reports. No torch."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

EPOCH_METRICS = ("val_accuracy", "val_loss", "train_accuracy", "train_loss", "seconds", "images_per_second")
"""What every epoch of every trainable is measured by."""


@dataclass(frozen=True, kw_only=True)
class EpochResult:
    """Losses are means an image; accuracies are 0..1; `seconds` covers training and validation.

    `learning_rate` is the one of the epoch's last step, `images_per_second` counts training images only, `ended_at` is
    in seconds since 1970 by the worker's clock. `metrics` are further ones, of a trainable that declares their names.

    Raises:
        ValueError: a number that says nothing of the candidate is not finite.
    """

    epoch: int
    train_loss: float
    train_accuracy: float
    val_loss: float
    val_accuracy: float
    learning_rate: float
    seconds: float
    images_per_second: float
    ended_at: float
    metrics: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in ("learning_rate", "seconds", "images_per_second", "ended_at"):
            value = getattr(self, name)
            if not math.isfinite(value):
                raise ValueError(f"{name} of epoch {self.epoch} is {value}; it must be finite")

    @property
    def diverged(self) -> bool:
        """A loss, an accuracy or a further metric is not finite: nothing that follows can be trusted."""
        scores = (self.train_loss, self.train_accuracy, self.val_loss, self.val_accuracy, *self.metrics.values())
        return not all(map(math.isfinite, scores))
