"""Who proposes candidates: Optuna samplers, by the names that a search file may use."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import optuna
from optuna.samplers import BaseSampler

from orchestrator.samplers.evolution import EvolutionSampler
from orchestrator.samplers.local_search import LocalSearchSampler


def _tpe(seed: int, **options: Any) -> BaseSampler:
    """Tree-structured Parzen estimator (Bergstra et al. 2011), with the options of Optuna's `TPESampler`."""
    # Constant liar: with many trials in flight the sampler would otherwise propose the same region to all of them.
    return optuna.samplers.TPESampler(seed=seed, **{"constant_liar": True, **options})


def _random(seed: int, **options: Any) -> BaseSampler:
    """Uniform over all encodings, the yardstick for every other sampler."""
    return optuna.samplers.RandomSampler(seed=seed, **options)


SAMPLERS: dict[str, Callable[..., BaseSampler]] = {
    "tpe": _tpe,
    "random": _random,
    "evolution": EvolutionSampler,
    "local_search": LocalSearchSampler,
}
"""Every sampler that a search file may name, besides `module:NAME`; called with the seed and the file's options."""
