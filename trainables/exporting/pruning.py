"""Weights that matter least set to zero, by magnitude (Han et al. 2015; channels: Li et al. 2017), then fine-tuning.

Nothing gets smaller or faster by this alone: zeros compress well, and that is all. Knows torch; no files.
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

RATE = 0.1
"""The learning rate of the fine-tuning, in that of the training."""


@dataclass(frozen=True)
class Pruned:
    """Weights, a safetensors file, and what part of those of convolutions and linear layers is zero (0..1)."""

    weights: bytes
    zeros: float


def pruned(
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
) -> Pruned:
    """Prune every layer by the same fraction, and train what is left.

    Args:
        spec, weights: the network and its weights, a safetensors file.
        kind: `weights`: single ones of convolutions and linear layers, by their absolute values. `channels`: those of
            whole output channels of convolutions, by their L2 norms.
        fraction: of them, above 0 and below 1.
        epochs: of fine-tuning; what is zero stays so.
        recipe: by which the network was trained; the fine-tuning begins at a tenth of its learning rate.
        images: to fine-tune on, with the mean and deviation that the network knows.
        seed: of the fine-tuning.
        on_epoch: told of each epoch of it.
    """
    settings = recipe.model_copy(
        update={
            "preset": None,
            "epochs": max(epochs, 1),
            "learning_rate": RATE * recipe.learning_rate,
            "learning_rate_end": 0.0,
            "schedule": "cosine",
            "restart_epochs": 0,
        }
    )
    training = Training(spec, settings, DeviceData(images, select_device()), seed=seed)
    training.network.load_state_dict(load(weights))
    training.network.to(memory_format=torch.contiguous_format)  # which PyTorch's pruning needs
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
    return Pruned(save(tensors), float((values == 0).double().mean()))


def _layers(network: nn.Module, kind: str) -> list[nn.Conv2d | nn.Linear]:
    kinds = (nn.Conv2d, nn.Linear) if kind == "weights" else (nn.Conv2d,)
    return [module for module in network.modules() if isinstance(module, kinds)]
