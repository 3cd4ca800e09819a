"""Draws cells into files with matplotlib, as `cell_layout` lays them out."""

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
"""Width divided by height."""


def draw(architecture: Architecture, path: Path, title: str) -> None:
    """Draw the cells of an architecture into an SVG, PNG or PDF file; equal cells are drawn once.

    Raises:
        InputError: the file has another suffix, or cannot be written.
    """
    check_picture(path)
    write_picture(path, lambda: figure(architecture, title))


def check_picture(path: Path) -> None:
    """Check before a long work that a picture can be written to `path`.

    Raises:
        InputError: the suffix is not in `FORMATS`, there is no such folder, or the path is one.
    """
    if path.suffix.lower() not in FORMATS:
        raise InputError(f"{path} ends in {path.suffix!r}; a picture can be {', '.join(FORMATS)}")
    if not path.parent.is_dir():
        raise InputError(f"{path} cannot be written: there is no folder {path.parent}")
    if path.is_dir():
        raise InputError(f"{path} cannot be written: it is a folder")


def write_picture(path: Path, draw_figure: Callable[[], Figure]) -> None:
    """Draw and save a figure; the same figure always gives the same file.

    Raises:
        InputError: the file cannot be written.
    """
    # Keep text as text, so that it can be searched and edited.
    settings: dict[Any, Any] = {"svg.fonttype": "none", "svg.hashsalt": "cellscout", "font.family": "sans-serif"}
    try:
        with mpl.rc_context(settings):
            draw_figure().savefig(path, dpi=200, metadata=_metadata_without_date(path))
    except OSError as error:
        raise InputError(f"{path} cannot be written: {error.strerror}") from error


def figure(architecture: Architecture, title: str) -> Figure:
    """Draw the cells of an architecture as a matplotlib figure."""
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
        _paint(axes, picture=picture, left=left, top=top + TITLE)
    return drawing


def _arrange(pictures: list[CellPicture]) -> tuple[list[tuple[float, float]], tuple[float, float]]:
    """Return the upper left corner of each picture with its title, and the size of the whole figure.

    Pictures are side by side or stacked, whichever is closer to `SCREEN_SHAPE`.
    """
    first = (1.5 * MARGIN, MARGIN + TITLE)
    widths, heights = [picture.width for picture in pictures], [picture.height + TITLE for picture in pictures]
    gap = 2 * MARGIN
    side_by_side = (sum(widths) + gap * (len(pictures) - 1), max(heights))
    stacked = (max(widths), sum(heights) + gap * (len(pictures) - 1))
    width, height = min(side_by_side, stacked, key=lambda size: abs(math.log(size[0] / size[1] / SCREEN_SHAPE)))
    places = [first]
    for previous_width, previous_height in zip(widths, heights[:-1], strict=False):
        left, top = places[-1]
        places.append(
            (left + previous_width + gap, top)
            if (width, height) == side_by_side
            else (left, top + previous_height + gap)
        )
    return places, (width + 2 * first[0], height + first[1] + MARGIN)


def _paint(axes: Axes, *, picture: CellPicture, left: float, top: float) -> None:
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


def _metadata_without_date(path: Path) -> dict[str, None]:
    """Return metadata that keeps the date out of the file."""
    return {".svg": {"Date": None}, ".pdf": {"CreationDate": None}}.get(path.suffix.lower(), {})
