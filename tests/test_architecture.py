from __future__ import annotations

import itertools
import json
from collections.abc import Iterator, Sequence
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from search_spaces import NASNET_A, PUBLISHED, Architecture, Block, Cell, Edge
from search_spaces.wiring import OUTPUT_RULES
from tests.cells import architectures, cells


def with_loose_ends(blocks: Sequence[Block]) -> Cell:
    return Cell(tuple(blocks), OUTPUT_RULES["loose_ends"](blocks, 2))


def all_cells(blocks: int, operations: tuple[str, ...]) -> Iterator[Cell]:
    choices = []
    for index in range(blocks):
        edges = [Edge(state, operation) for state in range(2 + index) for operation in operations]
        choices.append([Block((left, right)) for left in edges for right in edges])
    for chosen in itertools.product(*choices):
        yield with_loose_ends(chosen)


def renumbered(cell: Cell, order: list[int]) -> Cell:
    """The same graph with its blocks in `order`, which must be topological."""
    first = cell.inputs
    number = {**{state: state for state in range(first)}, **{old + first: new + first for new, old in enumerate(order)}}

    def edge(old: Edge) -> Edge:
        return Edge(number[old.state], old.operation)

    blocks = [cell.blocks[index] for index in order]
    return Cell(
        tuple(replace(block, edges=tuple(edge(old) for old in block.edges)) for block in blocks),
        tuple(sorted(number[state] for state in cell.output)),
        first,
    )


def topological_orders(cell: Cell) -> list[list[int]]:
    def fits(order: tuple[int, ...]) -> bool:
        return all(
            edge.state < cell.inputs or order.index(edge.state - cell.inputs) < place
            for place, index in enumerate(order)
            for edge in cell.blocks[index].edges
        )

    return [list(order) for order in itertools.permutations(range(len(cell.blocks))) if fits(order)]


@pytest.mark.parametrize(("blocks", "encodings", "classes"), [(2, 576, 165), (3, 36_864, 3_840)])
def test_number_of_distinct_cells_matches_brute_force(blocks: int, encodings: int, classes: int) -> None:
    found = list(all_cells(blocks, ("a", "b")))
    assert len(found) == encodings
    assert len({cell.canonical() for cell in found}) == classes


@given(cells(), st.data())
def test_canonical_form_ignores_the_order_of_blocks_and_edges(cell: Cell, data: st.DataObject) -> None:
    same = renumbered(cell, data.draw(st.sampled_from(topological_orders(cell))))
    swapped = tuple(replace(block, edges=tuple(data.draw(st.permutations(block.edges)))) for block in same.blocks)
    assert Cell(swapped, same.output, cell.inputs).canonical() == cell.canonical()


@given(cells(max_blocks=4))
def test_canonical_form_is_the_smallest_encoding_over_all_topological_orders(cell: Cell) -> None:
    def encoding(candidate: Cell) -> tuple[object, ...]:
        blocks = tuple((tuple(sorted(block.edges)), block.combination) for block in candidate.blocks)
        return (blocks, candidate.output)

    smallest = min(encoding(renumbered(cell, order)) for order in topological_orders(cell))
    assert encoding(cell.canonical()) == smallest


@given(cells(operations=("identity", "conv_1x1")), cells(operations=("identity", "conv_1x1")))
def test_canonical_forms_are_equal_only_for_equal_graphs(first: Cell, second: Cell) -> None:
    def forms(cell: Cell) -> set[Cell]:
        return {
            Cell(
                tuple(replace(block, edges=tuple(sorted(block.edges))) for block in renumbered(cell, order).blocks),
                renumbered(cell, order).output,
                cell.inputs,
            )
            for order in topological_orders(cell)
        }

    assert (first.canonical() == second.canonical()) == bool(forms(first) & forms(second))


def test_a_shared_block_differs_from_a_copied_one() -> None:
    double = Block.add((0, "conv_3x3"), (1, "conv_3x3"))
    shared = with_loose_ends([double, double, Block.add((2, "identity"), (2, "conv_1x1"))])
    copied = with_loose_ends([double, double, Block.add((2, "identity"), (3, "conv_1x1"))])
    unrolled_alike = (replace(shared, output=(4,)), replace(copied, output=(4,)))
    assert unrolled_alike[0].canonical() != unrolled_alike[1].canonical()


@given(architectures())
def test_json_round_trip(architecture: Architecture) -> None:
    assert Architecture.from_json(json.loads(json.dumps(architecture.to_json()))) == architecture


@given(architectures())
def test_fingerprint_is_computed_from_the_canonical_form(architecture: Architecture) -> None:
    assert architecture.fingerprint == architecture.canonical().fingerprint
    assert len(architecture.fingerprint) == 16
    assert int(architecture.fingerprint, 16) >= 0


def test_fingerprint_does_not_change_between_versions() -> None:
    assert NASNET_A.fingerprint == "f22cff2a1e1f4ff0"


def test_output_states_are_part_of_the_identity() -> None:
    narrower = replace(NASNET_A, normal=replace(NASNET_A.normal, output=(2, 3, 4, 5, 6)))
    assert narrower.fingerprint != NASNET_A.fingerprint
    assert Architecture(NASNET_A.reduction, NASNET_A.normal).fingerprint != NASNET_A.fingerprint


@pytest.mark.parametrize(
    ("blocks", "output", "message"),
    [
        ((), (2,), "0 blocks"),
        ((Block.add((2, "a"), (0, "a")),), (2,), "reads state 2; it may read 0 to 1"),
        ((Block.add((-1, "a"), (0, "a")),), (2,), "reads state -1"),
        ((Block.add((0, "a"), (0, "a")),), (), "must name states"),
        ((Block.add((0, "a"), (0, "a")),), (2, 1), "ascending"),
        ((Block.add((0, "a"), (0, "a")),), (3,), "the states of this cell are 0 to 2"),
    ],
)
def test_invalid_cells_are_refused(blocks: tuple[Block, ...], output: tuple[int, ...], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Cell(blocks, output)


def test_a_cell_with_one_input_reads_only_the_previous_cell() -> None:
    assert Cell((Block.add((0, "a")), Block.add((0, "a"), (1, "b"))), (2,), inputs=1).output == (2,)
    with pytest.raises(ValueError, match="reads state 1; it may read 0 to 0"):
        Cell((Block.add((0, "a"), (1, "a")),), (1,), inputs=1)
    with pytest.raises(ValueError, match="a cell has 3 inputs; it must have 1 to 2"):
        Cell((Block.add((0, "a")),), (3,), inputs=3)


def test_invalid_blocks_are_refused() -> None:
    with pytest.raises(ValueError, match="combination is 'multiply'; known: add, concat"):
        Block((Edge(0, "a"), Edge(1, "a")), "multiply")
    with pytest.raises(ValueError, match="a block has 0 edges"):
        Block(())


@pytest.mark.parametrize(
    "value",
    [{}, {"normal": 1, "reduction": 2}, [], {"normal": {"blocks": [[0]], "output": [2]}, "reduction": {}}],
)
def test_malformed_json_is_refused(value: object) -> None:
    with pytest.raises(ValueError, match=r"not an? (architecture|cell)|a block is \[0\]; it must be"):
        Architecture.from_json(value)  # type: ignore[arg-type]


def test_json_of_a_space_with_one_cell_needs_it_twice() -> None:
    with pytest.raises(ValueError, match="if a space has one cell, both are that cell"):
        Architecture.from_json({"normal": NASNET_A.normal.to_json()})


def test_a_state_in_json_must_be_an_integer() -> None:
    value = NASNET_A.to_json()
    value["normal"]["blocks"][0][0] = "1"
    with pytest.raises(ValueError, match="a state is '1'; it must be an integer"):
        Architecture.from_json(value)


def test_a_cell_in_json_without_inputs_has_two() -> None:
    value = {"blocks": [[0, "a", 1, "b", "add"]], "output": [2]}
    assert Cell.from_json(value) == Cell((Block.add((0, "a"), (1, "b")),), (2,))


def test_published_cells_are_distinct_except_one_that_two_families_share() -> None:
    by_fingerprint: dict[str, list[str]] = {}
    for name, published in PUBLISHED.items():
        by_fingerprint.setdefault(published.architecture.fingerprint, []).append(name)
    assert [names for names in by_fingerprint.values() if len(names) > 1] == [["pnasnet_5", "darts_form_pnasnet"]]


def test_json_text_is_read_too_as_tables_have_it() -> None:
    assert Architecture.from_json(json.dumps(NASNET_A.to_json())) == NASNET_A
    with pytest.raises(ValueError, match="not an architecture .the text is not JSON: "):
        Architecture.from_json("darts_v2")
