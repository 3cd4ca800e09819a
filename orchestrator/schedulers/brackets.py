"""Brackets: sets of rungs that begin at ever later epochs, and the assignment of trials to them.

Knows the names of trials. Does not know results, the names of objectives, or Ray.
"""

from __future__ import annotations

import math
from typing import final

from orchestrator.schedulers.rungs import Rung, rung_epochs

Rungs = dict[int, Rung]
"""The rungs of one bracket, by epoch."""


@final
class Brackets:
    """A set of brackets; bracket s has its first rung at epoch min_epochs * reduction_factor^s.

    A trial's bracket depends only on its number, which is its name in the record, so a resume finds the same one,
    whichever trial comes first. (Names that are not numbers are numbered as they arrive.) Trials are spread evenly over
    the brackets, in the proportions of Hyperband's initial sizes: a bracket of h rungs has a weight of
    ceil((H + 1) / (h + 1) * eta^h), where eta is `reduction_factor` and H is the largest number of rungs of a bracket
    (Li et al., Hyperband, JMLR 18(185), 2018, algorithm 1).

    With `brackets` None there are as many as fit, and the trials of the last one meet no rung.

    Raises:
        ValueError: a setting is out of its bounds.
    """

    def __init__(
        self,
        *,
        max_epochs: int,
        min_epochs: int,
        reduction_factor: int,
        brackets: int | None,
        objectives: int,
        rungs: int | None = None,
    ) -> None:
        if min_epochs < 1:
            raise ValueError(f"min_epochs is {min_epochs}; it must be at least 1")
        if reduction_factor < 2:
            raise ValueError(f"reduction_factor is {reduction_factor}; it must be at least 2")
        if max_epochs < 1:
            raise ValueError(f"max_epochs is {max_epochs}; it must be at least 1")
        if rungs is not None and rungs < 1:
            raise ValueError(f"rungs is {rungs}; it must be at least 1")
        self.milestones = rung_epochs(min_epochs, reduction_factor, max_epochs)[:rungs]
        """The epochs of all rungs, which are those of the first bracket."""
        max_brackets = len(self.milestones) + 1
        if brackets is None:
            brackets = max_brackets
        elif not 1 <= brackets <= max_brackets:
            raise ValueError(
                f"brackets is {brackets}; with max_epochs {max_epochs}, min_epochs {min_epochs} and reduction_factor "
                f"{reduction_factor} it must be between 1 and {max_brackets}"
            )
        self._brackets: list[Rungs] = [
            {epoch: Rung(reduction_factor, objectives) for epoch in self.milestones[s:]} for s in range(brackets)
        ]
        self.by_height: list[tuple[int, Rung]] = [
            (epoch, bracket[epoch])
            for epoch in reversed(self.milestones)
            for bracket in self._brackets
            if epoch in bracket
        ]
        """All rungs with their epochs, the highest first; rungs of the same epoch in the order of the brackets."""
        max_rungs = len(self.milestones)
        self._weights = [
            math.ceil((max_rungs + 1) / (len(rungs) + 1) * reduction_factor ** len(rungs)) for rungs in self._brackets
        ]
        self._sizes = [0] * brackets
        self._by_number: list[int] = []
        """The bracket of each number, as far as it is known yet."""
        self._index_of_trial: dict[str, int] = {}

    def admit(self, trial_id: str) -> Rungs:
        """Return the rungs of the trial's bracket; the first call assigns the bracket."""
        if trial_id not in self._index_of_trial:
            # An id of Ray Tune's own has eight hexadecimal digits, which may all be decimal.
            is_number = trial_id.isdecimal() and len(trial_id) < 8
            number = int(trial_id) if is_number else len(self._index_of_trial)
            while len(self._by_number) <= number:
                # The bracket with the smallest share of its weight; if several are equal, the first.
                index = min(range(len(self._sizes)), key=lambda s: ((self._sizes[s] + 1) / self._weights[s], s))
                self._sizes[index] += 1
                self._by_number.append(index)
            self._index_of_trial[trial_id] = self._by_number[number]
        return self._brackets[self._index_of_trial[trial_id]]

    @property
    def first(self) -> Rungs:
        """The bracket that has a rung at every milestone, and the most trials."""
        return self._brackets[0]

    def sizes(self) -> list[dict[int, int]]:
        """Return the number of trials in each rung, by epoch, one dictionary per bracket."""
        return [{epoch: len(rung) for epoch, rung in rungs.items()} for rungs in self._brackets]
