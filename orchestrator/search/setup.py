"""Before a search runs: what its configuration names is made, a cluster is there, and everything has been checked."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Self

import ray
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler
from ray.tune.schedulers import TrialScheduler

from orchestrator.cluster import (
    Allotment,
    SearchStopper,
    allot,
    check_storage,
    connected,
    growth,
    load_on_cluster,
    node_resources,
    stopping_on_interrupt,
)
from orchestrator.config import (
    WHOLE_ONLY,
    ObjectivesSettings,
    SearchConfig,
    check_fits,
    find_trainable,
    kind_of,
    make_sampler,
    make_scheduler,
    make_skeleton,
    make_space,
)
from orchestrator.errors import ConfigError
from orchestrator.objectives import COSTS
from orchestrator.progress import Progress
from orchestrator.record import EPOCH_SCHEMA, TRIAL_SCHEMA, RunDirectory
from orchestrator.study import to_distributions
from orchestrator.tracking import check_tracking
from search_spaces import CellSpace
from trainables import EpochTrainable, TrialPlan
from trainables.epoch_result import EPOCH_METRICS
from trainables.settings import did_you_mean
from trainables.skeleton import Skeleton


@dataclass(frozen=True)
class Overrides:
    """What a caller from Python gives in place of what the configuration names; for `trainable` a class."""

    space: CellSpace | None = None
    sampler: BaseSampler | None = None
    scheduler: TrialScheduler | None = None
    trainable: type[EpochTrainable] | None = None


@dataclass(frozen=True)
class SearchComponents:
    """What a configuration comes to before anything is started."""

    config: SearchConfig
    space: CellSpace
    distributions: dict[str, BaseDistribution]
    sampler: BaseSampler
    scheduler: TrialScheduler
    trainable: type[EpochTrainable]
    skeleton: Skeleton

    @classmethod
    def of(cls, config: SearchConfig, given: Overrides) -> Self:
        """
        Raises:
            ConfigError: a part cannot be made, or two do not fit each other.
        """
        space = given.space or make_space(config.space)
        objectives = config.objectives.directions
        distributions = to_distributions(space.param_space())
        sampler = given.sampler or make_sampler(config.sampler, config.run.seed, space)
        check_fits(sampler, distributions, objectives)
        scheduler = given.scheduler or make_scheduler(config.scheduler, config.training.epochs, objectives)
        trainable = given.trainable or find_trainable(config.trainable)
        check_metrics(config.objectives, trainable.metrics, measures_latency=config.trainable.measure_latency)
        return cls(config, space, distributions, sampler, scheduler, trainable, make_skeleton(config.network, space))

    @property
    def caution(self) -> str | None:
        """What these parts, taken together, do that a user may not expect."""
        kind = kind_of(self.sampler)
        if self.milestones == () or not issubclass(kind, WHOLE_ONLY):
            return None
        return (
            f"sampler {kind.__name__} learns nothing from candidates that are stopped early, and "
            f"{type(self.scheduler).__name__} stops most: scheduler.name = 'fifo' stops none, and sampler.name = 'tpe' "
            "learns from all"
        )

    @property
    def milestones(self) -> tuple[int, ...] | None:
        """The epochs at which the scheduler decides; None: it may at each."""
        return getattr(self.scheduler, "milestones", None)

    def plan(self, facts: Mapping[str, Any], directory: RunDirectory) -> TrialPlan:
        """What all trials have in common; `facts` are those of the data.

        Raises:
            ConfigError: no network can be built with these settings, so every trial would fail for the same reason.
        """
        config = self.config
        plan = TrialPlan(
            space=self.space,
            skeleton=self.skeleton,
            network=config.network,
            training=config.training,
            image_shape=tuple(facts["image_shape"]),
            classes=len(facts["classes"]),
            milestones=self.milestones,
            seed=config.run.seed,
            threads=config.resources.cpus_per_trial,
            measure_latency=config.trainable.measure_latency,
            faults=config.faults,
            checkpoints=directory.checkpoints,
        )
        try:
            plan.example()
            self.trainable.check(plan)
        except ValueError as error:
            raise ConfigError(f"{error} ([space], [network], [training] or data.image_size)") from error
        return plan


@dataclass(frozen=True)
class RunEnvironment:
    """What a search runs on: how many trials fit on the cluster, and the images in its object store."""

    allotment: Allotment
    data: ray.ObjectRef
    facts: dict[str, Any]
    stopper: SearchStopper


@contextlib.contextmanager
def ground(
    config: SearchConfig, directory: RunDirectory, address: str | None, progress: Progress
) -> Iterator[RunEnvironment]:
    """Join or start the cluster, and read the data.

    Raises:
        InputError: there is no such cluster, its nodes do not see the run directory, the data cannot be used, or what
            `[logging]` asks for cannot be.
    """
    check_tracking(config.logging, directory)
    stopper = SearchStopper(config.budget.hours)
    progress.note("starting Ray" if address is None else f"joining the Ray cluster at {address}")
    # From here on Ctrl-C is a wish and no exception: one that is raised inside Ray's start can crash the process.
    with stopping_on_interrupt(stopper), connected(address) as dashboard:
        if dashboard is not None:
            progress.line(f"Ray's dashboard is at {dashboard}")
        stopper.check()
        allotment = allot(config.resources, node_resources(), growth())
        check_storage(directory.folder)
        progress.note(f"reading the data set {config.data.name}")
        data, facts = load_on_cluster(config.data, config.run.seed, stopper)
        yield RunEnvironment(allotment, data, facts, stopper)


def check_metrics(objectives: ObjectivesSettings, further: Iterable[str], *, measures_latency: bool) -> None:
    """Refuse objectives and constraints that no candidate would have a value for; `further` are metrics of the
    trainable's own.

    Raises:
        ConfigError: names the metric, and what is known.
    """
    for name in further:
        if name in (*TRIAL_SCHEMA.names, *EPOCH_SCHEMA.names, *COSTS, "latency_seconds"):
            raise ConfigError(
                f"the trainable declares the metric {name!r}, which is the name of a column of the record"
            )
    known = [*EPOCH_METRICS, *further, *COSTS, *(["latency_seconds"] if measures_latency else [])]
    for name in objectives.directions:
        if name == "latency_seconds" and not measures_latency:
            raise ConfigError("the objective 'latency_seconds' needs trainable.measure_latency = true")
        if name not in known:
            raise ConfigError(
                f"objectives names {name!r}; this trainable has {', '.join(known)}{did_you_mean(name, known)}"
            )
    for name in objectives.constraints:
        if name not in COSTS:
            raise ConfigError(
                f"objectives.constraints names {name!r}; what is known before training, and can be constrained, are "
                f"{', '.join(COSTS)}{did_you_mean(name, COSTS)}"
            )
