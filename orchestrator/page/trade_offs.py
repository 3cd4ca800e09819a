"""What candidates cost against how they score: the Pareto front, parameters and multiply-adds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import plotly.graph_objects as go
from optuna.visualization import plot_pareto_front

from orchestrator.events import Direction
from orchestrator.page.plot import GREY, INK, RED, STATUSES, Plot, dressed, figure, named, text, thinned
from orchestrator.progress import number
from orchestrator.run_state import RunState, Trial
from orchestrator.study_replay import study_of_values
from orchestrator.trainings import score_of

MOST_POINTS = 2_000


def pareto_front(state: RunState) -> Plot | None:
    """Of two or three objectives, by `optuna.visualization`; None with one objective."""
    names = list(state.objectives)
    if len(names) < 2:
        return None
    title = f"The Pareto front: {' against '.join(map(named, names))}"
    if len(names) > 3:
        nothing = f"There are {len(names)} objectives, and no plot of more than three; the leaderboard marks the front."
        return Plot(name="front", title=title, caption="", figure=None, nothing=nothing)
    completed = [trial for trial in state.trials.values() if trial.status == "completed" and trial.duplicate_of is None]
    front = {trial.trial_id for trial in state.front}
    beaten = [trial for trial in completed if trial.trial_id not in front]
    shown = [*state.front, *thinned(beaten, MOST_POINTS)]
    caption = "Each dot is a trial with its whole training. No other is better than one of the front in an objective "
    caption += "without being worse in another."
    if len(shown) < len(completed):
        caption = f"{len(shown):,} of {len(completed):,} trials: the front and others, evenly drawn. {caption}"
    return Plot(
        name="front",
        title=title,
        caption=caption,
        figure=_front(state, shown) if completed else None,
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
