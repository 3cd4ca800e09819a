"""Cells as pictures in files, painted by matplotlib as `cell_layout` lays them out."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch, PathPatch
from matplotlib.path import Path as Curve

from orchestrator.errors import InputError
from orchestrator.report.drawing.cell_layout import CellPicture, lay_out
from search_spaces import Architecture

FORMATS = (".svg", ".png", ".pdf")

# Lengths in points, 1/72 inch.
MARGIN = 16.0
TITLE = 24.0
FONT_SIZE = 8.5

SCREEN_SHAPE = 1.6
"""Width by height."""


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
