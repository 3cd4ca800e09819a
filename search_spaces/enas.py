"""The micro search space of ENAS and its published cell (Pham, Guan, Zoph, Le, Dean: Efficient Neural Architecture
Search via Parameter Sharing, ICML 2018, https://arxiv.org/abs/1802.03268)."""

from search_spaces.architecture import Architecture, Block, Cell
from search_spaces.cell_space import CellSpace
from search_spaces.published import Published

ENAS = CellSpace(
    name="enas",
    source="Pham et al. 2018, section 2.4",
    operations=(
        "identity",
        "sep_conv_3x3",
        "sep_conv_5x5",
        "avg_pool_3x3",
        "max_pool_3x3",
    ),
    blocks=5,
    output="loose_states",
    skeleton="enas_cifar",
)
"""A cell also outputs inputs that no block reads, as in the authors' code (melodyguan/enas `micro_child.py`)."""

ENAS_CELL = Architecture(
    normal=Cell(
        blocks=(
            Block.add((0, "avg_pool_3x3"), (0, "sep_conv_3x3")),
            Block.add((0, "identity"), (0, "sep_conv_5x5")),
            Block.add((0, "identity"), (1, "sep_conv_5x5")),
            Block.add((1, "sep_conv_3x3"), (0, "sep_conv_5x5")),
            Block.add((0, "avg_pool_3x3"), (1, "sep_conv_5x5")),
        ),
        output=(2, 3, 4, 5, 6),
    ),
    reduction=Cell(
        blocks=(
            Block.add((1, "sep_conv_3x3"), (1, "sep_conv_3x3")),
            Block.add((0, "max_pool_3x3"), (0, "avg_pool_3x3")),
            Block.add((1, "sep_conv_5x5"), (3, "sep_conv_5x5")),
            Block.add((1, "sep_conv_3x3"), (0, "identity")),
            Block.add((0, "max_pool_3x3"), (1, "sep_conv_5x5")),
        ),
        output=(2, 4, 5, 6),
    ),
)
"""The cell of the authors' final training (`cifar10_micro_final.sh`)."""

CELLS = {"enas": Published(ENAS_CELL, "enas_cifar", "melodyguan/enas cifar10_micro_final.sh")}
