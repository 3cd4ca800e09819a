"""Brackets: sets of rungs that begin later and later, and which trial belongs to which.

Knows names of trials in the order of their arrival. Does not know results, objectives' names or Ray.
"""

from __future__ import annotations

import math
from typing import final

from orchestrator.schedulers.rungs import Rung, rung_epochs

Rungs = dict[int, Rung]
"""The rungs of one bracket, by epoch."""


@final
class Brackets:
    """Bracket s has its first rung at `min_epochs` times `reduction_factor` to the power of s.

    A trial's bracket follows from how many came before it, so that it can be rebuilt from a record of a run. Of each
    bracket there are as many trials as Hyperband gives it at its start, evenly mixed: a bracket of h rungs has a
    weight of ceil((H + 1) / (h + 1) * eta^h), H being the most rungs of a bracket (Li et al., Hyperband, JMLR 18(185),
    2018, algorithm 1).

    Raises:
        ValueError: the settings make no such brackets.
    """

    def __init__(
        self, *, max_epochs: int, min_epochs: int, reduction_factor: int, brackets: int, objectives: int
    ) -> None:
        if min_epochs < 1:
            raise ValueError(f"min_epochs is {min_epochs}; it must be at least 1")
        if reduction_factor < 2:
            raise ValueError(f"reduction_factor is {reduction_factor}; it must be at least 2")
        if max_epochs < 1:
            raise ValueError(f"max_epochs is {max_epochs}; it must be at least 1")
        self.milestones = rung_epochs(min_epochs, reduction_factor, max_epochs)
        """The epochs of all rungs: those of the first bracket."""
        most = len(self.milestones) + 1
        if not 1 <= brackets <= most:
            raise ValueError(
                f"brackets is {brackets}; with max_epochs {max_epochs}, min_epochs {min_epochs} and reduction_factor "
                f"{reduction_factor} it must be between 1 and {most}"
            )
        self._brackets: list[Rungs] = [
            {epoch: Rung(reduction_factor, objectives) for epoch in self.milestones[s:]} for s in range(brackets)
        ]
        self.by_height: list[Rung] = [
            rungs[epoch] for epoch in reversed(self.milestones) for rungs in self._brackets if epoch in rungs
        ]
        """All rungs, the highest first; of the same epoch by bracket."""
        highest = len(self.milestones)
        self._weights = [
            math.ceil((highest + 1) / (len(rungs) + 1) * reduction_factor ** len(rungs)) for rungs in self._brackets
        ]
        self._sizes = [0] * brackets
        self._of_trial: dict[str, int] = {}

    def admit(self, trial_id: str) -> Rungs:
        """The rungs of a trial, which gets its bracket when it is first named."""
        if trial_id not in self._of_trial:
            # The bracket that has the smallest part of what is due to it; of equals the first.
            index = min(range(len(self._sizes)), key=lambda s: ((self._sizes[s] + 1) / self._weights[s], s))
            self._sizes[index] += 1
            self._of_trial[trial_id] = index
        return self._brackets[self._of_trial[trial_id]]

    @property
    def first(self) -> Rungs:
        """The bracket with a rung at every milestone, and the most trials."""
        return self._brackets[0]

    def sizes(self) -> list[dict[int, int]]:
        """How many trials each rung of each bracket has."""
        return [{epoch: len(rung) for epoch, rung in rungs.items()} for rungs in self._brackets]
