"""Estimates the GPU memory that a trial needs, from the networks' plans. No torch."""

from __future__ import annotations

import contextlib

import numpy as np

from trainables.costs import NetworkCosts, network_costs
from trainables.datasets import DataSplits
from trainables.trial_plan import TrialPlan

SAMPLED = 64
"""So many random candidates are looked at; the estimate is that of the one that needs most."""

CONTEXT_BYTES = 2**30
"""Of CUDA, cuDNN and cuBLAS in each process."""

WEIGHT_BYTES = 20
"""Of a parameter in training: itself, its gradient, its momentum, its average, and a copy (bfloat16, a checkpoint)."""

ACTIVATION_FACTOR = 2
"""What is kept for the backward pass, and as much again for gradients, work space and fragments."""


def trial_gpu_bytes(plan: TrialPlan, data: DataSplits) -> int | None:
    """Estimate the GPU memory in bytes that the training of a candidate needs, with the images, which are kept there.

    Returns None if none of the candidates that were looked at can be built.
    """
    rng = np.random.default_rng(plan.seed)
    needed = []
    for _ in range(SAMPLED):
        architecture = plan.space.sample(rng)
        with contextlib.suppress(ValueError):  # in a search this candidate is one failed trial
            needed.append(_training_bytes(network_costs(plan.network_spec(architecture)), plan.training.batch_size))
    images = sum(part.images.nbytes + part.labels.nbytes for part in (data.train, data.validation))
    return CONTEXT_BYTES + images + max(needed) if needed else None


def _training_bytes(costs: NetworkCosts, batch_size: int) -> int:
    return WEIGHT_BYTES * costs.parameters + ACTIVATION_FACTOR * batch_size * costs.activation_bytes
