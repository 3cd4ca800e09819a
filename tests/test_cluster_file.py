"""cluster.yaml: AWS against Ray's schema; machines of one's own really started, over ssh to this one."""

from __future__ import annotations

import contextlib
import getpass
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from orchestrator.record.recorded_run import RecordedRun
from tests.own_ray import end_processes_of, free_port, ray_command, short_folder, wait_for

ROOT = Path(__file__).parents[1]
FILE = (ROOT / "cluster.yaml").read_text()
SSHD = shutil.which("sshd", path=f"{os.environ['PATH']}:/usr/sbin")


def aws() -> dict[str, Any]:
    return dict(yaml.safe_load(FILE))


def machines_of_ones_own() -> dict[str, Any]:
    """As its comment says: what it names is deleted, what follows uncommented."""
    before, _, commented = FILE.partition("# Your own machines instead of AWS: delete ")
    kept = yaml.safe_load(before)
    words, _, block = commented.partition("\n#\n")
    for name in words.partition(" and uncomment")[0].replace("\n#", "").split("`")[1::2]:
        del kept[name]
    for name in [name for name in kept if name.endswith("_commands")]:
        del kept[name]
    return {**kept, **yaml.safe_load("\n".join(line[2:] for line in block.splitlines()))}


def start_commands(config: dict[str, Any]) -> list[str]:
    commands = config["head_start_ray_commands"] + config["worker_start_ray_commands"]
    return [command for command in commands if "ray start" in command]


@pytest.mark.parametrize("config", [aws(), machines_of_ones_own()], ids=["aws", "local"])
def test_it_fits_rays_schema_and_asks_for_a_token(config: dict[str, Any]) -> None:
    from ray.autoscaler._private.util import prepare_config, validate_config

    validate_config(prepare_config(config))
    assert len(start_commands(config)) == 2
    assert all("RAY_AUTH_MODE=token" in command for command in start_commands(config))
    assert config["file_mounts"]["~/.ray/auth_token"] == "~/.ray/auth_token"
    assert "--dashboard-host=127.0.0.1" in start_commands(config)[0]


def test_on_aws_workers_are_on_spot_and_come_and_go() -> None:
    config = aws()
    worker = config["available_node_types"]["gpu_worker"]
    assert worker["node_config"]["InstanceMarketOptions"] == {"MarketType": "spot"}
    assert (worker["min_workers"], worker["max_workers"]) == (0, config["max_workers"])
    assert "InstanceMarketOptions" not in config["available_node_types"]["head"]["node_config"]


def test_its_ray_is_one_that_cellscout_works_with() -> None:
    import ray

    assert {
        image.partition(":")[2].partition("-")[0] for name, image in aws()["docker"].items() if "image" in name
    } == {ray.__version__}


@contextlib.contextmanager
def ssh_server(folder: Path, home: Path) -> Iterator[int]:
    """An sshd on loopback that lets in a key of the test's own, into a home of the test's own."""
    port = free_port()
    for key in ("host", "user"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", folder / key], check=True)
    shutil.copy(folder / "user.pub", folder / "authorized")
    environment = {"HOME": home, "RAY_TMPDIR": folder / "ray", "RAY_USAGE_STATS_ENABLED": "0", "OMP_NUM_THREADS": "1"}
    settings = [
        *("ListenAddress 127.0.0.1", f"Port {port}", f"HostKey {folder / 'host'}", f"PidFile {folder / 'sshd.pid'}"),
        *(f"AuthorizedKeysFile {folder / 'authorized'}", "StrictModes no", "UsePAM no", "PasswordAuthentication no"),
        "SetEnv " + " ".join(f"{name}={value}" for name, value in environment.items()),
    ]
    (folder / "sshd_config").write_text("\n".join(settings) + "\n")
    if os.getuid() == 0:
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)  # sshd wants it, and only root can make it
    assert SSHD is not None
    with (folder / "sshd.log").open("wb") as log:
        server = subprocess.Popen([SSHD, "-D", "-e", "-f", folder / "sshd_config"], stderr=log)
    try:
        wait_for(port, server)
        yield port
    finally:
        server.terminate()
        server.wait(60)


def write_program(path: Path, *lines: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(["#!/bin/bash", *lines, ""]))
    path.chmod(0o755)


def derived(folder: Path, port: int, dashboard: int) -> dict[str, Any]:
    """The file for machines of one's own, with this machine as the only one, other ports, and nothing to install."""
    config = machines_of_ones_own()
    config["cluster_name"] = folder.name
    config["provider"] = {"type": "local", "head_ip": "127.0.0.1", "worker_ips": []}
    config["auth"] = {"ssh_user": getpass.getuser(), "ssh_private_key": str(folder / "user")}
    config["file_mounts"]["~/cellscout-dist"] = str(folder / "dist")
    config["setup_commands"] = ["ls ~/cellscout-dist"]
    # Ray's defaults are the ports of any other Ray here; without an agent of its own, this one would take no jobs.
    own = f"--port={port} --dashboard-agent-listen-port=0 --temp-dir={folder / 'ray'}"
    own += f" --ray-client-server-port={port + 3} --min-worker-port=0 --max-worker-port=0"
    text = json.dumps(config).replace("--port=6379", own)
    return dict(json.loads(text.replace("8265", str(dashboard))))


@pytest.mark.slow
@pytest.mark.skipif(
    SSHD is None or shutil.which("rsync") is None, reason="needs sshd and rsync (openssh-server, rsync)"
)
def test_a_cluster_is_started_searched_on_and_taken_down() -> None:
    """`ray up`, `cellscout submit`, `ray down`, as docs/clusters.md says."""
    with short_folder() as folder:
        mine, node = folder / "mine", folder / "node"
        (folder / "dist").mkdir()
        (mine / ".ray").mkdir(parents=True)
        (mine / ".ray" / "auth_token").write_text("a-token-of-this-test-only-0123456789abcdef")
        with ssh_server(folder, node) as ssh_port:
            write_program(folder / "bin" / "ssh", f'exec {shutil.which("ssh")} -F none -p {ssh_port} "$@"')
            # On the node. `ray stop` would end every Ray of this machine; what is left running is ended below.
            real = ray_command()
            write_program(node / "bin" / "ray", f'test "$1" = stop || exec {sys.executable} {real} "$@"')
            (node / ".bash_profile").write_text(
                f"export PATH={node / 'bin'}:$PATH\n"
            )  # for the `ray stop` of `ray down`
            activate = node / "cellscout-env" / "bin" / "activate"
            write_program(activate, f"export PATH={node / 'bin'}:{Path(sys.executable).parent}:$PATH")
            environment = {
                **os.environ,
                "HOME": str(mine),
                "PATH": f"{folder / 'bin'}:{os.environ['PATH']}",
                "RAY_TMPDIR": str(folder / "launcher"),
                "RAY_AUTH_MODE": "token",
                "RAY_USAGE_STATS_ENABLED": "0",
            }
            (folder / "launcher").mkdir()
            port, dashboard = free_port(), free_port()
            (folder / "cluster.yaml").write_text(yaml.safe_dump(derived(folder, port, dashboard)))
            launch([real, "up", "-y", "--no-config-cache"], folder, environment)
            try:
                assert (node / ".ray" / "auth_token").read_text() == (mine / ".ray" / "auth_token").read_text()
                wait_for(dashboard)
                search_on(f"http://127.0.0.1:{dashboard}", folder, environment)
            finally:
                launch([real, "down", "-y"], folder, environment)
                end_processes_of(folder / "ray")


def launch(command: list[str], folder: Path, environment: dict[str, str]) -> None:
    ended = subprocess.run(
        [sys.executable, *command, str(folder / "cluster.yaml")],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        env=environment,
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr


def search_on(address: str, folder: Path, environment: dict[str, str]) -> None:
    (folder / "search.toml").write_text('[trainable]\nname = "instant"\n[budget]\ntrials = 4\n')
    command = [
        sys.executable,
        "-m",
        "orchestrator.cli",
        "submit",
        str(folder / "search.toml"),
        "--address",
        address,
    ]
    command += ["--run-dir", str(folder / "run"), "--json", "--set", "resources.gpus_per_trial=0"]
    stranger = {**environment, "RAY_AUTH_MODE": "disabled"}
    refused = subprocess.run(command, capture_output=True, text=True, env=stranger, cwd=folder)
    assert refused.returncode == 2
    assert "refuses our token" in refused.stderr
    ended = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=folder)
    assert ended.returncode == 0, ended.stderr
    assert json.loads(ended.stdout)["status"] == "SUCCEEDED"
    state = RecordedRun.read(folder / "run").state()
    assert state.outcome == "completed"
    assert sum(trial.status in ("completed", "pruned") for trial in state.trials.values()) == 4
