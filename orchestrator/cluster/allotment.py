"""How many trials fit on the nodes of a cluster, now and once it has grown. Pure functions of numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from orchestrator.cluster.autoscaling import HEAD, Growth
from orchestrator.config import ResourceSettings
from orchestrator.errors import ClusterError
from orchestrator.words import counted

NodeResources = Mapping[str, float]

MAX_AHEAD = 16
"""Limit of the trials that wait for an autoscaler. More would be suggested long before any result is known."""


@dataclass(frozen=True)
class Allotment:
    """The resources of each trial, and how many trials run at a time."""

    nodes: int
    """Number of nodes that are alive."""
    slots: int
    """Number of trials that run at a time on these nodes; 0 if an autoscaler has yet to add the first that fits one."""
    cpus_per_trial: int
    gpus_per_trial: float
    most_slots: int | None
    """Number of slots after an autoscaler has added all nodes that it can; None if its configuration is not known."""

    @property
    def slots_on_record(self) -> int:
        """The number of slots in the record, from which the utilisation is computed: `most_slots` if it is known."""
        return self.most_slots or self.slots

    @property
    def ahead(self) -> int:
        """How many trials to prepare ahead: one for each slot, or more, so that an autoscaler adds nodes."""
        limit = MAX_AHEAD if self.most_slots is None else min(MAX_AHEAD, self.most_slots)
        return max(self.slots, limit)


def allot(settings: ResourceSettings, nodes: Sequence[NodeResources], growth: Growth | None = None) -> Allotment:
    """Return what `[resources]` gives on these nodes and on those that an autoscaler can add.

    Raises:
        ClusterError: not even one trial fits, now or later.
    """
    cpus, gpus = settings.cpus_per_trial, settings.gpus_per_trial
    kinds = growth.kinds if growth is not None else ()
    if gpus == "auto":
        gpus = 1.0 if any(node.get("GPU", 0) >= 1 for node in [*nodes, *(kind.resources for kind in kinds)]) else 0.0
        if gpus == 0 and growth is not None and not growth.complete:
            raise ClusterError(
                "resources.gpus_per_trial is 'auto', but it is not known which nodes the cluster's autoscaler can "
                "add; set it to a number (0 without GPUs)"
            )
    slots = sum(count_fitting_trials(cpus, gpus, node) for node in nodes)
    most_slots = _count_all_slots(cpus, gpus=gpus, nodes=nodes, slots=slots, growth=growth)
    if most_slots == 0:
        raise ClusterError(_describe_misfit(cpus, gpus, [*nodes, *(kind.resources for kind in kinds)]))
    return Allotment(len(nodes), slots, cpus, gpus, most_slots)


def count_fitting_trials(cpus: int, gpus: float, node: NodeResources) -> int:
    """Return how many trials fit on a node at a time; a fraction of a GPU does not span two GPUs."""
    by_cpus = int(node.get("CPU", 0) // cpus)
    if gpus == 0:
        return by_cpus
    if gpus < 1:
        return min(by_cpus, int(node.get("GPU", 0)) * int(1 / gpus + 1e-9))
    return min(by_cpus, int(node.get("GPU", 0) // gpus))


def count_slots(cpus: int, gpus: float, nodes: Sequence[NodeResources]) -> int:
    """Return how many trials fit on the nodes at a time; a trial does not span two nodes.

    Raises:
        ClusterError: not even one fits.
    """
    slots = sum(count_fitting_trials(cpus, gpus, node) for node in nodes)
    if slots == 0:
        raise ClusterError(_describe_misfit(cpus, gpus, nodes))
    return slots


def _count_all_slots(
    cpus: int, *, gpus: float, nodes: Sequence[NodeResources], slots: int, growth: Growth | None
) -> int | None:
    """Return how many slots there can be: the head's, and those of the best workers that an autoscaler can add."""
    if growth is None:
        return slots
    if not growth.complete or growth.max_nodes is None:
        return None
    total = sum(count_fitting_trials(cpus, gpus, node) for node in nodes if HEAD in node)
    nodes_left = growth.max_nodes
    for fit, kind in sorted(
        ((count_fitting_trials(cpus, gpus, kind.resources), kind) for kind in growth.kinds),
        key=lambda pair: pair[0],
        reverse=True,
    ):
        total += fit * min(kind.max_nodes, nodes_left)
        nodes_left -= min(kind.max_nodes, nodes_left)
    return max(slots, total)


def _describe_misfit(cpus: int, gpus: float, nodes: Sequence[NodeResources]) -> str:
    max_cpus = max((node.get("CPU", 0) for node in nodes), default=0)
    max_gpus = max((node.get("GPU", 0) for node in nodes), default=0)
    return (
        f"a trial asks for {counted(cpus, 'CPU')} and {counted(gpus, 'GPU')}, but the largest of "
        f"{counted(len(nodes), 'node')} has {counted(max_cpus, 'CPU')} and {counted(max_gpus, 'GPU')} "
        "(resources.cpus_per_trial, resources.gpus_per_trial)"
    )
