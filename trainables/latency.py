"""How long a network takes for a batch of images, measured on a device."""

from __future__ import annotations

import statistics
import time
from dataclasses import dataclass

import torch

from trainables.baselines import Network
from trainables.network import CellNetwork
from trainables.network_spec import NetworkSpec

WARM_UP = 3
MEASUREMENTS = 20


@dataclass(frozen=True)
class Latency:
    """Of one forward pass: the median, and the quartiles around it."""

    median_seconds: float
    lower_quartile_seconds: float
    upper_quartile_seconds: float


def measure_latency(network: Network, device: torch.device, batch_size: int = 1) -> Latency:
    """The latency of inference on random images, in float32, on `device`, where the network must be."""
    spec = network.spec
    images = torch.rand(batch_size, spec.image_channels, *spec.image_size, device=device)
    images = images.contiguous(memory_format=torch.channels_last)
    was_training = network.training
    network.eval()
    seconds = []
    with torch.inference_mode():
        for index in range(WARM_UP + MEASUREMENTS):
            _wait_for(device)
            started = time.perf_counter()
            network(images)
            _wait_for(device)
            if index >= WARM_UP:
                seconds.append(time.perf_counter() - started)
    network.train(was_training)
    lower, median, upper = statistics.quantiles(seconds, n=4)
    return Latency(median, lower, upper)


def latency_on_this_machine(spec: NetworkSpec, batch_size: int) -> tuple[str, Latency]:
    """The device, a GPU where there is one, and the latency of a network with random weights on it."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    network = CellNetwork(spec).to(device).to(memory_format=torch.channels_last)
    return str(device), measure_latency(network, device, batch_size)


def _wait_for(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
