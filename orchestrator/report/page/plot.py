"""What all plots of a page have in common: how they look, how many things they draw, and what stands where one is not.

Plots are plotly's figures. Knows no run.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from typing import Any, TypeVar

import plotly.graph_objects as go

# After Okabe and Ito (2008), to be told apart by the colour-blind too.
BLUE, ORANGE, GREEN, RED, PURPLE, SKY = "#0072b2", "#e69f00", "#009e73", "#d55e00", "#cc79a7", "#56b4e9"
GREY, PALE, INK = "#8a929c", "#c9ced5", "#1c2733"

STATUSES = {
    "completed": (BLUE, "circle"),
    "pruned": (GREY, "circle-open"),
    "running": (GREEN, "diamond"),
    "paused": (SKY, "diamond-open"),
    "waiting": (SKY, "diamond-open"),
    "unfinished": (ORANGE, "diamond-open"),
    "diverged": (PURPLE, "x"),
    "failed": (RED, "x"),
}
"""Of a trial's status, in the order of legends: its colour, and its marker for those to whom colours say little."""

METRICS = {
    "val_accuracy": "validation accuracy",
    "val_loss": "validation loss",
    "macs": "multiply-adds for one image",
    "activation_bytes": "activation bytes",
    "latency_seconds": "latency in seconds",
}
"""Ours in words; those of a user's own are shown as they are called."""

FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif"

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class Plot:
    """
    Args:
        name: unique on the page; letters and dashes.
        title: what it shows.
        caption: how to read it, and of how many things how many are drawn.
        figure: None where there is nothing to show.
        nothing: what is said in its place then.
        legend: colours by what they mean, where there are too many for plotly's legend on a narrow page.
    """

    name: str
    title: str
    caption: str
    figure: go.Figure | None
    nothing: str = ""
    legend: Mapping[str, str] = field(default_factory=dict)


def figure(traces: Sequence[Any], *, x: str, y: str, height: int = 380, **layout: Any) -> go.Figure:
    """A figure in the page's looks.

    Args:
        x, y: the axes' titles, escaped, with units.
        height: in pixels; the width is the page's.
        layout: more of plotly's layout.
    """
    return dressed(go.Figure(list(traces)), height).update_layout(xaxis_title=x, yaxis_title=y, **layout)


def dressed(found: go.Figure, height: int) -> go.Figure:
    """The figure in the page's looks; its heading is the page's."""
    axis: dict[str, Any] = {
        "gridcolor": "#e6e9ed",
        "linecolor": PALE,
        "zerolinecolor": PALE,
        "ticks": "outside",
        "tickcolor": PALE,
    }
    # No margin for what is to come: labels that need more room take it.
    axis |= {"automargin": True, "title_standoff": 8}
    found.update_layout(
        template=go.layout.Template(layout={"xaxis": axis, "yaxis": axis}),
        title=None,
        height=height,
        margin={"l": 56, "r": 16, "t": 30, "b": 48},
        font={"family": FONT, "size": 13, "color": INK},
        paper_bgcolor="#ffffff",
        plot_bgcolor="#ffffff",
        hovermode="closest",
        hoverlabel={"bgcolor": "#ffffff", "font": {"family": FONT, "color": INK}, "bordercolor": PALE},
        legend={"orientation": "h", "x": 0, "xanchor": "left", "y": 1.02, "yanchor": "bottom"},
    )
    return found


def whole(most: float) -> dict[str, Any]:
    """Of an axis that counts from 0 or 1 to `most`: ticks at whole numbers only."""
    return {"dtick": 1} if most <= 10 else {}


def around(value: float) -> list[float]:
    """Of an axis on which everything has one value, for which plotly would take it ± 1."""
    room = abs(value) / 10 or 1.0
    return [value - room, value + room]


def thinned(items: Sequence[T], most: int) -> list[T]:
    """At most so many, evenly drawn from the first to the last; all where there are no more."""
    if len(items) <= most:
        return list(items)
    return [items[round(place * (len(items) - 1) / (most - 1))] for place in range(most)]


def named(metric: str) -> str:
    """A metric as people call it."""
    return METRICS.get(metric, metric)


def text(value: object) -> str:
    """As plotly shows it and nothing else: it takes some of HTML in texts for itself."""
    return escape(str(value))
