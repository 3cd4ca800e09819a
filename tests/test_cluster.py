from __future__ import annotations

import itertools
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ray.exceptions import AuthenticationError

from orchestrator.cluster.allotment import MAX_AHEAD, Allotment, allot, count_slots
from orchestrator.cluster.autoscaling import HEAD as HEAD_MARK
from orchestrator.cluster.autoscaling import Growth, NodeKind, growth_of
from orchestrator.cluster.connection import check_cpus, connected
from orchestrator.cluster.doctor import examine, mps, plan_findings
from orchestrator.cluster.tune_run import _resources
from orchestrator.config.search_config import ResourceSettings
from orchestrator.errors import ClusterError
from trainables.assignment import Assignment

BOX: dict[str, float] = {"CPU": 16, "GPU": 4}
LAPTOP: dict[str, float] = {"CPU": 8}
HEAD: dict[str, float] = {HEAD_MARK: 1}
EIGHT: dict[str, float] = {"CPU": 64, "GPU": 8, "accelerator_type:H100": 1}


@pytest.mark.parametrize(
    ("cpus", "gpus", "nodes", "slots"),
    [
        (1, 0, [LAPTOP], 8),
        (3, 0, [LAPTOP], 2),
        (3, 0, [LAPTOP, LAPTOP], 4),  # a trial does not span two nodes, although 16 CPUs would fit 5
        (1, 1, [BOX], 4),
        (1, 0.25, [BOX], 16),
        (2, 0.25, [BOX], 8),
        (1, 0.4, [BOX], 8),  # two of 0.4 on a GPU, and not ten on four
        (1, 0.1, [{"CPU": 100, "GPU": 1}], 10),
        (1, 2, [BOX], 2),
        (1, 3, [BOX, BOX], 2),
        (1, 1, [HEAD, LAPTOP, BOX], 4),
        (1, 1, [EIGHT], 8),
        (1, 0.25, [EIGHT], 32),
        (1, 0.1, [EIGHT], 64),  # 80 by the GPUs
        (1, 3, [EIGHT], 2),
    ],
)
def test_slots_are_counted_node_by_node_and_card_by_card(
    cpus: int, gpus: float, nodes: list[dict[str, float]], slots: int
) -> None:
    assert count_slots(cpus, gpus, nodes) == slots


@pytest.mark.parametrize(("cpus", "gpus"), [(1, 5), (17, 0)])
def test_more_than_any_node_has_is_refused(cpus: int, gpus: float) -> None:
    with pytest.raises(ClusterError, match=r"the largest of 2 nodes has 16 CPUs and 4 GPUs \(resources.cpus_per_trial"):
        count_slots(cpus, gpus, [BOX, LAPTOP])


def test_more_cores_than_a_ray_that_is_started_here_would_have_are_refused_before_it_starts(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("orchestrator.cluster.connection.usable_cpus", lambda: 2)
    monkeypatch.setattr("ray.is_initialized", lambda: False)
    settings = ResourceSettings(cpus_per_trial=3)
    with pytest.raises(ClusterError, match=r"^resources.cpus_per_trial is 3; it must be at most 2, the CPU cores that"):
        check_cpus(settings, None)
    check_cpus(ResourceSettings(cpus_per_trial=2), None)
    check_cpus(settings, "auto")
    with monkeypatch.context() as overridden:
        overridden.setenv("RAY_OVERRIDE_RESOURCES", '{"CPU": 4}')
        check_cpus(settings, None)
    monkeypatch.setattr("ray.is_initialized", lambda: True)  # a Ray that the caller has started, perhaps a cluster
    check_cpus(settings, None)


@pytest.mark.parametrize(("setting", "nodes", "gpus"), [("auto", [BOX], 1), ("auto", [LAPTOP], 0), (0.5, [BOX], 0.5)])
def test_auto_takes_a_gpu_where_there_is_one(setting: Any, nodes: list[dict[str, float]], gpus: float) -> None:
    assert allot(ResourceSettings(gpus_per_trial=setting), nodes).gpus_per_trial == gpus


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("somewhere", "it must be 'auto' or HOST:PORT"),
        ("127.0.0.1:", "it must be 'auto' or HOST:PORT"),
        ("127.0.0.1:99999", "no Ray cluster at '127.0.0.1:99999'"),
        ("127.0.0.1:1", "no Ray cluster at '127.0.0.1:1' .--address.: .*refused"),
    ],
)
def test_an_address_where_no_cluster_listens_is_refused_at_once(address: str, message: str) -> None:
    with pytest.raises(ClusterError, match=message), connected(address):
        pass


def test_ray_client_addresses_are_refused_with_the_way_to_go() -> None:
    with pytest.raises(ClusterError, match="--address auto or HOST:PORT"), connected("ray://somewhere:10001"):
        pass


def chained(*errors: Exception) -> Exception:
    """The first error, raised from the second, and so on."""
    for error, cause in itertools.pairwise(errors):
        error.__cause__ = cause
    return errors[0]


REFUSED = RuntimeError(
    "Failed to connect to GCS. Last connection error: Traceback (most recent call last):\n"
    "ray.exceptions.RpcError: Unauthenticated: RPC error: InvalidAuthToken: Authentication token is missing"
)
"""What Ray 2.60.0 raises if the cluster refuses the token."""


@pytest.mark.parametrize(
    ("address", "error", "message"),
    [
        (
            "auto",
            chained(ConnectionError("Failed to connect to Ray cluster at 10.0.0.1:6379"), REFUSED),
            "refuses our token",
        ),
        ("auto", AuthenticationError("Token authentication is enabled"), "refuses our token: set RAY_AUTH_MODE=token"),
        (
            "auto",
            ConnectionError("Could not find any running Ray"),
            "no Ray cluster at 'auto' .*any running Ray; start",
        ),
        (
            None,
            OSError("AF_UNIX path length cannot exceed 107 bytes: /x"),
            "Ray cannot be started: AF_UNIX path .*doctor",
        ),
        (
            None,
            Exception("The current node timed out during startup.\nmore"),
            "Ray cannot be started: The .* startup.; ",
        ),
        (None, KeyError(), "Ray cannot be started: KeyError; "),
    ],
)
def test_whatever_keeps_ray_from_starting_is_told_in_one_line(
    address: str | None, error: Exception, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def init(**options: Any) -> None:
        raise error

    monkeypatch.setattr("ray.is_initialized", lambda: False)
    monkeypatch.setattr("ray.init", init)
    monkeypatch.setattr("ray.shutdown", lambda: None)  # or it would end the Ray of the other tests
    with pytest.raises(ClusterError, match=message) as raised, connected(address):
        pass
    assert "\n" not in str(raised.value)


def test_a_ray_that_is_started_here_gets_the_cores_that_may_be_used(monkeypatch: pytest.MonkeyPatch) -> None:
    given: dict[str, Any] = {}

    def init(**options: Any) -> SimpleNamespace:
        given.update(options)
        return SimpleNamespace(dashboard_url=None)

    monkeypatch.setattr("ray.is_initialized", lambda: False)
    monkeypatch.setattr("ray.init", init)
    monkeypatch.setattr("ray.shutdown", lambda: None)
    monkeypatch.setattr("orchestrator.cluster.connection.check_loopback", lambda: None)
    monkeypatch.setattr("orchestrator.cluster.connection.usable_cpus", lambda: 3)
    monkeypatch.setenv("RAY_TMPDIR", "/tmp/" + "long" * 30)
    monkeypatch.delenv("GLIBC_TUNABLES", raising=False)
    with connected(None):
        assert (given["address"], given["num_cpus"]) == ("local", 3)
        assert given["_temp_dir"].startswith("/tmp/ray-")
        assert os.environ["GLIBC_TUNABLES"] == "glibc.malloc.hugetlb=1"
        assert os.environ["OMP_WAIT_POLICY"] == "passive"
    assert "GLIBC_TUNABLES" not in os.environ
    monkeypatch.setenv("GLIBC_TUNABLES", "glibc.malloc.check=1")
    with connected(None):
        assert os.environ["GLIBC_TUNABLES"] == "glibc.malloc.check=1"  # the user's own
    given.clear()
    with connected("auto"):
        assert "num_cpus" not in given


@pytest.mark.parametrize(("usable", "what"), [(2, "2 CPUs"), (1, "1 of 2 CPUs (the affinity or the control group")])
def test_doctor_says_how_many_cores_may_be_used(usable: int, what: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.cpu_count", lambda: 2)
    monkeypatch.setattr("orchestrator.cluster.doctor.usable_cpus", lambda: usable)
    assert what in next(examine(None, None, ResourceSettings())).what


GPU_WORKERS = Growth((NodeKind("gpu_worker", {"CPU": 4, "GPU": 1}, 8),), max_nodes=8, complete=True)


@pytest.mark.parametrize(
    ("growth", "gpus", "slots", "most", "ahead"),
    [
        (None, 0.5, 8, 8, 8),
        (GPU_WORKERS, 1, 4, 8, 8),  # BOX may be one of the eight, or not: what is there counts if it is more
        (GPU_WORKERS, 0.25, 16, 32, 16),
        (GPU_WORKERS, 0, 16, 32, 16),
        (Growth(), 1, 4, None, MAX_AHEAD),
        (Growth(GPU_WORKERS.kinds, max_nodes=3, complete=True), 0.25, 16, 16, 16),
        (Growth((*GPU_WORKERS.kinds, NodeKind("box", BOX, 2)), max_nodes=8, complete=True), 1, 4, 14, 14),
    ],
)
def test_what_an_autoscaler_can_add_is_planned_by_the_same_rule(
    growth: Growth | None, gpus: float, slots: int, most: int | None, ahead: int
) -> None:
    found = allot(ResourceSettings(gpus_per_trial=gpus), [HEAD, BOX], growth)
    assert (found.slots, found.most_slots, found.ahead) == (slots, most, ahead)


def test_a_search_may_start_where_no_trial_fits_yet() -> None:
    found = allot(ResourceSettings(), [HEAD], GPU_WORKERS)
    assert (found.slots, found.most_slots, found.gpus_per_trial) == (0, 8, 1)


def test_what_fits_on_no_node_to_come_either_is_refused() -> None:
    with pytest.raises(
        ClusterError, match="asks for 1 CPU and 2 GPUs, but the largest of 2 nodes has 4 CPUs and 1 GPU"
    ):
        allot(ResourceSettings(gpus_per_trial=2), [HEAD], GPU_WORKERS)


def test_an_autoscaler_that_tells_nothing_is_trusted_with_numbers_only() -> None:
    assert allot(ResourceSettings(gpus_per_trial=1), [HEAD], Growth()).most_slots is None
    with pytest.raises(
        ClusterError,
        match="resources.gpus_per_trial is 'auto', but it is not known which nodes the cluster's autoscaler can add",
    ):
        allot(ResourceSettings(), [HEAD], Growth())


LAUNCHED = {
    "max_workers": 8,
    "head_node_type": "head",
    "available_node_types": {
        "head": {"resources": {"CPU": 4}},
        "gpu_worker": {"resources": {"CPU": 4, "GPU": 1}, "max_workers": 8},
        "spare": {"resources": {"CPU": 64}, "max_workers": 0},
    },
}


@pytest.mark.parametrize(
    ("configuration", "present", "growth"),
    [
        (LAUNCHED, 1, GPU_WORKERS),
        (LAUNCHED, 8, GPU_WORKERS),
        (LAUNCHED, 9, None),  # all are there
        ({"max_workers": 0, "available_node_types": {}}, 1, None),
        # Machines of one's own: what they have is known once they are there.
        (
            {
                "max_workers": 2,
                "head_node_type": "x",
                "available_node_types": {"x": {"resources": {}, "max_workers": 2}},
            },
            1,
            Growth((), 2, complete=False),
        ),
    ],
)
def test_growth_is_what_the_launchers_configuration_says(
    configuration: dict[str, Any], present: int, growth: Growth | None
) -> None:
    assert growth_of(configuration, present) == growth


def told(gpus: float, nodes: list[dict[str, float]], growth: Growth | None = None) -> list[str]:
    return [finding.what for finding in plan_findings(ResourceSettings(gpus_per_trial=gpus), nodes, growth)]


def test_doctor_tells_whether_trials_on_one_gpu_run_at_the_same_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUDA_MPS_PIPE_DIRECTORY", str(tmp_path))
    assert "take turns" in mps().what
    (tmp_path / "control").touch()
    assert mps().what.startswith("NVIDIA MPS runs")


def test_doctor_shows_each_kind_of_node() -> None:
    assert told(0.25, [HEAD, EIGHT, EIGHT]) == [
        "here: 1 node of 0 CPUs, 0 GPUs: 0 trials on each",
        "here: 2 nodes of 64 CPUs, 8 GPUs (H100): 32 trials on each",
        "the cluster does not grow by itself",
        "64 trials at a time, with 1 CPU and 0.25 GPUs each",
    ]


def test_doctor_counts_one_as_one() -> None:
    assert told(1, [{"CPU": 1.0, "GPU": 1.0}]) == [
        "here: 1 node of 1 CPU, 1 GPU: 1 trial on each",
        "the cluster does not grow by itself",
        "1 trial at a time, with 1 CPU and 1 GPU each",
    ]


def test_doctor_shows_how_a_cluster_can_grow() -> None:
    assert told(0.5, [HEAD], GPU_WORKERS)[1:] == [
        "the cluster grows by itself, to 8 nodes besides the head",
        "to come: up to 8 of 'gpu_worker', 4 CPUs, 1 GPU: 2 trials on each",
        "0 trials at a time, up to 16 as it grows, with 1 CPU and 0.5 GPUs each",
    ]
    assert told(1, [HEAD, BOX], Growth())[-3:] == [
        "the cluster grows by itself",
        "it is not known which nodes its autoscaler can add",
        "4 trials at a time, more as it grows, with 1 CPU and 1 GPU each",
    ]
    assert told(9, [HEAD], GPU_WORKERS)[0].startswith("a trial asks for 1 CPU and 9 GPUs")


LISTENING = """
import sys, psutil, ray
from orchestrator.cluster.connection import connected
with connected(None):
    ray.get(ray.remote(lambda: None).remote())
    ours = [psutil.Process(), *psutil.Process().children(recursive=True)]
    found = {c.laddr.ip for process in ours for c in process.net_connections("tcp") if c.status == psutil.CONN_LISTEN}
    nodes = [node["NodeManagerAddress"] for node in ray.nodes()]
print(sorted(found), nodes)
"""


@pytest.mark.slow
def test_a_ray_that_is_started_here_listens_on_loopback_only() -> None:
    ended = subprocess.run([sys.executable, "-c", LISTENING], capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
    found, _, nodes = ended.stdout.partition("] ")
    addresses = {address.strip("[]', ").removeprefix("::ffff:") for address in found.split(",")}
    assert addresses == {"127.0.0.1"}
    assert nodes == "['127.0.0.1']\n"


STORAGE = """
import sys, logging, ray
from dataclasses import dataclass
from pathlib import Path
from ray.cluster_utils import Cluster
from orchestrator.cluster.storage_check import check_storage
from orchestrator.errors import ClusterError
from trainables.assignment import Assignment
from trainables.storage import Folder

cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
blind = cluster.add_node(num_cpus=1).node_id
cluster.add_node(num_cpus=0)
ray.init(address=cluster.address, log_to_driver=False, logging_level=logging.ERROR)
folder = Path(sys.argv[1])

class Elsewhere:
    # A folder that one node has not mounted.
    is_local = False
    def __init__(self, error=None):
        self.error = error
    def __str__(self):
        return "/mnt/runs"
    def write(self, name, content): pass
    def remove(self, name): pass
    def has(self, name):
        if ray.get_runtime_context().get_node_id() == blind and self.error:
            raise OSError(self.error)
        return ray.get_runtime_context().get_node_id() != blind

try:
    check_storage(Folder.at(folder / "not" / "yet"))
    assert not list(folder.iterdir())
    for error in (None, "stale file handle"):
        try:
            check_storage(Elsewhere(error))
        except ClusterError as refusal:
            print(refusal)
finally:
    ray.shutdown()
    cluster.shutdown()
"""


@pytest.mark.slow
def test_storage_that_a_node_does_not_see_is_refused_with_its_name(tmp_path: Any) -> None:
    ended = subprocess.run([sys.executable, "-c", STORAGE, str(tmp_path)], capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
    absent, broken = ended.stdout.splitlines()
    assert absent.startswith("/mnt/runs is not seen by node ")
    assert "a file that was just written is not there; run.storage (or --run-dir) must be on a file system" in absent
    assert "stale file handle; run.storage" in broken


@pytest.mark.parametrize(
    ("place", "said"),
    [("10.0.0.1:8265", "http://10.0.0.1:8265"), ("https://ray.example.org/1", "https://ray.example.org/1"), ("", None)],
)
def test_the_dashboards_address_is_given_where_there_is_one(
    local_ray: None, monkeypatch: pytest.MonkeyPatch, place: str, said: str | None
) -> None:
    monkeypatch.setattr("ray._private.worker.get_dashboard_url", lambda: place)
    with connected(None) as dashboard:
        assert dashboard == said


@pytest.mark.parametrize(
    ("share", "own", "expected"), [(0.25, None, 0.25), (0.25, 0.5, 0.5), (1.0, 0.5, 1.0), (0.0, 0.5, None)]
)
def test_a_larger_share_of_a_gpu_fits_the_resources_of_the_resume(
    share: float, own: float | None, expected: float | None
) -> None:
    config = Assignment(trial_id="00000", gpus=own).to_config({})
    (bundle,) = _resources(Allotment(1, 1, 2, share, 1), config).bundles
    assert (bundle["CPU"], bundle.get("GPU")) == (2.0, expected)
