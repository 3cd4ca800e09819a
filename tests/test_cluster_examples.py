"""examples/kuberay.yaml and examples/slurm.sh, as far as they can be tried without Kubernetes and SLURM."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
import typer.main
import yaml

from orchestrator.cli.app import app
from orchestrator.cluster.allotment import allot
from orchestrator.cluster.autoscaling import growth_of
from orchestrator.config.loading import parse_config
from orchestrator.record.recorded_run import RecordedRun
from orchestrator.record.run_directory import RunDirectory
from tests.own_ray import ray_command, short_folder

EXAMPLES = Path(__file__).parents[1] / "examples"
SEARCH_MAP, JOB = yaml.safe_load_all((EXAMPLES / "kuberay.yaml").read_text())
SLURM = EXAMPLES / "slurm.sh"


def containers() -> list[dict[str, Any]]:
    cluster = JOB["spec"]["rayClusterSpec"]
    pods = [group["template"]["spec"] for group in (cluster["headGroupSpec"], *cluster["workerGroupSpecs"])]
    for pod in pods:
        mounted = {mount["name"] for mount in pod["containers"][0]["volumeMounts"]}
        assert mounted == {volume["name"] for volume in pod["volumes"]}
    return [pod["containers"][0] for pod in pods]


def test_the_rayjob_runs_a_command_that_exists_on_files_that_are_there() -> None:
    assert (JOB["apiVersion"], JOB["kind"]) == ("ray.io/v1", "RayJob")
    program, name, *arguments = shlex.split(JOB["spec"]["entrypoint"])
    assert program == "cellscout"
    command = typer.main.get_command(app).commands[name]  # type: ignore[attr-defined]
    given = command.make_context(name, arguments).params
    assert given["address"] == "auto"
    for container in containers():
        places = {mount["name"]: Path(mount["mountPath"]) for mount in container["volumeMounts"]}
        assert given["search_file"] == places["search"] / next(iter(SEARCH_MAP["data"]))
        assert places["runs"] in Path(given["run_dir"]).parents
        assert places["runs"] in Path(config().data.root).parents


def config() -> Any:
    return parse_config(tomllib.loads(SEARCH_MAP["data"]["search.toml"]), "kuberay.yaml")


def test_the_rayjobs_cluster_asks_for_a_token_and_grows_by_what_a_trial_fits_on() -> None:
    """Read by Ray's own reader of KubeRay's resources, which checks it against the autoscaler's schema, too."""
    from ray.autoscaler._private.kuberay.autoscaling_config import _derive_autoscaling_config_from_ray_cr

    cluster = JOB["spec"]["rayClusterSpec"]
    assert cluster["authOptions"] == {"mode": "token"}
    assert cluster["enableInTreeAutoscaling"] is True
    derived = _derive_autoscaling_config_from_ray_cr(
        {"metadata": {"name": "cellscout", "namespace": "default"}, "spec": cluster}
    )
    found = allot(config().resources, [{}], growth_of(derived, present=1))
    assert (found.slots, found.most_slots) == (0, 16)


def test_the_rayjobs_ray_is_one_that_cellscout_works_with() -> None:
    import ray

    assert JOB["spec"]["rayClusterSpec"]["rayVersion"] == ray.__version__
    assert f"rayproject/ray:{ray.__version__}-" in (EXAMPLES / "kuberay.yaml").read_text()


def test_the_slurm_script_is_sound_bash() -> None:
    subprocess.run(["bash", "-n", SLURM], check=True)
    if shutil.which("shellcheck"):
        subprocess.run(["shellcheck", SLURM], check=True)


STUBS = {
    # Two names for this machine; one command is run there.
    "scontrol": 'test "$1 $2" = "show hostnames" && printf "%s\\n" ${3//,/ }',
    # SLURM gives a task one CPU unless it is asked for more.
    "srun": '[[ " $* " == *" --cpus-per-task=1 "* ]] || exit 1; while [[ $1 == --* ]]; do shift; done; exec "$@"',
    "hostname": "echo 127.0.0.1",
}


@pytest.mark.slow
def test_the_slurm_script_runs_a_search_to_its_end_on_two_nodes() -> None:
    with short_folder() as folder:
        programs = {
            **STUBS,
            "python": f'exec {sys.executable} "$@"',
            "cellscout": f'exec {sys.executable} -m orchestrator.cli "$@"',
            "ray": f'exec {sys.executable} {ray_command()} "$@" --object-store-memory=100000000',
        }
        (folder / "bin").mkdir()
        for name, line in programs.items():
            (folder / "bin" / name).write_text(f"#!/bin/bash\n{line}\n")
            (folder / "bin" / name).chmod(0o755)
        (folder / "search.toml").write_text('[trainable]\nname = "instant"\n[budget]\ntrials = 20\n')
        script = folder / "slurm.sh"
        script.write_text(SLURM.read_text().replace("/tmp/ray-$SLURM_JOB_ID", str(folder / "ray")))
        # Into a file: what the script leaves for SLURM to end would hold a pipe open.
        with (folder / "log").open("wb") as log:
            status = subprocess.call(
                ["bash", script, "search.toml", folder / "run"],
                stdout=log,
                stderr=log,
                cwd=folder,
                env={
                    **os.environ,
                    "PATH": f"{folder / 'bin'}:{os.environ['PATH']}",
                    "SLURM_JOB_ID": str(os.getpid()),
                    "SLURM_JOB_NODELIST": "node1,node2",
                    "SLURM_CPUS_PER_TASK": "1",
                    "SLURM_GPUS_ON_NODE": "0",
                    "RAY_USAGE_STATS_ENABLED": "0",
                    "OMP_NUM_THREADS": "1",
                },
            )
        assert status == 0, (folder / "log").read_text()
        directory = RunDirectory.at(folder / "run")
        assert RecordedRun.read(directory).state().outcome == "completed"
        assert RecordedRun.read(directory).state().slots == 2
        assert directory.read_info().resources["nodes"] == 2
