"""Networks of cells as PyTorch modules.

Knows how states flow through a cell and between cells. Does not know which layers a network has (`network_plan.py`),
how a layer is computed (`modules.py`), how a network is trained, or which space its cells come from.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import replace
from typing import cast

import torch.nn.functional as F
from torch import Tensor, nn

from trainables.heads import CLASSIFIER
from trainables.modules import Embedding, Regularisation, RowModule, State, combine, module_list, rows_of
from trainables.network_plan import CellPlan, plan_network
from trainables.network_spec import NetworkSpec


class CellModule(nn.Module):
    """One cell: maps its input states to the concatenation of its output states.

    `row.read(state)` runs the layers of a row on a state. A ReLU at the beginning of rows is computed once per state
    and shared by all rows that read the state (`modules.State`).
    """

    def __init__(self, plan: CellPlan, regularisation: Regularisation) -> None:
        super().__init__()
        self.cell = plan.cell
        self.reads = plan.reads
        axes = len(plan.shape.size)
        self.inputs = module_list(plan.inputs, regularisation, axes)
        self.blocks = nn.ModuleList(module_list(rows, regularisation, axes) for rows in plan.edges)
        self.outputs = module_list(plan.outputs, regularisation, axes)

    def forward(self, *inputs: State) -> State:
        states = [row.read(state) for row, state in zip(rows_of(self.inputs), inputs, strict=True)]
        for block, rows in zip(self.cell.blocks, self.blocks, strict=True):
            sides = [row.read(states[edge.state]) for edge, row in zip(block.edges, rows_of(rows), strict=True)]
            states.append(combine(sides, block.combination))
        outputs = [row.read(states[state]) for state, row in zip(self.cell.output, rows_of(self.outputs), strict=True)]
        return combine(outputs, "concat")


class CellNetwork(nn.Module):
    """Stem, cells and head of a spec, or with `features_only` a backbone that returns feature maps.

    `forward` maps float images [batch, channels, height, width], sequences [batch, channels, length] or, if the spec
    has an embedding, tokens [batch, length] to logits [batch, classes], or with a decoder to logits
    [batch, classes, height, width]. The training sets in `regularisation` with which probabilities drop paths keep
    images, and the generator of the draws.

    With `features_only`, `forward` returns a list of feature maps, one per stage, from the finest to the coarsest. Each
    map is the output of the stage's last cell (or of the stem, if no cell has that resolution), before the ReLU of the
    next cells. The last map is the input of the classifier's global average, after the head's ReLU if it has one. The
    head ends before this average, and there is no auxiliary head. All other tensors have the same names as in the
    classifying network; `transfer.load_weights` loads its weights.

    Args:
        spec: the network.
        features_only: whether to build a backbone (timm's name for it).

    Attributes:
        feature_channels: channels of the feature maps.
        feature_strides: factors by which the feature maps are smaller than the image, except for the rounding of odd
            sizes and a pixel that a stem without padding loses.

    Raises:
        ValueError: the network cannot be built; see `plan_network`.
    """

    def __init__(self, spec: NetworkSpec, *, features_only: bool = False) -> None:
        super().__init__()
        if features_only:
            spec = replace(spec, auxiliary_head=False, head=CLASSIFIER)
        plan = plan_network(spec)
        self.spec = spec
        self.features_only = features_only
        self.feature_channels = tuple(stage.shape.channels for stage in plan.stages)
        self.feature_strides = tuple(stage.shape.stride for stage in plan.stages)
        self.regularisation = Regularisation()
        axes = len(spec.image_size)
        self.stem = module_list(plan.stem, self.regularisation, axes)
        self.cells = nn.ModuleList(CellModule(cell, self.regularisation) for cell in plan.cells)
        self.head = RowModule(plan.before_pooling if features_only else plan.head, self.regularisation, axes)
        self.joins = module_list((join.lateral for join in plan.joins), self.regularisation, axes)
        self.output = RowModule(plan.output, self.regularisation, axes)
        self.auxiliary = RowModule(plan.auxiliary, self.regularisation, axes) if plan.auxiliary else None
        self.auxiliary_after = plan.auxiliary_after
        self._joins = plan.joins
        self._stage_ends = tuple(stage.last for stage in plan.stages)

    def set_vectors(self, vectors: Tensor) -> None:
        """Set the vectors of the tokens [tokens, channels]."""
        (embedding,) = (module for module in self.stem.modules() if isinstance(module, Embedding))
        embedding.load_state_dict({"weight": vectors})

    def forward(self, images: Tensor) -> Tensor | list[Tensor]:
        """Logits, or feature maps with `features_only`. A training calls `all_logits`, for the auxiliary head's too."""
        return self._feature_maps(images) if self.features_only else self.all_logits(images)[0]

    def all_logits(self, images: Tensor) -> tuple[Tensor, Tensor | None]:
        """Logits of the head, and of the auxiliary head in training mode (otherwise None)."""
        assert not self.features_only, "a backbone has no classifier"
        auxiliary = self.auxiliary if self.training else None
        last, auxiliary_place = self._stage_ends[-1], len(self.stem) + self.auxiliary_after
        read = {last, *(join.stage for join in self._joins)}
        states = self._states(images, read if auxiliary is None else {*read, auxiliary_place})
        state = self.head.read(states[last])
        for join, lateral in zip(self._joins, rows_of(self.joins), strict=True):
            coarse = F.interpolate(state.value, join.size, mode="bilinear", align_corners=False)
            state = combine([lateral.read(states[join.stage]), State(coarse)], "add")
        logits: Tensor = self.output.read(state).value
        return logits, None if auxiliary is None else auxiliary.read(states[auxiliary_place]).value

    def _feature_maps(self, images: Tensor) -> list[Tensor]:
        *earlier, last = self._states(images, set(self._stage_ends)).values()
        return [*(state.value for state in earlier), self.head.read(last).value]

    def _states(self, images: Tensor, places: set[int]) -> dict[int, State]:
        """States at these places of the chain of the stem's and the cells' outputs, by place."""
        if self.training:
            self.regularisation.draw(images, len(self.spec.image_size))
        chain: deque[State] = deque(maxlen=3)  # no cell reads an earlier state
        found: dict[int, State] = {}
        cells = cast("Iterable[CellModule]", self.cells)  # nn.ModuleList is not generic
        parts: tuple[RowModule | CellModule, ...] = (*rows_of(self.stem), *cells)
        for place, part in enumerate(parts):
            if isinstance(part, CellModule):
                state = part(*(chain[-back] for back in part.reads))
            else:
                state = part.read(chain[-1] if chain else State(images))
            chain.append(state)
            if place in places:
                found[place] = state
        return found
