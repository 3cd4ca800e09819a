from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from ray.tune.search.sample import Categorical

from search_spaces import NASNET, NASNET_A, SPACES, Architecture, CellSpace


def test_nasnet_has_the_papers_operations_and_choices() -> None:
    assert len(NASNET.operations) == len(set(NASNET.operations)) == 13
    assert NASNET.blocks == 5
    assert NASNET.combinations == ("add", "concat")


def test_size_counts_encodings() -> None:
    """71,465,842,174,521,600 wirings and operations a cell (Radosavovic et al. 2019), times 2^5 combinations."""
    assert NASNET.size == (71_465_842_174_521_600 * 2**5) ** 2
    assert replace(NASNET, blocks=2, operations=("a", "b"), combinations=("add",)).size == 576**2


def test_param_space_is_flat_with_one_categorical_a_decision() -> None:
    space = NASNET.param_space()
    assert len(space) == 50
    assert all(isinstance(domain, Categorical) and "/" not in name for name, domain in space.items())
    assert space["normal.3.left.state"].categories == [0, 1, 2, 3, 4]


def test_one_choice_is_no_decision() -> None:
    space = replace(NASNET, combinations=("add",), operations=("conv_3x3",))
    assert set(space.param_space()) == {
        f"{cell}.{index}.{side}.state"
        for cell in ("normal", "reduction")
        for index in range(5)
        for side in ("left", "right")
    }


@given(st.integers(0, 2**32 - 1), st.integers(1, 6))
def test_encode_and_decode_are_inverse(seed: int, blocks: int) -> None:
    space = replace(NASNET, blocks=blocks)
    architecture = space.sample(np.random.default_rng(seed))
    params = space.encode(architecture)
    assert list(params) == list(space.param_space())
    assert space.decode(params) == architecture
    assert space.encode(space.decode(params)) == params


def test_sample_reaches_every_choice(generator: np.random.Generator) -> None:
    space = replace(NASNET, blocks=2)
    seen: dict[str, set[object]] = {}
    for _ in range(1000):
        for name, value in space.encode(space.sample(generator)).items():
            seen.setdefault(name, set()).add(value)
    assert seen == {name: set(domain.categories) for name, domain in space.param_space().items()}


def params() -> dict[str, object]:
    return dict(NASNET.encode(NASNET.sample(np.random.default_rng(0))))


def test_decode_refuses_what_is_missing_unknown_or_out_of_bounds() -> None:
    with pytest.raises(ValueError, match="'normal.9.left.state' is no decision"):
        NASNET.decode({**params(), "normal.9.left.state": 0})
    with pytest.raises(ValueError, match="normal.0.left.state is 2; choices: 0, 1"):
        NASNET.decode({**params(), "normal.0.left.state": 2})
    with pytest.raises(ValueError, match="'reduction.4.combination' of space 'nasnet' is missing"):
        NASNET.decode({name: value for name, value in params().items() if name != "reduction.4.combination"})


def test_encode_refuses_an_output_that_the_rule_would_not_give() -> None:
    """NASNet-A also concatenates states that its blocks use."""
    with pytest.raises(ValueError, match=r"the normal cell outputs \[0, 2, 3, 4, 5, 6\]; .* \[2, 3, 4, 5, 6\]"):
        NASNET.encode(NASNET_A)


def test_encode_refuses_another_number_of_blocks_and_unknown_operations() -> None:
    architecture = NASNET.sample(np.random.default_rng(0))
    with pytest.raises(ValueError, match="has 5 blocks; space 'nasnet' has 4"):
        replace(NASNET, blocks=4).encode(architecture)
    with pytest.raises(ValueError, match="is not in space 'nasnet'; choices: identity"):
        replace(NASNET, operations=("identity",)).encode(architecture)


def test_impossible_spaces_are_refused() -> None:
    with pytest.raises(ValueError, match="blocks = 0"):
        replace(NASNET, blocks=0)
    with pytest.raises(ValueError, match="at least one operation"):
        replace(NASNET, operations=())


@pytest.mark.parametrize("space", SPACES.values(), ids=str)
def test_every_space_is_registered_under_its_name(space: CellSpace) -> None:
    assert SPACES[space.name] is space


def test_nasnet_a_uses_operations_of_its_space() -> None:
    def operations(architecture: Architecture) -> set[str]:
        cells = (architecture.normal, architecture.reduction)
        return {edge.operation for cell in cells for block in cell.blocks for edge in block.edges}

    assert operations(NASNET_A) <= set(NASNET.operations)
