"""The operations that a cell may apply to a state: name -> module, in one table.

Knows kernels, strides and padding. Does not know cells. Rules: TF-slim `nasnet_utils.py`; every convolution is
ReLU -> convolution -> batch norm, padding is TensorFlow's SAME, convolutions have no bias.

A module here whose `starts_with_relu` is true expects an input that is already rectified: a cell computes the ReLU of a
state once, for all operations that begin with it.
"""

from __future__ import annotations

from collections.abc import Callable

import torch.nn.functional as F
from torch import Tensor, nn

BATCH_NORM_EPSILON = 1e-5
BATCH_NORM_MOMENTUM = 0.1  # TensorFlow's decay 0.9


class SamePadding(nn.Module):
    """TensorFlow's SAME padding for a stride above 1, whose right and bottom sides may get one pixel more."""

    def __init__(self, kernel: tuple[int, int], stride: tuple[int, int]) -> None:
        super().__init__()
        self.kernel = kernel
        self.stride = stride

    def forward(self, images: Tensor) -> Tensor:
        height, width = (
            max((-(-size // stride) - 1) * stride + kernel - size, 0)
            for size, kernel, stride in zip(images.shape[2:], self.kernel, self.stride, strict=True)
        )
        return F.pad(images, (width // 2, width - width // 2, height // 2, height - height // 2))


def convolution(
    in_channels: int,
    out_channels: int,
    kernel: int | tuple[int, int],
    stride: int | tuple[int, int] = 1,
    *,
    dilation: int = 1,
    groups: int = 1,
) -> list[nn.Module]:
    """A bias-free convolution with SAME padding, as the modules to put in a row."""
    height, width = (kernel, kernel) if isinstance(kernel, int) else kernel
    vertical, horizontal = (stride, stride) if isinstance(stride, int) else stride
    extent = (dilation * (height - 1) + 1, dilation * (width - 1) + 1)
    # With stride 1, or a 1x1 kernel, SAME is symmetric, so the convolution can pad by itself, without a copy.
    symmetric = all(step == 1 or size == 1 for step, size in zip((vertical, horizontal), extent, strict=True))
    padding = (extent[0] // 2, extent[1] // 2) if symmetric else (0, 0)
    layer = nn.Conv2d(
        in_channels,
        out_channels,
        (height, width),
        (vertical, horizontal),
        padding,
        dilation=dilation,
        groups=groups,
        bias=False,
    )
    return [layer] if symmetric else [SamePadding(extent, (vertical, horizontal)), layer]


def batch_norm(channels: int) -> nn.BatchNorm2d:
    return nn.BatchNorm2d(channels, eps=BATCH_NORM_EPSILON, momentum=BATCH_NORM_MOMENTUM)


class Operation(nn.Sequential):
    """What an edge applies to a state: modules in a row, and whether they expect a rectified input."""

    def __init__(self, *modules: nn.Module, starts_with_relu: bool) -> None:
        super().__init__(*modules)
        self.starts_with_relu = starts_with_relu


def pointwise(in_channels: int, filters: int, stride: int = 1, *, relu: bool = True) -> Operation:
    """1x1 convolution and batch norm, after a ReLU unless `relu` is false."""
    layers = convolution(in_channels, filters, 1, stride)
    return Operation(*layers, batch_norm(filters), starts_with_relu=relu)


def _identity(in_channels: int, filters: int, stride: int) -> Operation:
    if stride == 1 and in_channels == filters:
        return Operation(starts_with_relu=False)
    return pointwise(in_channels, filters, stride)


def _convolutions(*kernels: tuple[int, int], dilation: int = 1) -> OperationBuilder:
    """Each kernel as ReLU -> convolution -> batch norm; a side of the kernel above 1 takes the stride of that axis."""

    def build(in_channels: int, filters: int, stride: int) -> Operation:
        layers: list[nn.Module] = []
        for index, kernel in enumerate(kernels):
            if index:
                layers.append(nn.ReLU(inplace=True))
            # 1x7 then 7x1 stride along the axis that each filters; a square kernel, alone, along both.
            height, width = (stride if size > 1 or len(kernels) == 1 else 1 for size in kernel)
            width_in = filters if index else in_channels
            layers += convolution(width_in, filters, kernel, (height, width), dilation=dilation)
            layers.append(batch_norm(filters))
        return Operation(*layers, starts_with_relu=True)

    return build


def _separable(kernel: int, layers: int = 2) -> OperationBuilder:
    """Depthwise then pointwise convolution, applied `layers` times; only the first strides and sees the input width."""

    def build(in_channels: int, filters: int, stride: int) -> Operation:
        modules: list[nn.Module] = []
        for layer in range(layers):
            width = filters if layer else in_channels
            if layer:
                modules.append(nn.ReLU(inplace=True))
            modules += convolution(width, width, kernel, 1 if layer else stride, groups=width)
            modules += convolution(width, filters, 1)
            modules.append(batch_norm(filters))
        return Operation(*modules, starts_with_relu=True)

    return build


class SamePool2d(nn.Module):
    """Max or average pooling with TensorFlow's SAME padding; padding is never the maximum and never averaged."""

    def __init__(self, kind: str, kernel: int, stride: int) -> None:
        super().__init__()
        self.kind = kind
        self.kernel = kernel
        self.stride = stride

    def forward(self, images: Tensor) -> Tensor:
        # SAME puts the odd pixel of padding last, which is what ceil_mode adds.
        top, left = (
            max((-(-size // self.stride) - 1) * self.stride + self.kernel - size, 0) // 2 for size in images.shape[2:]
        )
        if self.kind == "max":
            return F.max_pool2d(images, self.kernel, self.stride, (top, left), ceil_mode=True)
        return F.avg_pool2d(images, self.kernel, self.stride, (top, left), ceil_mode=True, count_include_pad=False)


def _pool(kind: str, kernel: int) -> OperationBuilder:
    """A pool, and where the width changes a 1x1 convolution and batch norm without a ReLU."""

    def build(in_channels: int, filters: int, stride: int) -> Operation:
        pool = SamePool2d(kind, kernel, stride)
        if in_channels == filters:
            return Operation(pool, starts_with_relu=False)
        return Operation(pool, *pointwise(in_channels, filters, relu=False), starts_with_relu=False)

    return build


OperationBuilder = Callable[[int, int, int], Operation]
"""(input channels, filters, stride) -> module from [n, input channels, h, w] to [n, filters, h/stride, w/stride]."""

OPERATIONS: dict[str, OperationBuilder] = {
    "identity": _identity,
    "conv_1x3_3x1": _convolutions((1, 3), (3, 1)),
    "conv_1x7_7x1": _convolutions((1, 7), (7, 1)),
    "dil_conv_3x3": _convolutions((3, 3), dilation=2),
    "avg_pool_3x3": _pool("average", 3),
    "max_pool_3x3": _pool("max", 3),
    "max_pool_5x5": _pool("max", 5),
    "max_pool_7x7": _pool("max", 7),
    "conv_1x1": _convolutions((1, 1)),
    "conv_3x3": _convolutions((3, 3)),
    "sep_conv_3x3": _separable(3),
    "sep_conv_5x5": _separable(5),
    "sep_conv_7x7": _separable(7),
}
