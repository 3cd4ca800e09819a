"""A rung: the trials that reached one epoch, and which of them go on. With several objectives as with one.

Knows ranks and names of trials. Does not know who runs, pauses or stops them.
"""

from __future__ import annotations

from typing import final

from orchestrator.schedulers.ranking import Values, make_ranking


def rung_epochs(min_epochs: int, reduction_factor: int, max_epochs: int) -> tuple[int, ...]:
    """Epochs at which trials are compared: `min_epochs` times the powers of the factor, below `max_epochs`."""
    rungs = []
    epoch = min_epochs
    while epoch < max_epochs:
        rungs.append(epoch)
        epoch *= reduction_factor
    return tuple(rungs)


@final
class Rung:
    """What the trials that reached one epoch had there. A trial counts once, with the values it had first.

    Values are finite, one an objective, the higher the better.
    """

    def __init__(self, reduction_factor: int, objectives: int = 1) -> None:
        self._reduction_factor = reduction_factor
        self._ranking = make_ranking(objectives)
        self._values: dict[str, Values] = {}
        self._gone_on: set[str] = set()
        self._promotable: list[str] | None = []  # None: not known since the last entry

    def __len__(self) -> int:
        return len(self._values)

    def __contains__(self, trial_id: str) -> bool:
        return trial_id in self._values

    def enter(self, trial_id: str, values: Values) -> None:
        """Note what a trial had here, without a decision."""
        if trial_id not in self._values:
            self._values[trial_id] = values
            self._ranking.enter(trial_id, values)
            self._promotable = None

    def record(self, trial_id: str, values: Values) -> bool:
        """Enter a trial; whether it goes on: if it is among the best 1 in `reduction_factor` so far, at least one of
        them, or level with the last of these. Asked again, a trial that went on goes on."""
        self.enter(trial_id, values)
        if trial_id not in self._gone_on and self._is_among_the_best(self._values[trial_id], len(self)):
            self.let_go_on(trial_id)
        return trial_id in self._gone_on

    def would_continue(self, values: Values) -> bool:
        """What `record` would say of one trial more that has these values; nothing is recorded."""
        return self._is_among_the_best(values, len(self) + 1)

    def promotable(self, at_least: int = 0) -> list[str]:
        """Who is among the best 1 in `reduction_factor`, rounded down, and has not gone on; the best first.

        With `at_least`, among no fewer than so many best.
        """
        quota = len(self) // self._reduction_factor
        if at_least > quota:
            return self._waiting_among(at_least)
        if self._promotable is None:
            self._promotable = self._waiting_among(quota)
        return self._promotable

    def let_go_on(self, trial_id: str) -> None:
        """The trial passed: it is no longer promotable."""
        self._gone_on.add(trial_id)
        self._promotable = None

    def has_gone_on(self, trial_id: str) -> bool:
        return trial_id in self._gone_on

    def _is_among_the_best(self, values: Values, count: int) -> bool:
        return self._ranking.ahead_of(values) < max(1, count // self._reduction_factor)

    def _waiting_among(self, count: int) -> list[str]:
        return [trial_id for trial_id in self._ranking.first(count) if trial_id not in self._gone_on]
