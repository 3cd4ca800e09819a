"""Writes a comparison as one self-contained HTML page of tables and plots, in the style of a run's page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from orchestrator.errors import InputError
from orchestrator.progress import clock, number, signed_range
from orchestrator.record import now
from orchestrator.report.comparison.compare import Comparison
from orchestrator.report.comparison.figures import plots
from orchestrator.report.comparison.groups import Group, format_setting
from orchestrator.report.comparison.tables import COLUMNS, row_of
from orchestrator.report.comparison.verdict import verdict_sentences
from orchestrator.report.page.plot import Plot
from orchestrator.report.page.table import Table, Value, number_value, text_table, text_value
from orchestrator.report.page.writing import render
from trainables.storage import reason


@dataclass(frozen=True, kw_only=True)
class Content:
    """What the page shows."""

    title: str
    read_at: str
    sections: dict[str, str]
    """Headings by the id of their section."""
    tested: bool
    verdict: Sequence[str]
    notes: Sequence[str]
    explanation: str
    groups: Table
    tests: Table | None
    differences: Table | None
    plots: dict[str, Sequence[Plot]]
    """Plots by the heading they are under."""
    runs: Table


def write_comparison(comparison: Comparison, path: Path) -> None:
    """Write the page of a comparison.

    Raises:
        InputError: the file cannot be written.
    """
    page = render("compare.html.jinja", page=content_of(comparison))
    try:
        path.write_text(page, encoding="utf-8")
    except OSError as error:
        raise InputError(f"{path} cannot be written: {reason(error)} (--output)") from error


def content_of(comparison: Comparison) -> Content:
    """Collect what the page of a comparison shows."""
    bests, *others = plots(comparison)
    best = [plot for plot in others if plot.name.startswith("best")]
    fronts = [plot for plot in others if plot.name.startswith("front")]
    sections = {
        "summary": "Summary",
        "groups": "Groups",
        "differences": "Differences" if comparison.differences else "",
        "bests-section": "Best scores",
        "best": "Best so far",
        "fronts": "Pareto fronts" if fronts else "",
        "runs": "Runs",
    }
    count = sum(len(group.searches) for group in comparison.groups)
    return Content(
        title=f"{count} searches in {len(comparison.groups)} groups"
        if len(comparison.groups) > 1
        else f"{count} seeds",
        read_at=f"{now():%Y-%m-%d %H:%M:%S} UTC",
        sections={name: heading for name, heading in sections.items() if heading},
        tested=bool(comparison.pairs),
        verdict=verdict_sentences(comparison),
        notes=comparison.notes,
        explanation=(
            f"Runs that differ only in their seed form one group. Best: {_score(comparison)}, as the mean over the "
            "runs ± half the width of its 95 % interval (Student's t). Trials, time (both without a confirmation) and "
            "busy (the share of the slots' time that was spent on training) are means too."
        ),
        groups=text_table(COLUMNS, map(row_of, comparison.groups)),
        tests=_tests(comparison) if comparison.pairs else None,
        differences=text_table(
            ["setting", *(group.label for group in comparison.groups)],
            ([one.setting, *map(format_setting, one.values)] for one in comparison.differences),
        )
        if comparison.differences
        else None,
        plots={"bests": [bests], "best": best, "fronts": fronts},
        runs=Table(
            ["run", "group", "seed", "state", "best", "trial", "trials", "epochs", "time", "busy"],
            [row for group in comparison.groups for row in _runs(group)],
        ),
    )


def _score(comparison: Comparison) -> str:
    if comparison.score == "confirmed":
        return f"the mean {comparison.metric} of the new trainings of a run's winner"
    extreme = "highest" if comparison.direction == "maximize" else "lowest"
    return f"the {extreme} {comparison.metric} of a completed trial"


def _tests(comparison: Comparison) -> Table:
    return text_table(
        ("groups", "difference", "95 % interval", "p", "p adjusted"),
        (
            [
                f"{pair.first} - {pair.second}",
                f"{pair.test.difference:+.4f}",
                signed_range(pair.test.interval),
                number(pair.test.p),
                number(pair.p_adjusted),
            ]
            for pair in comparison.pairs
        ),
    )


def _runs(group: Group) -> list[list[Value]]:
    rows = []
    for search in group.searches:
        best, utilisation = search.best_trial, search.state.utilisation()
        rows.append(
            [
                text_value(search.location),
                text_value(group.label),
                Value(str(search.seed), search.seed),
                text_value(search.standing.replace("_", " ")),
                number_value(search.best),
                text_value("-" if best is None else best.trial_id),
                number_value(search.trained),
                number_value(search.epochs),
                Value(clock(search.seconds), search.seconds),
                Value("-", "") if utilisation is None else Value(f"{utilisation:.0%}", utilisation),
            ]
        )
    return rows
