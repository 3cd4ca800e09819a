"""What answers the proposals of simulated searches in place of trainings: an interface.

Knows curves. Does not know where they come from, nor samplers and schedulers.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, final, overload

from orchestrator.simulation.controller import Row
from search_spaces import CellSpace


@final
@dataclass(frozen=True, eq=False)
class Curve(Sequence[Row]):
    """The whole training of a candidate, one row per epoch, with what a worker of cellscout reports."""

    rows: Sequence[Row]
    final: float
    """The true final score of the candidate: validation accuracy, 0..1. No search sees it; regret is measured by it."""

    @overload
    def __getitem__(self, place: int) -> Row: ...
    @overload
    def __getitem__(self, place: slice) -> Sequence[Row]: ...
    def __getitem__(self, place: int | slice) -> Row | Sequence[Row]:
        return self.rows[place]

    def __len__(self) -> int:
        return len(self.rows)


class Answers(Protocol):
    """Answers for any number of simulated searches. It is sent to other processes, so it must be picklable."""

    @property
    def space(self) -> CellSpace:
        """The space of the proposals."""

    @property
    def epochs(self) -> int:
        """The number of epochs of a whole training."""

    @property
    def training_seconds(self) -> float:
        """The mean duration of a whole training."""

    @property
    def best(self) -> float:
        """The highest true final score that is known. The regret of a candidate is its distance from this."""

    @property
    def worst(self) -> float:
        """The lowest one. It counts as the leader's before a search has reported anything."""

    @property
    def note(self) -> str:
        """What the answers are, and what they cannot show: one or two sentences for the reader of the results."""

    @property
    def limit(self) -> int | None:
        """How many proposals of one search can be answered; None for any number."""

    def answers(self, seed: int) -> Callable[[dict[str, Any]], Curve]:
        """Return a function for one search that gives each proposal its curve; `seed` is that of the search."""
