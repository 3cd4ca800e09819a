"""Regularised evolution as an Optuna sampler."""

from .evolution import EvolutionSampler

__all__ = ["EvolutionSampler"]
