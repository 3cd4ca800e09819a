"""Trains one network of a retraining, seed by seed, and tests it once. Goes on from what its log records as done."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np

from orchestrator.errors import RunDirectoryError, SearchError, last_line
from orchestrator.networks.retraining.record import (
    WEIGHTS,
    EpochTrained,
    NetworkTested,
    RetrainFolder,
    RetrainLog,
    RetrainState,
    TrainingBegun,
    TrainingEnded,
)
from orchestrator.progress import Progress, Refresh, format_estimate
from orchestrator.record import EXAMPLES, epoch_values, finite, now
from orchestrator.words import counted
from trainables.datasets import DataSplits
from trainables.epoch_result import EpochResult
from trainables.network_spec import NetworkSpec
from trainables.tasks.table import find_task

if TYPE_CHECKING:
    from trainables.retraining import RetrainingPlan, TestScore
    from trainables.retraining_job import Listener, RetrainingJob
    from trainables.threads import Pace


class Interrupted(Exception):  # noqa: N818  it is not an error
    """The user asked to stop. The record has all that is needed to go on."""


class Place(Protocol):
    """Where trainings run, and in how many processes."""

    @property
    def count(self) -> int: ...

    def use_threads(self, plan: RetrainingPlan, images: DataSplits, threads: int | None) -> Pace | None:
        """Choose the threads of the CPU unless their number is given; return how fast they train, if they do."""

    def train(self, job: RetrainingJob, images: DataSplits, listener: Listener) -> None:
        """Train to the end, or until the listener's `trained` returns True.

        Raises:
            OSError: the storage fails.
            RuntimeError: the network cannot be trained.
        """


class ThisProcess:
    """Trains in this process, on the machine's GPU if it has one."""

    count = 1

    def use_threads(self, plan: RetrainingPlan, images: DataSplits, threads: int | None) -> Pace | None:
        from trainables.threads import use_threads

        return use_threads(plan, images, threads)

    def train(self, job: RetrainingJob, images: DataSplits, listener: Listener) -> None:
        from trainables.retraining import select_device
        from trainables.retraining_job import run_job

        run_job(job, images, listener, device=select_device())


@dataclass(frozen=True, kw_only=True)
class NetworkTraining:
    """The trainings and the test of one network.

    Args:
        name: the network's name.
        plan: how the network is trained.
        images: the result of `plan.images`.
        seeds: a training for each.
        fingerprint: identifies the settings of the retraining; checkpoints with another one are not used.
        folder, log, state: the record; the state follows the log.
        place: where the trainings run.
        progress, show: where progress is shown; `show` is called when something has changed.
        is_stopped: whether the user asked to stop.
    """

    name: str
    plan: RetrainingPlan
    images: DataSplits
    seeds: list[int]
    fingerprint: str
    folder: RetrainFolder
    log: RetrainLog
    state: RetrainState
    place: Place
    progress: Progress
    show: Refresh
    is_stopped: Callable[[], bool]

    def run(self, tests_before: int) -> None:
        """Train the seeds that are not trained yet, then test the network unless it has been tested.

        Args:
            tests_before: the number of earlier tests of this network in this run.

        Raises:
            Interrupted: the user asked to stop.
            SearchError: the trainings cannot go on; the record is whole up to there.
            OSError: the storage fails.
        """
        for seed in self.seeds:
            if seed not in self.state.ended:
                self._check_stopped()
                try:
                    self._train(seed)
                except RuntimeError as error:  # most likely the memory is too small
                    why = f"{last_line(error)} (training.batch_size)"
                    raise SearchError(f"{self.name} cannot be trained: {why}") from error
        if self.state.tested is None:
            self._check_stopped()
            self._test(tests_before + 1)

    def in_words(self, pace: Pace | None) -> str:
        """Say what is left to train, and about how long it takes, if that is known."""
        left = {seed: self._epochs_left(seed) for seed in self.seeds if seed not in self.state.ended}
        spec = self.plan.spec
        size = f" (N = {spec.repeats}, F = {spec.filters})" if isinstance(spec, NetworkSpec) else ""
        what = f"{self.name}{size}: {counted(len(left), 'training')}, {counted(sum(left.values()), 'epoch')}"
        if pace is None or math.isinf(pace.step_seconds):
            return what
        steps = max(1, len(self.images.train) // self.plan.training.batch_size)
        seconds = pace.step_seconds * steps * sum(left.values())
        return f"{what}, about {format_estimate(seconds)} with {counted(pace.threads, 'thread')}"

    def _epochs_left(self, seed: int) -> int:
        return self.plan.training.epochs - len(self.state.epochs.get(seed, []))

    def _check_stopped(self) -> None:
        if self.is_stopped():
            raise Interrupted

    def _train(self, seed: int) -> None:
        from trainables.retraining_job import RetrainingJob

        recorder = _TrainingRecorder(self, seed)
        job = RetrainingJob(
            plan=self.plan, seed=seed, fingerprint=self.fingerprint, checkpoints=self.folder.checkpoints
        )
        self.place.train(job, self.images, recorder)
        if not recorder.has_ended:
            raise Interrupted
        if recorder.kept_epoch is not None and not self._has_weights():
            self.folder.folder.write(WEIGHTS, self.folder.checkpoints.weights(job.key), durable=True)
        self.log.append(TrainingEnded(seed=seed, kept_epoch=recorder.kept_epoch))
        self.folder.checkpoints.drop_states(job.key)

    def _has_weights(self) -> bool:
        """Whether an earlier training has kept weights."""
        return any(ended.kept_epoch is not None for ended in self.state.ended.values())

    def _test(self, number: int) -> None:
        """Test the weights of all seeds together; do nothing if every training diverged."""
        seeds = [seed for seed in self.seeds if self.state.ended[seed].kept_epoch is not None]
        if not seeds:
            return
        again = "" if number == 1 else f", for the {ordinal(number)} time"
        self.progress.note(f"{self.name}: testing{again}")
        found = {seed: self._test_score(seed) for seed in seeds}
        first = found[seeds[0]]
        if find_task(self.images.task).outputs == "masks":
            self._draw(seeds[0])
        self.log.append(
            NetworkTested(
                time=now(),
                number=number,
                accuracy={seed: one.accuracy for seed, one in found.items()},
                loss={seed: finite(one.loss) for seed, one in found.items()},
                by_class={seed: one.by_class for seed, one in found.items() if one.by_class is not None},
                device=first.device,
                latency_seconds=first.latency_seconds,
            )
        )

    def _draw(self, seed: int) -> None:
        """Write a drawing of what the network sees on test images."""
        from orchestrator.networks.retraining.examples_picture import SHOWN, drawing_of
        from trainables.retraining import outputs_on_test

        logits = outputs_on_test(self.plan, self.folder.checkpoints.weights(str(seed)), self.images, SHOWN)
        self.folder.folder.write(EXAMPLES, drawing_of(self.images, logits.argmax(axis=1).astype(np.uint8)))

    def _test_score(self, seed: int) -> TestScore:
        from trainables.retraining import score_on_test

        try:
            weights = self.folder.checkpoints.weights(str(seed))
            return score_on_test(self.plan, weights, self.images, workers=self.place.count)
        except (FileNotFoundError, ValueError) as error:
            what = "are not there" if isinstance(error, FileNotFoundError) else "are those of another network"
            raise RunDirectoryError(f"the weights in {self.folder.checkpoints.folder / str(seed)} {what}") from error
        except RuntimeError as error:  # most likely other processes use the memory now
            raise SearchError(
                f"{self.name} is trained, but cannot be tested: {last_line(error)}; the same command tests it"
            ) from error


class _TrainingRecorder:
    """Records and shows the training of one seed. A listener of the training."""

    def __init__(self, training: NetworkTraining, seed: int) -> None:
        self._title = f"{training.name}, seed {seed}"
        self._seed = seed
        self._training = training
        self.has_ended = False
        self.kept_epoch: int | None = None

    def begun(self, curve: Sequence[EpochResult]) -> None:
        """Add to the log the epochs that the checkpoint has and the log has lost."""
        training, log = self._training, self._training.log
        if curve:
            training.progress.note(f"{self._title}: going on after epoch {len(curve)}")
        workers, compiled = training.place.count, training.plan.compiled
        log.append(TrainingBegun(seed=self._seed, epoch=len(curve), workers=workers, compiled=compiled))
        known = len(training.state.epochs[self._seed])
        for result in curve[known:]:
            log.append(_epoch_event(self._seed, result))
        training.show()

    def is_stopped(self) -> bool:
        return self._training.is_stopped()

    def trained(self, result: EpochResult) -> bool:
        self._training.log.append(_epoch_event(self._seed, result))
        self._training.show()
        return self._training.is_stopped()

    def ended(self, kept_epoch: int | None) -> None:
        self.has_ended, self.kept_epoch = True, kept_epoch
        epochs = len(self._training.state.epochs[self._seed])
        if kept_epoch is None:
            self._training.progress.line(f"{self._title}: the loss of epoch {epochs + 1} is not finite")
        else:
            self._training.progress.line(
                f"{self._title}: trained, {counted(epochs, 'epoch')}; the weights of epoch {kept_epoch} are kept"
            )


def ordinal(number: int) -> str:
    """Write an ordinal number: in words up to the fifth, then 6th, 7th, ..."""
    words = ("first", "second", "third", "fourth", "fifth")
    return words[number - 1] if number <= len(words) else f"{number}th"


def _epoch_event(seed: int, result: EpochResult) -> EpochTrained:
    return EpochTrained(seed=seed, **epoch_values(asdict(result)))
