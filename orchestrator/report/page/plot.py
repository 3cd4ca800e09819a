"""What all plots of a page share: their style, their limits, and the text shown in place of an empty plot.

Plots are plotly figures. Does not know runs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from typing import Any, Literal, TypeVar

import plotly.graph_objects as go

# From Okabe and Ito (2008): colour-blind readers can distinguish them too.
BLUE, ORANGE, GREEN, RED, PURPLE, SKY = "#0072b2", "#e69f00", "#009e73", "#d55e00", "#cc79a7", "#56b4e9"
INDIGO = "#332288"
"""From Tol's palette for colour-blind readers (2021)."""
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
"""The colour and the marker of each status, in the order of legends."""

MAX_POINTS = 2_000
"""Limit of the trials that a scatter plot shows."""

METRICS = {
    "val_accuracy": "validation accuracy",
    "val_loss": "validation loss",
    "macs": "multiply-adds for one image",
    "activation_bytes": "activation bytes",
    "latency_seconds": "latency in seconds",
}
"""Labels of our metrics; a user's metrics are shown by their names."""

FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif"

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class Plot:
    """A plot with its texts."""

    name: str
    """Unique on the page; letters and dashes."""
    title: str
    caption: str
    """How to read the plot, and what part of the data it shows."""
    figure: go.Figure | None
    """None if there is nothing to show."""
    empty_text: str = ""
    """Shown in place of the figure if that is None."""
    error_axis: Literal["offered", "first"] | None = None
    """Whether the reader may see 1 - y on a log scale, or sees that first. None: y is not a share of 1."""
    legend: Mapping[str, str] = field(default_factory=dict)
    """Colours by their meaning, if there are too many for plotly's legend on a narrow page."""


def figure(traces: Sequence[Any], *, x: str, y: str, height: int = 380, **layout: Any) -> go.Figure:
    """Create a figure in the style of the page.

    Args:
        traces: plotly traces.
        x, y: the titles of the axes, escaped, with units.
        height: in pixels; the width is that of the page.
        layout: further layout settings of plotly.
    """
    return apply_style(go.Figure(list(traces)), height).update_layout(xaxis_title=x, yaxis_title=y, **layout)


def apply_style(found: go.Figure, height: int) -> go.Figure:
    """Apply the style of the page to a figure, and return it; the page shows the title itself."""
    axis: dict[str, Any] = {
        "gridcolor": "#e6e9ed",
        "linecolor": PALE,
        "zerolinecolor": PALE,
        "ticks": "outside",
        "tickcolor": PALE,
    }
    # Reserve no margin in advance: plotly enlarges it for labels that need more room.
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


def integer_ticks(end: float) -> dict[str, Any]:
    """Return axis settings that put ticks at integers only, for an axis that counts up to `end`."""
    return {"dtick": 1} if end <= 10 else {}


def axis_of(values: Sequence[float]) -> dict[str, Any]:
    """Return the settings of an axis for these values: a log scale if they span more than a power of ten."""
    return {"type": "log", "dtick": "D2"} if values and min(values) > 0 and max(values) >= 10 * min(values) else {}


def range_around(value: float, *, is_share: bool) -> list[float]:
    """Return an axis range for a single value, at most 1 if `is_share`; plotly's own would be the value ± 1."""
    margin = abs(value) / 10 or 1.0
    return [value - margin, min(value + margin, 1.0) if is_share else value + margin]


def thinned(items: Sequence[T], count: int) -> list[T]:
    """Return at most `count` items, evenly spaced from the first to the last."""
    if len(items) <= count:
        return list(items)
    return [items[round(place * (len(items) - 1) / (count - 1))] for place in range(count)]


def metric_label(metric: str) -> str:
    """Return the label of a metric."""
    return METRICS.get(metric, metric)


def text(value: object) -> str:
    """Return the value as text for plotly, escaped because plotly interprets some HTML."""
    return escape(str(value))
