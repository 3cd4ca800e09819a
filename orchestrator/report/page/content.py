"""Collects what the page of a run shows, as values. Holds no HTML except drawings, whose text is escaped."""

from __future__ import annotations

import shlex
from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePath

from orchestrator.config import search_file
from orchestrator.record import RunState
from orchestrator.report.changes import changes_of
from orchestrator.report.drawing import svg
from orchestrator.report.importance import importances
from orchestrator.report.page.confirmation_plots import confirmation_plot
from orchestrator.report.page.curves import Trajectory, best_so_far, learning_curves, trajectory_of
from orchestrator.report.page.evaluation_section import EvaluationSection, evaluation_section
from orchestrator.report.page.fronts import front_plots
from orchestrator.report.page.importance_plots import importance_plots
from orchestrator.report.page.leaderboard import MAX_ROWS, Leaderboard, architecture_of, leaderboard_of
from orchestrator.report.page.networks_section import exports_table, retrained_table
from orchestrator.report.page.plot import Plot
from orchestrator.report.page.problems import Problem, problems_of
from orchestrator.report.page.record import PageRecord
from orchestrator.report.page.summary import Summary, summary_of
from orchestrator.report.page.table import Table
from orchestrator.report.page.trade_offs import costs_against_score
from orchestrator.report.page.worker_plots import timeline
from orchestrator.report.running import RunningProgress, milestones_of, running_progress


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
    progress: RunningProgress | None
    """None unless the run is running."""
    summary: Summary
    sections: dict[str, str]
    """Names by the id of their section, for the navigation."""
    winner: Sequence[tuple[str, str]]
    """The winner's cells: their roles, and large drawings."""
    legend: dict[str, str]
    """The colours of operations, by their meaning."""
    leaderboard: Leaderboard
    evaluation: EvaluationSection | None
    """None before an evaluation."""
    retrained: Table
    exports: Table
    examples: dict[str, str]
    """Drawings of what retrained networks find on test images, as PNG in base64, by the networks' names."""
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
    board = leaderboard_of(record)
    winner = None if summary.winner is None else architecture_of(state.trials[summary.winner])
    drawn = [architecture_of(trial) for trial in state.ranking()[:MAX_ROWS]]
    evaluation = record.follow_ups.evaluation
    metric, direction = next(iter(state.objectives.items()), ("val_accuracy", "maximize"))
    is_share = direction == "maximize" and record.info.bounds_of(metric) == (0.0, 1.0)
    return Content(
        title=str(record.info.config.get("run", {}).get("name", "search")),
        location=record.location,
        read_at=f"{record.read_at:%Y-%m-%d %H:%M:%S} UTC",
        refreshing=record.standing == "running",
        progress=running_progress(record.info, record.standing, state, record.read_at),
        summary=summary,
        sections=_sections(record),
        winner=[] if winner is None else svg.large_cells(winner),
        legend=svg.families(drawn),
        leaderboard=board,
        evaluation=None if evaluation is None else evaluation_section(evaluation),
        retrained=retrained_table(record.follow_ups.retrained),
        exports=exports_table(record.follow_ups.exports),
        examples={name: b64encode(png).decode() for name, png in record.follow_ups.examples.items()},
        plots={
            "curves": [learning_curves(state, milestones_of(record.info) or (), summary.winner, is_share=is_share)],
            "best": best_so_far(_trajectories(record), metric, direction, is_share=is_share),
            "confirmation": [confirmation_plot(record)],
            "front": front_plots(state),
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


def _sections(record: PageRecord) -> dict[str, str]:
    """Return the sections in their order. Those of what has not been done are left out."""
    sections = {
        "summary": "Summary",
        "winner": "Winner",
        "confirmation-section": "Confirmation",
        "evaluation": "Evaluation" if record.follow_ups.evaluation is not None else "",
        "exports": "Exports" if record.follow_ups.exports else "",
        "leaderboard": "Leaderboard",
        "curves-section": "Curves",
        "best": "Best so far",
        "front-section": "Front" if len(record.state.objectives) > 1 else "",
        "workers": "Workers",
        "mattered": "Decisions",
        "costs": "Costs",
        "problems": "Failures",
        "reproduce": "Reproduce",
    }
    return {name: heading for name, heading in sections.items() if heading}


def _trajectories(record: PageRecord) -> dict[str, Trajectory]:
    until = record.read_at if record.standing == "running" else None
    trajectories = {"this search": trajectory_of(record.state, record.breaks, until)}
    if record.sample is not None:
        trajectories["random search of equal cost"] = trajectory_of(*record.sample)
    return trajectories


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
