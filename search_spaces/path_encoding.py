"""Cells as counts of paths: the features of a performance predictor (White, Neiswanger, Savani: BANANAS: Bayesian
Optimization with Neural Architectures for Neural Architecture Search, AAAI 2021, section 4).

A path leads from an input of a cell to its output. It consists of the input, and the operation and combination of each
block on the way. It contains neither block numbers nor the order of edges, so equal graphs have equal paths. Unlike the
paper, we count how often a path occurs, not only whether it occurs.

Knows cells. Does not know what is predicted, or which predictor uses the counts.
"""

from __future__ import annotations

from collections import Counter

from search_spaces.architecture import Cell

Path = tuple[int | str, ...]
"""The input's state, then operation, combination, operation, combination, ... of the blocks on the path."""

MAX_OPERATIONS = 5
"""Operations on the longest path that is counted. Longer paths are many and each is rare, so the paper drops them too;
no cell of the spaces in this package has one."""


def count_paths(cell: Cell, max_operations: int = MAX_OPERATIONS) -> Counter[Path]:
    """Count each path of at most `max_operations` operations from an input of the cell to its output.

    Raises:
        ValueError: max_operations is negative.
    """
    if max_operations < 0:
        raise ValueError(f"max_operations is {max_operations}; it must be at least 0")
    to_state: list[Counter[Path]] = [Counter([(state,)]) for state in range(cell.inputs)]
    for block in cell.blocks:
        arriving: Counter[Path] = Counter()
        for edge in block.edges:
            for path, times in to_state[edge.state].items():
                if len(path) < 1 + 2 * max_operations:
                    arriving[(*path, edge.operation, block.combination)] += times
        to_state.append(arriving)
    to_output: Counter[Path] = Counter()
    for state in cell.output:
        to_output.update(to_state[state])
    return to_output
