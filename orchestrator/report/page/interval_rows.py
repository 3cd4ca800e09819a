"""Draws candidates one below the other: the mean and the interval of their trainings, beside their score before.

Does not know who trained them: a confirmation and an evaluation are drawn alike.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import plotly.graph_objects as go

from orchestrator.report.page.plot import INK, figure

ROW_HEIGHT = 34
"""In pixels."""


@dataclass(frozen=True, kw_only=True)
class IntervalRow:
    """A candidate with its scores."""

    name: str
    trial_id: str | None
    """None if it is not a trial of this search."""
    colour: str
    mean: float
    interval: tuple[float, float] | None
    scores: Sequence[float]
    """One per training."""
    before: float | None
    """The score in the search, by which the candidate was chosen."""
    label: str


def interval_rows(rows: Sequence[IntervalRow], *, training: str, x: str) -> go.Figure:
    """Draw one row per candidate, the first at the top.

    Args:
        rows: the candidates.
        training: the name of one training.
        x: the title of the axis, escaped.
    """
    names, trials = [row.name for row in rows], [row.trial_id for row in rows]
    traces = [line(row.interval or (None, None), (row.name, row.name), row.colour) for row in rows]
    traces += [
        marks(
            f"one {training}",
            [score for row in rows for score in row.scores],
            [row.name for row in rows for _ in row.scores],
            {"color": "#ffffff", "size": 7, "line": {"color": INK, "width": 1}},
            "%{y}: %{x:.4f}",
        ),
        marks(
            "score in the search",
            [row.before for row in rows],
            names,
            {"color": INK, "symbol": "diamond-open", "size": 11},
            "%{y} in the search: %{x:.4f}",
            trials=trials,
        ),
        marks(
            f"mean of the {training}s",
            [row.mean for row in rows],
            names,
            {"color": [row.colour for row in rows], "size": 13, "line": {"color": "#ffffff", "width": 1}},
            "%{text}",
            labels=[row.label for row in rows],
            trials=trials,
        ),
    ]
    axis = {"type": "category", "autorange": "reversed", "categoryorder": "array", "categoryarray": names}
    return figure(traces, x=x, y="", height=130 + ROW_HEIGHT * len(names), yaxis=axis)


def line(x: Sequence[Any], y: Sequence[Any], colour: str) -> go.Scatter:
    """Draw an interval."""
    return go.Scatter(
        x=list(x), y=list(y), mode="lines", line={"color": colour, "width": 3}, hoverinfo="skip", showlegend=False
    )


def marks(
    name: str,
    x: Sequence[Any],
    y: Sequence[Any],
    marker: Mapping[str, Any],
    hover: str,
    *,
    labels: Sequence[str] | None = None,
    trials: Sequence[str | None] | None = None,
) -> go.Scatter:
    """Draw points of one kind; `trials` are the ids of their trials."""
    return go.Scatter(
        x=list(x),
        y=list(y),
        text=labels,
        customdata=trials,
        mode="markers",
        name=name,
        marker=dict(marker),
        hovertemplate=f"{hover}<extra></extra>",
        showlegend=True,
    )
