from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from torch import Tensor, nn

from search_spaces import NASNET, NASNET_A, PUBLISHED, Architecture, Block, Cell, Edge
from tests.cells import architectures
from trainables import layers
from trainables.layers import Shape
from trainables.modules import Regularisation, RowModule, State, StridedPointwise
from trainables.network import CellModule, CellNetwork
from trainables.network_plan import plan_cell, plan_network
from trainables.network_spec import NetworkSpec
from trainables.operations import factorized_reduction
from trainables.skeleton import DARTS_CIFAR, NASNET_CIFAR, SKELETONS, Skeleton


def nasnet_a(**values: Any) -> NetworkSpec:
    return NetworkSpec(**{"architecture": NASNET_A, "repeats": 2, "filters": 16, "classes": 10, **values})


def cell_module(cell: Cell, previous: int, current: int, filters: int, stride: int = 1, **rules: Any) -> CellModule:
    """One cell after two states of these widths and the same resolution."""
    chain = [Shape(previous, (9, 9), 1), Shape(current, (9, 9), 1)]
    skeleton = replace(NASNET_CIFAR, **rules)
    plan = plan_cell(cell, skeleton, chain, reads=(2, 1), filters=filters, stride=stride, drop_path=0.0)
    return CellModule(plan, Regularisation())


def test_sharing_the_relu_of_a_state_changes_nothing() -> None:
    """Compares the cell with the same modules, each with its own ReLU."""
    torch.manual_seed(0)
    cell = NASNET.sample(np.random.default_rng(3)).normal
    module: Any = cell_module(cell, 7, 9, 8).eval()
    inputs = (torch.randn(2, 7, 6, 6), torch.randn(2, 9, 6, 6))

    def alone(row: Any, value: Tensor) -> Tensor:
        return row(F.relu(value.clone()) if row.rectifies else value)

    states = [alone(row, value) for row, value in zip(module.inputs, inputs, strict=True)]
    for block, rows in zip(cell.blocks, module.blocks, strict=True):
        sides = [alone(row, states[edge.state]) for edge, row in zip(block.edges, rows, strict=True)]
        states.append(sides[0] + sides[1] if block.combination == "add" else torch.cat(sides, 1))
    outputs = [alone(row, states[state]) for row, state in zip(module.outputs, cell.output, strict=True)]
    expected = torch.cat(outputs, 1)
    torch.testing.assert_close(module(*(State(value) for value in inputs)).value, expected, rtol=0, atol=0)


def test_the_first_cell_reads_the_stem_unprojected_and_later_cells_project() -> None:
    plan = plan_network(nasnet_a(repeats=1, filters=4))
    assert plan.cells[0].inputs[0] == ()
    depthwise = plan.cells[0].edges[0][1][1]  # sep_conv_3x3 on state 0
    assert isinstance(depthwise, layers.Convolution)
    assert depthwise.in_channels == 3 * 4
    # After a reduction, k-2 has twice the resolution.
    assert plan.cells[2].inputs[0][1:] == factorized_reduction(4 * 6, 8, NASNET_CIFAR.operations)


def test_an_input_of_the_right_width_is_projected_only_if_the_rules_always_project() -> None:
    cell = NASNET_A.normal
    assert len(list(cell_module(cell, 8, 16, 8).inputs[0].parameters())) == 0
    assert len(list(cell_module(cell, 16, 16, 8).inputs[0].parameters())) > 0
    assert len(list(cell_module(cell, 8, 16, 8, previous_projection="always").inputs[0].parameters())) > 0


def test_state_1_is_projected_once_twice_or_never() -> None:
    def convolutions(current: int, rule: str) -> int:
        row = cell_module(NASNET_A.normal, 8, current, 8, current_projection=rule).inputs[1]
        return sum(isinstance(module, nn.Conv2d) for module in row.modules())

    assert [convolutions(16, rule) for rule in ("always", "twice", "never")] == [1, 2, 0]
    assert convolutions(8, "twice") == 1


def test_concatenation_widens_a_state_and_operations_project_it() -> None:
    cell = Cell(
        (
            Block((Edge(0, "identity"), Edge(1, "identity")), "concat"),
            Block.add((2, "identity"), (2, "max_pool_3x3")),
        ),
        (2, 3),
    )
    module: Any = cell_module(cell, 4, 4, 4)
    projections = [
        next(part for part in side.modules() if isinstance(part, nn.Conv2d)).in_channels for side in module.blocks[1]
    ]
    assert projections == [8, 8]  # a 1x1 convolution in place of the identity, and one after the pool
    assert module(State(torch.randn(1, 4, 5, 5)), State(torch.randn(1, 4, 5, 5))).value.shape == (1, 8, 5, 5)


def resolutions(skeleton: Skeleton, **values: Any) -> list[tuple[int, int]]:
    """Channels per block, and reduction, of every cell."""
    spec = nasnet_a(skeleton=skeleton, **values)
    return [(cell.shape.channels // len(cell.cell.output), cell.shape.stride) for cell in plan_network(spec).cells]


def test_the_skeleton_decides_the_order_of_cells() -> None:
    """Reduction cells stand between stages (NASNet), replace normal cells (PNASNet), and begin ImageNet networks."""
    small = {"repeats": 2, "filters": 8}
    assert resolutions(NASNET_CIFAR, **small) == [(8, 1)] * 2 + [(16, 2)] * 3 + [(32, 4)] * 3
    assert resolutions(SKELETONS["pnasnet_cifar"], **small) == [(8, 1)] * 2 + [(16, 2)] * 2 + [(32, 4)] * 2
    imagenet = [(2, 4), (4, 8)] + [(8, 8)] * 2 + [(16, 16)] * 3 + [(32, 32)] * 3
    assert resolutions(SKELETONS["nasnet_mobile"], image_size=(64, 64), **small) == imagenet
    assert resolutions(SKELETONS["darts_imagenet"], image_size=(64, 64), **small) == [
        (8, 8), (8, 8), (16, 16), (16, 16), (16, 16), (32, 32), (32, 32), (32, 32),
    ]  # fmt: skip


def test_the_skeleton_decides_what_the_cell_after_a_reduction_reads() -> None:
    def previous(name: str) -> list[int]:
        spec = nasnet_a(skeleton=SKELETONS[name], filters=8, image_size=(64, 64))
        reads = [cell.reads for cell in plan_network(spec).cells]
        assert all(current == 1 for _, current in reads)
        return [previous for previous, _ in reads]

    assert previous("nasnet_mobile") == [1] + [2] * 9
    assert previous("nasnet_large") == [1, 2, 2, 2, 2, 3, 2, 2, 3, 2]
    assert previous("darts_imagenet") == [2] * 8
    assert previous("nasnet_cifar") == [1] + [2] * 7


def drop_rate(network: CellNetwork, cell: int, progress: float) -> float:
    cells: Any = network.cells
    drop = cells[cell].blocks[0][0][-1]
    regularisation, images = network.regularisation, torch.ones(20_000, 1, 1, 1)
    regularisation.keep = torch.tensor(regularisation.keep_at(progress))
    regularisation.draw(images, 2)
    out = drop(images)
    kept = out[out != 0]
    rate = (out == 0).double().mean().item()
    if rate:
        torch.testing.assert_close(kept, torch.full_like(kept, 1 / regularisation.keep[drop.number].item()))
    return rate


def test_drop_path_grows_with_depth_and_progress_and_keeps_the_mean() -> None:
    network = CellNetwork(nasnet_a(repeats=1, filters=2, drop_path_probability=0.4)).train()
    network.regularisation.generator = torch.Generator().manual_seed(0)
    assert drop_rate(network, 4, 1.0) == pytest.approx(0.4, abs=0.02)
    assert drop_rate(network, 4, 0.5) == pytest.approx(0.2, abs=0.02)
    assert drop_rate(network, 0, 1.0) == pytest.approx(0.4 / 5, abs=0.02)
    assert drop_rate(network, 0, 0.0) == 0.0
    assert drop_rate(network.eval(), 4, 1.0) == 0.0


def test_drop_path_of_darts_does_not_grow_with_depth() -> None:
    network = CellNetwork(nasnet_a(skeleton=DARTS_CIFAR, repeats=1, filters=2, drop_path_probability=0.4)).train()
    network.regularisation.generator = torch.Generator().manual_seed(0)
    assert drop_rate(network, 0, 1.0) == pytest.approx(0.4, abs=0.02)


def test_drop_path_never_drops_identities_except_strided_ones_of_darts() -> None:
    def spared(skeleton: Skeleton, cell: int) -> set[str]:
        spec = nasnet_a(
            skeleton=skeleton, architecture=PUBLISHED["enas"].architecture, repeats=1, drop_path_probability=0.4
        )
        plan = plan_network(spec).cells[cell]
        return {
            f"{edge.operation} of {edge.state}"
            for block, rows in zip(plan.cell.blocks, plan.edges, strict=True)
            for edge, row in zip(block.edges, rows, strict=True)
            if not any(isinstance(layer, layers.DropPath) for layer in row)
        }

    assert spared(NASNET_CIFAR, 0) == spared(DARTS_CIFAR, 0) == {"identity of 0"}
    assert spared(NASNET_CIFAR, 1) == {"identity of 0"}
    assert spared(DARTS_CIFAR, 1) == set()


@pytest.mark.parametrize(("skeleton", "after"), [("nasnet_cifar", 2), ("darts_cifar", 3), ("enas_cifar", 4)])
def test_the_skeleton_decides_where_the_auxiliary_head_is(skeleton: str, after: int) -> None:
    """Before, at, and after the second reduction cell, which is number 3."""
    network = CellNetwork(nasnet_a(skeleton=SKELETONS[skeleton], repeats=1, filters=2, auxiliary_head=True))
    assert network.auxiliary_after == after
    logits = network.train().all_logits(torch.randn(2, 3, 32, 32))[1]
    assert logits is not None
    assert logits.shape == (2, 10)


def test_the_auxiliary_head_gives_logits_only_in_training() -> None:
    network = CellNetwork(nasnet_a(repeats=1, filters=2, auxiliary_head=True))
    images = torch.randn(2, 3, 32, 32)
    assert network.auxiliary_after == 2  # the last normal cell before the second reduction
    assert network.train().all_logits(images)[1] is not None
    assert network.eval().all_logits(images)[1] is None


def test_gradients_reach_every_weight_of_nasnet_a() -> None:
    network = CellNetwork(nasnet_a(repeats=1, filters=4))
    network(torch.randn(4, 3, 8, 8)).square().sum().backward()
    without_gradient = [
        name for name, weight in network.named_parameters() if weight.grad is None or not weight.grad.any()
    ]
    assert not without_gradient


@given(architectures())
def test_spec_json_round_trip(architecture: Architecture) -> None:
    skeleton = SKELETONS["darts_imagenet"]
    spec = nasnet_a(architecture=architecture, skeleton=skeleton, image_size=(28, 30), dropout=0.1)
    assert NetworkSpec.from_json(json.loads(json.dumps(spec.to_json()))) == spec


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"repeats": 0}, "repeats is 0; a whole number of at least 1"),
        ({"filters": 1}, "filters is 1; a whole number of at least 2"),
        ({"classes": 0}, "classes is 0; a whole number of at least 1"),
        ({"image_channels": 0}, "image_channels is 0"),
        ({"dropout": 1.0}, "dropout is 1.0; it must be at least 0 and below 1"),
        ({"drop_path_probability": -0.1}, "drop_path_probability is -0.1"),
        ({"image_size": (0, 5)}, "image_size"),
        ({"image_size": (32, 32, 3)}, "image_size is .32, 32, 3.; a height and a width"),
        ({"filters": 8.0}, "filters is 8.0; a whole number"),
        ({"skeleton": "darts_cifar"}, "skeleton is 'darts_cifar', which is not a Skeleton"),
    ],
)
def test_values_out_of_range_are_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        nasnet_a(**change)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"auxiliary_head": True, "image_size": (8, 8)},
            "would get 4x4 pixels and needs 5x5; set training.auxiliary_weight = 0",
        ),
        ({"skeleton": SKELETONS["nasnet_mobile"], "filters": 7}, "filters is 7; with 2 stem cells at least 8"),
        (
            {"skeleton": SKELETONS["nasnet_mobile"], "image_size": (2, 9)},
            "image_size is .2, 9.; the stem 'strided' needs at least 3x3 pixels",
        ),
    ],
)
def test_networks_that_cannot_be_built_are_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        plan_network(nasnet_a(**change))


def test_an_unknown_operation_is_refused_and_the_known_ones_listed() -> None:
    cell = Cell((Block.add((0, "conv_9x9"), (1, "identity")),), (2,))
    with pytest.raises(ValueError, match="unknown operation 'conv_9x9'; known: none, identity"):
        CellNetwork(nasnet_a(architecture=Architecture(cell, cell)))


def test_malformed_network_json_is_refused() -> None:
    value = nasnet_a().to_json()
    with pytest.raises(ValueError, match="not a network: 'image_size' is missing"):
        NetworkSpec.from_json({name: value[name] for name in value if name != "image_size"})
    with pytest.raises(
        ValueError, match="not a network: unknown or malformed field: .*unexpected keyword argument 'more'"
    ):
        NetworkSpec.from_json({**value, "more": 1})
    with pytest.raises(ValueError, match="stem is 'zzz'; known: convolution, strided, three_strided"):
        NetworkSpec.from_json({**value, "skeleton": {**value["skeleton"], "stem": "zzz"}})


@pytest.mark.parametrize("rule", ["padding", "strided_identity", "wide_convolutions", "pairs", "dilated_convolutions"])
def test_unknown_values_of_operation_rules_are_refused(rule: str) -> None:
    changed: dict[str, Any] = {rule: "nevr"}
    with pytest.raises(ValueError, match=f"{rule} is 'nevr'; known: "):
        replace(NASNET_CIFAR.operations, **changed)


@pytest.mark.parametrize(
    ("rule", "value"),
    [("stem_channels", -5), ("stem_multiplier", "3"), ("stem_multiplier", 0), ("stem_cells", -1), ("stem_cells", True)],
)
def test_numbers_of_a_skeleton_have_lower_bounds(rule: str, value: object) -> None:
    changed: dict[str, Any] = {rule: value}
    with pytest.raises(ValueError, match=f"{rule} is {value!r}; a number of at least"):
        replace(NASNET_CIFAR, **changed)


RULES = ["stem", "first_previous", "previous_projection", "current_projection", "before_pooling"]


@pytest.mark.parametrize("rule", RULES)
def test_unknown_values_of_skeletons_are_refused(rule: str) -> None:
    changed: dict[str, Any] = {rule: "nevr"}
    with pytest.raises(ValueError, match=f"{rule} is 'nevr'; known: "):
        replace(NASNET_CIFAR, **changed)


def test_images_in_any_memory_layout_give_the_same_logits() -> None:
    network = CellNetwork(nasnet_a(repeats=1, filters=4)).eval()
    images = torch.randn(2, 3, 9, 9)

    def logits(change: Callable[[Tensor], Tensor]) -> Tensor:
        return network(change(images)).detach()

    channels_last = logits(lambda tensor: tensor.to(memory_format=torch.channels_last))
    torch.testing.assert_close(channels_last, logits(lambda tensor: tensor))


def test_the_spec_alone_determines_the_network() -> None:
    spec = nasnet_a(repeats=1, filters=4)
    torch.manual_seed(0)
    first = CellNetwork(spec)
    torch.manual_seed(0)
    second = CellNetwork(NetworkSpec.from_json(spec.to_json()))
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True))
    assert first.spec == replace(spec)


@pytest.mark.parametrize(("channels", "leaves_out_first"), [(4, True), (12, True), (16, False)])
def test_a_strided_pointwise_convolution_of_few_channels_leaves_pixels_out_first(
    channels: int, leaves_out_first: bool
) -> None:
    """The result is that of PyTorch's own, whose gradient may end the process (`MIN_STRIDED_CHANNELS`)."""
    layer = layers.Convolution(channels, 6, (1, 1), padding="valid", stride=(2, 2))
    (module,) = RowModule((layer,), Regularisation())
    assert isinstance(module, StridedPointwise) == leaves_out_first
    assert isinstance(module, nn.Conv2d)
    images = torch.randn(2, channels, 9, 8)
    with torch.no_grad():
        torch.testing.assert_close(module(images), F.conv2d(images, module.weight, stride=2))
