"""The network that an architecture stands for, built from a `NetworkSpec` alone.

Knows the macro rules of TF-slim's `nasnet.py` for CIFAR: stem, cells, reductions, drop path, auxiliary head,
classifier. Does not know how it is trained, nor which space its cells come from.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from search_spaces import Cell
from trainables.network_spec import NetworkSpec
from trainables.operations import OPERATIONS, batch_norm, convolution, pointwise

STAGES = 3


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
    """Scheduled drop path (Zoph et al. 2018, section 4): drops an operation's whole output, image by image.

    `probability` is the one at the end of the training; it grows linearly with the training's progress.
    """

    def __init__(self, probability: float, regularisation: Regularisation) -> None:
        super().__init__()
        self.probability = probability
        self.regularisation = regularisation

    def forward(self, values: Tensor) -> Tensor:
        probability = self.probability * self.regularisation.progress
        if not self.training or probability == 0:
            return values
        return self.regularisation.drop(values, (len(values), 1, 1, 1), probability)


class FactorizedReduction(nn.Module):
    """Halves the resolution by two 1x1 convolutions, the second one pixel further right and down, then batch norm."""

    def __init__(self, in_channels: int, filters: int) -> None:
        super().__init__()
        self.even = nn.Conv2d(in_channels, filters // 2, 1, stride=2, bias=False)
        self.odd = nn.Conv2d(in_channels, filters - filters // 2, 1, stride=2, bias=False)
        self.norm = batch_norm(filters)

    def forward(self, images: Tensor) -> Tensor:
        height, width = images.shape[2:]
        shifted = F.pad(images, (0, width % 2, 0, height % 2))[:, :, 1:, 1:]
        return self.norm(torch.cat([self.even(images), self.odd(shifted)], dim=1))


@dataclass(frozen=True)
class Shape:
    """Channels of a state, and by how many powers of two it is smaller than the image."""

    channels: int
    halvings: int


class CellModule(nn.Module):
    """One cell: two states in, the concatenation of the cell's output states out.

    Args:
        cell: the value that this module interprets.
        previous: shape of state 0 (k-2), or None in the first cell, where the stem stands in for it unprojected.
        current: shape of state 1 (k-1).
        filters: channels of every operation in this cell.
        stride: 1, or 2 in a reduction cell, where operations on states 0 and 1 halve the resolution.
        drop_path: probability at the end of the training.
    """

    def __init__(
        self,
        cell: Cell,
        previous: Shape | None,
        current: Shape,
        filters: int,
        stride: int,
        drop_path: float,
        regularisation: Regularisation,
    ) -> None:
        super().__init__()
        self.cell = cell
        self.match_previous = _match(previous, current, filters)
        self.match_current = nn.Sequential(nn.ReLU(), pointwise(current.channels, filters))
        inputs = [current.channels if previous is None else filters, filters]
        channels = list(inputs)
        self.blocks = nn.ModuleList()
        for block in cell.blocks:
            sides = nn.ModuleList()
            for edge in block.edges:
                if edge.operation not in OPERATIONS:
                    raise ValueError(f"unknown operation {edge.operation!r}; known: {', '.join(OPERATIONS)}")
                edge_stride = stride if edge.state < len(inputs) else 1
                operation = OPERATIONS[edge.operation](channels[edge.state], filters, edge_stride)
                if drop_path > 0 and edge.operation != "identity":
                    operation.append(DropPath(drop_path, regularisation))
                sides.append(operation)
            self.blocks.append(sides)
            channels.append(filters if block.combination == "add" else 2 * filters)
        self.match_output = nn.ModuleList(
            _match_output(channels[state], filters, stride if state < len(inputs) else 1) for state in cell.output
        )
        self.shape = Shape(filters * len(cell.output), current.halvings + (stride == 2))

    def forward(self, previous: Tensor, current: Tensor) -> Tensor:
        states = [self.match_previous(previous), self.match_current(current)]
        rectified: dict[int, Tensor] = {}
        blocks: Any = self.blocks  # nn.ModuleList does not tell what it holds
        for block, operations in zip(self.cell.blocks, blocks, strict=True):
            sides = []
            for edge, operation in zip(block.edges, operations, strict=True):
                if operation.starts_with_relu and edge.state not in rectified:
                    rectified[edge.state] = F.relu(states[edge.state])
                sides.append(operation((rectified if operation.starts_with_relu else states)[edge.state]))
            states.append(sides[0] + sides[1] if block.combination == "add" else torch.cat(sides, dim=1))
        outputs = [match(states[state]) for match, state in zip(self.match_output, self.cell.output, strict=True)]
        return torch.cat(outputs, dim=1)


def _match(previous: Shape | None, current: Shape, filters: int) -> nn.Module:
    """Bring state 0 to the resolution and width of the cell; what already fits is left untouched."""
    if previous is None:
        return nn.Identity()
    if previous.halvings != current.halvings:
        return nn.Sequential(nn.ReLU(), FactorizedReduction(previous.channels, filters))
    if previous.channels != filters:
        return nn.Sequential(nn.ReLU(), pointwise(previous.channels, filters))
    return nn.Identity()


def _match_output(channels: int, filters: int, stride: int) -> nn.Module:
    """Bring a concatenated state to the resolution and width of the cell's output; no ReLU."""
    if stride == 2:
        return FactorizedReduction(channels, filters)
    if channels != filters:
        return pointwise(channels, filters, relu=False)
    return nn.Identity()


class AuxiliaryHead(nn.Module):
    """A second classifier on a middle stage, which gives the lower cells a gradient (TF-slim `_build_aux_head`)."""

    def __init__(self, in_channels: int, size: tuple[int, int], classes: int) -> None:
        super().__init__()
        remaining = ((size[0] - 5) // 3 + 1, (size[1] - 5) // 3 + 1)
        self.layers = nn.Sequential(
            nn.ReLU(),
            nn.AvgPool2d(5, stride=3),
            nn.Conv2d(in_channels, 128, 1, bias=False),
            batch_norm(128),
            nn.ReLU(inplace=True),
            nn.Conv2d(128, 768, remaining, bias=False),
            batch_norm(768),
            nn.ReLU(inplace=True),
            nn.Flatten(),
            nn.Linear(768, classes),
        )

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.layers(images)
        return logits


class CellNetwork(nn.Module):
    """Stem, 3N normal cells with two reduction cells between the stages, and a classifier.

    `forward` takes float images [batch, channels, height, width] and gives logits [batch, classes]. `regularisation`
    carries what drop path and dropout need from the training.
    """

    def __init__(self, spec: NetworkSpec) -> None:
        super().__init__()
        self.spec = spec
        self.regularisation = Regularisation()
        stem = Shape(spec.stem_multiplier * spec.filters, halvings=0)
        self.stem = nn.Sequential(*convolution(spec.image_channels, stem.channels, 3), batch_norm(stem.channels))
        self.cells = nn.ModuleList()
        self.auxiliary_after: int | None = None
        self.auxiliary: AuxiliaryHead | None = None
        total_cells = STAGES * spec.repeats + STAGES - 1
        filters = spec.filters
        previous: Shape | None = None
        current = stem
        for index in range(total_cells):
            stage, place = divmod(index, spec.repeats + 1)
            reduces = place == spec.repeats
            if reduces:
                filters *= 2
                if stage == STAGES - 2 and spec.auxiliary_head:
                    size = (-(-spec.image_size[0] // 2), -(-spec.image_size[1] // 2))
                    self.auxiliary_after = index - 1
                    self.auxiliary = AuxiliaryHead(current.channels, size, spec.classes)
            cell = CellModule(
                spec.architecture.reduction if reduces else spec.architecture.normal,
                previous,
                current,
                filters,
                stride=2 if reduces else 1,
                drop_path=spec.drop_path_probability * (index + 1) / total_cells,
                regularisation=self.regularisation,
            )
            self.cells.append(cell)
            previous, current = current, cell.shape
        self.classifier = nn.Linear(current.channels, spec.classes)

    def forward(self, images: Tensor) -> Tensor:
        return self.all_logits(images)[0]

    def all_logits(self, images: Tensor) -> tuple[Tensor, Tensor | None]:
        """Logits of the classifier, and in training those of the auxiliary head if there is one."""
        previous = current = self.stem(images)
        auxiliary = None
        for index, cell in enumerate(self.cells):
            previous, current = current, cell(previous, current)
            if self.training and self.auxiliary is not None and index == self.auxiliary_after:
                auxiliary = self.auxiliary(current)
        features = F.relu(current).mean(dim=(2, 3))
        if self.training and self.spec.dropout:
            features = self.regularisation.drop(features, tuple(features.shape), self.spec.dropout)
        return self.classifier(features), auxiliary
