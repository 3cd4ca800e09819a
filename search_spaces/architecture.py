"""The architecture of a candidate as a value: blocks, cells, and their canonical form.

Knows what a cell is and when two cells are the same graph. Does not know which operations exist, how a space
restricts cells, or how a network is built.

States are numbered as in DARTS: state 0 is the output of the cell before the previous one (k-2), state 1 the output
of the previous cell (k-1), states 2, 3, ... are the blocks of the cell in order. In a cell with one input
(NAS-Bench-201), state 0 is the output of the previous cell, and the blocks are states 1, 2, ...
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

MAX_INPUTS = 2
"""Largest number of input states: the outputs of cells k-2 and k-1. A cell with one input reads only k-1."""

COMBINATIONS = ("add", "concat")
"""How a block may combine its edges (Zoph et al. 2018, section 3.1, step 5)."""


@dataclass(frozen=True, slots=True, order=True)
class Edge:
    """An operation applied to an earlier state; the result goes into a block."""

    state: int
    operation: str


@dataclass(frozen=True, slots=True)
class Block:
    """A new state of a cell: edges, two in most spaces, whose results are combined."""

    edges: tuple[Edge, ...]
    combination: str = "add"

    def __post_init__(self) -> None:
        if not self.edges:
            raise ValueError("a block has 0 edges; at least 1 is needed")
        if self.combination not in COMBINATIONS:
            raise ValueError(f"combination is {self.combination!r}; known: {', '.join(COMBINATIONS)}")

    @classmethod
    def add(cls, *edges: tuple[int, str]) -> Block:
        """A block that sums its edges, each given as (state, operation)."""
        return cls(tuple(Edge(state, operation) for state, operation in edges))


@dataclass(frozen=True)
class Cell:
    """Blocks in topological order, and the states whose concatenation is the cell's output.

    Raises:
        ValueError: a block reads a state that does not exist yet, or `output` is empty, not ascending, or names an
            unknown state.
    """

    blocks: tuple[Block, ...]
    """At least one. Block `i` may read the states before it, 0 to `inputs + i - 1`."""
    output: tuple[int, ...]
    """The concatenated states, ascending, each once. Stored, not derived: NASNet-A's normal cell also concatenates
    state 0, although blocks read it."""
    inputs: int = MAX_INPUTS
    """Number of input states, 1 or 2."""

    def __post_init__(self) -> None:
        if not 1 <= self.inputs <= MAX_INPUTS:
            raise ValueError(f"a cell has {self.inputs} inputs; it must have 1 to {MAX_INPUTS}")
        if not self.blocks:
            raise ValueError("a cell has 0 blocks; at least 1 is needed")
        for index, block in enumerate(self.blocks):
            for edge in block.edges:
                if not 0 <= edge.state < self.inputs + index:
                    raise ValueError(
                        f"block {index} reads state {edge.state}; it may read 0 to {self.inputs + index - 1}"
                    )
        last = self.inputs + len(self.blocks) - 1
        if not self.output or list(self.output) != sorted(set(self.output)):
            raise ValueError(f"output is {list(self.output)}; it must name states in ascending order, each once")
        if not 0 <= self.output[0] <= self.output[-1] <= last:
            raise ValueError(f"output is {list(self.output)}; the states of this cell are 0 to {last}")

    def canonical(self) -> Cell:
        """Representative of all cells that are the same graph up to swapped edges and renumbered blocks.

        It is the lexicographically smallest encoding over all topological orders. Two cells are the same graph if and
        only if their canonical forms are equal.
        """
        start = {state: state for state in range(self.inputs)}
        encoding, output = min(_smallest_encodings(self, start))
        return Cell(tuple(Block(edges, combination) for edges, combination in encoding), output, self.inputs)

    def to_json(self) -> dict[str, Any]:
        """JSON with `blocks`, each [state, operation, state, operation, ..., combination], `output` and `inputs`."""
        return {
            "blocks": [
                [part for edge in block.edges for part in (edge.state, edge.operation)] + [block.combination]
                for block in self.blocks
            ],
            "output": list(self.output),
            "inputs": self.inputs,
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Cell:
        """Inverse of `to_json`; `inputs` defaults to 2.

        Raises:
            ValueError: the value does not have that form or is not a valid cell.
        """
        try:
            blocks = tuple(_block_from_json(parts) for parts in value["blocks"])
            output = tuple(_integer("a state", state) for state in value["output"])
            return cls(blocks, output, _integer("inputs", value.get("inputs", MAX_INPUTS)))
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError("not a cell (needs 'blocks' and 'output')") from error


_EncodedBlock = tuple[tuple[Edge, ...], str]
_Encoding = tuple[tuple[_EncodedBlock, ...], tuple[int, ...]]


def _smallest_encodings(cell: Cell, numbers: dict[int, int]) -> Iterator[_Encoding]:
    """Yield encodings of the blocks not yet numbered; the smallest encoding is among them.

    Encodings are compared block by block, and a block's encoding depends only on the numbers assigned before it. So the
    smallest encoding has the smallest ready block at every position, and only ties need to be explored.
    """
    ready: dict[int, _EncodedBlock] = {}
    for index, block in enumerate(cell.blocks):
        if cell.inputs + index not in numbers and all(edge.state in numbers for edge in block.edges):
            edges = sorted(Edge(numbers[edge.state], edge.operation) for edge in block.edges)
            ready[cell.inputs + index] = (tuple(edges), block.combination)
    if not ready:
        yield (), tuple(sorted(numbers[state] for state in cell.output))
        return
    smallest = min(ready.values())
    for state, encoded in ready.items():
        if encoded == smallest:
            for blocks, output in _smallest_encodings(cell, {**numbers, state: len(numbers)}):
                yield (encoded, *blocks), output


def _block_from_json(parts: Any) -> Block:
    if not isinstance(parts, list | tuple) or len(parts) < 3 or len(parts) % 2 == 0:
        raise ValueError(f"a block is {parts!r}; it must be [state, operation, ..., combination]")
    *pairs, combination = parts
    states, operations = pairs[::2], pairs[1::2]
    for operation in operations:
        if not isinstance(operation, str):
            raise ValueError(f"an operation is {operation!r}; it must be a name")
    edges = [Edge(_integer("a state", state), name) for state, name in zip(states, operations, strict=True)]
    return Block(tuple(edges), combination)


def _integer(name: str, value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise ValueError(f"{name} is {value!r}; it must be an integer")
    return value


@dataclass(frozen=True)
class Architecture:
    """The two cells that a network repeats: `normal` keeps the resolution, `reduction` halves it."""

    normal: Cell
    reduction: Cell

    def canonical(self) -> Architecture:
        """Both cells in canonical form."""
        return Architecture(self.normal.canonical(), self.reduction.canonical())

    @cached_property
    def fingerprint(self) -> str:
        """First 16 hex digits of the SHA-256 of the canonical JSON: equal if and only if the graphs are equal."""
        text = json.dumps(self.canonical().to_json(), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def to_json(self) -> dict[str, Any]:
        """JSON with `normal` and `reduction`; see `Cell.to_json`."""
        return {"normal": self.normal.to_json(), "reduction": self.reduction.to_json()}

    def with_operation(self, operation: str) -> Architecture:
        """The same graphs with this operation on every edge."""
        return Architecture(*(_with_operation(cell, operation) for cell in (self.normal, self.reduction)))

    @classmethod
    def from_json(cls, value: Mapping[str, Any] | str) -> Architecture:
        """Inverse of `to_json`; also of its JSON text, as tables have it.

        Raises:
            ValueError: the value does not have that form, or one of its cells is invalid.
        """
        try:
            parts = json.loads(value) if isinstance(value, str) else value
        except ValueError as error:
            raise ValueError(f"not an architecture (the text is not JSON: {error})") from error
        try:
            cells = {name: parts[name] for name in ("normal", "reduction")}
        except (KeyError, TypeError) as error:
            raise ValueError(
                "not an architecture (needs 'normal' and 'reduction'; if a space has one cell, both are that cell)"
            ) from error
        found = []
        for name, cell in cells.items():
            try:
                found.append(Cell.from_json(cell))
            except ValueError as error:
                raise ValueError(f"the {name} cell: {error}") from error
        return cls(*found)


def _with_operation(cell: Cell, operation: str) -> Cell:
    blocks = (replace(block, edges=tuple(Edge(edge.state, operation) for edge in block.edges)) for block in cell.blocks)
    return replace(cell, blocks=tuple(blocks))
