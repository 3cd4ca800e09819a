"""Everything that a run's page shows, as values. No HTML but for drawings, which are made escaped."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePath

from orchestrator.config import make_scheduler, parse_config, search_file
from orchestrator.errors import ConfigError, RunDirectoryError
from orchestrator.progress import clock, number
from orchestrator.record import Retrained, RunState, Trial
from orchestrator.report.drawing import svg
from orchestrator.report.importance import importances
from orchestrator.report.page.curves import Course, best_so_far, course_of, learning_curves
from orchestrator.report.page.importance_plots import mattered
from orchestrator.report.page.plot import Plot, named
from orchestrator.report.page.record import PageRecord
from orchestrator.report.page.summary import Summary, retrain_command, summary_of
from orchestrator.report.page.trade_offs import costs_against_score, pareto_front
from orchestrator.report.page.worker_plots import timeline
from orchestrator.schedulers import SCHEDULERS
from search_spaces import Architecture

MOST_ROWS = 500
"""Of the leaderboard; each has drawings."""


@dataclass(frozen=True)
class Value:
    """A cell of a table: what is shown, and what it is sorted by (the number itself, or the text)."""

    shown: str
    sort: float | str


@dataclass(frozen=True)
class Drawing:
    """The SVG of a cell, and the cell's role."""

    role: str
    svg: str


@dataclass(frozen=True, kw_only=True)
class Row:
    """A trial of the leaderboard. `svg` is of its cells, small; `command` retrains it, None while that cannot be;
    `whole` says whether it had its whole training."""

    trial_id: str
    whole: bool
    values: Sequence[Value]
    svg: str
    command: str | None


@dataclass(frozen=True, kw_only=True)
class Leaderboard:
    """The best trials; `known` is how many trials have a score."""

    columns: Sequence[str]
    rows: Sequence[Row]
    known: int
    further: dict[str, str]
    """Drawings of trials that plots show and no row does: those of the front."""


@dataclass(frozen=True)
class Problem:
    """Trials that came to grief for one reason: how many, what an example said, and some of them."""

    kind: str
    count: int
    message: str
    trials: Sequence[str]


@dataclass(frozen=True, kw_only=True)
class Content:
    """
    Args:
        title: of the run.
        read_at: when it was so, in words.
        refreshing: whether the run still goes on.
        summary: in words.
        winner: its cells, large.
        legend: colours of operations by what they mean.
        leaderboard: of the trials.
        retrained: rows of text, the first of them the head.
        plots: by the heading that they stand under.
        problems: the most frequent first.
        set_back: how often trials lost their worker and went on, by cause.
        facts: versions, host, commit.
        search_file: TOML.
        commands: how the run was begun, and how another like it is.
    """

    title: str
    location: str
    read_at: str
    refreshing: bool
    summary: Summary
    winner: Sequence[Drawing]
    legend: dict[str, str]
    leaderboard: Leaderboard
    retrained: Sequence[Sequence[str]]
    plots: dict[str, Sequence[Plot]]
    problems: Sequence[Problem]
    set_back: dict[str, int]
    facts: dict[str, str]
    search_file: str
    command: str


def content_of(record: PageRecord) -> Content:
    """All of it."""
    state = record.state
    summary = summary_of(record)
    board = _leaderboard(record)
    winner = None if summary.winner is None else _architecture(state.trials[summary.winner])
    drawn = [_architecture(trial) for trial in state.ranking()[:MOST_ROWS]]
    front = pareto_front(state)
    return Content(
        title=str(record.info.config.get("run", {}).get("name", "search")),
        location=record.location,
        read_at=f"{record.read_at:%Y-%m-%d %H:%M:%S} UTC",
        refreshing=record.standing == "running",
        summary=summary,
        winner=[] if winner is None else [Drawing(role, svg.large(cell, role)) for role, cell in svg.roles(winner)],
        legend=svg.families(drawn),
        leaderboard=board,
        retrained=_retrained(record.retrained),
        plots={
            "curves": [learning_curves(state, rungs_of(record), summary.winner)],
            "best": best_so_far(_courses(record), *next(iter(state.objectives.items()), ("val_accuracy", "maximize"))),
            "front": [] if front is None else [front],
            "timeline": [timeline(state, record.stays, record.breaks)],
            "mattered": mattered(importances(state)),
            "costs": costs_against_score(state, summary.winner),
        },
        problems=problems_of(state),
        set_back=_set_back(state),
        facts=_facts(record),
        search_file=search_file(record.info.config),
        command=_command(record.info.command),
    )


def rungs_of(record: PageRecord) -> tuple[int, ...]:
    """Epochs at which a scheduler of ours decides; none where that is not known, as of one of the user's own, whose
    module is not imported here."""
    try:
        config = parse_config(record.info.config, "run.json")
        if config.scheduler.name not in SCHEDULERS:
            return ()
        scheduler = make_scheduler(config.scheduler, config.training.epochs, config.objectives.directions)
    except ConfigError:  # of another version: its curves are shown all the same
        return ()
    return tuple(getattr(scheduler, "milestones", None) or ())


def problems_of(state: RunState) -> list[Problem]:
    """Trials that failed, diverged or broke a constraint, by status and reason: messages that differ in numbers only
    are one."""
    groups: dict[tuple[str, str], list[Trial]] = {}
    for trial in state.trials.values():
        if trial.status in ("failed", "diverged", "infeasible"):
            pattern = re.sub(r"0x[0-9a-fA-F]+|\d[\d.,]*", "#", trial.error or "")
            groups.setdefault((trial.status, pattern), []).append(trial)
    found = [
        Problem(status, len(trials), trials[0].error or "a number was not finite", [one.trial_id for one in trials[:5]])
        for (status, _), trials in groups.items()
    ]
    return sorted(found, key=lambda one: (one.kind == "infeasible", -one.count))


def _leaderboard(record: PageRecord) -> Leaderboard:
    state = record.state
    ranking = state.ranking()
    scores = list(dict.fromkeys(["val_accuracy", *state.objectives]))
    scores = [name for name in scores if name not in ("parameters", "macs")]
    several = len(state.objectives) > 1
    front = {trial.trial_id for trial in state.front}
    rows = []
    for rank, trial in enumerate(ranking[:MOST_ROWS], start=1):
        values = [
            Value(str(rank), rank),
            Value(trial.trial_id, trial.trial_id),
            Value(state.status_of(trial), state.status_of(trial)),
            *(_number(trial.metric(name)) for name in scores),
            *([Value("yes" if trial.trial_id in front else "", float(trial.trial_id in front))] if several else []),
            Value(str(trial.epochs), trial.epochs),
            Value("-", "") if trial.parameters is None else Value(f"{trial.parameters:,}", trial.parameters),
            Value("-", "") if trial.macs is None else Value(f"{trial.macs / 1e6:,.2f} M", float(trial.macs)),
            Value(clock(trial.train_seconds), trial.train_seconds),
        ]
        rows.append(
            Row(
                trial_id=trial.trial_id,
                whole=trial.status == "completed",
                values=values,
                svg=_small(trial),
                command=retrain_command(record, trial),
            )
        )
    columns = ["rank", "trial", "status", *map(named, scores), *(["on the front"] if several else [])]
    shown = {row.trial_id for row in rows}
    return Leaderboard(
        columns=[*columns, "epochs", "parameters", "multiply-adds", "training time"],
        rows=rows,
        known=len(ranking),
        further={trial.trial_id: _small(trial) for trial in state.front if trial.trial_id not in shown},
    )


def _small(trial: Trial) -> str:
    return svg.small(_architecture(trial), f"trial {trial.trial_id}")


def _architecture(trial: Trial) -> Architecture:
    try:
        return Architecture.from_json(trial.architecture)
    except ValueError as error:
        raise RunDirectoryError(f"the record of trial {trial.trial_id} holds no architecture: {error}") from error


def _number(value: float | None) -> Value:
    return Value(number(value), "" if value is None else float(value))


def _courses(record: PageRecord) -> dict[str, Course]:
    until = record.read_at if record.standing == "running" else None
    courses = {"this search": course_of(record.state, record.breaks, until)}
    if record.sample is not None:
        courses["random search of equal cost"] = course_of(*record.sample)
    return courses


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
        notes.append(f"test {one.test_number} of this network, so no fresh evidence")
    if one.freeze:
        notes.append("only its classifier was trained")
    elif one.weights is not None:
        notes.append("from given weights")
    return "; ".join(notes)


def _command(words: Sequence[str]) -> str:
    """As it was typed, without the program's folder; nothing for code that has no file (`python -c`)."""
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
