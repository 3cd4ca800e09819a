"""Checks that every node of the cluster sees the run directory."""

from __future__ import annotations

import uuid
from pathlib import Path

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from orchestrator.errors import ClusterError, last_line
from trainables.storage import Folder

STORAGE_SECONDS = 60.0
"""Timeout of the check. A node that has not answered by then cannot use the storage, or cannot start a worker."""


def check_storage(folder: Folder) -> None:
    """Check that every node of the joined cluster on which trials can run sees the folder.

    Writes a file here, looks for it on each node, and removes it. On a disk the file is in the nearest folder that
    exists, so that nothing remains. Nodes that join later are not checked.

    Raises:
        ClusterError: a node does not see the folder, which the message names, or the folder cannot be written.
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
        nodes = {_start_look(folder, probe, node["NodeID"]): node["NodeManagerAddress"] for node in others}
        done, pending = ray.wait(list(nodes), num_returns=len(nodes), timeout=STORAGE_SECONDS)
        for answer in done:
            _check_answer(folder, nodes[answer], answer)
        if pending:
            raise ClusterError(
                f"node {nodes[pending[0]]} could not look for {folder} within {STORAGE_SECONDS:g} s (run.storage)"
            )
    finally:
        folder.remove(probe)


def _start_look(folder: Folder, probe: str, node_id: str) -> ray.ObjectRef:
    on_node = NodeAffinitySchedulingStrategy(node_id, soft=False)
    return ray.remote(_look).options(num_cpus=0, max_retries=0, scheduling_strategy=on_node).remote(folder, probe)


def _look(folder: Folder, probe: str) -> str:
    """Return why the file cannot be seen; empty if it can."""
    try:
        return "" if folder.has(probe) else "a file that was just written is not there"
    except OSError as error:
        return last_line(error)


def _check_answer(folder: Folder, node: str, answer: ray.ObjectRef) -> None:
    try:
        reason = ray.get(answer)
    except (ray.exceptions.NodeDiedError, ray.exceptions.WorkerCrashedError, ray.exceptions.TaskUnschedulableError):
        return  # the node has left the cluster, and the search uses the others
    except ray.exceptions.RayError as error:
        reason = last_line(getattr(error, "cause", None) or error)
    if reason:
        raise ClusterError(
            f"{folder} is not seen by node {node}: {reason}; "
            "run.storage (or --run-dir) must be on a file system that all nodes share, or an object store (s3://...)"
        )
