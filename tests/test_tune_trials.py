"""The trials that Ray Tune is given, and the requests for places that are kept from one to the next."""

from __future__ import annotations

import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ray import tune
from ray.air.execution import ResourceRequest
from ray.tune.search import Searcher
from ray.util import placement_group_table

from orchestrator.cluster import placement_requests
from orchestrator.cluster.placement_requests import RequestPool
from orchestrator.cluster.tune_trials import TuneTrials

pytestmark = pytest.mark.usefixtures("local_ray")

ONE_CPU = ResourceRequest([{"CPU": 1}])


class Worker(tune.Trainable):
    pass


class Scripted:
    """Suggests these, one after the other."""

    def __init__(self, *suggestions: Any) -> None:
        self.suggestions = list(suggestions)
        self.completed: list[str] = []

    def suggest(self, trial_id: str) -> Any:
        return self.suggestions.pop(0)

    def is_finished(self) -> bool:
        return not self.suggestions

    def on_trial_complete(self, trial_id: str, result: Any = None, error: bool = False) -> None:
        self.completed.append(trial_id)


def source(searcher: Scripted, folder: Path) -> TuneTrials:
    experiment = tune.Experiment("search", Worker, storage_path=str(folder))
    resources = lambda config: tune.PlacementGroupFactory([{"CPU": 1, "GPU": config["a"] / 4}])  # noqa: E731
    return TuneTrials(searcher, experiment=experiment, worker=Worker, resources=resources)


def test_a_trial_has_the_suggested_parameters_the_resources_and_the_trainable(tmp_path: Path) -> None:
    trial = source(Scripted({"a": 1}), tmp_path).next_trial()
    assert trial is not None
    trial.create_placement_group_factory()
    assert trial.config == {"a": 1}
    assert trial.get_trainable_cls() is Worker
    assert trial.placement_group_factory.bundles == [{"CPU": 1.0, "GPU": 0.25}]


def test_there_is_no_trial_while_the_searcher_has_none(tmp_path: Path) -> None:
    trials = source(Scripted(None, {"a": 1}), tmp_path)
    assert trials.next_trial() is None
    assert not trials.is_finished()
    assert trials.next_trial() is not None


def test_the_trials_end_when_the_searcher_has_finished_and_go_on_when_it_has_more_after_all(tmp_path: Path) -> None:
    searcher = Scripted(Searcher.FINISHED)
    trials = source(searcher, tmp_path)
    assert trials.next_trial() is None
    assert trials.is_finished()
    searcher.suggestions.append({"a": 1})
    assert not trials.is_finished()
    assert trials.next_trial() is not None


def test_no_more_trials_come_once_the_search_is_stopped(tmp_path: Path) -> None:
    trials = source(Scripted({"a": 1}), tmp_path)
    trials.set_finished()
    assert trials.is_finished()
    assert trials.next_trial() is None


def test_the_searcher_hears_of_the_end_of_a_trial(tmp_path: Path) -> None:
    searcher = Scripted()
    source(searcher, tmp_path).on_trial_complete("7")
    assert searcher.completed == ["7"]


def placement_groups() -> int:
    return sum(group["state"] != "REMOVED" for group in placement_group_table().values())


@pytest.fixture
def requests() -> Any:
    manager = RequestPool()
    yield manager
    manager.clear()


def test_a_request_that_was_taken_back_serves_the_next_trial(requests: RequestPool) -> None:
    before = len(placement_group_table())
    for _ in range(5):
        requests.request_resources(ONE_CPU)
        requests.cancel_resource_request(ONE_CPU)
    requests.request_resources(ONE_CPU)
    assert len(placement_group_table()) == before + 1
    deadline = time.monotonic() + 30
    while not requests.has_resources_ready(ONE_CPU):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    place = requests.acquire_resources(ONE_CPU)
    assert place is not None
    requests.free_resources(place)


def test_a_request_that_nobody_takes_over_is_given_up(requests: RequestPool, monkeypatch: pytest.MonkeyPatch) -> None:
    before = placement_groups()
    requests.request_resources(ONE_CPU)
    requests.cancel_resource_request(ONE_CPU)
    requests.get_resource_futures()
    assert placement_groups() == before + 1
    monkeypatch.setattr(placement_requests, "KEEP_SECONDS", 0.0)
    assert requests.get_resource_futures() == []
    deadline = time.monotonic() + 30
    while placement_groups() > before:
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_requests_of_one_kind_keep_none_of_another(requests: RequestPool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a trial that was to have twice the usual share, and of those that come and go beside it."""
    clock = SimpleNamespace(monotonic=lambda: 0.0)
    monkeypatch.setattr(placement_requests, "time", clock)
    before, two_cpus = placement_groups(), ResourceRequest([{"CPU": 2}])
    requests.request_resources(two_cpus)
    requests.cancel_resource_request(two_cpus)
    clock.monotonic = lambda: 1.5 * placement_requests.KEEP_SECONDS
    requests.request_resources(ONE_CPU)
    requests.cancel_resource_request(ONE_CPU)
    requests.get_resource_futures()
    deadline = time.monotonic() + 30
    while placement_groups() > before + 1:
        assert time.monotonic() < deadline
        time.sleep(0.01)
