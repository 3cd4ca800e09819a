from __future__ import annotations

import errno
import os
import platform
import subprocess
from pathlib import Path
from typing import Any

import pytest

from orchestrator.errors import RunDirectoryError
from orchestrator.events import now
from orchestrator.run_directory import RunDirectory
from orchestrator.run_info import RunInfo
from orchestrator.run_state import RunState
from search_spaces import NASNET_A
from tests.test_record import RUN, write


def info(**values: Any) -> RunInfo:
    return RunInfo(
        **{
            "config": {},
            "seed": 0,
            "state": "running",
            "started_at": now(),
            "command": ["cellscout", "search"],
            "host": "here",
            "pid": 1,
            "versions": {},
            "commit": None,
            "resources": {},
            "data": {"validation": 100},
            **values,
        }
    )


def snapshot(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_run_json_is_read_as_it_was_written(tmp_path: Path) -> None:
    directory = RunDirectory(tmp_path / "a" / "b")
    directory.check_usable()
    directory.create(info())
    assert directory.read_info().state == "running"
    directory.write_info(info(state="completed"))
    assert directory.read_info().state == "completed"


def test_a_run_whose_process_is_gone_is_not_said_to_run() -> None:
    ended = subprocess.Popen(["true"])
    ended.wait()
    assert info(host=platform.node(), pid=ended.pid).standing == "died"
    assert info(host=platform.node(), pid=os.getpid()).standing == "running"
    assert info(host="elsewhere", pid=ended.pid).standing == "running"
    assert info(host=platform.node(), pid=ended.pid, state="completed").standing == "completed"


def test_checking_touches_nothing(tmp_path: Path) -> None:
    RunDirectory(tmp_path / "a" / "b").check_usable()
    assert list(tmp_path.iterdir()) == []


def test_a_directory_with_a_run_or_with_files_of_others_is_refused(tmp_path: Path) -> None:
    directory = RunDirectory(tmp_path / "run")
    directory.create(info())
    before = snapshot(tmp_path)
    with pytest.raises(RunDirectoryError, match="already holds a run; choose another --run-dir"):
        directory.check_usable()
    assert snapshot(tmp_path) == before
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(RunDirectoryError, match="is not empty"):
        RunDirectory(tmp_path).check_usable()


def test_an_empty_directory_may_be_used(tmp_path: Path) -> None:
    RunDirectory(tmp_path).check_usable()


def test_a_file_in_the_way_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(RunDirectoryError, match="file is no folder"):
        RunDirectory(tmp_path / "file" / "run").check_usable()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_an_unwritable_folder_is_told(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(RunDirectoryError, match="is not writable"):
        RunDirectory(tmp_path / "run").check_usable()


def test_a_folder_that_the_system_says_is_unwritable_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "access", lambda *_: False)
    with pytest.raises(RunDirectoryError, match=r"is not writable \(--run-dir or run.storage\)"):
        RunDirectory(tmp_path / "run").check_usable()


def test_a_full_disk_is_told_before_anything_is_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda _: type("Usage", (), {"free": 5 * 2**20}))
    with pytest.raises(RunDirectoryError, match=r"has 5.0 MiB of free disk space; at least 64 MiB are needed"):
        RunDirectory(tmp_path / "run").check_usable()


def test_what_was_made_is_taken_back_when_it_cannot_be_filled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(RunDirectoryError, match="cannot be written: No space left on device"):
        RunDirectory(tmp_path / "a" / "b").create(info())
    assert list(tmp_path.iterdir()) == []


def test_what_is_no_run_is_told(tmp_path: Path) -> None:
    with pytest.raises(RunDirectoryError, match="holds no run"):
        RunDirectory(tmp_path).read_info()
    (tmp_path / "run.json").write_text("{}")
    with pytest.raises(RunDirectoryError, match="run.json is malformed"):
        RunDirectory(tmp_path).read_info()


def test_the_best_network_replaces_the_one_before_as_a_whole(tmp_path: Path) -> None:
    directory = RunDirectory(tmp_path / "run")
    directory.create(info())
    write(directory.events, RUN)
    state = directory.read_state()
    assert state == RunState.replay(RUN)
    for trial_id, weights in (("00000", b"old"), ("00001", b"new")):
        directory.write_best(state.trials[trial_id], {"filters": 8}, weights)
    assert {path.name for path in directory.best.iterdir()} == {
        "architecture.json",
        "network.json",
        "metrics.json",
        "weights.safetensors",
    }
    assert (directory.best / "weights.safetensors").read_bytes() == b"new"
    assert '"trial_id": "00001"' in (directory.best / "metrics.json").read_text()
    assert NASNET_A.normal.blocks[0].edges[0].operation in (directory.best / "architecture.json").read_text()
    assert {path.name for path in directory.path.iterdir()} == {"best", "events.jsonl", "run.json"}
