"""What a running search shows, drawn from a state without Ray."""

from __future__ import annotations

import io
from typing import Any

from rich.console import Console

from orchestrator.config import load_config
from orchestrator.events import TrialEnded
from orchestrator.progress import PlainLines, Progress, ProgressView, clock, sparkline
from orchestrator.run_state import RunState
from tests.test_record import RUN


def view(budget: int = 10) -> ProgressView:
    config = load_config(None, [f"budget.trials={budget}", "training.epochs=3"])
    return ProgressView(config, RunState.replay(RUN), (1, 2))


def drawn(width: int) -> str:
    console = Console(width=width, file=io.StringIO(), force_terminal=False)
    with console.capture() as capture:
        console.print(view().panel())
    return capture.get()


def test_the_panel_answers_what_a_user_asks_and_fits_80_columns() -> None:
    panel = drawn(80)
    assert "5 of 10 ended (2 completed, 1 diverged, 1 failed, 1 pruned), 1 open" in panel.replace("│\n│", "")
    assert "0.8000 (trial 00001, 3 epochs)" in panel
    assert "epoch 1: 5  epoch 2: 2  epoch 3: 2" in panel
    assert "1 of 2 busy" in panel
    assert "1 failed, 1 diverged" in panel
    assert "left" in panel
    assert max(map(len, panel.splitlines())) <= 80


def test_before_the_first_trial_there_is_something_to_show_too() -> None:
    config = load_config(None)
    empty = ProgressView(config, RunState(), None)
    console = Console(width=80, file=io.StringIO())
    console.print(empty.panel())
    assert "none completed yet" in empty_text(console)
    assert "no trial completed yet" in empty.line()


def empty_text(console: Console) -> str:
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_without_a_terminal_lines_come_now_and_then(monkeypatch: Any) -> None:
    console = Console(file=io.StringIO(), width=200)
    lines = PlainLines(console, view())
    lines.on_step_end(0, [])
    assert empty_text(console) == ""
    monkeypatch.setattr("orchestrator.progress.LINE_SECONDS", 0.0)
    lines.on_step_end(1, [])
    assert "5 of 10 ended" in empty_text(console)
    assert "best 0.8000" in empty_text(console)


def test_silent_progress_says_nothing(capsys: Any) -> None:
    progress = Progress.silent()
    progress.note("starting")
    with progress.showing(load_config(None), RunState(), None) as display:
        display.on_step_end(0, [])
    captured = capsys.readouterr()
    assert captured.out == captured.err == ""


def test_the_time_left_is_told_once_there_is_something_to_go_by() -> None:
    assert "left" not in view(budget=1000).line()
    assert "left" in view(budget=10).line()


def test_a_sparkline_runs_from_the_lowest_to_the_highest_score() -> None:
    state = RunState.replay(RUN)
    assert sparkline(state.trials["00000"]) == "▁▇█"
    assert len(sparkline(state.trials["00002"])) == 1
    long = state.trials["00001"]
    long.curve = long.curve * 40
    assert len(sparkline(long)) <= 30


def test_times_are_read_at_a_glance() -> None:
    assert [clock(seconds) for seconds in (5, 65, 3725)] == ["00:05", "01:05", "1:02:05"]


def test_an_ended_trial_no_longer_counts_as_busy() -> None:
    state = RunState.replay([*RUN, TrialEnded(trial_id="00005", status="pruned")])
    assert state.counts()["running"] == 0
