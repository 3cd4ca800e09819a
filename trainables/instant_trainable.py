"""A trainable that trains nothing: it reports made-up, deterministic curves at once.

Use it to measure the overhead of a search, and to try samplers and schedulers. Its scores say nothing about networks.
No torch.
"""

from __future__ import annotations

import math
import time
from typing import Any, final

import numpy as np

from search_spaces import Architecture
from trainables.datasets import DataSplits
from trainables.epoch_result import EpochResult
from trainables.epoch_trainable import EpochTrainable


@final
class InstantTrainable(EpochTrainable):
    """Reports an accuracy that rises from 0.1 towards a limit (0.5..1) computed from the architecture's fingerprint."""

    _epoch = 0
    _limit = 0.0

    def prepare(self, data: DataSplits) -> None:
        pass

    def begin(self, architecture: Architecture) -> dict[str, Any]:
        self._epoch = 0
        self._limit = made_up_limit(architecture)
        return {"device": "none"}

    def train_epoch(self) -> EpochResult:
        self._epoch += 1
        return made_up_result(self._limit, self._epoch)

    def weights(self) -> bytes:
        from safetensors.numpy import save

        return save({"limit": np.array([self._limit])})

    def state(self) -> bytes:
        from safetensors.numpy import save

        return save({"epoch": np.array([self._epoch])})

    def load_state(self, state: bytes) -> None:
        from safetensors.numpy import load

        self._epoch = int(load(state)["epoch"][0])


def made_up_limit(architecture: Architecture) -> float:
    """The limit of the architecture's accuracy, 0.5..1."""
    return 0.5 + 0.5 * int(architecture.fingerprint, 16) / 16**16


def made_up_result(limit: float, epoch: int) -> EpochResult:
    """The result of an epoch (from 1) of a candidate whose accuracy approaches `limit`."""
    accuracy = limit - (limit - 0.1) * math.exp(-epoch / 5)
    loss = -math.log(accuracy)
    return EpochResult(
        epoch=epoch,
        train_loss=loss,
        train_accuracy=accuracy,
        val_loss=loss,
        val_accuracy=accuracy,
        learning_rate=0.0,
        seconds=0.0,
        images_per_second=0.0,
        ended_at=time.time(),
    )
