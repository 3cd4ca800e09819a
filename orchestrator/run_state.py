"""What the events of a run add up to: its trials, their curves and their ranking. A pure fold; no files.

The same state is built while a search runs and when its log is read afterwards.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

from orchestrator.events import (
    EpochDone,
    Event,
    RunEnded,
    RunOutcome,
    RunStarted,
    TrialBuilt,
    TrialEnded,
    TrialStarted,
    TrialStatus,
    TrialSuggested,
)


@dataclass(slots=True)
class Trial:
    """One trial as far as its events tell. Times are UTC by the driver's clock, but for those in `curve`."""

    trial_id: str
    architecture: dict[str, Any]
    fingerprint: str
    status: TrialStatus = "running"
    parameters: int | None = None
    macs: int | None = None
    latency_seconds: float | None = None
    curve: list[EpochDone] = field(default_factory=list)
    started_at: datetime | None = None
    ended_at: datetime | None = None
    node: str | None = None
    device: str | None = None
    attempt: int = 0
    error: str | None = None

    @property
    def epochs(self) -> int:
        return self.curve[-1].epoch if self.curve else 0

    @property
    def diverged(self) -> bool:
        """A loss of the last epoch is not finite."""
        return bool(self.curve) and (self.curve[-1].train_loss is None or self.curve[-1].val_loss is None)

    @property
    def val_accuracy(self) -> float | None:
        """That of the last epoch: the score that trials are compared by."""
        return self.curve[-1].val_accuracy if self.curve else None

    @property
    def best_val_accuracy(self) -> float | None:
        return max((row.val_accuracy for row in self.curve), default=None)

    @property
    def train_seconds(self) -> float:
        return sum(row.seconds for row in self.curve)

    @property
    def wall_seconds(self) -> float | None:
        if self.started_at is None or self.ended_at is None:
            return None
        return (self.ended_at - self.started_at).total_seconds()


@dataclass
class RunState:
    """All trials of a run by id, in the order in which they were suggested."""

    trials: dict[str, Trial] = field(default_factory=dict)
    slots: int = 0
    started_at: datetime | None = None
    ended_at: datetime | None = None
    outcome: RunOutcome | Literal["died"] | None = None
    """How the run ended; `died` is never written, but concluded where its process is gone."""
    best: Trial | None = None
    """The completed trial with the highest validation accuracy at its last epoch; the earlier one of equals."""

    @classmethod
    def replay(cls, events: Iterable[Event]) -> RunState:
        state = cls()
        for event in events:
            state.apply(event)
        return state

    def apply(self, event: Event) -> None:
        match event:
            case RunStarted():
                self.slots, self.started_at = event.slots, event.time
            case TrialSuggested():
                self.trials[event.trial_id] = Trial(event.trial_id, event.architecture, event.fingerprint)
            case TrialStarted():
                trial = self.trials[event.trial_id]
                trial.attempt = event.attempt
                trial.started_at = trial.started_at or event.time
            case TrialBuilt():
                trial = self.trials[event.trial_id]
                trial.parameters, trial.macs = event.parameters, event.macs
                trial.latency_seconds = event.latency_seconds
                trial.node, trial.device = event.node, event.device
            case EpochDone():
                self.trials[event.trial_id].curve.append(event)
            case TrialEnded():
                trial = self.trials[event.trial_id]
                trial.status, trial.error, trial.ended_at = event.status, event.error, event.time
                if trial.status == "completed" and (self.best is None or _score(trial) > _score(self.best)):
                    self.best = trial
            case RunEnded():
                self.outcome, self.ended_at = event.outcome, event.time

    def counts(self) -> Counter[str]:
        """Trials by status; of those that have not ended, the ones without a worker yet are counted as `waiting`, and
        once the run has ended all are `unfinished`."""
        return Counter(self.status_of(trial) for trial in self.trials.values())

    def status_of(self, trial: Trial) -> str:
        """The trial's status in words, as `counts` has it."""
        if trial.status != "running":
            return trial.status
        if self.outcome is not None:
            return "unfinished"
        return "waiting" if trial.started_at is None else "running"

    def ranking(self) -> list[Trial]:
        """Trials with a score, best first: those that completed, then the others, which had less training."""
        scored = [trial for trial in self.trials.values() if trial.curve and trial.status != "diverged"]
        # Of equal ones the first to end leads, as it does as `best`.
        return sorted(scored, key=lambda trial: (trial.status != "completed", -_score(trial), trial is not self.best))

    def utilisation(self) -> float | None:
        """Part of the slots' time, from the first trial's start to the last one's end, that was spent on training."""
        starts = [trial.started_at for trial in self.trials.values() if trial.started_at]
        ends = [
            trial.ended_at or trial.curve[-1].time for trial in self.trials.values() if trial.ended_at or trial.curve
        ]
        if not starts or not ends or not self.slots or max(ends) <= min(starts):
            return None
        seconds = sum(trial.train_seconds for trial in self.trials.values())
        return seconds / (self.slots * (max(ends) - min(starts)).total_seconds())


def _score(trial: Trial) -> float:
    assert trial.val_accuracy is not None
    return trial.val_accuracy
