"""The record: event log, the state that it adds up to, and the tables."""

from __future__ import annotations

import dataclasses
import json
import math
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.errors import RunDirectoryError, SearchError
from orchestrator.record.event_file import EventFile
from orchestrator.record.event_log import EventLog, read_events
from orchestrator.record.events import (
    EVENT,
    EpochDone,
    EpochFields,
    Event,
    RunEnded,
    RunResumed,
    TrialBuilt,
    TrialSuggested,
    epoch_values,
)
from orchestrator.record.recorded_run import load_run
from orchestrator.record.run_directory import RunDirectory
from orchestrator.record.run_state import RunState
from orchestrator.record.settings_difference import first_difference
from orchestrator.record.tables import EPOCHS, TRIALS, write_tables
from search_spaces import NASNET_A
from tests.builders import RUN, STARTED, at, config, info, trial, write
from tests.faking import fill_up
from trainables.epoch_result import EpochResult
from trainables.instant_trainable import made_up_result
from trainables.storage import Folder


def test_what_is_written_is_read(tmp_path: Path) -> None:
    write(tmp_path, RUN)
    assert list(read_events(Folder.at(tmp_path))) == RUN


def test_each_event_is_one_line_of_plain_json(tmp_path: Path) -> None:
    write(tmp_path, RUN)
    lines = (tmp_path / "events.jsonl").read_text().splitlines()
    assert len(lines) == len(RUN)
    assert all(isinstance(json.loads(line)["event"], str) for line in lines)
    assert "NaN" not in "".join(lines)


@pytest.mark.parametrize("cut", [1, 7, 30])
def test_a_torn_last_line_is_dropped(tmp_path: Path, cut: int) -> None:
    path = tmp_path / "events.jsonl"
    write(tmp_path, RUN)
    path.write_bytes(path.read_bytes()[:-cut])
    assert list(read_events(Folder.at(tmp_path))) == RUN[:-1]


def test_an_epoch_is_recorded_with_every_number_of_its_result() -> None:
    names = [field.name for field in dataclasses.fields(EpochResult) if field.name not in ("ended_at", "metrics")]
    assert list(EpochFields.model_fields) == names
    assert list(EpochDone.model_fields) == ["time", "event", "trial_id", *names, "metrics"]  # the order in the file
    result = dataclasses.replace(made_up_result(0.5, 1), val_loss=math.inf)
    assert epoch_values(dataclasses.asdict(result))["val_loss"] is None


def test_a_corrupt_line_before_the_last_is_told_and_not_skipped(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    write(tmp_path, RUN)
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join([*lines[:3], b"{broken}\n", *lines[4:]]))
    with pytest.raises(RunDirectoryError, match=r"events.jsonl, line 4 is not an event"):
        list(read_events(Folder.at(tmp_path)))


def test_an_existing_log_is_never_overwritten(tmp_path: Path) -> None:
    write(tmp_path, RUN)
    with pytest.raises(RunDirectoryError, match="events.jsonl exists already; choose another --run-dir"):
        EventLog.create(Folder.at(tmp_path))
    assert list(read_events(Folder.at(tmp_path))) == RUN


def test_listeners_are_told_after_the_event_is_in_the_file(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    seen: list[tuple[Event, int]] = []
    with EventLog.create(
        Folder.at(tmp_path), [lambda event: seen.append((event, path.read_bytes().count(b"\n")))]
    ) as log:
        log.append(RUN[0])
        log.append(*RUN[1:3])
    assert seen == [(RUN[0], 1), (RUN[1], 3), (RUN[2], 3)]


def test_a_full_disk_is_told_and_no_listener_sees_the_event(tmp_path: Path) -> None:
    seen: list[Event] = []
    file = EventFile(Folder.at(tmp_path), fresh=True)
    with EventLog(file, [seen.append]) as log:
        fill_up(file)
        for _ in range(2):  # when there is room again, too: half a line may have been written
            with pytest.raises(SearchError, match=r"cannot be written: No space left on device \(run.storage\)"):
                log.append(RUN[0])
        assert log.failure is not None
    assert seen == []


def test_the_first_setting_that_differs_is_named_with_both_values() -> None:
    recorded = {"seeds": [0], "training": {"epochs": 3, "ema": None}, "candidates": {"00001": "a"}}
    assert first_difference(recorded, {**recorded, "training": {"epochs": 3}}) is None
    assert first_difference(recorded, {**recorded, "seeds": [1], "more": 2}) == "seeds was [0], and is [1]"
    assert first_difference(recorded, {**recorded, "more": 2}) == "more was None, and is 2"
    changed = {**recorded, "candidates": {"00001": "b"}}
    assert first_difference(recorded, changed) == "candidates.00001 was 'a', and is 'b'"


def test_events_add_up_to_the_trials() -> None:
    state = RunState.replay(RUN)
    statuses = {name: found.status for name, found in state.trials.items()}
    assert statuses == {
        "00000": "completed",
        "00001": "completed",
        "00002": "pruned",
        "00003": "diverged",
        "00004": "failed",
        "00005": "running",
    }
    second = state.trials["00001"]
    assert (second.epochs, second.val_accuracy, second.best_val_accuracy) == (3, 0.8, 0.9)
    assert (second.train_seconds, second.wall_seconds) == (3.0, 10.0)
    assert state.trials["00004"].error == "bang"
    assert state.trials["00005"].wall_seconds is None


def test_the_best_is_the_completed_trial_with_the_highest_last_score() -> None:
    """Neither a lucky epoch in the middle nor a pruned trial's score counts."""
    state = RunState.replay(RUN)
    assert state.best is not None
    assert state.best.trial_id == "00001"
    lucky = RunState.replay([RUN[0], *trial("0", [0.99, 0.5], "completed"), *trial("1", [0.1, 0.6], "completed")])
    assert lucky.best is not None
    assert lucky.best.trial_id == "1"


def test_the_ranking_puts_completed_trials_first() -> None:
    ranking = [found.trial_id for found in RunState.replay(RUN).ranking()]
    assert ranking == ["00001", "00000", "00002", "00005"]


def test_of_equal_trials_the_one_in_best_leads_the_ranking() -> None:
    later, sooner = trial("00000", [0.5], "completed"), trial("00001", [0.5], "completed")
    state = RunState.replay([STARTED, *later[:-1], *sooner, later[-1]])
    assert state.best is not None
    assert state.best.trial_id == state.ranking()[0].trial_id == "00001"


def test_trials_that_wait_run_or_never_ended_are_told_apart() -> None:
    suggested = TrialSuggested(
        trial_id="x", number=6, params={}, architecture={}, fingerprint="f", costs={}, ask_seconds=0.0
    )
    state = RunState.replay([*RUN, suggested])
    assert state.counts()["running"] == state.counts()["waiting"] == 1
    state.apply(RunEnded(outcome="interrupted"))
    assert state.counts()["unfinished"] == 2


def test_utilisation_is_training_time_over_the_slots_time() -> None:
    """9 s of training, 2 slots, 15 s from the first start to the last end (00002: 5 + 10)."""
    assert RunState.replay(RUN).utilisation() == pytest.approx(9 / (2 * 15))
    assert RunState.replay([RUN[0]]).utilisation() is None


def test_the_time_before_a_resume_after_the_last_end_is_left_out_once() -> None:
    state = RunState.replay(RUN)
    for begin in (1000.0, 2000.0):  # resumed twice, and nothing has ended since
        state.apply(RunResumed(time=at(begin), slots=2))
    assert state.utilisation() == RunState.replay(RUN).utilisation()


@given(st.integers(0, len(RUN)))
def test_a_state_built_while_running_is_the_one_that_replay_gives(cut: int) -> None:
    live = RunState()
    for event in RUN[:cut]:
        live.apply(event)
    assert live == RunState.replay(RUN[:cut])


TRIAL_COLUMNS = {
    "trial_id": "string",
    "status": "string",
    "architecture": "string",
    "fingerprint": "string",
    "parameters": "int64",
    "macs": "int64",
    "epochs": "int32",
    "val_accuracy": "double",
    "best_val_accuracy": "double",
    "train_seconds": "double",
    "wall_seconds": "double",
    "started_at": "timestamp[us, tz=UTC]",
    "ended_at": "timestamp[us, tz=UTC]",
    "node": "string",
    "device": "string",
    "attempt": "int32",
    "duplicate_of": "string",
    "purpose": "string",
    "repeats": "string",
    "seed": "int64",
    "split": "string",
    "error": "string",
}
EPOCH_COLUMNS = {
    "trial_id": "string",
    "epoch": "int32",
    "train_loss": "double",
    "train_accuracy": "double",
    "val_loss": "double",
    "val_accuracy": "double",
    "learning_rate": "double",
    "seconds": "double",
    "images_per_second": "double",
    "ended_at": "timestamp[us, tz=UTC]",
}


@pytest.mark.parametrize("events", [RUN, RUN[:1]])
def test_tables_have_the_published_schema_even_when_empty(events: list[Event], tmp_path: Path) -> None:
    write_tables(RunState.replay(events), Folder.at(tmp_path), seed=0)
    for name, columns in ((TRIALS, TRIAL_COLUMNS), (EPOCHS, EPOCH_COLUMNS)):
        schema = pq.read_schema(tmp_path / name)
        assert {field.name: str(field.type) for field in schema} == columns


def test_a_measured_latency_has_a_column_of_its_own(tmp_path: Path) -> None:
    built = TrialBuilt(trial_id="00000", latency_seconds=0.25, node="here", device="cpu")
    write_tables(RunState.replay([*RUN, built]), Folder.at(tmp_path), seed=0)
    table = pq.read_table(tmp_path / TRIALS)
    assert str(table.schema.field("latency_seconds").type) == "double"
    assert table.column("latency_seconds").to_pylist()[:2] == [0.25, None]


def test_tables_are_read_by_pandas(tmp_path: Path) -> None:
    write_tables(RunState.replay(RUN), Folder.at(tmp_path), seed=0)
    trials, epochs = (pd.read_parquet(tmp_path / name) for name in (TRIALS, EPOCHS))
    assert trials.set_index("trial_id").loc["00001", "val_accuracy"] == 0.8
    assert json.loads(trials.architecture[0]) == NASNET_A.to_json()
    assert len(epochs) == sum(isinstance(event, EpochDone) for event in RUN)
    assert epochs[epochs.trial_id == "00003"].val_loss.isna().all()
    assert {path.name for path in tmp_path.iterdir()} == {TRIALS, EPOCHS}


def test_a_run_has_its_tables_while_it_runs(tmp_path: Path) -> None:
    """They are computed from the events; the files are written at the end."""
    write(tmp_path, RUN[:6])
    directory = RunDirectory.at(tmp_path)
    directory.write_info(info(config=config().model_dump(mode="json")))
    run = load_run(tmp_path)
    known = run.epochs().num_rows
    assert (run.config, run.winner) == (config(), None)
    assert run.trials().column("status").to_pylist()[0] == "running"
    with EventLog.reopen(directory) as log:
        log.append(*RUN[6:])
    trials, epochs = run.trials(), run.epochs()
    assert epochs.num_rows == sum(isinstance(event, EpochDone) for event in RUN) > known
    assert run.winner == RunState.replay(RUN).winner
    write_tables(run.state(), Folder.at(tmp_path), seed=0)
    assert [trials, epochs] == [pq.read_table(tmp_path / name) for name in (TRIALS, EPOCHS)]
    assert len(trials.to_pandas()) == trials.num_rows


def test_tables_can_be_deleted_and_rebuilt(tmp_path: Path) -> None:
    write(tmp_path, RUN)
    write_tables(RunState.replay(RUN), Folder.at(tmp_path), seed=0)
    before: list[Any] = [pq.read_table(tmp_path / name) for name in (TRIALS, EPOCHS)]
    for name in (TRIALS, EPOCHS):
        (tmp_path / name).unlink()
    write_tables(RunState.replay(read_events(Folder.at(tmp_path))), Folder.at(tmp_path), seed=0)
    assert [pq.read_table(tmp_path / name) for name in (TRIALS, EPOCHS)] == before


@pytest.mark.parametrize("event", RUN, ids=lambda event: event.event)
def test_every_event_survives_json(event: Event) -> None:
    assert EVENT.validate_json(event.model_dump_json()) == event
