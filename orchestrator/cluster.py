"""The Ray cluster: joined or started, and how many trials fit on it at a time."""

from __future__ import annotations

import contextlib
import logging
import os
import socket
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import ray

from orchestrator.config import ResourceSettings
from orchestrator.errors import ClusterError

NodeResources = Mapping[str, float]


@contextlib.contextmanager
def connected(address: str | None) -> Iterator[None]:
    """Join the cluster at `address`, or start one on this machine and stop it at the end.

    A Ray that the process has initialised already is used as it is.

    Raises:
        ClusterError: there is no cluster at that address.
    """
    if address is not None and address.startswith("ray://"):
        raise ClusterError(
            f"--address is {address!r}; a search runs on a node of the cluster, with --address auto or HOST:PORT "
            "(Ray Client, ray://, would run it somewhere else than its record)"
        )
    if address is not None and address != "auto":
        _check_reachable(address)
    if ray.is_initialized():
        yield
        return
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        # Without an address Ray would join whatever cluster it finds in its temporary folder, stale ones too.
        ray.init(
            address=address or "local",
            log_to_driver=False,
            logging_level=logging.ERROR,
            **({"include_dashboard": False} if address is None else {}),
        )
    except (ConnectionError, ValueError, RuntimeError) as error:
        reason = str(error).strip().splitlines()[0]
        raise ClusterError(f"no Ray cluster at {address or 'local'!r} (--address): {reason}") from error
    try:
        yield
    finally:
        ray.shutdown()


def _check_reachable(address: str) -> None:
    """Refuse an address where nothing listens; Ray itself would try for minutes and log all the while.

    Raises:
        ClusterError: the address is not of the form HOST:PORT, or nothing listens there.
    """
    host, _, port = address.rpartition(":")
    if not host or not port.isdecimal():
        raise ClusterError(f"--address is {address!r}; it must be 'auto' or HOST:PORT, for example 10.0.0.1:6379")
    try:
        socket.create_connection((host, int(port)), timeout=5).close()
    except (OSError, OverflowError) as error:
        raise ClusterError(f"no Ray cluster at {address!r} (--address): {error}") from error


def node_resources() -> list[NodeResources]:
    """Resources of each node that is alive: `CPU`, `GPU`, `memory` and others."""
    return [node["Resources"] for node in ray.nodes() if node["Alive"]]


@dataclass(frozen=True)
class Allotment:
    """What each trial gets, and how many trials run at a time (`slots`) on so many `nodes`."""

    nodes: int
    slots: int
    cpus_per_trial: int
    gpus_per_trial: float


def allot(settings: ResourceSettings, nodes: Sequence[NodeResources]) -> Allotment:
    """What `[resources]` comes to on these nodes.

    Raises:
        ClusterError: not even one trial fits.
    """
    gpus = settings.gpus_per_trial
    if gpus == "auto":
        gpus = 1.0 if any(node.get("GPU", 0) >= 1 for node in nodes) else 0.0
    slots = count_slots(settings.cpus_per_trial, gpus, nodes)
    return Allotment(len(nodes), slots, settings.cpus_per_trial, gpus)


def count_slots(cpus: int, gpus: float, nodes: Sequence[NodeResources]) -> int:
    """How many trials fit on the nodes at a time; a trial does not span two nodes, nor a fraction two GPUs.

    Raises:
        ClusterError: not even one fits.
    """
    slots = 0
    for node in nodes:
        by_cpus = int(node.get("CPU", 0) // cpus)
        if gpus == 0:
            slots += by_cpus
        elif gpus < 1:
            slots += min(by_cpus, int(node.get("GPU", 0)) * int(1 / gpus + 1e-9))
        else:
            slots += min(by_cpus, int(node.get("GPU", 0) // gpus))
    if slots == 0:
        most_cpus = max((node.get("CPU", 0) for node in nodes), default=0)
        most_gpus = max((node.get("GPU", 0) for node in nodes), default=0)
        raise ClusterError(
            f"a trial asks for {cpus} CPUs and {gpus:g} GPUs, but the largest of {len(nodes)} nodes has "
            f"{most_cpus:g} CPUs and {most_gpus:g} GPUs (resources.cpus_per_trial, resources.gpus_per_trial)"
        )
    return slots
