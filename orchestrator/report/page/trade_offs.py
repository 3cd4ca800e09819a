"""Plots the costs of candidates against their scores: the Pareto front, parameters and multiply-adds."""

from __future__ import annotations

from collections.abc import Sequence
from textwrap import wrap
from typing import Any

import numpy as np
import plotly.graph_objects as go
from optuna.visualization import plot_pareto_front

from orchestrator.objectives import Direction
from orchestrator.progress import number
from orchestrator.record import RunState, Trial, score_of
from orchestrator.report.page.plot import (
    GREY,
    INK,
    PALE,
    RED,
    STATUSES,
    Plot,
    apply_style,
    figure,
    metric_label,
    text,
    thinned,
)
from orchestrator.study import study_of_values
from orchestrator.words import counted

MAX_POINTS = 2_000
MAX_AXES = 3
"""With more objectives, the front is drawn as parallel coordinates."""
LABEL_WIDTH = 14
"""In letters, so that the labels of four axes fit on the screen of a phone."""


def pareto_front(state: RunState) -> Plot | None:
    """Plot two or three objectives with `optuna.visualization`, more as parallel coordinates; None for one."""
    names = list(state.objectives)
    if len(names) < 2:
        return None
    title = f"Pareto front: {' against '.join(map(metric_label, names))}"
    drawn, mark = (_front, "dot") if len(names) <= MAX_AXES else (_lines, "line")
    completed = [trial for trial in state.trials.values() if trial.status == "completed" and trial.duplicate_of is None]
    front = {trial.trial_id for trial in state.front}
    dominated = [trial for trial in completed if trial.trial_id not in front]
    shown = [*state.front, *thinned(dominated, MAX_POINTS)]
    caption = (
        f"Each {mark} is a completed trial. A trial is on the front if every trial that is better in one objective is "
        "worse in another."
    )
    if len(shown) < len(completed):
        caption = f"{len(shown):,} of {len(completed):,} trials: the front, and others evenly spaced. {caption}"
    return Plot(
        name="front",
        title=title,
        caption=caption,
        figure=drawn(state, shown) if completed else None,
        empty_text="No trial has completed its training yet.",
    )


def _front(state: RunState, trials: Sequence[Trial]) -> go.Figure:
    study = study_of_values(state, trials)
    names = [_axis(name, direction) for name, direction in state.objectives.items()]
    found = plot_pareto_front(study, target_names=names)
    by_place = {_place(trial, state): trial for trial in trials}
    # Optuna draws the dominated trials first, then the front.
    for trace, name, colour in zip(found.data, ("dominated", "the front"), (GREY, RED), strict=True):
        axes = [trace.x, trace.y, *([trace.z] if trace.type == "scatter3d" else [])]
        members = [by_place[tuple(point)] for point in zip(*axes, strict=True)]
        trace.update(
            name=name,
            showlegend=True,
            customdata=[trial.trial_id for trial in members],
            text=[_label(trial, state) for trial in members],
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
                text=[_label(trials[place], state) for place in members for _ in axes],
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


def costs_against_score(state: RunState, winner: str | None) -> list[Plot]:
    """Plot parameters and multiply-adds against the score; `winner` is a trial id."""
    metric, _ = score_of(state.objectives)
    ranking = [trial for trial in state.ranking() if trial.costs and trial.metric(metric) is not None]
    shown = thinned(ranking, MAX_POINTS)
    caption = "Each mark is a trial with the score after its last epoch; pruned trials had fewer epochs."
    if len(shown) < len(ranking):
        caption = f"{len(shown):,} of {len(ranking):,} trials, evenly spaced in the ranking. {caption}"
    return [
        Plot(
            name=f"costs-{cost}",
            title=f"{label.capitalize()} against {metric_label(metric)}",
            caption=caption,
            figure=_costs(state, shown, winner=winner, cost=cost, x=f"{label}{unit}", metric=metric) if shown else None,
            empty_text="No trial has a score yet.",
        )
        for cost, label, unit in (("parameters", "parameters", ""), ("macs", "multiply-adds", " for one image"))
    ]


def _costs(
    state: RunState, trials: Sequence[Trial], *, winner: str | None, cost: str, x: str, metric: str
) -> go.Figure:
    traces: list[Any] = []
    for status, (colour, symbol) in reversed(STATUSES.items()):
        members = [trial for trial in trials if state.status_of(trial) == status]
        if members:
            traces.append(
                go.Scatter(
                    x=[trial.costs[cost] for trial in members],
                    y=[trial.metric(metric) for trial in members],
                    customdata=[trial.trial_id for trial in members],
                    text=[_label(trial, state) for trial in members],
                    mode="markers",
                    name=f"{status} ({len(members)})",
                    marker={"color": colour, "symbol": symbol, "size": 8, "opacity": 0.85},
                    hovertemplate="%{text}<extra></extra>",
                )
            )
    best = [trial for trial in trials if trial.trial_id == winner]
    if best:
        traces.append(
            go.Scatter(
                x=[trial.costs[cost] for trial in best],
                y=[trial.metric(metric) for trial in best],
                mode="markers",
                name=f"the winner, {winner}",
                marker={"color": INK, "symbol": "circle-open", "size": 15, "line": {"width": 2}},
                hoverinfo="skip",
            )
        )
    values = [trial.costs[cost] for trial in trials]
    spans_tens = min(values) > 0 and max(values) >= 10 * min(values)
    axis = {"type": "log", "dtick": "D2"} if spans_tens else {}
    return figure(traces, x=x, y=text(metric_label(metric)), showlegend=True, xaxis=axis)


def _label(trial: Trial, state: RunState) -> str:
    values = {**dict.fromkeys(state.objectives), **dict.fromkeys(("parameters", "macs"))}
    lines = [f"trial {trial.trial_id}, {state.status_of(trial)} after {counted(trial.epochs, 'epoch')}"]
    return "<br>".join([*lines, *(f"{text(metric_label(name))} {number(trial.metric(name))}" for name in values)])
