"""Progress of running work, drawn from made-up states: words, panel, terminal, notebook, log."""

from __future__ import annotations

import io
import itertools
import math
import re
import time
from typing import Any

import numpy as np
import pytest
from rich.console import Console
from rich.live import Live
from rich.text import Text

from orchestrator.config.loading import load_config
from orchestrator.progress import (
    ConfirmationView,
    Progress,
    Row,
    Snapshot,
    WorkView,
    clock,
    format_estimate,
    plain_line,
    sparkline,
)
from orchestrator.progress import display as display_module
from orchestrator.progress.guessing import guessing_bound, guessing_doubt
from orchestrator.progress.search_view import SearchView
from orchestrator.record.events import RunResumed, TrialEnded, TrialStarted
from orchestrator.record.run_state import RunState
from tests.builders import RUN, at, info, trial
from tests.confirmed import begun, planned, repeated, search_of
from tests.faking import Clock
from tests.progress_views import drawn, in_trouble, view


def test_the_panel_shows_the_state_of_the_search_in_80_columns() -> None:
    panel = drawn(view().snapshot(at(30)))
    assert "5 of 10 ended" in panel
    assert "2 completed  1 diverged  1 failed  1 pruned  1 open" in panel
    assert "0.8000  trial 00001, 3 epochs" in panel
    assert "epoch 1: 5 trials  2: 2  3: 2" in panel
    assert "1 of 2 busy" in panel
    assert "last epoch 25 s ago" in panel  # is it working?
    assert "1 failed, 1 diverged; last 00004: bang" in panel
    assert "left" in panel
    assert "00:30 elapsed" in panel
    assert {len(line) for line in panel.splitlines()} == {80}
    assert "…" not in panel


@pytest.mark.parametrize("width", [40, 60, 80, 120, 200])
def test_the_panel_fits_any_width_by_leaving_out_whole_parts(width: int) -> None:
    panel = drawn(in_trouble().snapshot(at(30)), width)
    lines = panel.splitlines()
    assert {len(line) for line in lines} == {width}
    assert len(lines) <= 10
    cut = [line for line in lines if "…" in line]
    assert all("trouble" in line for line in cut)
    assert "5 of 10 ended" not in panel
    assert "6 of 10 ended" in panel


def test_the_last_failure_is_shown_on_one_clipped_line() -> None:
    snapshot = in_trouble().snapshot(at(30))
    assert "2 failed, 1 diverged, 1 set back; last 00005: RuntimeError: mat1 and mat2" in snapshot.line
    assert "[bold]cannot" in snapshot.line
    assert snapshot.line.isprintable()
    (line,) = [line for line in drawn(snapshot).splitlines() if "trouble" in line]
    assert line.endswith("… │")


def test_the_bar_is_readable_without_unicode_or_colours() -> None:
    plain = drawn(Snapshot("a", [Row("b", ["1 of 2"], done=0.5)], "", None), no_color=True, force_terminal=True)
    assert "━" * 15 + "─" * 15 in plain_line(plain)
    file = io.TextIOWrapper(io.BytesIO(), encoding="ascii", errors="backslashreplace")
    Console(width=80, file=file).print(Snapshot("a", [Row("b", ["1 of 2"], done=0.5)], "", None))
    file.seek(0)
    assert "#" * 15 + "." * 15 in file.read()


def test_a_search_without_trials_can_be_shown() -> None:
    snapshot = SearchView(load_config(None), RunState(), None).snapshot()
    assert "none completed yet" in drawn(snapshot)
    assert "starting" in drawn(snapshot)
    assert "busy, starting;" in snapshot.line
    assert "no trial completed yet" in snapshot.line


def test_a_best_that_may_be_a_guess_is_neither_green_nor_unsaid() -> None:
    """The best of the two completed trials has 0.8; of 100 images, 81 are of the largest class."""
    facts = info(data={"validation": 100, "largest_class": 0.81})
    state = RunState.replay(RUN)
    best = next(
        row
        for row in SearchView(load_config(None), state, None, info=facts).snapshot(at(20)).rows
        if row.label == "best"
    )
    assert (best.style, best.parts[:2]) == ("calm", ["0.8000", "not clearly better than guessing"])
    assert guessing_doubt(state, facts) == (
        "no trial is clearly better than guessing: the best has 0.8000, always guessing the largest class has 0.8100, "
        "and the best of 2 guesses up to 0.8867; look at the images and their labels, training.learning_rate, "
        "batch_size and epochs first"
    )
    assert guessing_doubt(state, info(data={"validation": 100, "largest_class": 0.1})) is None
    assert guessing_doubt(state, info(data={})) is None
    assert guessing_doubt(state, facts.model_copy(update={"score_bounds": None})) is None
    percent = guessing_doubt(state, facts.model_copy(update={"score_bounds": (0.0, 100.0)}))
    assert percent is not None
    assert "largest class has 81" in percent


def test_the_best_of_many_guesses_exceeds_its_bound_in_one_search_of_twenty() -> None:
    generator = np.random.default_rng(0)
    best = generator.binomial(400, 0.25, (20_000, 30)).max(axis=1) / 400
    assert 0.03 < np.mean(best > guessing_bound(0.25, 400, 30)) < 0.07
    assert guessing_bound(0.25, 400, 1) == pytest.approx(0.25 + 1.645 * math.sqrt(0.25 * 0.75 / 400), abs=1e-4)


def test_the_highest_score_so_far_is_shown_until_a_trial_completes() -> None:
    state = RunState.replay([RUN[0], *trial("00000", [0.2, 0.6], "running"), *trial("00001", [0.5], "pruned")])
    snapshot = view(state=state).snapshot(at(5))
    assert "0.6000 so far  trial 00000, 2 epochs  none completed yet" in drawn(snapshot)
    assert "0.6000 (trial 00000, 2 epochs) so far, no trial completed yet" in snapshot.line


def test_time_between_two_processes_does_not_count() -> None:
    state = RunState.replay([*RUN, RunResumed(time=at(7200), slots=2)])
    assert "00:40 elapsed" in view(state=state).snapshot(at(7200 + 25)).line  # 15 s up to the last event
    trial = state.trials["00005"]
    state.apply(TrialStarted(time=at(7210), trial_id=trial.trial_id, attempt=2))
    assert "about 5 s left" in view(6, state=state).snapshot(at(7211)).line  # and not hours


def test_the_time_left_is_that_of_the_search_before_its_confirmation() -> None:
    followed = view(10).snapshot(at(15)).line
    assert re.search(r"about .* left, until .*, then the confirmation, 00:15 elapsed", followed)
    alone = view(10, "confirmation.candidates=0").snapshot(at(15)).line
    assert re.search(r"about .* left, until [^,]*, 00:15 elapsed", alone)


def test_the_hours_of_the_budget_end_a_search_too() -> None:
    alone = "confirmation.candidates=0"
    assert "30 min left (budget.hours)" in view(10_000, "budget.hours=0.5", alone).snapshot(at(10)).line
    assert "at most 30 min left" in view(10_000, "budget.hours=0.5", alone).snapshot(at(10)).line
    shared = "confirmation.share=0.5"  # the search has two thirds of the hours
    confirmed = view(10_000, "budget.hours=0.5", shared).snapshot(at(10)).line
    assert re.search(r"20 min left \(budget.hours\), until .*, then the confirmation", confirmed)
    none = RunState.replay([RUN[0], *trial("00000", [0.2], "running")])  # nothing to confirm yet
    assert "30 min left (budget.hours)" in view(10_000, "budget.hours=0.5", shared, state=none).snapshot(at(10)).line
    assert "(budget.hours)" not in view(10, "budget.hours=100").snapshot(at(15)).line


def test_no_time_left_is_shown_without_enough_data() -> None:
    assert "left" not in view(1000).snapshot(at(15)).line
    assert "left" in view(10).snapshot(at(15)).line
    over = RunState.replay([*RUN, TrialEnded(time=at(16), trial_id="00005", status="pruned")])
    assert "left" not in view(6, state=over).snapshot(at(17)).line


def test_an_ended_trial_no_longer_counts_as_busy() -> None:
    state = RunState.replay([*RUN, TrialEnded(trial_id="00005", status="pruned")])
    assert state.counts()["running"] == 0


class Counting:
    """A view of a counter, which counts its snapshots."""

    def __init__(self) -> None:
        self.value, self.snapshots = 0, 0
        self.urgent: str | None = None

    def snapshot(self) -> Snapshot:
        self.snapshots += 1
        return Snapshot("count", [Row("count", [str(self.value)])], f"at {self.value}", self.value, "", self.urgent)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def ticking(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(display_module, "time", clock)
    return clock


def lines_after(ticking: Clock, seconds: int, *, changing: bool) -> list[float]:
    """Return the times at which lines were printed, if every second changes something or none does."""
    file, counting, times = io.StringIO(), Counting(), []
    with Progress(Console(file=file, width=80)).display(counting) as show:
        for second in range(seconds):
            ticking.now, counting.value = float(second), second if changing else 7
            before = file.tell()
            show()
            times += [ticking.now] * (file.tell() > before)
    assert counting.snapshots <= seconds / 10  # no snapshot is made in vain
    return times


def test_a_log_gets_a_line_every_ten_seconds_and_later_less_often(ticking: Clock) -> None:
    times = lines_after(ticking, 4 * 3600, changing=True)
    assert times[:5] == [10, 20, 30, 40, 50]
    gaps = [second - first for first, second in itertools.pairwise(times)]
    assert gaps == sorted(gaps)
    assert gaps[-1] == 300
    assert len(times) < 100


def test_a_log_without_changes_gets_a_line_every_15_minutes(ticking: Clock) -> None:
    assert lines_after(ticking, 3600, changing=False) == [10, 910, 1810, 2710]


def test_an_urgent_line_in_a_log_is_printed_at_once(ticking: Clock) -> None:
    file, counting = io.StringIO(), Counting()
    with Progress(Console(file=file)).display(counting) as show:
        for second in range(3000):
            ticking.now = float(second)
            show()
        counting.urgent = "1 failed"
        ticking.now = 3010.0
        before = file.tell()
        show()
    assert file.tell() > before


@pytest.mark.parametrize(
    ("file", "environment"),
    [
        (io.StringIO, {}),
        (io.StringIO, {"FORCE_COLOR": "1"}),
        (Terminal, {"TERM": "dumb"}),
        (Terminal, {"TTY_INTERACTIVE": "0"}),
    ],
    ids=["pipe", "pipe with colours", "dumb terminal", "not interactive"],
)
def test_lines_are_printed_if_a_panel_cannot_be_redrawn(
    ticking: Clock, monkeypatch: pytest.MonkeyPatch, file: type[io.StringIO], environment: dict[str, str]
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    written, counting = file(), Counting()
    with Progress(Console(file=written)).display(counting) as show:
        ticking.now = 11.0
        show()
    assert plain_line(written.getvalue()) == "at 0"


def test_a_terminal_panel_is_drawn_twice_a_second_and_removed_at_the_end(ticking: Clock) -> None:
    written, counting = Terminal(), Counting()
    console = Console(file=written, width=80, height=24, force_terminal=True)

    def interrupted() -> None:
        progress = Progress(console)
        with progress.display(counting) as show:
            for tenth in range(100):
                ticking.now, counting.value = tenth / 10, tenth
                show()
            progress.note("printed meanwhile")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    text = written.getvalue()
    assert counting.snapshots <= 22
    assert "printed meanwhile" in text
    assert text.count("\x1b[?25l") == text.count("\x1b[?25h") == 1  # the cursor is shown again
    assert text.endswith("\x1b[2K")  # and the panel is removed


def test_a_slow_panel_is_drawn_less_often(ticking: Clock) -> None:
    class Slow(Counting):
        def snapshot(self) -> Snapshot:
            ticking.now += 0.2
            return super().snapshot()

    slow = Slow()
    with Progress(Console(file=Terminal(), force_terminal=True)).display(slow) as show:
        while ticking.now < 100:
            ticking.now += 0.1
            show()
    assert slow.snapshots <= 11


def test_a_ticking_display_needs_no_refresh(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(display_module, "PANEL_SECONDS", 0.01)
    counting = Counting()
    with Progress(Console(file=Terminal(), force_terminal=True)).display(counting, ticking=True):
        for _ in range(500):
            if counting.snapshots > 3:
                break
            time.sleep(0.01)
    assert counting.snapshots > 3


def test_silent_progress_prints_nothing(capsys: Any) -> None:
    progress, counting = Progress.silent(), Counting()
    progress.note("starting")
    with progress.display(counting) as show:
        show()
    captured = capsys.readouterr()
    assert captured.out == captured.err == ""
    assert counting.snapshots == 0


NOTEBOOK = """
from rich.console import Console
from rich.live import Live
from orchestrator.progress import Progress, WorkView
work = WorkView("counting", "sheep")
progress = Progress(Console(stderr=True))
progress.note("beginning")
with progress.display(work) as show:
    for count in range(3):
        work.count(count, 4, [f"<b>{count}</b>"])
        show()
"""


@pytest.mark.slow
def test_a_notebook_cell_shows_the_same_panel() -> None:
    nbformat, nbclient = pytest.importorskip("nbformat"), pytest.importorskip("nbclient")
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(NOTEBOOK)])
    nbclient.NotebookClient(notebook, timeout=120).execute()
    # The other outputs are warnings of Ray about missing packages.
    note, panel = [output for output in notebook.cells[0].outputs if output["output_type"] == "display_data"]
    assert "beginning ..." in note["data"]["text/plain"]
    assert "sheep  2 of 4" in Text.from_ansi(panel["data"]["text/plain"]).plain
    assert "&lt;b&gt;2&lt;/b&gt;" in panel["data"]["text/html"]


def test_smaller_work_shows_its_step_its_count_and_its_time(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    monkeypatch.setattr("orchestrator.progress.work_view.time", clock)
    work = WorkView("export of best", "epoch")
    work.say("pruning")
    work.count(0, 4)
    clock.now = 30.0
    work.count(1, 4, ["accuracy 0.9000"])
    snapshot = work.snapshot()
    assert snapshot.line == "pruning; epoch 1 of 4; accuracy 0.9000; about 2 min left, 00:30 elapsed"
    assert "epoch  1 of 4  ━━━━━━━───" in drawn(snapshot)
    work.count(4, 4, ["accuracy 0.9100"])
    work.say("writing")
    assert work.snapshot().line == "writing; 00:30 elapsed"


def test_a_sparkline_runs_from_the_lowest_to_the_highest_score() -> None:
    assert sparkline([0.2, 0.6, 0.7]) == "▁▇█"
    assert sparkline([0.5]) == ""
    assert len(sparkline([0.1, 0.2] * 100)) <= 30


def test_times_are_short() -> None:
    assert [clock(seconds) for seconds in (5, 65, 3725)] == ["00:05", "01:05", "1:02:05"]
    seconds = (0, 2, 33, 58, 500, 3570, 3600, 8000, 86_000, 90_000, 180_000)
    assert [format_estimate(value) for value in seconds] == [
        *("5 s", "5 s", "35 s", "1 min", "8 min", "1 h", "1 h", "2 h 10 min", "23 h 50 min", "1 day 1 h", "2 days 2 h")
    ]


def test_a_confirmation_tells_its_cost_its_leader_and_the_time_left() -> None:
    search = [*search_of({"00000": 0.5, "00001": 0.9, "00002": 0.8}), *trial("00003", [0.95], "pruned")]
    events = [*search, planned(search, share=4, candidates=2, trainings=2)]
    state = RunState.replay(events)
    shown = ConfirmationView(load_config(None, ["training.epochs=1"]), state, lambda: 4)
    assert shown.announcement(10) == (
        "confirming the best 2 of 3 completed trials: at most 10 new trainings in all; about 4 are expected, in about "
        "5 s; the score of one training varies by about 0.0304, judging by the number of validation images"
    )
    assert "0 of about 4 new trainings" in drawn(shown.snapshot(at(20)))
    for event in [*repeated("00001", 1, 0.85), *repeated("00002", 1, 0.8), *begun("00001", 2)]:
        state.apply(event)
    line = shown.snapshot(at(25)).line
    assert line.startswith("confirming: 2 of about 4 new trainings; no candidate has two new trainings yet; about")
    assert "1 of 2 busy" in drawn(shown.snapshot(at(25)))
    assert "at most 10 new trainings in all; about 4 are expected, 2 of them from now on, in" in shown.announcement(10)


def test_a_confirmation_of_several_objectives_tells_how_many_are_on_the_front() -> None:
    search = search_of({"00000": 0.5, "00001": 0.9, "00002": 0.8}, val_accuracy="maximize", parameters="minimize")
    state = RunState.replay([*search, planned(search, share=4, candidates=1)])
    shown = ConfirmationView(load_config(None, []), state, lambda: 2)
    assert shown.announcement(5).startswith("confirming the best 1 of 2 trials on the front: at most 5 new")


def test_a_terminal_that_becomes_narrower_keeps_no_piece_of_the_panel() -> None:
    console = Console(file=io.StringIO(), force_terminal=True, width=100, height=40)
    snapshot = Snapshot("a", [Row("b", ["c"])], "", None)  # three lines
    with Live(snapshot, console=console, auto_refresh=False, transient=True) as live:
        panel = display_module._LivePanel(live)
        panel.show(snapshot)
        written = console.file.tell()
        console.width = 40  # each of the three lines now takes three
        panel.show(snapshot)
        console.file.seek(written)
        assert console.file.read().count("\x1b[1A") == 3 * 3  # from the line below the panel


def test_ctrl_c_is_written_below_the_panel_and_erased_with_it() -> None:
    file = io.StringIO()
    console = Console(file=file, force_terminal=True, width=40, height=40)
    snapshot = Snapshot("a", [Row("b", ["c"])], "", None)  # three lines
    with Live(snapshot, console=console, auto_refresh=False, transient=True) as live:
        panel = display_module._LivePanel(live)
        panel.show(snapshot)
        before = file.getvalue()
        assert before.endswith("\n"), "else the `^C` wraps into another line"
        panel.show(snapshot)
        assert file.getvalue().removeprefix(before).count("\x1b[1A") == 3
