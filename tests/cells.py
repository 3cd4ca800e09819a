"""Hypothesis strategies for cells and architectures."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st

from search_spaces import Architecture, Block, Cell, CellSpace, Edge
from trainables.operations import OPERATIONS


@st.composite
def cells(draw: st.DrawFn, operations: tuple[str, ...] = tuple(OPERATIONS), max_blocks: int = 5) -> Cell:
    """Any valid cell, in a space or not: one to three edges per block, any output."""
    inputs = draw(st.sampled_from([1, 2]))
    count = draw(st.integers(1, max_blocks))

    def block(states: int) -> Block:
        edge = st.builds(Edge, st.integers(0, states - 1), st.sampled_from(operations))
        edges = draw(st.lists(edge, min_size=1, max_size=3))
        return Block(tuple(edges), draw(st.sampled_from(["add", "concat"])))

    blocks = tuple(block(inputs + index) for index in range(count))
    output = draw(st.sets(st.integers(0, inputs + count - 1), min_size=1))
    return Cell(blocks, tuple(sorted(output)), inputs)


def architectures() -> st.SearchStrategy[Architecture]:
    return st.builds(Architecture, cells(), cells())


def members(space: CellSpace) -> st.SearchStrategy[Architecture]:
    """Architectures drawn from a space."""
    return st.integers(0, 2**32 - 1).map(lambda seed: space.sample(np.random.default_rng(seed)))
