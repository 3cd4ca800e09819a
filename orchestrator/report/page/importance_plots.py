"""Plots which decisions and operations mattered, from the results of `importance`."""

from __future__ import annotations

import math

import plotly.graph_objects as go

from orchestrator.record import RunInfo
from orchestrator.report.importance import MIN_TRIALS, Effect, Importance, Importances
from orchestrator.report.page.plot import BLUE, INK, PALE, Plot, figure, metric_label, text
from orchestrator.words import counted

MAX_DECISIONS = 12


def importance_plots(found: Importances | None, info: RunInfo) -> list[Plot]:
    """Draw two plots for each objective, or one empty plot that says why there is nothing to show.

    Args:
        found: None for an evaluation.
        info: of the run; intervals end at the bounds of its scores.
    """
    if found is None or not found.objectives:
        trials = 0 if found is None else found.trials
        few = f"{counted(trials, 'trial')} with a score, too few to show which decisions mattered"
        return [
            Plot(
                name="decisions",
                title="Which decisions mattered",
                caption="",
                figure=None,
                empty_text=f"{few}; {MIN_TRIALS} are needed.",
            )
        ]
    return [plot for place, one in enumerate(found.objectives) for plot in _plots(one, found, place=place, info=info)]


def _plots(one: Importance, found: Importances, *, place: int, info: RunInfo) -> list[Plot]:
    objective = metric_label(one.objective)
    compared = (
        f"{found.trials:,} trials, each compared with those suggested at about the same time, after the last epoch "
        "that both reached"
    )
    low, high = info.bounds_of(one.objective) or (-math.inf, math.inf)
    significant = [effect for effect in one.decisions if not effect.is_noise][:MAX_DECISIONS]
    effects = [*one.groups, *significant]
    note = "" if significant else " No single decision is more than noise."
    return [
        Plot(
            name=f"decisions-{place}",
            title=f"Which decisions mattered for {objective}",
            caption=f"The share of the differences that each decision explains ({compared}). The tick marks the "
            f"share that chance exceeds in one of 20 searches. Pale bars are no more than noise.{note}",
            figure=_effects(effects, len(one.groups)),
        ),
        Plot(
            name=f"operations-{place}",
            title=f"Mean {objective} by operation",
            caption="The mean over the trials that use an operation, with its 95 % interval, after epoch "
            f"{found.epoch}, the latest that all reached. Hollow marks: the difference from the "
            f"other trials is no more than noise ({compared}).",
            figure=_operations(one, low, high),
            empty_text="No operation was used.",
        ),
    ]


def _effects(effects: list[Effect], groups: int) -> go.Figure:
    names = [f"all {text(one.name)}" if place < groups else text(one.name) for place, one in enumerate(effects)]
    bars = go.Bar(
        orientation="h",
        y=names,
        x=[max(0.0, one.share) for one in effects],
        marker={"color": [PALE if one.is_noise else BLUE for one in effects]},
        text=[f"share {one.share:.0%}, by chance {one.by_chance:.0%}, p = {one.p:.3f}" for one in effects],
        textposition="none",
        hovertemplate="%{y}: %{text}<extra></extra>",
        showlegend=False,
    )
    chance = go.Scatter(
        y=names,
        x=[max(0.0, one.by_chance) for one in effects],
        mode="markers",
        marker={"symbol": "line-ns", "size": 14, "line": {"width": 2, "color": INK}},
        hoverinfo="skip",
        name="by chance in one of 20 searches",
        showlegend=False,
    )
    height = 90 + 26 * len(effects)
    axis = {"autorange": "reversed", "showgrid": False}
    return figure([bars, chance], x="share of the differences", y="", height=height, yaxis=axis, xaxis_tickformat=".0%")


def _operations(one: Importance, low: float, high: float) -> go.Figure | None:
    used = [use for use in one.operations if use.mean is not None]
    if not used:
        return None
    dots = go.Scatter(
        y=[text(use.name) for use in used],
        x=[use.mean for use in used],
        error_x={
            "type": "data",
            "symmetric": False,
            "array": [min(use.margin or 0.0, high - (use.mean or 0.0)) for use in used],
            "arrayminus": [min(use.margin or 0.0, (use.mean or 0.0) - low) for use in used],
            "color": "#7a99b8",
            "thickness": 2,
        },
        mode="markers",
        marker={
            "size": 10,
            "color": ["#ffffff" if use.is_noise else BLUE for use in used],
            "line": {"color": BLUE, "width": 2},
        },
        text=[counted(use.trials, "trial") + ("" if use.p is None else f", p = {use.p:.3f}") for use in used],
        hovertemplate="%{y}: %{x:.4f} (%{text})<extra></extra>",
        showlegend=False,
    )
    axis = {"autorange": "reversed"}
    return figure([dots], x=f"mean {text(metric_label(one.objective))}", y="", height=90 + 26 * len(used), yaxis=axis)
