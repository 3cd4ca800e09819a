"""Tables of a page as values: the names of the columns, and rows whose cells know their sort key."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from orchestrator.progress import number


@dataclass(frozen=True)
class Value:
    """A cell of a table."""

    text: str
    sort: float | str
    """The sort key: the number itself, or the text."""
    link: str | None = None
    """Where a click on the text leads."""


@dataclass(frozen=True)
class Table:
    """The names of the columns, and rows with one value per column."""

    columns: Sequence[str]
    rows: Sequence[Sequence[Value]]


def text_table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> Table:
    """Make a table of texts."""
    return Table(columns, [[text_value(value) for value in row] for row in rows])


def text_value(text: str) -> Value:
    """Make a cell that is sorted by its text."""
    return Value(text, text)


def number_value(value: float | None) -> Value:
    """Make a cell of a table that is sorted by its number; an unknown number has an empty key."""
    return Value(number(value), "" if value is None else float(value))
