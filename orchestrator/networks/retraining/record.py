"""The record of one network's retraining: its settings, an append-only log, checkpoints and the result.

    RUN_DIR/retrain/NAME/
      retrain.json          the settings, the images and the versions
      network.json          the network
      events.jsonl          the truth: one event per line
      checkpoints/SEED/     what a training can go on from; at its end its weights
      weights.safetensors   those of the first seed whose training did not diverge
      result.json           derived: costs, scores, times
      examples.png          of a network for masks: what it finds on test images

Knows files. Does not know how a network is trained.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Annotated, Any, Literal, final

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from orchestrator.errors import ConfigError, RunDirectoryError
from orchestrator.record import (
    EVENTS,
    RETRAIN_RESULT,
    RETRAIN_SETTINGS,
    EpochFields,
    EventBase,
    TypedLog,
    first_difference,
)
from trainables.checkpoints import CheckpointFolder
from trainables.storage import Folder, reason

WEIGHTS = "weights.safetensors"


class Asked(BaseModel):
    """The settings of a retraining; one with other values is another retraining."""

    model_config = ConfigDict(frozen=True)

    network: dict[str, Any]
    training: dict[str, Any]
    seeds: list[int]
    early_stopping: int | None
    ema: float
    images: str
    """SHA-256 of the search's training and validation images."""
    weights: str | None = None
    """SHA-256 of the file of initial weights; None: random ones."""
    freeze: bool = False
    procedure: str | None = None
    """The class of a training procedure of the user's own, as `module:NAME`."""


class RetrainInfo(BaseModel):
    """The contents of `retrain.json`. `data` has the mean and the deviation that normalise pixels."""

    model_config = ConfigDict(frozen=True)

    asked: Asked
    started_at: datetime
    command: list[str]
    host: str
    versions: dict[str, str]
    commit: str | None
    data: dict[str, Any]
    threads: int | None = None
    """Threads of the CPU that trained first; a resume uses as many. None: GPUs or other processes trained."""


class TrainingBegun(EventBase):
    """`workers` processes start or continue the training of a seed after `epoch`.

    Later epochs on record are trained again.
    """

    event: Literal["training_begun"] = "training_begun"
    seed: int
    epoch: int
    workers: int
    compiled: bool


class _EpochOfSeed(EventBase):
    """Has the fields that precede those of the epoch in a line of the log."""

    event: Literal["epoch_trained"] = "epoch_trained"
    seed: int


class EpochTrained(EpochFields, _EpochOfSeed):
    """One epoch of a seed's training; its validation scores are None if no images are held out."""

    train_loss: float
    train_accuracy: float


class TrainingEnded(EventBase):
    """The training of a seed has ended with the weights of `kept_epoch`; None if its loss was not finite."""

    event: Literal["training_ended"] = "training_ended"
    seed: int
    kept_epoch: int | None


class NetworkTested(EventBase):
    """The network was tested on the test images, for the `number`-th time in this run.

    `accuracy` and `loss` are by seed; a loss that is not finite is None. `by_class` has the score of each class by
    seed, if the task has one; it is None for a class that does not occur. The latency is that of one image on `device`.
    """

    event: Literal["network_tested"] = "network_tested"
    number: int
    accuracy: dict[int, float]
    loss: dict[int, float | None]
    by_class: dict[int, dict[str, float | None]] = Field(default_factory=dict)
    device: str
    latency_seconds: float


RetrainEvent = TrainingBegun | EpochTrained | TrainingEnded | NetworkTested


@final
class RetrainLog(TypedLog[RetrainEvent]):
    """The event log of one network's retraining."""

    ADAPTER = TypeAdapter(Annotated[RetrainEvent, Field(discriminator="event")])
    SYNCED_AT_ONCE = (TrainingBegun, TrainingEnded, NetworkTested)


@dataclass
class RetrainState:
    """The state of a retraining, folded from its events."""

    epochs: dict[int, list[EpochTrained]] = field(default_factory=dict)
    ended: dict[int, TrainingEnded] = field(default_factory=dict)
    tested: NetworkTested | None = None

    def apply(self, event: RetrainEvent) -> None:
        match event:
            case TrainingBegun():
                kept = [row for row in self.epochs.get(event.seed, []) if row.epoch <= event.epoch]
                self.epochs[event.seed] = kept
            case EpochTrained():
                self.epochs[event.seed].append(event)
            case TrainingEnded():
                self.ended[event.seed] = event
            case NetworkTested():
                self.tested = event

    def is_over(self, seeds: Sequence[int]) -> bool:
        """Whether all seeds are trained, and the network is tested unless every seed has diverged."""
        ended = [self.ended.get(seed) for seed in seeds]
        diverged = all(one is not None and one.kept_epoch is None for one in ended)
        return None not in ended and (self.tested is not None or diverged)


@dataclass(frozen=True)
class RetrainFolder:
    """The files of one network's retraining."""

    folder: Folder

    @property
    def checkpoints(self) -> CheckpointFolder:
        return CheckpointFolder(self.folder / "checkpoints")

    def info(self) -> RetrainInfo | None:
        """Read `retrain.json`; None if the folder has none.

        Raises:
            RunDirectoryError: it cannot be read, or is malformed.
        """
        try:
            return RetrainInfo.model_validate_json(self.folder.read(RETRAIN_SETTINGS))
        except FileNotFoundError:
            return None
        except OSError as error:
            raise RunDirectoryError(f"{self.folder / RETRAIN_SETTINGS} cannot be read: {reason(error)}") from error
        except ValidationError as error:
            raise RunDirectoryError(
                f"{self.folder / RETRAIN_SETTINGS} is malformed: {error.errors()[0]['msg']}"
            ) from error

    def state(self) -> RetrainState:
        """Read the state from the log; it is empty if the folder has no log.

        Raises:
            RunDirectoryError: the log is corrupt or cannot be read.
        """
        state = RetrainState()
        try:
            for event in RetrainLog.read(self.folder, missing_ok=True):
                state.apply(event)
        except KeyError as error:
            raise RunDirectoryError(
                f"{self.folder / EVENTS} is corrupt: an epoch of seed {error} comes before the seed's training_begun"
            ) from error
        return state

    def has_result(self, seeds: Sequence[int]) -> bool:
        """Whether the result, which is written last, is here, and a power failure has not cut off the end of the log.

        Raises:
            RunDirectoryError: the log is corrupt or cannot be read.
        """
        return self.folder.has(RETRAIN_RESULT) and self.state().is_over(seeds)

    def check_same(self, asked: Asked) -> None:
        """Check that the retraining on record, if there is one, has these settings.

        Raises:
            ConfigError: it was begun with other settings.
        """
        before = self.info()
        difference = None if before is None else first_difference(before.asked.model_dump(), asked.model_dump())
        if difference is not None:
            raise ConfigError(f"{self.folder} was begun with other settings: {difference}; choose another --name")

    @contextmanager
    def opened(self, info: RetrainInfo) -> Iterator[tuple[RetrainLog, RetrainState]]:
        """Open the log for this process only, and write the settings if there are none. The state follows the log.

        Raises:
            RunDirectoryError: another process writes the log, or it cannot be read or written.
            ConfigError: the retraining on record was begun with other settings.
            SearchError: the appended events could not be written.
        """
        self._make()
        with RetrainLog.reopen(self.folder) as log:
            state = self.state()
            log.listen(state.apply)
            self._keep(info)
            yield log, state

    def _make(self) -> None:
        path = self.folder.local_path
        try:
            if path is not None:
                path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise RunDirectoryError(f"{self.folder} cannot be created: {reason(error)}") from error

    def _keep(self, info: RetrainInfo) -> None:
        """Write the settings if there are none. Another process may have written others since `check_same`."""
        self.check_same(info.asked)
        try:
            if not self.folder.has(RETRAIN_SETTINGS):
                self.folder.write(RETRAIN_SETTINGS, info.model_dump_json(indent=2).encode() + b"\n", durable=True)
        except OSError as error:
            raise RunDirectoryError(f"{self.folder} cannot be written: {reason(error)}") from error
