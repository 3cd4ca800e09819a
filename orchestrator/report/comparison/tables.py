"""A comparison as a table and lines, and for programs."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from rich import box
from rich.console import Group as Lines
from rich.console import RenderableType
from rich.markup import escape
from rich.table import Table

from orchestrator.progress import clock, number
from orchestrator.report.comparison.groups import Group, shown
from orchestrator.report.comparison.outcome import Outcome
from orchestrator.report.comparison.runs import ComparedRun
from orchestrator.report.comparison.verdict import verdict
from orchestrator.significance import Mean


def comparison_tables(outcome: Outcome) -> RenderableType:
    """Groups, what they differ in, and the tests between them, in 80 columns where labels are short."""
    parts: list[RenderableType] = [_groups(outcome)]
    if outcome.differences:
        parts.append(_differences(outcome))
    if outcome.pairs:
        parts.append(_pairs(outcome))
    return Lines(*parts)


def comparison_summary(outcome: Outcome) -> str:
    """The rest, in a few lines of plain text."""
    return "\n".join([*(f"note        {note}" for note in outcome.notes), f"verdict     {verdict(outcome)}"])


def comparison_json(outcome: Outcome) -> dict[str, Any]:
    """All of it, for programs."""
    return {
        "verdict": verdict(outcome),
        "notes": list(outcome.notes),
        "metric": outcome.metric,
        "direction": outcome.direction,
        "objectives": outcome.objectives,
        "groups": [_group_json(group, outcome) for group in outcome.groups],
        "differences": {one.setting: list(one.values) for one in outcome.differences},
        "comparisons": [asdict(pair) for pair in outcome.pairs],
    }


def best_of(group: Group) -> str:
    """The mean best with half of its interval, or without where one seed has none."""
    if group.best is None:
        return "-"
    return number(group.best.mean) + reach_of(group.best)


def reach_of(mean: Mean) -> str:
    """Half of the interval, as ` ± 0.0123`; nothing where there is none."""
    if mean.interval is None:
        return ""
    reach = (mean.interval[1] - mean.interval[0]) / 2
    return f" ± {reach:.4f}" if 0.0001 <= reach < 10 else f" ± {number(reach)}"


def row_of(group: Group) -> list[str]:
    """Label, runs, best, trials, time and utilisation; means over the runs but for the first two."""
    return [
        group.label,
        str(len(group.searches)),
        best_of(group),
        "-" if group.trained is None else f"{group.trained.mean:,.0f}",
        "-" if group.seconds is None else clock(group.seconds.mean),
        "-" if group.utilisation is None else f"{group.utilisation.mean:.0%}",
    ]


COLUMNS = ("group", "runs", "best", "trials", "time", "busy")
"""What `row_of` gives."""


def _groups(outcome: Outcome) -> Table:
    table = Table(title=f"The best {outcome.metric} by group: mean and 95 % interval over seeds", box=box.SIMPLE_HEAD)
    for name in COLUMNS:
        table.add_column(name, justify="left" if name == "group" else "right", no_wrap=name != "group")
    for group in outcome.groups:
        table.add_row(*map(escape, row_of(group)))
    return table


def _differences(outcome: Outcome) -> Table:
    table = Table(title="What the groups differ in", box=box.SIMPLE_HEAD)
    table.add_column("setting")
    for group in outcome.groups:
        table.add_column(escape(group.label), justify="right")
    for one in outcome.differences:
        table.add_row(*map(escape, (one.setting, *map(shown, one.values))))
    return table


def _pairs(outcome: Outcome) -> Table:
    table = Table(title="Differences of the mean bests (Welch's t-test, Holm's adjustment)", box=box.SIMPLE_HEAD)
    for name in ("groups", "difference", "95 % interval", "p", "p adjusted"):
        table.add_column(name, justify="left" if name == "groups" else "right", no_wrap=name != "groups")
    for pair in outcome.pairs:
        low, high = pair.test.interval
        table.add_row(
            escape(f"{pair.first} - {pair.second}"),
            f"{pair.test.difference:+.4f}",
            f"{low:+.4f} to {high:+.4f}",
            number(pair.test.p),
            number(pair.p_adjusted),
        )
    return table


def _group_json(group: Group, outcome: Outcome) -> dict[str, Any]:
    means = {
        name: None if mean is None else asdict(mean)
        for name, mean in (
            ("best", group.best),
            ("trials", group.trained),
            ("epochs", group.epochs),
            ("seconds", group.seconds),
            ("utilisation", group.utilisation),
        )
    }
    return {"label": group.label, **means, "runs": [_search_json(search, outcome) for search in group.searches]}


def _search_json(search: ComparedRun, outcome: Outcome) -> dict[str, Any]:
    best = search.state.best
    return {
        "run_dir": search.location,
        "seed": search.seed,
        "state": search.standing,
        "best": search.best,
        "best_trial_id": None if best is None else best.trial_id,
        "trials": search.trained,
        "epochs": search.epochs,
        "seconds": search.seconds,
        "utilisation": search.state.utilisation(),
        "front": [{name: trial.metric(name) for name in outcome.objectives} for trial in search.state.front],
    }
