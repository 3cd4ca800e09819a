"""Loads a network for inference and captures its graph by `torch.export`. Does not know file formats."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load
from torch.export import Dim, ExportedProgram

from trainables.baseline_spec import BaselineSpec
from trainables.build_network import Network, build_network
from trainables.exporting.model_file import Inputs, Runner
from trainables.network_spec import NetworkSpec
from trainables.preprocessing import Preprocessing

EXAMPLE_IMAGES = 4
"""Images with which a graph is captured. More than one, because `torch.export` treats a batch size of 1 as constant."""


def load_network(spec: NetworkSpec | BaselineSpec, weights: bytes) -> Network:
    """Load a network for inference, on the CPU, without its auxiliary head.

    Args:
        spec: the network.
        weights: contents of a safetensors file, with or without tensors of an auxiliary head.

    Raises:
        ValueError: the network cannot be built, or the weights are those of another network.
    """
    spec = replace(spec, auxiliary_head=False) if isinstance(spec, NetworkSpec) else spec
    with torch.random.fork_rng(devices=[]):
        network = build_network(spec)
    try:
        network.load_state_dict({name: value for name, value in load(weights).items() if _is_used(name)})
    except (RuntimeError, SafetensorError) as error:
        raise ValueError("the weights are those of another network") from error
    return network.eval().requires_grad_(False)


def make_runner(network: torch.nn.Module) -> Runner:
    """A `Runner` of a PyTorch module."""

    def run(images: Inputs) -> NDArray[np.float32]:
        with torch.inference_mode():
            logits: NDArray[np.float32] = network(torch.tensor(images)).numpy()
        return logits

    return run


def capture(
    network: torch.nn.Module,
    preprocessing: Preprocessing,
    *,
    examples: int = EXAMPLE_IMAGES,
    max_images: int | None = None,
) -> ExportedProgram:
    """Capture the network's graph for batches of any size, or of at most `max_images`."""
    black = np.zeros((examples, *preprocessing.image_size, preprocessing.channels), np.float32)
    # With the strides of a new tensor, because ExecuTorch compares them with those of the images that it is given.
    images = torch.zeros_like(torch.tensor(preprocessing.normalised(black)), memory_format=torch.contiguous_format)
    count = Dim.DYNAMIC if max_images is None else Dim("images", min=1, max=max_images)
    return torch.export.export(network, (images,), dynamic_shapes=({0: count},))


def _is_used(name: str) -> bool:
    """Whether inference uses the tensor."""
    return not name.startswith("auxiliary.")
