"""`status` and `report` from outside: what they print of a recorded run, and what they leave as it was."""

from __future__ import annotations

import json
import platform
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

from orchestrator.record.run_directory import RunDirectory
from tests.builders import RUN, info, trial, write
from tests.records import snapshot


@pytest.fixture
def recorded(tmp_path: Path) -> Path:
    directory = RunDirectory.at(tmp_path / "run")
    directory.create(info(state="completed"))
    write(directory, RUN)
    return Path(directory.location)


def test_report_prints_the_leaderboard_and_rebuilds_the_tables(cellscout: Any, recorded: Path) -> None:
    ended = cellscout("report", str(recorded), "--top", "2")
    assert ended.status == 0
    assert ended.out.index("00001") < ended.out.index("00000")
    assert "00002" not in ended.out.split("run ")[0]
    assert "best        0.8000 (trial 00001, 3 epochs)" in ended.out
    assert "one standard error on 100 validation images is 0.0400" in ended.out
    assert "no other completed trial is that close to the best" in ended.out
    assert {path.name for path in recorded.iterdir()} >= {"trials.parquet", "epochs.parquet"}
    assert max(map(len, ended.out.split("run ")[0].splitlines())) <= 80


def test_a_perfect_score_is_not_called_certain(cellscout: Any, tmp_path: Path) -> None:
    directory = RunDirectory.at(tmp_path / "run")
    directory.create(info(state="completed", data={"validation": 29}))
    write(directory, [RUN[0], *trial("00000", [1.0], "completed")])
    assert "one standard error on 29 validation images is 0.0234" in cellscout("report", directory.location).out


@pytest.mark.parametrize(
    ("bounds", "error"), [((0, 100), "one standard error on 100 validation images is 2.8"), (None, "")]
)
def test_a_score_in_percent_or_without_bounds_is_reported(
    bounds: tuple[float, float] | None, error: str, cellscout: Any, tmp_path: Path
) -> None:
    directory = RunDirectory.at(tmp_path / "run")
    directory.create(info(state="completed", score_bounds=bounds))
    write(directory, [RUN[0], *trial("00000", [91.5], "completed"), *trial("00001", [70.0], "completed")])
    for command in ("status", "report"):
        ended = cellscout(command, directory.location)
        assert (ended.status, ended.err) == (0, "")
        assert "best        91.5000 (trial 00000, 1 epoch)" in ended.out
        assert error in ended.out
        assert ("standard error" in ended.out) is (bounds is not None)
    page = (tmp_path / "run" / "report.html").read_text()
    assert "classified correctly" not in page


def test_a_run_that_died_has_no_running_trials(cellscout: Any, tmp_path: Path) -> None:
    ended = subprocess.Popen(["true"])
    ended.wait()
    directory = RunDirectory.at(tmp_path / "run")
    directory.create(info(host=platform.node(), pid=ended.pid))
    write(directory, RUN)
    out = cellscout("status", directory.location).out
    assert "state       died" in out
    assert f"continue    cellscout resume {directory.location}\n" in out
    assert "1 unfinished" in out


def test_a_run_that_is_not_there_may_be_one_beside_it_or_a_trial(recorded: Path, cellscout: Any) -> None:
    assert cellscout("resume", "rnu").err == "cellscout: rnu holds no run (no run.json there); did you mean 'run'?\n"
    assert cellscout("retrain", "run#99").err.endswith(
        "; RUN_DIR#TRIAL names an architecture, as in: cellscout retrain run --architecture 'run#99'\n"
    )


@pytest.mark.parametrize(
    ("state", "more"), [("out_of_time", " --set budget.hours=3"), ("interrupted", ""), ("completed", None)]
)
def test_status_says_how_to_continue(state: str, more: str | None, cellscout: Any, tmp_path: Path) -> None:
    directory = RunDirectory.at(tmp_path / "run")
    directory.create(info(state=state, config={"budget": {"trials": 9, "hours": 1.5}}))
    write(directory, RUN)
    out = cellscout("status", directory.location).out
    assert [line for line in out.splitlines() if line.startswith("continue")] == (
        [] if more is None else [f"continue    cellscout resume {directory.location}{more}"]
    )


def test_report_shows_ties(cellscout: Any, tmp_path: Path) -> None:
    directory = RunDirectory.at(tmp_path / "run")
    directory.create(info(state="completed", data={"validation": 10}))
    write(directory, RUN)
    assert "1 other completed trial is that close to the best" in cellscout("report", directory.location).out


def test_report_in_json(cellscout: Any, recorded: Path) -> None:
    found = json.loads(cellscout("report", str(recorded), "--json").out)
    assert found["best"]["trial_id"] == "00001"
    assert [row["trial_id"] for row in found["leaderboard"]] == ["00001", "00000", "00002", "00005"]
    assert found["trials"] == {"completed": 2, "pruned": 1, "diverged": 1, "failed": 1, "running": 1}


def test_status_reads_and_writes_nothing(cellscout: Any, recorded: Path) -> None:
    before = snapshot(recorded)
    ended = cellscout("status", str(recorded))
    assert ended.status == 0
    assert "trials      2 completed, 1 diverged, 1 failed, 1 pruned, 1 running" in ended.out
    assert "failed      1 trial, the first: 00004, bang" in ended.out
    assert "progress" not in ended.out
    assert json.loads(cellscout("status", str(recorded), "--json").out)["slots"] == 2
    assert snapshot(recorded) == before


def test_status_says_how_far_a_running_search_is(cellscout: Any, tmp_path: Path) -> None:
    directory = RunDirectory.at(tmp_path / "run")
    directory.create(info(state="running", config={"budget": {"trials": 16}}))
    write(directory, RUN)
    out = cellscout("status", directory.location).out
    assert re.search(r"^progress    5 of 16 ended, .* elapsed$", out, flags=re.MULTILINE)


def test_status_accepts_a_log_that_ends_in_half_a_line(cellscout: Any, recorded: Path) -> None:
    events = recorded / "events.jsonl"
    events.write_bytes(events.read_bytes()[:-9])
    assert cellscout("status", str(recorded)).status == 0


@pytest.mark.parametrize("command", ["status", "report"])
def test_a_folder_without_a_run_is_refused(command: str, cellscout: Any, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    ended = cellscout(command, "empty")
    assert (ended.status, ended.out) == (2, "")
    assert ended.err == "cellscout: empty holds no run (no run.json there)\n"
    assert list((tmp_path / "empty").iterdir()) == []


def test_of_a_folder_of_runs_one_is_named(cellscout: Any, recorded: Path) -> None:
    ended = cellscout("status", str(recorded.parent))
    assert ended.status == 2
    assert ended.err.endswith(f"holds no run (no run.json there); it has 1 run, such as {recorded}\n")


def test_of_a_folder_of_networks_one_is_named(cellscout: Any, tmp_path: Path) -> None:
    network = tmp_path / "run" / "retrain" / "00007" / "network.json"
    network.parent.mkdir(parents=True)
    network.write_text("{}")
    ended = cellscout("export", "run/retrain")
    assert ended.err.endswith("(no run.json there); it has 1 network, such as run/retrain/00007\n")
