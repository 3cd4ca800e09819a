"""Checks that a sampler supports a search's parameters and number of objectives.

In Optuna, a sampler that does not support a parameter draws it at random. Here such a sampler is refused.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution
from optuna.samplers import BaseSampler
from optuna.trial import create_trial

from orchestrator.errors import ConfigError, last_line, place_of
from orchestrator.objectives import Direction
from orchestrator.samplers import SeededSampler

NO_CATEGORICAL = (optuna.samplers.CmaEsSampler, optuna.samplers.QMCSampler)
"""Samplers of Optuna that draw categorical parameters at random."""

ONE_OBJECTIVE = (optuna.samplers.CmaEsSampler,)
"""Samplers of Optuna for one objective. Other samplers can have an attribute `several_objectives = False`."""

WHOLE_ONLY = (optuna.samplers.GPSampler, optuna.samplers.NSGAIISampler, optuna.samplers.NSGAIIISampler)
"""Samplers of Optuna that do not use pruned trials."""


COMPLETED_VALUE = 0.5
"""Of each objective of the completed trial with which a sampler is tried."""


def kind_of(sampler: BaseSampler) -> type[BaseSampler]:
    """The class of the sampler, or of the sampler that a `SeededSampler` wraps."""
    return sampler.kind if isinstance(sampler, SeededSampler) else type(sampler)


def check_fits(
    sampler: BaseSampler, distributions: Mapping[str, BaseDistribution], objectives: Mapping[str, Direction]
) -> None:
    """Refuse a sampler that does not support the space or the objectives.

    Raises:
        ConfigError: says what the sampler does not support, and which samplers do.
    """
    kind = kind_of(sampler)
    name = kind.__name__
    categorical = [key for key, value in distributions.items() if isinstance(value, CategoricalDistribution)]
    if categorical and issubclass(kind, NO_CATEGORICAL):
        raise ConfigError(
            f"sampler {name} cannot handle categorical parameters such as {categorical[0]!r}, and would draw them at "
            "random; use tpe, gp, evolution, local_search, controller, predictor, nsgaii or random (sampler.name)"
        )
    if len(objectives) > 1 and (issubclass(kind, ONE_OBJECTIVE) or not getattr(kind, "several_objectives", True)):
        raise ConfigError(
            f"sampler {name} is for one objective, and there are {len(objectives)}: {', '.join(objectives)}; "
            "predictor, tpe, gp, nsgaii, nsgaiii and random handle several (sampler.name or [objectives])"
        )
    _try_ask(sampler, distributions, objectives)


def _try_ask(
    sampler: BaseSampler, distributions: Mapping[str, BaseDistribution], objectives: Mapping[str, Direction]
) -> None:
    """Ask a copy of the sampler for a trial of a temporary study, before and after one has completed."""
    try:
        sampler_copy = copy.deepcopy(sampler)
    except Exception:  # noqa: BLE001 (without a copy, trying would change the sampler)
        return
    study = optuna.create_study(sampler=sampler_copy, directions=list(objectives.values()))
    try:
        first = study.ask(dict(distributions))
        study.add_trial(
            create_trial(
                params=first.params, distributions=first.distributions, values=[COMPLETED_VALUE] * len(objectives)
            )
        )
        study.ask(dict(distributions))
    except Exception as error:
        raise ConfigError(
            f"sampler {type(sampler).__name__} cannot handle this search: {type(error).__name__}: {last_line(error)} "
            f"({place_of(error, __file__)}; sampler.name, sampler.options)"
        ) from error
