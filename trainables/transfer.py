"""A network that starts from the weights of another training, for other classes too; all of it trained, or its
classifier alone.

Knows which tensors are features and which the classifier. Does not know where weights come from.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from safetensors import SafetensorError
from safetensors.torch import load
from torch import Tensor, nn

from trainables.baseline_spec import BaselineSpec
from trainables.baselines import Network, build_network
from trainables.network import CellNetwork
from trainables.network_spec import NetworkSpec


@dataclass(frozen=True)
class Start:
    """What a training starts from.

    Args:
        weights: the contents of a safetensors file.
        freeze: whether the classifier alone is trained, on the features that the weights give.
    """

    weights: bytes
    freeze: bool = False

    def check(self, spec: NetworkSpec | BaselineSpec) -> None:
        """
        Raises:
            ValueError: the weights are none, or not those of such a network; see `give_weights`.
        """
        with torch.random.fork_rng(devices=[]):
            network = build_network(spec)
        _fitting(network, self._tensors())

    def prepare(self, network: Network) -> None:
        """Give it the weights; with `freeze`, gradients are those of its classifier only.

        A frozen network is to be trained in the mode of evaluation, so that the statistics of its batch norms stay and
        nothing is dropped.

        Raises:
            ValueError: as for `check`.
        """
        give_weights(network, self._tensors())
        if self.freeze:
            place = classifier_place(network)
            assert place is not None, "a backbone has no classifier"
            for name, parameter in network.named_parameters():
                parameter.requires_grad_(name.startswith(place))

    def _tensors(self) -> dict[str, Tensor]:
        try:
            return load(self.weights)
        except SafetensorError as error:
            raise ValueError("not in the safetensors format") from error


def give_weights(network: Network, weights: Mapping[str, Tensor]) -> None:
    """Load the weights of a network of the same cells, or of the same baseline, whatever its classes.

    The classifier is taken over if it is for as many classes, and left at its random weights otherwise. So is each
    tensor of an auxiliary head, whose sizes depend on the images' too. All else must agree by name and shape.

    Args:
        network: may be a backbone (`CellNetwork` with `features_only`), which has no classifier.
        weights: the state dict of a network or of a backbone.

    Raises:
        ValueError: they are those of another architecture.
    """
    network.load_state_dict({**network.state_dict(), **_fitting(network, weights)})


def _fitting(network: Network, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """What the network takes over, by the names of its own tensors."""
    own = network.state_dict()
    place = classifier_place(network)
    classifier = [] if place is None else [name for name in own if name.startswith(place)]
    features = {name: value for name, value in own.items() if name not in classifier and not _is_auxiliary(name)}
    for name, value in features.items():
        if name not in weights:
            raise ValueError(f"weights of another architecture: they lack {name}")
        if weights[name].shape != value.shape:
            there, here = tuple(weights[name].shape), tuple(value.shape)
            raise ValueError(f"weights of another architecture: {name} has shape {there} there, and {here} here")
    # A dropout layer before it gives the classifier of a cell network another number.
    their_place = "head." if isinstance(network, CellNetwork) else place or ""
    their_classifier = {}
    for name, value in weights.items():
        if name not in features and not _is_auxiliary(name):
            if not name.startswith(their_place):
                raise ValueError(f"weights of another architecture: {name} is none of this one's")
            their_classifier[_leaf(name)] = value
    taken = {name: weights[name] for name in features}
    shapes = {_leaf(name): own[name].shape for name in classifier}
    if shapes == {name: value.shape for name, value in their_classifier.items()}:
        taken |= {name: their_classifier[_leaf(name)] for name in classifier}
    auxiliary = [name for name in own if _is_auxiliary(name) and name in weights]
    return taken | {name: weights[name] for name in auxiliary if weights[name].shape == own[name].shape}


def classifier_place(network: Network) -> str | None:
    """How the names of the classifier's tensors begin, which torchvision calls differently in each model; None for a
    backbone."""
    if isinstance(network, CellNetwork) and network.features_only:
        return None
    layers = [name for name, module in network.named_modules() if isinstance(module, nn.Linear | nn.Conv2d)]
    return f"{[name for name in layers if not _is_auxiliary(name)][-1]}."


def _is_auxiliary(name: str) -> bool:
    return name.startswith("auxiliary.")


def _leaf(name: str) -> str:
    return name.rpartition(".")[2]
