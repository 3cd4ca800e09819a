"""What one epoch of one candidate reports. No torch."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class EpochResult:
    """Losses are means an image; accuracies are 0..1; `seconds` covers training and validation.

    `learning_rate` is the one of the epoch's last step, `images_per_second` counts training images only, `ended_at` is
    in seconds since 1970 by the worker's clock.
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

    @property
    def diverged(self) -> bool:
        """A loss is not finite: nothing that follows can be trusted."""
        return not (math.isfinite(self.train_loss) and math.isfinite(self.val_loss))
