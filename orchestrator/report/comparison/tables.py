"""Presents a comparison as tables, lines of text and JSON."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from rich import box
from rich.console import Group as Lines
from rich.console import RenderableType
from rich.markup import escape
from rich.table import Table

from orchestrator.progress import clock, number, signed_range
from orchestrator.report.comparison.compare import Comparison
from orchestrator.report.comparison.groups import Group, format_setting
from orchestrator.report.comparison.runs import ComparedRun
from orchestrator.report.comparison.verdict import comparison_verdict
from orchestrator.significance import Mean


def comparison_tables(comparison: Comparison) -> RenderableType:
    """Tabulate the groups, what they differ in, and the tests between them; short labels fit into 80 columns."""
    parts: list[RenderableType] = [_groups(comparison)]
    if comparison.differences:
        parts.append(_differences(comparison))
    if comparison.pairs:
        parts.append(_pairs(comparison))
    return Lines(*parts)


def comparison_summary(comparison: Comparison) -> str:
    """Return the notes and the verdict as lines of plain text."""
    return "\n".join(
        [*(f"note        {note}" for note in comparison.notes), f"verdict     {comparison_verdict(comparison)}"]
    )


def comparison_json(comparison: Comparison) -> dict[str, Any]:
    """Return the whole comparison as JSON."""
    return {
        "verdict": comparison_verdict(comparison),
        "notes": list(comparison.notes),
        "metric": comparison.metric,
        "direction": comparison.direction,
        "score": comparison.score,
        "objectives": comparison.objectives,
        "groups": [_group_json(group, comparison) for group in comparison.groups],
        "differences": {one.setting: list(one.values) for one in comparison.differences},
        "comparisons": [asdict(pair) for pair in comparison.pairs],
    }


def scores_in_words(comparison: Comparison) -> str:
    """Return what the compared scores are: `Confirmed val_accuracy` or `Best val_accuracy in the search`."""
    is_confirmed = comparison.score == "confirmed"
    return f"Confirmed {comparison.metric}" if is_confirmed else f"Best {comparison.metric} in the search"


def format_best(group: Group) -> str:
    """Format the mean best score of a group, with half the width of its interval if it has one."""
    if group.best is None:
        return "-"
    return number(group.best.mean) + format_margin(group.best)


def format_margin(mean: Mean) -> str:
    """Format half the width of the interval, as ` ± 0.0123`; empty if there is no interval."""
    if mean.interval is None:
        return ""
    margin = mean.margin
    return f" ± {margin:.4f}" if 0.0001 <= margin < 10 else f" ± {number(margin)}"


def row_of(group: Group) -> list[str]:
    """Format a group for the `COLUMNS`; all but the first two are means over its runs."""
    return [
        group.label,
        str(len(group.searches)),
        format_best(group),
        "-" if group.trained is None else f"{group.trained.mean:,.0f}",
        "-" if group.seconds is None else clock(group.seconds.mean),
        "-" if group.utilisation is None else f"{group.utilisation.mean:.0%}",
    ]


COLUMNS = ("group", "runs", "best", "trials", "time", "busy")
"""The columns of `row_of`."""


def _groups(comparison: Comparison) -> Table:
    table = Table(
        title=f"{scores_in_words(comparison)} by group: mean and 95 % interval over seeds",
        caption="trials, time: without a confirmation",
        box=box.SIMPLE_HEAD,
    )
    for name in COLUMNS:
        table.add_column(name, justify="left" if name == "group" else "right", no_wrap=name != "group")
    for group in comparison.groups:
        table.add_row(*map(escape, row_of(group)))
    return table


def _differences(comparison: Comparison) -> Table:
    table = Table(title="What the groups differ in", box=box.SIMPLE_HEAD)
    table.add_column("setting")
    for group in comparison.groups:
        table.add_column(escape(group.label), justify="right")
    for one in comparison.differences:
        table.add_row(*map(escape, (one.setting, *map(format_setting, one.values))))
    return table


def _pairs(comparison: Comparison) -> Table:
    table = Table(title="Differences between mean scores (Welch's t-test, Holm's adjustment)", box=box.SIMPLE_HEAD)
    for name in ("groups", "difference", "95 % interval", "p", "p adjusted"):
        table.add_column(name, justify="left" if name == "groups" else "right", no_wrap=name != "groups")
    for pair in comparison.pairs:
        table.add_row(
            escape(f"{pair.first} - {pair.second}"),
            f"{pair.test.difference:+.4f}",
            signed_range(pair.test.interval),
            number(pair.test.p),
            number(pair.p_adjusted),
        )
    return table


def _group_json(group: Group, comparison: Comparison) -> dict[str, Any]:
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
    return {"label": group.label, **means, "runs": [_search_json(search, comparison) for search in group.searches]}


def _search_json(search: ComparedRun, comparison: Comparison) -> dict[str, Any]:
    best = search.best_trial
    return {
        "run_dir": search.location,
        "seed": search.seed,
        "state": search.standing,
        "best": search.best,
        "best_trial_id": None if best is None else best.trial_id,
        "in_search": search.in_search,
        "confirmed": search.confirmed,
        "trials": search.trained,
        "epochs": search.epochs,
        "seconds": search.seconds,
        "utilisation": search.state.utilisation(),
        "front": [{name: trial.metric(name) for name in comparison.objectives} for trial in search.state.front],
    }
