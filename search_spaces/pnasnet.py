"""The PNASNet search space and its published cell (Liu et al.: Progressive Neural Architecture Search, ECCV 2018,
https://arxiv.org/abs/1712.00559). One cell serves as both the normal and the reduction cell."""

from search_spaces.architecture import Architecture, Block, Cell
from search_spaces.cell_space import CellSpace
from search_spaces.published import Published

PNASNET = CellSpace(
    name="pnasnet",
    source="Liu et al. 2018, section 3.1",
    operations=(
        "sep_conv_3x3",
        "sep_conv_5x5",
        "sep_conv_7x7",
        "conv_1x7_7x1",
        "identity",
        "avg_pool_3x3",
        "max_pool_3x3",
        "dil_conv_3x3",
    ),
    blocks=5,
    output="all_blocks",
    shared=True,
    skeleton="pnasnet_cifar",
)

_PNASNET_5_CELL = Cell(
    blocks=(
        Block.add((0, "sep_conv_5x5"), (0, "max_pool_3x3")),
        Block.add((1, "sep_conv_7x7"), (1, "max_pool_3x3")),
        Block.add((1, "sep_conv_5x5"), (1, "sep_conv_3x3")),
        Block.add((4, "sep_conv_3x3"), (1, "max_pool_3x3")),
        Block.add((0, "sep_conv_3x3"), (1, "identity")),
    ),
    output=(2, 3, 4, 5, 6),
)

PNASNET_5 = Architecture(normal=_PNASNET_5_CELL, reduction=_PNASNET_5_CELL)
"""PNASNet-5: figure 1, as in TF-slim `pnasnet.py`."""

CELLS = {"pnasnet_5": Published(PNASNET_5, "pnasnet_cifar", "Liu et al. 2018, figure 1; TF-slim pnasnet.py")}
