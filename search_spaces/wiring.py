"""Rules of search spaces: which states a block reads, and which states a cell outputs. Two tables, by rule name."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from search_spaces.architecture import Block, Edge

SIDES = ("left", "right")

Choose = Callable[[str, Sequence[Any]], Any]
"""(name of the decision, choices) -> the chosen one."""


class ChooseEdges(Protocol):
    """Make the decisions of one block and return its edges.

    `prefix` begins the names of the decisions; `states` is the number of states before the block.
    """

    def __call__(self, choose: Choose, *, prefix: str, states: int, operations: tuple[str, ...]) -> tuple[Edge, ...]:
        """Return the edges of the block."""


@dataclass(frozen=True)
class Wiring:
    """Turns decisions into the edges of a block, and edges back into decisions."""

    choose_edges: ChooseEdges
    encode_edges: Callable[[str, tuple[Edge, ...], int], dict[str, int | str]]
    """(prefix, edges, number of states before the block) -> decisions; ValueError if the edges break the rule."""


def _any_pair(choose: Choose, *, prefix: str, states: int, operations: tuple[str, ...]) -> tuple[Edge, ...]:
    return tuple(
        Edge(choose(f"{prefix}.{side}.state", range(states)), choose(f"{prefix}.{side}.operation", operations))
        for side in SIDES
    )


def _encode_any_pair(prefix: str, edges: tuple[Edge, ...], _states: int) -> dict[str, int | str]:
    values: dict[str, int | str] = {}
    for side, edge in zip(SIDES, _pair(prefix, edges), strict=True):
        values |= {f"{prefix}.{side}.state": edge.state, f"{prefix}.{side}.operation": edge.operation}
    return values


def _distinct_pair(choose: Choose, *, prefix: str, states: int, operations: tuple[str, ...]) -> tuple[Edge, ...]:
    # One decision for both states: the choices of a categorical are fixed, so a second one could not exclude the first.
    pairs = [f"{left}+{right}" for left, right in itertools.combinations(range(states), 2)]
    pair = choose(f"{prefix}.states", pairs).split("+")
    return tuple(
        Edge(int(state), choose(f"{prefix}.{side}.operation", operations))
        for side, state in zip(SIDES, pair, strict=True)
    )


def _encode_distinct_pair(prefix: str, edges: tuple[Edge, ...], _states: int) -> dict[str, int | str]:
    left, right = sorted(_pair(prefix, edges))
    if left.state == right.state:
        raise ValueError(f"block {prefix} reads state {left.state} twice; its space needs two distinct states")
    return {
        f"{prefix}.states": f"{left.state}+{right.state}",
        f"{prefix}.left.operation": left.operation,
        f"{prefix}.right.operation": right.operation,
    }


def _all_states(choose: Choose, *, prefix: str, states: int, operations: tuple[str, ...]) -> tuple[Edge, ...]:
    return tuple(Edge(state, choose(f"{prefix}.from_{state}.operation", operations)) for state in range(states))


def _encode_all_states(prefix: str, edges: tuple[Edge, ...], states: int) -> dict[str, int | str]:
    read = sorted(edge.state for edge in edges)
    if read != list(range(states)):
        raise ValueError(
            f"block {prefix} reads states {read}; in its space it must read each of 0 to {states - 1} once"
        )
    return {f"{prefix}.from_{edge.state}.operation": edge.operation for edge in edges}


def _pair(prefix: str, edges: tuple[Edge, ...]) -> tuple[Edge, ...]:
    if len(edges) != len(SIDES):
        raise ValueError(f"block {prefix} has {len(edges)} edges; in its space it must have {len(SIDES)}")
    return edges


WIRINGS = {
    "any_pair": Wiring(_any_pair, _encode_any_pair),
    "distinct_pair": Wiring(_distinct_pair, _encode_distinct_pair),
    "all_states": Wiring(_all_states, _encode_all_states),
}


def _loose_ends(blocks: Sequence[Block], inputs: int) -> tuple[int, ...]:
    return tuple(state for state in _loose_states(blocks, inputs) if state >= inputs)


def _loose_states(blocks: Sequence[Block], inputs: int) -> tuple[int, ...]:
    used = {edge.state for block in blocks for edge in block.edges}
    return tuple(state for state in range(inputs + len(blocks)) if state not in used)


def _all_blocks(blocks: Sequence[Block], inputs: int) -> tuple[int, ...]:
    return tuple(range(inputs, inputs + len(blocks)))


def _last_block(blocks: Sequence[Block], inputs: int) -> tuple[int, ...]:
    return (inputs + len(blocks) - 1,)


OUTPUT_RULES: dict[str, Callable[[Sequence[Block], int], tuple[int, ...]]] = {
    "loose_ends": _loose_ends,
    "loose_states": _loose_states,
    "all_blocks": _all_blocks,
    "last_block": _last_block,
}
"""(blocks, inputs) -> the states that the cell concatenates."""
