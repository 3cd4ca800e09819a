"""The network that an architecture stands for: the layers of its plan as PyTorch modules.

Knows how layers are computed and how states flow through a cell. Which layers there are, `network_plan.py` decides; how
the network is trained, and from which space its cells come, it does not know.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from trainables import layers
from trainables.layers import Layer, Row, same_padding
from trainables.network_plan import CellPlan, plan_network
from trainables.network_spec import NetworkSpec


@dataclass
class Regularisation:
    """What drop path and dropout need to know of the training, shared by all of a network's modules.

    `progress` runs from 0 to 1 over the whole training; `generator` draws what is dropped (None: torch's global one).
    """

    progress: float = 0.0
    generator: torch.Generator | None = field(default=None, repr=False)

    def drop(self, values: Tensor, shape: tuple[int, ...], probability: float) -> Tensor:
        """Zero values with `probability`, one draw for each entry of `shape`, and scale the rest to keep the mean."""
        keep = 1 - probability
        mask = torch.empty(shape, dtype=values.dtype, device=values.device).bernoulli_(keep, generator=self.generator)
        return values * (mask / keep)


class DropPath(nn.Module):
    """`layers.DropPath`."""

    def __init__(self, probability: float, regularisation: Regularisation) -> None:
        super().__init__()
        self.probability = probability
        self.regularisation = regularisation

    def forward(self, values: Tensor) -> Tensor:
        probability = self.probability * self.regularisation.progress
        if not self.training or probability == 0:
            return values
        return self.regularisation.drop(values, (len(values), 1, 1, 1), probability)


class Dropout(nn.Module):
    """`layers.Dropout`, drawn from the training's generator."""

    def __init__(self, probability: float, regularisation: Regularisation) -> None:
        super().__init__()
        self.probability = probability
        self.regularisation = regularisation

    def forward(self, features: Tensor) -> Tensor:
        if not self.training:
            return features
        return self.regularisation.drop(features, tuple(features.shape), self.probability)


class Padding(nn.Module):
    """Zeros around the image, where a convolution cannot add them by itself."""

    def __init__(self, layer: layers.Convolution) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, images: Tensor) -> Tensor:
        height, width = images.shape[2:]
        vertical, horizontal = self.layer.padding_of((height, width))
        return F.pad(images, (*horizontal, *vertical))


class Pool(nn.Module):
    """`layers.Pool`."""

    def __init__(self, layer: layers.Pool) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, images: Tensor) -> Tensor:
        kernel, stride, padding = self.layer.kernel, self.layer.stride, self.layer.padding
        if padding == "same":
            # The odd pixel of padding comes last, which is what ceil_mode adds.
            top, left = (same_padding(size, kernel, stride)[0] for size in images.shape[2:])
        else:
            top = left = kernel // 2 if padding == "symmetric" else 0
        if padding == "same" and kernel % 2 == 0 and stride == 1:
            # ceil_mode adds nothing at stride 1.
            images = F.pad(images, (0, 1, 0, 1), value=-torch.inf)
        ceil_mode = padding == "same"
        if self.layer.kind == "max":
            return F.max_pool2d(images, kernel, stride, (top, left), ceil_mode=ceil_mode)
        return F.avg_pool2d(images, kernel, stride, (top, left), ceil_mode=ceil_mode, count_include_pad=False)


class Zero(nn.Module):
    """`layers.Zero`."""

    def __init__(self, layer: layers.Zero) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, images: Tensor) -> Tensor:
        height, width = images.shape[2:]
        return images.new_zeros(len(images), self.layer.channels, *self.layer.size_after((height, width)))


class Shift(nn.Module):
    """`layers.Shift`."""

    def forward(self, images: Tensor) -> Tensor:
        height, width = images.shape[2:]
        # A copy rather than a view, whose gradient would lose the memory layout and slow the layers before it down.
        return F.pad(images, (-1, width % 2, -1, height % 2))


class GlobalAverage(nn.Module):
    """`layers.GlobalAverage`."""

    def forward(self, images: Tensor) -> Tensor:
        return images.mean(dim=(2, 3))


class Parallel(nn.Module):
    """`layers.Parallel`."""

    def __init__(self, rows: list[RowModule], combination: str) -> None:
        super().__init__()
        self.rows = nn.ModuleList(rows)
        self.combination = combination

    def forward(self, images: Tensor) -> Tensor:
        state = State(images)
        return _combine([row.read(state) for row in _rows(self.rows)], self.combination)


class State:
    """What a stem, a cell or a block gives; its ReLU is computed once, for all that read it through one."""

    def __init__(self, value: Tensor) -> None:
        self.value = value

    @cached_property
    def rectified(self) -> Tensor:
        return F.relu(self.value)


class RowModule(nn.Sequential):
    """A row of layers, but for a ReLU at its beginning, which is the state's."""

    def __init__(self, row: Row, regularisation: Regularisation) -> None:
        self.rectifies = row[:1] == (layers.Relu(),)
        rest = row[1:] if self.rectifies else row
        super().__init__(*(module for layer in rest for module in _build(layer, regularisation)))

    def read(self, state: State) -> Tensor:
        """What the row makes of the state."""
        return self(state.rectified if self.rectifies else state.value)

    def lead(self, state: State) -> State:
        """The same as a state, which is the old one where the row is empty."""
        return State(self.read(state)) if len(self) or self.rectifies else state


class CellModule(nn.Module):
    """One cell: the states that it is given in, the concatenation of its output states out."""

    def __init__(self, plan: CellPlan, regularisation: Regularisation) -> None:
        super().__init__()
        self.cell = plan.cell
        self.previous = plan.previous
        self.inputs = _module_list(plan.inputs, regularisation)
        self.blocks = nn.ModuleList(_module_list(rows, regularisation) for rows in plan.edges)
        self.outputs = _module_list(plan.outputs, regularisation)

    def forward(self, *inputs: State) -> Tensor:
        states = [row.lead(state) for row, state in zip(_rows(self.inputs), inputs, strict=True)]
        for block, rows in zip(self.cell.blocks, self.blocks, strict=True):
            sides = [row.read(states[edge.state]) for edge, row in zip(block.edges, _rows(rows), strict=True)]
            states.append(State(_combine(sides, block.combination)))
        outputs = [row.read(states[state]) for state, row in zip(self.cell.output, _rows(self.outputs), strict=True)]
        return torch.cat(outputs, dim=1)


class CellNetwork(nn.Module):
    """Stem, cells and a classifier.

    `forward` takes float images [batch, channels, height, width] and gives logits [batch, classes]. `regularisation`
    carries what drop path and dropout need from the training.

    Raises:
        ValueError: no network can be made of the spec; see `plan_network`.
    """

    def __init__(self, spec: NetworkSpec) -> None:
        super().__init__()
        plan = plan_network(spec)
        self.spec = spec
        self.regularisation = Regularisation()
        self.stem = _module_list(plan.stem, self.regularisation)
        self.cells = nn.ModuleList(CellModule(cell, self.regularisation) for cell in plan.cells)
        self.head = RowModule(plan.head, self.regularisation)
        self.auxiliary = RowModule(plan.auxiliary, self.regularisation) if plan.auxiliary else None
        self.auxiliary_after = plan.auxiliary_after

    def forward(self, images: Tensor) -> Tensor:
        return self.all_logits(images)[0]

    def all_logits(self, images: Tensor) -> tuple[Tensor, Tensor | None]:
        """Logits of the classifier, and in training those of the auxiliary head if there is one."""
        chain: deque[State] = deque(maxlen=3)  # no cell looks further back
        state = State(images)
        for row in _rows(self.stem):
            state = row.lead(state)
            chain.append(state)
        auxiliary = None
        cells: Any = self.cells  # nn.ModuleList does not tell what it holds
        for index, cell in enumerate(cells):
            inputs = (chain[-1],) if cell.cell.inputs == 1 else (chain[-cell.previous], chain[-1])
            chain.append(State(cell(*inputs)))
            if self.training and self.auxiliary is not None and index == self.auxiliary_after:
                auxiliary = self.auxiliary.read(chain[-1])
        return self.head.read(chain[-1]), auxiliary


def _build(layer: Layer, regularisation: Regularisation) -> list[nn.Module]:
    match layer:
        case layers.Relu():
            return [nn.ReLU(inplace=True)]  # never the first of its row, so its input is the row's own
        case layers.Convolution():
            return _convolution(layer)
        case layers.BatchNorm():
            return [nn.BatchNorm2d(layer.channels, eps=layer.epsilon, momentum=layer.momentum)]
        case layers.Pool():
            return [Pool(layer)]
        case layers.Zero():
            return [Zero(layer)]
        case layers.Shift():
            return [Shift()]
        case layers.DropPath():
            return [DropPath(layer.probability, regularisation)]
        case layers.Dropout():
            return [Dropout(layer.probability, regularisation)]
        case layers.GlobalAverage():
            return [GlobalAverage()]
        case layers.Flatten():
            return [nn.Flatten()]
        case layers.Linear():
            return [nn.Linear(layer.in_features, layer.out_features, bias=layer.bias)]
        case layers.Parallel():
            return [Parallel([RowModule(row, regularisation) for row in layer.rows], layer.combination)]


def _convolution(layer: layers.Convolution) -> list[nn.Module]:
    module = nn.Conv2d(
        layer.in_channels,
        layer.out_channels,
        layer.kernel,
        layer.stride,
        padding=0 if layer.padding == "valid" or layer.pads_apart else (layer.extent[0] // 2, layer.extent[1] // 2),
        dilation=layer.dilation,
        groups=layer.groups,
        bias=False,
    )
    return [Padding(layer), module] if layer.pads_apart else [module]


def _combine(states: list[Tensor], combination: str) -> Tensor:
    if combination == "concat":
        return torch.cat(states, dim=1)
    total = states[0]
    for state in states[1:]:
        total = total + state
    return total


def _module_list(rows: Iterable[Row], regularisation: Regularisation) -> nn.ModuleList:
    return nn.ModuleList(RowModule(row, regularisation) for row in rows)


def _rows(modules: Any) -> Iterable[RowModule]:
    """The rows in a module list, which does not tell what it holds."""
    return cast("Iterable[RowModule]", modules)
