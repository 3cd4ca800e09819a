"""What the configuration names, made: the space, the sampler, the scheduler, the trainable."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import optuna
from optuna.samplers import BaseSampler
from ray.tune.schedulers import TrialScheduler

from orchestrator.config.plugins import resolve, resolve_value
from orchestrator.config.search_config import (
    SamplerSettings,
    SchedulerSettings,
    SpaceSettings,
    TrainableSettings,
)
from orchestrator.errors import ConfigError
from orchestrator.objectives import Direction
from orchestrator.samplers import SAMPLERS, STATELESS, make_seeded
from orchestrator.schedulers import SCHEDULERS, SEVERAL_OBJECTIVES
from search_spaces import SPACES, CellSpace
from trainables import TRAINABLES, EpochTrainable
from trainables.settings import NetworkSettings, did_you_mean
from trainables.skeleton import SKELETONS, Skeleton


def make_space(settings: SpaceSettings) -> CellSpace:
    space = resolve_value("space.name", settings.name, SPACES, CellSpace)
    return space if settings.blocks is None else replace(space, blocks=settings.blocks)


def make_skeleton(settings: NetworkSettings, space: CellSpace) -> Skeleton:
    skeleton = resolve_value("network.skeleton", settings.skeleton or space.skeleton, SKELETONS, Skeleton)
    return skeleton if settings.stem_channels is None else replace(skeleton, stem_channels=settings.stem_channels)


def make_sampler(settings: SamplerSettings, seed: int, space: CellSpace) -> BaseSampler:
    """The sampler, given the seed and the space where it takes them."""
    if settings.name.startswith("optuna:"):
        make = _optuna_sampler(settings.name)
    else:
        make = resolve("sampler.name", settings.name, SAMPLERS)
    given: dict[str, Any] = {"seed": seed, "space": space}
    options = {name: value for name, value in given.items() if _takes(make, name)} | settings.options
    sampler = _make("sampler", make, options, settings.options)
    if not isinstance(sampler, BaseSampler):
        raise ConfigError(f"sampler.name is {settings.name!r}, which is no optuna.samplers.BaseSampler")
    return sampler


def _optuna_sampler(name: str) -> Callable[..., BaseSampler]:
    """A class of `optuna.samplers`, its draws decided by the seed and the trial's number where that is possible."""
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
    """The scheduler, given the objectives where it takes them.

    Raises:
        ConfigError: it cannot be made so, or is for one objective and there are several.
    """
    # One of the user's own gets Ray Tune's one metric, the first objective, if it takes no more.
    if settings.name in SCHEDULERS and len(objectives) > 1 and settings.name not in SEVERAL_OBJECTIVES:
        raise ConfigError(
            f"scheduler {settings.name} is for one objective, and there are {len(objectives)}: "
            f"{', '.join(objectives)}; {', '.join(sorted(SEVERAL_OBJECTIVES))} handle several (scheduler.name or "
            "[objectives])"
        )
    make = resolve("scheduler.name", settings.name, SCHEDULERS)
    given: dict[str, Any] = {
        "max_epochs": max_epochs,
        "min_epochs": settings.min_epochs,
        "reduction_factor": settings.reduction_factor,
        "objectives": objectives,
        # Ray Tune's schedulers count reports unless told otherwise; here epochs are what counts.
        "time_attr": "epoch",
    }
    options = {name: value for name, value in given.items() if _takes(make, name)} | settings.options
    scheduler = _make("scheduler", make, options, settings.options)
    if not isinstance(scheduler, TrialScheduler):
        raise ConfigError(f"scheduler.name is {settings.name!r}, which is no Ray Tune TrialScheduler")
    return scheduler


def find_trainable(settings: TrainableSettings) -> type[EpochTrainable]:
    trainable = resolve("trainable.name", settings.name, TRAINABLES)
    if not (inspect.isclass(trainable) and issubclass(trainable, EpochTrainable)):
        raise ConfigError(f"trainable.name is {settings.name!r}, which is no EpochTrainable class")
    return trainable


def _takes(make: Callable[..., Any], parameter: str) -> bool:
    try:
        return parameter in inspect.signature(make).parameters
    except (TypeError, ValueError):  # nothing to call, or written in C; making it will tell
        return False


def _make(section: str, make: Callable[..., Any], options: dict[str, Any], given: dict[str, Any]) -> Any:
    """Call the class with our options and the user's; `given` are the user's alone, for the error."""
    try:
        return make(**options)
    except (TypeError, ValueError, ImportError) as error:
        raise ConfigError(f"{section}.options = {given}: {error}") from error
