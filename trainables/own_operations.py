"""Finds an operation by its name: in the table, or `module:NAME` of the user's own, whose layers are checked. No torch.

A name `module:NAME` may stand wherever one of the table may: in a space, and so in its architectures. Every process
that reads an architecture imports the operation by this name.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import get_args

from trainables.faults import describe
from trainables.layers import (
    BatchNorm,
    Convolution,
    Dropout,
    DropPath,
    Embedding,
    Flatten,
    GlobalPool,
    Layer,
    Linear,
    Parallel,
    Pool,
    Relu,
    Resize,
    Row,
    Shift,
    Size,
    TorchModule,
    Zero,
)
from trainables.operations import OPERATIONS, operations_for
from trainables.plugins import import_plugin, is_plugin_name
from trainables.skeleton import OperationRules

CHECKED_SIZE = (7, 8)
"""The size with which the layers of a user's own operation are checked: an odd side and, for images, an even one."""


def build_operation(
    name: str, in_channels: int, filters: int, *, stride: int, rules: OperationRules, axes: int = 2
) -> Row:
    """Return the layers of an operation, of the table or of the user's own, for sizes of this many axes.

    Raises:
        ValueError: the operation is unknown, does not exist for so many axes, cannot be imported, raises an error, or
            its layers do not map `in_channels` to `filters` at this stride.
    """
    if name in OPERATIONS:
        if name not in operations_for(axes):
            raise ValueError(f"the operation {name!r} does not exist for data of {axes} axis; use another one")
        return OPERATIONS[name](in_channels, filters, stride=stride, rules=rules)
    if not is_plugin_name(name):
        raise ValueError(f"unknown operation {name!r}; known: {', '.join(OPERATIONS)}, or 'module:NAME'")
    if name.startswith("__main__:"):
        raise ValueError(f"operation {name!r}: workers cannot import from __main__; put it into a module of its own")
    try:
        build = import_plugin(name)
    except ValueError as error:
        raise ValueError(f"operation {name!r}: {error}") from error
    checked = CHECKED_SIZE[:axes]
    asked = f"operation {name!r} with in_channels={in_channels}, filters={filters}, stride={stride}"
    try:
        row = build(in_channels, filters, stride=stride, rules=rules)
        if not isinstance(row, tuple):
            raise TypeError(f"it returned {type(row).__name__}; a tuple of layers is needed")
        if strange := [layer for layer in row if not isinstance(layer, get_args(Layer))]:
            raise TypeError(f"it returned a tuple with {strange[0]!r}, which is not a layer")
        found = _shape_after(row, in_channels, checked)
    except Exception as error:  # a user's function may raise anything
        raise ValueError(f"{asked}: {describe(error)}") from error
    expected = tuple(-(-side // stride) for side in checked)
    if found != (filters, expected):
        raise ValueError(
            f"{asked} maps {checked} pixels to {found[0]} channels of {found[1]} pixels; {filters} channels of "
            f"{expected} are needed"
        )
    return row


def _shape_after(row: Row, channels: int, size: Size) -> tuple[int, Size]:
    """Channels and size after the layers; ValueError if a layer does not fit the one before it."""
    for layer in row:
        if isinstance(layer, Convolution | BatchNorm):
            expected = layer.in_channels if isinstance(layer, Convolution) else layer.channels
            if expected != channels:
                raise ValueError(f"{type(layer).__name__} expects {expected} channels but gets {channels}")
        match layer:
            case Convolution():
                channels, size = layer.out_channels, layer.size_after(size)
            case Zero() | TorchModule():
                channels, size = layer.channels, layer.size_after(size)
            case Pool() | Shift():
                size = layer.size_after(size)
            case Parallel():
                channels, size = _combined([_shape_after(part, channels, size) for part in layer.rows], layer)
            case Relu() | BatchNorm() | Dropout() | DropPath():
                pass
            case GlobalPool() | Flatten() | Linear() | Embedding() | Resize():
                raise ValueError(f"{type(layer).__name__} cannot be a layer of an operation")
    return channels, size


def _combined(shapes: Sequence[tuple[int, Size]], layer: Parallel) -> tuple[int, Size]:
    widths, sizes = [width for width, _ in shapes], {size for _, size in shapes}
    if len(sizes) != 1 or (layer.combination == "add" and len(set(widths)) != 1):
        needed = "shapes to add" if layer.combination == "add" else "sizes to concatenate"
        raise ValueError(f"the rows of a Parallel must have equal {needed}; they return {shapes}")
    return sum(widths) if layer.combination == "concat" else widths[0], sizes.pop()
