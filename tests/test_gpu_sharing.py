"""How many trials share a GPU under `gpus_per_trial = "auto"`; the GPUs themselves are made up."""

from __future__ import annotations

import io
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import ray
from rich.console import Console

from orchestrator.cluster import gpu_sharing
from orchestrator.cluster.gpu_sharing import GpuNode, memory_to_share
from orchestrator.progress import Progress
from orchestrator.record.run_directory import RunDirectory
from orchestrator.search.passed import PassedParts
from orchestrator.search.setup import SearchComponents, run_environment
from tests.builders import config
from tests.stepping import PLAN
from trainables import CellTrainable
from trainables.datasets import load_data
from trainables.settings import DataSettings

GIB = 2**30


@pytest.mark.parametrize(
    ("cpus", "gpus", "memory", "trials"),
    [
        (16, 1, 80 * GIB, 4),  # the memory allows 19
        (16, 1, 10 * GIB, 2),
        (16, 1, 3 * GIB, 1),  # less than a trial needs: it begins, and gets smaller batches
        (16, 1, 0, 1),  # not to be shared
        (8, 4, 80 * GIB, 2),  # four on each of two GPUs would leave two GPUs idle
        (2, 4, 80 * GIB, 1),
    ],
)
def test_trials_share_a_gpu_as_far_as_its_memory_and_the_cpus_allow(
    cpus: int, gpus: int, memory: int, trials: int
) -> None:
    assert GpuNode(cpus, gpus, memory).trials_per_gpu(4 * GIB, cpus_per_trial=1) == trials


@pytest.mark.parametrize(
    ("answer", "mps", "memory"),
    [
        ("81559\\n40960\\n", True, 40960 * 2**20),
        ("81559\\n", False, 0),
        ("[N/A]\\n", True, 0),
        ("", True, 0),
    ],
)
def test_the_memory_to_share_is_that_of_the_smallest_gpu_under_mps(
    answer: str, mps: bool, memory: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tool = tmp_path / "nvidia-smi"
    tool.write_text(f"#!/bin/sh\nprintf '{answer}'\n")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    monkeypatch.setenv("CUDA_MPS_PIPE_DIRECTORY", str(tmp_path))
    if mps:
        (tmp_path / "control").touch()
    assert memory_to_share() == memory


def test_without_nvidias_driver_there_is_no_memory_to_share(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "control").touch()
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("CUDA_MPS_PIPE_DIRECTORY", str(tmp_path))
    assert memory_to_share() == 0


def test_the_memory_of_a_trial_suffices_for_nearly_all_candidates() -> None:
    data = load_data(DataSettings(limit=150), seed=0)
    rng = np.random.default_rng(PLAN.seed + 1)
    kept = [PLAN.costs(PLAN.space.sample(rng))["activation_bytes"] * PLAN.training.batch_size for _ in range(100)]
    estimate = CellTrainable.gpu_bytes(PLAN, data)
    assert estimate is not None
    needed = estimate - GIB - data.train.images.nbytes - data.validation.images.nbytes
    assert 1.5 * np.quantile(kept, 0.95) < needed < 4 * max(kept)


def test_candidates_that_cannot_be_built_do_not_count_in_the_memory_of_a_trial() -> None:
    """Such a candidate is a failed trial, and no reason to end a search."""
    data = load_data(DataSettings(limit=150), seed=0)
    some, none = (
        replace(PLAN, space=replace(PLAN.space, operations=(*known, "unknown")))
        for known in (PLAN.space.operations, ())
    )
    assert (CellTrainable.gpu_bytes(some, data) or 0) > GIB
    assert CellTrainable.gpu_bytes(none, data) is None


def made_up(gpu_bytes: int) -> Any:
    return lambda: gpu_bytes


@pytest.mark.parametrize(("trainable", "share"), [("cell", 0.25), ("instant", 1.0)])
def test_a_search_shares_its_gpus_if_the_memory_of_a_trial_is_known(
    trainable: str, share: float, tmp_path: Path, local_ray: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    (node,) = ray.nodes()
    with_gpu = {**node, "Resources": {**node["Resources"], "CPU": 16, "GPU": 1}}
    monkeypatch.setattr(ray, "nodes", lambda: [with_gpu])
    monkeypatch.setattr(gpu_sharing, "memory_to_share", made_up(80 * GIB))
    components = SearchComponents.of(config(trainable={"name": trainable}), PassedParts())
    console = Console(file=io.StringIO(), width=200)
    with (
        console.capture() as capture,
        run_environment(
            components, RunDirectory.at(tmp_path / "run"), address=None, progress=Progress(console)
        ) as environment,
    ):
        assert (environment.allotment.gpus_per_trial, environment.allotment.slots) == (share, 1 / share)
    assert ("4 trials share a GPU; each needs about 1." in capture.get()) == (share < 1)
