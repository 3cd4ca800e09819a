"""Cells that papers report, with the rules of their networks and their sources."""

from dataclasses import dataclass

from search_spaces.architecture import Architecture


@dataclass(frozen=True)
class Published:
    """The cells that a paper reports."""

    architecture: Architecture
    """The two cells."""
    skeleton: str
    """Name of the rules by which the paper builds its network for CIFAR-10."""
    source: str
    """The figure or the authors' code that defines the cells."""
