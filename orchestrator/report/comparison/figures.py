"""Plots a comparison: best scores, best scores over trials and over time, and Pareto fronts. Does not know HTML."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import plotly.graph_objects as go

from orchestrator.progress import number
from orchestrator.report.comparison.best_so_far import BestSoFar, MeanCurve
from orchestrator.report.comparison.compare import Comparison
from orchestrator.report.comparison.groups import Group
from orchestrator.report.comparison.runs import ComparedRun
from orchestrator.report.comparison.tables import scores_in_words
from orchestrator.report.page.curves import UNITS
from orchestrator.report.page.plot import BLUE, GREEN, ORANGE, PURPLE, RED, SKY, Plot, figure, text

COLOURS = (BLUE, RED, GREEN, ORANGE, PURPLE, SKY)
DASHES = ("solid", "dash", "dot")
SYMBOLS = ("circle", "square", "diamond")
"""Dashes and symbols change when the colours are used up, so that 18 groups look different."""

NO_SCORE = "No trial has completed its training yet."
MEANS = (
    "Thick lines: the mean over the seeds of a group, with its 95 % interval (Student's t), which may extend beyond "
    "the plot. The mean starts where all runs of the group have a score, and ends where an unfinished run ends; a "
    "finished run keeps its best. Thin lines: single runs. A group with one seed has one line and no interval. All "
    "scores are those of the searches, without their confirmations."
)


def plots(comparison: Comparison) -> list[Plot]:
    """Plot the best scores, the best so far against trials and time, and with several objectives the Pareto fronts."""
    groups = [group for group in comparison.groups if group.bests]
    longest = max((search.seconds for group in groups for search in group.searches), default=0.0)
    unit, unit_name = next(unit for unit in UNITS if longest >= 2 * unit[0] or unit[0] == 1)
    by_trials = _curves(
        groups, mean=lambda group: group.by_trials, single=lambda search: search.history.by_trials, unit=1.0
    )
    by_seconds = _curves(
        groups, mean=lambda group: group.by_seconds, single=lambda search: search.history.by_seconds, unit=unit
    )
    style: dict[str, Any] = {
        "y": f"best {text(comparison.metric)} so far",
        "yaxis_range": _range(groups),
        "xaxis_rangemode": "tozero",
    }
    return [
        Plot(
            name="bests",
            title=f"{scores_in_words(comparison)} of each run",
            caption="One mark per seed. Groups with several seeds also show the mean with its 95 % interval.",
            figure=_bests(groups, comparison) if groups else None,
            empty_text=NO_SCORE,
        ),
        Plot(
            name="best-by-trials",
            title="Best so far against trials",
            caption=f"{MEANS} A trial counts when it ends; pruned trials count too.",
            figure=figure(by_trials, x="trials trained", **style) if groups else None,
            empty_text=NO_SCORE,
        ),
        Plot(
            name="best-by-time",
            title="Best so far against time",
            caption=f"{MEANS} Time in which a search did not run is left out. Compare times on like machines only.",
            figure=figure(by_seconds, x=f"{unit_name} of search", **style) if groups else None,
            empty_text=NO_SCORE,
        ),
        *(_front(groups, comparison, other) for other in list(comparison.objectives)[1:]),
    ]


def _range(groups: Sequence[Group]) -> tuple[float, float] | None:
    """Return the range of all scores, without the intervals: that of two seeds can be many times as wide."""
    scores = [score for group in groups for search in group.searches for score in search.history.by_trials.scores]
    if not scores:
        return None
    margin = 0.06 * (max(scores) - min(scores)) or 0.01
    return min(scores) - margin, max(scores) + margin


def _bests(groups: Sequence[Group], comparison: Comparison) -> go.Figure:
    traces = []
    for place, group in enumerate(groups):
        runs = [search for search in group.searches if search.best is not None]
        traces.append(
            go.Scatter(
                x=[place] * len(runs),
                y=[search.best for search in runs],
                text=[f"{text(search.location)}, seed {search.seed}" for search in runs],
                mode="markers",
                name=text(group.label),
                marker={"color": _colour(place), "symbol": _symbol(place), "size": 9, "opacity": 0.8},
                hovertemplate="%{y:.4f} %{text}<extra></extra>",
                showlegend=False,
            )
        )
        mean = group.best
        if mean is not None and mean.interval is not None:
            traces.append(
                go.Scatter(
                    x=[place + 0.2],
                    y=[mean.mean],
                    error_y={
                        "type": "constant",
                        "symmetric": False,
                        "value": mean.interval[1] - mean.mean,
                        "valueminus": mean.mean - mean.interval[0],
                        "width": 8,
                        "thickness": 2,
                    },
                    mode="markers",
                    name=f"mean of {text(group.label)}",
                    marker={"color": _colour(place), "symbol": "line-ew-open", "size": 18, "line": {"width": 3}},
                    hovertemplate=f"mean %{{y:.4f}}, 95 % interval {number(mean.interval[0])} to "
                    f"{number(mean.interval[1])}<extra></extra>",
                    showlegend=False,
                )
            )
    names = {"tickvals": list(range(len(groups))), "ticktext": [text(group.label) for group in groups]}
    x_axis = {**names, "range": [-0.6, len(groups) - 0.2], "showgrid": False, "zeroline": False}
    return figure(traces, x="", y=text(scores_in_words(comparison).lower()), xaxis=x_axis)


def _curves(
    groups: Sequence[Group],
    *,
    mean: Callable[[Group], MeanCurve],
    single: Callable[[ComparedRun], BestSoFar],
    unit: float,
) -> list[go.Scatter]:
    traces: list[go.Scatter] = []
    for place, group in enumerate(groups):
        runs = [search for search in group.searches if single(search).places]
        alone, shared = len(runs) == 1, mean(group)
        style = {"legendgroup": str(place), "mode": "lines"}
        line: dict[str, Any] = {"color": _colour(place), "dash": _dash(place), "shape": "hv"}
        for index, search in enumerate(runs):
            curve = single(search)
            traces.append(
                go.Scatter(
                    x=[x / unit for x in (*curve.places, curve.end)],
                    y=[*curve.scores, curve.scores[-1]],
                    name=text(group.label),
                    line={**line, "width": 2.5 if alone else 1},
                    opacity=1 if alone else 0.35,
                    hovertemplate=f"%{{y:.4f}} {text(search.location)}, seed {search.seed}<extra></extra>",
                    showlegend=index == 0 and (alone or not shared.places),
                    **style,
                )
            )
        if not alone and shared.places:
            traces += _mean(shared, name=text(group.label), unit=unit, line=line, style=style)
    return traces


def _mean(curve: MeanCurve, *, name: str, unit: float, line: dict[str, Any], style: dict[str, str]) -> list[go.Scatter]:
    """Plot the interval as a band, and the mean on top of it."""
    x = [place / unit for place in curve.places]
    intervals = [mean.interval or (mean.mean, mean.mean) for mean in curve.means]
    no_line = {**line, "width": 0}
    shade = _shade(str(line["color"]))
    hidden = {"hoverinfo": "skip", "showlegend": False, "name": f"interval of {name}"}
    return [
        go.Scatter(x=x, y=[low for low, _ in intervals], line=no_line, **hidden, **style),
        go.Scatter(
            x=x, y=[high for _, high in intervals], line=no_line, fill="tonexty", fillcolor=shade, **hidden, **style
        ),
        go.Scatter(
            x=x,
            y=[mean.mean for mean in curve.means],
            name=name,
            line={**line, "width": 3},
            hovertemplate=f"mean %{{y:.4f}} {name}<extra></extra>",
            **style,
        ),
    ]


def _front(groups: Sequence[Group], comparison: Comparison, other: str) -> Plot:
    """Plot the fronts of all runs in the first objective and `other`."""
    traces = []
    for place, group in enumerate(groups):
        x: list[float | None] = []
        y: list[float | None] = []
        labels: list[str | None] = []
        for search in group.searches:
            front = sorted(search.state.front, key=lambda trial: trial.metric(other) or 0)
            x += [*(trial.metric(other) for trial in front), None]
            y += [*(trial.metric(comparison.metric) for trial in front), None]
            labels += [*(f"{text(search.location)}, trial {trial.trial_id}" for trial in front), None]
        traces.append(
            go.Scatter(
                x=x,
                y=y,
                text=labels,
                mode="lines+markers",
                name=text(group.label),
                line={"color": _colour(place), "dash": _dash(place), "width": 1},
                marker={"color": _colour(place), "symbol": _symbol(place), "size": 8},
                connectgaps=False,
                hovertemplate=f"{text(other)} %{{x}}<br>{text(comparison.metric)} %{{y}}<br>%{{text}}<extra></extra>",
            )
        )
    count = len(comparison.objectives)
    projected = "" if count == 2 else f" Two of {count} objectives are drawn, so a point may look dominated here."
    return Plot(
        name=f"front-{other.replace('_', '-')}",
        title=f"Pareto fronts: {comparison.metric} against {other}",
        caption=f"Each mark is a completed trial that no other trial of its run dominates.{projected}",
        figure=figure(traces, x=text(other), y=text(comparison.metric), height=460) if traces else None,
        empty_text=NO_SCORE,
    )


def _colour(place: int) -> str:
    return COLOURS[place % len(COLOURS)]


def _dash(place: int) -> str:
    return DASHES[place // len(COLOURS) % len(DASHES)]


def _symbol(place: int) -> str:
    return SYMBOLS[place // len(COLOURS) % len(SYMBOLS)]


def _shade(colour: str) -> str:
    red, green, blue = (int(colour[place : place + 2], 16) for place in (1, 3, 5))
    return f"rgba({red}, {green}, {blue}, 0.15)"
