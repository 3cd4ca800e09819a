"""Whether the node of this worker is about to be removed, as cloud providers announce for spot machines."""

from __future__ import annotations

import time

import ray

from trainables.library_internals import Internal

DRAINING_NODES = Internal(
    "ray",
    "_private.state.state.get_draining_nodes",
    read_in="2.60.0",
    without="a trial whose node is about to be removed does not write a last checkpoint",
)
"""Ray has no public function for this; Ray Train makes the same call."""

CHECK_SECONDS = 5.0
"""Minimum time between two queries to the cluster."""

_checked_at = 0.0


def node_is_draining() -> bool:
    """Whether this node is draining in Ray (by `ray drain-node`, or by the autoscaler on a provider's notice).

    Queries the cluster at most once in `CHECK_SECONDS`, and returns False in between and if Ray
    cannot say.
    """
    global _checked_at
    if not ray.is_initialized() or time.monotonic() - _checked_at < CHECK_SECONDS:
        return False
    _checked_at = time.monotonic()
    draining_nodes = DRAINING_NODES.read(ray)
    return draining_nodes is not None and ray.get_runtime_context().get_node_id() in draining_nodes()
