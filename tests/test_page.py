"""The page of a search, from made-up records: what it says, what it draws, and that nothing from outside breaks out."""

from __future__ import annotations

import itertools
import json
import re
import shlex
import tomllib
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from orchestrator.config.search_config import load_config, parse_config
from orchestrator.config.toml_writer import search_file
from orchestrator.errors import InputError, RunDirectoryError
from orchestrator.networks.lookup import find_network, title_of
from orchestrator.networks.retraining.networks import networks_of, recipe_of
from orchestrator.networks.retraining.settings import RetrainSettings
from orchestrator.progress import number
from orchestrator.record.events import RunEnded, RunResumed, TrialEnded, TrialStarted
from orchestrator.record.recorded_run import RecordedRun
from orchestrator.record.run_directory import RunDirectory
from orchestrator.report.drawing import svg
from orchestrator.report.page.content import Content, content_of, problems_of, rungs_of
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
from orchestrator.report.page.writing import figure_json, write_page
from search_spaces import NASNET, NASNET_A, PUBLISHED
from tests.builders import STARTED, at, info, trial, write
from tests.made_up import made_up
from trainables.network_spec import NetworkSpec

SCRIPT = "<script>alert('x')</script>"


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> RunDirectory:
    """Of 120 trials; nobody may write into it."""
    return made_up(tmp_path_factory.mktemp("run") / "run", 120)


@pytest.fixture(scope="module")
def content(run: RunDirectory) -> Content:
    return content_of(PageRecord.read(RecordedRun.of_search(run)))


@pytest.fixture
def empty(tmp_path: Path) -> RunDirectory:
    """A search that has only just begun."""
    directory = RunDirectory.at(tmp_path / "empty")
    directory.create(info(host="elsewhere"))
    write(directory, [STARTED])
    return directory


class Page(HTMLParser):
    """What a browser would find: elements by their names, texts, and the figures."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.figures: dict[str, Any] = {}
        self._open: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        self._open.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        while self._open and self._open.pop()[0] != tag:
            pass

    def handle_data(self, data: str) -> None:
        tag, attributes = self._open[-1] if self._open else ("", {})
        name = attributes.get("data-for")
        if name is not None:
            self.figures[name] = json.loads(data)
        elif tag not in ("script", "style"):
            self.texts.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.texts).split())

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]


def page_of(directory: RunDirectory) -> Page:
    return Page(Path(write_page(RecordedRun.read(directory))).read_text(encoding="utf-8"))


def figure_of(plot: Plot) -> Any:
    assert plot.figure is not None, plot.empty_text
    return plot.figure


def traces(plot: Plot) -> Any:
    return figure_of(plot).data


def keep_best(directory: RunDirectory) -> str:
    """Put a network into `best/`, as a search does; its trial."""
    best = RecordedRun.read(directory).state().best
    assert best is not None
    spec = NetworkSpec(architecture=NASNET_A, repeats=1, filters=4, classes=2, image_channels=1, image_size=(8, 8))
    directory.write_best(best, spec.to_json(), b"")
    return best.trial_id


def evaluation(winner: str | None, others: dict[str, float], **values: Any) -> str:
    """An evaluation.json; `others` are the adjusted p of those that the winner is compared with."""
    names = [*([winner] if winner else []), *others]
    test = {"difference": 0.0125, "interval": [0.002, 0.023], "t": 2.0, "degrees": 5, "p": 0.01}
    cost = {"trials": 6, "epochs": 54, "train_seconds": 60.0}
    found = {
        "verdict": f"The winner is {winner}: its mean val_accuracy is the highest.",
        "finished": True,
        "metric": "val_accuracy",
        "direction": "maximize",
        "folds": 3,
        "seeds": [1, 2],
        "trainings": {"ended": 6, "planned": 6},
        "winner": winner,
        "candidates": [
            {
                "name": name,
                "trial_id": name,
                "random_id": None,
                "rank": rank,
                "mean": 0.9,
                "deviation": 0.01,
                "interval": [0.88, 0.92],
                "search_rank": 1,
                "search_score": 0.91,
                "trainings": 6,
                "problems": [],
                "scores": [],
                "objectives": None,
                "on_front": False,
                "parameters": 10,
                "macs": 20,
                "fingerprint": "x",
                "architecture": {},
            }
            for rank, name in enumerate(names, start=1)
        ],
        "comparisons": [{**test, "winner": winner, "other": name, "p_adjusted": p} for name, p in others.items()],
        "random": {
            "best": "random/00007",
            "cost": cost,
            "comparison": {**test, "other": "random/00007", "p_adjusted": 0.4},
        },
        "search": {"cost": cost},
        "rank_correlations": [],
        **values,
    }
    return json.dumps(found)


def test_the_page_is_one_file_that_fetches_nothing(run: RunDirectory) -> None:
    page = page_of(run)
    for tag, name in (("script", "src"), ("link", "href"), ("img", "src"), ("iframe", "src")):
        assert all(attributes.get(name) in (None, "data:,") for attributes in page.all(tag))
    sections = {one["id"] for one in page.all("section")}
    assert sections == {
        *("summary", "winner", "leaderboard", "curves-section", "best", "workers", "mattered", "costs"),
        *("problems", "reproduce"),
    }
    targets = {(one["href"] or "")[1:] for one in page.all("a")}
    assert targets == sections
    assert set(page.figures) == {
        *("curves", "best-by-time", "best-by-trials", "timeline", "decisions-0", "operations-0"),
        *("costs-parameters", "costs-macs"),
    }
    assert len({one["id"] for _, one in page.elements if "id" in one}) == sum("id" in one for _, one in page.elements)


def test_without_an_evaluation_the_best_is_called_no_proof(content: Content, run: RunDirectory) -> None:
    state, summary = RecordedRun.read(run).state(), content.summary
    assert state.best is not None
    assert summary.winner == state.best.trial_id
    text = " ".join(summary.verdict)
    score = state.best.val_accuracy or 0
    assert f"Trial {state.best.trial_id} leads after its whole training of 9 epochs: {score:.4f}" in text
    error = float(re.findall(r"on 400 validation images is (0\.\d+)", text)[0])
    assert error == pytest.approx((score * (1 - score) / 400) ** 0.5, rel=0.05)
    others = sorted(
        (score - (one.val_accuracy or 0), one.trial_id)
        for one in state.trials.values()
        if one.status == "completed" and one is not state.best
    )
    margin, second = others[0]
    assert f"The runner-up, {second}, is {margin:.4f} behind" in text
    of_difference = float(re.findall(r"such a difference is about (0\.\d+)", text)[0])
    other = score - margin
    assert of_difference == pytest.approx((error**2 + other * (1 - other) / 400) ** 0.5, rel=0.05)
    level = sum(gap < 2 * of_difference for gap, _ in others)
    assert level > 1, "or the sentence is another"
    assert f"cannot tell them apart: {level} other trials are less than two such errors behind" in text
    assert "not a proof that the trial is the best" in text
    assert not summary.tested
    assert summary.evaluate == f"cellscout evaluate {run.location}"
    trained = [one for one in state.trials.values() if one.attempt > 0]
    assert summary.facts["trainings"].startswith(f"{len(trained)}, ")
    assert summary.facts["epochs"] == str(sum(one.epochs for one in trained))


@pytest.mark.parametrize("is_winner_of_the_search", [True, False])
def test_an_evaluation_gives_the_verdict(tmp_path: Path, is_winner_of_the_search: bool) -> None:
    directory = made_up(tmp_path / "run", 40)
    keep_best(directory)
    first, second = [one.trial_id for one in RecordedRun.read(directory).state().ranking()[:2]]
    winner, other = (first, second) if is_winner_of_the_search else (second, first)
    directory.folder.write("evaluation/evaluation.json", evaluation(winner, {other: 0.02}).encode())
    content = content_of(PageRecord.read(RecordedRun.of_search(directory)))
    summary = content.summary
    assert (summary.tested, summary.winner, summary.evaluate) == (True, winner, None)
    text = " ".join(summary.verdict)
    assert f"The winner is {winner}" in text
    assert (
        f"Its difference from the runner-up, {other}, is +0.0125 (95 % interval +0.0020 to +0.0230; p = 0.0200)" in text
    )
    assert "best of the random search of equal cost, random/00007, is +0.0125" in text
    assert "6 trainings (3 folds, 2 seeds)" in text
    assert summary.retrain is not None
    assert ("--architecture" in summary.retrain) == (not is_winner_of_the_search)


def test_an_evaluation_that_is_unfinished_or_spoilt_is_told(tmp_path: Path) -> None:
    directory = made_up(tmp_path / "run", 12)
    unfinished = evaluation(None, {}, finished=False, trainings={"ended": 2, "planned": 6})
    directory.folder.write("evaluation/evaluation.json", unfinished.encode())
    summary = content_of(PageRecord.read(RecordedRun.of_search(directory))).summary
    assert not summary.tested
    assert "An evaluation is unfinished: 2 of 6 trainings have ended." in summary.verdict
    directory.folder.write("evaluation/evaluation.json", b"{}")
    with pytest.raises(RunDirectoryError, match=r"evaluation.json is malformed"):
        PageRecord.read(RecordedRun.of_search(directory))


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
    for plot in best_so_far({"this search": trajectory}, "val_accuracy", "maximize"):
        assert plot.figure is not None
        assert plot.figure.layout.yaxis.range == pytest.approx((0.72, 0.88))


def test_nothing_from_outside_becomes_markup(tmp_path: Path) -> None:
    """Neither in HTML, nor in the JSON within scripts, nor in what plotly takes for HTML."""
    facts = {"validation": 9, "image_shape": [8, 8, 1], "classes": [SCRIPT, "</title><b>"], "train": 1, "test": 1}
    directory = RunDirectory.at(tmp_path / "<b>run")
    config = {"run": {"name": SCRIPT}, "data": {"name": SCRIPT}, SCRIPT: {SCRIPT: SCRIPT}}
    versions = {SCRIPT: "</script>"}
    values = {"config": config, "data": facts, "versions": versions, "command": ["cellscout", SCRIPT], "host": SCRIPT}
    directory.create(info(**values, state="completed"))
    started = STARTED.model_copy(update={"objectives": {SCRIPT: "maximize", "macs": "minimize"}})
    block = [0, SCRIPT, 1, "conv<b>", "add"]
    cell = {**NASNET_A.to_json()["normal"], "blocks": [block], "output": [2]}
    events = [started, *trial("00000", [0.5, 0.6], "completed"), *trial("00001", [0.5], "failed")]
    metrics = {SCRIPT: 0.5}
    changed = []
    for event in events:
        update: dict[str, Any] = {}
        if event.event == "trial_suggested":
            update = {"architecture": {"normal": cell, "reduction": cell}}
        if event.event == "epoch_done":
            update = {"metrics": metrics}
        if event.event == "trial_ended" and event.status == "failed":
            update = {"error": f"</td>{SCRIPT}"}
        changed.append(event.model_copy(update=update))
    write(directory, changed)
    text = Path(write_page(RecordedRun.read(directory))).read_text(encoding="utf-8")
    assert "alert('x')<" not in text.replace(r"\u003c", "")
    assert SCRIPT not in text
    page = Page(text)
    assert [one for one in page.all("script") if not one] == [{}, {}]  # plotly and ours
    assert not page.all("b")
    assert page.text.count("alert('x')") >= 5
    for figure in page.figures.values():
        shown = json.dumps(figure)
        assert "<script" not in shown
        assert "<b>" not in shown


@pytest.mark.parametrize("standing", ["running", "interrupted", "died"])
def test_a_run_with_nothing_to_show_says_so_everywhere(tmp_path: Path, standing: str) -> None:
    directory = RunDirectory.at(tmp_path / "run")
    values = {"state": "running", "host": "elsewhere"} if standing == "running" else {"state": standing}
    directory.create(info(**values))
    write(directory, [STARTED] if standing != "died" else [])
    page = page_of(directory)
    assert page.figures == {}
    assert "No trial has completed its training, so there is no winner yet." in page.text
    assert "No trial has finished an epoch yet." in page.text
    assert "No trial has a score yet." in page.text
    assert "No trial has failed, diverged or broken a constraint." in page.text
    assert ("still running" in page.text) == (standing == "running")
    assert ("cellscout resume" in page.text) == (standing != "running")


def test_a_search_in_which_everything_failed_tells_why(tmp_path: Path) -> None:
    directory = RunDirectory.at(tmp_path / "run")
    directory.create(info(state="failed"))
    write(directory, [STARTED, *trial("00000", [], "failed"), *trial("00001", [], "failed")])
    content = content_of(PageRecord.read(RecordedRun.of_search(directory)))
    assert [(one.kind, one.count, one.message) for one in content.problems] == [("failed", 2, "bang")]
    assert content.leaderboard.rows == []
    assert content.summary.retrain is None


def test_failures_that_differ_in_numbers_only_are_one(run: RunDirectory, content: Content) -> None:
    state = RecordedRun.read(run).state()
    problems = problems_of(state)
    counts = state.counts()
    kinds = ("failed", "diverged", "infeasible")
    assert [(one.kind, one.count) for one in problems] == [(kind, counts[kind]) for kind in kinds]
    assert problems[0].message.startswith("out of memory: tried to get ")
    assert content.set_back == {"worker died": 1}


def test_each_row_of_the_leaderboard_has_a_command_that_retrains_it(tmp_path: Path) -> None:
    directory = made_up(tmp_path / "a run", 30)
    state, best = RecordedRun.read(directory).state(), keep_best(directory)
    content = content_of(PageRecord.read(RecordedRun.of_search(directory)))
    rows = content.leaderboard.rows
    assert [row.trial_id for row in rows] == [one.trial_id for one in state.ranking()]
    assert all(len(row.values) == len(content.leaderboard.columns) for row in rows)
    assert content.summary.retrain == rows[0].command
    for row in rows:
        assert row.command is not None
        program, command, run_dir, *words = shlex.split(row.command)
        assert (program, command, run_dir) == ("cellscout", "retrain", directory.location)
        options = dict(zip(words[::2], words[1::2], strict=True))
        assert ("--architecture" not in options) == (row.trial_id == best)
        architecture = options.get("--architecture")
        settings = RetrainSettings(
            architecture=architecture, repeats=int(options["--repeats"]), filters=int(options["--filters"])
        )
        search = RecordedRun.of_ended_search(run_dir)
        (network,) = networks_of(search, settings, recipe_of(settings, search.config)).values()
        assert isinstance(network, NetworkSpec)
        assert (network.repeats, network.filters, network.image_size) == (6, 32, (8, 8))
        if architecture is not None:
            assert network.architecture.to_json() == state.trials[row.trial_id].architecture


def test_while_a_search_runs_nothing_can_be_retrained(tmp_path: Path) -> None:
    directory = made_up(tmp_path / "run", 12, state="running", host="elsewhere")
    keep_best(directory)
    content = content_of(PageRecord.read(RecordedRun.of_search(directory)))
    assert content.refreshing
    assert content.summary.winner is not None
    assert (content.summary.retrain, content.summary.evaluate, content.summary.resume) == (None, None, None)
    assert {row.command for row in content.leaderboard.rows} == {None}
    buttons = page_of(directory).all("button")
    assert [one for one in buttons if "data-copy" in one]
    assert not [one for one in buttons if "cellscout retrain" in (one.get("data-copy") or "")]


def test_a_trial_is_named_by_its_run_and_its_number(tmp_path: Path, cellscout: Any) -> None:
    directory = made_up(tmp_path / "a run", 12)
    keep_best(directory)
    other = RecordedRun.read(directory).state().trials["00003"]
    assert find_network(f"{directory.location}#00003").architecture.to_json() == other.architecture
    assert title_of(f"{directory.location}#00003") == "a run#00003"
    assert title_of("s3://bucket/run?region=x#00003") == "run#00003"
    with pytest.raises(InputError, match="has no trial '99999'"):
        find_network(f"{directory.location}#99999")
    with pytest.raises(InputError, match="not a published cell, a file or a run directory|has no best network"):
        find_network(f"{tmp_path}/nowhere#00003")
    (tmp_path / "a run#00003").mkdir()  # what is called so goes before
    with pytest.raises(InputError, match="has no best network"):
        find_network(f"{directory.location}#00003")
    ended = cellscout("draw", f"{directory.location}#00004", "-o", "cell.svg")
    assert ended.status == 0
    assert "a run#00004" in (tmp_path / "cell.svg").read_text()


def test_curves_show_all_trials_and_the_rungs(run: RunDirectory, content: Content) -> None:
    record = PageRecord.read(RecordedRun.of_search(run))
    assert rungs_of(record) == (2, 4, 8)
    state = record.state
    (plot,) = content.plots["curves"]
    trained = [one for one in state.trials.values() if one.curve and one.duplicate_of is None]
    drawn = {trial_id for trace in traces(plot) for trial_id in trace.text if trial_id is not None}
    assert drawn == {one.trial_id for one in trained}
    assert len(figure_of(plot).layout.shapes) == 3
    names = [trace.name for trace in traces(plot)]
    assert names[0].startswith("pruned")  # beneath the others
    assert names[-1] == f"the winner, {content.summary.winner}"


def test_what_is_left_out_is_said(run: RunDirectory, monkeypatch: pytest.MonkeyPatch) -> None:
    state = RecordedRun.read(run).state()
    monkeypatch.setattr("orchestrator.report.page.curves.MAX_BEST_CURVES", 5)
    monkeypatch.setattr("orchestrator.report.page.curves.MAX_OTHER_CURVES", 7)
    plot = learning_curves(state, (), None)
    count = sum(bool(one.curve) and one.duplicate_of is None for one in state.trials.values())
    assert plot.caption.startswith(f"12 of {count} curves: the best 5 and 7 others, evenly spaced")
    drawn = {trial_id for trace in traces(plot) for trial_id in trace.text if trial_id is not None}
    assert len(drawn) == 12
    assert {one.trial_id for one in state.ranking()[:5]} <= drawn
    monkeypatch.setattr("orchestrator.report.page.content.MAX_ROWS", 10)
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
    column = list(content.leaderboard.columns).index("on the front")
    assert {row.trial_id for row in content.leaderboard.rows if row.values[column].text} == set(front.customdata)
    page = page_of(directory)
    assert set(front.customdata) <= {one.get("data-cells") for _, one in page.elements}


def test_three_objectives_are_drawn_in_space(tmp_path: Path) -> None:
    objectives: dict[str, Any] = {"val_accuracy": "maximize", "macs": "minimize", "parameters": "minimize"}
    directory = made_up(tmp_path / "run", 20, objectives=objectives)
    (plot,) = content_of(PageRecord.read(RecordedRun.of_search(directory))).plots["front"]
    assert {trace.type for trace in traces(plot)} == {"scatter3d"}


def test_more_objectives_are_lines_with_the_best_above(tmp_path: Path) -> None:
    smaller = ("macs", "parameters", "activation_bytes")
    objectives: dict[str, Any] = {"val_accuracy": "maximize", **dict.fromkeys(smaller, "minimize")}
    directory = made_up(tmp_path / "run", 20, objectives=objectives)
    state = RecordedRun.read(directory).state()
    (plot,) = content_of(PageRecord.read(RecordedRun.of_search(directory))).plots["front"]
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
    assert "are too few to show which decisions mattered; 60 are needed" in few[0].empty_text


def test_retrained_networks_are_told_with_their_tests(tmp_path: Path) -> None:
    directory = made_up(tmp_path / "run", 12)
    result = {
        "name": "best",
        "location": "x",
        "parameters": 1234,
        "macs": 5_000_000,
        "seeds": [0, 1],
        "accuracies": {"0": 0.9, "1": 0.91},
        "accuracy": 0.905,
        "deviation": 0.0071,
        "epochs": 20.0,
        "train_seconds": 61.0,
        "device": "cpu",
        "latency_seconds": 0.002,
        "test_number": 2,
        "tested_at": "2026-01-02T00:00:00+00:00",
        "is_over": True,
        "weights": None,
        "freeze": False,
    }
    directory.folder.write("retrain/best/result.json", json.dumps(result).encode())
    (tmp_path / "run" / "retrain" / "unfinished").mkdir()
    text = page_of(directory).text
    assert "0.9050 ± 0.0071" in text
    assert "tested 2026-01-02 on cpu; test 2 of this network, so not independent evidence" in text


def test_the_search_file_is_read_back_as_the_same_configuration(content: Content) -> None:
    overrides = [
        *("run.name=a-b", "budget.hours=1.5", 'sampler.options={ initial = 7, note = "a \\"b\\" \\\\ ü" }'),
        *("objectives.minimize=['macs']", "objectives.constraints={ parameters = 3.5e6 }", "sampler.name=tpe"),
        *("warm_start.runs=['s3://bucket/run']", "training.cutout=4"),
    ]
    config = load_config(None, overrides)
    text = search_file(config.model_dump(mode="json"))
    assert parse_config(tomllib.loads(text), "the page's") == config
    assert parse_config(tomllib.loads(content.search_file), "the page's").training.epochs == 9


def test_cells_are_drawn_whole_large_and_small() -> None:
    assert [role for role, _ in svg.roles(NASNET_A)] == ["normal", "reduction"]
    assert [role for role, _ in svg.roles(PUBLISHED["pnasnet_5"].architecture)] == ["normal and reduction"]
    large = svg.large(NASNET_A.normal, "normal")
    for operation in {edge.operation for block in NASNET_A.normal.blocks for edge in block.edges}:
        assert f">{operation}</text>" in large
    small = svg.small(NASNET_A, "trial 1")
    assert small.count("<svg") == 2
    assert "<text" not in small
    assert len(small) < 6_000  # a thousand of them are to fit on a page
    assert set(svg.families([NASNET_A])) == {"separable convolution", "average pooling", "max pooling", "identity"}


def test_figures_are_json_that_cannot_end_its_script() -> None:
    import plotly.graph_objects as go

    figure = go.Figure(go.Scatter(x=[1], y=[2], name="</script><!--\u2028&"))
    text = str(figure_json(Plot(name="a", title="", caption="", figure=figure)))
    assert not set(text) & set("<>&\u2028")
    assert json.loads(text)["data"][0]["name"] == "</script><!--\u2028&"
