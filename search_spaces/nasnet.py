"""The NASNet search space and its published cell (Zoph, Vasudevan, Shlens, Le: Learning Transferable Architectures for
Scalable Image Recognition, CVPR 2018, https://arxiv.org/abs/1707.07012).

State 0 is the output of cell k-2, state 1 the output of cell k-1, and states 2 to 6 are the blocks.
`trainables/network_plan.py` turns these cells into layers by the rules `NASNET_CIFAR` (`trainables/skeleton.py`) and
the operations of `trainables/operations.py`; `trainables/network.py` runs the layers.
"""

from search_spaces.architecture import Architecture, Block, Cell
from search_spaces.cell_space import CellSpace
from search_spaces.published import Published

NASNET = CellSpace(
    name="nasnet",
    source="Zoph et al. 2018, section 3.1 and figure 2",
    operations=(
        "identity",
        "conv_1x3_3x1",
        "conv_1x7_7x1",
        "dil_conv_3x3",
        "avg_pool_3x3",
        "max_pool_3x3",
        "max_pool_5x5",
        "max_pool_7x7",
        "conv_1x1",
        "conv_3x3",
        "sep_conv_3x3",
        "sep_conv_5x5",
        "sep_conv_7x7",
    ),
    blocks=5,
    combinations=("add", "concat"),
    output="loose_ends",
    skeleton="nasnet_cifar",
)

NASNET_A = Architecture(
    normal=Cell(
        blocks=(
            Block.add((1, "sep_conv_5x5"), (0, "sep_conv_3x3")),
            Block.add((0, "sep_conv_5x5"), (0, "sep_conv_3x3")),
            Block.add((1, "avg_pool_3x3"), (0, "identity")),
            Block.add((0, "avg_pool_3x3"), (0, "avg_pool_3x3")),
            Block.add((1, "sep_conv_3x3"), (1, "identity")),
        ),
        output=(0, 2, 3, 4, 5, 6),
    ),
    reduction=Cell(
        blocks=(
            Block.add((1, "sep_conv_5x5"), (0, "sep_conv_7x7")),
            Block.add((1, "max_pool_3x3"), (0, "sep_conv_7x7")),
            Block.add((1, "avg_pool_3x3"), (0, "sep_conv_5x5")),
            Block.add((3, "identity"), (2, "avg_pool_3x3")),
            Block.add((2, "sep_conv_3x3"), (1, "max_pool_3x3")),
        ),
        output=(3, 4, 5, 6),
    ),
)
"""NASNet-A: figure 4, with the outputs of the authors' code (TF-slim `nasnet_utils.py`). They include state 0 in the
normal cell and state 3 in the reduction cell although blocks read them, so NASNet-A is not in `NASNET`."""

CELLS = {"nasnet_a": Published(NASNET_A, "nasnet_cifar", "Zoph et al. 2018, figure 4; TF-slim nasnet_utils.py")}
