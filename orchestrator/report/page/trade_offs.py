"""What candidates cost against how they score: the Pareto front, parameters and multiply-adds."""

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
from orchestrator.report.page.plot import GREY, INK, PALE, RED, STATUSES, Plot, dressed, figure, named, text, thinned
from orchestrator.study import study_of_values

MOST_POINTS = 2_000
MOST_AXES = 3
"""Of a front that is drawn in space."""
LABEL_WIDTH = 14
"""Letters, so that the axes of four objectives have room for theirs on a telephone."""


def pareto_front(state: RunState) -> Plot | None:
    """Of two or three objectives by `optuna.visualization`, of more as parallel coordinates; None of one."""
    names = list(state.objectives)
    if len(names) < 2:
        return None
    title = f"The Pareto front: {' against '.join(map(named, names))}"
    drawn, mark = (_front, "dot") if len(names) <= MOST_AXES else (_lines, "line")
    completed = [trial for trial in state.trials.values() if trial.status == "completed" and trial.duplicate_of is None]
    front = {trial.trial_id for trial in state.front}
    beaten = [trial for trial in completed if trial.trial_id not in front]
    shown = [*state.front, *thinned(beaten, MOST_POINTS)]
    caption = (
        f"Each {mark} is a trial with its whole training. No other is better than one of the front in an objective "
    )
    caption += "without being worse in another."
    if len(shown) < len(completed):
        caption = f"{len(shown):,} of {len(completed):,} trials: the front and others, evenly drawn. {caption}"
    return Plot(
        name="front",
        title=title,
        caption=caption,
        figure=drawn(state, shown) if completed else None,
        nothing="No trial has completed its training yet.",
    )


def _front(state: RunState, trials: Sequence[Trial]) -> go.Figure:
    study = study_of_values(state, trials)
    names = [_axis(name, direction) for name, direction in state.objectives.items()]
    found = plot_pareto_front(study, target_names=names)
    by_place = {_place(trial, state): trial for trial in trials}
    # It draws those that are beaten first, then the front.
    for trace, name, colour in zip(found.data, ("beaten by one of the front", "the front"), (GREY, RED), strict=True):
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
    return dressed(found, height=460)


def _lines(state: RunState, trials: Sequence[Trial]) -> go.Figure:
    """Parallel coordinates: an axis for each objective, the best of these trials at its top, a line for each trial."""
    values = np.array([_place(trial, state) for trial in trials], float)
    higher = np.array([direction == "maximize" for direction in state.objectives.values()])
    low, high = values.min(axis=0), values.max(axis=0)
    best, worst = np.where(higher, high, low), np.where(higher, low, high)
    heights = 1 - (best - values) / np.where(best == worst, 1, best - worst)
    axes = [*range(len(higher)), None]  # nothing is drawn from one trial's last axis to the next one's first
    front = {trial.trial_id for trial in state.front}
    traces = []
    for name, colour, is_front in (("beaten by one of the front", PALE, False), ("the front", RED, True)):
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
        "<br>".join([*map(text, wrap(named(name), LABEL_WIDTH)), number(bottom), f"to {number(top)}"])
        for name, bottom, top in zip(state.objectives, worst, best, strict=True)
    ]
    found = figure(traces, x="the worst below, the best above", y="", height=480)
    ticks = {"tickvals": axes[:-1], "ticktext": ends, "tickangle": 0, "tickfont": {"size": 11}, "gridcolor": PALE}
    found.update_xaxes(ticks, range=[-0.4, len(higher) - 0.6])
    return found.update_yaxes(visible=False)


def _axis(objective: str, direction: Direction) -> str:
    return f"{text(named(objective))} ({'higher' if direction == 'maximize' else 'lower'} is better)"


def _place(trial: Trial, state: RunState) -> tuple[float | None, ...]:
    return tuple(trial.metric(name) for name in state.objectives)


def costs_against_score(state: RunState, winner: str | None) -> list[Plot]:
    """Parameters, and multiply-adds, against the score; `winner` is a trial's id."""
    metric, _ = score_of(state.objectives)
    ranking = [trial for trial in state.ranking() if trial.costs and trial.metric(metric) is not None]
    shown = thinned(ranking, MOST_POINTS)
    caption = "Each mark is a trial with the score of its last epoch; pruned ones had fewer epochs."
    if len(shown) < len(ranking):
        caption = f"{len(shown):,} of {len(ranking):,} trials, evenly drawn from the ranking. {caption}"
    return [
        Plot(
            name=f"costs-{cost}",
            title=f"{words.capitalize()} against {named(metric)}",
            caption=caption,
            figure=_costs(state, shown, winner, cost, f"{words}{unit}", metric) if shown else None,
            nothing="No trial has a score yet.",
        )
        for cost, words, unit in (("parameters", "parameters", ""), ("macs", "multiply-adds", " for one image"))
    ]


def _costs(state: RunState, trials: Sequence[Trial], winner: str | None, cost: str, x: str, metric: str) -> go.Figure:
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
    return figure(traces, x=x, y=text(named(metric)), showlegend=True, xaxis=axis)


def _label(trial: Trial, state: RunState) -> str:
    values = {**dict.fromkeys(state.objectives), **dict.fromkeys(("parameters", "macs"))}
    lines = [f"trial {trial.trial_id}, {state.status_of(trial)} after {trial.epochs} epochs"]
    return "<br>".join([*lines, *(f"{text(named(name))} {number(trial.metric(name))}" for name in values)])
