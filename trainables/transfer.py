"""Starts a training from the weights of another one, possibly for other classes.

Knows which tensors of a network are features and which are the classifier. Does not know where weights come from.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from safetensors import SafetensorError
from safetensors.torch import load
from torch import Tensor, nn

from trainables.baseline_spec import BaselineSpec
from trainables.build_network import Network, build_network
from trainables.network import CellNetwork
from trainables.network_spec import NetworkSpec


@dataclass(frozen=True)
class InitialWeights:
    """Weights from which a training starts."""

    weights: bytes
    """Contents of a safetensors file."""
    freeze: bool = False
    """Whether only the classifier is trained, on fixed features."""

    def check(self, spec: NetworkSpec | BaselineSpec) -> None:
        """Check that the weights fit the network of a spec.

        Raises:
            ValueError: they are not in the safetensors format, or do not fit; see `load_weights`.
        """
        with torch.random.fork_rng(devices=[]):
            network = build_network(spec)
        _matching_tensors(network, self._tensors())

    def prepare(self, network: Network) -> None:
        """Load the weights into a network; with `freeze`, only its classifier keeps gradients.

        The caller trains a frozen network in evaluation mode, so that its running statistics stay and nothing is
        dropped.

        Raises:
            ValueError: as for `check`.
        """
        load_weights(network, self._tensors())
        if self.freeze:
            prefix = classifier_prefix(network)
            assert prefix is not None, "a backbone has no classifier"
            for name, parameter in network.named_parameters():
                parameter.requires_grad_(name.startswith(prefix))

    def _tensors(self) -> dict[str, Tensor]:
        try:
            return load(self.weights)
        except SafetensorError as error:
            raise ValueError("not in the safetensors format") from error


def load_weights(network: Network, weights: Mapping[str, Tensor]) -> None:
    """Load the weights of a network of the same architecture or baseline, for the same or other classes.

    The classifier is loaded if it has the same number of classes; otherwise it keeps its random weights. Tensors of an
    auxiliary head are loaded if their shapes match; these also depend on the image size. All other tensors must have
    the same names and shapes.

    Args:
        network: a network, or a backbone (`CellNetwork` with `features_only`), which has no classifier.
        weights: the state dict of a network or of a backbone.

    Raises:
        ValueError: the weights belong to another architecture.
    """
    network.load_state_dict({**network.state_dict(), **_matching_tensors(network, weights)})


def _matching_tensors(network: Network, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors that the network loads, by their names in the network."""
    own = network.state_dict()
    prefix = classifier_prefix(network)
    classifier = [] if prefix is None else [name for name in own if name.startswith(prefix)]
    features = {name: value for name, value in own.items() if name not in classifier and not _is_auxiliary(name)}
    for name, value in features.items():
        if name not in weights:
            raise ValueError(f"weights of another architecture: they lack {name}")
        if weights[name].shape != value.shape:
            given, needed = tuple(weights[name].shape), tuple(value.shape)
            raise ValueError(f"weights of another architecture: {name} has shape {given}, but needs {needed}")
    # A dropout layer before the classifier of a cell network changes the classifier's index in the head.
    given_prefix = "head." if prefix is None else prefix
    if isinstance(network, CellNetwork):
        given_prefix = f"{given_prefix.partition('.')[0]}."
    given_classifier = {}
    for name, value in weights.items():
        if name not in features and not _is_auxiliary(name):
            if not name.startswith(given_prefix):
                raise ValueError(f"weights of another architecture: this one has no {name}")
            given_classifier[_leaf(name)] = value
    matching = {name: weights[name] for name in features}
    shapes = {_leaf(name): own[name].shape for name in classifier}
    if shapes == {name: value.shape for name, value in given_classifier.items()}:
        matching |= {name: given_classifier[_leaf(name)] for name in classifier}
    auxiliary = [name for name in own if _is_auxiliary(name) and name in weights]
    return matching | {name: weights[name] for name in auxiliary if weights[name].shape == own[name].shape}


def classifier_prefix(network: Network) -> str | None:
    """The prefix of the names of the classifier's tensors, which differs between torchvision's models.

    Returns None for a backbone.
    """
    if isinstance(network, CellNetwork) and network.features_only:
        return None
    layers = [name for name, module in network.named_modules() if isinstance(module, nn.Linear | nn.Conv2d)]
    return f"{[name for name in layers if not _is_auxiliary(name)][-1]}."


def _is_auxiliary(name: str) -> bool:
    return name.startswith("auxiliary.")


def _leaf(name: str) -> str:
    return name.rpartition(".")[2]
