"""Builds the network of a spec: a `CellNetwork`, or a baseline."""

from __future__ import annotations

from trainables.baseline_spec import BaselineSpec
from trainables.baselines import BaselineNetwork
from trainables.network import CellNetwork
from trainables.network_spec import NetworkSpec

Network = CellNetwork | BaselineNetwork
"""A network that can be trained."""


def build_network(spec: NetworkSpec | BaselineSpec) -> Network:
    """Build the network of a spec, with random weights.

    Raises:
        ValueError: the network cannot be built; see `CellNetwork` and `BaselineNetwork`.
    """
    return CellNetwork(spec) if isinstance(spec, NetworkSpec) else BaselineNetwork(spec)
