"""A trainable stepped by hand: its plan and configurations, a trainable of paced epochs, and its reports."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any

import numpy as np

from search_spaces import NASNET, Architecture
from trainables import EpochTrainable, TrialPlan
from trainables.assignment import Assignment
from trainables.datasets import DataSplits
from trainables.epoch_result import EpochResult
from trainables.settings import NetworkSettings, TrainingSettings
from trainables.skeleton import NASNET_CIFAR

PLAN = TrialPlan(
    space=replace(NASNET, blocks=2),
    skeleton=NASNET_CIFAR,
    network=NetworkSettings(repeats=1, filters=4),
    training=TrainingSettings(epochs=9, batch_size=32),
    image_shape=(8, 8, 1),
    classes=10,
    milestones=(1, 3),
    seed=0,
    threads=1,
)


def candidate(seed: int) -> dict[str, Any]:
    return dict(PLAN.space.encode(PLAN.space.sample(np.random.default_rng(seed))))


def config(seed: int, **assignment: Any) -> dict[str, Any]:
    """The configuration that Ray Tune hands to a worker."""
    return Assignment(**{"trial_id": f"{seed:05d}", **assignment}).to_config(candidate(seed))


class Paced(EpochTrainable):
    """Trains epochs of a given duration, to test how they are grouped."""

    seconds = 0.0
    diverges_at = 99

    def prepare(self, data: DataSplits) -> None:
        pass

    def begin(self, architecture: Architecture) -> dict[str, Any]:
        self.epoch = 0
        return {"device": "cpu"}

    def train_epoch(self) -> EpochResult:
        time.sleep(self.seconds)
        self.epoch += 1
        return EpochResult(
            epoch=self.epoch,
            train_loss=float("nan") if self.epoch == self.diverges_at else 1.0,
            train_accuracy=0.5,
            val_loss=1.0,
            val_accuracy=0.5,
            learning_rate=0.1,
            seconds=self.seconds,
            images_per_second=1.0,
            ended_at=time.time(),
        )

    def weights(self) -> bytes:
        return b"weights"


def reports(trainable: EpochTrainable) -> list[dict[str, Any]]:
    found = [trainable.step()]
    while not found[-1]["done"]:
        found.append(trainable.step())
    return found


def epochs(report: dict[str, Any]) -> list[int]:
    return [row["epoch"] for row in report["curve"]]
