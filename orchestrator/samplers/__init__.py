"""Who proposes candidates: Optuna samplers, by the names that a search file may use."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import optuna
from optuna.samplers import BaseSampler

from orchestrator.samplers.controller import ControllerSampler
from orchestrator.samplers.evolution import EvolutionSampler
from orchestrator.samplers.local_search import LocalSearchSampler
from orchestrator.samplers.predictor import PredictorSampler
from orchestrator.samplers.seeded import SeededSampler

# Optuna would say of some of its samplers, each time one is made, that their interface may change.
warnings.filterwarnings("ignore", category=optuna.exceptions.ExperimentalWarning)

STATELESS = (
    optuna.samplers.RandomSampler,
    optuna.samplers.TPESampler,
    optuna.samplers.GPSampler,
    optuna.samplers.NSGAIISampler,
    optuna.samplers.NSGAIIISampler,
)
"""Samplers of Optuna that keep nothing but a random state outside the study."""


def seeded(kind: Callable[..., BaseSampler], seed: int, **options: Any) -> BaseSampler:
    """One of Optuna's stateless samplers, its draws decided by the seed and the trial's number."""
    return SeededSampler(lambda trial_seed: kind(seed=trial_seed, **options), seed=seed)


def _tpe(seed: int, **options: Any) -> BaseSampler:
    """Tree-structured Parzen estimator (Bergstra et al. 2011); options of Optuna's `TPESampler`."""
    # Constant liar: with many trials in flight the sampler would otherwise propose the same region to all of them.
    return seeded(optuna.samplers.TPESampler, seed, **{"constant_liar": True, **options})


def _random(seed: int, **options: Any) -> BaseSampler:
    """Uniform over all encodings, the yardstick for every other sampler."""
    return seeded(optuna.samplers.RandomSampler, seed, **options)


def _gp(seed: int, **options: Any) -> BaseSampler:
    """Gaussian process with expected improvement; options of Optuna's `GPSampler`. Slow beyond some hundred trials."""
    return seeded(optuna.samplers.GPSampler, seed, **options)


def _nsgaii(seed: int, **options: Any) -> BaseSampler:
    """NSGA-II (Deb et al. 2002), for several objectives; options of Optuna's `NSGAIISampler`."""
    return seeded(optuna.samplers.NSGAIISampler, seed, **options)


def _nsgaiii(seed: int, **options: Any) -> BaseSampler:
    """NSGA-III (Deb and Jain 2014), for three and more objectives; options of Optuna's `NSGAIIISampler`."""
    return seeded(optuna.samplers.NSGAIIISampler, seed, **options)


SAMPLERS: dict[str, Callable[..., BaseSampler]] = {
    "tpe": _tpe,
    "random": _random,
    "evolution": EvolutionSampler,
    "local_search": LocalSearchSampler,
    "controller": ControllerSampler,
    "predictor": PredictorSampler,
    "gp": _gp,
    "nsgaii": _nsgaii,
    "nsgaiii": _nsgaiii,
}
"""Every sampler that a search file may name, besides `optuna:NAME` and `module:NAME`; called with the seed, the file's
options, and `space` where it takes one."""
