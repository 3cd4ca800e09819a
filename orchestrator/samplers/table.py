"""Samplers: the Optuna samplers that propose candidates, by their names in a search file."""

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
from orchestrator.samplers.tpe import TPESampler

# Some of Optuna's samplers warn at every construction that their interface may change.
warnings.filterwarnings("ignore", category=optuna.exceptions.ExperimentalWarning)

STATELESS = (
    optuna.samplers.RandomSampler,
    optuna.samplers.TPESampler,
    optuna.samplers.GPSampler,
    optuna.samplers.NSGAIISampler,
    optuna.samplers.NSGAIIISampler,
)
"""Optuna samplers whose only state outside the study is a random generator."""


def make_seeded(kind: Callable[..., BaseSampler], seed: int, **options: Any) -> BaseSampler:
    """Wrap a stateless Optuna sampler so that its draws depend only on the seed, the trial's number and the study."""
    return SeededSampler(lambda trial_seed: kind(seed=trial_seed, **options), seed=seed)


def _tpe(seed: int, **options: Any) -> BaseSampler:
    """Tree-structured Parzen estimator (Bergstra et al. 2011); options of Optuna's `TPESampler`."""
    # Constant liar: without it, the sampler proposes the same region to all trials in flight.
    return make_seeded(TPESampler, seed, **{"constant_liar": True, **options})


def _random(seed: int, **options: Any) -> BaseSampler:
    """Uniform over all encodings: the baseline for every other sampler."""
    return make_seeded(optuna.samplers.RandomSampler, seed, **options)


def _gp(seed: int, **options: Any) -> BaseSampler:
    """Gaussian process with expected improvement; options of Optuna's `GPSampler`. Slow beyond a few hundred trials."""
    return make_seeded(optuna.samplers.GPSampler, seed, **options)


def _nsgaii(seed: int, **options: Any) -> BaseSampler:
    """NSGA-II (Deb et al. 2002), for several objectives; options of Optuna's `NSGAIISampler`."""
    return make_seeded(optuna.samplers.NSGAIISampler, seed, **options)


def _nsgaiii(seed: int, **options: Any) -> BaseSampler:
    """NSGA-III (Deb and Jain 2014), for three or more objectives; options of Optuna's `NSGAIIISampler`."""
    return make_seeded(optuna.samplers.NSGAIIISampler, seed, **options)


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
"""Every sampler that a search file may name, besides `optuna:NAME` and `module:NAME`.

Each is called with the seed, the search file's options, and `space` if it has that parameter.
"""
