"""The search space of NAS-Bench-201 (Dong, Yang: NAS-Bench-201: Extending the Scope of Reproducible Neural Architecture
Search, ICLR 2020, https://arxiv.org/abs/2001.00326). All of its 15,625 cells were trained, so search methods are
compared on it."""

from search_spaces.architecture import Block, Cell
from search_spaces.cell_space import CellSpace

NAS_BENCH_201 = CellSpace(
    name="nas_bench_201",
    source="Dong and Yang 2020, section 2.1",
    operations=("none", "identity", "conv_1x1", "conv_3x3", "avg_pool_3x3"),
    blocks=3,
    wiring="all_states",
    output="last_block",
    inputs=1,
    reduction=Cell((Block.add((0, "residual_block")),), output=(1,), inputs=1),
    skeleton="nas_bench_201",
)
"""Four nodes; each is the sum of an operation on every earlier node. A residual block connects the stages."""
