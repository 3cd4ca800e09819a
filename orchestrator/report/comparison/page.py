"""A comparison as one page that needs nothing else: its values as tables and plots, in the looks of a run's page."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from orchestrator.errors import InputError
from orchestrator.progress import clock, number
from orchestrator.record import now
from orchestrator.report.comparison.figures import plots
from orchestrator.report.comparison.groups import Group, shown
from orchestrator.report.comparison.outcome import Outcome
from orchestrator.report.comparison.tables import COLUMNS, row_of
from orchestrator.report.comparison.verdict import sentences
from orchestrator.report.page.content import Value
from orchestrator.report.page.plot import Plot
from orchestrator.report.page.writing import render
from trainables.storage import reason


@dataclass(frozen=True)
class Table:
    """Names of the columns, and a value for each in every row."""

    columns: Sequence[str]
    rows: Sequence[Sequence[Value]]


@dataclass(frozen=True, kw_only=True)
class Content:
    """What the page shows. `sections` are headings by their ids, `plots` are by the heading that they stand under."""

    title: str
    read_at: str
    sections: dict[str, str]
    tested: bool
    verdict: Sequence[str]
    notes: Sequence[str]
    explained: str
    groups: Table
    tests: Table | None
    differences: Table | None
    plots: dict[str, Sequence[Plot]]
    runs: Table


def write_comparison(outcome: Outcome, path: Path) -> None:
    """
    Raises:
        InputError: it cannot be written there.
    """
    page = render("compare.html.jinja", page=content_of(outcome))
    try:
        path.write_text(page, encoding="utf-8")
    except OSError as error:
        raise InputError(f"{path} cannot be written: {reason(error)} (--output)") from error


def content_of(outcome: Outcome) -> Content:
    bests, *others = plots(outcome)
    best = [plot for plot in others if plot.name.startswith("best")]
    fronts = [plot for plot in others if plot.name.startswith("front")]
    sections = {
        "summary": "Summary",
        "groups": "Groups",
        "differences": "Differences" if outcome.differences else "",
        "bests-section": "Bests",
        "best": "Best so far",
        "fronts": "Pareto fronts" if fronts else "",
        "runs": "Runs",
    }
    count = sum(len(group.searches) for group in outcome.groups)
    return Content(
        title=f"{count} searches in {len(outcome.groups)} groups" if len(outcome.groups) > 1 else f"{count} seeds",
        read_at=f"{now():%Y-%m-%d %H:%M:%S} UTC",
        sections={name: heading for name, heading in sections.items() if heading},
        tested=bool(outcome.pairs),
        verdict=sentences(outcome),
        notes=outcome.notes,
        explained=(
            f"Runs that differ in their seed only are one group. Best: the mean over them of the {_extreme(outcome)} "
            f"{outcome.metric} of a trial with its whole training, with half of its 95 % interval (Student's t). "
            "Trials, time and busy (the part of the slots' time that was training) are means, too."
        ),
        groups=_table(COLUMNS, map(row_of, outcome.groups)),
        tests=_tests(outcome) if outcome.pairs else None,
        differences=_table(
            ["setting", *(group.label for group in outcome.groups)],
            ([one.setting, *map(shown, one.values)] for one in outcome.differences),
        )
        if outcome.differences
        else None,
        plots={"bests": [bests], "best": best, "fronts": fronts},
        runs=Table(
            ["run", "group", "seed", "state", "best", "trial", "trials", "epochs", "time", "busy"],
            [row for group in outcome.groups for row in _runs(group)],
        ),
    )


def _extreme(outcome: Outcome) -> str:
    return "highest" if outcome.direction == "maximize" else "lowest"


def _tests(outcome: Outcome) -> Table:
    return _table(
        ("groups", "difference", "95 % interval", "p", "p adjusted"),
        (
            [
                f"{pair.first} - {pair.second}",
                f"{pair.test.difference:+.4f}",
                f"{pair.test.interval[0]:+.4f} to {pair.test.interval[1]:+.4f}",
                number(pair.test.p),
                number(pair.p_adjusted),
            ]
            for pair in outcome.pairs
        ),
    )


def _runs(group: Group) -> list[list[Value]]:
    rows = []
    for search in group.searches:
        best, utilisation = search.state.best, search.state.utilisation()
        rows.append(
            [
                _text(search.location),
                _text(group.label),
                Value(str(search.seed), search.seed),
                _text(search.standing.replace("_", " ")),
                _number(search.best),
                _text("-" if best is None else best.trial_id),
                _number(search.trained),
                _number(search.epochs),
                Value(clock(search.seconds), search.seconds),
                Value("-", "") if utilisation is None else Value(f"{utilisation:.0%}", utilisation),
            ]
        )
    return rows


def _table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> Table:
    return Table(columns, [[_text(value) for value in row] for row in rows])


def _text(words: str) -> Value:
    return Value(words, words)


def _number(value: float | None) -> Value:
    return Value("-", "") if value is None else Value(number(value), value)
