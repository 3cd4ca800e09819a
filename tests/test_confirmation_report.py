"""What the terminal, JSON and the page say of a confirmation, from made-up records."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from orchestrator.record.event_log import EventLog
from orchestrator.record.events import Event, RunEnded, TrialSuggested
from orchestrator.record.recorded_run import RecordedRun, load_run
from orchestrator.record.run_directory import RunDirectory
from orchestrator.record.run_state import RunState
from orchestrator.report.confirmation import why_race_ended, why_unconfirmed
from orchestrator.report.page.content import Content, content_of
from orchestrator.report.page.record import PageRecord
from orchestrator.report.page.summary import summary_of
from orchestrator.report.terminal import leaderboard
from orchestrator.report.watch.server import watching
from tests.builders import STARTED, at, info, trial, write
from tests.confirmed_records import confirm, confirmation
from tests.made_up import made_up
from tests.pages import evaluation, page_of, traces
from tests.searched import searched

SCORES = (0.5, 0.7, 0.9, 0.8)
LUCKY, WINNER, THIRD = "00002", "00003", "00001"
"""By the search the first is the best, by its confirmation the second."""
NEW = {LUCKY: [0.8, 0.82], WINNER: [0.85, 0.87], THIRD: [0.6, 0.62]}
DIVERGED = "diverged with seed 2: a loss was not finite"


@pytest.fixture
def run(tmp_path: Path) -> RunDirectory:
    """A search of four trials whose confirmation has ended."""
    directory = RunDirectory.at(searched(tmp_path / "run", SCORES))
    confirm(directory, NEW, in_doubt=[LUCKY], trainings=2)
    return directory


@pytest.fixture
def running(tmp_path: Path) -> RunDirectory:
    """A search in its confirmation, before anything can be compared."""
    directory = RunDirectory.at(searched(tmp_path / "run", SCORES, state="running", host="elsewhere"))
    confirm(directory, {LUCKY: [0.8, 0.82], WINNER: [0.85]}, running=True, compared=False, trainings=2)
    return directory


@pytest.fixture
def five(tmp_path: Path) -> RunDirectory:
    """A search in accuracy and multiply-adds whose front has five members."""
    directory = RunDirectory.at(tmp_path / "several")
    directory.create(info(state="completed"))
    events: list[Event] = [STARTED.model_copy(update={"objectives": {"val_accuracy": "maximize", "macs": "minimize"}})]
    members = [(0.9, 5000), (0.8, 4000), (0.7, 3000), (0.65, 2000), (0.6, 1000)]
    for number, (score, macs) in enumerate(members):
        costs = {"parameters": 10, "macs": macs, "activation_bytes": 30}
        events += [
            event.model_copy(update={"costs": costs}) if isinstance(event, TrialSuggested) else event
            for event in trial(f"{number:05d}", [score], "completed", begin=10 * number)
        ]
    write(directory, [*events, RunEnded(time=at(50), outcome="completed")])
    return directory


@pytest.fixture
def several(five: RunDirectory) -> RunDirectory:
    """The search of `five`, confirmed; a member diverges when it is trained again."""
    new = {"00000": [0.75], "00001": [0.8], "00002": [0.5], "00003": [0.6], "00004": [0.5]}
    confirm(five, new, in_doubt=["00000"], problems={"00004": DIVERGED})
    return five


def content(directory: RunDirectory) -> Content:
    return content_of(PageRecord.read(RecordedRun.of_search(directory)))


def test_the_terminal_names_the_confirmed_winner(run: RunDirectory, cellscout: Any) -> None:
    lines = cellscout("report", run.location).out.splitlines()
    assert "trials      4 completed; 6 new trainings for the confirmation" in lines
    place = lines.index(
        f"winner      0.8600, between 0.8400 and 0.8800 (trial {WINNER}, 2 new trainings), in {run.best}"
    )
    assert lines[place + 1 : place + 3] == [
        "            the interval holds its true score with a probability of 95 %; "
        f"{LUCKY} cannot be distinguished from it",
        f"in search   it had 0.8000 (trial {WINNER}, 1 epoch)",
    ]
    rows = [line.split() for line in lines if "completed  " in line]
    assert [row[: row.index("completed")] for row in rows] == [[WINNER], [LUCKY, "*"], [THIRD], ["00000"]]
    assert rows[1][3:8] == ["0.8100", "0.7900", "to", "0.8300", "0.9000"]
    assert rows[3][2:5] == ["-", "-", "0.5000"]
    assert any("*: may be as good as the winner" in line for line in lines)
    assert max(map(len, lines[: lines.index(f"run         {run.location}")])) <= 80


def test_json_has_the_winner_and_the_confirmation(run: RunDirectory, cellscout: Any) -> None:
    found = json.loads(cellscout("status", run.location, "--json").out)
    assert found["best"]["trial_id"] == WINNER
    score = {"mean": pytest.approx(0.86), "estimate": pytest.approx(0.86), "interval": pytest.approx([0.84, 0.88])}
    assert found["winner"] == {
        "trial_id": WINNER,
        "how": "confirmed",
        "why": None,
        "trainings": 2,
        "scores": {"val_accuracy": score},
        "in_doubt": [LUCKY],
    }
    confirmation = found["confirmation"]
    assert (confirmation["is_current"], confirmation["trainings"], confirmation["train_seconds"]) == (True, 6, 60.0)
    assert confirmation["plan"]["candidates"] == [LUCKY, WINNER, THIRD]
    assert [one["trial_id"] for one in confirmation["candidates"]] == [WINNER, LUCKY, THIRD]


def test_an_evaluation_names_the_winner_after_a_confirmation(run: RunDirectory, cellscout: Any) -> None:
    result = evaluation(LUCKY, {WINNER: 0.3, THIRD: 0.01}, trials=4)
    run.folder.write("evaluation/evaluation.json", result.encode())
    found = json.loads(cellscout("status", run.location, "--json").out)["winner"]
    assert (found["trial_id"], found["how"], found["trainings"]) == (LUCKY, "evaluated", 6)
    assert found["scores"] == {"val_accuracy": {"mean": 0.9, "interval": [0.88, 0.92]}}
    assert found["in_doubt"] == [WINNER]
    out = cellscout("status", run.location).out
    assert f"winner      trial {LUCKY}, by the evaluation" in out
    assert f"confirmed   0.8600, between 0.8400 and 0.8800 (trial {WINNER}, 2 new trainings), before the ev" in out


@pytest.mark.parametrize(
    ("standing", "config", "reason"),
    [
        ("completed", {"candidates": 0}, "confirmation.candidates is 0"),
        ("completed", {"share": 0.1}, "confirmation.share = 0.1 of the training time of the search is too little to"),
        ("completed", {"share": 10.0}, "no candidate was trained again"),
        ("completed", {"strange": 1}, "no candidate was trained again"),
        ("running", {}, "the best candidates are trained again when the search has ended"),
        ("interrupted", {}, "the search was stopped before its confirmation"),
    ],
)
def test_a_search_without_a_confirmation_is_unconfirmed(standing: str, config: Any, reason: str) -> None:
    state = RunState.replay([STARTED, *trial("00000", [0.5], "completed"), *_other("00001", 0.6)])
    assert why_unconfirmed(standing, state, info(config={"confirmation": config})).startswith(reason)


def _other(trial_id: str, score: float) -> list[Event]:
    """A trial of another architecture."""
    return [
        event.model_copy(update={"fingerprint": trial_id}) if isinstance(event, TrialSuggested) else event
        for event in trial(trial_id, [score], "completed")
    ]


def test_a_confirmation_that_says_nothing_leaves_the_winner_unconfirmed(cellscout: Any, tmp_path: Path) -> None:
    directory = RunDirectory.at(searched(tmp_path / "run", SCORES, state="interrupted"))
    state = confirm(directory, NEW, compared=False)
    ended = "the confirmation ended before each candidate had two new trainings"
    assert why_unconfirmed("interrupted", state, info()) == ended
    lines = cellscout("status", str(directory)).out.splitlines()
    assert f"best        0.9000 (trial {LUCKY}, 1 epoch), in {directory.best}" in lines
    assert f"unconfirmed {ended}" in lines
    found = json.loads(cellscout("status", str(directory), "--json").out)
    assert (found["winner"]["how"], found["winner"]["why"], found["winner"]["scores"]) == ("unconfirmed", ended, {})
    assert found["confirmation"]["is_current"] is False
    page = content(directory)
    assert page.plots["confirmation"][0].empty_text == f"The winner is unconfirmed: {ended}."
    assert f"This winner is unconfirmed: {ended}." in page.summary.verdict
    assert not page.summary.tested


def test_a_confirmation_in_which_nothing_completed_says_so() -> None:
    state = RunState.replay([STARTED, *trial("00000", [0.5], "completed")])
    confirmation(state, {"00000": [0.5]}, begin=at(20), problems={"00000": DIVERGED}, compared=False)
    assert why_unconfirmed("completed", state, info()) == "each candidate diverged or failed when it was trained again"


def test_a_search_that_has_gone_on_is_unconfirmed_again(run: RunDirectory) -> None:
    with EventLog.reopen(run) as log:
        log.append(*trial("00004", [0.85], "completed", begin=300), RunEnded(time=at(320), outcome="completed"))
    state = RecordedRun.read(run).state()
    assert state.winner is state.trials[LUCKY]
    assert why_unconfirmed("completed", state, info()) == "the search has gone on since its confirmation"


@pytest.mark.parametrize(
    ("values", "standing", "reason"),
    [
        ({"trainings": 2}, "completed", "each candidate that was left has been trained 2 times"),
        ({"in_doubt": []}, "completed", "one candidate was left"),
        ({"train_seconds": 65.0}, "completed", "another round would have exceeded the training time that was set"),
        ({}, "interrupted", "the run was stopped"),
        ({}, "out_of_time", "budget.hours was over"),
    ],
)
def test_the_end_of_the_race_is_explained(values: Any, standing: str, reason: str, tmp_path: Path) -> None:
    state = RecordedRun.read(searched(tmp_path / "run", SCORES)).state()
    confirmation(state, NEW, begin=at(60), **{"in_doubt": [LUCKY], **values})
    assert why_race_ended(standing, state) == reason


def test_a_running_confirmation_is_told(running: RunDirectory, cellscout: Any) -> None:
    words = "3 of about 4 new trainings have ended"
    out = cellscout("status", running.location).out
    assert f"state       running, confirmation: {words}" in out
    assert f"unconfirmed its confirmation is running, {words}" in out
    page = content(running)
    assert page.summary.standing.startswith("The search has ended, and its best candidates are being trained again.")
    assert page.summary.standing.endswith(f" {words}.")
    assert page.plots["confirmation"][0].figure is None
    said: list[str] = []
    with watching(running.location, 0, said.append) as server:
        assert server.watched.newest.standing == "confirming"


def test_the_page_plots_means_and_intervals_beside_the_scores_of_the_search(run: RunDirectory) -> None:
    page = content(run)
    (plot,) = page.plots["confirmation"]
    *lines, single, before, means = traces(plot)
    assert [tuple(line.x) for line in lines] == [
        pytest.approx(interval) for interval in ((0.84, 0.88), (0.79, 0.83), (0.59, 0.63))
    ]
    assert tuple(means.y) == (WINNER, LUCKY, THIRD)
    assert tuple(means.x) == pytest.approx((0.86, 0.81, 0.61))
    assert (tuple(before.y), tuple(before.x)) == ((WINNER, LUCKY, THIRD), (0.8, 0.9, 0.7))
    assert sorted(zip(single.y, single.x, strict=True)) == sorted((name, one) for name in NEW for one in NEW[name])
    assert len(set(means.marker.color)) == len(plot.legend) == 3
    assert "3 candidates had 6 new trainings in all, with new seeds and new splits" in plot.caption
    assert "These took 01:00 of training time, 1500% of the training time of the search." in plot.caption
    assert "expected to vary by about 0.0123, judging by the number of validation images" in plot.caption
    assert "The confirmation ended because each candidate that was left has been trained 2 times." in plot.caption
    assert f"The winner is {WINNER}; {LUCKY} cannot be distinguished from it." in plot.caption


def test_the_leaderboard_says_why_a_better_score_is_further_down() -> None:
    state = RunState.replay([STARTED, *trial("00000", [0.5], "completed"), *trial("00001", [0.9], "pruned")])
    assert leaderboard(state, 2).caption == "completed trials come first; pruned ones had fewer epochs"
    assert leaderboard(state, 1).caption is None


def test_the_page_names_the_confirmed_winner(run: RunDirectory) -> None:
    page = content(run)
    assert (page.summary.winner, page.summary.tested) == (WINNER, True)
    assert page.summary.verdict == [
        f"Trial {WINNER} is the confirmed winner: the mean validation accuracy of its 2 new trainings is 0.8600.",
        "Its true validation accuracy is between 0.8400 and 0.8800 with a probability of 95 %; this counts that it is "
        "the best of several.",
        f"{LUCKY} cannot be distinguished from it.",
        f"In the search it had 0.8000; the best there was {LUCKY} with 0.9000.",
    ]
    assert page.summary.facts["confirmation"] == "6 new trainings of 3 candidates, 01:00 of training time"
    assert page.summary.facts["search time"] == "01:41, with the confirmation"
    board = page.leaderboard
    names = [column.name for column in board.columns]
    cells = [dict(zip(names, [value.text for value in row.values], strict=True)) for row in board.rows]
    assert [(one["trial"], one["confirmation"], one["mean"], one["95 % interval"]) for one in cells] == [
        (WINNER, "the winner", "0.8600", "0.8400 to 0.8800"),
        (LUCKY, "may be as good", "0.8100", "0.7900 to 0.8300"),
        (THIRD, "behind", "0.6100", "0.5900 to 0.6300"),
        ("00000", "", "-", "-"),
    ]
    assert cells[0]["validation accuracy in the search"] == "0.8000"
    assert "candidates of the confirmation come first" in board.order
    for plot in page.plots["best"]:
        assert plot.figure is not None
    (timeline,) = page.plots["timeline"]
    assert [(trace.name, len(trace.x)) for trace in traces(timeline)] == [("completed", 4), ("confirmation", 6)]
    assert f"Trial {WINNER} is the confirmed winner" in page_of(run).text


def test_a_candidate_that_was_confirmed_alone_is_not_called_the_best_of_several(run: RunDirectory) -> None:
    record = PageRecord.read(RecordedRun.of_search(run))
    compared = record.state.confirmed
    assert compared is not None
    record.state.compared = compared.model_copy(update={"candidates": [compared.winner]})
    text = " ".join(summary_of(record).verdict)
    assert "0.8800 with a probability of 95 %. No other candidate was trained again. In the search" in text


def test_the_best_so_far_ends_with_the_search(run: RunDirectory) -> None:
    by_time, by_trials = content(run).plots["best"]
    assert traces(by_time)[0].x[-1] == 41.0
    assert traces(by_trials)[0].x[-1] == 4
    assert traces(by_time)[0].y[-1] == 0.9


def test_the_terminal_lists_the_confirmed_front(several: RunDirectory, cellscout: Any) -> None:
    lines = cellscout("status", several.location).out.splitlines()
    place = lines.index("front       2 of 5 candidates, by the means and 95 % intervals of their new trainings")
    assert lines[place + 1 : place + 6] == [
        "            00001  val_accuracy 0.8000 (0.7800 to 0.8200), macs 4,000",
        "            00003  val_accuracy 0.6000 (0.5800 to 0.6200), macs 2,000",
        "in doubt    00000  val_accuracy 0.7500 (0.7300 to 0.7700), macs 5,000; cannot be distinguished from the front",
        "dropped out 00002  val_accuracy 0.5000 (0.4800 to 0.5200), macs 3,000",
        f"out         00004  {DIVERGED}",
    ]
    found = json.loads(cellscout("status", several.location, "--json").out)
    assert [one["trial_id"] for one in found["front"]] == ["00001", "00003"]
    recorded = load_run(several.location)
    assert [trial.trial_id for trial in recorded.front] == ["00001", "00003"]
    assert recorded.confirmation is not None
    assert recorded.confirmation.winner.trial_id == "00001"


def test_the_terminal_lists_the_members_of_the_front_that_were_not_trained_again(
    five: RunDirectory, cellscout: Any
) -> None:
    confirm(five, {f"{number:05d}": [0.9 - number / 10] for number in range(4)})
    told = [line for line in cellscout("status", five.location).out.splitlines() if line.startswith("unconfirmed")]
    assert told == ["unconfirmed 00004  val_accuracy 0.6000, macs 1,000; on the front of the search, not trained again"]


def test_the_page_plots_the_confirmed_front(several: RunDirectory) -> None:
    page = content(several)
    (plot,) = page.plots["confirmation"]
    marks = {trace.name: (tuple(trace.x), tuple(trace.y)) for trace in traces(plot) if trace.mode == "markers"}
    assert marks["on the front"] == ((0.8, 0.6), (4000, 2000))
    assert marks["cannot be distinguished from the front"] == ((0.75,), (5000,))
    assert marks["dropped out"] == ((0.5,), (3000,))
    assert marks["scores in the search"][0] == (0.8, 0.65, 0.9, 0.7)
    for sentence in (
        "By their means 00001 and 00003 are on the front.",
        "00000 is not, but cannot be distinguished from the front.",
        "00002 dropped out.",
        f"00004 is out: {DIVERGED}.",
    ):
        assert sentence in plot.caption
        assert sentence in page.summary.verdict
    fronts = {
        row.trial_id: row.values[[column.name for column in page.leaderboard.columns].index("on the front")].text
        for row in page.leaderboard.rows
    }
    assert fronts == {"00001": "yes", "00003": "yes", "00000": "in doubt", "00002": "", "00004": "out"}


def test_a_page_with_a_confirmation_is_whole(tmp_path: Path) -> None:
    directory = made_up(tmp_path / "run", 40)
    state = RecordedRun.read(directory).state()
    names = [one.trial_id for one in state.ranking()[:3]]
    confirm(directory, {name: [0.5, 0.55] for name in names})
    page = page_of(directory)
    assert "confirmation" in page.figures
    assert "New trainings: validation accuracy" in page.text


def test_a_confirmed_winner_that_may_be_a_guess_is_doubted(run: RunDirectory, cellscout: Any) -> None:
    """The lucky score of the search was above the share of the largest class."""
    recorded = run.read_info()
    run.write_info(recorded.model_copy(update={"data": {**recorded.data, "validation": 400, "largest_class": 0.85}}))
    assert cellscout("status", run.location).out.startswith(
        "doubt       the winner is not clearly better than guessing: its true accuracy is between 0.8400 and 0.8800, "
        "always guessing the largest class has 0.8500; look at"
    )
