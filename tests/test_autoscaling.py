"""A cluster that grows: Ray's fake multi-node provider adds raylets on this machine when trials wait for them.

Not `ray.cluster_utils.AutoscalingCluster`, which ends every Ray of the machine at its start and needs a file that
Ray's wheel lacks.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import ray

from orchestrator.record.recorded_run import RecordedRun
from tests.own_ray import Head, free_port, ray_head

COMMAND = [sys.executable, "-m", "orchestrator.cli"]


MEETING = """
import time
from pathlib import Path
import numpy as np
import ray
from trainables import EpochTrainable
from trainables.epoch_result import EpochResult

class Meeting(EpochTrainable):
    # No trial ends before there have been trials on two nodes.
    def prepare(self, data):
        self.met = Path(__file__).parent / "met"
        self.met.mkdir(exist_ok=True)

    def begin(self, architecture):
        (self.met / ray.get_runtime_context().get_node_id()).touch()
        return {"device": "none"}

    def train_epoch(self):
        while len(list(self.met.iterdir())) < 2:
            time.sleep(0.1)
        fields = ("train_loss", "train_accuracy", "val_loss", "val_accuracy", "learning_rate", "seconds",
                  "images_per_second")
        return EpochResult(epoch=1, ended_at=time.time(), **dict.fromkeys(fields, 0.5))

    def weights(self):
        from safetensors.numpy import save
        return save({"none": np.zeros(1)})
"""


def configuration(address: str) -> dict[str, Any]:
    """A head without CPUs, and up to two workers of one."""
    lists = ("initialization", "setup", "head_setup", "worker_setup", "head_start_ray", "worker_start_ray")
    return {
        "cluster_name": "fake",
        "max_workers": 3,
        "upscaling_speed": 10,
        "idle_timeout_minutes": 5,
        "provider": {
            "type": "fake_multinode",
            "gcs_address": address,
            "launch_multiple": True,
            "disable_launch_config_check": True,
            "disable_node_updaters": True,  # there is nothing to install, and no ssh
        },
        "auth": {},
        "docker": {},
        "file_mounts": {},
        "file_mounts_sync_continuously": False,
        "cluster_synced_files": [],
        "rsync_exclude": [],
        "rsync_filter": [],
        **{f"{name}_commands": [] for name in lists},
        "head_node_type": "ray.head.default",
        "available_node_types": {
            "ray.head.default": {"resources": {"CPU": 0}, "node_config": {}, "max_workers": 0},
            "worker": {"resources": {"CPU": 1}, "node_config": {}, "min_workers": 0, "max_workers": 2},
        },
    }


@pytest.fixture
def growing(tmp_path: Path) -> Iterator[Head]:
    port = free_port()
    address = f"{ray.util.get_node_ip_address()}:{port}"
    (tmp_path / "autoscaling.json").write_text(json.dumps(configuration(address)))
    environment = {"AUTOSCALER_UPDATE_INTERVAL_S": "1", "RAY_FAKE_CLUSTER": "1"}
    options = ["--num-cpus=0", "--include-dashboard=false", f"--autoscaling-config={tmp_path / 'autoscaling.json'}"]
    with ray_head(*options, environment=environment, port=port) as head:
        yield Head(address, head.environment, head.folder)


def run(head: Head, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, *arguments, "--address", head.address, "--json"],
        capture_output=True,
        text=True,
        env=head.environment,
        cwd=head.folder,
    )


@pytest.mark.slow
def test_a_search_starts_where_no_node_is_and_uses_those_that_come(growing: Head, tmp_path: Path) -> None:
    told = [finding["what"] for finding in json.loads(run(growing, "doctor").stdout)]
    assert "to come: up to 2 of 'worker', 1 CPU, 0 GPUs: 1 trial on each" in told
    assert told[-1] == "0 trials at a time, up to 2 as it grows, with 1 CPU and 0 GPUs each"

    refused = run(growing, "search", "--set", "resources.cpus_per_trial=2")
    assert refused.returncode == 2
    assert "a trial asks for 2 CPUs and 0 GPUs, but the largest of 2 nodes has 1 CPU" in refused.stderr

    (growing.folder / "meeting.py").write_text(MEETING)
    settings = ["trainable.name=meeting:Meeting", "scheduler.name=fifo", "budget.trials=6"]
    settings += ["scheduler.min_epochs=1", "training.epochs=1"]
    words = [word for setting in settings for word in ("--set", setting)]
    ended = run(growing, "search", "--run-dir", str(tmp_path / "run"), *words)
    assert ended.returncode == 0, ended.stderr
    state = RecordedRun.read(tmp_path / "run").state()
    assert sum(trial.status == "completed" for trial in state.trials.values()) == 6
    assert state.slots == 2
    told = [finding["what"] for finding in json.loads(run(growing, "doctor").stdout)]
    assert told[-1] == "2 trials at a time, with 1 CPU and 0 GPUs each"
