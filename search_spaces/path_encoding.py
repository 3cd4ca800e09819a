"""Architectures as counts of paths, the features from which a predictor learns (White, Neiswanger, Savani: BANANAS:
Bayesian Optimization with Neural Architectures for Neural Architecture Search, AAAI 2021, section 4).

A path leads from an input of a cell to its output; what is written down of it is the input, and the operation and the
combination of each block on the way. Neither the numbers of the blocks nor the order of their edges show, so that equal
graphs have equal paths. Unlike the paper we count how often a path occurs, not only whether it does.

Knows cells. Does not know what is predicted, or by whom.
"""

from __future__ import annotations

from collections import Counter

from search_spaces.architecture import Cell

Path = tuple[int | str, ...]
"""The input's state, then operation, combination, operation, combination, ... of the blocks that are passed."""

LONGEST = 5
"""Operations on a path that is counted. Longer ones are many and each is rare, which is why the paper cuts them off
too; no cell of the spaces in this package has one."""


def count_paths(cell: Cell, longest: int = LONGEST) -> Counter[Path]:
    """Each path of at most `longest` operations from an input of the cell to its output, and how often it occurs.

    Raises:
        ValueError: longest is negative.
    """
    if longest < 0:
        raise ValueError(f"longest is {longest}; at least 0 is needed")
    to_state: list[Counter[Path]] = [Counter([(state,)]) for state in range(cell.inputs)]
    for block in cell.blocks:
        arriving: Counter[Path] = Counter()
        for edge in block.edges:
            for path, times in to_state[edge.state].items():
                if len(path) < 1 + 2 * longest:
                    arriving[(*path, edge.operation, block.combination)] += times
        to_state.append(arriving)
    to_output: Counter[Path] = Counter()
    for state in cell.output:
        to_output.update(to_state[state])
    return to_output
