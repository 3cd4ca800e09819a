"""Runs on an object store: a real S3 server on loopback."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from orchestrator.errors import RunDirectoryError, SearchError
from orchestrator.record import event_segments
from orchestrator.record.event_log import EventLog, is_being_written, read_events
from orchestrator.record.events import EpochDone, Event, RunEnded
from orchestrator.record.log_owner import OWNER, LogOwner
from orchestrator.record.recorded_run import RecordedRun
from orchestrator.record.run_directory import RunDirectory
from orchestrator.record.run_state import RunState
from orchestrator.record.tables import EPOCHS, TRIALS, write_tables
from orchestrator.study import load_study
from orchestrator.study.journal import write_journal
from search_spaces import NASNET_A
from tests.builders import RUN, info
from tests.driving import busy, driven
from tests.object_store import ObjectStore, free_port, serving
from trainables import storage
from trainables.checkpoints import Checkpoint
from trainables.instant_trainable import made_up_result
from trainables.storage import Folder

ROW = next(event for event in RUN if isinstance(event, EpochDone))


@pytest.fixture
def uri(object_store: ObjectStore, tmp_path: Path) -> str:
    """A folder of this test alone."""
    return object_store.uri(f"bucket/{tmp_path.name}")


@pytest.fixture
def run(uri: str) -> RunDirectory:
    directory = RunDirectory.at(uri) / "run"
    directory.check_usable()
    directory.create(info(state="completed", config={"run": {"name": "digits"}}))
    return directory


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(event_segments, "UPLOAD_SECONDS", 0.05)
    monkeypatch.setattr(event_segments, "OWNER_SECONDS", 0.1)
    monkeypatch.setattr(storage, "RETRY_SECONDS", (0.05, 0.05))


@pytest.fixture
def no_timed_uploads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(event_segments, "UPLOAD_SECONDS", 1e6)


def record(directory: RunDirectory, events: list[Event] = RUN) -> None:
    with EventLog.create(directory) as log:
        log.append(*events)


def append_until_it_fails(log: EventLog) -> SearchError:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        try:
            log.append(ROW)
        except SearchError as error:
            return error
        time.sleep(0.02)
    raise AssertionError("the log did not fail")


def test_a_folder_of_a_bucket(uri: str) -> None:
    folder = Folder.at(uri)
    large = bytes(range(256)) * 40_000  # more than one part of an upload
    folder.write("deep/x", b"one")
    folder.write("deep/x", large)
    assert (folder / "deep").read("x") == large
    assert (folder.names(), folder.has("deep/x"), folder.has("deep")) == (["deep"], True, False)
    with pytest.raises(FileNotFoundError):
        folder.read("nothing")
    folder.remove("deep/nothing")
    folder.delete()
    folder.delete()
    assert folder.names() == []


def test_a_run_is_read_as_it_was_written(run: RunDirectory) -> None:
    record(run)
    state = RecordedRun.read(run).state()
    assert state == RunState.replay(RUN)
    run.write_best(state.trials["00000"], {"filters": 8}, b"old", {})
    run.write_best(state.trials["00001"], {"filters": 8}, b"new", {})
    assert run.best.names() == ["architecture.json", "metrics.json", "network.json", "weights.safetensors"]
    assert run.best.read("weights.safetensors") == b"new"
    assert json.loads(run.best.read("metrics.json"))["trial_id"] == "00001"
    write_tables(state, run.folder, seed=0)
    for name, rows in ((TRIALS, 6), (EPOCHS, 9)):
        assert pq.read_table(f"{run.folder.path}/{name}", filesystem=run.folder.filesystem).num_rows == rows
    assert run.folder.names() == ["best", "epochs.parquet", "events", "run.json", "trials.parquet"]


def test_metrics_are_written_last_and_taken_away_first(run: RunDirectory, monkeypatch: pytest.MonkeyPatch) -> None:
    state = RunState.replay(RUN)
    run.write_best(state.trials["00000"], {}, b"old", {})
    write = Folder.write

    def dies_at_the_weights(folder: Folder, name: str, content: bytes, **options: bool) -> None:
        if name == "weights.safetensors":
            raise KeyboardInterrupt
        write(folder, name, content, **options)

    monkeypatch.setattr(Folder, "write", dies_at_the_weights)
    with pytest.raises(KeyboardInterrupt):
        run.write_best(state.trials["00001"], {}, b"new", {})
    assert not run.best.has("metrics.json")


def test_a_place_with_a_run_or_with_files_of_others_is_refused(uri: str, run: RunDirectory) -> None:
    with pytest.raises(RunDirectoryError, match=r"run\?endpoint.* already holds a run; choose another --run-dir"):
        run.check_usable()
    with pytest.raises(RunDirectoryError, match="is not empty"):
        RunDirectory.at(uri).check_usable()
    with pytest.raises(RunDirectoryError, match=r"holds no run \(no run.json there\)"):
        RecordedRun.read(RunDirectory.at(uri) / "nothing").state()


def test_checking_leaves_nothing_behind(uri: str) -> None:
    directory = RunDirectory.at(uri) / "a"
    directory.check_usable()
    assert directory.folder.names() == []


def test_a_missing_bucket_is_refused(object_store: ObjectStore) -> None:
    with pytest.raises(RunDirectoryError, match=r"there is no such bucket \(--run-dir or run.storage\)"):
        RunDirectory.at(object_store.uri("elsewhere/run")).check_usable()


def test_an_unreachable_server_is_refused() -> None:
    nowhere = f"s3://bucket/run?endpoint_override=127.0.0.1%3A{free_port()}&scheme=http"
    with pytest.raises(RunDirectoryError, match=r"cannot be written: the object store cannot be reached: .*endpoint"):
        RunDirectory.at(nowhere).check_usable()


def test_denied_access_is_reported_and_not_retried(object_store: ObjectStore, uri: str, run: RunDirectory) -> None:
    with EventLog.create(run) as log:
        log.append(RUN[0])
        object_store.demand_credentials(after=0)
        try:
            started = time.monotonic()
            with pytest.raises(RunDirectoryError, match=r"denies access: .*check AWS_ACCESS_KEY_ID and"):
                RunDirectory.at(uri).check_usable()
            with pytest.raises(SearchError, match=r"cannot be written: .*denies access.*\(run.storage\)"):
                log.append(RunEnded(outcome="completed"))
            assert time.monotonic() - started < sum(storage.RETRY_SECONDS)
        finally:
            object_store.demand_credentials(after=None)


def test_the_environment_may_name_the_server(
    object_store: ObjectStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", object_store.endpoint)
    directory = RunDirectory.at(f"s3://bucket/{tmp_path.name}/run")
    directory.check_usable()
    directory.create(info())
    assert directory.read_info() == info(started_at=directory.read_info().started_at)


def test_segments_are_in_order_and_hold_several_events(
    run: RunDirectory, quick: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(event_segments, "SEGMENT_BYTES", 1000)
    rows = [ROW.model_copy(update={"epoch": number}) for number in range(150)]
    with EventLog.create(run) as log:
        log.append(RUN[0])
        for row in rows:
            log.append(row)
            time.sleep(0.004)
    names = (run.folder / "events").names()
    assert names == [f"{number:08d}.jsonl" for number in range(1, len(names) + 1)]
    assert 1 < len(names) < len(rows)
    assert list(read_events(run)) == [RUN[0], *rows]
    with EventLog.reopen(run) as log:
        log.append(RUN[1])
    assert (run.folder / "events").names()[:-1] == names
    assert list(read_events(run)) == [RUN[0], *rows, RUN[1]]


def test_the_start_and_the_end_are_uploaded_at_once_and_the_rest_within_a_second(run: RunDirectory) -> None:
    with EventLog.create(run) as log:
        log.append(RUN[0])
        assert list(read_events(run)) == RUN[:1]
        log.append(*RUN[1:])
        deadline = time.monotonic() + 20
        while list(read_events(run)) != RUN:
            assert time.monotonic() < deadline
            time.sleep(0.1)
        log.append(RunEnded(outcome="completed"))
        assert len(list(read_events(run))) == len(RUN) + 1
        assert run.folder.has(OWNER)
        assert is_being_written(run) is None
    assert not run.folder.has(OWNER)


@pytest.mark.usefixtures("no_timed_uploads")
def test_closing_uploads_what_is_left(run: RunDirectory) -> None:
    with EventLog.create(run) as log:
        log.append(RUN[0])
        log.append(*RUN[1:])
        assert list(read_events(run)) == RUN[:1]
    assert list(read_events(run)) == RUN


KILLED = """
import os, sys
from orchestrator.record import event_segments
from orchestrator.record.event_log import EventLog
from orchestrator.record.events import EVENT
from trainables import storage
from trainables.checkpoints import Checkpoint
from trainables.instant_trainable import made_up_result
from trainables.storage import Folder

events = [EVENT.validate_json(line) for line in sys.stdin]
event_segments.UPLOAD_SECONDS = 1e6  # as if it were killed within a second
log = EventLog.create(Folder.at(sys.argv[1]))
log.append(*events[:10])  # the start of the run, which is uploaded at once
log.append(*events[10:])
os.kill(os.getpid(), 9)
"""


def test_a_kill_loses_what_was_not_uploaded_and_no_more(run: RunDirectory) -> None:
    lines = "".join(event.model_dump_json() + "\n" for event in RUN)
    ended = subprocess.run([sys.executable, "-c", KILLED, run.location], input=lines, text=True)
    assert ended.returncode == -9
    assert list(read_events(run)) == RUN[:10]
    started = time.monotonic()
    with EventLog.reopen(run) as log:  # it ran on this machine, so there is no wait for the old owner
        assert time.monotonic() - started < event_segments.OWNER_SECONDS
        log.append(*RUN[10:])
    assert list(read_events(run)) == RUN


def test_a_log_that_has_begun_without_events_is_not_begun_again(run: RunDirectory) -> None:
    with EventLog.create(run) as log:
        with pytest.raises(RunDirectoryError, match=r"events\?.* exists already; choose another --run-dir"):
            EventLog.create(run)
        log.append(*RUN)
    assert list(read_events(run)) == RUN


@pytest.mark.usefixtures("quick")
def test_a_log_that_was_taken_over_fails_and_the_new_one_goes_on(run: RunDirectory) -> None:
    old = EventLog.create(run)
    old.append(RUN[0])
    with EventLog.reopen(run) as new:
        new.append(RUN[1])
        error = append_until_it_fails(old)
        assert "was taken over by" in str(error)
        assert old.failure is error
        old.close()
        new.append(RUN[2])
    assert list(read_events(run)) == RUN[:3]
    assert run.folder.names() == ["events", "run.json"]


@pytest.mark.usefixtures("quick")
def test_an_idle_log_notices_that_it_was_taken_over(run: RunDirectory) -> None:
    log = EventLog.create(run)
    log.append(RUN[0])
    other = LogOwner.claim(run.folder)
    log._writer._thread.join(timeout=20)  # type: ignore[attr-defined]
    with pytest.raises(SearchError, match="was taken over by"):
        log.append(ROW)
    log.close()
    assert LogOwner.of(run.folder) == other


@pytest.mark.usefixtures("quick")
def test_the_next_append_reports_an_outage(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(storage, "RETRY_SECONDS", ())  # the client itself tries for six seconds
    with serving() as store:
        directory = RunDirectory.at(store.uri("bucket/run"))
        log = EventLog.create(directory)
        log.append(RUN[0])
        store.end()
        assert "run/events?endpoint" in str(append_until_it_fails(log))
        log.close()


@pytest.mark.usefixtures("no_timed_uploads", "quick")
def test_what_cannot_be_uploaded_at_the_close_is_reported(run: RunDirectory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(event_segments, "UPLOAD_SECONDS", 1e6)
    log = EventLog.create(run)
    log.append(RUN[0])
    log.append(RUN[1])

    def down(*_: Any) -> None:
        raise OSError("it is down")

    monkeypatch.setattr(Folder, "write", down)
    with pytest.raises(SearchError, match=r"cannot be written: it is down \(run.storage\)"):
        log.close()


def test_a_short_outage_is_waited_for(run: RunDirectory, quick: None, monkeypatch: pytest.MonkeyPatch) -> None:
    write, failures = Folder.write, iter([OSError("it is down")] * 2)

    def unsteady(folder: Folder, name: str, content: bytes) -> None:
        if folder.name == "events" and (failure := next(failures, None)) is not None:
            raise failure
        write(folder, name, content)

    with EventLog.create(run) as log:
        monkeypatch.setattr(Folder, "write", unsteady)
        log.append(*RUN)
    assert list(read_events(run)) == RUN


def test_checkpoints_and_the_best_network_wait_for_a_short_outage(
    run: RunDirectory, quick: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unsteady(method: str) -> None:
        do, failures = getattr(Folder, method), iter([OSError("it is down")] * 2)

        def fail_at_first(*args: Any, **options: Any) -> Any:
            if (failure := next(failures, None)) is not None:
                raise failure
            return do(*args, **options)

        monkeypatch.setattr(Folder, method, fail_at_first)

    checkpoints, checkpoint = run.checkpoints, Checkpoint("of the candidate", (made_up_result(0.5, 1),), b"state")
    unsteady("write")
    checkpoints.write("00000", checkpoint)
    unsteady("write")
    checkpoints.write_weights("00000", b"weights")
    unsteady("names")
    assert checkpoints.newest("00000", "of the candidate") == checkpoint
    unsteady("read")
    assert checkpoints.weights("00000") == b"weights"
    for method in ("remove", "delete", "write"):
        unsteady(method)
        run.write_best(RunState.replay(RUN).trials["00001"], {}, b"weights", {})
    unsteady("read")
    assert run.best_trial_id() == "00001"
    with pytest.raises(FileNotFoundError):
        checkpoints.weights("00001")


def test_a_corrupt_or_missing_segment_is_reported_and_not_skipped(
    run: RunDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(event_segments, "SEGMENT_BYTES", 1)
    with EventLog.create(run) as log:
        for _ in range(3):
            log.append(RUN[0])
    events = run.folder / "events"
    whole = events.read("00000002.jsonl")
    events.write("00000002.jsonl", b"{broken}\n")
    with pytest.raises(RunDirectoryError, match=r"00000002.jsonl\?.*, line 1 is not an event"):
        RecordedRun.read(run).state()
    events.write("00000002.jsonl", whole[:-1] + b" ")
    events.remove("00000001.jsonl")
    with pytest.raises(RunDirectoryError, match=r"00000001.jsonl\?.* is missing, and there are later ones"):
        RecordedRun.read(run).state()


def test_a_run_that_was_copied_here_continues(run: RunDirectory) -> None:
    lines = b"".join(event.model_dump_json().encode() + b"\n" for event in RUN)
    run.folder.write("events.jsonl", lines + b'{"torn')
    assert list(read_events(run)) == RUN
    with EventLog.reopen(run) as log:
        log.append(RunEnded(outcome="interrupted"))
    assert list(read_events(run)) == [*RUN, RunEnded.model_validate(list(read_events(run))[-1])]
    assert run.folder.names() == ["events", "run.json"]


def test_the_commands_take_a_uri(run: RunDirectory, cellscout: Any, tmp_path: Path) -> None:
    record(run)
    run.folder.write("best/network.json", json.dumps(NASNET_A.to_json()).encode())
    status = cellscout("status", run.location)
    assert (status.status, status.err) == (0, "")
    assert run.location in status.out
    assert "best        0.8000 (trial 00001, 3 epochs)" in cellscout("report", run.location).out
    assert run.folder.has(TRIALS)
    assert json.loads(cellscout("report", run.location, "--json").out)["run_dir"] == run.location
    assert (
        cellscout("draw", (run.folder / "best").location.replace("best?", "best/network.json?"), "-o", "a.svg").status
        == 0
    )
    assert cellscout("draw", run.location, "-o", "b.svg").status == 0
    assert "run" in (tmp_path / "b.svg").read_text()
    nothing = cellscout("draw", (run.folder / "nothing").location, "-o", "c.svg")
    assert (nothing.status, "has no best network" in nothing.err) == (2, True)
    again = cellscout("search", "--run-dir", run.location)
    assert (again.status, "already holds a run" in again.err) == (2, True)
    secret = cellscout("status", "s3://key:hunter2@bucket/run")
    assert (secret.status, "hunter2" in secret.err) == (2, False)
    assert len(secret.err.splitlines()) == 1


def test_the_study_of_a_run_is_mirrored_into_a_local_file(run: RunDirectory, tmp_path: Path) -> None:
    with driven(run.folder) as hand:
        busy(hand, 5)
    assert len(load_study(run.location).trials) == len(hand.state.trials)
    with pytest.raises(RunDirectoryError, match=r"on an object store, .* name a file here by --output"):
        write_journal(run.location, None, follow=False)
    journal, count = write_journal(run.location, tmp_path / "study.journal", follow=False)
    assert (journal, count) == (tmp_path / "study.journal", 5)
