"""Whether the node that a worker runs on is about to go, as cloud providers say of spot machines shortly before."""

from __future__ import annotations

import time

import ray

LOOK_SECONDS = 5.0
"""The cluster is asked no more often than this."""

_looked = 0.0


def node_is_draining() -> bool:
    """Whether Ray was told that this node goes (`ray drain-node`, or the autoscaler by a provider's notice)."""
    global _looked
    if not ray.is_initialized() or time.monotonic() - _looked < LOOK_SECONDS:
        return False
    _looked = time.monotonic()
    # Ray has no public call for it; its own training library asks like this.
    return ray.get_runtime_context().get_node_id() in ray._private.state.state.get_draining_nodes()
