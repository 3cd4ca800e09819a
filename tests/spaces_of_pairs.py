"""A space that a test names in a search file: all its operations are for two axes."""

from __future__ import annotations

from search_spaces import CellSpace

PAIRS = CellSpace(name="pairs", source="tests", operations=("conv_1x3_3x1", "conv_1x7_7x1"), blocks=1)
