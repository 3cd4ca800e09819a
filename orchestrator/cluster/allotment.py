"""How many trials fit on the nodes of a cluster, now and once it has grown. Pure functions of numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from orchestrator.cluster.autoscaling import HEAD, Growth
from orchestrator.config import ResourceSettings
from orchestrator.errors import ClusterError

NodeResources = Mapping[str, float]


MOST_AHEAD = 16
"""For so many trials an autoscaler is asked at a time; more would be proposed long before any result is known."""


@dataclass(frozen=True)
class Allotment:
    """What each trial gets, and how many trials run at a time (`slots`) on so many `nodes`.

    Where an autoscaler can add nodes, `slots` is what is there now, 0 perhaps, and `most_slots` what there can be; None
    if the autoscaler does not tell.
    """

    nodes: int
    slots: int
    cpus_per_trial: int
    gpus_per_trial: float
    most_slots: int | None

    @property
    def slots_on_record(self) -> int:
        """As many as the search may come to have, by which it is told how busy they were."""
        return self.most_slots or self.slots

    @property
    def ahead(self) -> int:
        """How many trials to make ready ahead: one for each slot, and some that make an autoscaler add nodes."""
        most = MOST_AHEAD if self.most_slots is None else min(MOST_AHEAD, self.most_slots)
        return max(self.slots, most)


def allot(settings: ResourceSettings, nodes: Sequence[NodeResources], growth: Growth | None = None) -> Allotment:
    """What `[resources]` comes to on these nodes, and on those that an autoscaler can add.

    Raises:
        ClusterError: not even one trial fits, now or later.
    """
    cpus, gpus = settings.cpus_per_trial, settings.gpus_per_trial
    kinds = growth.kinds if growth is not None else ()
    if gpus == "auto":
        gpus = 1.0 if any(node.get("GPU", 0) >= 1 for node in [*nodes, *(kind.resources for kind in kinds)]) else 0.0
        if gpus == 0 and growth is not None and not growth.complete:
            raise ClusterError(
                "resources.gpus_per_trial is 'auto', but the cluster's autoscaler does not tell which nodes it can "
                "add; set it to a number (0 without GPUs)"
            )
    slots = sum(trials_that_fit(cpus, gpus, node) for node in nodes)
    most_slots = _most_slots(cpus, gpus, nodes, slots, growth)
    if most_slots == 0:
        raise ClusterError(_misfit(cpus, gpus, [*nodes, *(kind.resources for kind in kinds)]))
    return Allotment(len(nodes), slots, cpus, gpus, most_slots)


def trials_that_fit(cpus: int, gpus: float, node: NodeResources) -> int:
    """How many trials fit on a node at a time; a fraction of a GPU does not span two GPUs."""
    by_cpus = int(node.get("CPU", 0) // cpus)
    if gpus == 0:
        return by_cpus
    if gpus < 1:
        return min(by_cpus, int(node.get("GPU", 0)) * int(1 / gpus + 1e-9))
    return min(by_cpus, int(node.get("GPU", 0) // gpus))


def count_slots(cpus: int, gpus: float, nodes: Sequence[NodeResources]) -> int:
    """How many trials fit on the nodes at a time; a trial does not span two nodes.

    Raises:
        ClusterError: not even one fits.
    """
    slots = sum(trials_that_fit(cpus, gpus, node) for node in nodes)
    if slots == 0:
        raise ClusterError(_misfit(cpus, gpus, nodes))
    return slots


def _most_slots(
    cpus: int, gpus: float, nodes: Sequence[NodeResources], slots: int, growth: Growth | None
) -> int | None:
    """How many slots there can be: the head's, and those of the best workers that an autoscaler can add."""
    if growth is None:
        return slots
    if not growth.complete or growth.most_nodes is None:
        return None
    most = sum(trials_that_fit(cpus, gpus, node) for node in nodes if HEAD in node)
    room = growth.most_nodes
    for fit, kind in sorted(
        ((trials_that_fit(cpus, gpus, kind.resources), kind) for kind in growth.kinds),
        key=lambda pair: pair[0],
        reverse=True,
    ):
        most += fit * min(kind.most, room)
        room -= min(kind.most, room)
    return max(slots, most)


def _misfit(cpus: int, gpus: float, nodes: Sequence[NodeResources]) -> str:
    most_cpus = max((node.get("CPU", 0) for node in nodes), default=0)
    most_gpus = max((node.get("GPU", 0) for node in nodes), default=0)
    return (
        f"a trial asks for {cpus} CPUs and {gpus:g} GPUs, but the largest of {len(nodes)} nodes has "
        f"{most_cpus:g} CPUs and {most_gpus:g} GPUs (resources.cpus_per_trial, resources.gpus_per_trial)"
    )
