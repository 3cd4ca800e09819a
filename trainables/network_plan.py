"""Plans the layers of the network of a `NetworkSpec`: stem, cells, auxiliary head, classifier. No torch.

Applies the macro rules (`skeleton.py`): the order of cells, how a cell reads its inputs, and the layers of its edges.
Does not know how a layer is computed.

Example: the first cell of NASNet-A on CIFAR with F = 32. The stem has 96 channels. State 0 is the stem's output
unchanged; state 1 is the stem's output after ReLU, 1x1 convolution to 32 channels and batch norm. So `sep_conv_3x3` on
state 0 is ReLU, depthwise 3x3 on 96 channels, 1x1 to 32, batch norm, and the same again on 32 channels.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterator
from dataclasses import dataclass

from search_spaces import Cell
from trainables.heads import Join, Stage, plan_head
from trainables.layers import (
    BatchNorm,
    Convolution,
    DropPath,
    Flatten,
    GlobalPool,
    Linear,
    Pool,
    Relu,
    Row,
    Shape,
    Size,
    along_axes,
)
from trainables.network_spec import NetworkSpec
from trainables.operations import batch_norm, factorized_reduction, pointwise
from trainables.own_operations import build_operation
from trainables.skeleton import OperationRules, Skeleton

MIN_FILTERS = 2
"""A factorised reduction halves the filters."""
NEVER_DROPPED = ("none", "residual_block")
"""Operations that drop path never drops. The skeleton decides on identities."""


@dataclass(frozen=True)
class CellPlan:
    """The layers of one cell."""

    cell: Cell
    reads: tuple[int, ...]
    """For each input of the cell, how many states back it is in the chain of the stem's and the cells' outputs: (2, 1)
    for k-2 and k-1; (1, 1) if there is no k-2; (3, 1) if the skeleton skips a reduction cell; (1,) for a cell with one
    input."""
    inputs: tuple[Row, ...]
    """Layers that match each input to the cell's width and resolution."""
    edges: tuple[tuple[Row, ...], ...]
    """Layers of every edge, block by block."""
    outputs: tuple[Row, ...]
    """Layers that match each concatenated state to the width and resolution of the output."""
    shape: Shape
    """Shape of the output."""


@dataclass(frozen=True)
class NetworkPlan:
    """All layers of a network."""

    stem: tuple[Row, ...]
    """Rows of layers in sequence; the output of each row is a state that the first cells may read."""
    cells: tuple[CellPlan, ...]
    """Cells in sequence."""
    head: Row
    """Layers from the last cell to the outputs, or to the first of the joins."""
    auxiliary: Row
    """Layers from cell `auxiliary_after` to the auxiliary logits, for training; empty without an auxiliary head."""
    auxiliary_after: int
    """Index of the cell that the auxiliary head reads, from 0."""
    stages: tuple[Stage, ...]
    """Stages from the finest resolution to the coarsest; the last one ends with the last cell."""
    joins: tuple[Join, ...] = ()
    """How a decoder joins finer stages."""
    output: Row = ()
    """Layers from the last join to the outputs."""

    @property
    def before_pooling(self) -> Row:
        """The head's layers before its global pooling, which turn the last cell's output into a feature map."""
        return tuple(itertools.takewhile(lambda layer: not isinstance(layer, GlobalPool), self.head))


def plan_network(spec: NetworkSpec) -> NetworkPlan:
    """Plan the network of a spec.

    Raises:
        ValueError: the network cannot be built: an operation is unknown, the images are too small for the skeleton, or
            there are too few filters.
    """
    skeleton = spec.skeleton
    stem, chain = plan_stem(spec)
    schedule = list(_schedule(spec))
    # Normal cells only, and not the first one after a stem of reduction cells.
    after_reductions = {
        index
        for index in range(skeleton.stem_cells + 1, len(schedule))
        if schedule[index - 1][0] and not schedule[index][0]
    }
    cells: list[CellPlan] = []
    for index, (reduces, filters) in enumerate(schedule):
        cell = spec.architecture.reduction if reduces else spec.architecture.normal
        depth = (index + 1) / len(schedule) if skeleton.drop_path_by_depth else 1.0
        plan = plan_cell(
            cell,
            skeleton,
            chain,
            reads=_reads(cell.inputs, len(chain), skips=skeleton.skip_reduction_input and index in after_reductions),
            filters=filters,
            stride=2 if reduces else 1,
            drop_path=spec.drop_path_probability * depth,
        )
        cells.append(plan)
        chain.append(plan.shape)
    stages = _stages(chain)
    head = plan_head(spec, stages)
    # `_auxiliary` refuses a network without a reduction cell.
    last_reduction = max((index for index, (reduces, _) in enumerate(schedule) if reduces), default=0)
    auxiliary_after = min(max(last_reduction + skeleton.auxiliary.offset, 0), len(schedule) - 1)
    return NetworkPlan(
        stem=stem,
        cells=tuple(cells),
        head=head.first,
        joins=head.joins,
        output=head.output,
        auxiliary=_auxiliary(spec, cells[auxiliary_after].shape) if spec.auxiliary_head else (),
        auxiliary_after=auxiliary_after,
        stages=stages,
    )


def _stages(chain: list[Shape]) -> tuple[Stage, ...]:
    following = [shape.stride for shape in chain[1:]]
    return tuple(
        Stage(place, shape)
        for place, (shape, next_stride) in enumerate(zip(chain, [*following, None], strict=True))
        if shape.stride != next_stride
    )


def _reads(inputs: int, states: int, *, skips: bool) -> tuple[int, ...]:
    """`CellPlan.reads` of a cell after `states` states; `skips` omits the reduction cell before it."""
    if inputs == 1:
        return (1,)
    if states == 1:
        return (1, 1)
    return (3, 1) if skips else (2, 1)


def _schedule(spec: NetworkSpec) -> Iterator[tuple[bool, int]]:
    """Yield for every cell whether it is a reduction cell, and its filters."""
    skeleton = spec.skeleton
    minimum = MIN_FILTERS * 2**skeleton.stem_cells
    if spec.filters < minimum:
        raise ValueError(
            f"filters is {spec.filters}; with {skeleton.stem_cells} stem cells at least {minimum} are needed"
        )
    for index in range(skeleton.stem_cells):
        yield True, spec.filters // 2 ** (skeleton.stem_cells - index)
    for stage in range(skeleton.stages):
        filters = spec.filters * 2**stage
        if stage:
            yield True, filters
        normal_cells = spec.repeats - 1 if stage and skeleton.reduction_replaces_normal else spec.repeats
        yield from [(False, filters)] * normal_cells


def plan_cell(
    cell: Cell,
    skeleton: Skeleton,
    chain: list[Shape],
    *,
    reads: tuple[int, ...],
    filters: int,
    stride: int,
    drop_path: float,
) -> CellPlan:
    """Plan a cell that follows the states in `chain`; `reads` is as in `CellPlan`.

    With `stride` 2 (a reduction cell), only the edges from input states stride: blocks have the new resolution already.
    """
    current = chain[-1]
    inputs: tuple[Row, ...] = (_match_current(current, filters, skeleton),)
    if cell.inputs == 2:
        inputs = (_match_previous(chain[-reads[0]], current, filters=filters, skeleton=skeleton), *inputs)
    # Channels of each state. An input without layers keeps its own width.
    widths = [filters if row else chain[-back].channels for row, back in zip(inputs, reads, strict=True)]
    edges: list[tuple[Row, ...]] = []
    for block in cell.blocks:
        rows = []
        for edge in block.edges:
            edge_stride = stride if edge.state < cell.inputs else 1
            row = _operation(
                edge.operation,
                widths[edge.state],
                filters=filters,
                stride=edge_stride,
                rules=skeleton.operations,
                axes=len(current.size),
            )
            drops = drop_path > 0 and _may_drop(edge.operation, edge_stride, skeleton)
            rows.append((*row, DropPath(drop_path)) if drops else row)
        edges.append(tuple(rows))
        widths.append(filters if block.combination == "add" else len(block.edges) * filters)

    return CellPlan(
        cell=cell,
        reads=reads,
        inputs=inputs,
        edges=tuple(edges),
        outputs=tuple(
            _match_output(widths[state], filters, stride=stride if state < cell.inputs else 1, skeleton=skeleton)
            for state in cell.output
        ),
        shape=Shape(
            filters * len(cell.output),
            tuple(-(-side // stride) for side in current.size),
            current.stride * stride,
        ),
    )


@functools.lru_cache(maxsize=4096)
def _operation(name: str, in_channels: int, *, filters: int, stride: int, rules: OperationRules, axes: int) -> Row:
    """Layers of an operation, cached: a search counts the costs of thousands of cells with the same few operations."""
    return build_operation(name, in_channels, filters, stride=stride, rules=rules, axes=axes)


def _may_drop(operation: str, stride: int, skeleton: Skeleton) -> bool:
    if operation == "identity":
        return stride > 1 and skeleton.drop_path_on_strided_identity
    return operation not in NEVER_DROPPED


def _match_previous(previous: Shape, current: Shape, *, filters: int, skeleton: Skeleton) -> Row:
    """Match state 0 to the resolution of state 1 and the width of the cell.

    State 0 is the output of cell k-2, of cell k-3 if a reduction cell is skipped, or of the stem in the first cell.
    """
    if previous is current and skeleton.first_previous == "raw":
        return ()
    if previous.stride != current.stride:
        return (Relu(), *factorized_reduction(previous.channels, filters, skeleton.operations))
    if previous.channels != filters or skeleton.previous_projection == "always":
        return (Relu(), *pointwise(previous.channels, filters, skeleton.operations))
    return ()


def _match_current(current: Shape, filters: int, skeleton: Skeleton) -> Row:
    """Match the output of cell k-1 to the width of the cell."""
    if skeleton.current_projection == "never":
        return ()
    row = (Relu(), *pointwise(current.channels, filters, skeleton.operations))
    if skeleton.current_projection == "twice" and current.channels != filters:
        return (*row, Relu(), *pointwise(filters, filters, skeleton.operations))
    return row


def _match_output(channels: int, filters: int, *, stride: int, skeleton: Skeleton) -> Row:
    """Match a concatenated state to the resolution and width of the cell's output; no ReLU."""
    if stride == 2:
        return factorized_reduction(channels, filters, skeleton.operations)
    return () if channels == filters else pointwise(channels, filters, skeleton.operations)


def plan_stem(spec: NetworkSpec) -> tuple[tuple[Row, ...], list[Shape]]:
    """Plan the stem, which does not depend on the architecture: its rows, and the shape of each row's output.

    Raises:
        ValueError: the images are too small for it.
    """
    skeleton = spec.skeleton
    channels = skeleton.stem_channels or int(skeleton.stem_multiplier * spec.filters)

    def convolution(in_channels: int, out_channels: int, stride: int) -> Row:
        padding = "valid" if skeleton.stem == "strided" else skeleton.operations.padding
        layer = Convolution(in_channels, out_channels, 3, padding=padding, stride=stride)
        return (layer, batch_norm(out_channels, skeleton.operations))

    first: Row = () if spec.embedding is None else (spec.embedding,)
    given = spec.image_channels if spec.embedding is None else spec.embedding.channels
    if skeleton.stem == "convolution":
        rows: tuple[Row, ...] = ((*first, *convolution(given, channels, 1)),)
    elif skeleton.stem == "strided":
        if min(spec.image_size) < 3:
            needed = _pixels((3,) * len(spec.image_size))
            raise ValueError(
                f"image_size is {spec.image_size}; the stem {skeleton.stem!r} needs at least {needed} pixels"
            )
        rows = ((*first, *convolution(given, channels, 2)),)
    else:
        half = channels // 2
        twice = (*convolution(given, half, 2), Relu(), *convolution(half, channels, 2))
        rows = ((*first, *twice), (Relu(), *convolution(channels, channels, 2)))

    shapes = []
    shape = Shape(given, spec.image_size, 1)
    for row in rows:
        for layer in row:
            if isinstance(layer, Convolution):
                stride = along_axes(layer.stride, len(shape.size))[0]
                shape = Shape(layer.out_channels, layer.size_after(shape.size), shape.stride * stride)
        shapes.append(shape)
    return rows, shapes


def _auxiliary(spec: NetworkSpec, shape: Shape) -> Row:
    """The auxiliary head (TF-slim `_build_aux_head`, DARTS `AuxiliaryHeadCIFAR`)."""
    if not spec.skeleton.reduces:
        raise ValueError(
            "an auxiliary head is placed beside the last reduction cell, and networks of this skeleton have none; set "
            "training.auxiliary_weight = 0"
        )
    rules = spec.skeleton.auxiliary
    pool = Pool("average", 5, stride=rules.pool_stride, padding="valid")
    if min(shape.size) < pool.kernel:
        needed = (pool.kernel,) * len(shape.size)
        raise ValueError(
            f"image_size is {spec.image_size}; the auxiliary head would get {_pixels(shape.size)} pixels and needs "
            f"{_pixels(needed)}; set training.auxiliary_weight = 0 to build none"
        )
    wide: tuple[BatchNorm, ...] = (batch_norm(768, spec.skeleton.operations),) if rules.second_norm else ()
    return (
        Relu(),
        pool,
        *pointwise(shape.channels, 128, spec.skeleton.operations),
        Relu(),
        Convolution(128, 768, pool.size_after(shape.size), padding="valid"),
        *wide,
        Relu(),
        Flatten(),
        Linear(768, spec.classes),
    )


def _pixels(size: Size) -> str:
    """A size for an error: 3x3, or 3 for a sequence."""
    return "x".join(map(str, size))
