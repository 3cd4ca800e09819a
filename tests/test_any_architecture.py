"""The network of any valid architecture trains, or is refused with a reason."""

from __future__ import annotations

import re
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from search_spaces import SPACES, Architecture, Cell, CellSpace
from tests.cells import architectures, members
from trainables.network import CellNetwork
from trainables.network_plan import NetworkPlan, plan_network
from trainables.network_spec import NetworkSpec
from trainables.skeleton import SKELETONS


@pytest.mark.slow
@pytest.mark.parametrize("space", SPACES.values(), ids=lambda space: space.name)
def test_any_architecture_of_a_space_trains_on_any_size(space: CellSpace) -> None:
    """100 architectures of each space, on square and oblong images, including odd sizes; a refusal says why."""
    refusals = []

    @settings(max_examples=100, deadline=None)
    @given(members(space), specs(st.sampled_from([space.skeleton])))
    def trains(architecture: Architecture, values: dict[str, Any]) -> None:
        refusals.extend(refusal_or_train(architecture, values))

    trains()
    assert all("the auxiliary head would get" in reason for reason in refusals)
    assert len(refusals) < 75


@pytest.mark.slow
@settings(max_examples=100, deadline=None)
@given(architectures(), st.data())
def test_any_architecture_trains_under_any_rules(architecture: Architecture, data: st.DataObject) -> None:
    """Arbitrary cells, with skeletons that were not designed for them."""
    values = data.draw(specs(st.sampled_from(list(SKELETONS))))
    for reason in refusal_or_train(architecture, values):
        if values["auxiliary_head"] and not values["skeleton"].reduces:
            assert "networks of this skeleton have none; set training.auxiliary_weight = 0" in reason
        else:
            assert re.search("the auxiliary head would get|filters is .* at least", reason)


@st.composite
def specs(draw: st.DrawFn, skeletons: st.SearchStrategy[str]) -> dict[str, Any]:
    """Values of a `NetworkSpec` except the architecture; mostly small images, which train in milliseconds."""
    side = st.one_of(st.integers(8, 16), st.integers(8, 64))
    regularised = draw(st.booleans())
    return {
        "skeleton": SKELETONS[draw(skeletons)],
        "repeats": draw(st.sampled_from([1, 1, 1, 2, 3])),
        "filters": draw(st.integers(2, 9)),
        "classes": 5,
        "image_channels": draw(st.integers(1, 4)),
        "image_size": (draw(side), draw(side)),
        "drop_path_probability": 0.3 if regularised else 0.0,
        "dropout": 0.3 if regularised else 0.0,
        "auxiliary_head": draw(st.booleans()),
    }


def refusal_or_train(architecture: Architecture, values: dict[str, Any]) -> list[str]:
    """The reason why the network is refused, or [] after checking that it trains."""
    spec = NetworkSpec(architecture=architecture, **values)
    try:
        plan = plan_network(spec)
    except ValueError as error:
        return [str(error)]
    network = CellNetwork(spec)
    network.regularisation.keep = torch.tensor(network.regularisation.keep_at(0.5))
    images = torch.randn(2, spec.image_channels, *spec.image_size)
    logits, auxiliary = network.all_logits(images)
    assert logits.shape == (2, 5)
    assert (auxiliary is not None) == spec.auxiliary_head
    (logits.sum() + (auxiliary.sum() if auxiliary is not None else 0)).backward()
    # Every weight is used: a state that is concatenated or read has a gradient, though it may be zero.
    unused = [name for name, parameter in network.named_parameters() if parameter.grad is None]
    assert not [name for name in unused if not is_dead(plan, name)]
    assert network.eval()(images).isfinite().all()
    return []


def is_dead(plan: NetworkPlan, name: str) -> bool:
    """Whether the output does not depend on the part that a parameter belongs to, which arbitrary cells can have.

    A state that only zero operations read is not needed either.
    """
    if not name.startswith(("cells.", "stem.")):
        return False
    first = len(plan.stem)
    needed = {first + len(plan.cells) - 1}
    if plan.auxiliary:
        needed.add(first + plan.auxiliary_after)
    for place in reversed(range(len(plan.cells))):
        if first + place in needed:
            states = states_read(plan.cells[place].cell)
            needed |= {first + place - back for state, back in enumerate(plan.cells[place].reads) if state in states}
    kind, index, *rest = name.split(".")
    if kind == "stem":
        return not any(state >= int(index) for state in needed if state < first)
    if first + int(index) not in needed:
        return True
    cell = plan.cells[int(index)].cell
    if rest[0] == "blocks":
        return cell.inputs + int(rest[1]) not in states_read(cell)
    return rest[0] == "inputs" and int(rest[1]) not in states_read(cell)


def states_read(cell: Cell) -> set[int]:
    states = set(cell.output)
    for number in reversed(range(cell.inputs, cell.inputs + len(cell.blocks))):
        if number in states:
            edges = cell.blocks[number - cell.inputs].edges
            states |= {edge.state for edge in edges if edge.operation != "none"}
    return states
