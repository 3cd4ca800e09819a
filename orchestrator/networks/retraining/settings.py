"""What a retraining is asked for, checked: the recipe and the networks. Reads the search's record; writes nothing."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from orchestrator.config import SearchConfig, change_config
from orchestrator.errors import ConfigError, InputError
from orchestrator.networks.lookup import find_network, title_of, with_changes
from orchestrator.record import NETWORK, RecordedRun
from trainables.baseline_spec import BaselineSpec
from trainables.network_spec import NetworkSpec
from trainables.settings import TrainingSettings, did_you_mean

BEST = "best"
"""What the winner of the search is called."""


@dataclass(frozen=True, kw_only=True)
class RetrainSettings:
    """
    Args:
        architecture: of the network, as `find_network` takes it; None: the winner of the search.
        baselines: names of baselines to train beside it.
        preset: a paper's recipe; None: the search's.
        changes: of the recipe, each `training.KEY=VALUE`.
        repeats, filters: N and F of the network; None: as its file or the search has it.
        seeds: how many trainings, at least 1; the first is by the search's seed.
        early_stopping: None, or after how many epochs without a better one a training ends, at least 1; the search's
            validation images are then held out.
        workers: processes that train a network together, at least 1; with 1 it is this one unless there is an address.
        address: of a running Ray cluster, for the workers; None: they are started here.
        compiled: whether PyTorch compiles the network.
        ema: 0, or the decay of the weights' average, below 1.
        name: of the network's folder, and what those of the baselines' names begin with; None: what the architecture
            is called.
        weights: to start from, each a safetensors file or a folder that holds `weights.safetensors`, a path or a URI;
            for a baseline behind its name, `NAME=WEIGHTS`. Networks without are trained from scratch.
        freeze: train the classifiers alone, on the features that the weights give.

    Raises:
        ConfigError: a value is out of its bounds.
    """

    architecture: str | None = None
    baselines: Sequence[str] = ()
    preset: str | None = None
    changes: Sequence[str] = ()
    repeats: int | None = None
    filters: int | None = None
    seeds: int = 1
    early_stopping: int | None = None
    ema: float = 0.0
    workers: int = 1
    address: str | None = None
    compiled: bool = False
    name: str | None = None
    weights: Sequence[str] = ()
    freeze: bool = False

    def __post_init__(self) -> None:
        if self.seeds < 1:
            raise ConfigError(f"--seeds is {self.seeds}; it must be at least 1")
        if self.early_stopping is not None and self.early_stopping < 1:
            raise ConfigError(f"--early-stopping is {self.early_stopping}; it must be at least 1 epoch")
        if self.workers < 1:
            raise ConfigError(f"--workers is {self.workers}; it must be at least 1")
        if not 0 <= self.ema < 1:
            raise ConfigError(f"--ema is {self.ema}; it must be at least 0 and below 1")
        if self.name is not None and not re.fullmatch(r"\w[\w.-]*", self.name):
            raise ConfigError(f"--name is {self.name!r}; it may hold letters, digits, '_', '-' and '.'")
        if self.freeze and not self.weights:
            raise ConfigError("--freeze needs --weights: random features are not worth keeping")

    @property
    def on_ray(self) -> bool:
        """Whether other processes than this one train."""
        return self.workers > 1 or self.address is not None

    def recipe(self, config: SearchConfig) -> TrainingSettings:
        """How the networks are trained.

        Raises:
            ConfigError: in one line, what is wrong.
        """
        for change in self.changes:
            if not change.startswith("training."):
                raise ConfigError(f"--set {change!r}: a retraining can change [training]; all else is as in the search")
            if change.partition("=")[0].strip() == "training.preset":
                raise ConfigError(f"--set {change!r}: the search's values would stand before it; name it by --preset")
        values = {**config.model_dump(mode="json"), "scheduler": {"name": "fifo"}}  # whose rungs bound the epochs
        if self.preset is not None:
            values["training"] = {"preset": self.preset}
        return change_config(values, self.changes, {"training"}).training


def networks_of(
    search: RecordedRun, settings: RetrainSettings, recipe: TrainingSettings
) -> dict[str, NetworkSpec | BaselineSpec]:
    """The networks to train, by the names of their folders; none of them is built.

    Raises:
        InputError: one cannot be.
    """
    height, width, channels = search.info.data["image_shape"]
    classes = len(search.info.data["classes"])
    try:
        recipe.check_images(height, width)
    except ValueError as error:
        raise ConfigError(f"{error} (--preset or --set)") from error
    # The file, because the run directory may be called as a published cell is.
    found = find_network(settings.architecture or (search.directory.best / NETWORK).location)
    network = with_changes(
        replace(found, auxiliary_head=False),
        None,
        repeats=settings.repeats,
        filters=settings.filters,
        classes=classes,
        image_channels=channels,
        image_size=(height, width),
        drop_path_probability=recipe.drop_path_probability,
        dropout=recipe.dropout,
        auxiliary_head=recipe.auxiliary_weight > 0 and not settings.freeze,
    )
    networks: dict[str, NetworkSpec | BaselineSpec] = {settings.name or _name_of(settings.architecture): network}
    for baseline in settings.baselines:
        name = baseline if settings.name is None else f"{settings.name}-{baseline}"
        if name in networks:
            raise InputError(f"two networks are called {name!r}; choose another --name, or leave one baseline out")
        networks[name] = BaselineSpec(
            baseline=baseline, classes=classes, image_channels=channels, image_size=(height, width)
        )
    _check_known(settings.baselines)
    return networks


def _name_of(architecture: str | None) -> str:
    if architecture is None:
        return BEST
    return re.sub(r"[^\w.-]", "_", title_of(architecture)).lstrip(".-") or "network"


def _check_known(baselines: Sequence[str]) -> None:
    if not baselines:
        return
    from trainables.baselines import baseline_names  # takes seconds: it imports torch

    known = baseline_names()
    for name in baselines:
        if name not in known:
            raise ConfigError(
                f"--baseline {name!r} is none of two_convolutions and torchvision's classification models"
                f"{did_you_mean(name, known)}"
            )
