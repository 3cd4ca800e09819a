"""Searches whose record is on an object store: a real S3 server on loopback."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from orchestrator.config.loading import parse_config
from orchestrator.errors import RunDirectoryError
from orchestrator.record.recorded_run import RecordedRun
from orchestrator.record.run_directory import RunDirectory
from orchestrator.record.run_state import RunState
from orchestrator.search.run import run_search
from tests.killing import EPOCH_SECONDS, Drivers, Searching, pace, search_file
from tests.object_store import ObjectStore
from tests.own_ray import ray_head
from tests.paced_trainable import FOLDER, trained
from tests.records import on_record, seen

KILLS = 3


@pytest.fixture
def searched(object_store: ObjectStore, local_ray: None, tmp_path: Path) -> Any:
    """A function that runs a tiny search with `run.storage` on the object store."""

    def search(**sections: Any) -> Any:
        values: dict[str, Any] = {
            "run": {"name": "tiny", "storage": object_store.uri(f"bucket/{tmp_path.name}")},
            "training": {"epochs": 9},
            "trainable": {"name": "instant"},
            "sampler": {"name": "random"},
            "budget": {"trials": 6},
        }
        return run_search(parse_config({**values, **sections}, "x"))

    return search


@pytest.mark.slow
def test_a_search_on_an_object_store(searched: Any, cellscout: Any) -> None:
    result = searched()
    location = result.directory.location
    assert result.directory.folder.name.startswith("tiny-")
    assert RecordedRun.read(location).state() == result.state
    assert result.directory.folder.names() == [
        "best",
        "checkpoints",
        "epochs.parquet",
        "events",
        "report.html",
        "run.json",
        "trials.parquet",
    ]
    assert result.confirmation is not None
    assert result.directory.best_metrics()["winner"] == "confirmed"
    out = cellscout("report", location)
    assert out.status == 0
    assert "state       completed" in out.out
    known = searched(warm_start={"runs": [location]})
    assert len(known.state.imported) > 0


@pytest.mark.slow
def test_a_search_on_a_store_that_denies_access_is_refused_before_it_starts(
    object_store: ObjectStore, searched: Any
) -> None:
    object_store.demand_credentials(after=0)
    try:
        with pytest.raises(RunDirectoryError, match="denies access"):
            searched()
    finally:
        object_store.demand_credentials(after=None)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_search_on_an_object_store_goes_on_after_its_driver_was_killed(
    object_store: ObjectStore, cellscout: Any, local_ray: None, tmp_path: Path
) -> None:
    search = search_file(tmp_path, budget="{ trials = 12 }")
    undisturbed, disturbed = tmp_path / "undisturbed", tmp_path / "disturbed"
    for folder, seconds in ((undisturbed, 0.01), (disturbed, EPOCH_SECONDS)):
        folder.mkdir()
        pace(folder, seconds)
    ended = cellscout("search", str(search), "--run-dir", str(undisturbed / "run"))
    assert ended.status == 0, ended.err
    theirs = RecordedRun.read(undisturbed / "run").events()
    location = object_store.uri(f"bucket/{tmp_path.name}/run")
    environment = {FOLDER: str(disturbed)}
    with ray_head("--num-cpus=1", "--include-dashboard=false", environment=environment) as head:
        drivers = Drivers(disturbed, Searching(search, location), head.environment)
        for _ in range(KILLS):
            drivers.kill("--address", head.address)
        ours = drivers.finish("--address", head.address)
    state = RunState.replay(ours)
    assert state.outcome == "completed"
    assert seen(state) == seen(RunState.replay(theirs))
    assert set(trained(disturbed)) == set(trained(undisturbed))
    drivers.check_repeats(reports=2)  # the record may lack its last second, and in it the end of a trial
    stored = RunDirectory.at(location).folder
    assert pq.read_table(BytesIO(stored.read("trials.parquet")))["trial_id"].to_pylist() == list(state.trials)
    epochs = pq.read_table(BytesIO(stored.read("epochs.parquet")), columns=["trial_id", "epoch"]).to_pylist()
    assert sorted((row["trial_id"], row["epoch"]) for row in epochs) == sorted(on_record(ours))
