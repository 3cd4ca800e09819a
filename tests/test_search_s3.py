"""Searches whose record lies on an object store: a real S3 server on loopback."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from orchestrator.config import parse_config
from orchestrator.errors import RunDirectoryError
from orchestrator.run_directory import RunDirectory
from orchestrator.search import run_search
from tests.object_store import ObjectStore


@pytest.fixture
def searched(object_store: ObjectStore, local_ray: None, tmp_path: Path) -> Any:
    """How to run a tiny search on the object store, as the default of `run.storage`."""

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
    assert RunDirectory.at(location).read_state() == result.state
    assert result.directory.folder.names() == [
        "best",
        "checkpoints",
        "epochs.parquet",
        "events",
        "run.json",
        "trials.parquet",
    ]
    assert result.directory.best.has("metrics.json")
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
