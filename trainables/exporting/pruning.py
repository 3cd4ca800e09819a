"""Prunes a network by magnitude (weights: Han et al. 2015; channels: Li et al. 2017) and fine-tunes it.

Pruning sets weights to zero. It makes a network neither smaller nor faster, but its file compresses better. Does not
know files.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from safetensors.torch import load, save
from torch import nn
from torch.nn.utils import prune

from trainables.baseline_spec import BaselineSpec
from trainables.datasets import DataSplits
from trainables.epoch_result import EpochResult
from trainables.loader import DeviceData
from trainables.network_spec import NetworkSpec
from trainables.retraining import select_device
from trainables.settings import TrainingSettings
from trainables.training import Training

LEARNING_RATE_FACTOR = 0.1
"""Learning rate of the fine-tuning, as a fraction of the training's."""


@dataclass(frozen=True)
class PrunedWeights:
    """Weights after pruning and fine-tuning."""

    weights: bytes
    """Contents of a safetensors file."""
    zeros: float
    """Fraction (0..1) of the weights of convolutions and linear layers that are zero."""


def prune_weights(
    spec: NetworkSpec | BaselineSpec,
    weights: bytes,
    *,
    kind: Literal["weights", "channels"],
    fraction: float,
    epochs: int,
    recipe: TrainingSettings,
    images: DataSplits,
    seed: int,
    on_epoch: Callable[[EpochResult], None] = lambda result: None,
) -> PrunedWeights:
    """Prune every layer by the same fraction, then fine-tune the remaining weights.

    Args:
        spec: the network.
        weights: its weights, as the contents of a safetensors file.
        kind: `weights`: single weights of convolutions and linear layers, by absolute value; `channels`: whole output
            channels of convolutions, by L2 norm.
        fraction: fraction of the weights or channels to prune, above 0 and below 1.
        epochs: epochs of fine-tuning; pruned weights stay zero.
        recipe: the recipe of the network's training; fine-tuning starts at a tenth of its learning rate.
        images: images for fine-tuning, with the mean and deviation of the network's training.
        seed: seed of the fine-tuning.
        on_epoch: called with the result of each epoch of fine-tuning.
    """
    settings = recipe.model_copy(
        update={
            "preset": None,
            "epochs": max(epochs, 1),
            "learning_rate": LEARNING_RATE_FACTOR * recipe.learning_rate,
            "learning_rate_end": 0.0,
            "schedule": "cosine",
            "restart_epochs": 0,
        }
    )
    training = Training(spec, settings, DeviceData(images, select_device()), seed=seed)
    training.network.load_state_dict(load(weights))
    training.network.to(memory_format=torch.contiguous_format)  # PyTorch's pruning needs this format
    layers = _layers(training.network, kind)
    for layer in layers:
        if kind == "weights":
            prune.l1_unstructured(layer, "weight", fraction)
        else:
            prune.ln_structured(layer, "weight", fraction, n=2, dim=0)
    for _ in range(epochs):
        on_epoch(training.train_epoch())
    for layer in layers:
        prune.remove(layer, "weight")
    values = torch.cat([layer.weight.detach().flatten() for layer in _layers(training.network, "weights")])
    tensors = {name: value.contiguous() for name, value in training.network.state_dict().items()}
    return PrunedWeights(save(tensors), float((values == 0).double().mean()))


def _layers(network: nn.Module, kind: str) -> list[nn.Conv1d | nn.Conv2d | nn.Linear]:
    """The layers that this kind of pruning changes."""
    kinds = nn.Conv1d | nn.Conv2d | nn.Linear if kind == "weights" else nn.Conv1d | nn.Conv2d
    return [module for module in network.modules() if isinstance(module, kinds)]
