"""Checks that a scheduler can serve a search, which trains every candidate with the same settings and resources."""

from __future__ import annotations

import copy
from collections.abc import Mapping

from ray.tune.result import TRAINING_ITERATION
from ray.tune.schedulers import (
    HyperBandForBOHB,
    HyperBandScheduler,
    PopulationBasedTraining,
    PopulationBasedTrainingReplay,
    ResourceChangingScheduler,
    TrialScheduler,
)

from orchestrator.errors import ConfigError
from orchestrator.objectives import Direction

_POPULATION = (
    "it changes the settings of candidates while they train, and a search trains all of them with the same ones; "
    "sampler.name = 'evolution' evolves candidates, and scheduler.name = 'asha' stops the weak ones"
)
UNFIT: dict[type[TrialScheduler], str] = {
    PopulationBasedTraining: _POPULATION,  # and PB2, which derives from it
    PopulationBasedTrainingReplay: _POPULATION,
    HyperBandForBOHB: (
        "it works only with Ray Tune's searcher TuneBOHB; scheduler.name = 'hyperband' with sampler.name = 'tpe' is "
        "closest to BOHB"
    ),
    HyperBandScheduler: (
        "its trials can wait for ever after one has failed, or after a resume; scheduler.name = 'hyperband' is its "
        "asynchronous form without that fault"
    ),
    ResourceChangingScheduler: (
        "it changes the resources of trials, which [resources] sets; use the scheduler that it wraps, for example "
        "scheduler.name = 'asha'"
    ),
}
"""Schedulers of Ray Tune that cannot serve a search: why, and what does. The first that fits a class counts."""


def check_scheduler_kind(kind: type) -> None:
    """Refuse a class of schedulers that cannot serve a search.

    Raises:
        ConfigError: says why, and which scheduler serves.
    """
    for unfit, why in UNFIT.items():
        if issubclass(kind, unfit):
            raise ConfigError(f"scheduler {kind.__name__} cannot serve a search: {why} (scheduler.name)")


def check_scheduler_fits(scheduler: TrialScheduler, objectives: Mapping[str, Direction]) -> None:
    """Refuse a scheduler that cannot serve a search with these objectives.

    Raises:
        ConfigError: says what it cannot do, and what to change.
    """
    kind = type(scheduler)
    check_scheduler_kind(kind)
    if len(objectives) > 1 and not getattr(scheduler, "several_objectives", True):
        raise ConfigError(
            f"scheduler {kind.__name__} is for one objective, and there are {len(objectives)}: {', '.join(objectives)}"
            "; asha, asha_promotion, cut, fifo and hyperband handle several (scheduler.name or [objectives])"
        )
    if getattr(scheduler, "_time_attr", None) == TRAINING_ITERATION:  # Ray Tune's own have no public name for it
        raise ConfigError(
            f"scheduler {kind.__name__} counts reports (time_attr is 'training_iteration'), and a report can hold "
            "several epochs; give it time_attr='epoch'"
        )
    _try_metric(scheduler, objectives)


def _try_metric(scheduler: TrialScheduler, objectives: Mapping[str, Direction]) -> None:
    """Give the first objective to a copy of the scheduler, as Ray Tune will give it to the scheduler."""
    try:
        scheduler_copy = copy.deepcopy(scheduler)
    except Exception:  # noqa: BLE001 (without a copy, trying would change the scheduler)
        return
    metric, direction = next(iter(objectives.items()))
    if not scheduler_copy.set_search_properties(metric, "max" if direction == "maximize" else "min"):
        raise ConfigError(
            f"scheduler {type(scheduler).__name__} has a metric of its own; leave it out, {metric} is the first "
            "objective"
        )
