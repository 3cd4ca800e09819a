"""What cellscout asks of a scheduler beyond Ray Tune's `TrialScheduler`. Each part is optional.

Every result holds `epoch`, which the trial itself counts from 1 on, and the objectives' values; `training_iteration` is
Ray Tune's own count of reports, and means nothing here.

A run is resumed by replay: a new scheduler is told of all past trials, then Ray Tune starts, and hands the unfinished
trials over under new ids. In this order:

    scheduler.replay("00000", rows)           # every trial that Ray Tune was given, in the order of their suggestion,
    scheduler.replay("00001", [])             # also those without a result
    scheduler.identify("a3f_00001", "00001")  # within Searcher.suggest, before Ray Tune calls on_trial_add

Identify every trial, the new ones too: the record's names also decide between equals, so that a replay decides alike.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol, runtime_checkable


@runtime_checkable
class HasMilestones(Protocol):
    """Decides at known epochs only. Short epochs between two of them are then reported together; without this, every
    epoch is reported by itself."""

    milestones: tuple[int, ...]


@runtime_checkable
class Replayable(Protocol):
    """Can be brought to the state that it would have, had the trials of the record run under it."""

    def replay(self, trial_id: str, curve: Sequence[Mapping[str, Any]]) -> None:
        """Learn what a past trial reported.

        To be called once a trial, before Ray Tune starts, in the order in which the trials were suggested.

        Args:
            trial_id: the record's name of the trial.
            curve: its rows by ascending epoch, each with `epoch` and the objectives' values; what has one value a
                trial (`parameters`, `macs`) must be in each row too. Empty if the trial reported nothing.
        """

    def identify(self, tune_id: str, trial_id: str) -> None:
        """Ray Tune's trial `tune_id` is the record's `trial_id`.

        To be called before `on_trial_add`. A trial that is not identified goes by Ray Tune's id, and is a new one.
        """


@runtime_checkable
class TakesUp(Protocol):
    """Cannot be rebuilt, but compares a trial that comes back with what it had."""

    def take_up(self, tune_id: str, curve: Sequence[Mapping[str, Any]]) -> None:
        """A trial that has reported something comes back, after a resume or because it lost its worker.

        To be called within `Searcher.suggest`, before `on_trial_add`.

        Args:
            tune_id: Ray Tune's new id of the trial.
            curve: as for `Replayable.replay`; the trial goes on after it.
        """


@runtime_checkable
class AnswersDuplicates(Protocol):
    """Can say whether an earlier decision would still be the same."""

    def would_continue(self, epoch: int, row: Mapping[str, Any]) -> bool:
        """Whether a trial with this row, its last, would now go on past this epoch. Changes nothing."""
