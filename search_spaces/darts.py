"""The DARTS search space and its published cells (Liu, Simonyan, Yang: DARTS, ICLR 2019,
https://arxiv.org/abs/1806.09055), and other papers' cells as the code of DARTS defines them."""

from search_spaces.architecture import Architecture, Block, Cell
from search_spaces.cell_space import CellSpace
from search_spaces.pnasnet import PNASNET_5
from search_spaces.published import Published

DARTS = CellSpace(
    name="darts",
    source="Liu et al. 2019, section 3.1",
    operations=(
        "none",
        "max_pool_3x3",
        "avg_pool_3x3",
        "identity",
        "sep_conv_3x3",
        "sep_conv_5x5",
        "dil_conv_3x3",
        "dil_conv_5x5",
    ),
    blocks=4,
    wiring="distinct_pair",
    output="all_blocks",
    skeleton="darts_cifar",
)
"""`none`, the zero operation, is one of the paper's eight, although cells derived by DARTS never contain it."""

DARTS_V1 = Architecture(
    normal=Cell(
        blocks=(
            Block.add((1, "sep_conv_3x3"), (0, "sep_conv_3x3")),
            Block.add((0, "identity"), (1, "sep_conv_3x3")),
            Block.add((0, "identity"), (1, "sep_conv_3x3")),
            Block.add((0, "sep_conv_3x3"), (2, "identity")),
        ),
        output=(2, 3, 4, 5),
    ),
    reduction=Cell(
        blocks=(
            Block.add((0, "max_pool_3x3"), (1, "max_pool_3x3")),
            Block.add((2, "identity"), (0, "max_pool_3x3")),
            Block.add((0, "max_pool_3x3"), (2, "identity")),
            Block.add((2, "identity"), (0, "avg_pool_3x3")),
        ),
        output=(2, 3, 4, 5),
    ),
)
"""The cell of first-order DARTS."""

DARTS_V2 = Architecture(
    normal=Cell(
        blocks=(
            Block.add((0, "sep_conv_3x3"), (1, "sep_conv_3x3")),
            Block.add((0, "sep_conv_3x3"), (1, "sep_conv_3x3")),
            Block.add((1, "sep_conv_3x3"), (0, "identity")),
            Block.add((0, "identity"), (2, "dil_conv_3x3")),
        ),
        output=(2, 3, 4, 5),
    ),
    reduction=Cell(
        blocks=(
            Block.add((0, "max_pool_3x3"), (1, "max_pool_3x3")),
            Block.add((2, "identity"), (1, "max_pool_3x3")),
            Block.add((0, "max_pool_3x3"), (2, "identity")),
            Block.add((2, "identity"), (1, "max_pool_3x3")),
        ),
        output=(2, 3, 4, 5),
    ),
)
"""The cell of second-order DARTS, the one that the paper reports."""

DARTS_FORM_NASNET = Architecture(
    normal=Cell(
        blocks=(
            Block.add((1, "sep_conv_5x5"), (0, "sep_conv_3x3")),
            Block.add((0, "sep_conv_5x5"), (0, "sep_conv_3x3")),
            Block.add((1, "avg_pool_3x3"), (0, "identity")),
            Block.add((0, "avg_pool_3x3"), (0, "avg_pool_3x3")),
            Block.add((1, "sep_conv_3x3"), (1, "identity")),
        ),
        output=(2, 3, 4, 5, 6),
    ),
    reduction=Cell(
        blocks=(
            Block.add((1, "sep_conv_5x5"), (0, "sep_conv_7x7")),
            Block.add((1, "max_pool_3x3"), (0, "sep_conv_7x7")),
            Block.add((1, "avg_pool_3x3"), (0, "sep_conv_5x5")),
            Block.add((3, "identity"), (2, "avg_pool_3x3")),
            Block.add((2, "sep_conv_3x3"), (1, "max_pool_3x3")),
        ),
        output=(4, 5, 6),
    ),
)
"""The cell that DARTS' code calls NASNet. It is not NASNet-A: two of the concatenated states are missing."""

DARTS_FORM_AMOEBANET = Architecture(
    normal=Cell(
        blocks=(
            Block.add((0, "avg_pool_3x3"), (1, "max_pool_3x3")),
            Block.add((0, "sep_conv_3x3"), (2, "sep_conv_5x5")),
            Block.add((0, "sep_conv_3x3"), (3, "avg_pool_3x3")),
            Block.add((1, "sep_conv_3x3"), (1, "identity")),
            Block.add((0, "identity"), (1, "avg_pool_3x3")),
        ),
        output=(4, 5, 6),
    ),
    reduction=Cell(
        blocks=(
            Block.add((0, "avg_pool_3x3"), (1, "sep_conv_3x3")),
            Block.add((0, "max_pool_3x3"), (2, "sep_conv_7x7")),
            Block.add((0, "sep_conv_7x7"), (1, "avg_pool_3x3")),
            Block.add((0, "max_pool_3x3"), (1, "max_pool_3x3")),
            Block.add((0, "conv_1x7_7x1"), (5, "sep_conv_3x3")),
        ),
        output=(3, 4, 6),
    ),
)
"""The cell that DARTS' code calls AmoebaNet. It is not AmoebaNet-A."""

_CODE = "quark0/darts cnn/genotypes.py"

CELLS = {
    "darts_v1": Published(DARTS_V1, "darts_cifar", f"Liu et al. 2019; {_CODE}"),
    "darts_v2": Published(DARTS_V2, "darts_cifar", f"Liu et al. 2019; {_CODE}"),
    "darts_form_nasnet": Published(DARTS_FORM_NASNET, "darts_cifar", f"{_CODE}; not NASNet-A"),
    "darts_form_amoebanet": Published(DARTS_FORM_AMOEBANET, "darts_cifar", f"{_CODE}; not AmoebaNet-A"),
    "darts_form_pnasnet": Published(
        PNASNET_5, "darts_cifar", "facebookresearch/unnas genotypes.py; not PNASNet-5's network"
    ),
}
