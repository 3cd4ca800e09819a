"""The plots of the page: curves, the best so far, workers, objectives, decisions."""

from __future__ import annotations

import itertools
import json
import re
from pathlib import Path
from typing import Any

import pytest

from orchestrator.progress import number
from orchestrator.record.events import RunEnded, RunResumed, TrialEnded, TrialStarted
from orchestrator.record.recorded_run import RecordedRun
from orchestrator.record.run_directory import RunDirectory
from orchestrator.record.run_state import RunState
from orchestrator.report.page.content import Content, content_of
from orchestrator.report.page.curves import (
    MAX_BEST_CURVES,
    MAX_OTHER_CURVES,
    Improvement,
    Trajectory,
    best_so_far,
    learning_curves,
    trajectory_of,
)
from orchestrator.report.page.plot import Plot, thinned
from orchestrator.report.page.record import PageRecord
from orchestrator.report.page.worker_plots import MAX_BARS, timeline
from orchestrator.report.page.worker_timeline import Stay, WorkerTimeline, assign_lanes, join_stays
from orchestrator.report.page.writing import figure_json
from orchestrator.report.running import milestones_of
from search_spaces import NASNET
from tests.builders import STARTED, at, info, trial, write
from tests.made_up import made_up
from tests.pages import figure_of, page_of, traces


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> RunDirectory:
    """Of 120 trials; nobody may write into it."""
    return made_up(tmp_path_factory.mktemp("run") / "run", 120)


@pytest.fixture(scope="module")
def content(run: RunDirectory) -> Content:
    return content_of(PageRecord.read(RecordedRun.of_search(run)))


def test_the_random_search_of_equal_cost_stands_beside_the_best_so_far(tmp_path: Path) -> None:
    directory = made_up(tmp_path / "run", 30)
    made_up(tmp_path / "run" / "evaluation" / "random", 20)
    plots = content_of(PageRecord.read(RecordedRun.of_search(directory))).plots["best"]
    for plot in plots:
        assert [trace.name for trace in traces(plot)] == ["this search", "random search of equal cost"]


def test_the_best_so_far_only_rises_and_ends_where_the_search_did(run: RunDirectory) -> None:
    state = RecordedRun.read(run).state()
    trajectory = trajectory_of(state, PageRecord.read(RecordedRun.of_search(run)).breaks)
    values = [one.value for one in trajectory.improvements]
    assert values == sorted(values)
    assert state.best is not None
    assert trajectory.improvements[-1].trial_id == state.best.trial_id
    assert trajectory.trained == sum(one.attempt > 0 for one in state.trials.values())
    assert trajectory.seconds >= trajectory.improvements[-1].seconds


def test_a_best_that_never_changed_is_not_drawn_on_an_axis_far_beyond_it() -> None:
    trajectory = Trajectory([Improvement(seconds=9.0, trained=1, value=0.8, trial_id="00000")], seconds=60.0, trained=7)
    for plot in best_so_far({"this search": trajectory}, "val_accuracy", "maximize", is_share=True):
        assert plot.figure is not None
        assert plot.figure.layout.yaxis.range == pytest.approx((0.72, 0.88))


def test_curves_show_all_trials_and_the_rungs(run: RunDirectory, content: Content) -> None:
    record = PageRecord.read(RecordedRun.of_search(run))
    assert milestones_of(record.info) == (1, 2, 4, 8)
    state = record.state
    (plot,) = content.plots["curves"]
    trained = [one for one in state.trials.values() if one.curve and one.duplicate_of is None]
    drawn = {trial_id for trace in traces(plot) for trial_id in trace.customdata if trial_id is not None}
    assert drawn == {one.trial_id for one in trained}
    assert len(figure_of(plot).layout.shapes) == 4
    names = [trace.name for trace in traces(plot)]
    assert names[0].startswith("pruned")  # beneath the others
    assert names[-1] == f"the winner, {content.summary.winner}"


def test_what_is_left_out_is_said(run: RunDirectory, monkeypatch: pytest.MonkeyPatch) -> None:
    state = RecordedRun.read(run).state()
    monkeypatch.setattr("orchestrator.report.page.curves.MAX_BEST_CURVES", 5)
    monkeypatch.setattr("orchestrator.report.page.curves.MAX_OTHER_CURVES", 7)
    plot = learning_curves(state, (), None, is_share=True)
    count = sum(bool(one.curve) and one.duplicate_of is None for one in state.trials.values())
    assert plot.caption.startswith(f"12 of {count} curves: the best 5 and 7 others, evenly spaced")
    drawn = {trial_id for trace in traces(plot) for trial_id in trace.customdata if trial_id is not None}
    assert len(drawn) == 12
    assert {one.trial_id for one in state.ranking()[:5]} <= drawn
    monkeypatch.setattr("orchestrator.report.page.leaderboard.MAX_ROWS", 10)
    text = page_of(run).text
    assert f"The best 10 of {len(state.ranking())} trials with a score." in text
    assert (MAX_BEST_CURVES, MAX_OTHER_CURVES) == (50, 100)


def test_thinning_is_even_and_keeps_both_ends() -> None:
    assert thinned(range(10), 20) == list(range(10))
    found = thinned(range(1000), 11)
    assert found == sorted(set(found))
    assert (len(found), found[0], found[-1]) == (11, 0, 999)
    assert all(90 <= after - before <= 110 for before, after in itertools.pairwise(found))


def test_slots_hold_one_trial_at_a_time(run: RunDirectory, content: Content) -> None:
    record = PageRecord.read(RecordedRun.of_search(run))
    where = assign_lanes(record.stays)
    assert max(where) == 2  # three slots
    for lane in range(3):
        mine = [stay for stay, at_lane in zip(record.stays, where, strict=True) if at_lane == lane]
        assert all(before.end <= after.begin for before, after in itertools.pairwise(mine))
    assert {stay.ending for stay in record.stays} == {"ended", "paused", "set_back"}
    assert [stay.trial_id for stay in record.stays].count("00001") == 3
    (plot,) = content.plots["timeline"]
    assert sum(len(trace.x) for trace in traces(plot)) == len(record.stays)


def test_what_ran_when_the_driver_died_ended_then() -> None:
    collected = WorkerTimeline()
    for event in (
        TrialStarted(time=at(0), trial_id="a", attempt=1),
        TrialStarted(time=at(1), trial_id="b", attempt=1),
        TrialEnded(time=at(4), trial_id="b", status="completed"),
        RunResumed(time=at(100), slots=2),
        TrialStarted(time=at(101), trial_id="a", attempt=2),
    ):
        collected.apply(event)
    assert collected.stays(at(110)) == [
        Stay("a", at(0), at(4), "cut_off"),
        Stay("b", at(1), at(4), "ended"),
        Stay("a", at(101), at(110), "open"),
    ]
    collected.apply(RunEnded(time=at(120), outcome="interrupted"))
    assert collected.stays()[-1] == Stay("a", at(101), at(120), "cut_off")


def test_very_many_bars_are_joined_and_it_is_said(run: RunDirectory, monkeypatch: pytest.MonkeyPatch) -> None:
    record = PageRecord.read(RecordedRun.of_search(run))
    monkeypatch.setattr("orchestrator.report.page.worker_plots.MAX_BARS", 50)
    plot = timeline(record.state, record.stays)
    bars = join_stays(record.stays, assign_lanes(record.stays), 1e9)
    assert sorted(count for _, _, count in bars) == sorted(assign_lanes(record.stays).count(lane) for lane in range(3))
    assert re.match(rf"\d+ bars for {len(record.stays)} trainings: ", plot.caption)
    assert sum(len(trace.x) for trace in traces(plot)) < len(record.stays)
    assert MAX_BARS == 2_000


def test_several_objectives_have_a_front(tmp_path: Path) -> None:
    directory = made_up(tmp_path / "run", 40, objectives={"val_accuracy": "maximize", "macs": "minimize"})
    state = RecordedRun.read(directory).state()
    content = content_of(PageRecord.read(RecordedRun.of_search(directory)))
    (plot,) = content.plots["front"]
    beaten, front = traces(plot)
    assert set(front.customdata) == {one.trial_id for one in state.front}
    assert len(beaten.x) + len(front.x) == sum(one.status == "completed" for one in state.trials.values())
    for trial_id, accuracy, macs in zip(front.customdata, front.x, front.y, strict=True):
        assert (accuracy, macs) == (state.trials[trial_id].val_accuracy, state.trials[trial_id].macs)
    column = [column.name for column in content.leaderboard.columns].index("on the front")
    assert {row.trial_id for row in content.leaderboard.rows if row.values[column].text} == set(front.customdata)
    page = page_of(directory)
    assert set(front.customdata) <= {one.get("data-cells") for _, one in page.elements}


def test_trials_of_one_candidate_are_points_of_their_own_and_are_not_compared(tmp_path: Path) -> None:
    directory = RunDirectory.at(tmp_path / "run")
    directory.create(info(state="completed"))
    started = STARTED.model_copy(update={"objectives": {"val_accuracy": "maximize", "macs": "minimize"}})
    same = [event for number in range(2) for event in trial(f"0000{number}", [0.5], "completed")]
    write(directory, [started, *same, RunEnded(time=at(50), outcome="completed")])
    content = content_of(PageRecord.read(RecordedRun.of_search(directory)))
    _, front = traces(content.plots["front"][0])
    assert set(front.customdata) == {"00000", "00001"}
    assert content.summary.evaluate is None


def test_three_objectives_are_drawn_in_pairs(tmp_path: Path) -> None:
    objectives: dict[str, Any] = {"val_accuracy": "maximize", "macs": "minimize", "parameters": "minimize"}
    directory = made_up(tmp_path / "run", 20, objectives=objectives)
    state = RecordedRun.read(directory).state()
    pairs, lines = content_of(PageRecord.read(RecordedRun.of_search(directory))).plots["front"]
    drawn: dict[tuple[str, str], set[tuple[str, float, float]]] = {}
    for trace in traces(pairs):
        points = zip(trace.customdata, trace.x, trace.y, strict=True)
        drawn.setdefault((trace.xaxis, trace.yaxis), set()).update(points)
    completed = [trial for trial in state.trials.values() if trial.status == "completed" and not trial.duplicate_of]
    expected = [
        {(trial.trial_id, trial.metric(x), trial.metric(y)) for trial in completed}
        for x, y in (("val_accuracy", "macs"), ("val_accuracy", "parameters"), ("macs", "parameters"))
    ]
    assert list(drawn.values()) == expected
    titles = [axis.title.text for axis in figure_of(pairs).select_xaxes() if axis.title.text]
    assert titles == ["validation accuracy", "multiply-adds for one<br>image"]
    assert pairs.caption.endswith("Lower is better for multiply-adds for one image and parameters.")
    assert {trace.type for trace in traces(lines)} == {"scatter"}


def test_errors_are_shown_first_where_scores_end_close_to_one() -> None:
    def curves(score: float, *, is_share: bool = True) -> str | None:
        state = RunState.replay([STARTED, *trial("00000", [0.5, score], "completed")])
        return learning_curves(state, (), None, is_share=is_share).error_axis

    assert curves(0.95) == "first"
    assert curves(0.8) == "offered"
    assert curves(0.95, is_share=False) is None


def test_more_objectives_are_lines_with_the_best_above(tmp_path: Path) -> None:
    smaller = ("macs", "parameters", "activation_bytes")
    objectives: dict[str, Any] = {"val_accuracy": "maximize", **dict.fromkeys(smaller, "minimize")}
    directory = made_up(tmp_path / "run", 20, objectives=objectives)
    state = RecordedRun.read(directory).state()
    _, plot = content_of(PageRecord.read(RecordedRun.of_search(directory))).plots["front"]
    lines: dict[str, list[float]] = {}
    for trace in traces(plot):
        for trial_id, axis, height in zip(trace.customdata, trace.x, trace.y, strict=True):
            assert (axis is None) == (height is None)
            if axis is not None:
                lines.setdefault(trial_id, []).append(height)
    completed = [trial for trial in state.trials.values() if trial.status == "completed" and not trial.duplicate_of]
    assert set(lines) == {trial.trial_id for trial in completed}
    for place, name in enumerate(objectives):
        by_height = sorted(completed, key=lambda trial: lines[trial.trial_id][place])
        values = [trial.metric(name) or 0.0 for trial in by_height]
        assert values == sorted(values, reverse=name != "val_accuracy")
        assert lines[by_height[-1].trial_id][place] == 1
        assert lines[by_height[0].trial_id][place] == (1 if values[0] == values[-1] else 0)
    _, front = traces(plot)
    assert set(front.customdata) == {trial.trial_id for trial in state.front}
    assert plot.figure is not None
    ends = plot.figure.layout.xaxis.ticktext[0]
    worst, *_, best = sorted(number(trial.val_accuracy) for trial in completed)
    assert ends == f"validation<br>accuracy<br>{worst}<br>to {best}"


def test_what_mattered_needs_enough_trials(tmp_path: Path, content: Content) -> None:
    decisions, operations = content.plots["importance"]
    assert len(traces(decisions)[0].x) >= 4
    assert "no more than noise" in decisions.caption
    assert set(traces(operations)[0].y) == set(NASNET.operations)
    few = content_of(PageRecord.read(RecordedRun.of_search(made_up(tmp_path / "few", 12)))).plots["importance"]
    assert [plot.figure for plot in few] == [None]
    assert "too few to show which decisions mattered; 60 are needed" in few[0].empty_text


def test_figures_are_json_that_cannot_end_its_script() -> None:
    import plotly.graph_objects as go

    figure = go.Figure(go.Scatter(x=[1], y=[2], name="</script><!--\u2028&"))
    text = str(figure_json(Plot(name="a", title="", caption="", figure=figure)))
    assert not set(text) & set("<>&\u2028")
    assert json.loads(text)["data"][0]["name"] == "</script><!--\u2028&"
