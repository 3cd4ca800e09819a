"""Cells as counts of paths."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from search_spaces import NAS_BENCH_201, Architecture, Block, Cell, Edge
from search_spaces.path_encoding import count_paths
from tests.cells import cells, members


def test_a_small_cell_by_hand() -> None:
    """Block 2 reads both inputs, block 3 reads block 2 twice; the output also includes input 0 directly."""
    cell = Cell((Block.add((0, "a"), (1, "b")), Block.add((2, "c"), (2, "d"))), output=(0, 3))
    assert count_paths(cell) == {
        (0,): 1,
        (0, "a", "add", "c", "add"): 1,
        (0, "a", "add", "d", "add"): 1,
        (1, "b", "add", "c", "add"): 1,
        (1, "b", "add", "d", "add"): 1,
    }


def test_repeated_paths_are_counted() -> None:
    cell = Cell((Block.add((0, "a"), (0, "a")), Block.add((1, "a"), (1, "b"))), output=(1, 2), inputs=1)
    assert count_paths(cell) == {(0, "a", "add"): 2, (0, "a", "add", "a", "add"): 2, (0, "a", "add", "b", "add"): 2}


def test_a_block_that_does_not_reach_the_output_is_on_no_path() -> None:
    cell = Cell((Block.add((0, "a")), Block.add((1, "b"))), output=(3,))
    assert count_paths(cell) == {(1, "b", "add"): 1}


def test_a_combination_is_part_of_the_path() -> None:
    added, concatenated = (Cell((Block(Block.add((0, "a")).edges, name),), (2,)) for name in ("add", "concat"))
    assert count_paths(added) != count_paths(concatenated)


def test_longer_paths_are_not_counted() -> None:
    chain = Cell(tuple(Block.add((state, "a"), (state, "b")) for state in range(9)), output=(1, 9), inputs=1)
    assert {len(path) for path in count_paths(chain, max_operations=1)} == {3}
    assert count_paths(chain, max_operations=9).total() == 2 + 2**9
    with pytest.raises(ValueError, match="max_operations is -1; it must be at least 0"):
        count_paths(chain, max_operations=-1)


@given(members(NAS_BENCH_201))
@settings(max_examples=20)
def test_a_cell_of_nas_bench_201_has_four_paths(architecture: Architecture) -> None:
    """From node 0 to node 3: directly, through node 1, through node 2, through both."""
    lengths = Counter(len(path) // 2 for path in count_paths(architecture.normal).elements())
    assert lengths == {1: 1, 2: 2, 3: 1}


@given(cells())
@settings(max_examples=50)
def test_the_canonical_cell_has_the_same_paths(cell: Cell) -> None:
    assert count_paths(cell) == count_paths(cell.canonical())


@given(cells(), st.data())
@settings(max_examples=50)
def test_another_operation_changes_the_paths_if_its_block_is_an_output(cell: Cell, data: st.DataObject) -> None:
    state = data.draw(st.sampled_from(cell.output))
    if state < cell.inputs:
        return
    block = cell.blocks[state - cell.inputs]
    changed = Block((Edge(block.edges[0].state, "other"), *block.edges[1:]), block.combination)
    blocks = [changed if index == state - cell.inputs else old for index, old in enumerate(cell.blocks)]
    assert count_paths(Cell(tuple(blocks), cell.output, cell.inputs)) != count_paths(cell)
