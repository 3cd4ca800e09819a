"""The state of running work as a value, drawn as a small panel or as one line.

Knows widths and colours. Does not know what is shown, nor where or how often.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from rich.console import Console, ConsoleOptions, RenderResult
from rich.jupyter import JupyterMixin
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

BAR_COLUMNS = 30
GAP = "  "

Style = Literal["calm", "good", "trouble"]

STYLES: dict[Style, str] = {"calm": "", "good": "bold green", "trouble": "bold red"}


@dataclass(frozen=True)
class Row:
    """One line of a panel."""

    label: str
    parts: Sequence[str]
    """Texts after the label; the last ones are left out if they do not fit."""
    style: Style = "calm"
    """Style of the first part."""
    done: float | None = None
    """Fraction (0 to 1) that is drawn as a bar after the first part; None for no bar."""


@dataclass(frozen=True)
class Snapshot(JupyterMixin):
    """The state of running work at one time."""

    title: str
    """What is done."""
    rows: Sequence[Row]
    """The lines of the panel."""
    line: str
    """The same content in one line."""
    key: object
    """The line is printed again only if this value has changed."""
    subtitle: str = ""
    """How it is done, in a few words."""
    urgent_key: object = None
    """If this value has changed, the line is printed without a pause."""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Yield the panel, one line per row."""
        width = options.max_width
        labels = max(len(row.label) for row in self.rows)
        room = width - labels - len(GAP) - 4  # the frame, and a space on each side of it
        table = Table.grid(padding=(0, len(GAP), 0, 0), pad_edge=False)
        table.add_column(style="bold", no_wrap=True, width=labels)
        table.add_column(no_wrap=True, width=room, overflow="ellipsis")
        for row in self.rows:
            table.add_row(row.label, _text(row, room, ascii_only=options.ascii_only))
        yield Panel(
            table,
            title=_title(self.title, width),
            subtitle=_title(self.subtitle, width),
            border_style="dim",
            width=width,
        )


def _text(row: Row, room: int, *, ascii_only: bool) -> Text:
    text = Text(no_wrap=True, overflow="ellipsis")
    for place, part in enumerate(_fitting(row.parts, room)):
        text.append(GAP if place else "").append(part, style=STYLES[row.style] if place == 0 else "")
        if place == 0 and row.done is not None:
            _append_bar(text, row.done, room - text.cell_len, ascii_only=ascii_only)
    return text


def _fitting(parts: Sequence[str], room: int) -> Iterator[str]:
    """Yield the first part, and the ones after it as long as there is room."""
    used = 0
    for place, part in enumerate(parts):
        used += Text(part).cell_len + (len(GAP) if place else 0)
        if place and used > room:
            return
        yield part


def _append_bar(text: Text, done: float, room: int, *, ascii_only: bool) -> None:
    columns = min(BAR_COLUMNS, room - len(GAP))
    if columns < 10:
        return
    full = min(columns, int(done * columns))
    text.append(GAP).append(("#" if ascii_only else "━") * full, style="green")
    text.append(("." if ascii_only else "─") * (columns - full), style="dim")


def _title(words: str, width: int) -> Text | None:
    text = Text(words, no_wrap=True)
    text.truncate(max(0, width - 6), overflow="ellipsis")
    return text if words else None
