"""Cells, architectures and search spaces, as values. Does not know torch or how networks are built."""

from search_spaces import amoebanet, darts, enas, nasnet, pnasnet
from search_spaces.amoebanet import AMOEBANET
from search_spaces.architecture import Architecture, Block, Cell, Edge
from search_spaces.cell_space import CellSpace
from search_spaces.darts import DARTS
from search_spaces.enas import ENAS
from search_spaces.nas_bench_201 import NAS_BENCH_201
from search_spaces.nasnet import NASNET, NASNET_A
from search_spaces.pnasnet import PNASNET
from search_spaces.published import Published

SPACES: dict[str, CellSpace] = {space.name: space for space in (NASNET, AMOEBANET, PNASNET, ENAS, DARTS, NAS_BENCH_201)}
"""Spaces that a search file may name."""

PUBLISHED: dict[str, Published] = {
    **nasnet.CELLS,
    **amoebanet.CELLS,
    **pnasnet.CELLS,
    **enas.CELLS,
    **darts.CELLS,
}
"""Published cells, by the names that commands take."""

__all__ = [
    "AMOEBANET",
    "DARTS",
    "ENAS",
    "NASNET",
    "NASNET_A",
    "NAS_BENCH_201",
    "PNASNET",
    "PUBLISHED",
    "SPACES",
    "Architecture",
    "Block",
    "Cell",
    "CellSpace",
    "Edge",
    "Published",
]
