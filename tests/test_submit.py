"""`cellscout submit`: what is sent along, what is refused, and a job on a Ray of the test's own."""

from __future__ import annotations

import json
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest

import orchestrator.cluster.jobs as submit_module
from orchestrator.config.loading import load_config
from orchestrator.errors import ConfigError
from orchestrator.record.recorded_run import RecordedRun
from tests.own_ray import Head, free_port, ray_head, wait_for

ROOT = Path(__file__).parents[1]

OWN_SAMPLER = """
from optuna.samplers import RandomSampler
from beside import SEED
class Own(RandomSampler):
    def __init__(self, seed=None):
        super().__init__(seed=SEED)
OPERATIONS = ("identity", "operations_beside:shuffle")
"""


@pytest.fixture
def search_file(tmp_path: Path) -> Path:
    """A search with a sampler of the user's own, in a module that needs another one."""
    (tmp_path / "own.py").write_text(OWN_SAMPLER)
    (tmp_path / "beside.py").write_text("import os\nSEED = 3\n")
    (tmp_path / "operations_beside.py").write_text("")
    (tmp_path / "unrelated.py").write_text("")
    (tmp_path / "search.toml").write_text(
        '[sampler]\nname = "own:Own"\n[trainable]\nname = "instant"\n[budget]\ntrials = 3\n'
        "[resources]\ngpus_per_trial = 0\n"
    )
    return tmp_path / "search.toml"


def test_the_code_the_search_file_and_what_it_names_go_along(search_file: Path, tmp_path: Path) -> None:
    parcel = tmp_path / "parcel"
    parcel.mkdir()
    submit_module._pack(parcel, config=load_config(search_file), search_file=search_file, wheel=None)
    names = {path.name for path in parcel.iterdir()}
    assert {
        "search_spaces",
        "trainables",
        "orchestrator",
        "cellscout",
        "search.toml",
        "own.py",
        "beside.py",
        "operations_beside.py",
    } <= names
    assert "unrelated.py" not in names
    assert (parcel / "orchestrator" / "config" / "default_search.toml").is_file()
    assert (parcel / "cellscout" / "__init__.pyi").is_file()  # without it the package has no names
    assert list(parcel.glob("cellscout-*.dist-info/METADATA"))
    ended = subprocess.run(
        [sys.executable, "-c", "import orchestrator.cli.app as cli; print(cli.__file__)"],
        capture_output=True,
        text=True,
        cwd=parcel,
    )
    assert ended.stdout.strip() == str(parcel / "orchestrator" / "cli" / "app.py")


def test_what_is_installed_is_sent_where_there_is_no_checkout(
    search_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = tmp_path / "site"
    with zipfile.ZipFile(submit_module._build(ROOT, tmp_path)) as wheel:
        wheel.extractall(site)
    (tmp_path / "parcel").mkdir()
    code = (
        "import sys; from pathlib import Path; from orchestrator.config.loading import load_config\n"
        "from orchestrator.cluster.jobs import _pack\n"
        "file = Path(sys.argv[1]); _pack(Path(sys.argv[2]), config=load_config(file), search_file=file, wheel=None)"
    )
    monkeypatch.setenv("PYTHONPATH", str(site))
    arguments = [sys.executable, "-c", code, str(search_file), str(tmp_path / "parcel")]
    subprocess.run(arguments, check=True, cwd=tmp_path)
    assert (tmp_path / "parcel" / "orchestrator" / "samplers" / "__init__.py").is_file()
    assert (tmp_path / "parcel" / "own.py").is_file()


def test_a_module_with_the_name_of_ours_is_refused(search_file: Path, tmp_path: Path) -> None:
    (tmp_path / "trainables.py").write_text("")
    search_file.write_text('[sampler]\nname = "trainables:Own"\n')
    (tmp_path / "parcel").mkdir()
    with pytest.raises(ConfigError, match="trainables.py has the name of one of cellscout's own packages; rename it"):
        submit_module._pack(tmp_path / "parcel", config=load_config(search_file), search_file=search_file, wheel=None)


def test_a_module_with_the_name_of_an_installed_one_stays_behind(search_file: Path, tmp_path: Path) -> None:
    (tmp_path / "queue.py").write_text("")
    (tmp_path / "optuna").mkdir()
    (tmp_path / "optuna" / "__init__.py").write_text("")
    (tmp_path / "beside.py").write_text("import queue\nSEED = 3\n")
    found = submit_module._modules_beside(search_file, load_config(search_file))
    assert [path.name for path in found] == ["beside.py", "operations_beside.py", "own.py"]


def test_the_module_of_a_task_goes_along(search_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "task_beside.py").write_text("from cellscout import Task\nOWN = Task(data_sets=dict(own=None))\n")
    monkeypatch.syspath_prepend(tmp_path)
    config = load_config(search_file, ["data.task=task_beside:OWN", "data.name=own", "sampler.name=random"])
    assert [path.name for path in submit_module._modules_beside(search_file, config)] == ["task_beside.py"]


@pytest.mark.parametrize("content", ["", "no zip"])
def test_what_is_no_wheel_of_cellscout_is_refused(content: str, search_file: Path, tmp_path: Path) -> None:
    wheel = tmp_path / "other.whl"
    if content:
        wheel.write_text(content)
    else:
        zipfile.ZipFile(wheel, "w").close()
    with pytest.raises(ConfigError, match="--wheel is '.*other.whl', which"):
        submit_module._unpack(wheel, tmp_path)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--address", "127.0.0.1:8265", "--run-dir", "/x"], "it must be of the form http://HOST:8265"),
        (["--address", "http://127.0.0.1:1", "--run-dir", "/x"], "no Ray job server at 'http://127.0.0.1:1'"),
        (["--address", "http://127.0.0.1:99999", "--run-dir", "/x"], "no Ray job server at"),
        (
            ["--address", "http://127.0.0.1:1", "--run-dir", "x"],
            "--run-dir is 'x'; for a search on a cluster it must be",
        ),
        (["--address", "http://127.0.0.1:1"], "run.storage is 'runs'; for a search on a cluster it must be"),
        (["--address", "http://127.0.0.1:1", "--set", "budget.trials=-1"], "budget.trials"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(
    options: list[str], message: str, search_file: Path, cellscout: Any
) -> None:
    ended = cellscout("submit", str(search_file), *options)
    assert (ended.status, ended.out) == (2, "")
    assert message in ended.err
    assert ended.err.count("\n") == 1
    refused = cellscout("submit", str(search_file.parent), *options)
    assert (refused.status, refused.err.count("\n")) == (2, 1)
    assert "is a folder; submit needs a search file, with data.root as the nodes see it" in refused.err


def test_without_the_extra_it_says_what_to_install(
    search_file: Path, cellscout: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    ended = cellscout("submit", str(search_file), "--address", "http://127.0.0.1:1", "--run-dir", "/x")
    assert ended.status == 2
    assert ended.err == "cellscout: cellscout submit needs Ray's job client: pip install 'cellscout[cluster]'\n"


@pytest.fixture(scope="module")
def job_server() -> Iterator[tuple[Head, str]]:
    """A head that takes jobs, with token authentication, and its address."""
    port = free_port() + 1
    options = ["--num-cpus=1", "--dashboard-host=127.0.0.1", f"--dashboard-port={port}", "--include-dashboard=true"]
    with ray_head(*options) as head:
        wait_for(port)
        yield head, f"http://127.0.0.1:{port}"


def cellscout_on(head: Head, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "orchestrator.cli", *arguments],
        capture_output=True,
        text=True,
        cwd=head.folder,
        env={**head.environment, **environment},
    )


@pytest.mark.slow
def test_a_search_runs_as_a_job_to_its_end(job_server: tuple[Head, str], search_file: Path, tmp_path: Path) -> None:
    head, address = job_server
    run_dir = tmp_path / "runs" / "first"
    ended = cellscout_on(
        head,
        "submit",
        str(search_file),
        "--address",
        address,
        "--run-dir",
        str(run_dir),
        "--set",
        "budget.trials=4",
        "--json",
    )
    assert ended.returncode == 0, ended.stderr
    job = json.loads(ended.stdout)
    assert (job["status"], job["run_dir"]) == ("SUCCEEDED", str(run_dir))
    assert "The best 4 of" in ended.stderr
    assert RecordedRun.read(run_dir).state().outcome == "completed"


@pytest.mark.slow
def test_a_search_that_fails_there_fails_here(job_server: tuple[Head, str], search_file: Path, tmp_path: Path) -> None:
    head, address = job_server
    arguments = ["--address", address, "--run-dir", str(tmp_path / "run"), "--set", "resources.cpus_per_trial=99"]
    ended = cellscout_on(head, "submit", str(search_file), *arguments)
    assert ended.returncode == 1
    assert "a trial asks for 99 CPUs" in ended.stdout
    assert "ended as FAILED" in ended.stderr
    handed_over = cellscout_on(head, "submit", str(search_file), *arguments, "--no-wait", "--json")
    assert handed_over.returncode == 0
    assert json.loads(handed_over.stdout)["status"] in ("PENDING", "RUNNING", "FAILED")


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["disabled", "token"])
def test_a_cluster_with_another_token_refuses(mode: str, job_server: tuple[Head, str], search_file: Path) -> None:
    head, address = job_server
    wrong = {"RAY_AUTH_MODE": mode, "RAY_AUTH_TOKEN": "another", "RAY_AUTH_TOKEN_PATH": "/dev/null"}
    ended = cellscout_on(head, "submit", str(search_file), "--address", address, "--run-dir", "/x", **wrong)
    assert ended.returncode == 2
    assert "refuses our token: set RAY_AUTH_MODE=token" in ended.stderr
    assert ended.stderr.count("\n") == 1


def test_a_head_whose_agent_is_not_up_yet_is_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    class Client:
        answers: ClassVar = [
            RuntimeError("Request failed with status code 500: No available agent to submit job"),
            "id",
        ]

        def submit_job(self, entrypoint: str) -> str:
            answer = self.answers.pop(0)
            if isinstance(answer, RuntimeError):
                raise answer
            return str(answer)

    monkeypatch.setattr(submit_module, "POLL_SECONDS", 0)
    assert submit_module._submit_job(Client(), entrypoint="true") == "id"
