"""Makes what a configuration names: the space, the skeleton, the sampler, the scheduler, the trainable."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import optuna
from optuna.samplers import BaseSampler
from ray.tune.schedulers import TrialScheduler

from orchestrator.config.plugins import check_name, resolve, resolve_value
from orchestrator.config.scheduler_fit import check_scheduler_kind
from orchestrator.config.search_config import (
    SamplerSettings,
    SchedulerSettings,
    SearchConfig,
    SpaceSettings,
    TrainableSettings,
)
from orchestrator.errors import ConfigError, last_line
from orchestrator.objectives import Direction
from orchestrator.samplers import SAMPLERS, STATELESS, make_seeded
from orchestrator.schedulers import SCHEDULERS, SEVERAL_OBJECTIVES
from search_spaces import SPACES, CellSpace
from trainables import TRAINABLES, EpochTrainable
from trainables.operations import OPERATIONS, operations_for
from trainables.settings import DataSettings, did_you_mean
from trainables.skeleton import SKELETONS, Skeleton
from trainables.tasks.table import TASKS, task_name
from trainables.tasks.task import Task


def make_task(settings: DataSettings) -> Task:
    """What is learned from a data set."""
    return resolve_value("data.task", name=task_name(settings.name, settings.task), known=TASKS, kind=Task)


def head_of(config: SearchConfig) -> str:
    """The name of the head of the networks: the decoder that the settings name, or the first that fits the task.

    Raises:
        ConfigError: no decoder of this name fits the task.
    """
    known, decoder = make_task(config.data).heads, config.network.decoder
    if decoder is None:
        return known[0]
    check_name("network.decoder", decoder, known)
    return decoder


def make_space(settings: SpaceSettings) -> CellSpace:
    """Make the space that the settings name."""
    space = resolve_value("space.name", name=settings.name, known=SPACES, kind=CellSpace)
    return space if settings.blocks is None else replace(space, blocks=settings.blocks)


def space_of(config: SearchConfig) -> CellSpace:
    """The space of a search with these settings, for a sampler that is made before the search.

    Raises:
        ConfigError: the name is unknown, or no operation of the space exists for the data.
    """
    return fit_space(make_space(config.space), config)


def fit_space(space: CellSpace, config: SearchConfig) -> CellSpace:
    """The space without what has no effect: operations that do not exist for the data, and an unused reduction cell.

    Raises:
        ConfigError: it has no other operation.
    """
    axes = make_task(config.data).axes
    kept = tuple(name for name in space.operations if name not in OPERATIONS or name in operations_for(axes))
    if not kept:
        raise ConfigError(f"none of the operations of space {space.name!r} exists for data of {axes} axis (space.name)")
    return replace(space, operations=kept, reduces=space.reduces and make_skeleton(config, space).reduces)


def make_skeleton(config: SearchConfig, space: CellSpace) -> Skeleton:
    """Make the skeleton that the settings name, or else that of the task or of the space."""
    settings = config.network
    name = settings.skeleton or make_task(config.data).skeleton or space.skeleton
    skeleton = resolve_value("network.skeleton", name=name, known=SKELETONS, kind=Skeleton)
    return skeleton if settings.stem_channels is None else replace(skeleton, stem_channels=settings.stem_channels)


def make_sampler(settings: SamplerSettings, seed: int, space: CellSpace) -> BaseSampler:
    """Make the sampler. It gets the seed and the space if it has such parameters.

    Raises:
        ConfigError: the name is unknown, or the options do not fit.
    """
    if settings.name.startswith("optuna:"):
        make = _optuna_sampler(settings.name)
    else:
        make = resolve("sampler.name", settings.name, SAMPLERS)
    given: dict[str, Any] = {"seed": seed, "space": space}
    options = {name: value for name, value in given.items() if _takes(make, name)} | settings.options
    sampler = _make("sampler", make=make, options=options, given=settings.options)
    if not isinstance(sampler, BaseSampler):
        raise ConfigError(f"sampler.name is {settings.name!r}, which is not an optuna.samplers.BaseSampler")
    return sampler


def _optuna_sampler(name: str) -> Callable[..., BaseSampler]:
    """A class of `optuna.samplers`. If it keeps no state, its draws depend only on the seed and the trial's number."""
    kinds = {
        kind.__name__: kind
        for kind in vars(optuna.samplers).values()
        if inspect.isclass(kind) and issubclass(kind, BaseSampler) and not inspect.isabstract(kind)
    }
    kind = kinds.get(name.partition(":")[2])
    if kind is None:
        hint = did_you_mean(name.partition(":")[2], kinds)
        raise ConfigError(f"sampler.name is {name!r}; optuna.samplers has {', '.join(sorted(kinds))}{hint}")
    if kind not in STATELESS:
        return kind
    return lambda seed, **options: make_seeded(kind, seed, **options)


def make_scheduler(settings: SchedulerSettings, max_epochs: int, objectives: Mapping[str, Direction]) -> TrialScheduler:
    """Make the scheduler. It gets the objectives, rungs and epochs if it has such parameters.

    Raises:
        ConfigError: the name is unknown, the options do not fit, or the scheduler cannot serve the search.
    """
    # A scheduler of the user gets Ray Tune's one metric, the first objective, unless it takes `objectives`.
    if settings.name in SCHEDULERS and len(objectives) > 1 and settings.name not in SEVERAL_OBJECTIVES:
        raise ConfigError(
            f"scheduler {settings.name} is for one objective, and there are {len(objectives)}: "
            f"{', '.join(objectives)}; {', '.join(sorted(SEVERAL_OBJECTIVES))} handle several (scheduler.name or "
            "[objectives])"
        )
    make = resolve("scheduler.name", settings.name, SCHEDULERS)
    if inspect.isclass(make):
        check_scheduler_kind(make)  # before it is made: it may need packages or options that are of no use here
    given: dict[str, Any] = {
        "max_epochs": max_epochs,
        "min_epochs": settings.min_epochs,
        "reduction_factor": settings.reduction_factor,
        "objectives": objectives,
        # By default Ray Tune's schedulers count reports; epochs are what counts here.
        "time_attr": "epoch",
    }
    options = {name: value for name, value in given.items() if _takes(make, name)} | settings.options
    scheduler = _make("scheduler", make=make, options=options, given=settings.options)
    if not isinstance(scheduler, TrialScheduler):
        raise ConfigError(f"scheduler.name is {settings.name!r}, which is not a Ray Tune TrialScheduler")
    return scheduler


def find_trainable(settings: TrainableSettings) -> type[EpochTrainable]:
    trainable = resolve("trainable.name", settings.name, TRAINABLES)
    if not (inspect.isclass(trainable) and issubclass(trainable, EpochTrainable)):
        raise ConfigError(f"trainable.name is {settings.name!r}, which is not an EpochTrainable class")
    return trainable


def _takes(make: Callable[..., Any], parameter: str) -> bool:
    try:
        return parameter in inspect.signature(make).parameters
    except (TypeError, ValueError):  # not callable, or written in C; calling it reports the error
        return False


def _make(section: str, *, make: Callable[..., Any], options: dict[str, Any], given: dict[str, Any]) -> Any:
    """Call the class with all options. `given` are the user's own, for the error."""
    try:
        return make(**options)
    except Exception as error:  # it may be the user's own class
        raise ConfigError(f"{section}.options = {given}: {last_line(error)}") from error
