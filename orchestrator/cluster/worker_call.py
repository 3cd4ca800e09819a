"""Calls a function in a worker of the cluster, for what the driver cannot do because it imports no torch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import ray

from orchestrator.cluster.stopping import SearchStopper
from orchestrator.errors import ConfigError, SearchError, last_line


def call_in_worker(
    function: Callable[..., Any],
    *given: Any,
    doing: str,
    refusal: type[Exception],
    stopper: SearchStopper,
    cpus: int = 1,
    gpus: float = 0.0,
) -> Any:
    """Call a function in a Ray task, and return its result.

    Args:
        function: to be called.
        given: its arguments; it gets the value of a reference.
        doing: what it does, for an error.
        refusal: what it raises if an input is wrong.
        stopper: knows whether the user asked to stop.
        cpus, gpus: the resources of the task.

    Raises:
        ConfigError: it raised a refusal, whose message this is.
        SearchError: it failed for another reason.
        KeyboardInterrupt: the user asked to stop.
    """
    result = ray.remote(_call).options(num_cpus=cpus, num_gpus=gpus).remote(function, *given)
    try:
        while not ray.wait([result], timeout=0.2)[0]:
            stopper.check()
    except KeyboardInterrupt:
        ray.cancel(result, force=True)  # the cluster may go on without this process
        raise
    try:
        return ray.get(result)
    except ray.exceptions.RayError as error:  # for example, the worker ran out of memory
        cause = getattr(error, "cause", None)
        if isinstance(cause, refusal):
            raise ConfigError(str(cause)) from error
        raise SearchError(f"{doing} failed: {last_line(cause or error)}") from error


def _call(function: Callable[..., Any], *given: Any) -> Any:
    return function(*given)
