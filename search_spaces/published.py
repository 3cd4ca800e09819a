"""A published cell as a value: the architecture, the rules that its network follows, and where it stands."""

from dataclasses import dataclass

from search_spaces.architecture import Architecture


@dataclass(frozen=True)
class Published:
    """Cells that a paper reports.

    Args:
        architecture: the two cells.
        skeleton: name of the rules by which the paper's network for CIFAR-10 is made of them.
        source: the figure or the authors' code that states the cells.
    """

    architecture: Architecture
    skeleton: str
    source: str
