"""Pictures of cells: everything is on them, and nothing lies on top of something else."""

from __future__ import annotations

import itertools
from pathlib import Path
from xml.etree import ElementTree

import pytest
from hypothesis import given, settings
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.text import Text

from orchestrator.errors import InputError
from orchestrator.report.drawing.cell_layout import GUTTER, Box, CellPicture, lay_out
from orchestrator.report.drawing.figure import draw, figure
from search_spaces import NASNET_A, PUBLISHED, Architecture, Block, Cell
from tests.cells import cells


def overlap(first: Box, second: Box) -> bool:
    return (
        first.x < second.right
        and second.x < first.right
        and abs(first.y - second.y) < (first.height + second.height) / 2
    )


def crossed(picture: CellPicture) -> list[tuple[Box, str]]:
    """Boxes that the straight part of a line runs behind."""
    return [
        (box, line.colour)
        for line in picture.lines
        for box in picture.boxes
        if abs(box.y - line.end[1]) < box.height / 2 and box.x < line.end[0] and line.bend < box.right
    ]


@settings(max_examples=200, deadline=None)
@given(cells(max_blocks=8))
def test_no_two_boxes_overlap_and_no_line_runs_behind_one(cell: Cell) -> None:
    picture = lay_out(cell)
    assert not [pair for pair in itertools.combinations(picture.boxes, 2) if overlap(*pair)]
    assert not crossed(picture)
    edges = [edge for block in cell.blocks for edge in block.edges]
    assert len(picture.boxes) == cell.inputs + len(edges) + len(cell.blocks) + 1
    # A line to every operation, one from it, and one from each state that is put out.
    assert len(picture.lines) == 2 * len(edges) + len(cell.output)
    for box in picture.boxes:
        assert 0 <= box.x <= box.right <= picture.width
        assert -1e-9 <= box.y - box.height / 2 <= box.y + box.height / 2 <= picture.height + 1e-9


@settings(max_examples=200, deadline=None)
@given(cells())
def test_lines_bend_behind_their_own_column_only(cell: Cell) -> None:
    assert all(line.bend - line.start[0] <= GUTTER for line in lay_out(cell).lines)


def test_operations_are_in_order_and_states_are_numbered() -> None:
    texts = [box.text for box in lay_out(NASNET_A.normal).boxes]
    assert texts[:4] == ["0: cell k-2", "1: cell k-1", "sep_conv_5x5", "sep_conv_3x3"]
    assert [text for text in texts if ": add" in text] == ["2: add", "3: add", "4: add", "5: add", "6: add"]
    assert lay_out(Cell((Block.add((0, "identity")),), (1,), inputs=1)).boxes[0].text == "0: cell k-1"


@pytest.mark.parametrize("name", PUBLISHED)
def test_every_label_fits_into_its_box_and_touches_no_other(name: str) -> None:
    drawing = figure(PUBLISHED[name].architecture, name)
    renderer = FigureCanvasAgg(drawing).get_renderer()
    labels: list[Text] = list(drawing.axes[0].texts)
    extents = [label.get_window_extent(renderer) for label in labels]
    for first, second in itertools.combinations(extents, 2):
        assert not first.overlaps(second)
    boxes = [patch.get_window_extent(renderer) for patch in drawing.axes[0].patches]
    for label, extent in zip(labels, extents, strict=True):
        holders = [box for box in boxes if box.x0 <= extent.x0 and extent.x1 <= box.x1 and box.contains(*extent.min)]
        assert holders or label.get_fontweight() == "bold", label.get_text()
        assert drawing.bbox.contains(*extent.min)
        assert drawing.bbox.contains(*extent.max)


def test_one_cell_in_both_roles_is_drawn_once() -> None:
    texts = [text.get_text() for text in figure(PUBLISHED["pnasnet_5"].architecture, "x").axes[0].texts]
    assert "normal and reduction cell" in texts
    assert texts.count("output") == 1
    texts = [text.get_text() for text in figure(NASNET_A, "x").axes[0].texts]
    assert texts.count("output") == 2


def test_the_same_cell_gives_the_same_file(tmp_path: Path) -> None:
    for name in ("first.svg", "second.svg"):
        draw(NASNET_A, tmp_path / name, "NASNet-A")
    assert (tmp_path / "first.svg").read_bytes() == (tmp_path / "second.svg").read_bytes()


def test_strange_names_stay_text(tmp_path: Path) -> None:
    """A title is a file's name, and an operation may be anything in a file from elsewhere."""
    cell = Cell((Block.add((0, "<script>$x^{2$"), (1, "a_name_longer_than_its_box")),), (2,))
    draw(Architecture(cell, cell), tmp_path / "cell.svg", "$a & b < c")
    words = [
        element.text for element in ElementTree.parse(tmp_path / "cell.svg").iter() if element.tag.endswith("text")
    ]
    assert "<script>$x^{2$" in words
    assert "$a & b < c" in words
    assert "a_name_longer_tha…" in words


def test_pictures_have_three_formats(tmp_path: Path) -> None:
    for suffix, start in ((".svg", b"<?xml"), (".png", b"\x89PNG"), (".PDF", b"%PDF")):
        draw(NASNET_A, tmp_path / f"cell{suffix}", "x")
        assert (tmp_path / f"cell{suffix}").read_bytes().startswith(start)
    with pytest.raises(InputError, match="ends in '.jpg'; a picture can be .svg, .png, .pdf"):
        draw(NASNET_A, tmp_path / "cell.jpg", "x")
