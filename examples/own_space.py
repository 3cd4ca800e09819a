"""A space of one's own: cells of three blocks, one cell in both roles, for `examples/own_space.toml`.

A space is a value. Its operations are names of `trainables/operations.py`, its rules are explained at `CellSpace`.
"""

from search_spaces import CellSpace

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
