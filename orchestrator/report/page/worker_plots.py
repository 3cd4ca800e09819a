"""Plots the timeline of the worker slots."""

from __future__ import annotations

from collections.abc import Sequence

import plotly.graph_objects as go

from orchestrator.record import RunState
from orchestrator.report.page.plot import INDIGO, ORANGE, PALE, SKY, STATUSES, Plot, figure
from orchestrator.report.page.worker_timeline import Break, Stay, assign_lanes, join_stays

MAX_BARS = 2_000
MAX_LISTED_BREAKS = 5
"""The maximal number of breaks that the caption lists."""
SEVERAL = "several trainings"
CONFIRMATION = "confirmation"
ENDINGS = {
    "paused": ("paused by the scheduler", SKY),
    "set_back": ("lost its worker", ORANGE),
    "cut_off": ("stopped with the run", PALE),
}


def timeline(state: RunState, stays: Sequence[Stay], breaks: Sequence[Break] = ()) -> Plot:
    """Plot a bar for each time that a trial was on a worker, without the breaks of the run."""
    in_lanes = assign_lanes(stays)
    bars = [(stay, lane, 1) for stay, lane in zip(stays, in_lanes, strict=True)]
    caption = "One row per slot, one bar per trial; gaps are idle time. Times are UTC."
    if len(stays) > MAX_BARS:
        span = (max(stay.end for stay in stays) - stays[0].begin).total_seconds()
        gap = span / MAX_BARS
        bars = join_stays(stays, in_lanes, gap)
        caption = (
            f"{len(bars):,} bars for {len(stays):,} trainings: bars at most {gap:.1f} s apart are joined. {caption}"
        )
    if breaks:
        times = ", ".join(
            f"{one.begin:%Y-%m-%d %H:%M} to {one.end:%Y-%m-%d %H:%M}" for one in breaks[:MAX_LISTED_BREAKS]
        )
        more = f" and {len(breaks) - MAX_LISTED_BREAKS} more" if len(breaks) > MAX_LISTED_BREAKS else ""
        caption += f" Left out, because the search was not running: {times}{more}."
    groups: dict[str, list[tuple[Stay, int, int]]] = {}
    for bar in bars:
        groups.setdefault(_kind(bar[0], bar[2], state), []).append(bar)
    colours = {name: colour for name, (colour, _) in STATUSES.items()} | dict(ENDINGS.values())
    colours |= {CONFIRMATION: INDIGO, SEVERAL: "#7a99b8"}
    traces = [_bars(name, colours[name], groups[name]) for name in colours if name in groups]
    rows = max(in_lanes, default=0) + 1
    found = None
    if traces:
        found = figure(
            traces,
            x="time (UTC)",
            y="",
            height=80 + max(70, min(1_000, 26 * rows)),
            barmode="overlay",
            showlegend=False,
            bargap=0.25,
            xaxis={
                "type": "date",
                "rangebreaks": [{"bounds": [one.begin.isoformat(), one.end.isoformat()]} for one in breaks],
            },
            yaxis={"autorange": "reversed", "dtick": 1 if rows <= 40 else None, "title": "slot", "showgrid": False},
        )
    return Plot(
        name="timeline",
        title="Use of the worker slots",
        caption=caption,
        figure=found,
        empty_text="No trial has been on a worker yet.",
        legend={name: colour for name, colour in colours.items() if name in groups},
    )


def _kind(stay: Stay, count: int, state: RunState) -> str:
    if count > 1:
        return SEVERAL
    if stay.ending in ENDINGS:
        return ENDINGS[stay.ending][0]
    status = state.status_of(state.find(stay.trial_id))
    return CONFIRMATION if stay.trial_id in state.repeats and status in ("completed", "running") else status


def _bars(name: str, colour: str, bars: Sequence[tuple[Stay, int, int]]) -> go.Bar:
    seconds = [(stay.end - stay.begin).total_seconds() for stay, _, _ in bars]
    labels = [f"trial {stay.trial_id}" if count == 1 else f"{count} trainings" for stay, _, count in bars]
    return go.Bar(
        orientation="h",
        base=[stay.begin.isoformat() for stay, _, _ in bars],
        x=[1_000 * one for one in seconds],
        y=[lane + 1 for _, lane, _ in bars],
        text=[f"{label}, {one:,.1f} s" for label, one in zip(labels, seconds, strict=True)],
        customdata=[stay.trial_id if count == 1 else None for stay, _, count in bars],
        textposition="none",
        name=name,
        marker={"color": colour, "line": {"color": "#ffffff", "width": 0.5}},
        hovertemplate="%{text}<extra>" + name + "</extra>",
    )
