"""One network of a retraining, seed by seed: trained, kept, gone on with, tested once. Its log says what is done."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from orchestrator.errors import RunDirectoryError, SearchError, last_line
from orchestrator.events import now
from orchestrator.progress import LINE_SECONDS, Progress, clock
from orchestrator.retraining.record import (
    WEIGHTS,
    EpochTrained,
    NetworkTested,
    RetrainFolder,
    RetrainLog,
    TrainingBegun,
    TrainingEnded,
)
from trainables.checkpoints import Checkpoint, CheckpointWriter
from trainables.datasets import DataSplits
from trainables.early_stopping import best_epoch
from trainables.epoch_result import EpochResult
from trainables.storage import reason

if TYPE_CHECKING:
    from trainables.retraining import Retraining, RetrainingPlan

KEEP_SECONDS = 5.0
"""A training that was killed goes on from where it stood at most about so long before, or an epoch."""


class Interrupted(Exception):  # noqa: N818  it is no error
    """The user asked to stop; all that is needed to go on is on record."""


@dataclass(frozen=True)
class NetworkTraining:
    """
    Args:
        name: of the network.
        plan: how it is trained.
        images: those of `plan.images`.
        seeds: of its trainings.
        fingerprint: of what decides the retraining; a checkpoint of another one is not gone on from.
        folder, log: its record.
        is_stopped: whether the user asked to stop.
    """

    name: str
    plan: RetrainingPlan
    images: DataSplits
    seeds: list[int]
    fingerprint: str
    folder: RetrainFolder
    log: RetrainLog
    progress: Progress
    is_stopped: Callable[[], bool]

    def run(self, tests_before: int) -> None:
        """Train what is not trained yet, then test if that was not done; `tests_before` were done of this network.

        Raises:
            Interrupted: the user asked to stop.
            SearchError: it cannot go on; the record is whole up to there.
        """
        try:
            for seed in self.seeds:
                if seed not in self.log.state.ended:
                    self._train(seed)
            if self.log.state.tested is None:
                self._test(tests_before + 1)
        except OSError as error:
            raise SearchError(f"{self.folder.folder} cannot be written: {reason(error)}") from error
        except RuntimeError as error:  # most likely, the memory is too small
            raise SearchError(f"{self.name} cannot be trained: {last_line(error)} (training.batch_size)") from error

    def _train(self, seed: int) -> None:
        from trainables.retraining import Retraining

        training = Retraining(self.plan, self.images, seed)
        self._go_on(training, seed)
        writer = CheckpointWriter(self.folder.checkpoints)
        kept_at = said_at = time.monotonic()
        try:
            while not training.is_over:
                result = training.train_epoch()
                # Without a held-out part there are no validation scores, which are NaN then.
                if result.diverged if self.plan.patience is not None else not math.isfinite(result.train_loss):
                    self.log.append(TrainingEnded(seed=seed, kept_epoch=None))
                    self.progress.line(f"{self.name}, seed {seed}: the loss of epoch {result.epoch} is not finite")
                    return
                self.log.append(_row(seed, result))
                if self.is_stopped() or time.monotonic() - kept_at >= KEEP_SECONDS:
                    writer.write(str(seed), Checkpoint(self.fingerprint, tuple(training.curve), training.state()))
                    kept_at = time.monotonic()
                if self.is_stopped() and not training.is_over:
                    raise Interrupted
                if time.monotonic() - said_at >= LINE_SECONDS or training.is_over:
                    self.progress.line(self._standing(seed, training))
                    said_at = time.monotonic()
        finally:
            writer.wait()
        self._keep(seed, training)

    def _go_on(self, training: Retraining, seed: int) -> None:
        """From the newest checkpoint, if there is one; epochs that it has and the log lost are added to the log."""
        checkpoint = self.folder.checkpoints.newest(str(seed), self.fingerprint)
        if checkpoint is not None:
            training.load_state(checkpoint.state, checkpoint.curve)
            self.progress.note(f"{self.name}, seed {seed}: going on after epoch {checkpoint.epoch}")
        self.log.append(TrainingBegun(seed=seed, epoch=len(training.curve)))
        known = len(self.log.state.epochs[seed])
        for result in training.curve[known:]:
            self.log.append(_row(seed, result))

    def _keep(self, seed: int, training: Retraining) -> None:
        """The weights of a training that is over, then the fact that it is; then nothing to go on from is needed."""
        weights = training.weights()
        self.folder.checkpoints.write_weights(str(seed), weights)
        if seed == self.seeds[0]:
            self.folder.folder.write(WEIGHTS, weights, durable=True)
        kept = len(training.curve) if self.plan.patience is None else best_epoch(training.curve)
        self.log.append(TrainingEnded(seed=seed, kept_epoch=kept))
        self.folder.checkpoints.drop_states(str(seed))

    def _test(self, number: int) -> None:
        """All seeds' weights on the test images, in one go; nothing if every training diverged."""
        from trainables.retraining import scored_on_test

        seeds = [seed for seed in self.seeds if self.log.state.ended[seed].kept_epoch is not None]
        if not seeds:
            return
        again = "" if number == 1 else f", for the {ordinal(number)} time"
        self.progress.note(f"{self.name}: testing{again}")
        found = {}
        for seed in seeds:
            try:
                found[seed] = scored_on_test(self.plan.spec, self.folder.checkpoints.weights(str(seed)), self.images)
            except (FileNotFoundError, ValueError) as error:
                what = "are not there" if isinstance(error, FileNotFoundError) else "are those of another network"
                raise RunDirectoryError(
                    f"the weights in {self.folder.checkpoints.folder / str(seed)} {what}"
                ) from error
        first = found[seeds[0]]
        self.log.append(
            NetworkTested(
                time=now(),
                number=number,
                accuracy={seed: one.accuracy for seed, one in found.items()},
                loss={seed: one.loss for seed, one in found.items()},
                device=first.device,
                latency_seconds=first.latency_seconds,
            )
        )

    def _standing(self, seed: int, training: Retraining) -> str:
        last = training.curve[-1]
        accuracy = last.train_accuracy if self.plan.patience is None else last.val_accuracy
        of = "training" if self.plan.patience is None else "validation"
        left = last.seconds * (self.plan.training.epochs - last.epoch)
        return (
            f"{self.name}, seed {seed}: epoch {last.epoch} of {self.plan.training.epochs}; accuracy {accuracy:.4f} on "
            f"{of} images; {'ended' if training.is_over else f'at most {clock(left)} left'}"
        )


def ordinal(number: int) -> str:
    """1st, 2nd, 3rd, 4th, ... in words as far as they are short."""
    words = ("first", "second", "third", "fourth", "fifth")
    return words[number - 1] if number <= len(words) else f"{number}th"


def _row(seed: int, result: EpochResult) -> EpochTrained:
    values = {name: value for name, value in asdict(result).items() if name not in ("ended_at", "metrics")}
    held_out = {} if math.isfinite(result.val_loss) else {"val_loss": None, "val_accuracy": None}
    return EpochTrained(seed=seed, **{**values, **held_out})
