"""The typed configuration of a search: all sections with their defaults, checked without a cluster.

Knows names and bounds; does not know how anything runs, and not the file (`loading`).
"""

from __future__ import annotations

import contextlib
import itertools
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, Literal, Self
from urllib.parse import urlsplit

from pydantic import Field, field_validator, model_validator

from orchestrator.config.plugins import check_name
from orchestrator.config.task_names import check_data
from orchestrator.config.unused_settings import without_unused
from orchestrator.objectives import Direction
from orchestrator.samplers import SAMPLERS
from orchestrator.schedulers import SCHEDULERS
from search_spaces import SPACES
from trainables import TRAINABLES
from trainables.settings import (
    DataSettings,
    FaultSettings,
    NetworkSettings,
    Positive,
    Settings,
    TrainingSettings,
)
from trainables.skeleton import SKELETONS
from trainables.storage import check_location, holds_secret, split_options

OWN_LOOP = "own loop"
"""The sampler's name in the record of a `CandidatePool`, whose candidates come from a loop of the user's own."""

PLACES = ("root", "download", "max_pixels", "vectors")
"""Settings of `[data]` that say where the images are or whether they are read, not which images they are."""
MOVABLE = tuple(f"data.{name}" for name in PLACES)
"""The same as keys of a search file. They may change after the search: the checksum says whether the images are the
same."""
CHANGEABLE = (
    *("sampler", "budget", "resources", "faults", "logging", *MOVABLE),
    *("confirmation.candidates", "confirmation.trainings", "confirmation.share"),
)
"""Sections and keys that may change at a resume: they do not change what a score means."""


def _without_secret(location: str) -> str:
    check_location(location)
    return location


def _exists(path: Path) -> bool:
    with contextlib.suppress(OSError, RuntimeError):  # the run directory's own checks say what is wrong with the path
        return path.expanduser().exists()
    return False


class RunSettings(Settings):
    """`[run]`: the name of the run and where it is recorded."""

    name: str = Field(default="search", pattern=r"^[A-Za-z0-9_][A-Za-z0-9._-]*$", max_length=100)
    """Part of the run directory's name: letters, digits, `.`, `_` and `-`."""
    seed: int = Field(default=0, ge=0, lt=2**31)
    """Seed of the split of the data, the sampler's draws and every candidate's training."""
    storage: str = "runs"
    """Where run directories are created: a folder, or a URI such as `s3://bucket/runs` or `gs://bucket/runs`, without
    secrets. Options of the filesystem follow a `?`, for example `endpoint_override` and `scheme`."""
    keep_best: int = Field(default=5, ge=1)
    """The number of best trials whose weights are kept, besides those of the Pareto front. If `confirmation.candidates`
    (unset: 5) is larger, that number is used."""

    @field_validator("storage")
    @classmethod
    def _no_secret(cls, value: str) -> str:
        return _without_secret(value)

    def new_directory(self, start: datetime) -> str:
        """Path or URI, in `storage`, of the run directory of a run that starts at this time.

        A path that exists gets a number, because several runs may start in one second.
        """
        name = f"{self.name}-{start:%Y%m%d-%H%M%S}"
        if "://" not in self.storage:
            first = Path(self.storage) / name
            numbered = (first.with_name(f"{name}-{number}") for number in itertools.count(2))
            return str(next(path for path in itertools.chain([first], numbered) if not _exists(path)))
        location, options = split_options(self.storage)
        return f"{location.rstrip('/')}/{name}{options}"


class SpaceSettings(Settings):
    """`[space]`: the search space."""

    name: str = "nasnet"
    """A built-in space (`cellscout list spaces`), or `module:NAME` of a `CellSpace`."""
    blocks: int | None = Field(default=None, ge=1, le=8)
    """B, the number of blocks per cell. Unset: the space's default."""


class SamplerSettings(Settings):
    """`[sampler]`: how candidates are proposed."""

    name: str = "predictor"
    """A built-in sampler (`cellscout list samplers`), `optuna:NAME` of a class in `optuna.samplers`, or `module:NAME`
    of an `optuna.samplers.BaseSampler`."""
    options: dict[str, Any] = Field(default_factory=dict)
    """Keyword arguments of the sampler's class."""
    start_with: list[str] = Field(default=[])
    """Architectures of the space that are tried first, in the order of this list. Each is a published cell (`cellscout
    list cells`), a JSON file, a run directory (for its best network) or `RUN_DIR#TRIAL`. The sampler learns from them
    as from its own proposals."""

    @field_validator("start_with")
    @classmethod
    def _no_secrets(cls, values: list[str]) -> list[str]:
        return [_without_secret(value) for value in values]


class SchedulerSettings(Settings):
    """`[scheduler]`: how weak candidates are stopped early."""

    name: str = "asha"
    """A built-in scheduler (`cellscout list schedulers`), or `module:NAME` of a Ray Tune `TrialScheduler`."""
    min_epochs: int = Field(default=1, ge=1)
    """ASHA, PASHA and Hyperband: the first rung. `median`: no trial is stopped before this epoch. `cut`: the epoch of
    the cut. `fifo` ignores it. At most `training.epochs`."""
    reduction_factor: int = Field(default=3, ge=2, le=100)
    """ASHA, PASHA and Hyperband: with a factor of 3, the best third of the candidates at a rung continue, and the next
    rung has three times as many epochs. `cut`: the best 1 in `reduction_factor` are trained in full."""
    options: dict[str, Any] = Field(default_factory=dict)
    """Further keyword arguments of the scheduler's class, such as `brackets` of ASHA."""


class ObjectivesSettings(Settings):
    """`[objectives]`: the metrics to optimise. With more than one, the search looks for a Pareto front."""

    maximize: list[str] = Field(default=["val_accuracy"])
    """Metrics: of an epoch (`val_accuracy`, `val_loss`, ...), of the candidate (`parameters`, `macs`,
    `activation_bytes`; `latency_seconds` with `trainable.measure_latency`), or of your own trainable. The first
    objective decides which candidate is the best."""
    minimize: list[str] = Field(default=[])
    """Metrics, as for `maximize`."""
    constraints: dict[str, Annotated[float, Field(allow_inf_nan=False)]] = Field(default={})
    """Upper bounds of `parameters`, `macs` or `activation_bytes`; candidates above a bound are never trained."""

    @model_validator(mode="after")
    def _each_once(self) -> Self:
        names = [*self.maximize, *self.minimize]
        if not names:
            raise ValueError("maximize and minimize are both empty; at least one objective is needed")
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"{twice[0]!r} is named twice; a metric can be only one objective")
        return self

    @property
    def directions(self) -> dict[str, Direction]:
        """The direction of each objective; those to maximise come first."""
        return {
            **dict.fromkeys(self.maximize, "maximize"),
            **dict.fromkeys(self.minimize, "minimize"),
        }


class WarmStartSettings(Settings):
    """`[warm_start]`: earlier runs whose results the search uses."""

    runs: list[str] = Field(default=[])
    """Run directories, as paths or URIs. The sampler learns from their results, and duplicates of their candidates are
    not trained again. They must have the same [space], [network], [data] (except the data's location), [training]
    and [trainable]. NSGA-II and NSGA-III ignore them."""

    @field_validator("runs")
    @classmethod
    def _no_secrets(cls, values: list[str]) -> list[str]:
        return [_without_secret(value) for value in values]


class TrainableSettings(Settings):
    """`[trainable]`: the class that builds and trains a candidate."""

    name: str = "cell"
    """A built-in trainable, or `module:NAME` of an `EpochTrainable`."""
    measure_latency: bool = False
    """Measure the latency of each candidate for one image, on the worker's device."""


class ResourceSettings(Settings):
    """`[resources]`: the CPUs and GPUs of one trial."""

    cpus_per_trial: int = Field(default=1, ge=1)
    """CPU cores of a trial; it trains with as many threads."""
    gpus_per_trial: Annotated[float, Field(ge=0, le=1024, allow_inf_nan=False)] | Literal["auto"] = "auto"
    """GPUs of a trial, or a fraction of one (0.25: four trials share a GPU); above 1, a whole number. `auto`: 1 if
    a node has a GPU or the autoscaler can add such a node; 0 if neither is so. On a cluster of fixed size, up to four
    trials share a GPU if NVIDIA's MPS runs on all nodes with GPUs, and if memory and CPUs allow it. Refused if no node
    has a GPU and it is not known which nodes the autoscaler can add."""

    @model_validator(mode="after")
    def _whole_gpus(self) -> Self:
        if isinstance(self.gpus_per_trial, float) and self.gpus_per_trial > 1 and self.gpus_per_trial % 1:
            raise ValueError(f"gpus_per_trial is {self.gpus_per_trial}; above 1 it must be a whole number")
        return self


class BudgetSettings(Settings):
    """`[budget]`: the limits of the search. It trains no further candidates once the first of them is reached. The
    confirmation follows."""

    trials: int | None = Field(default=100, ge=1)
    """Number of candidates to train. Pruned candidates count; duplicates and infeasible ones do not. None (only in
    Python): no limit."""
    hours: Positive | None = None
    """Wall-clock hours. With a confirmation, 1 / (1 + `confirmation.share`) of them are for the search itself, as soon
    as one trial has completed its training."""

    @model_validator(mode="after")
    def _bounded(self) -> Self:
        if self.trials is None and self.hours is None:
            raise ValueError("trials and hours are both unset; one of them must end the search")
        return self


class ConfirmationSettings(Settings):
    """`[confirmation]`: train the best candidates again at the end of the search, so that its winner is not the
    luckiest of many."""

    candidates: int | None = Field(default=None, ge=0, le=100)
    """The maximum number of candidates to train again; 0 for none. Unset: 5, or with several objectives all of the
    Pareto front."""
    trainings: int = Field(default=5, ge=2, le=100)
    """Maximum number of new trainings of a candidate. In each round every candidate that is still in the race is
    trained once, all with the same new seed."""
    share: Positive = 0.6
    """The maximum training time of all new trainings of all candidates together, as a fraction of the search's own
    training time. Only the first two rounds may exceed it, if they take longer than expected. `budget.hours` includes
    it."""
    fresh_splits: bool = True
    """Split the training and validation images anew for each new training, because the search has chosen by the scores
    on its own validation images. `false` keeps the split of the search."""


class LoggingSettings(Settings):
    """`[logging]`: other tools that receive the results during the search; all are off by default."""

    tensorboard: bool = False
    """Write TensorBoard event files into `tensorboard/` of the run directory, which must be local."""
    mlflow: str | None = None
    """MLflow's tracking URI, without secrets: `sqlite:///mlflow.db`, or `http://HOST:5000` of a server. The experiment
    has the name of the run."""
    wandb: Literal["online", "offline"] | None = None
    """Weights & Biases, for a local run directory. `offline` only writes files into its `wandb/`, and `wandb sync`
    uploads them. The project has the name of the run."""

    @field_validator("mlflow")
    @classmethod
    def _no_secret(cls, value: str | None) -> str | None:
        # Before a server's host, a user is a token; before a database's, it is a name.
        if value is not None and (holds_secret(value) or (value.startswith("http") and urlsplit(value).username)):
            raise ValueError(
                "mlflow holds a password or token, which would be recorded; leave it out and set "
                "MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or MLFLOW_TRACKING_TOKEN"
            )
        return value


class SearchConfig(Settings):
    """All settings of a search. Each attribute is a section of the search file."""

    run: RunSettings = RunSettings()
    space: SpaceSettings = SpaceSettings()
    network: NetworkSettings = NetworkSettings()
    data: DataSettings = DataSettings()
    training: TrainingSettings = TrainingSettings()
    trainable: TrainableSettings = TrainableSettings()
    sampler: SamplerSettings = SamplerSettings()
    scheduler: SchedulerSettings = SchedulerSettings()
    objectives: ObjectivesSettings = ObjectivesSettings()
    warm_start: WarmStartSettings = WarmStartSettings()
    resources: ResourceSettings = ResourceSettings()
    faults: FaultSettings = FaultSettings()
    budget: BudgetSettings = BudgetSettings()
    confirmation: ConfirmationSettings = ConfirmationSettings()
    logging: LoggingSettings = LoggingSettings()

    def fraction_for_search(self, *, any_completed: bool) -> float:
        """The part of `budget.hours` that is for the search itself (0..1); the rest is for the confirmation.

        Until a trial has completed its training, there is nothing to confirm, and all of them are for the search.
        """
        return 1 / (1 + self.confirmation.share) if any_completed and self.confirmation.candidates != 0 else 1.0

    @model_validator(mode="before")
    @classmethod
    def _without_unused(cls, values: Any) -> Any:
        """Leave out what a preset sets although it means nothing for the data; refuse it if the user has set it."""
        return without_unused(values) if isinstance(values, dict) else values

    @model_validator(mode="after")
    def _names_and_sizes(self) -> Self:
        """Refuse names that do not exist, and values that do not fit each other."""
        check_name("space.name", self.space.name, SPACES)
        if self.network.skeleton is not None:
            check_name("network.skeleton", self.network.skeleton, SKELETONS)
        check_data(self.data)
        check_name("trainable.name", self.trainable.name, TRAINABLES)
        if self.sampler.name != OWN_LOOP:
            check_name("sampler.name", self.sampler.name, SAMPLERS)
        check_name("scheduler.name", self.scheduler.name, SCHEDULERS)
        if self.scheduler.min_epochs > self.training.epochs:
            raise ValueError(
                f"scheduler.min_epochs is {self.scheduler.min_epochs}; "
                f"it must be at most training.epochs = {self.training.epochs}"
            )
        return self
