"""Says which training of a confirmation comes next, and when the race has ended. Pure functions of a run's state.

In each round all candidates that can still be the best are trained once with the same seed. The race ends when one of
them is left, when each has been trained `trainings` times, or when the next round would exceed the training time. With
several objectives no candidate is left out, because the whole front is confirmed.

No race ends before those that are left have been trained `MIN_TRAININGS` times, because nothing is compared before. The
plan has the time for these rounds; only if they take longer than expected, they exceed it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from orchestrator.confirmation.choice import MIN_TRAININGS, expected_seconds, problem_of
from orchestrator.record import ConfirmationPlanned, RunState, Trial


@dataclass(frozen=True)
class Race:
    """The race of a run whose confirmation is planned."""

    state: RunState

    @property
    def _plan(self) -> ConfirmationPlanned:
        plan = self.state.confirmation
        assert plan is not None, "it is on record"
        return plan

    def next_training(self) -> tuple[Trial, int] | None:
        """Return the candidate to train next and the round, from 1; None if nothing can start now."""
        found = self._next()
        return None if isinstance(found, str) else found

    def ending(self) -> Literal["clear", "trainings", "seconds"] | None:
        """Why no training can start: one candidate is left, all are trained, or the time is over. None if one can."""
        found = self._next()
        return found if isinstance(found, str) else None

    def _next(self) -> tuple[Trial, int] | Literal["clear", "trainings", "seconds"]:
        alive = self._alive()
        if self._is_clear(alive):
            return "clear"
        for number in range(1, self._plan.trainings + 1):
            missing = [trial for trial in alive if repeat_id(trial, number) not in self.state.repeats]
            if missing:
                can_start = len(missing) < len(alive) or number <= MIN_TRAININGS or self._can_pay(alive)
                return (missing[0], number) if can_start else "seconds"
        return "trainings"

    def most_trainings(self) -> int:
        """How many trainings there are at most, however long they take: it never rises during a race."""
        candidates = (self.state.trials[trial_id] for trial_id in self._plan.candidates)
        # Earlier confirmations may have trained a candidate more often than the plan now allows.
        return sum(max(self._plan.trainings, len(self.state.repeats_of(trial))) for trial in candidates)

    def expected_trainings(self) -> int:
        """How many trainings probably fit into the time. If candidates drop out, the others may have more rounds.

        It moves with the times that the trainings take, and with the candidates that drop out.
        """
        alive, repeats = self._alive(), self.state.planned_repeats()
        begun, running = len(repeats), any(repeat.status == "running" for repeat in repeats)
        if self.ending() is not None and not running:
            return begun
        counts = {trial.trial_id: len(self.state.repeats_of(trial)) for trial in alive}
        # The round that has begun is trained to its end.
        certain = min(self._plan.trainings, max([MIN_TRAININGS, *counts.values()]))
        missing = [trial for trial in alive for _ in range(certain - counts[trial.trial_id])]
        if self._one_is_left(alive):
            return begun + len(missing)
        left = self._plan.train_seconds - self._seconds_spent()
        left -= sum(expected_seconds(self.state, trial) for trial in missing)
        further = 0
        for seconds in sorted(expected_seconds(self.state, trial) for trial in alive):  # most fit if the cheapest stay
            most = self._plan.trainings - certain
            rounds = max(0, min(most, int(left / seconds + 1e-9))) if seconds else most
            further, left = further + rounds, left - rounds * seconds
        return begun + len(missing) + further

    def _is_clear(self, alive: list[Trial]) -> bool:
        """Whether one of several candidates is left, and will have been trained often enough to be the winner."""
        return self._one_is_left(alive) and len(self.state.repeats_of(alive[0])) >= MIN_TRAININGS

    def _one_is_left(self, alive: list[Trial]) -> bool:
        return len(alive) == 1 < len(self._plan.candidates)

    def _alive(self) -> list[Trial]:
        """The candidates that are still trained."""
        trials = [self.state.trials[trial_id] for trial_id in self._plan.candidates]
        sound = [trial for trial in trials if problem_of(self.state, trial) is None]
        compared = self.state.confirmed
        if compared is None or len(self.state.objectives) > 1:
            return sound
        doubted = {one.trial_id: one.in_doubt for one in compared.candidates}
        doubted[compared.winner.trial_id] = True
        return [trial for trial in sound if doubted.get(trial.trial_id, True)]

    def _can_pay(self, alive: list[Trial]) -> bool:
        seconds = sum(expected_seconds(self.state, trial) for trial in alive)
        return self._seconds_spent() + seconds <= self._plan.train_seconds * (1 + 1e-9)

    def _seconds_spent(self) -> float:
        """The training time of all repeats; of those that run, what is expected."""
        return sum(
            expected_seconds(self.state, self.state.trials[repeat.repeats])
            if repeat.status == "running" and repeat.repeats is not None
            else repeat.train_seconds
            for repeat in self.state.planned_repeats()
        )


def repeat_id(trial: Trial, number: int) -> str:
    """The id of the trial that trains a candidate again for the `number`-th time."""
    return f"{trial.trial_id}_{number}"
