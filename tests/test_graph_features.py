"""The features of cells: counts and path lengths by sets of operations."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from search_spaces import SPACES, Block, Cell, CellSpace
from search_spaces.graph_features import count_features, graph_features

OPERATIONS = ("none", "a", "b")
SETS = 3
"""{a}, {b} and {a, b}."""


def features_of(cell: Cell) -> dict[str, list[float]]:
    row = graph_features([cell], OPERATIONS)[0].tolist()
    names = ("shortest", "longest", "edges", "from_first_input", "from_second_input", "to_outputs")
    found = {name: row[SETS * place : SETS * (place + 1)] for place, name in enumerate(names)}
    return {**found, "rest": row[SETS * len(names) :]}


def test_paths_and_edges_are_counted_over_each_set_of_operations() -> None:
    """State 2 = a(0) + b(1), state 3 = b(2) + a(2); the output is state 3."""
    cell = Cell((Block.add((0, "a"), (1, "b")), Block.add((2, "b"), (2, "a"))), output=(3,))
    assert features_of(cell) == {
        "shortest": [2, 2, 2],
        "longest": [2, 2, 2],
        "edges": [2, 2, 4],
        "from_first_input": [1, 0, 1],
        "from_second_input": [0, 1, 1],
        "to_outputs": [1, 1, 2],
        "rest": [1, 0],
    }


def test_few_operations_are_told_apart_by_the_input_that_they_read_and_many_are_not() -> None:
    first, second = (Cell((Block.add((one, "a"), (one, "b")),), output=(2,)) for one in (0, 1))
    few, many = (graph_features([first, second], operations) for operations in (OPERATIONS, ("a", "b", "c", "d", "e")))
    assert (few[0] != few[1]).any()
    assert (many[0] == many[1]).all()  # `count_features` counts the edges of each input


def test_no_path_leads_over_none_or_over_another_operation() -> None:
    """Over a alone, no path leads to the output; over b, the direct one."""
    cell = Cell((Block.add((0, "a"), (1, "none")), Block.add((2, "none"), (1, "b"))), output=(3,))
    found = features_of(cell)
    assert found["shortest"] == [3, 1, 1]
    assert found["longest"] == [0, 1, 1]
    assert found["edges"] == [1, 1, 2]


def test_an_input_that_is_an_output_is_a_path_without_edges() -> None:
    cell = Cell((Block((*Block.add((0, "a"), (0, "a")).edges,), "concat"),), output=(0, 2))
    found = features_of(cell)
    assert found["shortest"] == [0, 0, 0]
    assert found["longest"] == [1, 0, 1]
    assert found["rest"] == [2, 1]


def test_of_many_operations_single_ones_are_counted() -> None:
    """State 2 = a(0) + b(1), state 3 = concat(b(0), b(2)); the outputs are the states 1 and 3."""
    blocks = (Block.add((0, "a"), (1, "b")), Block(Block.add((0, "b"), (2, "b")).edges, "concat"))
    cell = Cell(blocks, output=(1, 3))
    operations = ("a", "none", "b", "c", "d", "e")
    edges, inputs = [1, 0, 3, 0, 0, 0], [2, 1]
    concatenations, outputs, inputs_among_them, longest = 1, 2, 1, 2
    assert count_features([cell], operations)[0].tolist() == [
        *(*edges, *inputs),
        *(concatenations, outputs, inputs_among_them, longest),
    ]
    assert count_features([cell], operations[:5]).shape == (1, 0)  # all sets of four operations are features


@pytest.mark.parametrize("features", [graph_features, count_features])
@pytest.mark.parametrize("space", SPACES.values(), ids=lambda space: space.name)
def test_equal_graphs_have_equal_features_and_cells_do_not_disturb_each_other(
    space: CellSpace, features: Callable[..., NDArray[np.float64]]
) -> None:
    generator = np.random.default_rng(0)
    cells = [space.sample(generator).normal for _ in range(20)]
    together = features(cells, space.operations)
    alone = np.concatenate([features([cell.canonical()], space.operations) for cell in cells])
    assert (together == alone).all()
    assert len(np.unique(together, axis=0)) > 10 or not together.shape[1]
