"""The event log in a local folder: who may write it, and what is left of it when its writer dies."""

from __future__ import annotations

import errno
import fcntl
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from orchestrator.errors import RunDirectoryError, SearchError
from orchestrator.record import event_file
from orchestrator.record.event_file import EventFile
from orchestrator.record.event_log import EventLog, is_being_written, read_events
from orchestrator.record.events import EpochDone, Event, RunEnded, RunStarted, TrialEnded, TrialStarted
from orchestrator.record.log_owner import OWNER, LogOwner
from tests.builders import RUN, write
from tests.faking import fill_up
from trainables.storage import Folder

HOLD = """
import sys, time
from pathlib import Path
from orchestrator.record.event_log import EventLog
from trainables.storage import Folder
log = EventLog.reopen(Folder.at(sys.argv[1]))
Path(sys.argv[2]).touch()
time.sleep(60)
"""


def test_a_log_is_gone_on_with(tmp_path: Path) -> None:
    folder, seen = Folder.at(tmp_path), list[Event]()
    write(folder, RUN[:5])
    with EventLog.reopen(folder, [seen.append]) as log:
        log.append(*RUN[5:])
    assert list(read_events(folder)) == RUN
    assert seen == RUN[5:]
    assert folder.names() == ["events.jsonl"]


@pytest.mark.parametrize("tail", [b"{", b'{"event":"run_ended","outcome":"comp', b"\0" * 10, b"x" * 200_000])
def test_a_torn_last_line_is_taken_away_before_the_next_one(tail: bytes, tmp_path: Path) -> None:
    folder = Folder.at(tmp_path)
    write(folder, RUN[:5])
    with (tmp_path / "events.jsonl").open("ab") as file:
        file.write(tail)
    assert list(read_events(folder)) == RUN[:5]
    with EventLog.reopen(folder) as log:
        log.append(*RUN[5:])
    assert list(read_events(folder)) == RUN


@pytest.mark.parametrize("content", [None, b"", b"{torn"])
def test_a_log_that_did_not_begin_can_be_gone_on_with(content: bytes | None, tmp_path: Path) -> None:
    if content is not None:
        (tmp_path / "events.jsonl").write_bytes(content)
    with EventLog.reopen(Folder.at(tmp_path)) as log:
        log.append(*RUN)
    assert list(read_events(Folder.at(tmp_path))) == RUN


def test_every_listener_receives_the_events_in_the_order_of_the_file(tmp_path: Path) -> None:
    folder, first, second = Folder.at(tmp_path), list[Event](), list[Event]()
    log = EventLog.create(folder)

    def answer(event: Event) -> None:
        first.append(event)
        if isinstance(event, TrialStarted):
            log.append(TrialEnded(trial_id=event.trial_id, status="failed"))
            log.append(RunEnded(outcome="failed"))
            assert [event.event for event in read_events(folder)][-2:] == ["trial_ended", "run_ended"]  # written
            assert first[-1] is event  # and not delivered yet

    log.listen(answer)
    log.listen(second.append)
    with log:
        log.append(*RUN[:4])
        kinds = ["run_started", "trial_suggested", "trial_started", "trial_built", "trial_ended", "run_ended"]
        assert [event.event for event in second] == kinds
    assert first == second == list(read_events(folder))


def test_what_a_listener_appended_before_one_failed_is_not_delivered_later(tmp_path: Path) -> None:
    folder, seen = Folder.at(tmp_path), list[Event]()
    log = EventLog.create(folder, [seen.append])

    def fail(event: Event) -> None:
        if isinstance(event, RunStarted):
            log.append(RUN[1])
            raise ValueError("bang")

    log.listen(fail)
    with log:
        with pytest.raises(ValueError, match="bang"):
            log.append(RUN[0])
        log.append(RUN[2])
    assert seen == [RUN[0], RUN[2]]
    assert list(read_events(folder)) == RUN[:3]


def test_two_processes_never_write_one_log(tmp_path: Path) -> None:
    """Not even of one that was killed: the lock is the kernel's."""
    folder = Folder.at(tmp_path)
    write(folder, RUN)
    assert is_being_written(folder) is False
    ready = tmp_path / "ready"
    holder = subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path), str(ready)])
    try:
        deadline = time.monotonic() + 60
        while not ready.exists():
            assert time.monotonic() < deadline
            time.sleep(0.05)
        assert is_being_written(folder) is True
        with pytest.raises(RunDirectoryError, match=rf"is being written by another process \(.*, pid {holder.pid}\)"):
            EventLog.reopen(folder)
        assert list(read_events(folder)) == RUN
    finally:
        holder.kill()
        holder.wait()
    assert folder.has(OWNER)
    assert is_being_written(folder) is False
    with EventLog.reopen(folder) as log:
        assert is_being_written(folder) is True
        log.append(RunEnded(outcome="completed"))
    assert not folder.has(OWNER)


def test_whether_a_log_is_written_is_asked_without_disturbing_who_opens_it(tmp_path: Path) -> None:
    assert is_being_written(Folder.at(tmp_path)) is None
    write(tmp_path, RUN)
    asking = (tmp_path / "events.jsonl").open("rb")
    fcntl.flock(asking, fcntl.LOCK_SH)
    closer = subprocess.Popen(["sleep", "0.1"], stdin=asking)  # shares the lock, and lets it go
    asking.close()
    EventLog.reopen(Folder.at(tmp_path)).close()
    closer.wait()


def test_where_there_are_no_locks_the_later_process_is_the_owner(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_locks(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", no_locks)
    monkeypatch.setattr(event_file, "SYNC_SECONDS", 0)
    folder = Folder.at(tmp_path)
    with EventLog.create(folder) as log:
        log.append(RUN[0])
        assert is_being_written(folder) is None
        other = LogOwner.claim(folder)
        with pytest.raises(
            SearchError, match=rf"was taken over by .*, pid {os.getpid()}; this process no longer writes"
        ):
            log.append(RUN[1])
        assert LogOwner.of(folder) == other


def test_it_is_forced_to_the_disk_at_most_once_a_second(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[int] = []
    clock = [100.0]
    fsync = os.fsync

    def noted(number: int) -> None:
        synced.append(number)
        fsync(number)

    monkeypatch.setattr(os, "fsync", noted)
    monkeypatch.setattr("orchestrator.record.event_file.time.monotonic", lambda: clock[0])

    def syncs(log: EventLog, *events: Event) -> int:
        before = len(synced)
        log.append(*events)
        return len(synced) - before

    row = next(event for event in RUN if isinstance(event, EpochDone))
    with EventLog.create(Folder.at(tmp_path)) as log:
        assert syncs(log, RUN[0]) == 1
        assert [syncs(log, row) for _ in range(100)] == [0] * 100
        clock[0] += 1.1
        assert [syncs(log, row) for _ in range(100)] == [1] + [0] * 99
        assert syncs(log, RunEnded(outcome="completed")) == 1


def test_a_log_that_has_failed_takes_nothing_more_and_closes(tmp_path: Path) -> None:
    file = EventFile(Folder.at(tmp_path), fresh=True)
    log = EventLog(file)
    log.append(RUN[0])
    fill_up(file)
    with pytest.raises(SearchError):
        log.append(RUN[1])
    log.close()
    assert list(read_events(Folder.at(tmp_path))) == RUN[:1]


def test_a_run_that_was_copied_from_an_object_store_is_read_and_gone_on_with(tmp_path: Path) -> None:
    folder = Folder.at(tmp_path)
    lines = [event.model_dump_json().encode() + b"\n" for event in RUN]
    for number, begin in enumerate(range(0, len(lines), 4), start=1):
        folder.write(f"events/{number:08d}.jsonl", b"".join(lines[begin : begin + 4]))
    assert list(read_events(folder)) == RUN
    with EventLog.reopen(folder) as log:
        log.append(RunEnded(outcome="interrupted"))
    assert folder.names() == ["events.jsonl"]
    assert list(read_events(folder))[:-1] == RUN


def test_a_log_in_a_folder_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    with pytest.raises(RunDirectoryError, match=r"events.jsonl cannot be written: No such file or directory"):
        EventLog.create(Folder.at(tmp_path / "nowhere"))
