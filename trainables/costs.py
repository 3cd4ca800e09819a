"""Counts parameters, multiply-adds and activation memory from a network's plan, in 1 to 2 ms. No torch."""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass
from typing import assert_never

from trainables.heads import Join
from trainables.layers import (
    BatchNorm,
    Convolution,
    Dropout,
    DropPath,
    Embedding,
    Flatten,
    GlobalPool,
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
from trainables.network_plan import CellPlan, plan_network, plan_stem
from trainables.network_spec import NetworkSpec

Padding = tuple[tuple[int, int], ...]
"""Pixels before and after each axis."""

FLOAT_BYTES = 4
INDEX_BYTES = 8
"""Tokens are 64-bit integers, and so is the index of each maximum, which max pooling keeps."""


@dataclass(frozen=True)
class NetworkCosts:
    """Costs of one network."""

    parameters: int
    """Trainable parameters, including those of an auxiliary head."""
    macs: int
    """Multiply-adds of convolutions and linear layers for one image at inference."""
    activation_bytes: int
    """Bytes that PyTorch keeps per image for the backward pass in float32 (in bfloat16 about half). Times the batch
    size, it is most of the memory that training needs. The count is exact, with two exceptions: states that no layer
    reads are counted although PyTorch frees them, and the masks of drop path and dropout are not counted. A PyTorch
    module of the user's own counts as it states."""


def network_costs(spec: NetworkSpec) -> NetworkCosts:
    """Count the costs of the network of a spec.

    Raises:
        ValueError: the network cannot be built; see `plan_network`.
    """
    plan = plan_network(spec)
    counter = _Counter()
    chain = counter.stem(plan.stem, spec)
    auxiliary = 0
    for index, cell in enumerate(plan.cells):
        chain.append(counter.cell(cell, [chain[-back] for back in cell.reads]))
        if plan.auxiliary and index == plan.auxiliary_after:
            before = counter.macs
            counter.row(plan.auxiliary, chain[-1])
            auxiliary = counter.macs - before
    state = counter.row(plan.head, chain[-1])
    for join in plan.joins:
        state = counter.join(join, state, chain[join.stage])
    counter.row(plan.output, state)
    return NetworkCosts(counter.parameters, counter.macs - auxiliary, counter.activation_bytes)


def stem_costs(spec: NetworkSpec) -> NetworkCosts:
    """Count the costs of the stem: a lower bound of those of every network that differs only in its architecture.

    Raises:
        ValueError: the images are too small for the stem.
    """
    rows, _ = plan_stem(spec)
    counter = _Counter()
    counter.stem(rows, spec)
    return NetworkCosts(counter.parameters, counter.macs, counter.activation_bytes)


class _Tensor:
    """A tensor of one image: its shape, and whether it is counted already among those that a training keeps."""

    def __init__(self, channels: int, size: Size) -> None:
        self.channels = channels
        self.size = size
        self.values = channels * math.prod(size)
        self.kept = False
        self.rectified: _Tensor | None = None


class _Counter:
    """Adds up costs while tensors flow through a network."""

    def __init__(self) -> None:
        self.parameters = 0
        self.macs = 0
        self.activation_bytes = 0

    def keep(self, tensor: _Tensor) -> None:
        """Count a kept tensor once; autograd keeps one copy for all layers that need it."""
        if not tensor.kept:
            tensor.kept = True
            self.activation_bytes += FLOAT_BYTES * tensor.values

    def stem(self, rows: tuple[Row, ...], spec: NetworkSpec) -> list[_Tensor]:
        """Count the stem and return the output of each row."""
        outputs = [_Tensor(spec.image_channels, spec.image_size)]
        for row in rows:
            outputs.append(self.row(row, outputs[-1]))
        return outputs[1:]

    def cell(self, plan: CellPlan, inputs: list[_Tensor]) -> _Tensor:
        """Count a cell and return its output."""
        states = [self.row(row, state) for row, state in zip(plan.inputs, inputs, strict=True)]
        for block, rows in zip(plan.cell.blocks, plan.edges, strict=True):
            sides = [self.row(row, states[edge.state]) for edge, row in zip(block.edges, rows, strict=True)]
            states.append(_combined(sides, block.combination))
        outputs = [self.row(row, states[state]) for state, row in zip(plan.cell.output, plan.outputs, strict=True)]
        return _combined(outputs, "concat")

    def join(self, join: Join, coarse: _Tensor, fine: _Tensor) -> _Tensor:
        """Count the join of a finer stage and return its output."""
        return _combined([self.row(join.lateral, fine), _Tensor(coarse.channels, fine.size)], "add")

    def row(self, row: Row, tensor: _Tensor) -> _Tensor:
        """Count the layers of a row and return their output."""
        for layer in row:
            match layer:
                case Embedding():
                    self.parameters += layer.parameters
                    self.activation_bytes += INDEX_BYTES * tensor.values
                    tensor = _Tensor(layer.channels, tensor.size)
                case Relu():
                    tensor = self._relu(tensor)
                case Convolution():
                    tensor = self._convolution(layer, tensor)
                case BatchNorm():
                    self.keep(tensor)
                    self.parameters += layer.parameters
                    tensor = _Tensor(tensor.channels, tensor.size)
                case Pool():
                    self.keep(_padded(tensor, ((0, 1),) * len(tensor.size)) if layer.pads_first else tensor)
                    tensor = _Tensor(tensor.channels, layer.size_after(tensor.size))
                    if layer.kind == "max":
                        self.activation_bytes += INDEX_BYTES * tensor.values
                case Zero():
                    tensor = _Tensor(layer.channels, layer.size_after(tensor.size))
                case Shift():
                    tensor = _Tensor(tensor.channels, layer.size_after(tensor.size))
                case Resize():
                    tensor = _Tensor(tensor.channels, layer.size)
                case GlobalPool():
                    pooled = _Tensor(tensor.channels, ())
                    if layer.kind == "max":
                        self.keep(tensor)
                        self.keep(pooled)
                    tensor = pooled
                case Flatten():
                    flat = _Tensor(tensor.values, ())
                    flat.kept = tensor.kept
                    tensor = flat
                case Linear():
                    self.keep(tensor)
                    self.parameters += layer.parameters
                    self.macs += layer.in_features * layer.out_features
                    tensor = _Tensor(layer.out_features, ())
                case Parallel():
                    tensor = self._parallel(layer, tensor)
                case DropPath() | Dropout():  # their masks are small: a number per feature, or one per image
                    tensor = _Tensor(tensor.channels, tensor.size)
                case TorchModule():
                    self.parameters += layer.parameters
                    self.macs += layer.macs(tensor.size)
                    self.activation_bytes += layer.activation_bytes(tensor.size)
                    tensor = _Tensor(layer.channels, layer.size_after(tensor.size))
                case _:
                    assert_never(layer)
        return tensor

    def _parallel(self, layer: Parallel, tensor: _Tensor) -> _Tensor:
        """Count parallel rows. They share one ReLU among themselves, but not with other rows that read the tensor."""
        shared, tensor.rectified = tensor.rectified, None
        combined = _combined([self.row(row, tensor) for row in layer.rows], layer.combination)
        tensor.rectified = shared
        return combined

    def _relu(self, tensor: _Tensor) -> _Tensor:
        """Count a ReLU, which keeps its result and is computed once per tensor."""
        if tensor.rectified is None:
            tensor.rectified = _Tensor(tensor.channels, tensor.size)
            self.keep(tensor.rectified)
        return tensor.rectified

    def _convolution(self, layer: Convolution, tensor: _Tensor) -> _Tensor:
        padding, size, parameters, weights = _convolved(layer, tensor.size)
        self.keep(tensor if padding is None else _padded(tensor, padding))
        self.parameters += parameters
        self.macs += weights * math.prod(size)
        return _Tensor(layer.out_channels, size)


@functools.lru_cache(maxsize=4096)
def _convolved(layer: Convolution, size: Size) -> tuple[Padding | None, Size, int, int]:
    """Padding of the image before the layer (None: no separate step), output size, parameters, and weights.

    Cached because a search counts thousands of networks that consist of the same few layers.
    """
    padding = layer.first_padding(size) if layer.pads_first else None
    axes = len(size)
    return padding, layer.size_after(size), layer.parameters(axes), layer.weights(axes)


def _padded(tensor: _Tensor, padding: Padding) -> _Tensor:
    """A padded copy, or the tensor itself if the padding is empty."""
    size = tuple(side + sum(pixels) for side, pixels in zip(tensor.size, padding, strict=True))
    return tensor if size == tensor.size else _Tensor(tensor.channels, size)


def _combined(tensors: list[_Tensor], combination: str) -> _Tensor:
    if len(tensors) == 1:
        return tensors[0]
    channels = sum(tensor.channels for tensor in tensors) if combination == "concat" else tensors[0].channels
    return _Tensor(channels, tensors[0].size)
