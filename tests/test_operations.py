from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from search_spaces import NASNET
from trainables.operations import OPERATIONS, SamePool2d, convolution


def same_padded(images: Tensor, kernel: int, stride: int, value: float) -> Tensor:
    """TensorFlow's definition of SAME, written out: what is missing at the borders, the odd pixel last."""

    def before_and_after(size: int) -> tuple[int, int]:
        missing = max((math.ceil(size / stride) - 1) * stride + kernel - size, 0)
        return missing // 2, missing - missing // 2

    height, width = images.shape[2:]
    return F.pad(images, (*before_and_after(width), *before_and_after(height)), value=value)


@pytest.mark.parametrize("size", [(8, 8), (7, 9), (5, 4), (2, 3)])
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("kernel", [3, 5, 7])
def test_pools_are_tensorflows(kernel: int, stride: int, size: tuple[int, int]) -> None:
    images = torch.randn(2, 3, *size, dtype=torch.float64)
    windows = F.unfold(same_padded(images, kernel, stride, math.nan), kernel, stride=stride)
    windows = windows.reshape(2, 3, kernel * kernel, -1)
    out = [math.ceil(side / stride) for side in size]
    average = windows.nanmean(dim=2).reshape(2, 3, *out)
    largest = windows.nan_to_num(nan=-math.inf).amax(dim=2).reshape(2, 3, *out)
    torch.testing.assert_close(SamePool2d("average", kernel, stride)(images), average)
    torch.testing.assert_close(SamePool2d("max", kernel, stride)(images), largest, rtol=0, atol=0)


@pytest.mark.parametrize("size", [(8, 8), (7, 9), (5, 4)])
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("kernel", [1, 3, 5, 7])
def test_convolutions_are_padded_as_in_tensorflow(kernel: int, stride: int, size: tuple[int, int]) -> None:
    images = torch.randn(2, 3, *size)
    modules = torch.nn.Sequential(*convolution(3, 4, kernel, stride))
    weight = next(modules.parameters())
    expected = F.conv2d(same_padded(images, kernel, stride, 0.0), weight, stride=stride)
    torch.testing.assert_close(modules(images), expected)


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("name", OPERATIONS)
def test_every_operation_maps_to_the_filters_and_strides(name: str, stride: int) -> None:
    for in_channels, size in ((8, (9, 6)), (5, (4, 7))):
        operation = OPERATIONS[name](in_channels, 8, stride)
        out = operation(torch.randn(2, in_channels, *size))
        assert out.shape == (2, 8, math.ceil(size[0] / stride), math.ceil(size[1] / stride))


def test_the_table_has_the_operations_of_the_space() -> None:
    assert set(NASNET.operations) <= set(OPERATIONS)


def parameters(name: str, in_channels: int, filters: int, stride: int = 1) -> int:
    return sum(parameter.numel() for parameter in OPERATIONS[name](in_channels, filters, stride).parameters())


def test_operations_have_the_papers_layers() -> None:
    """Weights without biases, and two numbers a channel of batch norm after each convolution."""
    norm = 2 * 8
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


def test_a_dilated_convolution_reaches_two_pixels_and_skips_one() -> None:
    images = torch.zeros(1, 1, 9, 9)
    images[0, 0, 4, 4] = 1.0
    layer = OPERATIONS["dil_conv_3x3"](1, 1, 1)[0]
    torch.nn.init.ones_(layer.weight)  # type: ignore[arg-type]
    touched = layer(images)[0, 0].nonzero().tolist()
    assert touched == [[row, column] for row in (2, 4, 6) for column in (2, 4, 6)]
