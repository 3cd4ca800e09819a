"""The exponential moving average of a network's weights, which is scored in place of the network itself.

As in TensorFlow's `ExponentialMovingAverage` with the number of the step, by which NASNet's authors train: at step t
(from 0) the decay is the smaller of `decay` and (1 + t) / (10 + t), so that the random weights are soon forgotten. The
running means and variances of batch norms are averaged too, as theirs are.
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
    """`network` holds the average of those of the network that is given; `decay` is at least 0 and below 1."""

    def __init__(self, network: NetworkT, decay: float) -> None:
        self.network = copy.deepcopy(network).eval()
        self.network.requires_grad_(False)
        self.decay = decay
        self.steps = 0

    @torch.no_grad()
    def update(self, network: NetworkT) -> None:
        """After a step of the training."""
        decay = min(self.decay, (1 + self.steps) / (10 + self.steps))
        averages, values = [], []
        theirs = network.state_dict()
        for name, average in self.network.state_dict().items():
            if average.is_floating_point():
                averages.append(average)
                values.append(theirs[name])
            else:  # how many batches a batch norm has seen
                average.copy_(theirs[name])
        get_ema_multi_avg_fn(decay)(averages, values, self.steps)
        self.steps += 1

    def state(self) -> dict[str, Tensor]:
        """All that `load_state` needs."""
        return {**self.network.state_dict(), "steps": torch.tensor(self.steps)}

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        self.steps = int(state["steps"])
        self.network.load_state_dict({name: value for name, value in state.items() if name != "steps"})
