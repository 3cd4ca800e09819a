"""A page is written where it belongs, kept fresh while a search runs, and never the end of one."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from orchestrator.errors import RunDirectoryError
from orchestrator.progress import Progress
from orchestrator.record.recorded_run import RecordedRun
from orchestrator.record.run_directory import RunDirectory
from orchestrator.report.page.refresh import PageRefresher, refresh
from orchestrator.report.page.writing import write_page
from tests.builders import RUN, info, write
from tests.made_up import made_up
from trainables.storage import Folder


def test_report_writes_the_page_and_says_where(tmp_path: Path, cellscout: Any) -> None:
    directory = made_up(tmp_path / "run", 12)
    ended = cellscout("report", "run")
    assert ended.status == 0
    assert "page        run/report.html" in ended.out
    assert json.loads(cellscout("report", "run", "--json").out)["page"] == "run/report.html"
    assert directory.folder.has("report.html")


def test_the_page_goes_to_an_object_store_too(object_store: Any) -> None:
    location = object_store.uri("bucket/made-up")
    directory = RunDirectory.at(location)
    directory.create(info(state="completed"))
    write(directory, RUN)
    write_page(RecordedRun.read(directory))
    assert directory.folder.read("report.html").startswith(b"<!DOCTYPE html>")


def test_a_page_is_made_now_and_then_while_a_search_runs(tmp_path: Path) -> None:
    directory = made_up(tmp_path / "run", 5)
    with PageRefresher(directory, Progress.silent(), interval_seconds=0.01):
        deadline = time.monotonic() + 240
        while not directory.folder.has("report.html"):
            assert time.monotonic() < deadline
            time.sleep(0.05)
    assert b"</html>" in directory.folder.read("report.html")


def test_a_page_that_cannot_be_made_is_told_in_a_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    directory = made_up(tmp_path / "run", 5)
    (tmp_path / "run" / "report.html").mkdir()
    refresh(RecordedRun.read(directory), Progress(Console(stderr=True, force_terminal=False)))
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert said.startswith("the page could not be updated: ")
    assert "report.html cannot be written: Is a directory" in said


def test_an_evaluation_has_no_page_of_its_own(tmp_path: Path) -> None:
    directory = RunDirectory(Folder.at(tmp_path / "run"))
    plan = {"candidates": {}, "folds": 2, "seeds": 1, "baseline": False, "trials": 3}
    directory.create(info(state="completed", evaluation=plan))
    with pytest.raises(RunDirectoryError, match="holds an evaluation and not a search"):
        write_page(RecordedRun.of_search(directory))
