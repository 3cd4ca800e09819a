"""What the configuration names, made: the space, the sampler, the scheduler, the trainable."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from optuna.samplers import BaseSampler
from ray.tune.schedulers import TrialScheduler

from orchestrator.config import SamplerSettings, SchedulerSettings, SpaceSettings, TrainableSettings
from orchestrator.errors import ConfigError
from orchestrator.plugins import resolve, resolve_value
from orchestrator.samplers import SAMPLERS
from orchestrator.schedulers import SCHEDULERS
from search_spaces import SPACES, CellSpace
from trainables import TRAINABLES, EpochTrainable
from trainables.settings import NetworkSettings
from trainables.skeleton import SKELETONS, Skeleton


def make_space(settings: SpaceSettings) -> CellSpace:
    space = resolve_value("space.name", settings.name, SPACES, CellSpace)
    return space if settings.blocks is None else replace(space, blocks=settings.blocks)


def make_skeleton(settings: NetworkSettings, space: CellSpace) -> Skeleton:
    skeleton = resolve_value("network.skeleton", settings.skeleton or space.skeleton, SKELETONS, Skeleton)
    return skeleton if settings.stem_channels is None else replace(skeleton, stem_channels=settings.stem_channels)


def make_sampler(settings: SamplerSettings, seed: int) -> BaseSampler:
    make = resolve("sampler.name", settings.name, SAMPLERS)
    known = settings.name in SAMPLERS
    options = {"seed": seed, **settings.options} if known or _takes(make, "seed") else settings.options
    sampler = _make("sampler", make, options, settings.options)
    if not isinstance(sampler, BaseSampler):
        raise ConfigError(f"sampler.name is {settings.name!r}, which is no optuna.samplers.BaseSampler")
    return sampler


def make_scheduler(settings: SchedulerSettings, max_epochs: int) -> TrialScheduler:
    if settings.name in SCHEDULERS:
        if settings.options:
            raise ConfigError(f"scheduler.options are for 'module:NAME' schedulers; {settings.name!r} takes none")
        return SCHEDULERS[settings.name](max_epochs, settings.min_epochs, settings.reduction_factor)
    make = resolve("scheduler.name", settings.name, SCHEDULERS)
    # Ray Tune's schedulers count reports unless told otherwise; here epochs are what counts.
    options = {"time_attr": "epoch", **settings.options} if _takes(make, "time_attr") else settings.options
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
    except (TypeError, ValueError) as error:
        raise ConfigError(f"{section}.options = {given}: {error}") from error
