"""A space of cells, stated as a Ray Tune parameter space.

Knows which decisions make up an architecture and how they are named. Does not know what an operation computes.
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np
from ray import tune
from ray.tune.search.sample import Categorical

from search_spaces.architecture import COMBINATIONS, MAX_INPUTS, Architecture, Block, Cell
from search_spaces.wiring import OUTPUT_RULES, WIRINGS, Choose

COUNTABLE = 50_000
"""Cells of more encodings than this are not enumerated to count the distinct ones (that would take seconds)."""


class Decision(NamedTuple):
    """One categorical decision: its name, flat and without `/`, and what may be chosen."""

    name: str
    choices: Sequence[int] | Sequence[str]


@dataclass(frozen=True, kw_only=True)
class CellSpace:
    """All architectures whose cells have the same number of blocks, wired and ended by the same rules.

    Each block chooses what it reads, an operation for each edge, and a combination (Zoph et al. 2018, section 3.1).

    Args:
        name: as users name it in a search file.
        source: the paper.
        operations: names of operations that a trainable knows.
        blocks: B, the number of blocks per cell, at least 1.
        combinations: how a block may combine its edges; with one choice there is no decision.
        wiring: which earlier states a block reads. `any_pair`: two, perhaps the same one twice; `distinct_pair`: two
            different ones; `all_states`: every one.
        output: which states a cell concatenates. `loose_ends`: the blocks that no block reads; `loose_states`: the
            same, and inputs that no block reads; `all_blocks`; `last_block`.
        inputs: states that a cell is given: the outputs of cells k-2 and k-1, or with 1 only that of k-1.
        shared: one cell is searched and serves in both roles.
        reduction: a fixed reduction cell, which is then not searched.
        skeleton: the rules by which the space's papers make networks of its cells (`cellscout list skeletons`).

    Raises:
        ValueError: a value is out of its range, or two contradict each other.
    """

    name: str
    source: str
    operations: tuple[str, ...]
    blocks: int
    combinations: tuple[str, ...] = ("add",)
    wiring: Literal["any_pair", "distinct_pair", "all_states"] = "any_pair"
    output: Literal["loose_ends", "loose_states", "all_blocks", "last_block"] = "loose_ends"
    inputs: int = MAX_INPUTS
    shared: bool = False
    reduction: Cell | None = None
    skeleton: str = "nasnet_cifar"

    def __post_init__(self) -> None:
        if type(self.blocks) is not int or self.blocks < 1:
            raise ValueError(
                f"space {self.name!r} has blocks = {self.blocks!r}; a whole number of at least 1 is needed"
            )
        for field, names in (("operations", self.operations), ("combinations", self.combinations)):
            if not isinstance(names, tuple) or not all(isinstance(name, str) for name in names):
                raise ValueError(f"space {self.name!r} has {field} = {names!r}; a tuple of names is needed")
            if not names or len(set(names)) < len(names):
                raise ValueError(f"space {self.name!r} has {field} = {names!r}; at least one is needed, each once")
        if not set(self.combinations) <= set(COMBINATIONS):
            known = ", ".join(COMBINATIONS)
            raise ValueError(f"space {self.name!r} has combinations = {self.combinations!r}; known: {known}")
        if not 1 <= self.inputs <= MAX_INPUTS:
            raise ValueError(f"space {self.name!r} has inputs = {self.inputs}; 1 to {MAX_INPUTS} are possible")
        for rule, rules in ((self.wiring, WIRINGS), (self.output, OUTPUT_RULES)):
            if rule not in rules:
                raise ValueError(f"space {self.name!r} has the rule {rule!r}; known: {', '.join(rules)}")
        if self.wiring == "distinct_pair" and self.inputs < 2:
            raise ValueError(f"space {self.name!r}: blocks of two distinct states need inputs = 2")
        if self.reduction is not None and not isinstance(self.reduction, Cell):
            raise ValueError(f"space {self.name!r} has reduction = {self.reduction!r}, which is no Cell")
        if self.shared and self.reduction is not None:
            raise ValueError(f"space {self.name!r} is shared and has a fixed reduction cell; it can be one of them")

    @property
    def cells(self) -> tuple[str, ...]:
        """The cells that are searched, by name."""
        if self.shared:
            return ("cell",)
        return ("normal", "reduction") if self.reduction is None else ("normal",)

    def decisions(self) -> Iterator[Decision]:
        """Every decision with more than one choice, in the order in which `decode` makes them."""
        made: list[Decision] = []
        self._assemble(_recorder(made))
        yield from made

    @functools.cached_property
    def _choices(self) -> dict[str, Sequence[int] | Sequence[str]]:
        """The decisions once more; a search decodes thousands of candidates."""
        return dict(self.decisions())

    def param_space(self) -> dict[str, Categorical]:
        """The space as Ray Tune states it: flat, one categorical per decision (50 for NASNet with 5 blocks)."""
        return {name: tune.choice(list(choices)) for name, choices in self.decisions()}

    @property
    def size(self) -> int:
        """Number of encodings, symmetric ones counted separately."""
        return math.prod(len(choices) for _, choices in self.decisions())

    def count_distinct(self) -> int | None:
        """Number of architectures that differ as graphs, by enumeration; None where a cell has too many encodings."""
        made: list[Decision] = []
        self._cell(_recorder(made), self.cells[0])
        if math.prod(len(choices) for _, choices in made) > COUNTABLE:
            return None
        classes = set()
        for values in itertools.product(*(choices for _, choices in made)):
            chosen = dict(zip((name for name, _ in made), values, strict=True))
            classes.add(self._cell(_chooser(chosen), self.cells[0]).canonical())
        return int(len(classes) ** len(self.cells))

    def decode(self, params: Mapping[str, Any]) -> Architecture:
        """The architecture that the parameters describe.

        Raises:
            ValueError: a decision is missing, unknown, or out of its choices.
        """
        known = self._choices
        for name, value in params.items():
            if name not in known:
                raise ValueError(f"{name!r} is no decision of space {self.name!r}")
            if value not in known[name]:
                raise ValueError(f"{name} is {value!r}; choices: {', '.join(map(str, known[name]))}")
        for name in known:
            if name not in params:
                raise ValueError(f"decision {name!r} of space {self.name!r} is missing")
        return self._assemble(_chooser(params))

    def encode(self, architecture: Architecture) -> dict[str, int | str]:
        """Inverse of `decode`.

        Raises:
            ValueError: the architecture is not in the space, for example because its output is not the one that the
                space's rule gives (as in NASNet-A, whose normal cell also concatenates state 0).
        """
        values: dict[str, int | str] = {}
        if self.shared and architecture.normal != architecture.reduction:
            raise ValueError(f"its two cells differ; in space {self.name!r} one cell serves in both roles")
        if self.reduction is not None and architecture.reduction != self.reduction:
            raise ValueError(f"its reduction cell is not the fixed one of space {self.name!r}")
        for name, cell in zip(self.cells, (architecture.normal, architecture.reduction), strict=False):
            values |= self._encode_cell(name, cell)
        return {name: values[name] for name, _ in self.decisions()}

    def sample(self, generator: np.random.Generator) -> Architecture:
        """An architecture drawn uniformly from the encodings."""
        return self._assemble(lambda _name, choices: choices[int(generator.integers(len(choices)))])

    def _assemble(self, choose: Choose) -> Architecture:
        cells = [self._cell(choose, name) for name in self.cells]
        return Architecture(normal=cells[0], reduction=self.reduction or cells[-1])

    def _cell(self, choose: Choose, name: str) -> Cell:
        blocks = []
        for index in range(self.blocks):
            prefix = f"{name}.{index}"
            edges = WIRINGS[self.wiring].choose(choose, prefix, self.inputs + index, self.operations)
            blocks.append(Block(edges, choose(f"{prefix}.combination", self.combinations)))
        return Cell(tuple(blocks), OUTPUT_RULES[self.output](blocks, self.inputs), self.inputs)

    def _encode_cell(self, name: str, cell: Cell) -> dict[str, int | str]:
        if (len(cell.blocks), cell.inputs) != (self.blocks, self.inputs):
            raise ValueError(
                f"the {name} cell has {len(cell.blocks)} blocks and {cell.inputs} inputs; "
                f"space {self.name!r} has {self.blocks} and {self.inputs}"
            )
        output = OUTPUT_RULES[self.output](cell.blocks, self.inputs)
        if cell.output != output:
            raise ValueError(
                f"the {name} cell outputs {list(cell.output)}; "
                f"in space {self.name!r} it would output {list(output)} ({self.output})"
            )
        values: dict[str, int | str] = {}
        for index, block in enumerate(cell.blocks):
            prefix = f"{name}.{index}"
            for edge in block.edges:
                self._check_member(edge.operation, self.operations)
            self._check_member(block.combination, self.combinations)
            values |= WIRINGS[self.wiring].encode(prefix, block.edges, self.inputs + index)
            values[f"{prefix}.combination"] = block.combination
        return values

    def _check_member(self, value: str, choices: tuple[str, ...]) -> None:
        if value not in choices:
            raise ValueError(f"{value!r} is not in space {self.name!r}; choices: {', '.join(choices)}")


def _recorder(made: list[Decision]) -> Callable[[str, Sequence[Any]], Any]:
    """Chooses the first of everything, and writes down what there was to choose. One choice is no decision."""

    def choose(name: str, choices: Sequence[Any]) -> Any:
        if len(choices) > 1:
            made.append(Decision(name, choices))
        return choices[0]

    return choose


def _chooser(values: Mapping[str, Any]) -> Callable[[str, Sequence[Any]], Any]:
    return lambda name, choices: values.get(name, choices[0])
