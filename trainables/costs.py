"""What a network costs before it is trained: parameters and multiply-adds, counted on the meta device (no memory)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch.utils.flop_counter import FlopCounterMode

from trainables.network import CellNetwork
from trainables.network_spec import NetworkSpec


@dataclass(frozen=True)
class NetworkCosts:
    """`parameters`: trainable ones. `macs`: multiply-adds of convolutions and linear layers for one image."""

    parameters: int
    macs: int


def network_costs(spec: NetworkSpec) -> NetworkCosts:
    """Costs of the network; its auxiliary head counts as parameters but, serving only the training, not as work."""
    with torch.device("meta"):
        network = CellNetwork(spec).eval()
        image = torch.empty(1, spec.image_channels, *spec.image_size)
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        network(image)
    parameters = sum(parameter.numel() for parameter in network.parameters())
    return NetworkCosts(parameters, counter.get_total_flops() // 2)
