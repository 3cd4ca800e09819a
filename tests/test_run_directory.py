"""Run directories: checks, `run.json`, the best network, and whether a run is running."""

from __future__ import annotations

import errno
import os
import platform
import subprocess
from pathlib import Path
from typing import Any

import pytest

from orchestrator.errors import RunDirectoryError
from orchestrator.record.event_log import EventLog
from orchestrator.record.follow_ups import FollowUps
from orchestrator.record.recorded_run import RecordedRun
from orchestrator.record.run_directory import RunDirectory
from orchestrator.record.run_state import RunState
from search_spaces import NASNET_A
from tests.builders import RUN, info, write
from tests.records import snapshot


def test_run_json_is_read_as_it_was_written(tmp_path: Path) -> None:
    directory = RunDirectory.at(tmp_path / "a" / "b")
    directory.check_usable()
    directory.create(info())
    assert directory.read_info().state == "running"
    directory.write_info(info(state="completed"))
    assert directory.read_info().state == "completed"


def test_a_run_whose_process_has_ended_is_not_running() -> None:
    ended = subprocess.Popen(["true"])
    ended.wait()
    assert info(host=platform.node(), pid=ended.pid).standing == "died"
    assert info(host=platform.node(), pid=os.getpid()).standing == "running"
    assert info(host="elsewhere", pid=ended.pid).standing == "running"
    assert info(host=platform.node(), pid=ended.pid, state="completed").standing == "completed"


def test_check_usable_changes_nothing(tmp_path: Path) -> None:
    RunDirectory.at(tmp_path / "a" / "b").check_usable()
    assert list(tmp_path.iterdir()) == []


def test_a_directory_with_a_run_or_with_files_of_others_is_refused(tmp_path: Path) -> None:
    directory = RunDirectory.at(tmp_path / "run")
    directory.create(info())
    before = snapshot(tmp_path)
    with pytest.raises(RunDirectoryError, match="already holds a run; choose another --run-dir"):
        directory.check_usable()
    assert snapshot(tmp_path) == before
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(RunDirectoryError, match="is not empty"):
        RunDirectory.at(tmp_path).check_usable()


def test_an_empty_directory_may_be_used(tmp_path: Path) -> None:
    RunDirectory.at(tmp_path).check_usable()


def test_a_path_below_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(RunDirectoryError, match="file is not a folder"):
        RunDirectory.at(tmp_path / "file" / "run").check_usable()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_an_unwritable_folder_is_refused(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(RunDirectoryError, match="is not writable"):
        RunDirectory.at(tmp_path / "run").check_usable()


def test_a_folder_that_the_system_says_is_unwritable_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "access", lambda *_: False)
    with pytest.raises(RunDirectoryError, match=r"is not writable \(--run-dir or run.storage\)"):
        RunDirectory.at(tmp_path / "run").check_usable()


def test_a_full_disk_is_refused_before_anything_is_created(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda _: type("Usage", (), {"free": 5 * 2**20}))
    with pytest.raises(RunDirectoryError, match=r"has 5.0 MiB of free disk space; at least 64 MiB are needed"):
        RunDirectory.at(tmp_path / "run").check_usable()


def test_created_folders_are_removed_if_run_json_cannot_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(RunDirectoryError, match="cannot be written: No space left on device"):
        RunDirectory.at(tmp_path / "a" / "b").begin(info())
    assert list(tmp_path.iterdir()) == []


def test_a_second_run_does_not_replace_the_record_of_the_first(tmp_path: Path) -> None:
    directory = RunDirectory.at(tmp_path / "run")
    directory.check_usable()
    with directory.begin(info(seed=1)) as log:
        log.append(RUN[0])
        with pytest.raises(RunDirectoryError, match="is being written by another process"):
            directory.begin(info(seed=2))
    with pytest.raises(RunDirectoryError, match="exists already; choose another --run-dir"):
        directory.begin(info(seed=2))
    assert RecordedRun.read(directory).events() == RUN[:1]
    assert directory.read_info().seed == 1


def test_a_run_that_was_killed_before_it_had_a_run_json_is_in_nobodys_way(tmp_path: Path) -> None:
    directory = RunDirectory.at(tmp_path / "run")
    with EventLog.create(RunDirectory.at(tmp_path)), pytest.raises(RunDirectoryError, match="already holds a run"):
        RunDirectory.at(tmp_path).check_usable()
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "events.jsonl").touch()
    directory.check_usable()
    with directory.begin(info()) as log:
        log.append(RUN[0])
    with pytest.raises(RunDirectoryError, match="already holds a run"):
        directory.check_usable()


def test_a_folder_without_a_valid_run_json_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RunDirectoryError, match="holds no run"):
        RunDirectory.at(tmp_path).read_info()
    (tmp_path / "run.json").write_text("{}")
    with pytest.raises(RunDirectoryError, match="run.json is malformed"):
        RunDirectory.at(tmp_path).read_info()


def test_the_best_network_replaces_the_one_before_as_a_whole(tmp_path: Path) -> None:
    directory = RunDirectory.at(tmp_path / "run")
    directory.create(info())
    write(directory, RUN)
    state = RecordedRun.read(directory).state()
    assert state == RunState.replay(RUN)
    for trial_id, weights in (("00000", b"old"), ("00001", b"new")):
        directory.write_best(state.trials[trial_id], {"filters": 8}, weights, {})
    assert directory.best.names() == ["architecture.json", "metrics.json", "network.json", "weights.safetensors"]
    assert directory.best.read("weights.safetensors") == b"new"
    assert b'"trial_id": "00001"' in directory.best.read("metrics.json")
    assert NASNET_A.normal.blocks[0].edges[0].operation.encode() in directory.best.read("architecture.json")
    assert directory.folder.names() == ["best", "events.jsonl", "run.json"]


@pytest.mark.parametrize("moment", ["before the new one is whole", "between the old one and the new one", "at the end"])
def test_a_replacement_that_was_interrupted_is_finished(moment: str, tmp_path: Path) -> None:
    directory = RunDirectory.at(tmp_path)
    directory.create(info())
    state = RunState.replay(RUN)
    directory.write_best(state.trials["00000"], {}, b"old", {})
    if moment == "before the new one is whole":
        (directory.folder / "best.new").write("architecture.json", b"{}")
    elif moment == "between the old one and the new one":
        (tmp_path / "best").rename(tmp_path / "best.old")
        (directory.folder / "best.new").write("weights.safetensors", b"new")
    else:
        (directory.folder / "best.old").write("weights.safetensors", b"older")
    directory.repair_best()
    expected = b"new" if moment.startswith("between") else b"old"
    assert directory.best.read("weights.safetensors") == expected
    directory.write_best(state.trials["00001"], {}, b"newest", {})
    assert directory.best.read("weights.safetensors") == b"newest"
    assert directory.folder.names() == ["best", "run.json"]


def test_the_lock_decides_whether_a_run_is_running_not_the_process_id(tmp_path: Path) -> None:
    directory = RunDirectory.at(tmp_path)
    reused = info(host=platform.node(), pid=os.getpid())
    directory.create(reused)
    assert RecordedRun(directory, reused).standing == "running"  # its log does not exist yet
    with EventLog.create(directory) as log:
        log.append(*RUN)
        ended = subprocess.Popen(["true"])
        ended.wait()
        assert RecordedRun(directory, info(host=platform.node(), pid=ended.pid)).standing == "running"
        assert RecordedRun.read(directory).state().outcome is None
    assert RecordedRun(directory, reused).standing == "died"
    assert RecordedRun.read(directory).state().outcome == "died"
    assert RecordedRun(directory, info(host="elsewhere")).standing == "running"
    assert RecordedRun(directory, info(state="completed")).standing == "completed"


def test_a_file_beside_the_retrained_networks_is_no_network(tmp_path: Path) -> None:
    directory = RunDirectory.at(tmp_path)
    directory.folder.write("retrain/notes.txt", b"mine")
    directory.folder.write("retrain/resnet18/retrain.json", b"{}")
    assert FollowUps.read(directory).retrainings == {"resnet18": None}


@pytest.mark.parametrize("name", ["../x", "/etc/x", "a/../../x", ".", "", "a//b", "a/./b", "a\0b"])
def test_no_file_name_leads_out_of_the_directory(name: str, tmp_path: Path) -> None:
    directory = RunDirectory.at(tmp_path / "run")
    for use in (
        (directory.folder / "checkpoints").has,
        (directory.folder / "checkpoints").__truediv__,
        (directory.folder / "checkpoints").remove,
    ):
        with pytest.raises(ValueError, match="is not a name of a file in"):
            use(name)
    with pytest.raises(ValueError, match="is not a name of a file in"):
        (directory.folder / "checkpoints").write(name, b"")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("trial_id", ["../x", "old/00000", "..", "a b", ""])
def test_a_trial_whose_id_would_lead_out_of_the_directory_is_refused(trial_id: str, tmp_path: Path) -> None:
    directory = RunDirectory.at(tmp_path)
    directory.create(info())
    write(directory, RUN)
    path = tmp_path / "events.jsonl"
    path.write_text(path.read_text().replace('"trial_id":"00000"', f'"trial_id":"{trial_id}"'))
    with pytest.raises(RunDirectoryError, match=r"events.jsonl, line 2 is not an event: String should match pattern"):
        RecordedRun.read(directory).state()


@pytest.mark.parametrize("uri", ["s3://key:hunter2@bucket/runs", "s3://key:hun/ter2+x@bucket/runs"])
def test_a_secret_is_refused_and_not_shown(uri: str) -> None:
    with pytest.raises(RunDirectoryError, match="use environment variables") as refused:
        RunDirectory.at(uri)
    assert "hun" not in str(refused.value)
