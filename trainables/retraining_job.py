"""Runs a retraining from its newest checkpoint to its end. No Ray, no record.

One process runs it, or several together. In that case each of them calls `run_job`, and only the first reports to the
listener and writes files.
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
from trainables.peers import SINGLE_PROCESS, Peers
from trainables.retraining import Retraining, RetrainingPlan
from trainables.training import EpochStopped

CHECKPOINT_SECONDS = 5.0
"""A checkpoint is written after the first epoch that ends this many seconds after the last checkpoint."""


class Listener(Protocol):
    """Callbacks of a retraining."""

    def begun(self, curve: Sequence[EpochResult]) -> None:
        """Called at the start with the epochs of the checkpoint; empty if there is no checkpoint."""

    def is_stopped(self) -> bool:
        """Whether the user asked to stop; called before each step of a training in one process."""

    def trained(self, result: EpochResult) -> bool:
        """Called after each epoch; returns whether to stop."""

    def ended(self, kept_epoch: int | None) -> None:
        """Called after the last epoch with the epoch whose weights are kept; None if the training diverged."""


@dataclass(frozen=True, kw_only=True)
class RetrainingJob:
    """One training with its seed and the folder of its checkpoints: a value that can be sent to other processes."""

    plan: RetrainingPlan
    seed: int
    fingerprint: str
    """Of everything that decides the training; checkpoints with another fingerprint are ignored."""
    checkpoints: CheckpointFolder

    @property
    def key(self) -> str:
        """The training's name in `checkpoints`, in place of a trial id."""
        return str(self.seed)


def run_job(
    job: RetrainingJob,
    images: DataSplits,
    listener: Listener,
    *,
    device: torch.device,
    peers: Peers = SINGLE_PROCESS,
) -> None:
    """Train to the end, or until the listener stops it after an epoch; then everything needed to continue is written.

    Args:
        job: the training.
        images: the result of `job.plan.images`.
        listener: is called by the first process only.
        device: where to train.
        peers: the processes that train together.

    Raises:
        OSError: the storage fails, or the processes see different checkpoints.
        RuntimeError: torch fails; most likely the memory is too small.
    """
    training = Retraining(job.plan, images, seed=job.seed, device=device, peers=peers)
    checkpoint = job.checkpoints.newest(job.key, job.fingerprint)
    if checkpoint is not None:
        training.load_state(checkpoint.state, checkpoint.curve)
    epoch = len(training.curve)
    first = int(peers.broadcast([float(epoch)], device)[0])
    if peers.sum(torch.tensor(float(epoch != first), device=device)) > 0:
        raise OSError("the workers see different checkpoints; the run directory must be on storage that all share")
    if peers.is_first:
        listener.begun(training.curve)
    writer = CheckpointWriter(job.checkpoints)
    saved_at = time.monotonic()
    try:
        while not training.is_over:
            # With peers, one process alone must not give up an epoch.
            result = training.train_epoch(listener.is_stopped if peers.count == 1 else lambda: False)
            if result.diverged if training.is_held_out else not math.isfinite(result.train_loss):
                if peers.is_first:
                    listener.ended(None)
                return
            stop = listener.trained(result) if peers.is_first else False
            is_stopped = bool(peers.broadcast([float(stop)], device)[0])
            if peers.is_first and (is_stopped or time.monotonic() - saved_at >= CHECKPOINT_SECONDS):
                writer.write(job.key, Checkpoint(job.fingerprint, tuple(training.curve), training.state()))
                saved_at = time.monotonic()
            if is_stopped and not training.is_over:
                return
    except EpochStopped:  # the last checkpoint is at most `CHECKPOINT_SECONDS` older than the epoch
        return
    finally:
        writer.wait()
    if peers.is_first:
        job.checkpoints.write_weights(job.key, training.weights(), durable=True)
        listener.ended(training.kept_epoch)
