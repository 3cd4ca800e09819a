"""A trainable that trains nothing: made-up, deterministic curves, at no cost.

For measuring what a search costs besides training, and for trying samplers and schedulers. Its scores say nothing about
networks. No torch.
"""

from __future__ import annotations

import json
import math
import time
from pathlib import Path
from typing import Any, final

import numpy as np

from search_spaces import Architecture
from trainables.epoch_result import EpochResult
from trainables.epoch_trainable import EpochTrainable


@final
class InstantTrainable(EpochTrainable):
    """Accuracy rises from 0.1 towards a limit (0.5 to 1) that the architecture's fingerprint decides."""

    _epoch = 0
    _limit = 0.0

    def prepare(self, data: Any) -> None:
        pass

    def begin(self, architecture: Architecture) -> dict[str, Any]:
        self._epoch = 0
        self._limit = 0.5 + 0.5 * int(architecture.fingerprint, 16) / 16**16
        return {"device": "none"}

    def train_epoch(self) -> EpochResult:
        self._epoch += 1
        accuracy = self._limit - (self._limit - 0.1) * math.exp(-self._epoch / 5)
        loss = -math.log(accuracy)
        return EpochResult(
            epoch=self._epoch,
            train_loss=loss,
            train_accuracy=accuracy,
            val_loss=loss,
            val_accuracy=accuracy,
            learning_rate=0.0,
            seconds=0.0,
            images_per_second=0.0,
            ended_at=time.time(),
        )

    def weights(self) -> bytes:
        from safetensors.numpy import save

        return save({"limit": np.array([self._limit])})

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        (Path(checkpoint_dir) / "epoch.json").write_text(json.dumps(self._epoch))

    def load_checkpoint(self, checkpoint: str) -> None:
        self._epoch = json.loads((Path(checkpoint) / "epoch.json").read_text())
