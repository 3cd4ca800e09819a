"""A space of cells, stated as a Ray Tune parameter space.

Knows which decisions make up an architecture and how they are named. Does not know what an operation computes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeVar

import numpy as np
from ray import tune
from ray.tune.search.sample import Categorical

from search_spaces.architecture import CELL_INPUTS, Architecture, Block, Cell, Edge

CELLS = ("normal", "reduction")
SIDES = ("left", "right")

Choice = TypeVar("Choice", int, str)


class Decision(NamedTuple):
    """One categorical decision: its name, flat and without `/`, and what may be chosen."""

    name: str
    choices: Sequence[int] | Sequence[str]


@dataclass(frozen=True)
class CellSpace:
    """All architectures of two cells with the same number of blocks, outputs by the loose-end rule.

    Each block chooses two earlier states, an operation for each, and a combination (Zoph et al. 2018, section 3.1).

    Args:
        name: as users name it in a search file.
        operations: names of operations that a trainable knows.
        blocks: B, the number of blocks a cell, at least 1.
        combinations: how a block may combine its sides; with one choice there is no decision.
        source: the paper.
    """

    name: str
    operations: tuple[str, ...]
    blocks: int
    combinations: tuple[str, ...]
    source: str

    def __post_init__(self) -> None:
        if self.blocks < 1:
            raise ValueError(f"space {self.name!r} has blocks = {self.blocks}; at least 1 is needed")
        if not self.operations or not self.combinations:
            raise ValueError(f"space {self.name!r} needs at least one operation and one combination")

    def decisions(self) -> Iterator[Decision]:
        """Every decision with more than one choice, in the order in which `decode` makes them."""
        for cell in CELLS:
            for index in range(self.blocks):
                for side in SIDES:
                    yield Decision(f"{cell}.{index}.{side}.state", range(CELL_INPUTS + index))
                    if len(self.operations) > 1:
                        yield Decision(f"{cell}.{index}.{side}.operation", self.operations)
                if len(self.combinations) > 1:
                    yield Decision(f"{cell}.{index}.combination", self.combinations)

    def param_space(self) -> dict[str, Categorical]:
        """The space as Ray Tune states it: flat, one categorical a decision (50 for NASNet with 5 blocks)."""
        return {name: tune.choice(list(choices)) for name, choices in self.decisions()}

    @property
    def size(self) -> int:
        """Number of encodings, symmetric ones counted separately."""
        return math.prod(len(choices) for _, choices in self.decisions())

    def decode(self, params: Mapping[str, Any]) -> Architecture:
        """The architecture that the parameters describe.

        Raises:
            ValueError: a decision is missing, unknown, or out of its choices.
        """
        known: dict[str, Sequence[int] | Sequence[str]] = dict(self.decisions())
        for name, value in params.items():
            if name not in known:
                raise ValueError(f"{name!r} is no decision of space {self.name!r}")
            if value not in known[name]:
                raise ValueError(f"{name} is {value!r}; choices: {', '.join(map(str, known[name]))}")
        for name in known:
            if name not in params:
                raise ValueError(f"decision {name!r} of space {self.name!r} is missing")
        return self._assemble(lambda name, choices: params.get(name, choices[0]))

    def encode(self, architecture: Architecture) -> dict[str, int | str]:
        """Inverse of `decode`.

        Raises:
            ValueError: the architecture is not in the space, for example because its output is not the loose ends
                (as in NASNet-A, whose normal cell also concatenates state 0).
        """
        values: dict[str, int | str] = {}
        for name, cell in zip(CELLS, (architecture.normal, architecture.reduction), strict=True):
            if len(cell.blocks) != self.blocks:
                raise ValueError(
                    f"the {name} cell has {len(cell.blocks)} blocks; space {self.name!r} has {self.blocks}"
                )
            loose_ends = Cell.with_loose_ends(cell.blocks).output
            if cell.output != loose_ends:
                raise ValueError(
                    f"the {name} cell outputs {list(cell.output)}; in space {self.name!r} "
                    f"it would output its loose ends {list(loose_ends)}"
                )
            for index, block in enumerate(cell.blocks):
                for side, edge in zip(SIDES, block.edges, strict=True):
                    values[f"{name}.{index}.{side}.state"] = edge.state
                    values[f"{name}.{index}.{side}.operation"] = _member(edge.operation, self.operations, self.name)
                values[f"{name}.{index}.combination"] = _member(block.combination, self.combinations, self.name)
        return {name: values[name] for name, _ in self.decisions()}

    def sample(self, generator: np.random.Generator) -> Architecture:
        """An architecture drawn uniformly from the encodings."""

        def draw(_name: str, choices: Sequence[Choice]) -> Choice:
            return choices[int(generator.integers(len(choices)))]

        return self._assemble(draw)

    def _assemble(self, choose: Callable[[str, Sequence[Any]], Any]) -> Architecture:
        def edge(prefix: str, index: int) -> Edge:
            state = choose(f"{prefix}.state", range(CELL_INPUTS + index))
            return Edge(state, choose(f"{prefix}.operation", self.operations))

        def cell(name: str) -> Cell:
            blocks = [
                Block(
                    edge(f"{name}.{index}.left", index),
                    edge(f"{name}.{index}.right", index),
                    choose(f"{name}.{index}.combination", self.combinations),
                )
                for index in range(self.blocks)
            ]
            return Cell.with_loose_ends(blocks)

        return Architecture(*(cell(name) for name in CELLS))


def _member(value: str, choices: tuple[str, ...], space: str) -> str:
    if value not in choices:
        raise ValueError(f"{value!r} is not in space {space!r}; choices: {', '.join(choices)}")
    return value
