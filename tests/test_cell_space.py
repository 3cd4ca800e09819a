from __future__ import annotations

import itertools
import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from ray.tune.search.sample import Categorical

from search_spaces import NAS_BENCH_201, NASNET, NASNET_A, PUBLISHED, SPACES, Architecture, Block, Cell, CellSpace
from search_spaces.wiring import OUTPUT_RULES
from tests.cells import members


def test_nasnet_has_the_papers_operations_and_choices() -> None:
    assert len(NASNET.operations) == len(set(NASNET.operations)) == 13
    assert NASNET.blocks == 5
    assert NASNET.combinations == ("add", "concat")


def test_size_counts_encodings() -> None:
    """Per cell 71,465,842,174,521,600 wirings and operations (Radosavovic et al. 2019) times 2^5 combinations."""
    assert NASNET.size == (71_465_842_174_521_600 * 2**5) ** 2
    assert replace(NASNET, blocks=2, operations=("a", "b"), combinations=("add",)).size == 576**2


def test_param_space_is_flat_with_one_categorical_per_decision() -> None:
    space = NASNET.param_space()
    assert len(space) == 50
    assert all(isinstance(domain, Categorical) and "/" not in name for name, domain in space.items())
    assert space["normal.3.left.state"].categories == [0, 1, 2, 3, 4]


def test_a_single_choice_is_not_a_decision() -> None:
    space = replace(NASNET, combinations=("add",), operations=("conv_3x3",))
    assert set(space.param_space()) == {
        f"{cell}.{index}.{side}.state"
        for cell in ("normal", "reduction")
        for index in range(5)
        for side in ("left", "right")
    }


@given(st.sampled_from(list(SPACES.values())), st.integers(0, 2**32 - 1), st.integers(1, 6))
def test_encode_and_decode_are_inverse(space: CellSpace, seed: int, blocks: int) -> None:
    space = replace(space, blocks=blocks)
    architecture = space.sample(np.random.default_rng(seed))
    params = space.encode(architecture)
    assert list(params) == list(space.param_space())
    assert space.decode(params) == architecture
    assert space.encode(space.decode(params)) == params


@pytest.mark.parametrize("space", SPACES.values(), ids=lambda space: space.name)
def test_what_encode_returns_decodes_to_the_same_graph(space: CellSpace, generator: np.random.Generator) -> None:
    """Also for cells that number their blocks in another order than `decode` does."""
    for _ in range(200):
        architecture = space.sample(generator)
        for same in (architecture, replace(architecture, normal=architecture.normal.canonical())):
            assert space.decode(space.encode(same)).fingerprint == architecture.fingerprint


def test_sample_reaches_every_choice(generator: np.random.Generator) -> None:
    space = replace(NASNET, blocks=2)
    seen: dict[str, set[object]] = {}
    for _ in range(1000):
        for name, value in space.encode(space.sample(generator)).items():
            seen.setdefault(name, set()).add(value)
    assert seen == {name: set(domain.categories) for name, domain in space.param_space().items()}


def params() -> dict[str, object]:
    return dict(NASNET.encode(NASNET.sample(np.random.default_rng(0))))


def test_decode_gives_plain_numbers_for_those_of_numpy() -> None:
    generator = np.random.default_rng(0)
    drawn = {name: generator.choice(np.asarray(choices)) for name, choices in NASNET.decisions()}
    architecture = NASNET.decode(drawn)
    assert Architecture.from_json(json.loads(json.dumps(architecture.to_json()))) == architecture


def test_without_reduction_cells_the_other_cell_is_the_normal_one() -> None:
    drawn = replace(NAS_BENCH_201, reduces=False).sample(np.random.default_rng(0))
    assert drawn.reduction == drawn.normal


def test_decode_refuses_missing_unknown_and_out_of_range_values() -> None:
    with pytest.raises(ValueError, match="'normal.9.left.state' is not a decision of space 'nasnet'"):
        NASNET.decode({**params(), "normal.9.left.state": 0})
    with pytest.raises(ValueError, match="normal.0.left.state is 2; choices: 0, 1"):
        NASNET.decode({**params(), "normal.0.left.state": 2})
    with pytest.raises(ValueError, match="'reduction.4.combination' of space 'nasnet' is missing"):
        NASNET.decode({name: value for name, value in params().items() if name != "reduction.4.combination"})


def test_encode_refuses_an_output_that_breaks_the_rule() -> None:
    """NASNet-A also concatenates states that its blocks read."""
    with pytest.raises(ValueError, match=r"the normal cell outputs \[0, 2, 3, 4, 5, 6\]; .* \[2, 3, 4, 5, 6\]"):
        NASNET.encode(NASNET_A)


def test_encode_refuses_another_number_of_blocks_and_unknown_operations() -> None:
    architecture = NASNET.sample(np.random.default_rng(0))
    with pytest.raises(ValueError, match="has 5 blocks and 2 inputs; space 'nasnet' has 4 and 2"):
        replace(NASNET, blocks=4).encode(architecture)
    with pytest.raises(ValueError, match="is not in space 'nasnet'; choices: identity"):
        replace(NASNET, operations=("identity",)).encode(architecture)


def test_names_may_be_listed() -> None:
    listed = replace(NASNET, operations=list(NASNET.operations))  # type: ignore[arg-type]
    assert listed == NASNET
    assert hash(listed) == hash(NASNET)


def test_invalid_spaces_are_refused() -> None:
    with pytest.raises(ValueError, match="blocks = 0; a whole number of at least 1"):
        replace(NASNET, blocks=0)
    with pytest.raises(ValueError, match="blocks = 2.0"):
        replace(NASNET, blocks=2.0)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"operations = \(\); at least one name is needed, without repetitions"):
        replace(NASNET, operations=())
    with pytest.raises(ValueError, match="operations = 'identity'; a tuple of names is needed"):
        replace(NASNET, operations="identity")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="at least one name is needed, without repetitions"):
        replace(NASNET, operations=("identity", "identity"))
    with pytest.raises(ValueError, match=r"combinations = \('mul',\); known: add, concat"):
        replace(NASNET, combinations=("mul",))
    with pytest.raises(ValueError, match="reduction = 5, which is not a Cell"):
        replace(NASNET, reduction=5)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="inputs = 3; it must be 1 to 2"):
        replace(NASNET, inputs=3)
    with pytest.raises(ValueError, match="the rule 'some'; known: loose_ends, loose_states, all_blocks, last_block"):
        replace(NASNET, output="some")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="wiring = 'distinct_pair' needs inputs = 2, not 1"):
        replace(NASNET, wiring="distinct_pair", inputs=1)
    with pytest.raises(ValueError, match="has shared = True and a fixed reduction cell; set only one of them"):
        replace(NASNET, shared=True, reduction=NASNET_A.reduction)


@pytest.mark.parametrize("space", SPACES.values(), ids=str)
def test_every_space_is_registered_under_its_name(space: CellSpace) -> None:
    assert SPACES[space.name] is space


def tiny(**rules: Any) -> CellSpace:
    return CellSpace(name="tiny", source="a test", operations=("a", "b"), blocks=2, **rules)


def test_sizes_are_the_published_ones() -> None:
    """Encodings of NDS (Radosavovic et al. 2019) per cell; DARTS has two distinct inputs per node."""
    sizes = {name: space.size for name, space in SPACES.items()}
    assert sizes == {
        "nasnet": (71_465_842_174_521_600 * 2**5) ** 2,
        "amoebanet": 556_627_761_561_600**2,
        "pnasnet": 556_627_761_561_600,
        "enas": 5_062_500_000_000**2,
        "darts": (1 * 3 * 6 * 10 * 8**8) ** 2,
        "nas_bench_201": 15_625,
    }


@pytest.mark.parametrize(
    ("rules", "distinct"),
    [
        ({"shared": True}, 165),
        ({}, 165**2),
        ({"shared": True, "output": "all_blocks"}, 165),
        ({"reduction": NASNET_A.reduction}, 165),
    ],
)
def test_distinct_architectures_are_counted(rules: dict[str, Any], distinct: int) -> None:
    """576 encodings per cell, 165 graphs; test_architecture checks the number by brute force."""
    assert tiny(**rules).count_distinct() == distinct


def test_distinct_cells_of_other_rules_match_brute_force() -> None:
    """Two cells are one graph if some renumbering of blocks and some order of their edges makes them equal."""
    space = tiny(shared=True, wiring="distinct_pair", output="all_blocks")
    names = [decision.name for decision in space.decisions()]
    found = [
        space.decode(dict(zip(names, values, strict=True))).normal
        for values in itertools.product(*(decision.choices for decision in space.decisions()))
    ]
    assert len(found) == space.size == 4 * 3 * 4

    def variants(cell: Cell) -> set[tuple[Any, ...]]:
        """All encodings of the same graph; the blocks can be swapped if the second does not read the first."""
        first, second = (tuple(sorted(block.edges)) for block in cell.blocks)
        orders = {(first, second)}
        if all(edge.state < 2 for edge in second):
            orders.add((second, first))
        return orders

    classes = {frozenset(variants(cell)) for cell in found}
    assert space.count_distinct() == len(classes)


def test_large_spaces_are_not_enumerated() -> None:
    assert NASNET.count_distinct() is None
    assert SPACES["nas_bench_201"].count_distinct() == 15_625


@given(members(SPACES["darts"]))
def test_a_darts_node_reads_two_distinct_states(architecture: Architecture) -> None:
    for cell in (architecture.normal, architecture.reduction):
        assert cell.output == (2, 3, 4, 5)
        assert all(block.edges[0].state < block.edges[1].state for block in cell.blocks)


@given(members(SPACES["pnasnet"]))
def test_a_pnasnet_cell_is_both_normal_and_reduction_cell(architecture: Architecture) -> None:
    assert architecture.normal == architecture.reduction
    assert architecture.normal.output == (2, 3, 4, 5, 6)


def test_nas_bench_201_reads_every_earlier_node() -> None:
    space = SPACES["nas_bench_201"]
    architecture = space.decode(dict.fromkeys(space.param_space(), "conv_3x3"))
    assert [[edge.state for edge in block.edges] for block in architecture.normal.blocks] == [[0], [0, 1], [0, 1, 2]]
    assert architecture.normal.output == (3,)
    assert list(space.param_space())[-1] == "normal.2.from_2.operation"


def test_published_cells_are_in_the_spaces_whose_rules_they_follow() -> None:
    def encodable(name: str, space: str) -> bool:
        architecture = PUBLISHED[name].architecture
        return SPACES[space].decode(SPACES[space].encode(architecture)).fingerprint == architecture.fingerprint

    assert encodable("pnasnet_5", "pnasnet")
    assert encodable("darts_v1", "darts")
    assert encodable("darts_v2", "darts")
    assert encodable("enas", "enas")


@pytest.mark.parametrize(
    ("space", "architecture", "message"),
    [
        ("pnasnet", PUBLISHED["darts_v2"].architecture, "one cell serves as both"),
        ("nas_bench_201", PUBLISHED["darts_v2"].architecture, "is not the fixed one"),
        ("darts", PUBLISHED["darts_form_nasnet"].architecture, "has 5 blocks and 2 inputs"),
        ("enas", PUBLISHED["nasnet_a"].architecture, "is not in space 'enas'|must output"),
    ],
)
def test_architectures_that_break_the_rules_are_refused(space: str, architecture: Architecture, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        SPACES[space].encode(architecture)


def test_blocks_that_break_the_wiring_rule_are_refused() -> None:
    twice = Cell((Block.add((0, "a"), (0, "a")), Block.add((0, "a"), (1, "a"))), (2, 3))
    with pytest.raises(ValueError, match="reads state 0 twice"):
        tiny(wiring="distinct_pair", output="all_blocks", shared=True).encode(Architecture(twice, twice))
    with pytest.raises(ValueError, match=r"reads states \[0, 0\]; in its space it must read each of 0 to 1 once"):
        tiny(wiring="all_states", output="all_blocks", shared=True).encode(Architecture(twice, twice))
    three = Cell((Block.add((0, "a"), (0, "a"), (0, "b")), Block.add((0, "a"), (1, "a"))), (2, 3))
    with pytest.raises(ValueError, match="has 3 edges; in its space it must have 2"):
        tiny(output="loose_ends", shared=True).encode(Architecture(three, three))


def test_output_rules() -> None:
    blocks = [Block.add((0, "a"), (0, "a")), Block.add((2, "a"), (0, "a")), Block.add((0, "a"), (0, "a"))]
    assert {name: rule(blocks, 2) for name, rule in OUTPUT_RULES.items()} == {
        "loose_ends": (3, 4),
        "loose_states": (1, 3, 4),
        "all_blocks": (2, 3, 4),
        "last_block": (4,),
    }


def test_published_cells_use_operations_of_the_space_that_the_paper_searched() -> None:
    def operations(architecture: Architecture) -> set[str]:
        cells = (architecture.normal, architecture.reduction)
        return {edge.operation for cell in cells for block in cell.blocks for edge in block.edges}

    for name, space in (("nasnet_a", "nasnet"), ("amoebanet_a", "amoebanet"), ("amoebanet_c", "amoebanet")):
        assert operations(PUBLISHED[name].architecture) <= set(SPACES[space].operations)
