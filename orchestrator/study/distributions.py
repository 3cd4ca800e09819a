"""Converts a space's domains to Optuna's distributions, and these to plain values for the record."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
    distribution_to_json,
    json_to_distribution,
)
from ray.tune.search.sample import Categorical, Domain, Float, Integer, LogUniform, Quantized, Uniform


def to_distributions(space: Mapping[str, Any]) -> dict[str, BaseDistribution]:
    """Convert Ray Tune's parameter space to Optuna's distributions.

    Raises:
        ValueError: Optuna has no such distribution.
    """
    return {name: to_distribution(name, domain) for name, domain in space.items()}


def to_distribution(name: str, domain: Any) -> BaseDistribution:
    """Convert Ray Tune's domain to Optuna's distribution.

    Raises:
        ValueError: Optuna has no such distribution.
    """
    if not isinstance(domain, Domain):
        raise ValueError(f"parameter {name!r} is {domain!r}; the space must be a flat dict of Ray Tune domains")
    sampler = domain.get_sampler()
    step = sampler.q if isinstance(sampler, Quantized) else None
    law = sampler.sampler if isinstance(sampler, Quantized) else sampler
    log = isinstance(law, LogUniform)
    if log and step is not None:
        raise ValueError(f"parameter {name!r} is logarithmic and quantised; Optuna has no such distribution")
    if not isinstance(law, Uniform | LogUniform):
        raise ValueError(f"parameter {name!r} is drawn by {type(law).__name__}, which Optuna cannot sample")
    match domain:
        case Categorical():
            return CategoricalDistribution(domain.categories)
        case Integer():  # Ray Tune excludes the upper bound, unless it quantises
            high = domain.upper if step is not None else domain.upper - 1
            return IntDistribution(domain.lower, high, log=log, step=int(step or 1))
        case Float():
            return FloatDistribution(domain.lower, domain.upper, log=log, step=step)
    raise ValueError(f"parameter {name!r} has the domain {type(domain).__name__}, which Optuna cannot sample")


def write_distributions(distributions: Mapping[str, BaseDistribution]) -> dict[str, dict[str, Any]]:
    """Convert distributions to plain values for the record."""
    return {name: json.loads(distribution_to_json(distribution)) for name, distribution in distributions.items()}


def read_distributions(values: dict[str, dict[str, Any]]) -> dict[str, BaseDistribution]:
    """Inverse of `write_distributions`."""
    return {name: json_to_distribution(json.dumps(value)) for name, value in values.items()}
