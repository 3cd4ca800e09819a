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
        # Kept, because both networks keep their tensors: a dictionary in each step would take longer than the update.
        self._pairs = list(zip(self.network.state_dict().values(), network.state_dict().values(), strict=True))
        fractions = [pair for pair in self._pairs if pair[0].is_floating_point()]
        self._averages, self._values = ([pair[place] for pair in fractions] for place in (0, 1))

    @torch.no_grad()
    def update(self) -> None:
        """Add the weights of the trained network after a training step."""
        decay = min(self.decay, (1 + self.steps) / (10 + self.steps))
        get_ema_multi_avg_fn(decay)(self._averages, self._values, self.steps)
        self.steps += 1

    @torch.no_grad()
    def copy_counts(self) -> None:
        """Copy the batch counters of the batch norms; integers are not averaged."""
        for average, value in self._pairs:
            if not average.is_floating_point():
                average.copy_(value)

    def state(self) -> dict[str, Tensor]:
        """Everything that `load_state` needs to continue."""
        return {**self.network.state_dict(), "steps": torch.tensor(self.steps)}

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        self.steps = int(state["steps"])
        self.network.load_state_dict({name: value for name, value in state.items() if name != "steps"})
