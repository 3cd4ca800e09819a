"""By which nodes the joined cluster can grow, as its autoscaler's configuration says.

Knows where Ray keeps that configuration, which it does not tell by any call: the head's monitor process is started with
it. Does not know what a trial needs.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ray
import yaml
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

HEAD = "node:__internal_head__"
"""The resource by which Ray marks a cluster's head."""


@dataclass(frozen=True)
class NodeKind:
    """Nodes of one kind that the autoscaler can add, and how many there can be."""

    name: str
    resources: Mapping[str, float]
    most: int


@dataclass(frozen=True)
class Growth:
    """What the autoscaler can add: nodes of these kinds, `most_nodes` altogether.

    Not `complete` where it may add nodes whose resources it does not state.
    """

    kinds: tuple[NodeKind, ...] = ()
    most_nodes: int | None = None
    complete: bool = False


def growth() -> Growth | None:
    """By what the joined cluster can grow; None if no autoscaler is at work, or none that could add a node."""
    nodes = [node for node in ray.nodes() if node["Alive"]]
    head = next((node for node in nodes if HEAD in node["Resources"]), None)
    if head is None:
        return None
    if head["NodeID"] == ray.get_runtime_context().get_node_id():
        found = _configuration()
    else:
        there = NodeAffinitySchedulingStrategy(head["NodeID"], soft=False)
        found = ray.get(ray.remote(_configuration).options(num_cpus=0, scheduling_strategy=there).remote())
    if found is None:
        return Growth()
    return growth_of(found, present=len(nodes)) if found else None


def _configuration() -> dict[str, Any] | None:
    """The configuration of this head's autoscaler; empty if there is none, None if it runs elsewhere, as KubeRay's."""
    import psutil  # which Ray brings along, and finds once it is imported

    logs = f"--logs-dir={Path(ray._private.worker._global_node.get_session_dir_path()) / 'logs'}"
    for process in psutil.process_iter(["cmdline"]):
        words = process.info["cmdline"] or []
        if logs in words and any(word.endswith("monitor.py") for word in words):
            paths = [word.partition("=")[2] for word in words if word.startswith("--autoscaling-config=")]
            return dict(yaml.safe_load(Path(paths[0]).expanduser().read_text())) if paths else {}
    return None


def growth_of(configuration: Mapping[str, Any], present: int) -> Growth | None:
    """What a cluster launcher's configuration lets the autoscaler add to a cluster of `present` nodes."""
    most_nodes = int(configuration.get("max_workers", 2))
    if present > most_nodes:  # the head is none of the workers that are counted
        return None
    head_kind = configuration.get("head_node_type", "ray.head.default")
    kinds, complete = [], True
    for name, kind in configuration.get("available_node_types", {}).items():
        most = min(int(kind.get("max_workers", 0 if name == head_kind else most_nodes)), most_nodes)
        if most == 0:
            continue
        if kind.get("resources"):
            kinds.append(NodeKind(name, kind["resources"], most))
        else:
            complete = False
    return Growth(tuple(kinds), most_nodes, complete) if kinds or not complete else None
