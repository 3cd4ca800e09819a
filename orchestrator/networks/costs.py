"""Reports what a network costs."""

from __future__ import annotations

from typing import Any

from orchestrator.errors import InputError, last_line
from trainables.costs import network_costs
from trainables.network_spec import NetworkSpec
from trainables.skeleton import SKELETONS


def costs_report(spec: NetworkSpec, batch_size: int, latency: bool) -> dict[str, Any]:
    """Count a network's costs and, with `latency`, measure the latency of a batch on this machine's GPU or CPU.

    Raises:
        InputError: the latency cannot be measured.
    """
    costs = network_costs(spec)
    name = next((name for name, skeleton in SKELETONS.items() if skeleton == spec.skeleton), "custom")
    size = "x".join(map(str, (spec.image_channels, *spec.image_size)))
    kind = "images" if len(spec.image_size) == 2 else "sequences"
    if spec.embedding is not None:
        kind += f" of {spec.embedding.tokens:,} tokens"
    found: dict[str, Any] = {
        "network": f"skeleton {name}, N = {spec.repeats}, F = {spec.filters}, {spec.classes} classes, {size} {kind}",
        "parameters": costs.parameters,
        "macs": costs.macs,
        "batch_size": batch_size,
        "activation_bytes": batch_size * costs.activation_bytes,
    }
    if latency:
        from trainables.latency import measure_on_this_machine  # takes seconds: it imports torch

        try:
            device, measured = measure_on_this_machine(spec, batch_size)
        except RuntimeError as error:  # most likely too little memory
            raise InputError(f"the latency cannot be measured: {last_line(error)}") from error
        found |= {
            "device": device,
            "latency_seconds": measured.median_seconds,
            "latency_lower_quartile_seconds": measured.lower_quartile_seconds,
            "latency_upper_quartile_seconds": measured.upper_quartile_seconds,
        }
    return found
