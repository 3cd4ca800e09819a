"""Prepares a search: makes its components, reads the data, starts or joins the cluster, and checks each of these.

Does not know how the search runs.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
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
    call_in_worker,
    check_can_be_sent,
    check_cpus,
    check_storage,
    connected,
    growth,
    load_on_cluster,
    node_resources,
    read_before_start,
    saying_on_interrupt,
    share_of_gpu,
    stopping_on_interrupt,
)
from orchestrator.config import (
    OWN_LOOP,
    WHOLE_ONLY,
    ObjectivesSettings,
    SearchConfig,
    check_fits,
    check_scheduler_fits,
    find_trainable,
    fit_space,
    head_of,
    kind_of,
    left_out_of_preset,
    make_sampler,
    make_scheduler,
    make_skeleton,
    make_space,
)
from orchestrator.errors import ConfigError, RunDirectoryError
from orchestrator.objectives import COSTS
from orchestrator.progress import Progress
from orchestrator.record import (
    EPOCH_SCHEMA,
    TRIAL_SCHEMA,
    Event,
    PassedObject,
    RecordedRun,
    RunDirectory,
    RunStarted,
)
from orchestrator.schedulers import HasMilestones
from orchestrator.search.passed import PassedParts
from orchestrator.study import to_distributions, write_distributions
from orchestrator.tracking import check_tracking
from orchestrator.words import counted
from search_spaces import CellSpace
from trainables import EpochTrainable, TrialPlan
from trainables.command_folder import CommandFolder
from trainables.datasets import DataSplits
from trainables.epoch_result import EPOCH_METRICS
from trainables.plugins import module_being_imported
from trainables.settings import TrainingSettings, did_you_mean
from trainables.skeleton import Skeleton
from trainables.tasks.table import reading_of

FEW_STEPS = 80
"""Steps of a whole training below which the user is told."""


@dataclass(frozen=True, kw_only=True)
class SearchComponents:
    """The parts of a search, made from its settings before anything starts."""

    config: SearchConfig
    space: CellSpace
    left_out: tuple[str, ...]
    """Operations of the space that do not exist for the data, and are left out."""
    distributions: dict[str, BaseDistribution]
    sampler: BaseSampler | None
    """None if the candidates come from a loop of the user's own."""
    scheduler: TrialScheduler
    trainable: type[EpochTrainable]
    skeleton: Skeleton
    head: str
    """Of the networks; see `NetworkSpec.head`."""
    passed: dict[str, PassedObject]
    """Those that were passed in Python; the settings have their names."""

    @classmethod
    def of(cls, config: SearchConfig, given: PassedParts) -> Self:
        """Make the parts, and check that they fit each other.

        Raises:
            ConfigError: a part cannot be made, two do not fit, or the call comes from a module that is being imported.
        """
        if (module := module_being_imported()) is not None:
            raise ConfigError(
                f"the module {module!r} starts a search while it is imported; write that call under "
                "if __name__ == '__main__', or put what the search names into a module of its own"
            )
        whole = given.space or make_space(config.space)
        space = fit_space(whole, config)
        objectives = config.objectives.directions
        distributions = to_distributions(space.param_space())
        sampler = given.sampler
        if sampler is None and config.sampler.name != OWN_LOOP:
            sampler = make_sampler(config.sampler, config.run.seed, space)
        if sampler is not None:
            check_fits(sampler, distributions, objectives)
        scheduler = given.scheduler or make_scheduler(config.scheduler, config.training.epochs, objectives)
        check_scheduler_fits(scheduler, objectives)
        trainable = given.trainable or find_trainable(config.trainable)
        check_metrics(config.objectives, trainable.metrics, measures_latency=config.trainable.measure_latency)
        check_score_bounds(trainable)
        check_can_be_sent(trainable, "trainable=..." if given.trainable else "trainable.name")
        return cls(
            config=given.named_in(config),
            space=space,
            left_out=tuple(name for name in whole.operations if name not in space.operations),
            distributions=distributions,
            sampler=sampler,
            scheduler=scheduler,
            trainable=trainable,
            skeleton=make_skeleton(config, space),
            head=head_of(config),
            passed=given.describe(),
        )

    @property
    def remarks(self) -> list[str]:
        """What the user should know about these parts, a line each."""
        lines = [] if self.warning is None else [self.warning]
        data = f"{self.config.data.name} data"
        if self.left_out:
            lines.append(f"left out of the space, because they do not exist for {data}: {', '.join(self.left_out)}")
        settings = left_out_of_preset(self.config.data, self.config.training)
        if settings:
            lines.append(f"left out of the preset, because they mean nothing for {data}: {', '.join(settings)}")
        return lines

    @property
    def warning(self) -> str | None:
        """A warning if these parts together do something unexpected; else None."""
        if self.sampler is None or self.milestones == ():
            return None
        kind = kind_of(self.sampler)
        if not issubclass(kind, WHOLE_ONLY):
            return None
        return (
            f"sampler {kind.__name__} learns nothing from candidates that are stopped early, and "
            f"{type(self.scheduler).__name__} stops most: scheduler.name = 'fifo' stops none, and sampler.name = 'tpe' "
            "learns from all"
        )

    @property
    def milestones(self) -> tuple[int, ...] | None:
        """The epochs at which the scheduler decides; None if it may decide at every epoch."""
        return self.scheduler.milestones if isinstance(self.scheduler, HasMilestones) else None

    def plan(self, facts: Mapping[str, Any], directory: RunDirectory) -> TrialPlan:
        """Return what all trials have in common.

        Args:
            facts: about the data, as `DataSplits.describe` returns them.
            directory: of the run, for its checkpoints.

        Raises:
            ConfigError: no network can be built with these settings, so every trial would fail, or none can meet a
                constraint.
        """
        config = self.config
        size = facts.get("vector_size", config.network.embedding)
        if size != config.network.embedding:
            raise ConfigError(
                f"network.embedding is {config.network.embedding}; the vectors of data.vectors have {size} numbers: "
                f"set network.embedding = {size}"
            )
        plan = TrialPlan(
            space=self.space,
            skeleton=self.skeleton,
            network=config.network,
            training=config.training,
            image_shape=tuple(facts["image_shape"]),
            tokens=reading_of(facts.get("reading")).tokens,
            classes=len(facts["classes"]),
            head=self.head,
            milestones=self.milestones,
            seed=config.run.seed,
            threads=config.resources.cpus_per_trial,
            measure_latency=config.trainable.measure_latency,
            faults=config.faults,
            checkpoints=directory.checkpoints,
            home=CommandFolder.here(),
        )
        try:
            plan.check()
            self.trainable.check(plan)
        except ValueError as error:
            raise ConfigError(f"{error} ([space], [network], [training], data.image_size or data.length)") from error
        constraints = config.objectives.constraints
        least = plan.least_costs() if constraints else {}
        for name, bound in constraints.items():
            if least[name] > bound:
                raise ConfigError(
                    f"objectives.constraints.{name} is {bound:,.10g}, and the stem that all networks have needs "
                    f"{least[name]:,.0f}: give a larger one"
                )
        return plan

    def plan_for(self, data: DataSplits, directory: RunDirectory) -> tuple[dict[str, Any], TrialPlan]:
        """Return the facts about the data, and what all trials have in common; errors as for `plan`."""
        facts = data.describe()
        return facts, self.plan(facts, directory)

    def run_started(self, allotment: Allotment) -> RunStarted:
        """Return the first event of a run with these components."""
        return RunStarted(
            slots=allotment.slots_on_record,
            objectives=self.config.objectives.directions,
            constraints=self.config.objectives.constraints,
            distributions=write_distributions(self.distributions),
        )


@dataclass(frozen=True, kw_only=True)
class RunEnvironment:
    """What a search runs on."""

    allotment: Allotment
    """How many trials fit on the cluster, and what each gets."""
    data: ray.ObjectRef
    """The images (`DataSplits`), in the cluster's object store."""
    facts: dict[str, Any]
    """About the data, as `DataSplits.describe` returns them."""
    plan: TrialPlan
    """What all trials have in common."""
    stopper: SearchStopper
    """Ends the run early: on Ctrl-C, on a failure, or when the hours are used up."""


@contextlib.contextmanager
def run_environment(
    components: SearchComponents, directory: RunDirectory, *, address: str | None, progress: Progress
) -> Iterator[RunEnvironment]:
    """Read the data, start or join Ray (`connected`), divide it among the trials, and try the parts of the user's own.

    Raises:
        InputError: there is no such cluster, a node does not see the run directory, the data cannot be used, no network
            can be built for them, a part of the user's own is wrong, or a package for `[logging]` is missing.
    """
    config = components.config
    check_tracking(config.logging, directory)
    check_cpus(config.resources, address)
    progress.note(f"reading the data set {config.data.name}")
    splits = read_before_start(config.data, config.run.seed)
    # Local data are described before Ray starts, so that networks which cannot be built are refused at once.
    described = None if splits is None else components.plan_for(splits, directory)
    stopper = SearchStopper(config.budget.hours)
    progress.note("starting Ray" if address is None else f"joining the Ray cluster at {address}")
    # From here on Ctrl-C only sets a flag: an exception raised inside Ray's start can crash the process.
    # Again once it has started, because Ray replaces the handler of SIGTERM.
    with (
        stopping_on_interrupt(stopper),
        saying_on_interrupt(stopper, lambda: progress.line("stopping; what has ended is kept")),
        connected(address) as dashboard,
        stopping_on_interrupt(stopper),
    ):
        if dashboard is not None:
            progress.line(f"Ray's dashboard is at {dashboard}")
        stopper.check()
        to_come = growth()
        allotment = allot(config.resources, node_resources(), to_come)
        check_storage(directory.folder)
        if splits is None or described is None:
            splits = load_on_cluster(config.data, config.run.seed, stopper)
            described = components.plan_for(splits, directory)
        facts, plan = described
        progress.line(f"{config.data.name}: {splits.summary()}")
        if (remark := few_steps(len(splits.train), config.training)) is not None:
            progress.line(remark)
        # On this node: if another one had them and was lost, Ray would have to read them again, and might find no free
        # CPU for that.
        data = ray.put(splits)
        del splits  # the workers and the evaluation read the stored ones
        # The GPUs of nodes that are still to come are not known, so they are not shared.
        if config.resources.gpus_per_trial == "auto" and allotment.gpus_per_trial and to_come is None:
            needed = components.trainable.gpu_bytes(plan, ray.get(data))
            if needed is not None and (share := share_of_gpu(needed, config.resources.cpus_per_trial)) < 1:
                progress.line(f"{1 / share:.0f} trials share a GPU; each needs about {needed / 2**30:.1f} GiB of it")
                allotment = allot(config.resources.model_copy(update={"gpus_per_trial": share}), node_resources())
        if (rehearsal := components.trainable.rehearsal(plan)) is not None:
            progress.note("training a step with the parts of your own")
            call_in_worker(
                rehearsal,
                data,
                doing="the rehearsal of the parts of your own",
                refusal=ValueError,
                stopper=stopper,
                cpus=allotment.cpus_per_trial,
                gpus=allotment.gpus_per_trial,
            )
        yield RunEnvironment(allotment=allotment, data=data, facts=facts, plan=plan, stopper=stopper)


def few_steps(images: int, training: TrainingSettings) -> str | None:
    """Return a remark if a whole training has very few steps, so that a network may learn nothing; else None."""
    steps = max(1, images // training.batch_size)
    if steps * training.epochs >= FEW_STEPS or images < training.epochs:  # with so few images nothing is learned anyway
        return None
    sizes = (2**power for power in range(int(math.log2(training.batch_size)), 0, -1))
    enough = next((size for size in sizes if images // size * training.epochs >= FEW_STEPS), None)
    smaller = "" if enough is None else f"training.batch_size = {enough} or "
    return (
        f"{images} training examples in batches of {training.batch_size} are {counted(steps, 'step')} an epoch and "
        f"{steps * training.epochs} in all, which may be too few to learn; {smaller}more training.epochs gives more"
    )


def check_unchanged(
    recorded: RecordedRun, *, facts: Mapping[str, Any], events: Sequence[Event], components: SearchComponents
) -> None:
    """Refuse to continue with images, bounds of the score or a space that differ from the record.

    Raises:
        ConfigError, RunDirectoryError: they differ; the message says in what.
    """
    recorded.check_images(facts)
    if recorded.info.score_bounds != components.trainable.score_bounds:
        raise ConfigError(
            f"the trainable's score_bounds are {components.trainable.score_bounds}; they were "
            f"{recorded.info.score_bounds} when the search began (trainable.name)"
        )
    if not events:
        return
    first = events[0]
    if not isinstance(first, RunStarted):
        raise RunDirectoryError(f"the event log does not begin with the start of a run, but with {first.event!r}")
    if first.distributions != write_distributions(components.distributions):
        raise ConfigError(
            f"the space {components.config.space.name!r} is not the one that the search began with: its decisions "
            "differ (space.name)"
        )


def check_metrics(objectives: ObjectivesSettings, further: Iterable[str], *, measures_latency: bool) -> None:
    """Refuse objectives and constraints for which no candidate would have a value.

    Args:
        objectives: of the configuration.
        further: names of the trainable's own metrics.
        measures_latency: whether the latency of each candidate is measured.

    Raises:
        ConfigError: a metric is unknown or not measured; the message lists the known ones.
    """
    for name in further:
        if name in (*TRIAL_SCHEMA.names, *EPOCH_SCHEMA.names, *COSTS, "latency_seconds"):
            raise ConfigError(
                f"the trainable declares the metric {name!r}, which is the name of a column of the record"
            )
    known = [*EPOCH_METRICS, *further, *COSTS, "latency_seconds"]
    for name in objectives.directions:
        if name not in known:
            raise ConfigError(
                f"objectives names {name!r}; this trainable has {', '.join(known)} (with trainable.measure_latency = "
                f"true){did_you_mean(name, known)}"
            )
        if name == "latency_seconds" and not measures_latency:
            raise ConfigError("the objective 'latency_seconds' needs trainable.measure_latency = true")
    for name in objectives.constraints:
        if name not in COSTS:
            raise ConfigError(
                f"objectives.constraints names {name!r}; what is known before training, and can be constrained, are "
                f"{', '.join(COSTS)}{did_you_mean(name, COSTS)}"
            )


def check_score_bounds(trainable: type[EpochTrainable]) -> None:
    """Refuse `score_bounds` that are not two ascending numbers.

    Raises:
        ConfigError: the message shows the bounds.
    """
    bounds = trainable.score_bounds
    if bounds is None:
        return
    try:
        low, high = bounds
        valid = math.isfinite(low) and math.isfinite(high) and low < high
    except (TypeError, ValueError):
        valid = False
    if not valid:
        raise ConfigError(
            f"{trainable.__name__}.score_bounds is {bounds!r}; two finite numbers, the lower first, or None are needed"
        )
