"""Plots the Pareto front of several objectives: in the plane, in pairs, and as parallel coordinates."""

from __future__ import annotations

from collections.abc import Sequence
from textwrap import wrap

import numpy as np
import plotly.graph_objects as go
from optuna.visualization import plot_pareto_front
from plotly.subplots import make_subplots

from orchestrator.objectives import Direction
from orchestrator.progress import number
from orchestrator.record import RunState, Trial
from orchestrator.report.page.plot import (
    GREY,
    MAX_POINTS,
    PALE,
    RED,
    Plot,
    apply_style,
    axis_of,
    figure,
    metric_label,
    text,
    thinned,
)
from orchestrator.study import study_of_values
from orchestrator.words import counted, join_words

LABEL_WIDTH = 14
"""In letters, so that the labels of four axes fit on the screen of a phone."""
PAIR_HEIGHT = 190
"""In pixels, of one pair of objectives."""
PAIR_LABEL_WIDTH = 21
"""In letters, so that the label of an axis is not longer than the axis."""


def front_plots(state: RunState) -> list[Plot]:
    """Plot two objectives with `optuna.visualization`, more in pairs and as parallel coordinates; nothing for one."""
    names = list(map(metric_label, state.objectives))
    if len(names) < 2:
        return []
    completed = [trial for trial in state.trials.values() if trial.status == "completed" and trial.duplicate_of is None]
    front = {trial.trial_id for trial in state.front}
    shown = [*state.front, *thinned([trial for trial in completed if trial.trial_id not in front], MAX_POINTS)]
    drawn = (
        [("front", f"Pareto front: {' against '.join(names)}", "dot", _plane)]
        if len(names) == 2
        else [
            ("front-pairs", "Pareto front: the objectives in pairs", "dot", _pairs),
            ("front-lines", "Pareto front: all objectives", "line", _lines),
        ]
    )
    meaning = "A trial is on the front if every trial that is better in one objective is worse in another."
    part = (
        f"{len(shown):,} of {len(completed):,} trials: the front, and others evenly spaced. "
        if len(shown) < len(completed)
        else ""
    )
    return [
        Plot(
            name=name,
            title=title,
            caption=f"{part}Each {mark} is a completed trial with its scores in the search. {meaning} {_better(state)}",
            figure=draw(state, shown) if completed else None,
            empty_text="No trial has completed its training yet.",
        )
        for name, title, mark, draw in drawn
    ]


def _better(state: RunState) -> str:
    kinds = {"maximize": "Higher", "minimize": "Lower"}
    parts = []
    for direction, word in kinds.items():
        names = [metric_label(name) for name, wanted in state.objectives.items() if wanted == direction]
        if names:
            parts.append(f"{word} is better for {join_words(names)}.")
    return " ".join(parts)


def _pairs(state: RunState, trials: Sequence[Trial]) -> go.Figure:
    """Draw each pair of objectives once, below the diagonal of a matrix."""
    names, front = list(state.objectives), {trial.trial_id for trial in state.front}
    count = len(names) - 1
    specs: list[list[dict[str, object] | None]] = [
        [{} if column <= row else None for column in range(count)] for row in range(count)
    ]
    found = make_subplots(
        count, count, specs=specs, shared_xaxes=True, shared_yaxes=True, horizontal_spacing=0.04, vertical_spacing=0.04
    )
    for row, y in enumerate(names[1:]):
        for column, x in enumerate(names[: row + 1]):
            for name, colour, is_front in (("dominated", GREY, False), ("the front", RED, True)):
                members = [trial for trial in trials if (trial.trial_id in front) == is_front]
                trace = go.Scatter(
                    x=[trial.metric(x) for trial in members],
                    y=[trial.metric(y) for trial in members],
                    customdata=[trial.trial_id for trial in members],
                    mode="markers",
                    name=name,
                    legendgroup=name,
                    showlegend=not row,
                    marker={"color": colour, "size": 7},
                    hovertemplate="trial %{customdata}<br>%{x}, %{y}<extra></extra>",
                )
                found.add_trace(trace, row + 1, column + 1)
    apply_style(found, 100 + PAIR_HEIGHT * count)
    axes = {name: axis_of([trial.metric(name) or 0.0 for trial in trials]) for name in names}
    for place, name in enumerate(names):
        if place < count:
            found.update_xaxes(axes[name], col=place + 1)
            found.update_xaxes(title=_wrapped(name), row=count, col=place + 1)
        if place:
            found.update_yaxes(axes[name], row=place)
            found.update_yaxes(title=_wrapped(name), row=place, col=1)
    return found


def _wrapped(objective: str) -> str:
    return "<br>".join(map(text, wrap(metric_label(objective), PAIR_LABEL_WIDTH)))


def _plane(state: RunState, trials: Sequence[Trial]) -> go.Figure:
    study = study_of_values(state, trials)
    names = [_axis(name, direction) for name, direction in state.objectives.items()]
    found = plot_pareto_front(study, target_names=names)
    by_place: dict[tuple[float | None, ...], list[Trial]] = {}  # several trials may have the same values
    for trial in trials:
        by_place.setdefault(_place(trial, state), []).append(trial)
    # Optuna draws the dominated trials first, then the front.
    for trace, name, colour in zip(found.data, ("dominated", "the front"), (GREY, RED), strict=True):
        members = [by_place[point].pop() for point in zip(trace.x, trace.y, strict=True)]
        trace.update(
            name=name,
            showlegend=True,
            customdata=[trial.trial_id for trial in members],
            text=[trial_text(trial, state) for trial in members],
            hovertemplate="%{text}<extra></extra>",
            marker={"color": colour, "colorscale": None, "colorbar": None, "showscale": False, "size": 8},
        )
    return apply_style(found, height=460)


def _lines(state: RunState, trials: Sequence[Trial]) -> go.Figure:
    """Draw parallel coordinates: one axis per objective with its best value at the top, one line per trial."""
    values = np.array([_place(trial, state) for trial in trials], float)
    higher = np.array([direction == "maximize" for direction in state.objectives.values()])
    low, high = values.min(axis=0), values.max(axis=0)
    best, worst = np.where(higher, high, low), np.where(higher, low, high)
    heights = 1 - (best - values) / np.where(best == worst, 1, best - worst)
    axes = [*range(len(higher)), None]  # None separates the lines of two trials
    front = {trial.trial_id for trial in state.front}
    traces = []
    for name, colour, is_front in (("dominated", PALE, False), ("the front", RED, True)):
        members = [place for place, trial in enumerate(trials) if (trial.trial_id in front) == is_front]
        traces.append(
            go.Scatter(
                x=[axis for _ in members for axis in axes],
                y=[height for place in members for height in (*heights[place], None)],
                customdata=[trials[place].trial_id for place in members for _ in axes],
                text=[trial_text(trials[place], state) for place in members for _ in axes],
                mode="lines+markers",
                name=name,
                line={"color": colour, "width": 1.5},
                marker={"size": 5},
                hovertemplate="%{text}<extra></extra>",
            )
        )
    ends = [
        "<br>".join([*map(text, wrap(metric_label(name), LABEL_WIDTH)), number(bottom), f"to {number(top)}"])
        for name, bottom, top in zip(state.objectives, worst, best, strict=True)
    ]
    found = figure(traces, x="bottom: worst, top: best", y="", height=480)
    ticks = {"tickvals": axes[:-1], "ticktext": ends, "tickangle": 0, "tickfont": {"size": 11}, "gridcolor": PALE}
    found.update_xaxes(ticks, range=[-0.4, len(higher) - 0.6])
    return found.update_yaxes(visible=False)


def _axis(objective: str, direction: Direction) -> str:
    return f"{text(metric_label(objective))} ({'higher' if direction == 'maximize' else 'lower'} is better)"


def _place(trial: Trial, state: RunState) -> tuple[float | None, ...]:
    return tuple(trial.metric(name) for name in state.objectives)


def trial_text(trial: Trial, state: RunState) -> str:
    """Describe a trial for a label of plotly: its status, its objectives and its costs."""
    values = {**dict.fromkeys(state.objectives), **dict.fromkeys(("parameters", "macs"))}
    lines = [f"trial {trial.trial_id}, {state.status_of(trial)} after {counted(trial.epochs, 'epoch')}"]
    return "<br>".join([*lines, *(f"{text(metric_label(name))} {number(trial.metric(name))}" for name in values)])
