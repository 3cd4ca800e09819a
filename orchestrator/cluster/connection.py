"""The connection to a Ray cluster, which is joined or started, and the resources of its nodes."""

from __future__ import annotations

import contextlib
import logging
import os
import socket
from collections.abc import Iterator, Mapping
from typing import Any

import ray
from ray.exceptions import AuthenticationError

from orchestrator.cluster.allotment import NodeResources
from orchestrator.cluster.machine import (
    HUGE_PAGES,
    SLEEPING_THREADS,
    check_token,
    environment_variables,
    ray_temp,
    unless_set,
    usable_cpus,
)
from orchestrator.cluster.ray_internals import (
    apart_from_our_group,
    check_loopback,
    dashboard_url,
    job_config,
    listening_on_loopback,
)
from orchestrator.config import ResourceSettings
from orchestrator.errors import ClusterError

SIZE_VARIABLE = "RAY_OVERRIDE_RESOURCES"
"""Ray's environment variable for the resources of a node, whatever the machine has."""


@contextlib.contextmanager
def connected(address: str | None) -> Iterator[str | None]:
    """Join the cluster at `address`, or start one on this machine and stop it at the end.

    A Ray that is started here listens on loopback only, and has the cores that this process may use. A Ray that this
    process has already initialised is used as it is.

    Yields:
        The URL of Ray's dashboard; None if there is none (it takes Ray's `default` extra).

    Raises:
        ClusterError: there is no cluster at that address, it refuses the token, or Ray cannot be started here.
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
    check_token(address)
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    with contextlib.ExitStack() as stack:
        options: dict[str, Any] = {}
        if address is None:
            stack.enter_context(listening_on_loopback())
            temp = stack.enter_context(ray_temp())
            stack.enter_context(environment_variables(unless_set({**HUGE_PAGES, **SLEEPING_THREADS})))
            options = {"include_dashboard": False, "num_cpus": usable_cpus(), "_temp_dir": str(temp)}
        url = _init(address, options)
        stack.callback(ray.shutdown)
        if address is None:
            check_loopback()
        yield _with_scheme(url)


def _init(address: str | None, options: Mapping[str, Any]) -> str | None:
    """Join or start Ray; return the address of its dashboard, or None.

    Raises:
        ClusterError: Ray cannot be joined or started.
    """
    try:
        # Without an address Ray would join any cluster named in its temporary folder, even one that has ended.
        with apart_from_our_group():
            context = ray.init(
                address=address or "local",
                log_to_driver=False,
                logging_level=logging.ERROR,
                job_config=job_config(),
                **options,
            )
    except Exception as error:  # its parts raise many kinds, `Exception` itself included
        ray.shutdown()  # ends what has started already
        raise _explain(address, error) from error
    return context.dashboard_url


def _explain(address: str | None, error: Exception) -> ClusterError:
    """Return the reason that Ray gives, in one line."""
    causes: list[BaseException] = [error]
    while (cause := causes[-1].__cause__ or causes[-1].__context__) is not None:
        causes.append(cause)
    if address is not None and any(_is_about_token(cause) for cause in causes):
        return ClusterError(
            f"the cluster at {address!r} (--address) refuses our token: set RAY_AUTH_MODE=token, and RAY_AUTH_TOKEN or "
            "RAY_AUTH_TOKEN_PATH (default ~/.ray/auth_token)"
        )
    reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
    if address is not None:
        return _no_cluster(address, reason)
    return ClusterError(f"Ray cannot be started: {reason}; try again, and `cellscout doctor` checks what it needs")


def _no_cluster(address: str, reason: object) -> ClusterError:
    return ClusterError(
        f"no Ray cluster at {address!r} (--address): {reason}; start one with `ray start --head`, or leave --address "
        "out"
    )


def _is_about_token(error: BaseException) -> bool:
    return isinstance(error, AuthenticationError) or "Unauthenticated" in str(error)


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
        raise _no_cluster(address, error) from error


def check_cpus(settings: ResourceSettings, address: str | None) -> None:
    """Refuse a trial that needs more cores than a Ray will have that is started here. Does not wait for its start.

    Raises:
        ClusterError: the message names the bound.
    """
    if address is not None or ray.is_initialized() or SIZE_VARIABLE in os.environ:
        return  # only Ray knows
    if settings.cpus_per_trial > usable_cpus():
        raise ClusterError(
            f"resources.cpus_per_trial is {settings.cpus_per_trial}; it must be at most {usable_cpus()}, the CPU cores "
            "that this process may use"
        )


def node_resources() -> list[NodeResources]:
    """Return the resources of each node that is alive: `CPU`, `GPU`, `memory` and others."""
    return [node["Resources"] for node in ray.nodes() if node["Alive"]]
