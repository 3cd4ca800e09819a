"""The network that an architecture stands for, as a PyTorch module.

Knows how states flow through a cell, and from cell to cell. Which layers there are, `network_plan.py` decides; how each
is computed, `modules.py` knows; how the network is trained, and from which space its cells come, nothing here knows.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
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
        self.stem = module_list(plan.stem, self.regularisation)
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
        for row in rows_of(self.stem):
            state = row.read(state)
            chain.append(state)
        auxiliary = None
        cells = cast("Iterable[CellModule]", self.cells)  # nn.ModuleList does not tell what it holds
        for index, cell in enumerate(cells):
            chain.append(cell(*(chain[-back] for back in cell.reads)))
            if self.training and self.auxiliary is not None and index == self.auxiliary_after:
                auxiliary = self.auxiliary.read(chain[-1]).value
        return self.head.read(chain[-1]).value, auxiliary
