"""Measures the time to count a candidate's costs, compared with PyTorch's own counter on the meta device.

Prints Markdown; `benchmarks/costs.md` is its output: python benchmarks/costs.py > benchmarks/costs.md
"""

import argparse
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from importlib.metadata import version

import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode

from search_spaces import SPACES, CellSpace
from trainables.costs import network_costs
from trainables.network import CellNetwork
from trainables.network_spec import NetworkSpec
from trainables.skeleton import SKELETONS


def candidate(space: CellSpace, generator: np.random.Generator) -> NetworkSpec:
    """Draw a network of the size that a search trains: N = 2, F = 16, CIFAR-10."""
    return NetworkSpec(
        architecture=space.sample(generator), skeleton=SKELETONS[space.skeleton], repeats=2, filters=16, classes=10
    )


def count(spec: NetworkSpec) -> tuple[int, int]:
    """Count parameters and multiply-adds with cellscout."""
    costs = network_costs(spec)
    return costs.parameters, costs.macs


def count_with_pytorch(spec: NetworkSpec) -> tuple[int, int]:
    """Count them by building the network on the meta device and running it under `FlopCounterMode`."""
    with torch.device("meta"):
        network = CellNetwork(spec).eval()
        image = torch.empty(1, spec.image_channels, *spec.image_size)
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        network(image)
    return sum(parameter.numel() for parameter in network.parameters()), counter.get_total_flops() // 2


def seconds(counter: Callable[[NetworkSpec], tuple[int, int]], spec: NetworkSpec) -> tuple[float, tuple[int, int]]:
    """Return the seconds of one count, and its result."""
    started = time.perf_counter()
    found = counter(spec)
    return time.perf_counter() - started, found


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--candidates", type=int, default=100, help="random candidates of each space")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    print("# The time to count a candidate's costs\n")
    machine = f"{platform.processor() or platform.machine()}, {os.cpu_count()} CPUs, Python {platform.python_version()}"
    print(f"{datetime.now(UTC):%Y-%m-%d}, {machine}, torch {version('torch')}. Written by\n")
    print(f"```\n{' '.join(['python benchmarks/costs.py', *sys.argv[1:]])}\n```\n")
    print(f"{arguments.candidates} random candidates of each space, N = 2, F = 16, one thread, both counters in turn;")
    print("median, fifth and ninety-fifth percentile. Both counts are equal for every candidate, which is checked.\n")
    print("| space | cellscout, ms | PyTorch's meta device and FlopCounterMode, ms | ratio |")
    print("|---|---|---|---|")
    generator = np.random.default_rng(0)
    for name, space in SPACES.items():
        ours, theirs = [], []
        count_with_pytorch(candidate(space, generator))  # warm-up
        for _ in range(arguments.candidates):
            spec = candidate(space, generator)
            our_seconds, our_counts = seconds(count, spec)
            their_seconds, their_counts = seconds(count_with_pytorch, spec)
            assert our_counts == their_counts, spec
            ours.append(our_seconds)
            theirs.append(their_seconds)
        ratios = [their / our for their, our in zip(theirs, ours, strict=True)]
        print(f"| {name} | {spread(ours, 1000)} | {spread(theirs, 1000)} | {spread(ratios, 1)} |")


def spread(values: list[float], factor: float) -> str:
    """Format the median, and the range without the most extreme tenth."""
    twentieths = statistics.quantiles(values, n=20)
    return f"{statistics.median(values) * factor:.1f} ({twentieths[0] * factor:.1f} to {twentieths[-1] * factor:.1f})"


if __name__ == "__main__":
    main()
