"""Exponential moving average of a network's weights, which is scored instead of the network itself.

Follows TensorFlow's `ExponentialMovingAverage` with `num_updates`, which NASNet's authors use: at step t (from 0) the
decay is the smaller of `decay` and (1 + t) / (10 + t), so that the random initial weights soon lose their influence. As
in their code, the running means and variances of batch norms are averaged too.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Generic, TypeVar

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import get_ema_multi_avg_fn

NetworkT = TypeVar("NetworkT", bound=nn.Module)


class WeightAverage(Generic[NetworkT]):
    """A copy of a network that holds the average of its weights, in `self.network`.

    Args:
        network: the network that is trained; the average starts from its current weights.
        decay: weight of the previous average in each update; at least 0 and below 1.
    """

    def __init__(self, network: NetworkT, decay: float) -> None:
        self.network = copy.deepcopy(network).eval()
        self.network.requires_grad_(False)
        self.decay = decay
        self.steps = 0

    @torch.no_grad()
    def update(self, network: NetworkT) -> None:
        """Add the weights of the trained network after a training step."""
        decay = min(self.decay, (1 + self.steps) / (10 + self.steps))
        averages, values = [], []
        current = network.state_dict()
        for name, average in self.network.state_dict().items():
            if average.is_floating_point():
                averages.append(average)
                values.append(current[name])
            else:  # the number of batches that a batch norm has seen
                average.copy_(current[name])
        get_ema_multi_avg_fn(decay)(averages, values, self.steps)
        self.steps += 1

    def state(self) -> dict[str, Tensor]:
        """Everything that `load_state` needs to continue."""
        return {**self.network.state_dict(), "steps": torch.tensor(self.steps)}

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        self.steps = int(state["steps"])
        self.network.load_state_dict({name: value for name, value in state.items() if name != "steps"})
