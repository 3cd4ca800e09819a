"""Draws cells as inline SVG: large with names, or small with so few elements that a thousand fit on a page.

All text is escaped. Knows shapes and colours; `cell_layout` computes the positions.
"""

from __future__ import annotations

from collections.abc import Iterable
from html import escape

from orchestrator.report.drawing.cell_layout import (
    BOX_HEIGHT,
    FAMILIES,
    OTHER_COLOUR,
    Box,
    CellPicture,
    Line,
    family_of,
    lay_out,
)
from search_spaces import Architecture, Cell

OUTLINE = "#3b3b3b"
NAMES = {
    "sep_conv": "separable convolution",
    "dil": "dilated convolution",
    "conv": "convolution",
    "avg_pool": "average pooling",
    "max_pool": "max pooling",
    "identity": "identity",
    "none": "none (zeros)",
}
"""The meaning of the colours in `cell_layout.FAMILIES`, for a legend."""


def large_cells(architecture: Architecture) -> list[tuple[str, str]]:
    """Draw the cells with the names of operations and states; return each with its role.

    The drawings state their own width and that of the widest, by which a style sheet shows them at one scale.
    """
    pictures = {role: lay_out(cell) for role, cell in roles(architecture)}
    widest = max(picture.width for picture in pictures.values())
    return [(role, _large(picture, f"{role} cell", widest)) for role, picture in pictures.items()]


def _large(picture: CellPicture, title: str, widest: float) -> str:
    lines = "".join(
        f'<path d="{_curve(line)}" fill="none" stroke="{line.colour}" stroke-width="1.1"/>' for line in picture.lines
    )
    scale = f' style="--width: {picture.width + 4:.0f}; --widest: {widest + 4:.0f}"'
    return f"{_open(picture, 'cell large', title, scale)}{lines}{''.join(map(_labelled, picture.boxes))}</svg>"


def small(architecture: Architecture, title: str) -> str:
    """Draw the cells without names, with about twelve shapes each; equal cells are drawn once."""
    return "".join(_small(cell, f"{title}, {role} cell") for role, cell in roles(architecture))


def roles(architecture: Architecture) -> list[tuple[str, Cell]]:
    """Return the cells with their roles; one entry if both roles have the same cell."""
    if architecture.normal == architecture.reduction:
        return [("normal and reduction", architecture.normal)]
    return [("normal", architecture.normal), ("reduction", architecture.reduction)]


def families(architectures: Iterable[Architecture]) -> dict[str, str]:
    """Return the legend: the colour of each family of operations in use, by its name. `other`: unknown operations."""
    used = {
        family_of(edge.operation)
        for architecture in architectures
        for cell in (architecture.normal, architecture.reduction)
        for block in cell.blocks
        for edge in block.edges
    }
    meaning = {NAMES.get(family, "convolution"): FAMILIES[family] for family in FAMILIES if family in used}
    return meaning | ({"other": OTHER_COLOUR} if "other" in used else {})


def _small(cell: Cell, title: str) -> str:
    picture = lay_out(cell)
    by_colour: dict[str, list[str]] = {}
    for box in picture.boxes:
        by_colour.setdefault(box.colour, []).append(
            f"M{box.x:.0f} {box.y - box.height / 2:.0f}h{box.width:.0f}v{box.height:.0f}h-{box.width:.0f}z"
        )
    boxes = "".join(f'<path d="{"".join(shapes)}" fill="{colour}"/>' for colour, shapes in by_colour.items())
    lines = "".join(map(_curve, picture.lines))
    return f'{_open(picture, "cell small", title)}<path d="{lines}" class="lines"/><g class="boxes">{boxes}</g></svg>'


def _open(picture: CellPicture, kind: str, title: str, style: str = "") -> str:
    box = f"-2 -2 {picture.width + 4:.0f} {picture.height + 4:.0f}"
    return f'<svg class="{kind}"{style} viewBox="{box}" role="img" aria-label="{escape(title)}">'


def _curve(line: Line) -> str:
    (x0, y0), (x1, y1) = line.start, line.end
    half = (x0 + line.bend) / 2
    return f"M{x0:.0f} {y0:.0f}C{half:.0f} {y0:.0f} {half:.0f} {y1:.0f} {line.bend:.0f} {y1:.0f}H{x1:.0f}"


def _labelled(box: Box) -> str:
    x, y = box.x + box.width / 2, box.y
    turned = f' transform="rotate(-90 {x:.1f} {y:.1f})"' if box.vertical else ""
    radius = min(4.0, BOX_HEIGHT / 2)
    return (
        f'<rect x="{box.x:.1f}" y="{y - box.height / 2:.1f}" width="{box.width:.1f}" height="{box.height:.1f}" '
        f'rx="{radius:g}" fill="{box.colour}" stroke="{OUTLINE}" stroke-width="0.8"/>'
        f'<text x="{x:.1f}" y="{y:.1f}"{turned}>{escape(box.text)}</text>'
    )
