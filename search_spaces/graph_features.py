"""Cells as numbers: counts and path lengths by operations, the features of a performance predictor.

Those by sets of operations are after GRAF (Kadlecová, Lukasik, Pilát, Vidnerová, Safari, Neruda, Hutter: Surprisingly
Strong Performance Prediction with Neural Graph Features, ICML 2024, section 3). Equal graphs have equal features. All
cells are treated at once, which takes some microseconds a cell.

Knows cells. Does not know what is predicted, or which predictor uses the features.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from search_spaces.architecture import Cell

NONE, IDENTITY = "none", "identity"
"""The operation that gives zeros, over which no path leads; and the one that changes nothing."""

MAX_FOR_ALL_SETS = 4
"""With at most this many operations besides `none`, every set of them counts."""


def graph_features(cells: Sequence[Cell], operations: Sequence[str]) -> NDArray[np.float64]:
    """Return one row of features for each cell.

    For each set of operations: the shortest and the longest path from an input to the output over these operations
    alone (one more than there are blocks, and 0, if there is none), the number of edges with them, how many of these
    read an input, and how many lead to an output. Then the number of outputs and of blocks that concatenate. If every
    set of the operations counts, the edges that read an input are counted for each input.

    Args:
        cells: of one space.
        operations: of the space, in its order.
    """
    named = [name for name in operations if name != NONE]
    sets = _sets(named)
    member = np.array([[name in one for one in sets] for name in operations] + [[False] * len(sets)])
    inputs, source, operation, is_output = _arrays(cells, operations)
    blocks = source.shape[1]
    of_set = member[operation]
    shortest, longest = _path_lengths(source, of_set, inputs, no_path=blocks + 1)
    ends = is_output[:, :, None]
    reading = [(of_set & (source == one)[..., None]).sum((1, 2)) for one in range(inputs)]
    if len(named) > MAX_FOR_ALL_SETS:  # then `count_features` has the edges of each input
        reading = [np.sum(reading, axis=0)]
    ending = of_set & is_output[:, inputs:, None, None]
    parts = [
        np.where(ends, shortest, blocks + 1).min(1),
        np.where(ends, longest, 0).max(1).clip(0),
        of_set.sum((1, 2)),
        *reading,
        ending.sum((1, 2)),
        is_output.sum(1)[:, None],
        _concatenations(cells),
    ]
    return np.concatenate(parts, axis=1).astype(np.float64)


def count_features(cells: Sequence[Cell], operations: Sequence[str]) -> NDArray[np.float64]:
    """Return one row of simple features for each cell; no columns if `graph_features` has all sets of the operations.

    The number of edges with each operation, and of those that read each input. Then the number of blocks that
    concatenate, of outputs and of outputs that are inputs, and the length of the longest path.

    With many operations, each set of them is in few cells. A few hundred cells then say little about sets, and more
    about single operations.

    Args:
        cells, operations: as for `graph_features`.
    """
    if len([name for name in operations if name != NONE]) <= MAX_FOR_ALL_SETS:
        return np.zeros((len(cells), 0))
    inputs, source, operation, is_output = _arrays(cells, operations)
    is_edge = operation < len(operations)
    everything = np.ones((*source.shape, 1), bool) & is_edge[..., None]
    _, longest = _path_lengths(source, everything, inputs, no_path=source.shape[1] + 1)
    parts = [
        (operation[..., None] == np.arange(len(operations))).sum((1, 2)),
        ((source[..., None] == np.arange(inputs)) & is_edge[..., None]).sum((1, 2)),
        _concatenations(cells),
        is_output.sum(1)[:, None],
        is_output[:, :inputs].sum(1)[:, None],
        longest.max((1, 2))[:, None],
    ]
    return np.concatenate(parts, axis=1).astype(np.float64)


def _arrays(
    cells: Sequence[Cell], operations: Sequence[str]
) -> tuple[int, NDArray[np.int64], NDArray[np.int64], NDArray[np.bool_]]:
    """Return the number of inputs, and of all cells at once the edges and outputs.

    They are the state that each edge reads and the place of its operation, both [cell, block, edge], and whether each
    state is an output, [cell, state]. A missing edge has the place after the last operation.
    """
    places = {name: place for place, name in enumerate(operations)}
    blocks = max(len(cell.blocks) for cell in cells)
    inputs = cells[0].inputs
    edges = max(len(block.edges) for cell in cells for block in cell.blocks)
    source = np.zeros((len(cells), blocks, edges), np.int64)
    operation = np.full((len(cells), blocks, edges), len(operations))
    is_output = np.zeros((len(cells), inputs + blocks), bool)
    for row, cell in enumerate(cells):
        is_output[row, list(cell.output)] = True
        for number, block in enumerate(cell.blocks):
            for place, edge in enumerate(block.edges):
                source[row, number, place] = edge.state
                operation[row, number, place] = places[edge.operation]
    return inputs, source, operation, is_output


def _concatenations(cells: Sequence[Cell]) -> NDArray[np.int64]:
    return np.array([[sum(block.combination == "concat" for block in cell.blocks)] for cell in cells])


def _sets(operations: Sequence[str]) -> list[frozenset[str]]:
    """Return all sets of few operations; of many those of one, of one and identity, of all but one, and of all."""
    if len(operations) <= MAX_FOR_ALL_SETS:
        sizes = range(1, len(operations) + 1)
        return [frozenset(one) for size in sizes for one in itertools.combinations(operations, size)]
    every = frozenset(operations)
    found = [frozenset([name]) for name in operations]
    found += [frozenset([name, IDENTITY]) for name in operations if IDENTITY in every]
    found += [every - {name} for name in operations]
    return list(dict.fromkeys([*found, every]))


def _path_lengths(
    source: NDArray[np.int64], of_set: NDArray[np.bool_], inputs: int, *, no_path: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the shortest and longest path to each state over each set; `no_path` and -1 where there is none.

    Args:
        source: the state that each edge reads: (cells, blocks, edges).
        of_set: whether each set has the edge's operation: (cells, blocks, edges, sets).
        inputs: number of input states.
        no_path: more than any path has edges.
    """
    cells, blocks, edges, sets = of_set.shape
    shortest = np.full((cells, inputs + blocks, sets), no_path)
    longest = np.full((cells, inputs + blocks, sets), -1)
    shortest[:, :inputs] = longest[:, :inputs] = 0
    rows = np.arange(cells)
    for block, edge in itertools.product(range(blocks), range(edges)):
        before, has = source[:, block, edge], of_set[:, block, edge]
        state = inputs + block
        near = np.where(has, shortest[rows, before] + 1, no_path)
        far = np.where(has & (longest[rows, before] >= 0), longest[rows, before] + 1, -1)
        shortest[:, state] = np.minimum(shortest[:, state], near.clip(max=no_path))
        longest[:, state] = np.maximum(longest[:, state], far)
    return shortest, longest
