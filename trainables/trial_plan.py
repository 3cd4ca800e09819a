"""What all trials of a run have in common, and the network of each candidate. No torch.

Does not know how a candidate is trained.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, replace

import numpy as np

from search_spaces import Architecture, CellSpace
from trainables.checkpoints import CheckpointFolder
from trainables.command_folder import CommandFolder
from trainables.costs import network_costs, stem_costs
from trainables.heads import CLASSIFIER
from trainables.network_plan import plan_network
from trainables.network_spec import NetworkSpec, embedding_of
from trainables.own_operations import build_operation
from trainables.plugins import is_plugin_name
from trainables.settings import FaultSettings, NetworkSettings, TrainingSettings
from trainables.skeleton import Skeleton

CHECKED_NETWORKS = 8
"""Networks in which an operation of the user's own is checked before a search."""


@dataclass(frozen=True, kw_only=True)
class TrialPlan:
    """What all trials of a run have in common, except the images."""

    space: CellSpace
    skeleton: Skeleton
    network: NetworkSettings
    training: TrainingSettings
    image_shape: tuple[int, ...]
    """Height, width and channels of an image, or length and channels of a signal or a text."""
    tokens: int | None = None
    """The number of different tokens of a text; None: the data are not texts."""
    classes: int
    """Number of classes, or of numbers to predict."""
    head: str = CLASSIFIER
    """The head of the networks; see `NetworkSpec.head`."""
    milestones: tuple[int, ...] | None
    """Epochs at which the scheduler decides; None: at every epoch."""
    seed: int
    threads: int
    """CPUs that Ray allots to a trial."""
    measure_latency: bool = False
    """Whether `begin` returns `latency_seconds`."""
    faults: FaultSettings = field(default_factory=FaultSettings)
    checkpoints: CheckpointFolder | None = None
    """Where checkpoints and weights are written; None: nowhere."""
    home: CommandFolder | None = None
    """The folder of the command, in which the trainable's code runs; None: wherever the worker is."""

    def network_spec(self, architecture: Architecture) -> NetworkSpec:
        """The network of a candidate with this architecture."""
        *size, channels = self.image_shape
        return NetworkSpec(
            architecture=architecture,
            skeleton=self.skeleton,
            repeats=self.network.repeats,
            filters=self.network.filters,
            classes=self.classes,
            image_channels=channels,
            image_size=tuple(size),
            embedding=embedding_of(self.tokens, self.network, self.training),
            drop_path_probability=self.training.drop_path_probability,
            dropout=self.training.dropout,
            auxiliary_head=self.training.auxiliary_weight > 0,
            head=self.head,
        )

    def costs(self, architecture: Architecture) -> dict[str, float]:
        """A candidate's costs, computed without training: parameters, and multiply-adds and activation bytes per image.

        Needs no torch and takes about a millisecond.
        """
        return asdict(network_costs(self.network_spec(architecture)))

    def least_costs(self) -> dict[str, float]:
        """Lower bounds of the `costs` of all candidates: the costs of the stem, which all of them have."""
        return asdict(stem_costs(self.example()))

    def check(self) -> None:
        """Raise ValueError if the settings do not allow a network, or an operation of the space cannot be built."""
        self.training.check_classes(self.classes)
        filters = self.example().filters
        for name in self.space.operations:
            for stride in (1, 2):
                build_operation(
                    name,
                    filters,
                    filters,
                    stride=stride,
                    rules=self.skeleton.operations,
                    axes=len(self.image_shape) - 1,
                )
        for name in self.own_operations:
            for spec in self.examples_with(name):  # it must fit all widths that occur
                plan_network(spec)

    @property
    def own_operations(self) -> tuple[str, ...]:
        """The operations of the space that are the user's own."""
        return tuple(filter(is_plugin_name, self.space.operations))

    def examples_with(self, operation: str) -> Iterator[NetworkSpec]:
        """Networks of some candidates drawn with the run's seed, with this operation on every edge."""
        generator = np.random.default_rng(self.seed)
        for _ in range(CHECKED_NETWORKS):
            drawn = self.space.sample(generator)
            changed = drawn.with_operation(operation)
            if self.space.reduction is not None:  # a fixed cell keeps its operations
                changed = replace(changed, reduction=drawn.reduction)
            yield self.network_spec(changed)

    def example(self) -> NetworkSpec:
        """The network of a candidate drawn with the run's seed; ValueError if the settings do not allow a network."""
        return self.network_spec(self.space.sample(np.random.default_rng(self.seed)))
