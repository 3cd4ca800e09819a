"""The Ray cluster: joined or started, and how many trials fit on it at a time."""

from __future__ import annotations

import contextlib
import logging
import os
import socket
from collections.abc import Iterator

import ray
from ray._private import ray_constants

from orchestrator.cluster.allotment import NodeResources
from orchestrator.errors import ClusterError


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
