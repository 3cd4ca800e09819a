"""The AmoebaNet search space and its published cells (Real, Aggarwal, Huang, Le: Regularized Evolution for Image
Classifier Architecture Search, AAAI 2019, https://arxiv.org/abs/1802.01548)."""

from search_spaces.architecture import Architecture, Block, Cell
from search_spaces.cell_space import CellSpace
from search_spaces.published import Published

AMOEBANET = CellSpace(
    name="amoebanet",
    source="Real et al. 2019, section Search Space",
    operations=(
        "identity",
        "sep_conv_3x3",
        "sep_conv_5x5",
        "sep_conv_7x7",
        "avg_pool_3x3",
        "max_pool_3x3",
        "dil_sep_conv_3x3",
        "conv_1x7_7x1",
    ),
    blocks=5,
    output="loose_ends",
    skeleton="amoebanet_cifar",
)

AMOEBANET_A = Architecture(
    normal=Cell(
        blocks=(
            Block.add((1, "avg_pool_3x3"), (1, "max_pool_3x3")),
            Block.add((0, "sep_conv_3x3"), (0, "identity")),
            Block.add((1, "identity"), (0, "avg_pool_3x3")),
            Block.add((1, "sep_conv_3x3"), (2, "sep_conv_5x5")),
            Block.add((5, "avg_pool_3x3"), (1, "sep_conv_3x3")),
        ),
        output=(0, 3, 4, 6),
    ),
    reduction=Cell(
        blocks=(
            Block.add((0, "sep_conv_3x3"), (1, "avg_pool_3x3")),
            Block.add((1, "max_pool_3x3"), (2, "sep_conv_7x7")),
            Block.add((0, "max_pool_3x3"), (1, "max_pool_3x3")),
            Block.add((4, "sep_conv_3x3"), (1, "conv_1x7_7x1")),
            Block.add((0, "avg_pool_3x3"), (1, "sep_conv_7x7")),
        ),
        output=(2, 3, 4, 5, 6),
    ),
)
"""AmoebaNet-A: figure 5, with the outputs of the authors' code (tensorflow/tpu `model_specs.py`). They include
states that blocks read: state 0 in the normal cell, states 2 and 4 in the reduction cell."""

AMOEBANET_B = Architecture(
    normal=Cell(
        blocks=(
            Block.add((0, "conv_1x1"), (0, "max_pool_3x3")),
            Block.add((0, "identity"), (1, "sep_conv_3x3")),
            Block.add((0, "conv_1x1"), (1, "sep_conv_3x3")),
            Block.add((2, "conv_1x1"), (2, "identity")),
            Block.add((0, "avg_pool_3x3"), (5, "conv_1x1")),
        ),
        output=(1, 3, 4, 6),
    ),
    reduction=Cell(
        blocks=(
            Block.add((1, "max_pool_2x2"), (1, "max_pool_3x3")),
            Block.add((2, "identity"), (0, "conv_3x3")),
            Block.add((2, "dil_sep_conv_5x5"), (2, "max_pool_3x3")),
            Block.add((3, "identity"), (0, "sep_conv_3x3")),
            Block.add((4, "avg_pool_3x3"), (3, "conv_1x1")),
        ),
        output=(5, 6),
    ),
)
"""AmoebaNet-B, found in a larger space. Its `dil_sep_conv_5x5` is dilated here; the authors' code drops the dilation,
which changes neither the parameters nor the multiply-adds."""

AMOEBANET_C = Architecture(
    normal=Cell(
        blocks=(
            Block.add((1, "avg_pool_3x3"), (1, "sep_conv_3x3")),
            Block.add((1, "identity"), (1, "sep_conv_3x3")),
            Block.add((2, "avg_pool_3x3"), (0, "sep_conv_3x3")),
            Block.add((1, "identity"), (0, "sep_conv_3x3")),
            Block.add((3, "avg_pool_3x3"), (1, "sep_conv_3x3")),
        ),
        output=(0, 2, 4, 5, 6),
    ),
    reduction=Cell(
        blocks=(
            Block.add((1, "max_pool_3x3"), (1, "max_pool_3x3")),
            Block.add((2, "sep_conv_7x7"), (1, "sep_conv_3x3")),
            Block.add((1, "sep_conv_7x7"), (0, "max_pool_3x3")),
            Block.add((4, "sep_conv_5x5"), (4, "sep_conv_5x5")),
            Block.add((0, "max_pool_3x3"), (0, "sep_conv_3x3")),
        ),
        output=(1, 2, 3, 4, 5, 6),
    ),
)
"""AmoebaNet-C. Its outputs include inputs that its blocks read, which no output rule of a space gives."""

AMOEBANET_D = Architecture(
    normal=Cell(
        blocks=(
            Block.add((0, "conv_1x1"), (0, "max_pool_3x3")),
            Block.add((0, "identity"), (1, "conv_1x7_7x1")),
            Block.add((1, "conv_1x1"), (1, "conv_1x7_7x1")),
            Block.add((2, "max_pool_3x3"), (2, "identity")),
            Block.add((0, "avg_pool_3x3"), (5, "conv_1x1")),
        ),
        output=(1, 3, 4, 6),
    ),
    reduction=Cell(
        blocks=(
            Block.add((1, "max_pool_2x2"), (1, "max_pool_3x3")),
            Block.add((2, "identity"), (0, "conv_3x3")),
            Block.add((2, "conv_1x7_7x1"), (2, "max_pool_3x3")),
            Block.add((3, "identity"), (0, "max_pool_2x2")),
            Block.add((2, "avg_pool_3x3"), (3, "conv_1x1")),
        ),
        output=(4, 5, 6),
    ),
)
"""AmoebaNet-D, found in a larger space."""

_SOURCE = "Real et al. 2019; tensorflow/tpu amoeba_net model_specs.py"

CELLS = {
    "amoebanet_a": Published(AMOEBANET_A, "amoebanet_cifar", _SOURCE),
    "amoebanet_b": Published(AMOEBANET_B, "amoebanet_cifar", _SOURCE),
    "amoebanet_c": Published(AMOEBANET_C, "amoebanet_cifar", _SOURCE),
    "amoebanet_d": Published(AMOEBANET_D, "amoebanet_cifar", _SOURCE),
}
