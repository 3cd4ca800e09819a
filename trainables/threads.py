"""Chooses the number of threads with which this process trains fastest on a CPU."""

from __future__ import annotations

import math
import statistics
from dataclasses import dataclass, replace

import numpy as np
import torch

from trainables.datasets import DataSplits
from trainables.loader import DeviceData
from trainables.retraining import RetrainingPlan, select_device
from trainables.training import Training

MEASURED_STEPS = 3


@dataclass(frozen=True)
class Pace:
    """How fast this process trains on the CPU."""

    threads: int
    step_seconds: float
    """Duration of a step; infinite if the steps that were timed failed."""


def use_threads(plan: RetrainingPlan, images: DataSplits, threads: int | None) -> Pace | None:
    """Let this process train on the CPU with this number of threads, or with the number that trains fastest.

    Small networks gain nothing from threads, and where other processes need the cores they lose.

    Args:
        plan: what is to be trained.
        images: the result of `plan.images`.
        threads: the number; None: time a few steps with one thread and with PyTorch's own number of threads.

    Returns:
        The number and the duration of a step with it; None if a GPU trains.
    """
    if select_device().type == "cuda":
        return None
    tried = {1, torch.get_num_threads()} if threads is None else {threads}
    paces = [Pace(number, _seconds(plan, images, number)) for number in sorted(tried)]
    fastest = min(paces, key=lambda pace: pace.step_seconds)
    torch.set_num_threads(fastest.threads)
    return fastest


def _seconds(plan: RetrainingPlan, images: DataSplits, threads: int) -> float:
    """Median duration of a step with one batch; infinite if it fails. Nothing that it trains is kept."""
    torch.set_num_threads(threads)
    batch = np.arange(min(plan.training.batch_size, len(images.train)))
    few = replace(images, train=images.train.take(batch), validation=images.validation.take(batch[:0]))
    try:
        data = DeviceData(few, torch.device("cpu"))
        epochs = 1 + MEASURED_STEPS  # of one step each
        recipe = plan.training.model_copy(update={"epochs": epochs})
        training = Training(plan.spec, recipe, data, seed=0, procedure=plan.procedure, start=plan.start)
        return statistics.median([training.train_epoch().seconds for _ in range(epochs)][1:])
    except RuntimeError:  # most likely the memory is too small; the training itself will say so
        return math.inf
