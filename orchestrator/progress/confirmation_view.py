"""The progress of the confirmation at the end of a search, read from the state that replaying its log also gives."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from statistics import fmean
from typing import final

from orchestrator.config import SearchConfig
from orchestrator.progress.snapshot import Row, Snapshot
from orchestrator.progress.words import clock, describe_confirmed, format_estimate, number
from orchestrator.record import RunState, now
from orchestrator.words import counted


@final
class ConfirmationView:
    """Reports on a confirmation.

    Args:
        config: the configuration of the run.
        state: the state of the run, in which the confirmation is planned.
        expected: how many new trainings there will probably be, with those that have ended.
    """

    def __init__(self, config: SearchConfig, state: RunState, expected: Callable[[], int]) -> None:
        self._config = config
        self._state = state
        self._expected = expected

    def announcement(self, most: int) -> str:
        """What will be trained, and what it will cost, in one line. There will be at most `most` new trainings."""
        plan, total = self._state.confirmation, self._expected()
        assert plan is not None, "it is on record"
        noise = "how much the score of one training varies is not known yet"
        if plan.noise is not None:
            source = "repeated trainings" if plan.noise_from == "repeats" else "the number of validation images"
            noise = f"the score of one training varies by about {number(plan.noise)}, judging by {source}"
        left = f", {total - self._ended()} of them from now on" if self._ended() else ""
        trials = counted(self._state.counts()["completed"], "completed trial")
        if len(self._state.objectives) > 1:
            trials = f"{counted(len(self._state.front), 'trial')} on the front"
        return (
            f"confirming the best {len(plan.candidates)} of {trials}: at most "
            f"{most} new trainings in all; about {total} are expected{left}, in about "
            f"{format_estimate(self._seconds_left(total))}; {noise}"
        )

    def snapshot(self, at: datetime | None = None) -> Snapshot:
        """Return the state of the confirmation `at` a time, by default now."""
        state, total, ended = self._state, self._expected(), self._ended()
        busy = sum(repeat.on_worker for repeat in state.repeats.values())
        elapsed = clock(state.active_seconds(until=at or now()))
        left = self._seconds_left(total)
        time = [*([f"about {format_estimate(left)} left"] if left else []), f"{elapsed} elapsed"]
        compared = state.confirmed
        leads = "no candidate has two new trainings yet" if compared is None else describe_confirmed(compared, state)
        return Snapshot(
            title=f"cellscout · {self._config.run.name}",
            subtitle="confirmation",
            rows=[
                Row("confirming", [f"{ended} of about {total} new trainings"], done=min(1.0, ended / max(1, total))),
                Row("best", [leads], style="calm" if compared is None else "good"),
                Row("workers", [f"{busy} of {state.slots} busy"]),
                Row("time", time),
            ],
            line=f"confirming: {ended} of about {total} new trainings; {leads}; {', '.join(time)}",
            key=(ended, busy),
        )

    def _ended(self) -> int:
        return sum(repeat.status != "running" for repeat in self._state.planned_repeats())

    def _seconds_left(self, total: int) -> float:
        """The seconds until the last of `total` trainings ends, if each takes as long as the candidates did."""
        plan, state = self._state.confirmation, self._state
        assert plan is not None, "it is on record"
        seconds = fmean(state.trials[trial_id].train_seconds for trial_id in plan.candidates)
        epochs = sum(repeat.epochs for repeat in state.planned_repeats() if repeat.status == "running")
        left = total - self._ended() - epochs / self._config.training.epochs
        return max(0.0, left) * seconds / max(1, min(state.slots, total))
