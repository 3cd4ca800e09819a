"""A search by hand that is sent to TensorBoard, MLflow and Weights & Biases, and what their own readers find."""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from orchestrator.config.loading import parse_config
from orchestrator.record.event_log import read_events
from orchestrator.record.events import TrialBuilt, TrialEnded, TrialPaused, TrialSetBack, TrialStarted
from orchestrator.record.run_directory import RunDirectory
from orchestrator.record.run_info import RunInfo
from orchestrator.tracking import tracked
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


def check_curves(found: Curves, expected: Curves) -> None:
    """Compare, with the precision of float32."""
    assert {name: (end, [step for step, _ in curve]) for name, (end, curve) in found.items()} == {
        name: (end, [step for step, _ in curve]) for name, (end, curve) in expected.items()
    }
    for name, (_, curve) in found.items():
        assert [score for _, score in curve] == pytest.approx([score for _, score in expected[name][1]], rel=1e-5)
