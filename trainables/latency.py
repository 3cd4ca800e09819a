"""Measures the inference latency of a network on a device."""

from __future__ import annotations

import contextlib
import fcntl
import os
import statistics
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from trainables.baseline_spec import BaselineSpec
from trainables.build_network import Network
from trainables.cuda_graph import EAGER_CALLS, DeviceStream, Replayed
from trainables.network import CellNetwork
from trainables.network_spec import NetworkSpec

WARM_UP_PASSES = EAGER_CALLS + 1
MEASURED_PASSES = 20


@dataclass(frozen=True)
class Latency:
    """Median and quartiles of the duration of one forward pass."""

    median_seconds: float
    lower_quartile_seconds: float
    upper_quartile_seconds: float


def measure_latency(network: Network, device: torch.device, batch_size: int = 1) -> Latency:
    """Measure inference on random float32 images, or tokens, on `device`, where the network must already be.

    On a GPU the pass is replayed as one graph, as a network in use would be, and one process of a machine measures at a
    time.
    """
    spec = network.spec
    images = _random_input(spec, batch_size, device)
    was_training = network.training
    network.eval()
    seconds = []
    stream = DeviceStream(device)
    run = Replayed(lambda: network(images), stream)
    with torch.inference_mode(), alone_on_node(device), stream.entered():
        for index in range(WARM_UP_PASSES + MEASURED_PASSES):
            _wait_for(device)
            started = time.perf_counter()
            run()
            _wait_for(device)
            if index >= WARM_UP_PASSES:
                seconds.append(time.perf_counter() - started)
    network.train(was_training)
    lower, median, upper = statistics.quantiles(seconds, n=4)
    return Latency(median, lower, upper)


def _random_input(spec: NetworkSpec | BaselineSpec, batch_size: int, device: torch.device) -> Tensor:
    if isinstance(spec, NetworkSpec) and spec.embedding is not None:
        return torch.randint(spec.embedding.tokens, (batch_size, *spec.image_size), device=device)
    images = torch.rand(batch_size, spec.image_channels, *spec.image_size, device=device)
    return images.contiguous(memory_format=torch.channels_last) if images.ndim == 4 else images


def measure_on_this_machine(spec: NetworkSpec, batch_size: int) -> tuple[str, Latency]:
    """Measure a network with random weights; return the device (a GPU if there is one) and the latency."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    network = CellNetwork(spec).to(device).to(memory_format=torch.channels_last)
    return str(device), measure_latency(network, device, batch_size)


@contextlib.contextmanager
def alone_on_node(device: torch.device) -> Iterator[None]:
    """Wait until no other process of this user measures on this machine's GPUs; on a CPU each has its own cores."""
    if device.type == "cpu":
        yield
        return
    with Path(tempfile.gettempdir(), f"cellscout-latency-{os.getuid()}").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _wait_for(device: torch.device) -> None:
    """Wait until all work on a GPU is done."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
