"""TensorBoard, MLflow and Weights & Biases: what their own readers find after a search."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from orchestrator.config.loading import parse_config
from orchestrator.progress import Progress
from orchestrator.record.event_log import read_events
from orchestrator.record.events import TrialBuilt, TrialEnded, TrialPaused, TrialStarted
from orchestrator.search.run import resume_search, run_search
from tests.builders import epoch, info
from tests.driving import driven, new
from tests.tracked import (
    EXPECTED,
    SCORES,
    Curves,
    check_curves,
    hyperparameters,
    in_mlflow,
    in_tensorboard,
    in_wandb,
    scalars,
    tracking,
    two_processes,
    wandb_run,
)
from trainables.storage import Folder


def test_tensorboards_files_hold_each_epoch_once_however_the_trial_ended(tmp_path: Path) -> None:
    two_processes(tmp_path, tensorboard=True)
    files = tmp_path / "tensorboard"
    check_curves(in_tensorboard(files), EXPECTED)
    assert hyperparameters(files / "00007")["latency_seconds"] == 0.25
    assert [step for step, _ in scalars(files / "00005", "val_loss")] == [1]  # the second one was not finite


def test_tensorboard_has_the_decisions_and_the_costs(tmp_path: Path) -> None:
    with driven(tmp_path) as hand, tracking(tmp_path, hand, info(), tensorboard=True):
        trial = hand.admit()
        assert trial is not None
        hand.train(trial, SCORES)
    found = hyperparameters(tmp_path / "tensorboard" / "00000")
    assert found == {**trial.params, **trial.costs, "status": "completed"}
    assert {"normal.0.left.operation", "macs"} <= found.keys()


def test_a_tool_that_is_switched_on_later_receives_the_whole_record(tmp_path: Path) -> None:
    two_processes(tmp_path)
    (tmp_path / "third").mkdir()
    events = list(read_events(Folder.at(tmp_path / "second")))
    with driven(tmp_path / "third", before=events) as hand, tracking(tmp_path, hand, info(), tensorboard=True):
        pass
    check_curves(in_tensorboard(tmp_path / "tensorboard"), EXPECTED)


def test_a_trial_that_is_complete_is_not_written_again(tmp_path: Path) -> None:
    two_processes(tmp_path, tensorboard=True)
    (file,) = (tmp_path / "tensorboard" / "00000").iterdir()
    before = file.stat().st_mtime_ns
    (tmp_path / "third").mkdir()
    events = list(read_events(Folder.at(tmp_path / "second")))
    with driven(tmp_path / "third", before=events) as hand, tracking(tmp_path, hand, info(), tensorboard=True):
        pass
    assert file.stat().st_mtime_ns == before


@pytest.fixture
def file_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    return f"file:{tmp_path / 'mlruns'}"


def test_mlflows_runs_hold_each_epoch_once_however_the_trial_ended(tmp_path: Path, file_store: str) -> None:
    from mlflow.tracking import MlflowClient

    client = MlflowClient(tracking_uri=file_store)

    def runs() -> dict[str, Any]:
        return {run.info.run_name: run for run in client.search_runs([experiment()])}

    def experiment() -> str:
        return str(client.get_experiment_by_name("digits").experiment_id)

    def half_an_epoch() -> None:
        """Leave what a process leaves that is killed while it writes an epoch."""
        assert runs()["00007"].info.status == "KILLED"  # no trial runs between the two processes
        client.log_metric(runs()["00007"].info.run_id, "val_accuracy", 0.5, step=2)

    two_processes(tmp_path, half_an_epoch, mlflow=file_store)
    assert in_mlflow(file_store) == EXPECTED
    found = runs()
    assert {name: run.info.status for name, run in found.items()} == {
        name: "FAILED" if status == "diverged" else "FINISHED" for name, (status, _) in EXPECTED.items()
    }
    whole = client.get_metric_history(found["00007"].info.run_id, "train_loss")
    assert sorted(point.step for point in whole) == [1, 2, 3]
    assert {"normal.0.left.operation", "macs"} <= found["00007"].data.params.keys()
    assert found["00007"].data.params["latency_seconds"] == "0.25"


def test_a_latency_that_is_measured_on_two_workers_is_the_last_one_in_mlflow(tmp_path: Path, file_store: str) -> None:
    from mlflow.tracking import MlflowClient

    with driven(tmp_path) as hand, tracking(tmp_path, hand, info(), mlflow=file_store):
        name = new(hand).trial_id
        for attempt, latency in ((1, 0.25), (2, 0.5)):
            built = TrialBuilt(trial_id=name, node="here", device="cpu", latency_seconds=latency)
            hand.log.append(TrialStarted(trial_id=name, attempt=attempt), built)
            if attempt == 1:
                hand.log.append(TrialPaused(trial_id=name))
        hand.log.append(epoch(name, 1, 0.5), TrialEnded(trial_id=name, status="completed"))
    client = MlflowClient(tracking_uri=file_store)
    (run,) = client.search_runs([client.get_experiment_by_name("digits").experiment_id])
    assert (run.info.status, run.data.params["latency_seconds"]) == ("FINISHED", "0.5")


def test_two_searches_of_one_name_share_an_experiment_but_no_run(tmp_path: Path, file_store: str) -> None:
    from mlflow.tracking import MlflowClient

    for name in ("first", "second"):
        (tmp_path / name).mkdir()
        with driven(tmp_path / name) as hand, tracking(tmp_path / name, hand, info(), mlflow=file_store):
            trial = hand.admit()
            assert trial is not None
            hand.train(trial, SCORES)
    client = MlflowClient(tracking_uri=file_store)
    runs = client.search_runs([client.get_experiment_by_name("digits").experiment_id])
    assert [run.info.run_name for run in runs] == ["00000", "00000"]
    assert all(len(client.get_metric_history(run.info.run_id, "val_accuracy")) == 3 for run in runs)


@pytest.mark.slow
def test_offline_wandb_runs_hold_each_epoch_once_however_the_trial_ended(tmp_path: Path) -> None:
    two_processes(tmp_path, wandb="offline")
    found = in_wandb(tmp_path / "wandb")
    assert len(list((tmp_path / "wandb").glob("offline-run-*"))) == len(EXPECTED)
    check_curves(found, EXPECTED)
    configurations = {name: config for name, _, config in map(wandb_run, (tmp_path / "wandb").glob("offline-run-*"))}
    assert configurations["00007"]["latency_seconds"] == 0.25
    assert {"normal.0.left.operation", "macs"} <= configurations["00007"].keys()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # MLflow's, of SQLAlchemy
def test_all_three_tools_hold_a_resumed_search(
    tmp_path: Path, local_ray: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("orchestrator.tracking.feed.FINISH_SECONDS", 200)
    monkeypatch.setattr("orchestrator.tracking.wandb.UPLOAD_SECONDS", 200)
    database = f"sqlite:///{tmp_path / 'mlflow.db'}"
    config = parse_config(
        {
            "run": {"name": "digits"},
            "training": {"epochs": 3},
            "trainable": {"name": "instant"},
            "sampler": {"name": "random"},
            "scheduler": {"name": "fifo"},
            "budget": {"trials": 2},
            "confirmation": {"candidates": 1, "trainings": 2},
            "logging": {"tensorboard": True, "mlflow": database, "wandb": "offline"},
        },
        "x",
    )
    lines = io.StringIO()
    progress = Progress(Console(file=lines))
    run_search(config, run_dir=tmp_path / "run", progress=progress)
    result = resume_search(tmp_path / "run", ["budget.trials=3"], progress=progress)
    expected: Curves = {
        trial.trial_id: (trial.status, [(row.epoch, row.val_accuracy or 0.0) for row in trial.curve])
        for trial in result.state.all_trials()  # those of the confirmation too
    }
    assert len(expected) == 3 + len(result.state.repeats) > 3
    assert all(len(curve) == 3 for _, curve in expected.values())
    files = tmp_path / "run"
    check_curves(in_tensorboard(files / "tensorboard"), expected)
    check_curves(in_mlflow(database), expected)
    check_curves(in_wandb(files / "wandb"), expected)
    configurations = {name: config for name, _, config in map(wandb_run, (files / "wandb").glob("offline-run-*"))}
    for trial in result.state.trials.values():
        assert (trial.params | trial.costs).items() <= configurations[trial.trial_id].items()
    assert "the search continues without" not in lines.getvalue()
