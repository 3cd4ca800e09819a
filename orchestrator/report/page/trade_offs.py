"""Plots the costs of candidates against their scores."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import plotly.graph_objects as go

from orchestrator.record import RunState, Trial, score_of
from orchestrator.report.page.fronts import trial_text
from orchestrator.report.page.plot import (
    INK,
    MAX_POINTS,
    STATUSES,
    Plot,
    axis_of,
    figure,
    metric_label,
    text,
    thinned,
)


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
                    text=[trial_text(trial, state) for trial in members],
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
    axis = axis_of([trial.costs[cost] for trial in trials])
    return figure(traces, x=x, y=text(metric_label(metric)), showlegend=True, xaxis=axis)
