"""Tests that a search continues without each part of Ray that Ray does not promise, and reports it once."""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping, Sequence, Set
from dataclasses import replace
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import ray
from ray._private.runtime_env.constants import RAY_JOB_CONFIG_JSON_ENV_VAR
from ray.core.generated.common_pb2 import JobConfig
from ray.tune import PlacementGroupFactory
from ray.tune.utils.object_cache import _ObjectCache

from orchestrator.cluster import ray_internals, tune_run
from orchestrator.cluster.autoscaling import growth
from orchestrator.cluster.connection import connected
from orchestrator.cluster.doctor import untested_versions
from orchestrator.config.loading import parse_config
from orchestrator.search.run import run_search
from trainables import library_internals, preemption
from trainables.library_internals import Internal, LibraryWarning, warn_once

TAKEN_AWAY = [
    ["ACTORS_OF_TRIALS", "DRAINING_NODES"],
    ["ACTOR_MANAGER", "DASHBOARD_URL"],
    ["ACTOR_STARTED", "PENDING_ACTORS", "ENQUEUED_TASKS"],
    ["STOPPED_TRIALS", "FAILED_TRIALS", "UNSAVED_TRIALS"],
]
"""Together are only accesses of which none hides another, because each search takes seconds."""

NOT_IN_A_SEARCH = {"CLUSTERS_ENABLED", "PATH_OF_WORKERS", "ACTOR_CACHE", "INCREASE_CACHE"}
"""Accesses that only the start of Ray needs, or a loop of one's own."""


def internals_of(module: ModuleType) -> set[str]:
    return {name for name, value in vars(module).items() if isinstance(value, Internal)}


@pytest.fixture(autouse=True)
def _nothing_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(library_internals, "_reported", set())


def take_away(monkeypatch: pytest.MonkeyPatch, module: ModuleType, name: str) -> Internal:
    """Look for the attribute under a name that Ray does not have, as if Ray had renamed it."""
    internal: Internal = getattr(module, name)
    gone = replace(internal, name=f"{internal.name}_taken_away")
    monkeypatch.setattr(module, name, gone)
    return gone


@pytest.fixture
def reports(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The messages of all warnings about libraries."""
    messages: list[str] = []
    monkeypatch.setattr(library_internals, "warn", lambda message, *about, **how: messages.append(message))
    return messages


def test_all_accesses_are_taken_away_below() -> None:
    assert {name for names in TAKEN_AWAY for name in names} | NOT_IN_A_SEARCH == internals_of(ray_internals)


@pytest.mark.slow
@pytest.mark.usefixtures("local_ray")
@pytest.mark.parametrize("names", TAKEN_AWAY)
def test_a_search_finishes_without_it_and_says_so_once(
    names: list[str], tmp_path: Path, reports: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    gone = [take_away(monkeypatch, ray_internals, name) for name in names]
    monkeypatch.setattr(tune_run, "MIN_ENDED_TRIALS", 1)
    config = parse_config(
        {
            "data": {"limit": 200},
            "budget": {"trials": 2},
            "training": {"epochs": 1},
            "network": {"filters": 4},
            "space": {"blocks": 2},
            "trainable": {"name": "instant"},
            "sampler": {"name": "random"},
            "scheduler": {"name": "fifo"},
        },
        "x",
    )
    result = run_search(config, run_dir=tmp_path / "run")
    assert result.state.outcome == "completed"
    assert [trial.status for trial in result.state.trials.values()] == ["completed"] * 2
    expected = [f"has no {internal.name}, which ray 2.60.0 had: {internal.without}" for internal in gone]
    assert len(reports) == len(expected)
    assert all(sum(text in report for report in reports) == 1 for text in expected)


def test_everything_is_there_in_the_installed_ray(local_ray: None) -> None:
    """Those of Ray itself; those of Ray Tune's controller would be reported by any search of the other tests."""
    with warnings.catch_warnings():
        warnings.simplefilter("error", LibraryWarning)
        for internal in (ray_internals.DASHBOARD_URL, ray_internals.CLUSTERS_ENABLED, preemption.DRAINING_NODES):
            assert internal.read(ray) is not None


def path_of_a_worker(own: list[str]) -> list[str]:
    """The search path of a worker that begins with `own`. It puts what it is sent in front, one after the other."""
    config = ray_internals.job_config()
    assert config is not None
    config._py_driver_sys_path.extend(["/the/script's", str(Path.cwd())])  # as `ray.init` does
    path = list(own)
    for folder in JobConfig.FromString(config._serialize()).py_driver_sys_path:
        path.insert(0, folder)
    return path


def test_workers_search_for_modules_in_the_drivers_order(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.path", ["/packages", "", "/last"])
    assert path_of_a_worker(["/own"]) == ["/packages", str(Path.cwd()), "/last", "/the/script's", "/own"]


def test_without_it_workers_search_the_working_folder_first(
    reports: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    take_away(monkeypatch, ray_internals, "PATH_OF_WORKERS")
    assert path_of_a_worker(["/own"]) == [str(Path.cwd()), "/the/script's", "/own"]
    assert len(reports) == 1
    assert "workers search the working folder for modules before the installed packages" in reports[0]


def test_a_job_keeps_the_search_path_of_its_own_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(RAY_JOB_CONFIG_JSON_ENV_VAR, "{}")
    assert ray_internals.job_config() is None


def test_ended_trials_leave_ray_tunes_memory() -> None:
    ended, running = Ended(), Ended(False)
    controller: Any = Controller([ended, running], {running})
    ray_internals.forget_trials(controller, min_ended=1)
    assert controller.trials == [running]
    assert controller.live == {running}
    assert controller._stopped_trials == controller._failed_trials == controller._trials_to_cache == set()
    assert controller._actor_manager._pending_actors_to_enqueued_actor_tasks == {"pending": ["stop"]}


class Controller:
    """As much of Ray Tune's controller as is read."""

    def __init__(self, trials: Sequence[Any] = (), live: Set[Any] = frozenset()) -> None:
        self.trials, self.live = list(trials), set(live)
        self._stopped_trials, self._failed_trials, self._trials_to_cache = {1}, {2}, {3}
        tasks = {"pending": ["stop"], "not needed": ["stop"]}
        self._actor_manager = SimpleNamespace(
            pending_actors=["pending"],
            _pending_actors_to_enqueued_actor_tasks=tasks,
            is_actor_started=lambda actor: True,
        )
        self._trial_to_actor: Mapping[Any, Any] = {"trial": "actor"}

    def get_trials(self) -> list[Any]:
        return self.trials

    def get_live_trials(self) -> set[Any]:
        return self.live


class Ended:
    """A trial that has ended, or not."""

    def __init__(self, ended: bool = True) -> None:
        self.is_finished = lambda: ended


def test_trials_that_are_copies_are_left_alone_and_it_is_said_once(reports: list[str]) -> None:
    class Copying(Controller):
        def get_trials(self) -> list[Any]:
            return list(self.trials)

    controller: Any = Copying([Ended()])
    for _ in range(2):
        ray_internals.forget_trials(controller, min_ended=1)
    assert len(reports) == 1
    assert "gives copies of its trials, not its own as ray 2.60.0" in reports[0]
    assert controller._stopped_trials == {1}


def test_workers_that_have_nothing_to_do_are_kept(reports: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    request, cache = PlacementGroupFactory([{"CPU": 1.0}]), _ObjectCache(may_keep_one=True)
    controller: Any = SimpleNamespace(_actor_cache=cache)
    ray_internals.keep_workers(controller, request, 2)
    same = PlacementGroupFactory([{"CPU": 1.0}])
    assert [cache.cache_object(same, worker) for worker in "abc"] == [True, True, False]
    assert list(cache.flush_cached_objects()) == []
    for name in ("INCREASE_CACHE", "ACTOR_CACHE"):
        take_away(monkeypatch, ray_internals, name)
        ray_internals.keep_workers(controller, request, 2)
    assert ["only one worker is kept" in report for report in reports] == [True, True]


def test_a_worker_that_is_being_started_is_seen() -> None:
    controller: Any = Controller()
    trial: Any = "trial"
    other: Any = "other"
    assert ray_internals.is_worker_starting(controller, trial)
    assert not ray_internals.is_worker_starting(controller, other)


@pytest.mark.parametrize("name", ["ACTORS_OF_TRIALS", "ACTOR_MANAGER", "ACTOR_STARTED"])
def test_no_worker_is_seen_to_start_if_ray_tune_cannot_say(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    take_away(monkeypatch, ray_internals, name)
    controller: Any = Controller()
    trial: Any = "trial"
    with pytest.warns(LibraryWarning, match="nodes that join may be used late") as caught:
        assert not any(ray_internals.is_worker_starting(controller, trial) for _ in range(2))
    assert len(caught) == 1


def test_a_ray_that_may_listen_on_the_network_is_reported(reports: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    take_away(monkeypatch, ray_internals, "CLUSTERS_ENABLED")
    monkeypatch.delenv(ray_internals.CLUSTERS_VARIABLE, raising=False)
    with ray_internals.listening_on_loopback():
        assert os.environ[ray_internals.CLUSTERS_VARIABLE] == "0"  # Ray's other processes still read it
        ray_internals.check_loopback()
    assert len(reports) == 1
    assert "may listen on the network, not only on 127.0.0.1" in reports[0]
    assert ray_internals.CLUSTERS_VARIABLE not in os.environ


def test_a_ray_that_listens_on_the_network_although_it_should_not_is_reported_with_its_address(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv(ray_internals.CLUSTERS_VARIABLE, "0")
    nodes = [{"NodeManagerAddress": "10.0.0.7", "Alive": True}]
    monkeypatch.setattr(
        ray_internals, "ray", SimpleNamespace(nodes=lambda: nodes, __version__="9", _private=ray._private)
    )
    with pytest.warns(LibraryWarning, match="ray 9 listens on 10.0.0.7, not only on 127.0.0.1; .*_CLUSTER=0"):
        ray_internals.check_loopback()
    nodes[0]["NodeManagerAddress"] = "127.0.0.1"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        ray_internals.check_loopback()


def test_the_dashboard_is_not_shown_if_ray_does_not_say_where_it_is(
    local_ray: None, reports: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    take_away(monkeypatch, ray_internals, "DASHBOARD_URL")
    with connected(None) as dashboard:
        assert dashboard is None
    assert len(reports) == 1
    assert "the dashboard's address is not shown" in reports[0]


def test_a_worker_trains_on_if_ray_cannot_say_whether_its_node_is_draining(
    local_ray: None, reports: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    take_away(monkeypatch, preemption, "DRAINING_NODES")
    monkeypatch.setattr(preemption, "CHECK_SECONDS", 0.0)
    assert [preemption.node_is_draining() for _ in range(3)] == [False] * 3
    assert len(reports) == 1
    assert "does not write a last checkpoint" in reports[0]


def test_a_node_is_draining_if_ray_says_so(local_ray: None, monkeypatch: pytest.MonkeyPatch) -> None:
    draining = {ray.get_runtime_context().get_node_id(): 0}
    monkeypatch.setattr(preemption, "CHECK_SECONDS", 0.0)
    assert not preemption.node_is_draining()
    monkeypatch.setattr(ray._private.state.state, "get_draining_nodes", lambda: draining)
    assert preemption.node_is_draining()


MONITOR = ["python", "-u", "/ray/autoscaler/_private/monitor.py", "--logs-dir=/x", "--gcs-address=10.0.0.1:6379"]


@pytest.mark.parametrize(
    ("commands", "found"),
    [
        ([MONITOR], ({}, "")),
        ([[*MONITOR, "--autoscaling-config={file}"]], ({"max_workers": 3}, "")),
        ([["python", "train.py"], None], (None, "")),  # KubeRay's autoscaler runs in another container
        ([[*MONITOR[:4], "--gcs-address=10.0.0.1:7777", "--autoscaling-config={file}"]], (None, "")),  # of another Ray
        ([MONITOR[:4]], ({}, "no option --gcs-address of its monitor process")),
    ],
)
def test_the_autoscalers_configuration_is_that_of_the_process_of_this_cluster(
    commands: list[list[str] | None], found: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import psutil

    file = tmp_path / "cluster.yaml"
    file.write_text("max_workers: 3\n")
    lines = [words and [word.replace("{file}", str(file)) for word in words] for words in commands]
    monkeypatch.setattr(
        psutil, "process_iter", lambda names: [SimpleNamespace(info={"cmdline": words}) for words in lines]
    )
    assert ray_internals.autoscaler_configuration("10.0.0.1:6379") == found


@pytest.mark.usefixtures("local_ray")
def test_no_growth_is_expected_and_it_is_said_once_if_the_configuration_cannot_be_found(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(ray_internals, "GCS_OPTION", "--renamed")
    with pytest.warns(
        LibraryWarning, match="has no option --renamed of its monitor process, .*are not counted"
    ) as caught:
        assert [growth() for _ in range(2)] == [None, None]
    assert len(caught) == 1


@pytest.mark.usefixtures("local_ray")
def test_a_ray_without_an_autoscaler_does_not_grow() -> None:
    assert growth() is None


def test_a_message_is_shown_once(reports: list[str]) -> None:
    for message in ("one", "two", "one"):
        warn_once(message)
    assert reports == ["one", "two"]


def test_a_message_is_a_warning_of_its_own_category() -> None:
    with pytest.warns(LibraryWarning, match="one"):
        warn_once("one")


@pytest.mark.parametrize(
    ("installed", "findings"),
    [
        ("2.60.0", []),
        ("2.60.1+local", []),
        ("2.61.0", ["ray 2.61.0 is not in the tested range <2.61,>=2.60"]),
        ("2.9.3", ["ray 2.9.3 is not in the tested range <2.61,>=2.60"]),
    ],
)
def test_doctor_warns_of_a_version_outside_of_the_tested_range(installed: str, findings: list[str]) -> None:
    requirements = ["ray[tune]<2.61,>=2.60", 'ray[default]>=9; extra == "cluster"', "not-installed-at-all>=1"]

    def version_of(name: str) -> str:
        from importlib.metadata import version

        return installed if name == "ray" else version(name)

    found = list(untested_versions(requirements, version_of))
    assert [finding.what for finding in found] == findings
    assert all(finding.level == "warning" for finding in found)
    assert [finding.remedy for finding in found] == ["pip install 'ray[tune]<2.61,>=2.60'"] * len(findings)
