"""How candidates learned, and how the best score grew."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import plotly.graph_objects as go

from orchestrator.objectives import Direction, losses_of
from orchestrator.progress import join_words
from orchestrator.record import RunState, Trial, score_of
from orchestrator.report.page.plot import (
    BLUE,
    GREY,
    INK,
    RED,
    STATUSES,
    Plot,
    around,
    figure,
    named,
    text,
    thinned,
    whole,
)
from orchestrator.report.page.worker_timeline import Break

FADED = "#a9b1ba"
"""Of the pruned, which are many."""
BEST_CURVES = 50
OTHER_CURVES = 100

UNITS = ((86_400.0, "days"), (3_600.0, "hours"), (60.0, "minutes"), (1.0, "seconds"))


def learning_curves(state: RunState, rungs: Sequence[int], winner: str | None) -> Plot:
    """The score after each epoch, of the best and of some others; `winner` is a trial's id."""
    metric, _ = score_of(state.objectives)
    ranking = [trial for trial in state.ranking() if trial.curve]
    ranked = {trial.trial_id for trial in ranking}
    others = [
        trial
        for trial in state.trials.values()
        if trial.curve and trial.duplicate_of is None and trial.trial_id not in ranked
    ]
    known = [*ranking, *others]
    shown = [*known[:BEST_CURVES], *thinned(known[BEST_CURVES:], OTHER_CURVES)]
    traces = []
    for status, (colour, _) in reversed(STATUSES.items()):
        members = [trial for trial in shown if state.status_of(trial) == status and trial.trial_id != winner]
        if members:
            width = 1.6 if status == "completed" else 1.0
            colour = FADED if status == "pruned" else colour
            traces.append(_lines(members, metric, f"{status} ({len(members)})", {"color": colour, "width": width}))
    best = [trial for trial in shown if trial.trial_id == winner]
    if best:
        traces.append(_lines(best, metric, f"the winner, {winner}", {"color": INK, "width": 3}))
    found = None
    if traces:
        longest = max(trial.epochs for trial in shown)
        traces.sort(key=lambda trace: not trace.name.startswith("pruned"))  # beneath all others
        found = figure(traces, x="epoch", y=text(named(metric)), height=440, showlegend=True, xaxis=whole(longest))
        for epoch in rungs:
            found.add_vline(x=epoch, line={"color": GREY, "width": 1, "dash": "dot"}, layer="below")
    caption = f"One line a trial: its {named(metric)} after each epoch. Pruned ones are grey, those of one epoch dots."
    if len(shown) < len(known):
        caption = (
            f"{len(shown)} of {len(known):,} curves: the best {BEST_CURVES} and {len(shown) - BEST_CURVES} others, "
            f"evenly drawn from the ranking. {caption}"
        )
    if rungs:
        epochs = "epoch" if rungs == (1,) else "epochs"
        after = join_words([str(epoch) for epoch in rungs])
        caption += f" Dotted: the rungs, after {after} {epochs}, where weak trials are stopped."
    return Plot(
        name="curves",
        title="How the candidates learned",
        caption=caption,
        figure=found,
        nothing="No trial has finished an epoch yet.",
    )


@dataclass(frozen=True)
class Improvement:
    """A trial that had its whole training and beat all before it: when, and after how many that were trained."""

    seconds: float
    trained: int
    value: float
    trial_id: str


@dataclass(frozen=True)
class Course:
    """Of a search: each improvement, and how long and how far it went."""

    improvements: Sequence[Improvement]
    seconds: float
    trained: int


def course_of(state: RunState, breaks: Sequence[Break], until: datetime | None = None) -> Course:
    """How the best of the first objective came about. Only whole trainings count: what was pruned had less.

    Args:
        state: of a search.
        breaks: that are left out.
        until: now, for one that runs.
    """
    if state.started_at is None:
        return Course((), 0.0, 0)
    first = dict(list(state.objectives.items())[:1])
    ended = sorted(
        ((trial.ended_at, trial) for trial in state.trials.values() if trial.ended_at is not None and trial.attempt),
        key=lambda one: one[0],
    )
    best: tuple[float, ...] | None = None
    found = []
    for count, (time, trial) in enumerate(ended, start=1):
        losses = losses_of(trial.metric, first) if trial.status == "completed" else None
        if losses is not None and (best is None or losses < best):
            best, (name,) = losses, first
            value = trial.metric(name)
            assert value is not None, "it has a loss"
            found.append(Improvement(_active(state.started_at, time, breaks), count, value, trial.trial_id))
    last = until or state.ended_at or (ended[-1][0] if ended else state.started_at)
    return Course(found, _active(state.started_at, last, breaks), len(ended))


def _active(start: datetime, time: datetime, breaks: Sequence[Break]) -> float:
    """Seconds from the start to a time, without the breaks before it."""
    away = sum((min(one.end, time) - one.begin).total_seconds() for one in breaks if one.begin < time)
    return max(0.0, (time - start).total_seconds() - away)


def best_so_far(courses: dict[str, Course], metric: str, direction: Direction) -> list[Plot]:
    """Against time and against trials; `courses` by what they are called, the search's first."""
    longest = max(course.seconds for course in courses.values())
    unit, unit_name = next(unit for unit in UNITS if longest >= 2 * unit[0] or unit[0] == 1)
    by_time = [
        _steps(name, [(one.seconds / unit, one) for one in course.improvements], course.seconds / unit, place)
        for place, (name, course) in enumerate(courses.items())
        if course.improvements
    ]
    by_trials = [
        _steps(name, [(float(one.trained), one) for one in course.improvements], float(course.trained), place)
        for place, (name, course) in enumerate(courses.items())
        if course.improvements
    ]
    counting = {"rangemode": "tozero", **whole(max(course.trained for course in courses.values()))}
    extreme = "Highest" if direction == "maximize" else "Lowest"
    caption = (
        f"{extreme} {named(metric)} of a trial with its whole training; a dot where one was better than all before."
    )
    if len(courses) > 1:
        caption += " Beside it the random search of equal cost."
    nothing = "No trial has completed its training yet."
    y = f"best {text(named(metric))}"
    values = {one.value for course in courses.values() for one in course.improvements}
    level: dict[str, Any] = {"range": around(*values)} if len(values) == 1 else {}
    return [
        Plot(
            name="best-by-time",
            title="The best so far, against time",
            caption=caption,
            figure=figure(by_time, x=f"{unit_name} of search", y=y, xaxis_rangemode="tozero", yaxis=level)
            if by_time
            else None,
            nothing=nothing,
        ),
        Plot(
            name="best-by-trials",
            title="The best so far, against trials",
            caption=f"{caption} Trials are counted as they end, the pruned ones included.",
            figure=figure(by_trials, x="trials trained", y=y, xaxis=counting, yaxis=level) if by_trials else None,
            nothing=nothing,
        ),
    ]


def _steps(name: str, points: Sequence[tuple[float, Improvement]], end: float, place: int) -> go.Scatter:
    colour, dash = ((BLUE, "solid"), (RED, "dash"))[place % 2]
    x, y = [x for x, _ in points], [one.value for _, one in points]
    labels = [f"trial {one.trial_id}" for _, one in points]
    return go.Scatter(
        x=[*x, end],
        y=[*y, y[-1]],
        text=[*labels, ""],
        mode="lines+markers",
        name=text(name),
        line={"shape": "hv", "color": colour, "dash": dash, "width": 2},
        marker={"size": [7] * len(x) + [0], "color": colour},
        hovertemplate="%{y:.4f} %{text}<extra></extra>",
    )


def _lines(trials: Sequence[Trial], metric: str, name: str, line: dict[str, Any]) -> go.Scatter:
    """Many curves as one trace, which is much cheaper than one each."""
    x: list[int | None] = []
    y: list[float | None] = []
    labels: list[str | None] = []
    sizes: list[int] = []
    for trial in trials:
        x += [*(row.epoch for row in trial.curve), None]
        y += [*(row.metric(metric) for row in trial.curve), None]
        labels += [*([trial.trial_id] * len(trial.curve)), None]
        # One epoch makes no line.
        sizes += [5 if len(trial.curve) == 1 else 0] * len(trial.curve) + [0]
    opacity = 1.0 if len(trials) <= 20 else 0.6
    return go.Scatter(
        x=x,
        y=y,
        text=labels,
        mode="lines+markers" if any(sizes) else "lines",
        name=name,
        line=line,
        opacity=opacity,
        marker={"size": sizes},
        connectgaps=False,
        hovertemplate="trial %{text}<br>epoch %{x}: %{y:.4f}<extra></extra>",
    )
