"""One network of a retraining, seed by seed: trained, kept, gone on with, tested once. Its log says what is done."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Protocol

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
from orchestrator.progress import Progress, Refresh
from orchestrator.record import epoch_values, finite, now
from trainables.datasets import DataSplits
from trainables.epoch_result import EpochResult

if TYPE_CHECKING:
    from trainables.retraining import RetrainingPlan, TestScore
    from trainables.retraining_job import Listener, RetrainingJob


class Interrupted(Exception):  # noqa: N818  it is no error
    """The user asked to stop; all that is needed to go on is on record."""


class Place(Protocol):
    """Where a training runs, in how many processes."""

    @property
    def count(self) -> int: ...

    def train(self, job: RetrainingJob, images: DataSplits, listener: Listener) -> None:
        """To its end, or until the listener says to stop.

        Raises:
            OSError: the storage does.
            RuntimeError: it cannot be trained.
        """


class ThisProcess:
    """Trains where the command runs, on its GPU if it has one."""

    count = 1

    def train(self, job: RetrainingJob, images: DataSplits, listener: Listener) -> None:
        from trainables.retraining import select_device
        from trainables.retraining_job import run_job

        run_job(job, images, listener, device=select_device())


@dataclass(frozen=True)
class NetworkTraining:
    """
    Args:
        name: of the network.
        plan: how it is trained.
        images: those of `plan.images`.
        seeds: of its trainings.
        fingerprint: of what decides the retraining; a checkpoint of another one is not gone on from.
        folder, log, state: its record; the state follows the log.
        place: where it is trained.
        progress, show: where it is shown, and what to call for it.
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
        """Train what is not trained yet, then test if that was not done; `tests_before` were done of this network.

        Raises:
            Interrupted: the user asked to stop.
            SearchError: it cannot go on; the record is whole up to there.
            OSError: the storage does.
        """
        for seed in self.seeds:
            if seed not in self.state.ended:
                self._check_stopped()
                try:
                    self._train(seed)
                except RuntimeError as error:  # most likely, the memory is too small
                    why = f"{last_line(error)} (training.batch_size)"
                    raise SearchError(f"{self.name} cannot be trained: {why}") from error
        if self.state.tested is None:
            self._check_stopped()
            self._test(tests_before + 1)

    def _check_stopped(self) -> None:
        if self.is_stopped():
            raise Interrupted

    def _train(self, seed: int) -> None:
        from trainables.retraining_job import RetrainingJob

        recorded = _Recorded(self, seed)
        job = RetrainingJob(
            plan=self.plan, seed=seed, fingerprint=self.fingerprint, checkpoints=self.folder.checkpoints
        )
        self.place.train(job, self.images, recorded)
        if not recorded.has_ended:
            raise Interrupted
        if recorded.kept_epoch is not None and not self._has_weights():
            self.folder.folder.write(WEIGHTS, self.folder.checkpoints.weights(job.key), durable=True)
        self.log.append(TrainingEnded(seed=seed, kept_epoch=recorded.kept_epoch))
        self.folder.checkpoints.drop_states(job.key)

    def _has_weights(self) -> bool:
        """Whether a training has ended well before."""
        return any(ended.kept_epoch is not None for ended in self.state.ended.values())

    def _test(self, number: int) -> None:
        """All seeds' weights on the test images, in one go; nothing if every training diverged."""
        seeds = [seed for seed in self.seeds if self.state.ended[seed].kept_epoch is not None]
        if not seeds:
            return
        again = "" if number == 1 else f", for the {ordinal(number)} time"
        self.progress.note(f"{self.name}: testing{again}")
        found = {seed: self._scored(seed) for seed in seeds}
        first = found[seeds[0]]
        self.log.append(
            NetworkTested(
                time=now(),
                number=number,
                accuracy={seed: one.accuracy for seed, one in found.items()},
                loss={seed: finite(one.loss) for seed, one in found.items()},
                device=first.device,
                latency_seconds=first.latency_seconds,
            )
        )

    def _scored(self, seed: int) -> TestScore:
        from trainables.retraining import score_on_test

        try:
            weights = self.folder.checkpoints.weights(str(seed))
            return score_on_test(self.plan, weights, self.images, workers=self.place.count)
        except (FileNotFoundError, ValueError) as error:
            what = "are not there" if isinstance(error, FileNotFoundError) else "are those of another network"
            raise RunDirectoryError(f"the weights in {self.folder.checkpoints.folder / str(seed)} {what}") from error
        except RuntimeError as error:  # most likely, others need the memory now
            raise SearchError(
                f"{self.name} is trained, but cannot be tested: {last_line(error)}; the same command tests it"
            ) from error


class _Recorded:
    """Writes into the log how the training of a seed goes, and shows it."""

    def __init__(self, training: NetworkTraining, seed: int) -> None:
        self._title = f"{training.name}, seed {seed}"
        self._seed = seed
        self._training = training
        self.has_ended = False
        self.kept_epoch: int | None = None

    def begun(self, curve: Sequence[EpochResult]) -> None:
        """Epochs that the checkpoint has and the log lost are added to the log."""
        training, log = self._training, self._training.log
        if curve:
            training.progress.note(f"{self._title}: going on after epoch {len(curve)}")
        workers, compiled = training.place.count, training.plan.compiled
        log.append(TrainingBegun(seed=self._seed, epoch=len(curve), workers=workers, compiled=compiled))
        known = len(training.state.epochs[self._seed])
        for result in curve[known:]:
            log.append(_row(self._seed, result))
        training.show()

    def trained(self, result: EpochResult) -> bool:
        self._training.log.append(_row(self._seed, result))
        self._training.show()
        return self._training.is_stopped()

    def ended(self, kept_epoch: int | None) -> None:
        self.has_ended, self.kept_epoch = True, kept_epoch
        epochs = len(self._training.state.epochs[self._seed])
        if kept_epoch is None:
            self._training.progress.line(f"{self._title}: the loss of epoch {epochs + 1} is not finite")
        else:
            self._training.progress.line(
                f"{self._title}: trained, {epochs} epochs; the weights of epoch {kept_epoch} are kept"
            )


def ordinal(number: int) -> str:
    """1st, 2nd, 3rd, 4th, ... in words as far as they are short."""
    words = ("first", "second", "third", "fourth", "fifth")
    return words[number - 1] if number <= len(words) else f"{number}th"


def _row(seed: int, result: EpochResult) -> EpochTrained:
    return EpochTrained(seed=seed, **epoch_values(asdict(result)))
