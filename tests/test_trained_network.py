from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from orchestrator.errors import RunDirectoryError
from orchestrator.networks.retraining.run import retrain
from orchestrator.networks.trained_network import TrainedNetwork
from orchestrator.record.run_directory import RunDirectory
from tests.builders import STARTED, config, trial, write
from tests.object_store import ObjectStore
from tests.trained import WINNER, digits_spec, make_run, put_network, put_retrained, random_weights
from trainables.baseline_spec import BaselineSpec
from trainables.storage import Folder


def test_a_run_directory_stands_for_what_its_search_trained_until_its_winner_is_retrained(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run")
    found = TrainedNetwork.find(str(run))
    assert (found.name, found.spec, found.saw_validation) == (WINNER, digits_spec(), False)
    assert found.folder.local_path == run / "best"
    assert found.weights == random_weights(digits_spec())
    assert found.preprocessing.classes == tuple("0123456789")
    assert found.preprocessing.image_size == (8, 8)

    put_retrained(run, "00004")  # an earlier winner
    assert TrainedNetwork.find(str(run)).folder.local_path == run / "best"
    put_retrained(run, WINNER)
    found = TrainedNetwork.find(str(run))
    assert found.folder.local_path == run / "retrain" / WINNER
    assert found.saw_validation
    assert found.preprocessing.mean == (70.0,)  # the retraining's own


def test_best_and_a_retrained_network_are_named_by_their_folders(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run")
    put_retrained(run, "best")
    put_retrained(run, "stopped", early_stopping=3)
    for name in (f"{run}/best", f"{run}/best/"):
        assert TrainedNetwork.find(name).folder.local_path == run / "best"
    assert TrainedNetwork.find(f"{run}/retrain/best").folder.local_path == run / "retrain" / "best"
    stopped = TrainedNetwork.find(f"{run}/retrain/stopped")
    assert (stopped.name, stopped.saw_validation) == ("stopped", False)


@pytest.mark.parametrize("name", ["best", "retrain", "retrain/mine", "best/best"])
def test_a_run_directory_may_be_called_as_a_networks_folder_is(name: str, tmp_path: Path) -> None:
    run = make_run(tmp_path / name)
    assert TrainedNetwork.find(str(run)).folder.local_path == run / "best"
    assert TrainedNetwork.find(str(run / "best")).folder.local_path == run / "best"


def test_a_path_may_be_relative(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_run(tmp_path / "run")
    monkeypatch.chdir(tmp_path)
    assert TrainedNetwork.find("run/best").name == WINNER
    monkeypatch.chdir(tmp_path / "run")
    assert TrainedNetwork.find(".").name == WINNER
    assert TrainedNetwork.find("best").folder.local_path == tmp_path / "run" / "best"
    put_retrained(tmp_path / "run", "mine")
    assert TrainedNetwork.find("retrain/mine").name == "mine"


def test_a_baseline_is_found_too(tmp_path: Path) -> None:
    spec = BaselineSpec(baseline="two_convolutions", classes=10, image_channels=1, image_size=(12, 12))
    assert TrainedNetwork.find(str(make_run(tmp_path / "run", spec))).spec == spec


def test_a_run_on_an_object_store(object_store: ObjectStore, tmp_path: Path) -> None:
    run, place = make_run(tmp_path / "run"), f"bucket/{tmp_path.name}"
    remote = Folder.at(object_store.uri(place))
    for name in ("run.json", "best/network.json", "best/weights.safetensors"):
        remote.write(f"run/{name}", (run / name).read_bytes())
    for inside in ("run", "run/best"):
        found = TrainedNetwork.find(object_store.uri(f"{place}/{inside}"))
        assert found.folder == remote / "run" / "best"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("nowhere", "nowhere"),
        ("run/retrain/none", "has no retrained network; see cellscout retrain"),
        ("run/retrain/half", "is unfinished; run its command again"),
        ("running", "is unfinished"),
        ("empty", "has no trained network"),
        ("broken", "network.json is not JSON"),
        ("strange", "network.json does not contain a network: not a network: 'architecture' is missing"),
    ],
)
def test_what_is_no_trained_network_is_refused_in_one_line(name: str, message: str, tmp_path: Path) -> None:
    put_retrained(make_run(tmp_path / "run"), "half", is_whole=False)
    make_run(tmp_path / "running", state="interrupted")
    (make_run(tmp_path / "empty") / "best" / "weights.safetensors").unlink()
    (make_run(tmp_path / "broken") / "best" / "network.json").write_text("{")
    (make_run(tmp_path / "strange") / "best" / "network.json").write_text("{}")
    with pytest.raises(RunDirectoryError, match=message) as raised:
        TrainedNetwork.find(str(tmp_path / name))
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("use", [TrainedNetwork.find, retrain])
def test_a_run_without_a_winner_says_how_it_goes_on(use: Callable[[str], object], tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", state="out_of_time", config=config(budget={"hours": 0.25}))
    shutil.rmtree(run / "best")
    write(RunDirectory.at(run), [STARTED, *trial("00000", [], "failed")])
    words = f"no trial has completed .out of time.; to go on: cellscout resume {run} --set budget.hours=0.5$"
    with pytest.raises(RunDirectoryError, match=words):
        use(str(run))


def test_a_network_in_a_folder_that_is_not_in_a_run_is_refused(tmp_path: Path) -> None:
    put_network(tmp_path / "best", digits_spec())
    with pytest.raises(RunDirectoryError):
        TrainedNetwork.find(str(tmp_path / "best"))
