"""Plots the learning curves of the candidates, and the best score so far."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from statistics import median
from typing import Any, Literal

import plotly.graph_objects as go

from orchestrator.objectives import Direction, losses_of
from orchestrator.record import RunState, Trial, score_of
from orchestrator.report.page.plot import (
    BLUE,
    GREY,
    INK,
    RED,
    STATUSES,
    Plot,
    figure,
    integer_ticks,
    metric_label,
    range_around,
    text,
    thinned,
)
from orchestrator.report.page.worker_timeline import Break
from orchestrator.words import join_words

FADED = "#a9b1ba"
"""The colour of pruned trials, because there are many."""
MAX_BEST_CURVES = 50
MAX_OTHER_CURVES = 100

CLOSE_TO_ONE = 0.9
"""Above this, the differences between scores are small on an axis of scores, and large on one of errors."""

UNITS = ((86_400.0, "days"), (3_600.0, "hours"), (60.0, "minutes"), (1.0, "seconds"))


def learning_curves(state: RunState, rungs: Sequence[int], winner: str | None, *, is_share: bool) -> Plot:
    """Plot the score after each epoch for the best trials and some others.

    Args:
        state: the state of the search.
        rungs: the epochs at which the scheduler decides.
        winner: a trial id.
        is_share: whether scores lie between 0 and 1, and 1 is best.
    """
    metric, _ = score_of(state.objectives)
    ranking = [trial for trial in state.ranking() if trial.curve]
    ranked = {trial.trial_id for trial in ranking}
    others = [
        trial
        for trial in state.trials.values()
        if trial.curve and trial.duplicate_of is None and trial.trial_id not in ranked
    ]
    known = [*ranking, *others]
    shown = [*known[:MAX_BEST_CURVES], *thinned(known[MAX_BEST_CURVES:], MAX_OTHER_CURVES)]
    traces = []
    for status, (colour, _) in reversed(STATUSES.items()):
        members = [trial for trial in shown if state.status_of(trial) == status and trial.trial_id != winner]
        if members:
            width = 1.6 if status == "completed" else 1.0
            colour = FADED if status == "pruned" else colour
            traces.append(
                _lines(members, metric, name=f"{status} ({len(members)})", line={"color": colour, "width": width})
            )
    best = [trial for trial in shown if trial.trial_id == winner]
    if best:
        traces.append(_lines(best, metric, name=f"the winner, {winner}", line={"color": INK, "width": 3}))
    found = None
    if traces:
        longest = max(trial.epochs for trial in shown)
        traces.sort(key=lambda trace: not trace.name.startswith("pruned"))  # beneath all others
        found = figure(
            traces, x="epoch", y=text(metric_label(metric)), height=440, showlegend=True, xaxis=integer_ticks(longest)
        )
        for epoch in rungs:
            found.add_vline(x=epoch, line={"color": GREY, "width": 1, "dash": "dot"}, layer="below")
    name = metric_label(metric)
    caption = f"One line per trial: its {name} after each epoch. Pruned trials are grey; single epochs are dots."
    if len(shown) < len(known):
        caption = (
            f"{len(shown)} of {len(known):,} curves: the best {MAX_BEST_CURVES} and {len(shown) - MAX_BEST_CURVES} "
            f"others, evenly spaced in the ranking. {caption}"
        )
    if rungs:
        epochs = "epoch" if rungs == (1,) else "epochs"
        after = join_words([str(epoch) for epoch in rungs])
        caption += f" Dotted lines: the rungs, after {after} {epochs}, where weak trials are stopped."
    return Plot(
        name="curves",
        title="Score after each epoch",
        caption=caption,
        figure=found,
        empty_text="No trial has finished an epoch yet.",
        error_axis=_error_axis([trial.metric(metric) for trial in shown if trial.status == "completed"], is_share),
    )


def _error_axis(ends: Sequence[float | None], is_share: bool) -> Literal["offered", "first"] | None:
    """Return whether the errors are offered, or shown first because most curves end close to 1."""
    if not is_share:
        return None
    known = [end for end in ends if end is not None]
    return "first" if known and median(known) > CLOSE_TO_ONE else "offered"


@dataclass(frozen=True)
class Improvement:
    """A completed trial that is better than all before it."""

    seconds: float
    """The time since the start of the search, without breaks."""
    trained: int
    """The number of trainings that had ended by then."""
    value: float
    trial_id: str


@dataclass(frozen=True)
class Trajectory:
    """The improvements of the best score during a search."""

    improvements: Sequence[Improvement]
    seconds: float
    """The duration of the search, without breaks and without its confirmation."""
    trained: int
    """The number of trainings that ended."""


def trajectory_of(state: RunState, breaks: Sequence[Break], until: datetime | None = None) -> Trajectory:
    """Find the improvements in the first objective. Only completed trials count, because pruned ones had fewer epochs.

    Args:
        state: the state of a search.
        breaks: the times to leave out.
        until: the current time if the search is running.
    """
    if state.started_at is None:
        return Trajectory((), 0.0, 0)
    first = dict(list(state.objectives.items())[:1])
    ended = [
        (trial.ended_at, trial)
        for trial in sorted(state.trials.values(), key=lambda trial: trial.end_place or 0)
        if trial.ended_at is not None and trial.attempt
    ]
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
    if state.confirmation is not None and state.confirmation.trained == state.trained:
        last = state.confirmation.time
    return Trajectory(found, _active(state.started_at, last, breaks), len(ended))


def _active(start: datetime, time: datetime, breaks: Sequence[Break]) -> float:
    """Return the seconds from `start` to `time`, without the breaks."""
    away = sum((min(one.end, time) - one.begin).total_seconds() for one in breaks if one.begin < time)
    return max(0.0, (time - start).total_seconds() - away)


def best_so_far(
    trajectories: dict[str, Trajectory], metric: str, direction: Direction, *, is_share: bool
) -> list[Plot]:
    """Plot the best so far against time and trials.

    Args:
        trajectories: searches by their names, this search first.
        metric, direction: the first objective.
        is_share: whether scores lie between 0 and 1, and 1 is best.
    """
    longest = max(trajectory.seconds for trajectory in trajectories.values())
    unit, unit_name = next(unit for unit in UNITS if longest >= 2 * unit[0] or unit[0] == 1)
    by_time = [
        _steps(
            name,
            [(one.seconds / unit, one) for one in trajectory.improvements],
            end=trajectory.seconds / unit,
            place=place,
        )
        for place, (name, trajectory) in enumerate(trajectories.items())
        if trajectory.improvements
    ]
    by_trials = [
        _steps(
            name,
            [(float(one.trained), one) for one in trajectory.improvements],
            end=float(trajectory.trained),
            place=place,
        )
        for place, (name, trajectory) in enumerate(trajectories.items())
        if trajectory.improvements
    ]
    counting = {"rangemode": "tozero", **integer_ticks(max(trajectory.trained for trajectory in trajectories.values()))}
    extreme = "Highest" if direction == "maximize" else "Lowest"
    name = metric_label(metric)
    caption = f"{extreme} {name} of a completed trial so far. A dot is a trial that is better than all before it."
    if len(trajectories) > 1:
        caption += " Dashed: the random search of equal cost."
    empty_text = "No trial has completed its training yet."
    y = f"best {text(name)}"
    values = {one.value for trajectory in trajectories.values() for one in trajectory.improvements}
    error_axis = _error_axis(sorted(values), is_share) if len(values) > 1 else None
    level: dict[str, Any] = {"range": range_around(*values, is_share=is_share)} if len(values) == 1 else {}
    return [
        Plot(
            name="best-by-time",
            title="Best so far against time",
            caption=caption,
            figure=figure(by_time, x=f"{unit_name} of search", y=y, xaxis_rangemode="tozero", yaxis=level)
            if by_time
            else None,
            empty_text=empty_text,
            error_axis=error_axis,
        ),
        Plot(
            name="best-by-trials",
            title="Best so far against trials",
            caption=f"{caption} A trial counts when it ends; pruned trials count too.",
            figure=figure(by_trials, x="trials trained", y=y, xaxis=counting, yaxis=level) if by_trials else None,
            empty_text=empty_text,
            error_axis=error_axis,
        ),
    ]


def _steps(name: str, points: Sequence[tuple[float, Improvement]], *, end: float, place: int) -> go.Scatter:
    colour, dash = ((BLUE, "solid"), (RED, "dash"))[place % 2]
    x, y = [x for x, _ in points], [one.value for _, one in points]
    trials = [f"{'random/' if place else ''}{one.trial_id}" for _, one in points]
    return go.Scatter(
        x=[*x, end],
        y=[*y, y[-1]],
        customdata=[*trials, None],
        mode="lines+markers",
        name=text(name),
        line={"shape": "hv", "color": colour, "dash": dash, "width": 2},
        marker={"size": [7] * len(x) + [0], "color": colour},
        hovertemplate="%{y:.4f} trial %{customdata}<extra></extra>",
    )


def _lines(trials: Sequence[Trial], metric: str, *, name: str, line: dict[str, Any]) -> go.Scatter:
    """Draw many curves as one trace, which is much cheaper than one trace per curve."""
    x: list[int | None] = []
    y: list[float | None] = []
    labels: list[str | None] = []
    sizes: list[int] = []
    for trial in trials:
        x += [*(row.epoch for row in trial.curve), None]
        y += [*(row.metric(metric) for row in trial.curve), None]
        labels += [*([trial.trial_id] * len(trial.curve)), None]
        # A single epoch has no line, so it is drawn as a dot.
        sizes += [5 if len(trial.curve) == 1 else 0] * len(trial.curve) + [0]
    opacity = 1.0 if len(trials) <= 20 else 0.6
    return go.Scatter(
        x=x,
        y=y,
        customdata=labels,
        mode="lines+markers" if any(sizes) else "lines",
        name=name,
        line=line,
        opacity=opacity,
        marker={"size": sizes},
        connectgaps=False,
        hovertemplate="trial %{customdata}<br>epoch %{x}: %{y:.4f}<extra></extra>",
    )
