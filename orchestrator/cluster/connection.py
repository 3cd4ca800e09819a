"""The connection to a Ray cluster, which is joined or started, and the resources of its nodes."""

from __future__ import annotations

import contextlib
import logging
import os
import socket
from collections.abc import Iterator

import ray

from orchestrator.cluster.allotment import NodeResources
from orchestrator.cluster.ray_internals import check_loopback, dashboard_url, listening_on_loopback
from orchestrator.errors import ClusterError


@contextlib.contextmanager
def connected(address: str | None) -> Iterator[str | None]:
    """Join the cluster at `address`, or start one on this machine and stop it at the end.

    A Ray that is started here listens on loopback only. A Ray that this process has already initialised is used as it
    is.

    Yields:
        The URL of Ray's dashboard; None if there is none (it takes Ray's `default` extra).

    Raises:
        ClusterError: there is no cluster at that address.
    """
    if address is not None and address.startswith("ray://"):
        raise ClusterError(
            f"--address is {address!r}; a search runs on a node of the cluster, with --address auto or HOST:PORT "
            "(Ray Client, ray://, would run it away from its record)"
        )
    if address is not None and address != "auto":
        _check_reachable(address)
    if ray.is_initialized():
        yield _with_scheme(dashboard_url())
        return
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    with listening_on_loopback() if address is None else contextlib.nullcontext():
        try:
            # Without an address Ray would join any cluster named in its temporary folder, even one that has ended.
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
            if address is None:
                check_loopback()
            yield _with_scheme(context.dashboard_url)
        finally:
            ray.shutdown()


def _with_scheme(place: str | None) -> str | None:
    """Return the dashboard's URL. Ray gives HOST:PORT, or a URL that the user has set for it."""
    return None if not place else place if "://" in place else f"http://{place}"


def _check_reachable(address: str) -> None:
    """Refuse an address where nothing listens; Ray itself would retry and log for minutes.

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
    """Return the resources of each node that is alive: `CPU`, `GPU`, `memory` and others."""
    return [node["Resources"] for node in ray.nodes() if node["Alive"]]
