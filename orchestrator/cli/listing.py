"""Rows of names and values on a terminal: as a table if the terminal is wide enough, else one below the other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

INDENT = 4


def listing(rows: Sequence[Mapping[str, Any]], width: int) -> RenderableType:
    """Show rows with the same keys, of which the first is the name.

    Args:
        rows: at least one.
        width: of the terminal, in characters.
    """
    texts = [{key: shown(value) for key, value in row.items()} for row in rows]
    widths = [max(len(key), *(len(row[key]) for row in texts)) for key in texts[0]]
    if sum(widths) + 2 * len(widths) <= width:
        table = Table(*texts[0], box=None, pad_edge=False)
        for row in texts:
            table.add_row(*map(Text, row.values()))
        return table
    parts: list[RenderableType] = []
    for row in texts:
        (_, name), *others = row.items()
        parts.append(Text(name, style="bold"))
        parts += [Padding(Text(f"{key}: {text}"), (0, 0, 0, INDENT)) for key, text in others]
    return Group(*parts)


def values(found: Mapping[str, Any]) -> RenderableType:
    """Show one row as a list of keys and values."""
    table = Table(show_header=False, box=None, pad_edge=False)
    for key, value in found.items():
        table.add_row(key.replace("_", " "), Text(shown(value)))
    return table


def shown(value: Any) -> str:
    """A value as text: integers with thousands separated, other numbers and very large ones with four digits."""
    if value is None:
        return "-"
    if isinstance(value, int):
        return f"{value:,}" if value < 10**12 else f"{value:.4g}"
    return f"{value:.4g}" if isinstance(value, float) else str(value)
