"""The settings of a retraining. The command line reads help texts here, so it imports no slow module."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Self

from pydantic import Field, model_validator

from orchestrator.config import Option, OptionSettings


class RetrainSettings(OptionSettings):
    """`cellscout retrain`: which networks are trained, by which recipe, and how often."""

    architecture: str | None = None
    """The network to train: a published cell (`cellscout list cells`), an architecture.json or network.json, a run
    directory, or `RUN_DIR#TRIAL`, a trial of its leaderboard. Default: the winner of the run."""
    baselines: Annotated[Sequence[str], Option("--baseline")] = ()
    """Baselines to compare the network to: two_convolutions, or torchvision's classification models (resnet18, ...);
    for masks, torchvision's segmentation models (lraspp_mobilenet_v3_large, fcn_resnet50, ...)."""
    preset: str | None = None
    """A paper's recipe (`cellscout list presets`). Default: the search's recipe."""
    changes: Annotated[Sequence[str], Option("--set")] = ()
    """Change a setting of the recipe, or `data.root`, if the search's images are elsewhere now; may be repeated."""
    epochs: int | None = Field(default=None, ge=1)
    """Length of a training; the same as `--set training.epochs=N`. Default: that of the recipe."""
    repeats: int | None = Field(default=None, ge=1, le=64)
    """N, the number of normal cells per stage. Default: as recorded with the architecture."""
    filters: int | None = Field(default=None, ge=2, le=4096)
    """F, the number of channels in the first stage. Default: as recorded with the architecture."""
    seeds: int = Field(default=1, ge=1)
    """Number of trainings of each network. The first one uses the search's seed."""
    early_stopping: int | None = Field(default=None, ge=1)
    """Hold out the search's validation images, and end a training after this many epochs without an improvement.
    Default: train on the validation images too, for all epochs."""
    ema: float = Field(default=0.0, ge=0, lt=1)
    """Decay of a moving average of the weights. The averaged weights are tested and kept. 0: no average."""
    workers: int = Field(default=1, ge=1)
    """Number of processes that train a network together, each on a GPU if there are any. 1: train in this process,
    unless an address is given."""
    threads: int | None = Field(default=None, ge=1)
    """Number of threads with which this process trains on a CPU. Default: the recorded number when a retraining
    continues; otherwise the faster of one thread and all threads."""
    address: str | None = None
    """A running Ray cluster for the processes: `auto` or `HOST:PORT`. Default: start them on this machine."""
    compiled: Annotated[bool, Option("--compile")] = False
    """Compile the network with PyTorch first."""
    name: str | None = Field(default=None, pattern=r"^\w[\w.-]*$")
    """Folder of the network in `RUN_DIR/retrain`; the names of the baselines' folders begin with this name. Default:
    the architecture's name, which for a trial of this run is its id."""
    weights: Sequence[str] = ()
    """Start from these weights instead of random ones: a safetensors file, or a network's folder, such as
    `RUN_DIR/best` or `RUN_DIR/retrain/NAME`; for a baseline, `BASELINE=WEIGHTS`. The weights may be those
    of a network for other classes. May be repeated."""
    freeze: bool = False
    """Train only the classifier, on the features of the given weights."""

    @model_validator(mode="after")
    def _check_freeze(self) -> Self:
        if self.freeze and not self.weights:
            raise ValueError("--freeze needs --weights: random features are not worth keeping")
        return self

    @property
    def all_changes(self) -> list[str]:
        """The changes, with the length of a training among them."""
        return [*self.changes, *([] if self.epochs is None else [f"training.epochs={self.epochs}"])]

    @property
    def on_ray(self) -> bool:
        """Whether other processes than this one train."""
        return self.workers > 1 or self.address is not None
