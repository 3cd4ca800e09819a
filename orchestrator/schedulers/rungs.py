"""A rung: the trials that reached one epoch, and which of them pass; for one or several objectives.

Knows the names and ranks of trials. Does not run, pause or stop them.
"""

from __future__ import annotations

from typing import final

from orchestrator.schedulers.ranking import Values, make_ranking


def rung_epochs(min_epochs: int, reduction_factor: int, max_epochs: int) -> tuple[int, ...]:
    """Return the epochs at which trials are compared: min_epochs * reduction_factor^k, below `max_epochs`."""
    rungs = []
    epoch = min_epochs
    while epoch < max_epochs:
        rungs.append(epoch)
        epoch *= reduction_factor
    return tuple(rungs)


@final
class Rung:
    """The values of the trials that reached one epoch. A trial counts once, with its first values.

    Values are finite, one per objective; higher is better. A trial that diverged has None: it counts among the trials
    of the rung as the worst, and never passes.
    """

    def __init__(self, reduction_factor: int, objectives: int = 1) -> None:
        self._reduction_factor = reduction_factor
        self._ranking = make_ranking(objectives)
        self._values: dict[str, Values | None] = {}
        self._passed: set[str] = set()
        self._promotable: list[str] | None = []  # None: must be recomputed

    def __len__(self) -> int:
        return len(self._values)

    def __contains__(self, trial_id: str) -> bool:
        return trial_id in self._values

    def enter(self, trial_id: str, values: Values | None) -> None:
        """Add a trial's values without a decision; does nothing if the trial is already here."""
        if trial_id not in self._values:
            self._values[trial_id] = values
            if values is not None:
                self._ranking.enter(trial_id, values)
            self._promotable = None

    def record(self, trial_id: str, values: Values | None) -> bool:
        """Enter a trial, and return whether it passes.

        It passes if it is among the best 1 in `reduction_factor` so far, rounded down but at least one, or equal to the
        last of them. A trial that has passed once also passes later.
        """
        self.enter(trial_id, values)
        if trial_id not in self._passed and self._is_among_best(self._values[trial_id], len(self)):
            self.mark_passed(trial_id)
        return trial_id in self._passed

    def would_continue(self, values: Values | None) -> bool:
        """Return what `record` would return for one more trial with these values; records nothing."""
        return self._is_among_best(values, len(self) + 1)

    def promotable(self, at_least: int = 0) -> list[str]:
        """Return the trials among the best 1 in `reduction_factor`, rounded down, that have not passed; best first.

        With `at_least`, the best group has at least that many trials.
        """
        quota = len(self) // self._reduction_factor
        if at_least > quota:
            return self.not_passed_among_best(at_least)
        if self._promotable is None:
            self._promotable = self.not_passed_among_best(quota)
        return self._promotable

    def not_passed_among_best(self, count: int) -> list[str]:
        """Return those of the best `count` trials that have not passed; best first."""
        return [trial_id for trial_id in self._ranking.best(count) if trial_id not in self._passed]

    def mark_passed(self, trial_id: str) -> None:
        """Mark the trial as passed; it is no longer promotable."""
        self._passed.add(trial_id)
        self._promotable = None

    def has_passed(self, trial_id: str) -> bool:
        """Return whether the trial has passed this rung."""
        return trial_id in self._passed

    def _is_among_best(self, values: Values | None, count: int) -> bool:
        return values is not None and self._ranking.count_ahead(values) < max(1, count // self._reduction_factor)
