"""Operations that a cell may apply to a state: a table from names to layers. Does not know torch.

Knows kernels, strides and the order of layers. Does not know cells. A kernel of 3x3 is one of 3 on sequences, where the
pairs of two axes (`conv_1x3_3x1`, `conv_1x7_7x1`) do not exist. Unless the rules say otherwise, a convolution (or a
depthwise convolution with its 1x1) is ReLU -> convolution -> batch norm (TF-slim `nasnet_utils.py`).
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Literal, Protocol

from trainables.layers import BatchNorm, Convolution, Parallel, Pool, Relu, Row, Shift, Zero
from trainables.skeleton import OperationRules


class OperationBuilder(Protocol):
    """Builds the layers of an operation. The first line of its docstring describes the operation."""

    def __call__(self, in_channels: int, filters: int, *, stride: int, rules: OperationRules) -> Row:
        """Return layers that map [n, in_channels, *size] to [n, filters, *size/stride]."""


def batch_norm(channels: int, rules: OperationRules) -> BatchNorm:
    """Batch norm with the rules' epsilon and momentum."""
    return BatchNorm(channels, rules.batch_norm_epsilon, rules.batch_norm_momentum)


def pointwise(in_channels: int, filters: int, rules: OperationRules, *, stride: int = 1) -> Row:
    """1x1 convolution and batch norm, without a ReLU."""
    convolution = Convolution(in_channels, filters, 1, padding=rules.padding, stride=stride)
    return (convolution, batch_norm(filters, rules))


def factorized_reduction(in_channels: int, filters: int, rules: OperationRules) -> Row:
    """Two 1x1 convolutions of stride 2, the second shifted by one pixel along each axis, and batch norm; no ReLU."""
    even = Convolution(in_channels, filters // 2, 1, padding=rules.padding, stride=2)
    odd = Convolution(in_channels, filters - filters // 2, 1, padding=rules.padding, stride=2)
    return (Parallel(((even,), (Shift(), odd)), "concat"), batch_norm(filters, rules))


def _none(in_channels: int, filters: int, *, stride: int, rules: OperationRules) -> Row:
    """Zeros."""
    return (Zero(filters, stride),)


def _identity(in_channels: int, filters: int, *, stride: int, rules: OperationRules) -> Row:
    """No layers if width and size stay; otherwise ReLU, 1x1 convolution, batch norm, or the rules' strided identity."""
    if stride == 1 and in_channels == filters:
        return ()
    if stride == 1 or rules.strided_identity == "pointwise":
        return (Relu(), *pointwise(in_channels, filters, rules, stride=stride))
    reduction = factorized_reduction(in_channels, filters, rules)
    return (Relu(), *reduction) if rules.strided_identity == "relu_factorized" else reduction


def _pool(kind: Literal["max", "average"], kernel: int) -> OperationBuilder:
    """A pool, followed by a 1x1 convolution and batch norm if the width changes."""

    def build(in_channels: int, filters: int, *, stride: int, rules: OperationRules) -> Row:
        padding = rules.padding if kernel % 2 else "same"  # an even window has no centre
        pool = Pool(kind, kernel, stride=stride, padding=padding)
        return (pool,) if in_channels == filters else (pool, *pointwise(in_channels, filters, rules))

    build.__doc__ = f"{kernel}x{kernel} {kind} pool; also 1x1 convolution and batch norm if the width changes."
    return build


def _dense(
    in_channels: int, filters: int, *, kernel: int, stride: int, rules: OperationRules, dilation: int = 1
) -> Row:
    """ReLU, a convolution, batch norm."""
    layer = Convolution(
        in_channels,
        filters,
        kernel,
        padding=rules.padding,
        stride=stride,
        dilation=dilation,
    )
    return (Relu(), layer, batch_norm(filters, rules))


def _convolution(kernel: int) -> OperationBuilder:
    def build(in_channels: int, filters: int, *, stride: int, rules: OperationRules) -> Row:
        def core(width_in: int, width: int) -> Row:
            return _dense(width_in, width, kernel=kernel, stride=stride, rules=rules)

        if kernel > 1 and rules.wide_convolutions == "bottlenecked":
            return _bottlenecked(core, in_channels, filters, middle=filters // 4, rules=rules)
        return core(in_channels, filters)

    build.__doc__ = f"ReLU, {kernel}x{kernel} convolution, batch norm."
    return build


def _convolution_pair(kernel: int) -> OperationBuilder:
    """1xk, then kx1 convolution; each strides along the axis that it filters."""

    def build(in_channels: int, filters: int, *, stride: int, rules: OperationRules) -> Row:
        def core(width_in: int, width: int) -> Row:
            across = Convolution(width_in, width, (1, kernel), padding=rules.padding, stride=(1, stride))
            down = Convolution(width, width, (kernel, 1), padding=rules.padding, stride=(stride, 1))
            between: Row = (batch_norm(width, rules), Relu()) if rules.pairs == "separate" else ()
            return (Relu(), across, *between, down, batch_norm(width, rules))

        if rules.wide_convolutions == "bottlenecked":
            middle = filters * 3 // 8 if kernel == 3 else filters // 4
            return _bottlenecked(core, in_channels, filters, middle=middle, rules=rules)
        return core(in_channels, filters)

    build.__doc__ = f"ReLU, 1x{kernel} convolution, then {kernel}x1 convolution, batch norm."
    return build


def _bottlenecked(
    core: Callable[[int, int], Row], in_channels: int, filters: int, *, middle: int, rules: OperationRules
) -> Row:
    """1x1 convolution to `middle` channels, `core` on these, and 1x1 convolution to the filters."""
    middle = max(middle, 1)
    into, out_of = pointwise(in_channels, middle, rules), pointwise(middle, filters, rules)
    return (Relu(), *into, *core(middle, middle), Relu(), *out_of)


def _separable(kernel: int, layers: int = 2, dilation: int = 1) -> OperationBuilder:
    """Depthwise then pointwise convolution, `layers` times; only the first has the stride and the input width."""

    def build(in_channels: int, filters: int, *, stride: int, rules: OperationRules) -> Row:
        row: Row = ()
        for layer in range(layers):
            width = filters if layer else in_channels
            step = 1 if layer else stride
            depthwise = Convolution(
                width, width, kernel, padding=rules.padding, stride=step, dilation=dilation, groups=width
            )
            row += (Relu(), depthwise, *pointwise(width, filters, rules))
        return row

    build.__doc__ = (
        f"ReLU, {kernel}x{kernel} depthwise convolution{' with dilation 2' * (dilation > 1)}, 1x1 convolution, "
        f"batch norm, {'once' if layers == 1 else 'twice'}."
    )
    return build


def _dilated(kernel: int) -> OperationBuilder:
    def build(in_channels: int, filters: int, *, stride: int, rules: OperationRules) -> Row:
        if rules.dilated_convolutions == "separable":
            return _separable(kernel, layers=1, dilation=2)(in_channels, filters, stride=stride, rules=rules)
        return _dense(in_channels, filters, kernel=kernel, stride=stride, rules=rules, dilation=2)

    build.__doc__ = f"ReLU, {kernel}x{kernel} convolution with dilation 2, batch norm."
    return build


def _residual_block(in_channels: int, filters: int, *, stride: int, rules: OperationRules) -> Row:
    """Two 3x3 convolutions and a shortcut, which a 2x2 average pool and a 1x1 convolution match to their output.

    Dong and Yang 2020, section 2.1: the basic block of He et al. 2016, with ReLU and batch norm as in the cells.
    """
    shortcut: Row = ()
    if stride > 1:
        shortcut += (Pool("average", stride, stride=stride, padding="same"),)
    if stride > 1 or in_channels != filters:
        shortcut += (Convolution(in_channels, filters, 1, padding=rules.padding),)
    main = (
        *_dense(in_channels, filters, kernel=3, stride=stride, rules=rules),
        *_dense(filters, filters, kernel=3, stride=1, rules=rules),
    )
    return (Parallel((main, shortcut), "add"),)


OPERATIONS: Mapping[str, OperationBuilder] = MappingProxyType(
    {
        "none": _none,
        "identity": _identity,
        "avg_pool_3x3": _pool("average", 3),
        "max_pool_2x2": _pool("max", 2),
        "max_pool_3x3": _pool("max", 3),
        "max_pool_5x5": _pool("max", 5),
        "max_pool_7x7": _pool("max", 7),
        "conv_1x1": _convolution(1),
        "conv_3x3": _convolution(3),
        "conv_1x3_3x1": _convolution_pair(3),
        "conv_1x7_7x1": _convolution_pair(7),
        "dil_conv_3x3": _dilated(3),
        "dil_conv_5x5": _dilated(5),
        "sep_conv_3x3": _separable(3),
        "sep_conv_5x5": _separable(5),
        "sep_conv_7x7": _separable(7),
        "dil_sep_conv_3x3": _separable(3, dilation=2),
        "dil_sep_conv_5x5": _separable(5, dilation=2),
        "residual_block": _residual_block,
    }
)
"""The built-in operations. Read-only, because what one process adds is missing in every other; see `own_operations`."""


@functools.cache
def operations_for(axes: int) -> tuple[str, ...]:
    """The built-in operations that exist for sizes of this many axes."""
    return tuple(name for name, build in OPERATIONS.items() if _axes(build) in (None, axes))


def _axes(build: OperationBuilder) -> int | None:
    """The number of axes that an operation is for; None: any."""
    row = build(2, 2, stride=1, rules=OperationRules())
    found = {layer.axes for layer in row if isinstance(layer, Convolution)} - {None}
    return next(iter(found), None)
