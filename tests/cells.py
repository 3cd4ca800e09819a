"""Hypothesis strategies for cells and architectures."""

from __future__ import annotations

from hypothesis import strategies as st

from search_spaces import NASNET, Architecture, Block, Cell, Edge


@st.composite
def cells(draw: st.DrawFn, operations: tuple[str, ...] = NASNET.operations, max_blocks: int = 5) -> Cell:
    """Any cell, not only those whose output is the loose ends."""

    def edge(states: int) -> Edge:
        return Edge(draw(st.integers(0, states - 1)), draw(st.sampled_from(operations)))

    count = draw(st.integers(1, max_blocks))
    blocks = tuple(
        Block(edge(index + 2), edge(index + 2), draw(st.sampled_from(["add", "concat"]))) for index in range(count)
    )
    output = draw(st.sets(st.integers(0, count + 1), min_size=1))
    return Cell(blocks, tuple(sorted(output)))


def architectures() -> st.SearchStrategy[Architecture]:
    return st.builds(Architecture, cells(), cells())
