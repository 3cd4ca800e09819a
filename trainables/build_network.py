"""Builds the network of a spec: a `CellNetwork`, or a baseline."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

from trainables.baseline_spec import BaselineSpec
from trainables.network import CellNetwork
from trainables.network_spec import NetworkSpec

if TYPE_CHECKING:
    from trainables.baselines import BaselineNetwork

Network: TypeAlias = "CellNetwork | BaselineNetwork"
"""A network that can be trained."""


def build_network(spec: NetworkSpec | BaselineSpec) -> Network:
    """Build the network of a spec, with random weights.

    Raises:
        ValueError: the network cannot be built; see `CellNetwork` and `BaselineNetwork`.
    """
    if isinstance(spec, NetworkSpec):
        return CellNetwork(spec)
    from trainables.baselines import BaselineNetwork  # imports torchvision, which no worker of a search needs

    return BaselineNetwork(spec)
