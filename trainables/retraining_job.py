"""A retraining from wherever it stands to its end, with checkpoints, wherever it runs. No Ray, no record.

One process does it, or several together; then each of them calls `carry_out`, and the first tells and writes.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch

from trainables.checkpoints import Checkpoint, CheckpointFolder, CheckpointWriter
from trainables.datasets import DataSplits
from trainables.epoch_result import EpochResult
from trainables.peers import ALONE, Peers
from trainables.retraining import Retraining, RetrainingPlan

KEEP_SECONDS = 5.0
"""A training that was killed goes on from where it stood at most about so long before, or an epoch."""


class Listener(Protocol):
    """Who is told how a retraining goes."""

    def begun(self, curve: Sequence[EpochResult]) -> None:
        """It goes on after these epochs, perhaps none."""

    def trained(self, result: EpochResult) -> bool:
        """An epoch was trained; the answer says whether to stop after it."""

    def ended(self, kept_epoch: int | None) -> None:
        """All epochs were trained, and the weights of this one are kept; None if the loss was not finite."""


@dataclass(frozen=True)
class RetrainingJob:
    """What is trained, by which seed, and where it is kept: a value that can be sent to other processes.

    A checkpoint of another `fingerprint` is not gone on from. `key` names the training in `checkpoints`.
    """

    plan: RetrainingPlan
    seed: int
    fingerprint: str
    checkpoints: CheckpointFolder

    @property
    def key(self) -> str:
        return str(self.seed)


def carry_out(
    job: RetrainingJob, images: DataSplits, listener: Listener, place: torch.device, peers: Peers = ALONE
) -> None:
    """Train to the end or until `listener` says to stop; all that is needed to go on is then written.

    Args:
        images: those of `job.plan.images`.
        listener: is told by the first peer only.
        place: the device.

    Raises:
        OSError: the storage does.
        RuntimeError: torch does; most likely, the memory is too small.
    """
    training = Retraining(job.plan, images, job.seed, place, peers)
    checkpoint = job.checkpoints.newest(job.key, job.fingerprint)
    if checkpoint is not None:
        training.load_state(checkpoint.state, checkpoint.curve)
    epoch = len(training.curve)
    first = int(peers.as_first([float(epoch)], place)[0])
    if peers.total(torch.tensor(float(epoch != first), device=place)) > 0:
        raise OSError(
            "the workers do not see the same checkpoints; the run directory must be on storage that all share"
        )
    if peers.is_first:
        listener.begun(training.curve)
    writer = CheckpointWriter(job.checkpoints)
    kept_at = time.monotonic()
    try:
        while not training.is_over:
            result = training.train_epoch()
            if result.diverged if training.is_held_out else not math.isfinite(result.train_loss):
                if peers.is_first:
                    listener.ended(None)
                return
            asked = listener.trained(result) if peers.is_first else False
            is_stopped = bool(peers.as_first([float(asked)], place)[0])
            if peers.is_first and (is_stopped or time.monotonic() - kept_at >= KEEP_SECONDS):
                writer.write(job.key, Checkpoint(job.fingerprint, tuple(training.curve), training.state()))
                kept_at = time.monotonic()
            if is_stopped and not training.is_over:
                return
    finally:
        writer.wait()
    if peers.is_first:
        job.checkpoints.write_weights(job.key, training.weights(), durable=True)
        listener.ended(training.kept_epoch)
