"""A network with its weights as PyTorch runs it and as `torch.export` captures it. Knows no file format."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load
from torch.export import Dim, ExportedProgram

from trainables.baseline_spec import BaselineSpec
from trainables.baselines import Network, build_network
from trainables.exporting.model_file import Runner
from trainables.network_spec import NetworkSpec
from trainables.preprocessing import Preprocessing

EXAMPLES = 4
"""Images with which a graph is captured: more than one, so that their number is not taken for a constant."""


def network_in_use(spec: NetworkSpec | BaselineSpec, weights: bytes) -> Network:
    """The network for inference, on the CPU, without an auxiliary head.

    Args:
        spec: what it is.
        weights: a safetensors file, which may hold those of an auxiliary head.

    Raises:
        ValueError: there is no such network, or the weights are those of another one.
    """
    used = replace(spec, auxiliary_head=False) if isinstance(spec, NetworkSpec) else spec
    with torch.random.fork_rng(devices=[]):
        network = build_network(used)
    try:
        network.load_state_dict({name: value for name, value in load(weights).items() if _is_used(name)})
    except (RuntimeError, SafetensorError) as error:
        raise ValueError("the weights are those of another network") from error
    return network.eval().requires_grad_(False)


def runner_of(network: torch.nn.Module) -> Runner:
    """Runs a module on arrays."""

    def run(images: NDArray[np.float32]) -> NDArray[np.float32]:
        with torch.inference_mode():
            logits: NDArray[np.float32] = network(torch.tensor(images)).numpy()
        return logits

    return run


def captured(
    network: torch.nn.Module, preprocessing: Preprocessing, *, examples: int = EXAMPLES, most: int | None = None
) -> ExportedProgram:
    """The network's graph for any number of images, or for `most` at most."""
    images = torch.zeros(examples, preprocessing.channels, *preprocessing.image_size)
    count = Dim.DYNAMIC if most is None else Dim("images", min=1, max=most)
    return torch.export.export(network, (images,), dynamic_shapes=({0: count},))


def _is_used(name: str) -> bool:
    return not name.startswith("auxiliary.")
