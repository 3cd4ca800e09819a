"""Optional protocols by which a scheduler extends Ray Tune's `TrialScheduler`.

Every result holds `epoch`, which the trial itself counts from 1, and the objectives' values. `training_iteration` is
Ray Tune's own count of reports and has no meaning here.

A run is resumed by replay: a new scheduler receives all past trials, then Ray Tune starts and adds the unfinished
trials under new ids. The calls come in this order:

    scheduler.replay("00000", rows)           # every trial that a worker has begun, in the order of their suggestion,
    scheduler.replay("00001", [])             # including those without a result
    scheduler.identify("a3f_00001", "00001")  # within Searcher.suggest, before Ray Tune calls on_trial_add

`identify` is called for every trial, including new ones. The record's names also break ties between equal trials, so
that a replay leads to the same decisions.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol, runtime_checkable


@runtime_checkable
class HasMilestones(Protocol):
    """A scheduler that decides only at known epochs.

    Short epochs between two milestones are then reported together. Without this protocol, every epoch is reported by
    itself.
    """

    milestones: tuple[int, ...]
    """The epochs at which the scheduler decides."""


@runtime_checkable
class Replayable(Protocol):
    """A scheduler that can be brought to the state it would have if it had run the record's trials itself."""

    def replay(self, trial_id: str, curve: Sequence[Mapping[str, Any]]) -> None:
        """Receive the results of a past trial.

        Called once per trial, before Ray Tune starts, in the order in which the trials were suggested.

        Args:
            trial_id: the record's name of the trial.
            curve: the trial's rows by ascending epoch, each with `epoch` and the objectives' values. Values that are
                constant for a trial (`parameters`, `macs`) must also be in each row. Empty if the trial reported
                nothing.
        """

    def identify(self, tune_id: str, trial_id: str) -> None:
        """Receive that Ray Tune's trial `tune_id` is the record's trial `trial_id`.

        Called before `on_trial_add`. A trial that is not identified is a new one, named by Ray Tune's id.
        """


@runtime_checkable
class AnswersDuplicates(Protocol):
    """A scheduler that can tell whether an earlier decision would still be the same."""

    def would_continue(self, epoch: int, row: Mapping[str, Any]) -> bool:
        """Return whether a trial whose last row is `row` would now continue past `epoch`. Changes no state."""
