"""Which numbers the result of an epoch may hold."""

from __future__ import annotations

import math
from typing import Any

import pytest

from trainables.epoch_result import EpochResult


@pytest.mark.parametrize("name", ["train_loss", "train_accuracy", "val_loss", "val_accuracy"])
def test_every_score_must_be_finite(name: str) -> None:
    assert not scored().diverged
    assert scored(**{name: math.nan}).diverged
    assert scored(metrics={"margin": math.inf}).diverged


@pytest.mark.parametrize("name", ["learning_rate", "seconds", "images_per_second", "ended_at"])
def test_other_numbers_that_are_not_finite_are_refused(name: str) -> None:
    """JSON has no such numbers, so the record could not be read."""
    for value in (math.nan, math.inf):
        with pytest.raises(ValueError, match=rf"{name} of epoch 1 is (nan|inf); it must be finite"):
            scored(**{name: value})


def scored(**scores: Any) -> EpochResult:
    good = {"train_loss": 0.5, "train_accuracy": 0.5, "val_loss": 0.5, "val_accuracy": 0.5}
    others = {"epoch": 1, "learning_rate": 0.1, "seconds": 1.0, "images_per_second": 1.0, "ended_at": 0.0}
    return EpochResult(**{**good, **others, **scores})
