"""The network that an architecture stands for, as a PyTorch module.

Knows how states flow through a cell, and from cell to cell. Which layers there are, `network_plan.py` decides; how each
is computed, `modules.py` knows; how the network is trained, and from which space its cells come, nothing here knows.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import replace
from typing import cast

from torch import Tensor, nn

from trainables.modules import Regularisation, RowModule, State, combine, module_list, rows_of
from trainables.network_plan import CellPlan, plan_network
from trainables.network_spec import NetworkSpec


class CellModule(nn.Module):
    """One cell: takes its input states, gives the concatenation of its output states.

    `row.read(state)` runs the layers of a row on a state; a ReLU at the row's beginning is computed once per state,
    for all that read it (`modules.State`).
    """

    def __init__(self, plan: CellPlan, regularisation: Regularisation) -> None:
        super().__init__()
        self.cell = plan.cell
        self.reads = plan.reads
        self.inputs = module_list(plan.inputs, regularisation)
        self.blocks = nn.ModuleList(module_list(rows, regularisation) for rows in plan.edges)
        self.outputs = module_list(plan.outputs, regularisation)

    def forward(self, *inputs: State) -> State:
        states = [row.read(state) for row, state in zip(rows_of(self.inputs), inputs, strict=True)]
        for block, rows in zip(self.cell.blocks, self.blocks, strict=True):
            sides = [row.read(states[edge.state]) for edge, row in zip(block.edges, rows_of(rows), strict=True)]
            states.append(combine(sides, block.combination))
        outputs = [row.read(states[state]) for state, row in zip(self.cell.output, rows_of(self.outputs), strict=True)]
        return combine(outputs, "concat")


class CellNetwork(nn.Module):
    """Stem, cells and a classifier; or with `features_only` the same as a backbone, with feature maps for a result.

    `forward` takes float images [batch, channels, height, width] and gives logits [batch, classes]. `regularisation`
    carries what drop path and dropout need from the training.

    With `features_only` it gives the feature maps of every stage as a list, from the finest to the coarsest: each is
    what the stage's last cell gives (the stem, where no cell has that resolution), without the ReLU through which the
    next cells read it; the last is what the classifier would average, after the ReLU that may stand there. Of the head,
    only what comes before the average is there, and there is no auxiliary head. The other tensors have the names that
    they have in the classifying network; `transfer.give_weights` takes them over from one.

    Args:
        features_only: for feature maps (the name is timm's).

    Attributes:
        feature_channels: of the feature maps.
        feature_strides: by which factors the feature maps are smaller than the image, up to the rounding of odd sizes
            and to a pixel that a stem without padding loses.

    Raises:
        ValueError: no network can be made of the spec; see `plan_network`.
    """

    def __init__(self, spec: NetworkSpec, *, features_only: bool = False) -> None:
        super().__init__()
        if features_only:
            spec = replace(spec, auxiliary_head=False)
        plan = plan_network(spec)
        self.spec = spec
        self.features_only = features_only
        self.feature_channels = tuple(stage.shape.channels for stage in plan.stages)
        self.feature_strides = tuple(stage.shape.reduction for stage in plan.stages)
        self.regularisation = Regularisation()
        self.stem = module_list(plan.stem, self.regularisation)
        self.cells = nn.ModuleList(CellModule(cell, self.regularisation) for cell in plan.cells)
        self.head = RowModule(plan.before_pooling if features_only else plan.head, self.regularisation)
        self.auxiliary = RowModule(plan.auxiliary, self.regularisation) if plan.auxiliary else None
        self.auxiliary_after = plan.auxiliary_after
        self._stage_ends = tuple(stage.last for stage in plan.stages)

    def forward(self, images: Tensor) -> Tensor | list[Tensor]:
        return self._feature_maps(images) if self.features_only else self.all_logits(images)[0]

    def all_logits(self, images: Tensor) -> tuple[Tensor, Tensor | None]:
        """Logits of the classifier, and in training those of the auxiliary head if there is one."""
        assert not self.features_only, "a backbone has no classifier"
        auxiliary = self.auxiliary if self.training else None
        last, middle = self._stage_ends[-1], len(self.stem) + self.auxiliary_after
        states = self._states(images, {last} if auxiliary is None else {last, middle})
        logits: Tensor = self.head.read(states[last]).value
        return logits, None if auxiliary is None else auxiliary.read(states[middle]).value

    def _feature_maps(self, images: Tensor) -> list[Tensor]:
        *earlier, last = self._states(images, set(self._stage_ends)).values()
        return [*(state.value for state in earlier), self.head.read(last).value]

    def _states(self, images: Tensor, wanted: set[int]) -> dict[int, State]:
        """The wanted ones of the states that the stem and the cells give, by their places in that chain."""
        chain: deque[State] = deque(maxlen=3)  # no cell looks further back
        found: dict[int, State] = {}
        cells = cast("Iterable[CellModule]", self.cells)  # nn.ModuleList does not tell what it holds
        parts: tuple[RowModule | CellModule, ...] = (*rows_of(self.stem), *cells)
        for place, part in enumerate(parts):
            if isinstance(part, CellModule):
                state = part(*(chain[-back] for back in part.reads))
            else:
                state = part.read(chain[-1] if chain else State(images))
            chain.append(state)
            if place in wanted:
                found[place] = state
        return found
