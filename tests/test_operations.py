"""Operations as modules, compared with TensorFlow's definitions and the layers that papers list."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from search_spaces import PUBLISHED, SPACES
from trainables import layers
from trainables.layers import Row
from trainables.modules import Regularisation, RowModule, State
from trainables.operations import OPERATIONS, factorized_reduction
from trainables.skeleton import AMOEBANET_CIFAR, DARTS_CIFAR, NASNET_CIFAR, SKELETONS, OperationRules

TF = NASNET_CIFAR.operations
DARTS = DARTS_CIFAR.operations
BOTTLENECKED = AMOEBANET_CIFAR.operations
SIZES = [(8, 8), (7, 9), (5, 4), (2, 3), (1, 1)]


class Alone(nn.Module):
    """A row of layers as a module from tensors to tensors."""

    def __init__(self, row: Row) -> None:
        super().__init__()
        self.row = RowModule(row, Regularisation())

    def forward(self, images: Tensor) -> Tensor:
        return self.row.read(State(images)).value


def operation(name: str, in_channels: int, filters: int, *, stride: int = 1, rules: OperationRules = TF) -> Alone:
    return Alone(OPERATIONS[name](in_channels, filters, stride=stride, rules=rules))


def same_padded(images: Tensor, kernel: int, stride: int, value: float) -> Tensor:
    """TensorFlow's definition of SAME: missing pixels are added at both borders, the odd one last."""

    def before_and_after(size: int) -> tuple[int, int]:
        missing = max((math.ceil(size / stride) - 1) * stride + kernel - size, 0)
        return missing // 2, missing - missing // 2

    height, width = images.shape[2:]
    return F.pad(images, (*before_and_after(width), *before_and_after(height)), value=value)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("kernel", [2, 3, 5, 7])
def test_pools_match_tensorflow(kernel: int, stride: int, size: tuple[int, int]) -> None:
    images = torch.randn(2, 3, *size, dtype=torch.float64)
    windows = F.unfold(same_padded(images, kernel, stride, math.nan), kernel, stride=stride)
    windows = windows.reshape(2, 3, kernel * kernel, -1)
    out = [math.ceil(side / stride) for side in size]
    largest = windows.nan_to_num(nan=-math.inf).amax(dim=2).reshape(2, 3, *out)
    pool = Alone((layers.Pool("max", kernel, stride=stride, padding="same"),))
    torch.testing.assert_close(pool(images), largest, rtol=0, atol=0)
    if kernel % 2 or stride > 1:
        average = windows.nanmean(dim=2).reshape(2, 3, *out)
        pool = Alone((layers.Pool("average", kernel, stride=stride, padding="same"),))
        torch.testing.assert_close(pool(images), average)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("kernel", [1, 3, 5, 7])
def test_convolutions_are_padded_as_in_tensorflow(kernel: int, stride: int, size: tuple[int, int]) -> None:
    images = torch.randn(2, 3, *size)
    layer = layers.Convolution(3, 4, (kernel, kernel), padding="same", stride=(stride, stride))
    convolution = Alone((layer,))
    weight = next(convolution.parameters())
    expected = F.conv2d(same_padded(images, kernel, stride, 0.0), weight, stride=stride)
    torch.testing.assert_close(convolution(images), expected)


@pytest.mark.parametrize("size", [(8, 8), (7, 9)])
@pytest.mark.parametrize("dilation", [1, 2])
def test_darts_pads_half_the_kernel_on_each_side(dilation: int, size: tuple[int, int]) -> None:
    images = torch.randn(2, 3, *size)
    layer = layers.Convolution(3, 4, (3, 3), padding="symmetric", stride=(2, 2), dilation=dilation)
    convolution = Alone((layer,))
    expected = F.conv2d(images, next(convolution.parameters()), stride=2, padding=dilation, dilation=dilation)
    torch.testing.assert_close(convolution(images), expected)
    assert layer.size_after(size) == tuple(expected.shape[2:])
    average = Alone((layers.Pool("average", 3, stride=2, padding="symmetric"),))
    torch.testing.assert_close(average(images), F.avg_pool2d(images, 3, 2, 1, count_include_pad=False))


@pytest.mark.parametrize("rules", [TF, DARTS, BOTTLENECKED, replace(TF, strided_identity="factorized")])
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("name", OPERATIONS)
def test_every_operation_gives_the_filters_and_the_stride(name: str, stride: int, rules: OperationRules) -> None:
    for in_channels, size in ((8, (9, 6)), (5, (4, 7)), (3, (1, 1))):
        out = operation(name, in_channels, 8, stride=stride, rules=rules)(torch.randn(2, in_channels, *size))
        assert out.shape == (2, 8, math.ceil(size[0] / stride), math.ceil(size[1] / stride))


def test_every_operation_exports_with_a_free_batch_size() -> None:
    class All(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.modules_of_all = nn.ModuleList(operation(name, 4, 4, stride=s) for name in OPERATIONS for s in (1, 2))

        def forward(self, images: Tensor) -> list[Tensor]:
            return [module(images) for module in self.modules_of_all]

    free = ({0: torch.export.Dim.DYNAMIC},)
    program = torch.export.export(All().eval(), (torch.zeros(4, 4, 6, 6),), dynamic_shapes=free)
    for count in (1, 3):
        assert {len(out) for out in program.module()(torch.zeros(count, 4, 6, 6))} == {count}


def test_the_table_has_the_operations_of_every_space_and_published_cell() -> None:
    named = {operation for space in SPACES.values() for operation in space.operations}
    for published in PUBLISHED.values():
        for cell in (published.architecture.normal, published.architecture.reduction):
            named |= {edge.operation for block in cell.blocks for edge in block.edges}
        assert published.skeleton in SKELETONS
    assert named <= set(OPERATIONS)


def parameters(name: str, in_channels: int, filters: int, *, stride: int = 1, rules: OperationRules = TF) -> int:
    return sum(
        weight.numel() for weight in operation(name, in_channels, filters, stride=stride, rules=rules).parameters()
    )


def test_operations_have_the_layers_of_the_papers() -> None:
    """Convolutions have no bias; the batch norm after each has two parameters per channel."""
    norm = 2 * 8
    assert parameters("none", 4, 8) == 0
    assert parameters("identity", 8, 8) == 0
    assert parameters("identity", 8, 8, stride=2) == 8 * 8 + norm
    assert parameters("identity", 4, 8) == 4 * 8 + norm
    assert parameters("max_pool_5x5", 8, 8, stride=2) == 0
    assert parameters("avg_pool_3x3", 4, 8) == 4 * 8 + norm
    assert parameters("conv_1x1", 8, 8) == 8 * 8 + norm
    assert parameters("dil_conv_3x3", 8, 8) == 9 * 8 * 8 + norm
    assert parameters("conv_1x7_7x1", 4, 8) == 7 * 4 * 8 + 7 * 8 * 8 + 2 * norm
    # Applied twice; the first depthwise convolution runs on the input's width.
    assert parameters("sep_conv_5x5", 4, 8) == 25 * 4 + 4 * 8 + 25 * 8 + 8 * 8 + 2 * norm
    assert parameters("dil_sep_conv_5x5", 4, 8) == parameters("sep_conv_5x5", 4, 8)


def test_rules_change_the_layers() -> None:
    norm = 2 * 8
    assert parameters("dil_conv_3x3", 8, 8, rules=DARTS) == 9 * 8 + 8 * 8 + norm
    assert parameters("conv_1x7_7x1", 8, 8, rules=DARTS) == 2 * 7 * 8 * 8 + norm
    # In AmoebaNet's code: 1x1 to a quarter, the kernel there, 1x1 back.
    assert parameters("conv_3x3", 8, 8, rules=BOTTLENECKED) == 8 * 2 + 4 + 9 * 2 * 2 + 4 + 2 * 8 + norm
    assert parameters("conv_1x3_3x1", 8, 8, rules=BOTTLENECKED) == 8 * 3 + 6 + 2 * (3 * 3 * 3 + 6) + 3 * 8 + norm
    assert parameters("conv_1x1", 8, 8, rules=BOTTLENECKED) == 8 * 8 + norm


def test_the_rules_decide_the_strided_identity() -> None:
    images = torch.full((1, 4, 6, 6), -1.0)

    def weight(rules: OperationRules) -> list[int]:
        return [value.numel() for value in operation("identity", 4, 4, stride=2, rules=rules).parameters()]

    def sees_negative_values(rules: OperationRules) -> bool:
        row = operation("identity", 4, 4, stride=2, rules=rules).eval()
        for value in row.parameters():
            nn.init.ones_(value)
        return bool((row(images) != row(torch.zeros_like(images))).any())

    assert weight(TF) == [4 * 4, 4, 4]
    assert weight(DARTS) == [4 * 2, 4 * 2, 4, 4]
    assert not sees_negative_values(TF)
    assert not sees_negative_values(DARTS)
    assert sees_negative_values(replace(TF, strided_identity="factorized"))


@pytest.mark.parametrize("size", [(6, 6), (7, 5)])
def test_factorized_reduction_sees_even_and_odd_pixels(size: tuple[int, int]) -> None:
    reduction = Alone(factorized_reduction(1, 3, TF))
    parallel: Any = reduction.row[0]
    weights = list(parallel.parameters())
    assert [len(weight) for weight in weights] == [1, 2]
    for weight in weights:
        nn.init.ones_(weight)
    images = torch.arange(1.0, 1 + size[0] * size[1]).reshape(1, 1, *size)
    out = parallel(images)
    torch.testing.assert_close(out[:, :1], images[:, :, ::2, ::2])
    padded = F.pad(images, (0, 1, 0, 1))[:, :, 1:, 1:][:, :, ::2, ::2]
    torch.testing.assert_close(out[:, 1:2], padded[:, :, : out.shape[2], : out.shape[3]])


def test_a_dilated_convolution_reaches_two_pixels_and_skips_one() -> None:
    images = torch.zeros(1, 1, 9, 9)
    images[0, 0, 4, 4] = 1.0
    layer = operation("dil_conv_3x3", 1, 1).row[0]
    nn.init.ones_(layer.weight)  # type: ignore[arg-type]
    touched = layer(images)[0, 0].nonzero().tolist()
    assert touched == [[row, column] for row in (2, 4, 6) for column in (2, 4, 6)]


def test_a_residual_block_adds_its_shortcut() -> None:
    block = operation("residual_block", 2, 2)
    for weight in block.parameters():
        nn.init.zeros_(weight)
    images = torch.randn(1, 2, 5, 5)
    torch.testing.assert_close(block(images), images)
    # Two 3x3 convolutions with batch norm, and a 1x1 convolution without batch norm.
    assert parameters("residual_block", 2, 4, stride=2) == 9 * 2 * 4 + 8 + 9 * 4 * 4 + 8 + 2 * 4


def test_rows_do_not_change_their_input() -> None:
    """An in-place ReLU would change a state that other edges read."""
    for name in OPERATIONS:
        for rules in (TF, DARTS, BOTTLENECKED):
            images = torch.randn(2, 4, 6, 6)
            before = images.clone()
            operation(name, 4, 8, stride=2, rules=rules)(images)
            assert torch.equal(images, before), name
