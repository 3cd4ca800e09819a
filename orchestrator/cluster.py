"""The Ray cluster: joined or started, and how many trials fit on it at a time."""

from __future__ import annotations

import contextlib
import logging
import os
import socket
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import ray
from ray._private import ray_constants
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from orchestrator.autoscaling import HEAD, Growth
from orchestrator.config.search_config import ResourceSettings
from orchestrator.errors import ClusterError, last_line
from trainables.storage import Folder

NodeResources = Mapping[str, float]

MOST_AHEAD = 16
"""For so many trials an autoscaler is asked at a time; more would be proposed long before any result is known."""

STORAGE_SECONDS = 60.0
"""A node that has not answered by then cannot use the storage, or cannot start a worker."""


@contextlib.contextmanager
def connected(address: str | None) -> Iterator[str | None]:
    """Join the cluster at `address`, or start one on this machine and stop it at the end; gives the address of Ray's
    dashboard, None if the cluster has none (it takes Ray's `default` extra).

    One that is started here listens on loopback only. A Ray that the process has initialised already is used as it is.

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
        yield _dashboard(ray._private.worker.get_dashboard_url())
        return
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    with _on_loopback() if address is None else contextlib.nullcontext():
        try:
            # Without an address Ray would join whatever cluster it finds in its temporary folder, stale ones too.
            context = ray.init(
                address=address or "local",
                log_to_driver=False,
                logging_level=logging.ERROR,
                **({"include_dashboard": False} if address is None else {}),
            )
        except (ConnectionError, ValueError, RuntimeError) as error:
            reason = str(error).strip().splitlines()[0]
            raise ClusterError(f"no Ray cluster at {address or 'local'!r} (--address): {reason}") from error
        try:
            yield _dashboard(context.dashboard_url)
        finally:
            ray.shutdown()


def _dashboard(place: str | None) -> str | None:
    """Ray says HOST:PORT, unless it was told another address to give."""
    return None if not place else place if "://" in place else f"http://{place}"


@contextlib.contextmanager
def _on_loopback() -> Iterator[None]:
    """Let a Ray that is started meanwhile listen on 127.0.0.1 only, as it does by itself on macOS and Windows.

    On Linux its ports would be open to the network: it turns even `_node_ip_address="127.0.0.1"` into the network's
    address. It reads the environment variable when it is imported, so that this process needs the constant and Ray's
    other processes the variable. Who has set the variable is obeyed.
    """
    name = ray_constants.ENABLE_RAY_CLUSTERS_ENV_VAR
    if name in os.environ:
        yield
        return
    before = ray_constants.ENABLE_RAY_CLUSTER
    os.environ[name], ray_constants.ENABLE_RAY_CLUSTER = "0", False
    try:
        yield
    finally:
        ray_constants.ENABLE_RAY_CLUSTER = before
        del os.environ[name]


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


def check_storage(folder: Folder) -> None:
    """Refuse a folder that a node of the joined cluster on which trials can run does not see.

    A file is written here and looked for there, and removed; on a disk, in the nearest folder that exists, so that
    nothing stays behind. Nodes that join later are not asked.

    Raises:
        ClusterError: names the node.
    """
    here = ray.get_runtime_context().get_node_id()
    others = [
        node for node in ray.nodes() if node["Alive"] and node["NodeID"] != here and node["Resources"].get("CPU", 0) > 0
    ]
    if not others:
        return
    if folder.is_local:
        path = Path(folder.path)
        folder = Folder.at(next(parent for parent in (path, *path.parents) if parent.is_dir()))
    probe = f".cellscout-{uuid.uuid4().hex}"
    try:
        folder.write(probe, b"")
    except OSError as error:
        raise ClusterError(f"{folder} cannot be written: {last_line(error)} (run.storage)") from error
    try:
        asked = {_ask(folder, probe, node["NodeID"]): node["NodeManagerAddress"] for node in others}
        answered, silent = ray.wait(list(asked), num_returns=len(asked), timeout=STORAGE_SECONDS)
        for answer in answered:
            _check_answer(folder, asked[answer], answer)
        if silent:
            raise ClusterError(
                f"node {asked[silent[0]]} could not look for {folder} within {STORAGE_SECONDS:g} s (run.storage)"
            )
    finally:
        folder.remove(probe)


def _ask(folder: Folder, probe: str, node_id: str) -> ray.ObjectRef:
    there = NodeAffinitySchedulingStrategy(node_id, soft=False)
    return ray.remote(_sees).options(num_cpus=0, max_retries=0, scheduling_strategy=there).remote(folder, probe)


def _sees(folder: Folder, probe: str) -> str:
    """Empty if the file is seen, else why not."""
    try:
        return "" if folder.has(probe) else "a file that was just written is not there"
    except OSError as error:
        return last_line(error)


def _check_answer(folder: Folder, node: str, answer: ray.ObjectRef) -> None:
    try:
        reason = ray.get(answer)
    except (ray.exceptions.NodeDiedError, ray.exceptions.WorkerCrashedError, ray.exceptions.TaskUnschedulableError):
        return  # the node has left meanwhile, and others are used
    except ray.exceptions.RayError as error:
        reason = last_line(getattr(error, "cause", None) or error)
    if reason:
        raise ClusterError(
            f"{folder} is not seen by node {node}: {reason}; "
            "run.storage (or --run-dir) must be on a file system that all nodes share, or an object store (s3://...)"
        )
