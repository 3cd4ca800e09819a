"""What a network costs before it is trained, counted from its plan in a millisecond or two. No torch, no tensors."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import assert_never

from trainables.layers import (
    BatchNorm,
    Convolution,
    Dropout,
    DropPath,
    Flatten,
    GlobalAverage,
    Linear,
    Parallel,
    Pool,
    Relu,
    Row,
    Shift,
    Size,
    Zero,
)
from trainables.network_plan import CellPlan, plan_network
from trainables.network_spec import NetworkSpec

Padding = tuple[tuple[int, int], tuple[int, int]]
"""Pixels above and below, and left and right."""

FLOAT_BYTES = 4
INDEX_BYTES = 8
"""Max pooling remembers where each maximum was, as a 64-bit integer."""


@dataclass(frozen=True)
class NetworkCosts:
    """Costs of one network.

    `parameters`: trainable ones, those of an auxiliary head included. `macs`: multiply-adds of convolutions and linear
    layers for one image at inference. `activation_bytes`: what PyTorch keeps of one image for the backward pass, in
    float32 (in bfloat16 about half); with a batch's number of images it is most of the memory that training needs. It
    is exact to the byte where cells read all that they are given; PyTorch frees what nothing reads, but it is counted.
    The masks of drop path and dropout are left out.
    """

    parameters: int
    macs: int
    activation_bytes: int


def network_costs(spec: NetworkSpec) -> NetworkCosts:
    """Costs of the network that the spec stands for.

    Raises:
        ValueError: no network can be made of it; see `plan_network`.
    """
    plan = plan_network(spec)
    counter = _Counter()
    chain = []
    state = _Tensor(spec.image_channels, spec.image_size)
    for row in plan.stem:
        state = counter.row(row, state)
        chain.append(state)
    auxiliary = 0
    for index, cell in enumerate(plan.cells):
        chain.append(counter.cell(cell, [chain[-back] for back in cell.reads]))
        if plan.auxiliary and index == plan.auxiliary_after:
            before = counter.macs
            counter.row(plan.auxiliary, chain[-1])
            auxiliary = counter.macs - before
    counter.row(plan.head, chain[-1])
    return NetworkCosts(counter.parameters, counter.macs - auxiliary, counter.activation_bytes)


class _Tensor:
    """A tensor of one image: its shape, the bytes that keeping it takes, and whether they are counted already."""

    def __init__(self, channels: int, size: Size) -> None:
        self.channels = channels
        self.size = size
        self.bytes = FLOAT_BYTES * channels * size[0] * size[1]
        self.kept = False
        self.rectified: _Tensor | None = None


class _Counter:
    """Adds up costs along the way that the tensors take through a network."""

    def __init__(self) -> None:
        self.parameters = 0
        self.macs = 0
        self.activation_bytes = 0

    def keep(self, tensor: _Tensor) -> None:
        """Autograd keeps a tensor once, however many layers ask for it."""
        if not tensor.kept:
            tensor.kept = True
            self.activation_bytes += tensor.bytes

    def cell(self, plan: CellPlan, inputs: list[_Tensor]) -> _Tensor:
        states = [self.row(row, state) for row, state in zip(plan.inputs, inputs, strict=True)]
        for block, rows in zip(plan.cell.blocks, plan.edges, strict=True):
            sides = [self.row(row, states[edge.state]) for edge, row in zip(block.edges, rows, strict=True)]
            states.append(_combined(sides, block.combination))
        outputs = [self.row(row, states[state]) for state, row in zip(plan.cell.output, plan.outputs, strict=True)]
        return _combined(outputs, "concat")

    def row(self, row: Row, tensor: _Tensor) -> _Tensor:
        """What the layers make of the tensor."""
        for layer in row:
            match layer:
                case Relu():
                    tensor = self._relu(tensor)
                case Convolution():
                    tensor = self._convolution(layer, tensor)
                case BatchNorm():
                    self.keep(tensor)
                    self.parameters += layer.parameters
                    tensor = _Tensor(tensor.channels, tensor.size)
                case Pool():
                    self.keep(_padded(tensor, ((0, 1), (0, 1))) if layer.pads_first else tensor)
                    tensor = _Tensor(tensor.channels, layer.size_after(tensor.size))
                    if layer.kind == "max":
                        self.activation_bytes += INDEX_BYTES * tensor.channels * tensor.size[0] * tensor.size[1]
                case Zero():
                    tensor = _Tensor(layer.channels, layer.size_after(tensor.size))
                case Shift():
                    tensor = _Tensor(tensor.channels, layer.size_after(tensor.size))
                case GlobalAverage():
                    tensor = _Tensor(tensor.channels, (1, 1))
                case Flatten():
                    flat = _Tensor(tensor.channels * tensor.size[0] * tensor.size[1], (1, 1))
                    flat.kept = tensor.kept
                    tensor = flat
                case Linear():
                    self.keep(tensor)
                    self.parameters += layer.parameters
                    self.macs += layer.in_features * layer.out_features
                    tensor = _Tensor(layer.out_features, (1, 1))
                case Parallel():
                    tensor = self._parallel(layer, tensor)
                case DropPath() | Dropout():  # their masks are small: a number a channel, or one in all
                    tensor = _Tensor(tensor.channels, tensor.size)
                case _:
                    assert_never(layer)
        return tensor

    def _parallel(self, layer: Parallel, tensor: _Tensor) -> _Tensor:
        """Its rows share one ReLU, which rows beside it do not share."""
        shared, tensor.rectified = tensor.rectified, None
        combined = _combined([self.row(row, tensor) for row in layer.rows], layer.combination)
        tensor.rectified = shared
        return combined

    def _relu(self, tensor: _Tensor) -> _Tensor:
        """A ReLU keeps its result, which is computed once per tensor."""
        if tensor.rectified is None:
            tensor.rectified = _Tensor(tensor.channels, tensor.size)
            self.keep(tensor.rectified)
        return tensor.rectified

    def _convolution(self, layer: Convolution, tensor: _Tensor) -> _Tensor:
        padding, size, parameters = _convolved(layer, tensor.size)
        self.keep(tensor if padding is None else _padded(tensor, padding))
        self.parameters += parameters
        self.macs += parameters * size[0] * size[1]
        return _Tensor(layer.out_channels, size)


@functools.lru_cache(maxsize=4096)
def _convolved(layer: Convolution, size: Size) -> tuple[Padding | None, Size, int]:
    """How an image is padded first, if so, its size afterwards, and the layer's parameters. Remembered, because a
    search counts thousands of networks that consist of the same few layers."""
    return layer.first_padding(size) if layer.pads_first else None, layer.size_after(size), layer.parameters


def _padded(tensor: _Tensor, padding: Padding) -> _Tensor:
    """A padded copy, or the tensor itself where there is nothing to pad."""
    height, width = (side + sum(pixels) for side, pixels in zip(tensor.size, padding, strict=True))
    return tensor if (height, width) == tensor.size else _Tensor(tensor.channels, (height, width))


def _combined(tensors: list[_Tensor], combination: str) -> _Tensor:
    if len(tensors) == 1:
        return tensors[0]
    channels = sum(tensor.channels for tensor in tensors) if combination == "concat" else tensors[0].channels
    return _Tensor(channels, tensors[0].size)
