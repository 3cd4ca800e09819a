"""The learning rate as a function of the training's progress. No torch."""

from __future__ import annotations

import math

from trainables.settings import TrainingSettings


def learning_rate(settings: TrainingSettings, progress: float) -> float:
    """The learning rate at `progress` (0..1) of the training."""
    if settings.schedule == "constant":
        return settings.learning_rate
    cosine = 0.5 * (1 + math.cos(math.pi * _cycle_progress(settings, progress)))
    return settings.learning_rate_end + (settings.learning_rate - settings.learning_rate_end) * cosine


def _cycle_progress(settings: TrainingSettings, progress: float) -> float:
    """Progress within the current cosine (0..1)."""
    if not settings.restart_epochs:
        return progress
    # Rounded, so that the first step of a cycle does not count as the end of the previous one.
    epochs, length = round(progress * settings.epochs, 9), settings.restart_epochs
    while epochs >= length:
        epochs -= length
        length *= 2
    return epochs / length
