"""Lays out the picture of a cell: from left to right the inputs, the blocks in order, and the output.

Each edge shows its operation. Each state has its own rows. A line bends into the row of its target directly after the
column of its source, and then runs straight, so no line runs behind a box. Knows lengths and colours. Does not know
what draws them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from search_spaces import Cell

# Lengths in points, 1/72 inch.
ROW = 25.0
ROW_GAP = 10.0
BOX_HEIGHT = 18.0
GUTTER = 46.0
INPUT_WIDTH = 78.0
OPERATION_WIDTH = 104.0
JOINT = 20.0
STATE_WIDTH = 54.0
OUTPUT_WIDTH = 22.0

MAX_NAME_LENGTH = 18
"""The number of letters that fit into a box."""

FAMILIES = {
    "sep_conv": "#b9dfb3",
    "dil": "#d9c4e8",
    "conv": "#f8cfa0",
    "residual": "#f8cfa0",
    "avg_pool": "#bcd6f2",
    "max_pool": "#8fbbe8",
    "identity": "#e3e3e3",
    "none": "#ffffff",
}
"""Colours of operations, by the beginning of their names."""

OTHER_COLOUR = "#f4e7a1"
"""The colour of all other operations."""

LINES = ("#4c566a", "#b3541e", "#2a7f62", "#7b4ea3", "#1f6fb2", "#a83250", "#7a6a00", "#00798c", "#5b5b5b", "#8a4f7d")
"""Colours of lines, by the state in which they start."""


@dataclass(frozen=True)
class Box:
    """A labelled rectangle, in points; `y` increases downwards."""

    x: float
    """The left edge."""
    y: float
    """The vertical middle."""
    width: float
    height: float
    text: str
    colour: str
    vertical: bool = False

    @property
    def right(self) -> float:
        """The right edge."""
        return self.x + self.width


@dataclass(frozen=True)
class Line:
    """A line that is curved from `start` to the x of `bend`, and straight from there to `end`."""

    start: tuple[float, float]
    bend: float
    end: tuple[float, float]
    colour: str


@dataclass(frozen=True)
class CellPicture:
    """The boxes and lines of one cell; coordinates start at the upper left corner."""

    boxes: tuple[Box, ...]
    lines: tuple[Line, ...]
    width: float
    height: float


def lay_out(cell: Cell) -> CellPicture:
    """Compute the boxes and lines of a cell."""
    columns = _columns(cell)
    column_width = OPERATION_WIDTH + JOINT + STATE_WIDTH
    rows = list(_rows(cell))
    height = rows[-1][-1] + ROW / 2
    # For each state the middle of its right edge, where its lines start.
    exits: list[tuple[float, float]] = []
    boxes: list[Box] = []
    lines: list[Line] = []
    for state in range(cell.inputs):
        (y,) = rows[state]
        boxes.append(Box(0, y, INPUT_WIDTH, BOX_HEIGHT, f"{state}: cell k-{cell.inputs - state}", "#ffffff"))
        exits.append((INPUT_WIDTH, y))
    for index, block in enumerate(cell.blocks):
        state = cell.inputs + index
        x = INPUT_WIDTH + GUTTER + columns[index] * (column_width + GUTTER)
        middle = sum(rows[state]) / len(rows[state])
        for edge, y in zip(block.edges, rows[state], strict=True):
            source = exits[edge.state]
            boxes.append(Box(x, y, OPERATION_WIDTH, BOX_HEIGHT, _shorten(edge.operation), colour_of(edge.operation)))
            lines.append(Line(source, source[0] + GUTTER, (x, y), LINES[edge.state % len(LINES)]))
            joint = x + OPERATION_WIDTH
            lines.append(Line((joint, y), joint + JOINT, (joint + JOINT, middle), LINES[state % len(LINES)]))
        x += OPERATION_WIDTH + JOINT
        boxes.append(Box(x, middle, STATE_WIDTH, BOX_HEIGHT, f"{state}: {block.combination}", "#ffffff"))
        exits.append((x + STATE_WIDTH, middle))
    x = INPUT_WIDTH + GUTTER + (max(columns) + 1) * (column_width + GUTTER)
    ends = [exits[state][1] for state in cell.output]
    lines += [
        Line(exits[state], exits[state][0], (x, exits[state][1]), LINES[state % len(LINES)]) for state in cell.output
    ]
    reach = max(max(ends) - min(ends) + BOX_HEIGHT, 3 * ROW)
    middle = min(max((max(ends) + min(ends)) / 2, reach / 2), max(height - reach / 2, reach / 2))
    boxes.append(Box(x, middle, OUTPUT_WIDTH, reach, "output", "#ffffff", vertical=True))
    return CellPicture(tuple(boxes), tuple(lines), x + OUTPUT_WIDTH, max(height, reach))


def _columns(cell: Cell) -> list[int]:
    """Return the column of each block: the number of blocks on its longest path from an input."""
    columns: list[int] = []
    for block in cell.blocks:
        before = [columns[edge.state - cell.inputs] + 1 for edge in block.edges if edge.state >= cell.inputs]
        columns.append(max(before, default=0))
    return columns


def _rows(cell: Cell) -> Iterator[list[float]]:
    """Yield the middles of the rows of each state: one row for an input, one per edge for a block."""
    y = ROW / 2
    for count in [1] * cell.inputs + [len(block.edges) for block in cell.blocks]:
        yield [y + ROW * place for place in range(count)]
        y += ROW * count + ROW_GAP


def _shorten(operation: str) -> str:
    """The name that fits into a box; of a user's own `module:NAME` the second part."""
    operation = operation.rpartition(":")[2]
    return operation if len(operation) <= MAX_NAME_LENGTH else operation[: MAX_NAME_LENGTH - 1] + "…"


def colour_of(operation: str) -> str:
    """Return the colour of an operation's family."""
    return FAMILIES.get(family_of(operation), OTHER_COLOUR)


def family_of(operation: str) -> str:
    """Return the key of `FAMILIES` that the operation belongs to; `other` for one of the user's own (`module:NAME`)."""
    if ":" in operation:
        return "other"
    return next((family for family in FAMILIES if operation.startswith(family)), "other")
