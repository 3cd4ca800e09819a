"""Which numbers the result of an epoch may hold."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
import torch

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
        with pytest.raises(ValueError, match=rf"{name} of epoch 1 is (nan|inf); it must be finite and at least 0"):
            scored(**{name: value})


@pytest.mark.parametrize("name", ["learning_rate", "seconds", "images_per_second", "ended_at"])
def test_amounts_are_not_negative(name: str) -> None:
    with pytest.raises(ValueError, match=f"{name} of epoch 1 is -0.5; it must be finite and at least 0"):
        scored(**{name: -0.5})


@pytest.mark.parametrize("epoch", [0, -1, 1.0, True, "1", None, math.nan, torch.tensor([1, 2])])
def test_an_epoch_is_a_whole_number_from_1(epoch: Any) -> None:
    with pytest.raises(ValueError, match="^epoch is .*; a whole number of at least 1 is needed$"):
        scored(epoch=epoch)


@pytest.mark.parametrize("value", ["0.5", None, [0.5], np.array([0.5, 0.6]), torch.ones(2), True, 10**400])
def test_a_score_is_one_number(value: Any) -> None:
    with pytest.raises(ValueError, match="^val_accuracy of epoch 1 is .*; a number is needed$") as caught:
        scored(val_accuracy=value)
    assert len(str(caught.value)) < 120
    with pytest.raises(ValueError, match="^margin of epoch 1 is .*; a number is needed$"):
        scored(metrics={"margin": value})
    with pytest.raises(ValueError, match="^metrics of epoch 1 is .*; names with numbers are needed$"):
        scored(metrics=value)


@pytest.mark.parametrize("number", [np.float32, np.float64, np.array, torch.tensor, Fraction])
def test_numbers_of_other_libraries_become_pythons(number: Any) -> None:
    """The driver could not read a tensor without torch."""
    result = scored(epoch=np.int64(2), val_accuracy=number(0.5), metrics={"margin": number(0.25)})
    assert type(result.epoch) is int
    assert (type(result.val_accuracy), result.val_accuracy) == (float, 0.5)
    assert (type(result.metrics["margin"]), result.metrics) == (float, {"margin": 0.25})


def scored(**scores: Any) -> EpochResult:
    good = {"train_loss": 0.5, "train_accuracy": 0.5, "val_loss": 0.5, "val_accuracy": 0.5}
    others = {"epoch": 1, "learning_rate": 0.1, "seconds": 1.0, "images_per_second": 1.0, "ended_at": 0.0}
    return EpochResult(**{**good, **others, **scores})
