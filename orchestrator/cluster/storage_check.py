"""Checks that every node of the cluster sees the run directory."""

from __future__ import annotations

import uuid
from pathlib import Path

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from orchestrator.errors import ClusterError, last_line
from trainables.storage import Folder

STORAGE_SECONDS = 60.0
"""A node that has not answered by then cannot use the storage, or cannot start a worker."""


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
