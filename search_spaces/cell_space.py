"""A search space of cells, expressed as a Ray Tune parameter space.

Knows which decisions make up an architecture and how they are named. Does not know what an operation computes.
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np

from search_spaces.architecture import COMBINATIONS, MAX_INPUTS, Architecture, Block, Cell
from search_spaces.wiring import OUTPUT_RULES, WIRINGS, Choose

if TYPE_CHECKING:
    from ray.tune.search.sample import Categorical

MAX_COUNTED_ENCODINGS = 50_000
"""Largest number of encodings of a cell that `count_distinct` enumerates; more would take seconds."""


class Decision(NamedTuple):
    """One categorical decision: its name, flat and without `/`, and its choices."""

    name: str
    choices: Sequence[int] | Sequence[str]


@dataclass(frozen=True, kw_only=True)
class CellSpace:
    """All architectures whose cells have the same number of blocks and follow the same wiring and output rules.

    Each block chooses the states that it reads, an operation for each edge, and a combination (Zoph et al. 2018,
    section 3.1).

    Raises:
        ValueError: a value is out of its range, or two values contradict each other.
    """

    name: str
    """Name in a search file."""
    source: str
    """Paper and section."""
    operations: tuple[str, ...]
    """Names of operations that the trainable knows."""
    blocks: int
    """B, the number of blocks per cell, at least 1."""
    combinations: tuple[str, ...] = ("add",)
    """How a block may combine its edges; a single choice is not a decision."""
    wiring: Literal["any_pair", "distinct_pair", "all_states"] = "any_pair"
    """Which earlier states a block reads. `any_pair`: two, possibly the same state twice; `distinct_pair`: two
    different states; `all_states`: every earlier state."""
    output: Literal["loose_ends", "loose_states", "all_blocks", "last_block"] = "loose_ends"
    """Which states a cell concatenates. `loose_ends`: blocks that no block reads; `loose_states`: blocks and inputs
    that no block reads; `all_blocks`; `last_block`."""
    inputs: int = MAX_INPUTS
    """Number of input states. 2: the outputs of cells k-2 and k-1; 1: only the output of cell k-1."""
    shared: bool = False
    """Whether one searched cell serves as both the normal and the reduction cell."""
    reduction: Cell | None = None
    """A fixed reduction cell, which is not searched; None searches it."""
    reduces: bool = True
    """Whether networks have reduction cells. If not, only the normal cell is searched, and the other equals it."""
    skeleton: str = "nasnet_cifar"
    """Rules by which the space's paper builds networks from its cells (`cellscout list skeletons`)."""

    def __post_init__(self) -> None:
        if type(self.blocks) is not int or self.blocks < 1:
            raise ValueError(
                f"space {self.name!r} has blocks = {self.blocks!r}; a whole number of at least 1 is needed"
            )
        for field, names in (("operations", self.operations), ("combinations", self.combinations)):
            if not isinstance(names, list | tuple) or not all(isinstance(name, str) for name in names):
                raise ValueError(f"space {self.name!r} has {field} = {names!r}; a tuple of names is needed")
            object.__setattr__(self, field, tuple(names))  # a list cannot be hashed
            if not names or len(set(names)) < len(names):
                raise ValueError(
                    f"space {self.name!r} has {field} = {names!r}; at least one name is needed, without repetitions"
                )
        if not set(self.combinations) <= set(COMBINATIONS):
            known = ", ".join(COMBINATIONS)
            raise ValueError(f"space {self.name!r} has combinations = {self.combinations!r}; known: {known}")
        if not 1 <= self.inputs <= MAX_INPUTS:
            raise ValueError(f"space {self.name!r} has inputs = {self.inputs}; it must be 1 to {MAX_INPUTS}")
        for rule, rules in ((self.wiring, WIRINGS), (self.output, OUTPUT_RULES)):
            if rule not in rules:
                raise ValueError(f"space {self.name!r} has the rule {rule!r}; known: {', '.join(rules)}")
        if self.wiring == "distinct_pair" and self.inputs < 2:
            raise ValueError(f"space {self.name!r}: wiring = 'distinct_pair' needs inputs = 2, not {self.inputs}")
        if self.reduction is not None and not isinstance(self.reduction, Cell):
            raise ValueError(f"space {self.name!r} has reduction = {self.reduction!r}, which is not a Cell")
        if self.shared and self.reduction is not None:
            raise ValueError(f"space {self.name!r} has shared = True and a fixed reduction cell; set only one of them")

    @property
    def cells(self) -> tuple[str, ...]:
        """Names of the cells that are searched."""
        if self.shared:
            return ("cell",)
        return ("normal", "reduction") if self.reduction is None and self.reduces else ("normal",)

    @property
    def _fixed_reduction(self) -> Cell | None:
        """The reduction cell that networks have whatever is searched; None if there is none."""
        return self.reduction if self.reduces else None

    def decisions(self) -> Iterator[Decision]:
        """Yield every decision with more than one choice, in the order in which `decode` makes them."""
        decisions: list[Decision] = []
        self._assemble(_record_into(decisions))
        yield from decisions

    @functools.cached_property
    def _choices(self) -> dict[str, Sequence[int] | Sequence[str]]:
        """The decisions by name, cached because a search decodes thousands of candidates."""
        return dict(self.decisions())

    def param_space(self) -> dict[str, Categorical]:
        """Ray Tune parameter space: flat, one categorical per decision (50 for NASNet with 5 blocks)."""
        from ray import tune  # imported here because it takes a second, and nothing else of a space needs Ray

        return {name: tune.choice(list(choices)) for name, choices in self.decisions()}

    @property
    def size(self) -> int:
        """Number of encodings; several may encode the same graph."""
        return math.prod(len(choices) for _, choices in self.decisions())

    def count_distinct(self) -> int | None:
        """Number of architectures that differ as graphs, by enumeration.

        Returns None if a cell has more than `MAX_COUNTED_ENCODINGS` encodings.
        """
        decisions: list[Decision] = []
        self._cell(_record_into(decisions), self.cells[0])
        if math.prod(len(choices) for _, choices in decisions) > MAX_COUNTED_ENCODINGS:
            return None
        classes = set()
        for values in itertools.product(*(choices for _, choices in decisions)):
            chosen = dict(zip((name for name, _ in decisions), values, strict=True))
            classes.add(self._cell(_look_up(chosen), self.cells[0]).canonical())
        return int(len(classes) ** len(self.cells))

    def decode(self, params: Mapping[str, Any]) -> Architecture:
        """Build the architecture that the parameters describe.

        Raises:
            ValueError: a decision is missing or unknown, or its value is not one of its choices.
        """
        known = self._choices
        for name, value in params.items():
            if name not in known:
                raise ValueError(f"{name!r} is not a decision of space {self.name!r}")
            if value not in known[name]:
                raise ValueError(f"{name} is {value!r}; choices: {', '.join(map(str, known[name]))}")
        for name in known:
            if name not in params:
                raise ValueError(f"decision {name!r} of space {self.name!r} is missing")
        # The choices themselves: a caller's may be equal ones of another type, such as NumPy's integers.
        return self._assemble(_look_up({name: choices[choices.index(params[name])] for name, choices in known.items()}))

    def encode(self, architecture: Architecture) -> dict[str, int | str]:
        """Inverse of `decode`: the decisions that give this architecture, or one with the same fingerprint.

        Without `reduces` they give one with the same normal cell.

        Raises:
            ValueError: the architecture is not in the space, for example because its output differs from the one that
                the space's rule gives (as in NASNet-A, whose normal cell also concatenates state 0).
        """
        values: dict[str, int | str] = {}
        normal, reduction, fixed = architecture.normal, architecture.reduction, self._fixed_reduction
        if self.reduces and self.shared and normal.canonical() != reduction.canonical():
            raise ValueError(f"its two cells differ; in space {self.name!r} one cell serves as both")
        if fixed is not None and reduction.canonical() != fixed.canonical():
            raise ValueError(f"its reduction cell is not the fixed one of space {self.name!r}")
        for name, cell in zip(self.cells, (normal, reduction), strict=False):
            values |= self._encode_cell(name, cell)
        return {name: values[name] for name, _ in self.decisions()}

    def sample(self, generator: np.random.Generator) -> Architecture:
        """Draw an architecture uniformly from the encodings."""
        return self._assemble(lambda _name, choices: choices[int(generator.integers(len(choices)))])

    def _assemble(self, choose: Choose) -> Architecture:
        cells = [self._cell(choose, name) for name in self.cells]
        return Architecture(normal=cells[0], reduction=self._fixed_reduction or cells[-1])

    def _cell(self, choose: Choose, name: str) -> Cell:
        blocks = []
        for index in range(self.blocks):
            prefix = f"{name}.{index}"
            edges = WIRINGS[self.wiring].choose_edges(
                choose, prefix=prefix, states=self.inputs + index, operations=self.operations
            )
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
                f"in space {self.name!r} it must output {list(output)} ({self.output})"
            )
        values: dict[str, int | str] = {}
        for index, block in enumerate(cell.blocks):
            prefix = f"{name}.{index}"
            for edge in block.edges:
                self._check_member(edge.operation, self.operations)
            self._check_member(block.combination, self.combinations)
            values |= WIRINGS[self.wiring].encode_edges(prefix, block.edges, self.inputs + index)
            values[f"{prefix}.combination"] = block.combination
        return values

    def _check_member(self, value: str, choices: tuple[str, ...]) -> None:
        if value not in choices:
            raise ValueError(f"{value!r} is not in space {self.name!r}; choices: {', '.join(choices)}")


def _record_into(decisions: list[Decision]) -> Choose:
    """A `Choose` that takes the first choice and appends each decision with more than one choice."""

    def choose(name: str, choices: Sequence[Any]) -> Any:
        if len(choices) > 1:
            decisions.append(Decision(name, choices))
        return choices[0]

    return choose


def _look_up(values: Mapping[str, Any]) -> Choose:
    """A `Choose` that takes the given values, and the first choice of a decision without one."""
    return lambda name, choices: values.get(name, choices[0])
