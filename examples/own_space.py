"""A custom space for `examples/own_space.toml`: cells of three blocks, one cell in both roles.

A space is a value. Its operations are those of `cellscout list operations`, and `CellSpace` explains its rules.
"""

from cellscout import CellSpace

SMALL = CellSpace(
    name="small",
    source="this file",
    operations=("identity", "max_pool_3x3", "sep_conv_3x3", "dil_sep_conv_3x3"),
    blocks=3,
    wiring="distinct_pair",
    output="all_blocks",
    shared=True,
    skeleton="pnasnet_cifar",
)
