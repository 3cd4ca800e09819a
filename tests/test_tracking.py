"""TensorBoard, MLflow and Weights & Biases: what their own readers find after a search."""

from __future__ import annotations

import io
import json
import math
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from orchestrator.config.search_config import parse_config
from orchestrator.errors import ConfigError
from orchestrator.progress import Progress
from orchestrator.record.event_log import read_events
from orchestrator.record.events import TrialBuilt, TrialEnded, TrialPaused, TrialSetBack, TrialStarted
from orchestrator.record.run_directory import RunDirectory
from orchestrator.record.run_info import RunInfo
from orchestrator.search.run import resume_search, run_search
from orchestrator.tracking import check_tracking, tracked
from orchestrator.tracking.feed import Feed
from orchestrator.tracking.tracked_trial import TrackedTrial
from tests.builders import epoch, info
from tests.driving import Hand, driven
from trainables.storage import Folder

SCORES = [0.1, 0.5, 0.7]
CURVE = [(1, 0.1), (2, 0.5), (3, 0.7)]

Curves = dict[str, tuple[str, list[tuple[int, float]]]]
"""Trial -> its status, and its validation accuracies by epoch."""

EXPECTED: Curves = {
    "00000": ("completed", CURVE),
    "00001": ("pruned", CURVE[:1]),
    "00002": ("completed", CURVE),  # after a pause
    "00003": ("pruned", CURVE[:1]),  # while it was paused
    "00004": ("completed", CURVE),  # after the death of its worker
    "00005": ("diverged", [(1, 0.1), (2, 0.0)]),
    "00007": ("completed", CURVE),  # in two processes
    "00008": ("pruned", CURVE[:2]),  # after the tools were closed
}
"""The trials that `first_process` and `second_process` train; 00006 is a duplicate."""


@contextmanager
def tracking(folder: Path, hand: Hand, run: RunInfo, **logging: Any) -> Iterator[None]:
    """Send what the hand does to the tools, which must not fail."""
    config = parse_config({"run": {"name": "digits"}, "logging": logging}, "x")
    said: list[str] = []
    with tracked(config, directory=RunDirectory.at(folder), info=run, state=hand.state, say=said.append) as feeds:
        for feed in feeds:
            hand.log.listen(feed.apply)
        yield
    assert all(line.startswith("writing the rest to") for line in said)


def first_process(hand: Hand) -> None:
    for number in range(6):
        trial = hand.admit()
        assert trial is not None
        assert trial.trial_id == f"{number:05d}"
    assert hand.admit(hand.state.trials["00000"].params) is None  # not known as a duplicate until that trial has ended
    start(hand, "00002", 1, 1)
    start(hand, "00003", 1, 1)
    start(hand, "00004", 1, 1)
    hand.log.append(TrialPaused(trial_id="00002"), TrialPaused(trial_id="00003"))
    hand.log.append(TrialSetBack(trial_id="00004", cause="worker_died", reason="its node rebooted"))
    hand.train(hand.state.trials["00000"], SCORES)
    hand.train(hand.state.trials["00001"], SCORES[:1], "pruned")
    start(hand, "00002", 1, 2)
    hand.log.append(epoch("00002", 3, 0.7), TrialEnded(trial_id="00002", status="completed"))
    hand.log.append(TrialEnded(trial_id="00003", status="pruned"))
    hand.log.append(TrialSetBack(trial_id="00004", cause="node_died", reason="before it could begin again"))
    start(hand, "00004", 2, 2)
    hand.log.append(epoch("00004", 3, 0.7), TrialEnded(trial_id="00004", status="completed"))
    hand.train(hand.state.trials["00005"], [0.1, math.nan], "diverged")
    for _ in range(2):
        assert hand.admit() is not None
    start(hand, "00007", 1, 1)


def start(hand: Hand, trial_id: str, attempt: int, number: int) -> None:
    hand.log.append(TrialStarted(trial_id=trial_id, attempt=attempt), epoch(trial_id, number, SCORES[number - 1]))


def second_process(hand: Hand) -> None:
    start(hand, "00007", 2, 3)
    hand.log.append(TrialBuilt(trial_id="00007", latency_seconds=0.25, node="here", device="cpu"))
    hand.log.append(TrialEnded(trial_id="00007", status="completed"))


def two_processes(folder: Path, between: Any = None, **logging: Any) -> None:
    """A search whose driver died before the tools had everything, and that was resumed."""
    run = info()
    for name in ("first", "second"):
        (folder / name).mkdir()
    with driven(folder / "first") as hand:
        with tracking(folder, hand, run, **logging):
            first_process(hand)
        hand.log.append(epoch("00007", 2, 0.5))
        hand.train(hand.state.trials["00008"], SCORES[:2], "pruned")
    if between is not None:
        between()
    events = list(read_events(Folder.at(folder / "first")))
    with driven(folder / "second", before=events) as hand, tracking(folder, hand, run, **logging):
        second_process(hand)


def in_tensorboard(folder: Path) -> Curves:
    """Return the status and the validation accuracies of each trial, as TensorBoard reads them."""
    return {
        path.name: (str(hyperparameters(path)["status"]), scalars(path)) for path in folder.iterdir() if path.is_dir()
    }


def scalars(folder: Path, name: str = "val_accuracy") -> list[tuple[int, float]]:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(folder)).Reload().Scalars(f"ray/tune/{name}")
    return [(event.step, event.value) for event in events]


def hyperparameters(folder: Path) -> dict[str, str | float]:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData

    metadata = EventAccumulator(str(folder)).Reload().summary_metadata["_hparams_/session_start_info"]
    values = HParamsPluginData.FromString(metadata.plugin_data.content).session_start_info.hparams
    return {name: value.string_value or value.number_value for name, value in values.items()}


def in_mlflow(uri: str, experiment: str = "digits") -> Curves:
    from mlflow.tracking import MlflowClient

    client = MlflowClient(tracking_uri=uri)
    runs = client.search_runs([client.get_experiment_by_name(experiment).experiment_id])
    assert len({run.info.run_name for run in runs}) == len(runs)
    return {
        run.info.run_name: (
            run.data.tags["status"],
            sorted((point.step, point.value) for point in client.get_metric_history(run.info.run_id, "val_accuracy")),
        )
        for run in runs
    }


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


class Broken:
    """A tracker that fails or hangs at its first epoch."""

    def __init__(self, hang: threading.Event | None = None) -> None:
        self.complete: set[str] = set()
        self._hang = hang

    def begin(self, trial: Any) -> None:
        pass

    def epoch(self, trial: Any, row: Any) -> None:
        if self._hang is None:
            raise OSError("no route to host\n\nno more memory\nthe server is gone")
        self._hang.wait()

    def end(self, trial: Any) -> None:
        raise AssertionError("called after an error")


def feed_to(tracker: Broken, hand: Hand, said: list[str]) -> Feed:
    return Feed(
        "Tool",
        setting="logging.tool",
        tracker=lambda: nullcontext(tracker),
        state=hand.state,
        describe=_unchanged,
        say=said.append,
    )


def _unchanged(trial: Any) -> TrackedTrial:
    return TrackedTrial(trial.trial_id, trial.trial_id, {}, (), None)


def test_a_tool_that_fails_is_reported_in_one_line_and_not_called_again(tmp_path: Path) -> None:
    said: list[str] = []
    with driven(tmp_path) as hand:
        with feed_to(Broken(), hand, said) as feed:
            hand.log.listen(feed.apply)
            for _ in range(3):
                trial = hand.admit()
                assert trial is not None
                hand.train(trial, SCORES)
        assert len(hand.state.trials) == 3
    assert said == ["Tool: the server is gone; the search continues without it, and a resume catches up (logging.tool)"]


def test_a_tool_that_hangs_delays_only_the_end_of_the_search(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("orchestrator.tracking.feed.NOTICE_SECONDS", 0.1)
    monkeypatch.setattr("orchestrator.tracking.feed.FINISH_SECONDS", 0.3)
    said: list[str] = []
    hang = threading.Event()
    with driven(tmp_path) as hand, feed_to(Broken(hang), hand, said) as feed:
        hand.log.listen(feed.apply)
        for _ in range(3):
            trial = hand.admit()
            assert trial is not None
            hand.train(trial, SCORES)
        assert said == []
    hang.set()
    assert feed._jobs.join(timeout=20)
    assert said == [
        "writing the rest to Tool",
        "Tool: not done after 0 s; the search continues without it, and a resume catches up (logging.tool)",
    ]


def test_an_unreachable_server_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    config = parse_config({"logging": {"mlflow": "http://127.0.0.1:9"}}, "x")
    said: list[str] = []
    with driven(tmp_path) as hand:
        with tracked(config, directory=RunDirectory.at(tmp_path), info=info(), state=hand.state, say=said.append) as (
            feed,
        ):
            hand.log.listen(feed.apply)
            trial = hand.admit()
            assert trial is not None
            hand.train(trial, SCORES)
        assert hand.state.best is trial
    (line,) = said
    assert line.startswith("MLflow: ")
    assert "Connection refused" in line
    assert "\n" not in line


def test_unusable_settings_are_reported_before_anything_starts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def check(folder: str | Path, **logging: Any) -> None:
        check_tracking(parse_config({"logging": logging}, "x").logging, RunDirectory.at(folder))

    check(tmp_path, tensorboard=True, mlflow="http://127.0.0.1:5000", wandb="offline")
    monkeypatch.setattr("orchestrator.tracking.trackers.PACKAGES", {"mlflow": "no_such_package", "wandb": "a_folder"})
    (tmp_path / "a_folder").mkdir()
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ConfigError, match=r'logging.mlflow needs no_such_package: pip install "cellscout\[mlflow\]"'):
        check(tmp_path, mlflow="http://127.0.0.1:5000")
    with pytest.raises(ConfigError, match="logging.wandb needs a_folder"):
        check(tmp_path, wandb="online")
    with pytest.raises(ConfigError, match=r"logging.mlflow: mlflow holds a password or token, which would be recorded"):
        parse_config({"logging": {"mlflow": "http://me:secret@host"}}, "x")


def test_tools_that_append_to_files_are_refused_on_an_object_store() -> None:
    settings = parse_config({"logging": {"tensorboard": True}}, "x").logging
    with pytest.raises(ConfigError, match="logging.tensorboard appends to files, which s3://"):
        check_tracking(
            settings, RunDirectory.at("s3://bucket/run?endpoint_override=127.0.0.1%3A9&scheme=http&region=x")
        )


def in_wandb(folder: Path) -> Curves:
    """Return what `wandb sync` would send of the offline runs in a folder."""
    return {name: curve for name, curve, _ in map(wandb_run, folder.glob("offline-run-*"))}


def wandb_run(folder: Path) -> tuple[str, tuple[str, list[tuple[int, float]]], dict[str, Any]]:
    """Return a run's name, its status with its validation accuracies, and its configuration."""
    from wandb.proto.wandb_internal_pb2 import Record

    (file,) = folder.glob("run-*.wandb")
    name, config, scores = "", dict[str, Any](), []
    for content in wandb_records(file.read_bytes()):
        record = Record.FromString(content)
        kind = record.WhichOneof("record_type")
        if kind == "run":
            name = record.run.display_name
        changed = {"run": record.run.config.update, "config": record.config.update}.get(kind, [])
        config |= {item.key or ".".join(item.nested_key): json.loads(item.value_json) for item in changed}
        if kind == "history":
            values = {item.key or ".".join(item.nested_key): item.value_json for item in record.history.item}
            if "val_accuracy" in values:
                scores.append((record.history.step.num, float(values["val_accuracy"])))
    return name, (config["status"], scores), config


def wandb_records(content: bytes) -> Iterator[bytes]:
    """Yield the records of a file in the format of LevelDB's logs.

    After a header of 7 bytes come blocks of 32 KiB; a record has one or more parts.
    """
    place, whole = 7, b""
    while place + 7 <= len(content):
        left = 32768 - place % 32768
        if left < 7:
            place += left
            continue
        length, kind = struct.unpack_from("<HB", content, place + 4)
        whole += content[place + 7 : place + 7 + length]
        place += 7 + length
        if kind in (1, 4):  # a whole record, or its last part
            yield whole
            whole = b""


@pytest.mark.slow
def test_offline_wandb_runs_hold_each_epoch_once_however_the_trial_ended(tmp_path: Path) -> None:
    two_processes(tmp_path, wandb="offline")
    found = in_wandb(tmp_path / "wandb")
    assert len(list((tmp_path / "wandb").glob("offline-run-*"))) == len(EXPECTED)
    check_curves(found, EXPECTED)
    configurations = {name: config for name, _, config in map(wandb_run, (tmp_path / "wandb").glob("offline-run-*"))}
    assert configurations["00007"]["latency_seconds"] == 0.25
    assert {"normal.0.left.operation", "macs"} <= configurations["00007"].keys()


def test_a_missing_wandb_key_is_reported_and_not_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import wandb

    monkeypatch.setattr(wandb, "login", lambda **options: False)
    said: list[str] = []
    config = parse_config({"logging": {"wandb": "online"}}, "x")
    with (
        driven(tmp_path) as hand,
        tracked(config, directory=RunDirectory.at(tmp_path), info=info(), state=hand.state, say=said.append),
    ):
        pass
    (line,) = said
    assert line.startswith("Weights & Biases: no API key; run `wandb login` or set WANDB_API_KEY; the search cont")


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
        for trial in result.state.trials.values()
    }
    assert len(expected) == 3
    assert all(len(curve) == 3 for _, curve in expected.values())
    files = tmp_path / "run"
    check_curves(in_tensorboard(files / "tensorboard"), expected)
    check_curves(in_mlflow(database), expected)
    check_curves(in_wandb(files / "wandb"), expected)
    configurations = {name: config for name, _, config in map(wandb_run, (files / "wandb").glob("offline-run-*"))}
    for trial in result.state.trials.values():
        assert (trial.params | trial.costs).items() <= configurations[trial.trial_id].items()
    assert "the search continues without" not in lines.getvalue()


def check_curves(found: Curves, expected: Curves) -> None:
    """Compare, with the precision of float32."""
    assert {name: (end, [step for step, _ in curve]) for name, (end, curve) in found.items()} == {
        name: (end, [step for step, _ in curve]) for name, (end, curve) in expected.items()
    }
    for name, (_, curve) in found.items():
        assert [score for _, score in curve] == pytest.approx([score for _, score in expected[name][1]], rel=1e-5)
