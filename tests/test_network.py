from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from search_spaces import NASNET, NASNET_A, Architecture, Block, Cell, Edge
from tests.cells import architectures
from trainables.costs import network_costs
from trainables.network import CellModule, CellNetwork, DropPath, FactorizedReduction, Regularisation, Shape
from trainables.network_spec import NetworkSpec


def nasnet_a(**values: Any) -> NetworkSpec:
    return NetworkSpec(**{"architecture": NASNET_A, "repeats": 2, "filters": 16, "classes": 10, **values})


@pytest.mark.parametrize(
    ("repeats", "filters", "parameters", "macs"),
    [
        (2, 12, 219_118, 39_883_584),
        (2, 16, 363_194, 65_761_024),
        (2, 20, 542_790, 97_929_920),
        (6, 16, 916_026, 152_628_992),
        (6, 32, 3_346_538, 544_333_312),
        (6, 44, 6_163_310, 995_004_736),
    ],
)
def test_nasnet_a_costs_what_the_reference_costs(repeats: int, filters: int, parameters: int, macs: int) -> None:
    """Counted with TF-slim's rules on CIFAR-10, no auxiliary head; 6 and 32 are the paper's 3.3 M."""
    costs = network_costs(nasnet_a(repeats=repeats, filters=filters))
    assert (costs.parameters, costs.macs) == (parameters, macs)


def test_auxiliary_head_adds_what_the_reference_adds_and_no_work_at_inference() -> None:
    costs = network_costs(nasnet_a(repeats=6, filters=32, auxiliary_head=True))
    assert costs.parameters == 3_346_538 + 1_631_498
    assert costs.macs == 544_333_312


def test_counting_takes_no_memory() -> None:
    """34 million parameters on the meta device; real ones would draw random numbers."""
    before = torch.get_rng_state()
    assert network_costs(nasnet_a(repeats=4, filters=128)).parameters == 34_276_234
    assert torch.equal(before, torch.get_rng_state())


@settings(max_examples=40, deadline=None)
@given(
    architectures(),
    st.integers(1, 2),
    st.tuples(st.integers(4, 13), st.integers(4, 13)),
    st.integers(1, 4),
    st.booleans(),
)
def test_any_architecture_trains_on_any_size(
    architecture: Architecture, repeats: int, size: tuple[int, int], channels: int, regularised: bool
) -> None:
    spec = NetworkSpec(
        architecture=architecture,
        repeats=repeats,
        filters=3,
        classes=5,
        image_channels=channels,
        image_size=size,
        drop_path_probability=0.3 if regularised else 0.0,
        dropout=0.3 if regularised else 0.0,
        auxiliary_head=regularised and min(size) >= 9,
    )
    network = CellNetwork(spec)
    network.regularisation.progress = 0.5
    logits, auxiliary = network.all_logits(torch.randn(2, channels, *size))
    assert logits.shape == (2, 5)
    assert (auxiliary is not None) == spec.auxiliary_head
    (logits.sum() + (auxiliary.sum() if auxiliary is not None else 0)).backward()
    # Every weight is used: a state that is concatenated or read has a gradient, though it may be zero.
    unused = [name for name, parameter in network.named_parameters() if parameter.grad is None]
    assert not [name for name in unused if not _is_dead(network, name)]
    assert network.eval()(torch.randn(2, channels, *size)).isfinite().all()


def _is_dead(network: CellNetwork, name: str) -> bool:
    """Whether a parameter belongs to a part of a cell that its output does not depend on, as made-up cells have."""
    if not name.startswith("cells."):
        return False
    index = int(name.split(".")[1])
    alive = [_states_read(cell.cell) for cell in network.cells if isinstance(cell, CellModule)]
    # A cell whose outputs nobody reads is dead as a whole.
    needed = {len(alive) - 1}
    for place in reversed(range(len(alive))):
        if place in needed:
            needed |= {place - 1} if 1 in alive[place] else set()
            needed |= {place - 2} if 0 in alive[place] else set()
    if index not in needed:
        return True
    part, states = name.split(".")[2], alive[index]
    if part == "blocks":
        return 2 + int(name.split(".")[3]) not in states
    return (part == "match_previous" and 0 not in states) or (part == "match_current" and 1 not in states)


def _states_read(cell: Cell) -> set[int]:
    states = set(cell.output)
    for number in reversed(range(2, 2 + len(cell.blocks))):
        if number in states:
            states |= {edge.state for edge in cell.blocks[number - 2].edges}
    return states


def test_sharing_a_states_relu_changes_nothing() -> None:
    """The cell against the same modules with a ReLU of its own before each operation."""
    torch.manual_seed(0)
    cell = NASNET.sample(np.random.default_rng(3)).normal
    module = CellModule(cell, Shape(7, 0), Shape(9, 0), 8, 1, 0.0, Regularisation()).eval()
    previous, current = torch.randn(2, 7, 6, 6), torch.randn(2, 9, 6, 6)
    states = [module.match_previous(previous), module.match_current(current)]
    blocks: Any = module.blocks
    for block, operations in zip(cell.blocks, blocks, strict=True):
        sides = []
        for edge, operation in zip(block.edges, operations, strict=True):
            source = states[edge.state]
            sides.append(operation(F.relu(source.clone()) if operation.starts_with_relu else source))
        states.append(sides[0] + sides[1] if block.combination == "add" else torch.cat(sides, 1))
    outputs = [match(states[state]) for match, state in zip(module.match_output, cell.output, strict=True)]
    torch.testing.assert_close(module(previous, current), torch.cat(outputs, 1), rtol=0, atol=0)


def test_first_cell_reads_the_stem_unprojected_and_the_next_ones_project() -> None:
    network = CellNetwork(nasnet_a(repeats=1, filters=4))
    cells: Any = network.cells
    assert isinstance(cells[0].match_previous, nn.Identity)
    assert cells[0].blocks[0][1][0].in_channels == 3 * 4  # sep_conv_3x3 on state 0
    # After a reduction, k-2 has twice the resolution.
    assert any(isinstance(module, FactorizedReduction) for module in cells[2].match_previous.modules())


def test_an_input_that_fits_is_left_untouched() -> None:
    cell = NASNET_A.normal
    fits = CellModule(cell, Shape(8, 1), Shape(16, 1), 8, 1, 0.0, Regularisation())
    assert isinstance(fits.match_previous, nn.Identity)
    too_wide = CellModule(cell, Shape(16, 1), Shape(16, 1), 8, 1, 0.0, Regularisation())
    assert not isinstance(too_wide.match_previous, nn.Identity)


@pytest.mark.parametrize("size", [(6, 6), (7, 5)])
def test_factorized_reduction_sees_even_and_odd_pixels(size: tuple[int, int]) -> None:
    reduction = FactorizedReduction(1, 3)
    assert (reduction.even.out_channels, reduction.odd.out_channels) == (1, 2)
    nn.init.ones_(reduction.even.weight)
    nn.init.ones_(reduction.odd.weight)
    reduction.norm = nn.Identity()  # type: ignore[assignment]
    images = torch.arange(1.0, 1 + size[0] * size[1]).reshape(1, 1, *size)
    out = reduction(images)
    torch.testing.assert_close(out[:, :1], images[:, :, ::2, ::2])
    padded = F.pad(images, (0, 1, 0, 1))[:, :, 1:, 1:][:, :, ::2, ::2]
    torch.testing.assert_close(out[:, 1:2], padded[:, :, : out.shape[2], : out.shape[3]])


def test_concatenation_doubles_a_states_width_and_readers_project_it() -> None:
    cell = Cell(
        (
            Block(Edge(0, "identity"), Edge(1, "identity"), "concat"),
            Block(Edge(2, "identity"), Edge(2, "max_pool_3x3")),
        ),
        (2, 3),
    )
    module = CellModule(cell, Shape(4, 0), Shape(4, 0), 4, 1, 0.0, Regularisation())
    blocks: Any = module.blocks
    assert blocks[1][0][0].in_channels == 8  # identity on 8 channels becomes a 1x1 convolution
    assert blocks[1][1][1].in_channels == 8  # and the pool is followed by one
    assert module.shape.channels == 2 * 4
    assert module(torch.randn(1, 4, 5, 5), torch.randn(1, 4, 5, 5)).shape == (1, 8, 5, 5)


def drop_rate(network: CellNetwork, cell: int, progress: float) -> float:
    cells: Any = network.cells
    drop = cells[cell].blocks[0][0][-1]
    network.regularisation.progress = progress
    out = drop(torch.ones(20_000, 1, 1, 1))
    kept = out[out != 0]
    rate = (out == 0).double().mean().item()
    if rate:
        torch.testing.assert_close(kept, torch.full_like(kept, 1 / (1 - drop.probability * progress)))
    return rate


def test_drop_path_grows_with_depth_and_progress_and_keeps_the_mean() -> None:
    network = CellNetwork(nasnet_a(repeats=1, filters=2, drop_path_probability=0.4)).train()
    network.regularisation.generator = torch.Generator().manual_seed(0)
    assert drop_rate(network, 4, 1.0) == pytest.approx(0.4, abs=0.02)
    assert drop_rate(network, 4, 0.5) == pytest.approx(0.2, abs=0.02)
    assert drop_rate(network, 0, 1.0) == pytest.approx(0.4 / 5, abs=0.02)
    assert drop_rate(network, 0, 0.0) == 0.0
    assert drop_rate(network.eval(), 4, 1.0) == 0.0


def test_drop_path_spares_identities() -> None:
    network = CellNetwork(nasnet_a(repeats=1, filters=2, drop_path_probability=0.4))
    cell = NASNET_A.normal
    operations = [edge.operation for block in cell.blocks for edge in block.edges]
    cells: Any = network.cells
    dropped = [
        any(isinstance(module, DropPath) for module in side.modules()) for sides in cells[0].blocks for side in sides
    ]
    assert dropped == [operation != "identity" for operation in operations]


def test_the_auxiliary_head_speaks_in_training_only() -> None:
    network = CellNetwork(nasnet_a(repeats=1, filters=2, auxiliary_head=True))
    images = torch.randn(2, 3, 32, 32)
    assert network.auxiliary_after == 2  # the last normal cell before the second reduction
    assert network.train().all_logits(images)[1] is not None
    assert network.eval().all_logits(images)[1] is None


def test_gradients_reach_every_weight_of_nasnet_a() -> None:
    network = CellNetwork(nasnet_a(repeats=1, filters=4))
    network(torch.randn(4, 3, 8, 8)).square().sum().backward()
    silent = [name for name, weight in network.named_parameters() if weight.grad is None or not weight.grad.any()]
    assert not silent


@given(architectures())
def test_spec_json_round_trip(architecture: Architecture) -> None:
    spec = nasnet_a(architecture=architecture, image_size=(28, 30), dropout=0.1)
    assert NetworkSpec.from_json(json.loads(json.dumps(spec.to_json()))) == spec


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"repeats": 0}, "repeats is 0; at least 1"),
        ({"filters": 1}, "filters is 1; at least 2"),
        ({"classes": 1}, "classes is 1; at least 2"),
        ({"image_channels": 0}, "image_channels is 0"),
        ({"dropout": 1.0}, "dropout is 1.0; it must be at least 0 and below 1"),
        ({"drop_path_probability": -0.1}, "drop_path_probability is -0.1"),
        ({"image_size": (0, 5)}, "image_size"),
        ({"auxiliary_head": True, "image_size": (8, 8)}, "an auxiliary head needs at least 9x9 pixels"),
    ],
)
def test_impossible_networks_are_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        nasnet_a(**change)


def test_an_unknown_operation_is_refused_with_the_known_ones() -> None:
    cell = Cell.with_loose_ends([Block(Edge(0, "conv_9x9"), Edge(1, "identity"))])
    with pytest.raises(ValueError, match="unknown operation 'conv_9x9'; known: identity, conv_1x3_3x1"):
        CellNetwork(nasnet_a(architecture=Architecture(cell, cell)))


def test_malformed_network_json_is_refused() -> None:
    value = nasnet_a().to_json()
    with pytest.raises(ValueError, match="not a network"):
        NetworkSpec.from_json({name: value[name] for name in value if name != "image_size"})


def test_images_in_any_memory_layout_give_the_same_logits() -> None:
    network = CellNetwork(nasnet_a(repeats=1, filters=4)).eval()
    images = torch.randn(2, 3, 9, 9)

    def logits(change: Callable[[Tensor], Tensor]) -> Tensor:
        return network(change(images)).detach()

    channels_last = logits(lambda tensor: tensor.to(memory_format=torch.channels_last))
    torch.testing.assert_close(channels_last, logits(lambda tensor: tensor))


def test_the_spec_alone_decides_the_network() -> None:
    spec = nasnet_a(repeats=1, filters=4)
    torch.manual_seed(0)
    first = CellNetwork(spec)
    torch.manual_seed(0)
    second = CellNetwork(NetworkSpec.from_json(spec.to_json()))
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True))
    assert first.spec == replace(spec)
