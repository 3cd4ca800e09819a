"""Collects what the page of a run shows, as values. Holds no HTML except drawings, whose text is escaped."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePath

from orchestrator.config import make_scheduler, parse_config, search_file
from orchestrator.errors import ConfigError, RunDirectoryError
from orchestrator.progress import clock, number
from orchestrator.record import ConfirmedCandidate, Retrained, RunState, Trial, score_of
from orchestrator.report.changes import changes_of
from orchestrator.report.confirmation import confirmed_candidates, range_in_words
from orchestrator.report.drawing import svg
from orchestrator.report.importance import importances
from orchestrator.report.page.confirmation_plots import confirmation_plot
from orchestrator.report.page.curves import Trajectory, best_so_far, learning_curves, trajectory_of
from orchestrator.report.page.importance_plots import importance_plots
from orchestrator.report.page.plot import Plot, metric_label
from orchestrator.report.page.problems import Problem, problems_of
from orchestrator.report.page.record import PageRecord
from orchestrator.report.page.summary import Summary, retrain_command, summary_of
from orchestrator.report.page.trade_offs import costs_against_score, pareto_front
from orchestrator.report.page.worker_plots import timeline
from orchestrator.schedulers import SCHEDULERS
from search_spaces import Architecture

MAX_ROWS = 500
"""The maximal number of rows in the leaderboard; each has drawings."""


@dataclass(frozen=True)
class Value:
    """A cell of a table."""

    text: str
    sort: float | str
    """The sort key: the number itself, or the text."""


@dataclass(frozen=True)
class Drawing:
    """A drawing of a cell, with the role of the cell."""

    role: str
    svg: str


@dataclass(frozen=True, kw_only=True)
class Row:
    """A trial of the leaderboard."""

    trial_id: str
    completed: bool
    """Whether it had its whole training."""
    values: Sequence[Value]
    svg: str
    """Small drawings of its cells."""
    command: str | None
    """Retrains the trial; None while the search cannot be retrained."""


@dataclass(frozen=True)
class Column:
    """A column of the leaderboard."""

    name: str
    best_last: bool = False
    """Whether large values are the better ones, so that a first click sorts them to the top."""


@dataclass(frozen=True, kw_only=True)
class Leaderboard:
    """The best trials."""

    columns: Sequence[Column]
    order: str
    """Says what comes first."""
    rows: Sequence[Row]
    scored: int
    """The number of trials that have a score."""
    front_drawings: dict[str, str]
    """Drawings of the trials on the front that have no row, by trial id; plots show them."""


@dataclass(frozen=True, kw_only=True)
class Content:
    """Everything on the page of a run."""

    title: str
    """The name of the run."""
    location: str
    read_at: str
    """When the record was read."""
    refreshing: bool
    """Whether the run is still running."""
    summary: Summary
    winner: Sequence[Drawing]
    """Large drawings of the winner's cells."""
    legend: dict[str, str]
    """The colours of operations, by their meaning."""
    leaderboard: Leaderboard
    retrained: Sequence[Sequence[str]]
    """Rows of text for the retrained networks; the first row is the head."""
    plots: dict[str, Sequence[Plot]]
    """Plots by the section they are in."""
    problems: Sequence[Problem]
    """The most frequent first, infeasible candidates last."""
    set_back: dict[str, int]
    """How often trials lost their worker and continued, by cause."""
    facts: dict[str, str]
    """Where and with what the run was made, such as host, commit and versions."""
    passed: dict[str, str]
    """What was passed in Python, by its section in the search file, which cannot name it."""
    search_file: str
    """The whole configuration as TOML."""
    command: str
    """The command that last started the run."""


def content_of(record: PageRecord) -> Content:
    """Collect what the page of a run shows."""
    state = record.state
    summary = summary_of(record)
    board = _leaderboard(record)
    winner = None if summary.winner is None else _architecture(state.trials[summary.winner])
    drawn = [_architecture(trial) for trial in state.ranking()[:MAX_ROWS]]
    front = pareto_front(state)
    metric, direction = next(iter(state.objectives.items()), ("val_accuracy", "maximize"))
    return Content(
        title=str(record.info.config.get("run", {}).get("name", "search")),
        location=record.location,
        read_at=f"{record.read_at:%Y-%m-%d %H:%M:%S} UTC",
        refreshing=record.standing == "running",
        summary=summary,
        winner=[] if winner is None else [Drawing(role, svg.large(cell, role)) for role, cell in svg.roles(winner)],
        legend=svg.families(drawn),
        leaderboard=board,
        retrained=_retrained(record.follow_ups.retrained),
        plots={
            "curves": [learning_curves(state, rungs_of(record), summary.winner)],
            "best": best_so_far(_trajectories(record), metric, direction),
            "confirmation": [confirmation_plot(record)],
            "front": [] if front is None else [front],
            "timeline": [timeline(state, record.stays, record.breaks)],
            "importance": importance_plots(importances(state), record.info),
            "costs": costs_against_score(state, summary.winner),
        },
        problems=problems_of(state),
        set_back=_set_back(state),
        facts=_facts(record),
        passed={section: str(one) for section, one in record.info.passed.items()},
        search_file=search_file(record.info.config),
        command=_command(record.info.command),
    )


def rungs_of(record: PageRecord) -> tuple[int, ...]:
    """Return the epochs at which one of our schedulers decides.

    Empty for a scheduler of the user's own, because its module is not imported here.
    """
    try:
        config = parse_config(record.info.config, "run.json")
        if config.scheduler.name not in SCHEDULERS:
            return ()
        scheduler = make_scheduler(config.scheduler, config.training.epochs, config.objectives.directions)
    except ConfigError:  # of another version: show its curves without rungs
        return ()
    return tuple(getattr(scheduler, "milestones", None) or ())


def _leaderboard(record: PageRecord) -> Leaderboard:
    state = record.state
    ranking, confirmed = state.ranking(), confirmed_candidates(state)
    front = _front(state, confirmed)
    scores = list(dict.fromkeys(["val_accuracy", *state.objectives]))
    scores = [name for name in scores if name not in ("parameters", "macs")]
    metric, _ = score_of(state.objectives)
    several = len(state.objectives) > 1
    rows = []
    for rank, trial in enumerate(ranking[:MAX_ROWS], start=1):
        values = [
            Value(str(rank), rank),
            Value(trial.trial_id, trial.trial_id),
            Value(state.status_of(trial), state.status_of(trial)),
            *(_confirmed(trial, confirmed, metric) if confirmed else []),
            *(_number(trial.metric(name)) for name in scores),
            *([_text(front.get(trial.trial_id, ""))] if several else []),
            Value(str(trial.epochs), trial.epochs),
            Value("-", "") if trial.parameters is None else Value(f"{trial.parameters:,}", trial.parameters),
            Value("-", "") if trial.macs is None else Value(f"{trial.macs / 1e6:,.2f} M", float(trial.macs)),
            Value(clock(trial.train_seconds), trial.train_seconds),
        ]
        rows.append(
            Row(
                trial_id=trial.trial_id,
                completed=trial.status == "completed",
                values=values,
                svg=_small(trial),
                command=retrain_command(record, trial),
            )
        )
    rises = {name: state.objectives.get(name, "maximize") == "maximize" for name in (*scores, metric)}
    columns = [Column("rank"), Column("trial"), Column("status")]
    if confirmed:
        columns += [Column("confirmation"), Column("mean", rises[metric]), Column("95 % interval", rises[metric])]
    labels = [Column(f"{metric_label(name)}{' in the search' if confirmed else ''}", rises[name]) for name in scores]
    listed = {row.trial_id for row in rows}
    return Leaderboard(
        columns=[
            *columns,
            *labels,
            *([Column("on the front", best_last=True)] if several else []),
            Column("epochs", best_last=True),
            *map(Column, ("parameters", "multiply-adds", "training time")),
        ],
        order=CONFIRMED_FIRST.format(metric_label(metric)) if confirmed else "Completed trials come first.",
        rows=rows,
        scored=len(ranking),
        front_drawings={trial.trial_id: _small(trial) for trial in state.front if trial.trial_id not in listed},
    )


CONFIRMED_FIRST = (
    "The candidates of the confirmation come first, with the mean and the interval of {} in their new trainings; then "
    "the other completed trials."
)


def _confirmed(trial: Trial, confirmed: Mapping[str, ConfirmedCandidate], metric: str) -> list[Value]:
    """The cells of a trial in a confirmation: what it says, the mean and the interval."""
    found = confirmed.get(trial.trial_id)
    if found is None or found.problem is not None:
        return [_text("" if found is None else "out"), _number(None), Value("-", "")]
    score = found.scores[metric]
    words = "may be as good" if found.in_doubt else "behind"
    return [
        _text("the winner" if found is next(iter(confirmed.values())) else words),
        _number(score.mean),
        Value(range_in_words(score.interval), "" if score.interval is None else score.interval[0]),
    ]


def _front(state: RunState, confirmed: Mapping[str, ConfirmedCandidate]) -> dict[str, str]:
    """What is known of each trial's place on the Pareto front; a trial without an entry is not on it."""
    before = {trial.trial_id: "unconfirmed" if confirmed else "yes" for trial in state.front}
    return before | {
        name: "out" if one.problem is not None else "yes" if one.on_front else "in doubt" if one.in_doubt else ""
        for name, one in confirmed.items()
    }


def _small(trial: Trial) -> str:
    return svg.small(_architecture(trial), f"trial {trial.trial_id}")


def _architecture(trial: Trial) -> Architecture:
    try:
        return Architecture.from_json(trial.architecture)
    except ValueError as error:
        raise RunDirectoryError(f"the recorded architecture of trial {trial.trial_id} is invalid: {error}") from error


def _text(value: str) -> Value:
    return Value(value, value)


def _number(value: float | None) -> Value:
    return Value(number(value), "" if value is None else float(value))


def _trajectories(record: PageRecord) -> dict[str, Trajectory]:
    until = record.read_at if record.standing == "running" else None
    trajectories = {"this search": trajectory_of(record.state, record.breaks, until)}
    if record.sample is not None:
        trajectories["random search of equal cost"] = trajectory_of(*record.sample)
    return trajectories


def _retrained(found: dict[str, Retrained]) -> list[list[str]]:
    if not found:
        return []
    rows = [
        ["network", "test accuracy", "seeds", "parameters", "multiply-adds", "latency", "epochs", "training time", ""]
    ]
    for name, one in found.items():
        spread = "" if one.deviation is None else f" ± {one.deviation:.4f}"
        rows.append(
            [
                name,
                "not tested" if one.accuracy is None else f"{one.accuracy:.4f}{spread}",
                str(len(one.seeds)),
                f"{one.parameters:,}",
                f"{one.macs / 1e6:,.2f} M",
                "-" if one.latency_seconds is None else f"{one.latency_seconds * 1e3:.2f} ms",
                f"{one.epochs:g}",
                clock(one.train_seconds),
                _note(one),
            ]
        )
    return rows


def _note(one: Retrained) -> str:
    notes = []
    if one.tested_at is not None:
        notes.append(f"tested {one.tested_at:%Y-%m-%d} on {one.device}")
    if one.test_number is not None and one.test_number > 1:
        notes.append(f"test {one.test_number} of this network, so not independent evidence")
    if one.freeze:
        notes.append("only its classifier was trained")
    elif one.weights is not None:
        notes.append("started from given weights")
    return "; ".join(notes)


def _command(words: Sequence[str]) -> str:
    """Return the command as typed, without the program's folder; empty for code without a file (`python -c`)."""
    if not words or words[0].startswith("-"):
        return ""
    return shlex.join([PurePath(word).name if place == 0 else word for place, word in enumerate(words)])


def _set_back(state: RunState) -> dict[str, int]:
    causes: dict[str, int] = {}
    for trial in state.trials.values():
        for event in trial.set_back:
            name = event.cause.replace("_", " ")
            causes[name] = causes.get(name, 0) + 1
    return causes


def _facts(record: PageRecord) -> dict[str, str]:
    info = record.info
    classes = [str(name) for name in info.data.get("classes", [])]
    facts = {
        "run directory": record.location,
        "started": f"{info.started_at:%Y-%m-%d %H:%M:%S} UTC",
        "resumed": ", ".join(f"{time:%Y-%m-%d %H:%M:%S}" for time in info.resumed_at),
        "changed": "; ".join(changes_of(info, record.state)),
        "ended": "" if info.ended_at is None else f"{info.ended_at:%Y-%m-%d %H:%M:%S} UTC",
        "driver's host": info.host,
        "resources": ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in info.resources.items()),
        "seed": str(info.seed),
        "classes": ", ".join(classes[:20]) + (f" and {len(classes) - 20} more" if len(classes) > 20 else ""),
        "images' SHA-256": str(info.data.get("sha256", "")),
        "commit": info.commit or "none (not started in a git checkout)",
        "versions": ", ".join(f"{name} {value}" for name, value in info.versions.items()),
    }
    return {name: value for name, value in facts.items() if value}
