"""Networks with operations of the user's own, such as those of the example."""

from __future__ import annotations

from pathlib import Path

from search_spaces import Architecture, Block, Cell
from trainables.network_spec import NetworkSpec

EXAMPLES = Path(__file__).parents[1] / "examples"
EXAMPLE = ("own_operation:inverted_bottleneck", "own_operation:channel_attention")


def spec_with(*operations: str) -> NetworkSpec:
    """A small network whose cells have these operations, on an input and on a block, at stride 1 and 2."""
    first = Block.add(*((0, operation) for operation in operations))
    cell = Cell((first, Block.add(*((2, operation) for operation in operations))), (2, 3))
    return NetworkSpec(
        architecture=Architecture(cell, cell), repeats=1, filters=4, classes=10, image_channels=1, image_size=(8, 8)
    )
