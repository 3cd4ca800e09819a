"""Cells as pictures: inputs at the left, blocks in order, operations on the edges, the output at the right.

A state has a row of its own, so no line runs behind a box: an edge leaves its source, bends into the row of the block
that it leads to right behind its own column, and goes straight from there.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch, PathPatch
from matplotlib.path import Path as Curve

from orchestrator.errors import InputError
from search_spaces import Architecture, Cell

FORMATS = (".svg", ".png", ".pdf")

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
MARGIN = 16.0
TITLE = 24.0
FONT_SIZE = 8.5

LONGEST_NAME = 18
"""Letters that fit into a box."""
SCREEN_SHAPE = 1.6
"""Width by height."""

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
"""Colours of operations, by how their names begin."""

LINES = ("#4c566a", "#b3541e", "#2a7f62", "#7b4ea3", "#1f6fb2", "#a83250", "#7a6a00", "#00798c", "#5b5b5b", "#8a4f7d")
"""Colours of lines, by the state that they come from."""


@dataclass(frozen=True)
class Box:
    """A labelled rectangle; `x` and `y` are its left edge and its middle, in points, with `y` growing downwards."""

    x: float
    y: float
    width: float
    height: float
    text: str
    colour: str
    vertical: bool = False

    @property
    def right(self) -> float:
        return self.x + self.width


@dataclass(frozen=True)
class Line:
    """From a point, bending until `bend`, then straight to another point."""

    start: tuple[float, float]
    bend: float
    end: tuple[float, float]
    colour: str


@dataclass(frozen=True)
class CellPicture:
    """Everything on the picture of one cell, from its own left upper corner."""

    boxes: tuple[Box, ...]
    lines: tuple[Line, ...]
    width: float
    height: float


def draw(architecture: Architecture, path: Path, title: str) -> None:
    """Draw both cells of the architecture, or the one where both are the same, into an SVG, PNG or PDF file.

    Raises:
        InputError: the file's suffix is none of those, or it cannot be written.
    """
    check_format(path)
    write_picture(path, lambda: figure(architecture, title))


def check_format(path: Path) -> None:
    """
    Raises:
        InputError: the suffix is that of no picture that can be written.
    """
    if path.suffix.lower() not in FORMATS:
        raise InputError(f"{path} ends in {path.suffix!r}; a picture can be {', '.join(FORMATS)}")


def write_picture(path: Path, draw_figure: Callable[[], Figure]) -> None:
    """Draw and save a figure; the same one always gives the same file.

    Raises:
        InputError: the file cannot be written.
    """
    # Text stays text, to be searched and edited.
    settings: dict[Any, Any] = {"svg.fonttype": "none", "svg.hashsalt": "cellscout", "font.family": "sans-serif"}
    try:
        with mpl.rc_context(settings):
            draw_figure().savefig(path, dpi=200, metadata=_undated(path))
    except OSError as error:
        raise InputError(f"{path} cannot be written: {error.strerror}") from error


def figure(architecture: Architecture, title: str) -> Figure:
    """The picture as a matplotlib figure."""
    cells = {"normal cell": architecture.normal, "reduction cell": architecture.reduction}
    if architecture.normal == architecture.reduction:
        cells = {"normal and reduction cell": architecture.normal}
    pictures = {name: lay_out(cell) for name, cell in cells.items()}
    places, (width, height) = _arrange(list(pictures.values()))
    drawing = Figure(figsize=(width / 72, height / 72), facecolor="white")
    axes = drawing.add_axes((0, 0, 1, 1))
    axes.set_xlim(0, width)
    axes.set_ylim(height, 0)
    axes.axis("off")
    bold: dict[str, Any] = {"va": "center", "fontweight": "bold", "parse_math": False}
    axes.text(width / 2, MARGIN, title, ha="center", fontsize=FONT_SIZE + 3, **bold)
    for (name, picture), (left, top) in zip(pictures.items(), places, strict=True):
        axes.text(left, top, name, ha="left", fontsize=FONT_SIZE + 1, **bold)
        _paint(axes, picture, left, top + TITLE)
    return drawing


def _arrange(pictures: list[CellPicture]) -> tuple[list[tuple[float, float]], tuple[float, float]]:
    """The left upper corner of every picture with its title, and the size of all.

    Beside or below each other, whichever is nearer to the shape of a screen.
    """
    first = (1.5 * MARGIN, MARGIN + TITLE)
    widths, heights = [picture.width for picture in pictures], [picture.height + TITLE for picture in pictures]
    gap = 2 * MARGIN
    beside = (sum(widths) + gap * (len(pictures) - 1), max(heights))
    below = (max(widths), sum(heights) + gap * (len(pictures) - 1))
    width, height = min(beside, below, key=lambda size: abs(math.log(size[0] / size[1] / SCREEN_SHAPE)))
    places = [first]
    for done_width, done_height in zip(widths, heights[:-1], strict=False):
        left, top = places[-1]
        places.append((left + done_width + gap, top) if (width, height) == beside else (left, top + done_height + gap))
    return places, (width + 2 * first[0], height + first[1] + MARGIN)


def lay_out(cell: Cell) -> CellPicture:
    """Where everything of a cell goes."""
    columns = _columns(cell)
    column_width = OPERATION_WIDTH + JOINT + STATE_WIDTH
    rows = list(_rows(cell))
    height = rows[-1][-1] + ROW / 2
    # Of every state its middle on the right, where lines leave it.
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
            boxes.append(Box(x, y, OPERATION_WIDTH, BOX_HEIGHT, _clipped(edge.operation), _colour(edge.operation)))
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
    """For every block, over how many others its longest way from an input leads."""
    columns: list[int] = []
    for block in cell.blocks:
        before = [columns[edge.state - cell.inputs] + 1 for edge in block.edges if edge.state >= cell.inputs]
        columns.append(max(before, default=0))
    return columns


def _rows(cell: Cell) -> Iterator[list[float]]:
    """For every state, the middles of its rows: one for an input, one an edge for a block."""
    y = ROW / 2
    for count in [1] * cell.inputs + [len(block.edges) for block in cell.blocks]:
        yield [y + ROW * place for place in range(count)]
        y += ROW * count + ROW_GAP


def _clipped(operation: str) -> str:
    return operation if len(operation) <= LONGEST_NAME else operation[: LONGEST_NAME - 1] + "…"


def _colour(operation: str) -> str:
    return next((colour for family, colour in FAMILIES.items() if operation.startswith(family)), "#f4e7a1")


def _paint(axes: Axes, picture: CellPicture, left: float, top: float) -> None:
    for line in picture.lines:
        (x0, y0), (x1, y1) = line.start, line.end
        half = (x0 + line.bend) / 2
        points = [(x0, y0), (half, y0), (half, y1), (line.bend, y1), (x1, y1)]
        codes = [Curve.MOVETO, Curve.CURVE4, Curve.CURVE4, Curve.CURVE4, Curve.LINETO]
        curve = Curve([(left + x, top + y) for x, y in points], codes)
        axes.add_patch(PathPatch(curve, facecolor="none", edgecolor=line.colour, linewidth=1.1, zorder=1))
    for box in picture.boxes:
        axes.add_patch(
            FancyBboxPatch(
                (left + box.x, top + box.y - box.height / 2),
                box.width,
                box.height,
                boxstyle="round,pad=0,rounding_size=4",
                facecolor=box.colour,
                edgecolor="#3b3b3b",
                linewidth=0.8,
                zorder=2,
            )
        )
        axes.text(
            left + box.x + box.width / 2,
            top + box.y,
            box.text,
            ha="center",
            va="center",
            fontsize=FONT_SIZE,
            rotation=90 if box.vertical else 0,
            parse_math=False,
            zorder=3,
        )


def _undated(path: Path) -> dict[str, None]:
    """Metadata that would put the date into the file, switched off."""
    return {".svg": {"Date": None}, ".pdf": {"CreationDate": None}}.get(path.suffix.lower(), {})
