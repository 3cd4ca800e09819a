"""What can be searched, as values: cells, architectures, and spaces of them. No torch, no network."""

from search_spaces.architecture import Architecture, Block, Cell, Edge
from search_spaces.cell_space import CellSpace
from search_spaces.nasnet import NASNET, NASNET_A

SPACES: dict[str, CellSpace] = {"nasnet": NASNET}
"""Every space that a search file may name."""

__all__ = ["NASNET", "NASNET_A", "SPACES", "Architecture", "Block", "Cell", "CellSpace", "Edge"]
