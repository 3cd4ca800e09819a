"""Chooses how many trials share a GPU under `gpus_per_trial = "auto"`.

Knows the nodes, their GPUs and whether NVIDIA's MPS runs. Does not know how a trial's memory is estimated.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

MAX_SHARING = 4
"""Four trials on a GPU train more candidates an hour than one, and eight hardly more than four (benchmarks/gpu.md)."""

USABLE = 0.95
"""The part of a GPU's memory that its trials may fill."""

ANSWER_SECONDS = 60.0
"""Timeout of a node's answer."""


@dataclass(frozen=True)
class GpuNode:
    """A node with GPUs."""

    cpus: float
    gpus: float
    memory: int
    """Bytes of its smallest GPU; 0 if its GPUs cannot be shared."""

    def trials_per_gpu(self, trial_bytes: int, cpus_per_trial: int) -> int:
        """How many trials can share each GPU; at least 1."""
        # Ray fills one GPU before the next: more trials on each than there are CPUs for would leave GPUs idle.
        by_cpus = int(self.cpus // cpus_per_trial // self.gpus)
        by_memory = int(USABLE * self.memory // trial_bytes)
        return max(1, min(MAX_SHARING, by_cpus, by_memory))


def share_of_gpu(trial_bytes: int, cpus_per_trial: int) -> float:
    """Return the share of a GPU that each trial gets, so that the trials fit on every node that has GPUs.

    Args:
        trial_bytes: GPU memory that a trial needs.
        cpus_per_trial: `resources.cpus_per_trial`.
    """
    return 1 / min((node.trials_per_gpu(trial_bytes, cpus_per_trial) for node in _gpu_nodes()), default=1)


def mps_runs() -> bool:
    """Whether NVIDIA's MPS runs on this machine, by the pipe through which it is controlled.

    Without it, processes that share a GPU take turns.
    """
    return Path(os.environ.get("CUDA_MPS_PIPE_DIRECTORY", "/tmp/nvidia-mps"), "control").exists()


def memory_to_share() -> int:
    """Return the bytes of this machine's smallest GPU; 0 if MPS does not run here, or NVIDIA's driver does not tell."""
    if not mps_runs():
        return 0
    command = ["nvidia-smi", "--query-gpu=memory.total", "--format=csv,noheader,nounits"]
    try:
        answer = subprocess.run(command, capture_output=True, text=True, timeout=ANSWER_SECONDS, check=True).stdout
        return 2**20 * min(map(int, answer.split()))
    except (OSError, subprocess.SubprocessError, ValueError):
        return 0


def _gpu_nodes() -> Sequence[GpuNode]:
    """Ask all nodes that have GPUs; those of a node that does not answer in time are not shared."""
    nodes = [node for node in ray.nodes() if node["Alive"] and node["Resources"].get("GPU", 0) >= 1]
    answers = [_ask(node["NodeID"]) for node in nodes]
    if answers:
        ray.wait(answers, num_returns=len(answers), timeout=ANSWER_SECONDS)
    return [
        GpuNode(node["Resources"].get("CPU", 0), node["Resources"]["GPU"], _answer(found))
        for node, found in zip(nodes, answers, strict=True)
    ]


def _ask(node_id: str) -> ray.ObjectRef:
    on_node = NodeAffinitySchedulingStrategy(node_id, soft=False)
    return ray.remote(memory_to_share).options(num_cpus=0, max_retries=0, scheduling_strategy=on_node).remote()


def _answer(found: ray.ObjectRef) -> int:
    try:
        return int(ray.get(found, timeout=0))
    except ray.exceptions.RayError:  # also if it did not answer in time
        return 0
