"""The result of one epoch of one candidate. No torch."""

from __future__ import annotations

import contextlib
import math
import operator
from collections.abc import Mapping
from dataclasses import dataclass, field

EPOCH_METRICS = ("val_accuracy", "val_loss", "train_accuracy", "train_loss", "seconds", "images_per_second")
"""Metrics that every trainable reports for every epoch."""

SCORES = ("train_loss", "train_accuracy", "val_loss", "val_accuracy")
"""Numbers that may be NaN or infinite; the trial then ends as diverged."""

AMOUNTS = ("learning_rate", "seconds", "images_per_second", "ended_at")
"""Numbers that must be finite and at least 0."""


@dataclass(frozen=True, kw_only=True)
class EpochResult:
    """Scores and timing of one epoch. Losses are means per image.

    Accuracies are within the trainable's `score_bounds`, by default 0..1. Numbers of NumPy and of PyTorch become
    Python's, so that the driver can read them without either.

    Raises:
        ValueError: a value is not a number; `epoch` is not a whole number of at least 1; or `learning_rate`, `seconds`,
            `images_per_second` or `ended_at` is not finite or is below 0.
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
        epoch = _whole(self.epoch)
        object.__setattr__(self, "epoch", epoch)
        for name in (*SCORES, *AMOUNTS):
            object.__setattr__(self, name, _number(f"{name} of epoch {epoch}", getattr(self, name)))
        for name in AMOUNTS:
            value = getattr(self, name)
            if not (math.isfinite(value) and value >= 0):
                raise ValueError(f"{name} of epoch {epoch} is {value}; it must be finite and at least 0")
        if not isinstance(self.metrics, Mapping):
            raise ValueError(f"metrics of epoch {epoch} is {_shown(self.metrics)}; names with numbers are needed")
        metrics = {name: _number(f"{name} of epoch {epoch}", value) for name, value in self.metrics.items()}
        object.__setattr__(self, "metrics", metrics)

    @property
    def diverged(self) -> bool:
        """Whether a loss, an accuracy or a further metric is not finite; later epochs cannot be trusted then."""
        scores = (*(getattr(self, name) for name in SCORES), *self.metrics.values())
        return not all(map(math.isfinite, scores))


def _whole(value: object) -> int:
    try:
        number = 0 if isinstance(value, bool) else operator.index(value)  # type: ignore[arg-type]  # raises TypeError
    except (TypeError, ValueError, RuntimeError):  # PyTorch raises the last two for tensors
        number = 0
    if number < 1:
        raise ValueError(f"epoch is {_shown(value)}; a whole number of at least 1 is needed")
    return number


def _number(name: str, value: object) -> float:
    """The value as a float. Text is not a number, even if Python could read one from it."""
    if hasattr(value, "__float__") and not isinstance(value, bool) and getattr(value, "ndim", 0) == 0:
        with contextlib.suppress(TypeError, ValueError, OverflowError):  # too large, or not a real number
            return float(value)
    raise ValueError(f"{name} is {_shown(value)}; a number is needed")


def _shown(value: object) -> str:
    """The value on one short line."""
    text = " ".join(repr(value).split())
    return text if len(text) <= 60 else f"{text[:57]}..."
