"""The nodes that the autoscaler of the joined cluster can add, as its configuration states them.

Knows the cluster launcher's configuration. Does not know where Ray keeps it, nor what a trial needs.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from orchestrator.cluster.ray_internals import autoscaler_configuration, report_autoscaler

HEAD = "node:__internal_head__"
"""The resource that only a cluster's head has in Ray."""


@dataclass(frozen=True)
class NodeKind:
    """One kind of nodes that the autoscaler can add."""

    name: str
    resources: Mapping[str, float]
    max_nodes: int
    """Limit of the nodes of this kind."""


@dataclass(frozen=True)
class Growth:
    """The nodes that the autoscaler can add."""

    kinds: tuple[NodeKind, ...] = ()
    max_nodes: int | None = None
    """Limit of the nodes besides the head; None if it is not known."""
    complete: bool = False
    """Whether the resources of all these nodes are known."""


def growth() -> Growth | None:
    """Return what the joined cluster can add; None if it has no autoscaler, or one that cannot add a node."""
    nodes = [node for node in ray.nodes() if node["Alive"]]
    head = next((node for node in nodes if HEAD in node["Resources"]), None)
    if head is None:
        return None
    context = ray.get_runtime_context()
    if head["NodeID"] == context.get_node_id():
        configuration, gone = autoscaler_configuration(context.gcs_address)
    else:
        on_head = NodeAffinitySchedulingStrategy(head["NodeID"], soft=False)
        read = ray.remote(autoscaler_configuration).options(num_cpus=0, scheduling_strategy=on_head)
        configuration, gone = ray.get(read.remote(context.gcs_address))
    if gone:
        report_autoscaler(gone)
    if configuration is None:
        return Growth()
    return growth_of(configuration, present=len(nodes)) if configuration else None


def growth_of(configuration: Mapping[str, Any], present: int) -> Growth | None:
    """Return what the autoscaler can add to a cluster of `present` nodes by the cluster launcher's configuration."""
    max_nodes = int(configuration.get("max_workers", 2))
    if present > max_nodes:  # `present` counts the head, `max_workers` does not
        return None
    head_kind = configuration.get("head_node_type", "ray.head.default")
    kinds, complete = [], True
    for name, kind in configuration.get("available_node_types", {}).items():
        limit = min(int(kind.get("max_workers", 0 if name == head_kind else max_nodes)), max_nodes)
        if limit == 0:
            continue
        if kind.get("resources"):
            kinds.append(NodeKind(name, kind["resources"], limit))
        else:
            complete = False
    return Growth(tuple(kinds), max_nodes, complete) if kinds or not complete else None
